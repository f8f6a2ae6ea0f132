//! `session.bytes`: the memory that a worker takes for each session, index and all.

use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::io::{Memory, OutOfMemory};
use zerocopy::FromZeros;

use super::{Effort, Failed};
use crate::appliance;
use crate::figure::{Figure, Reach};

/// Counts what is taken.
#[derive(Debug, Default)]
struct Counted(usize);

impl Memory for Counted {
    fn zeroed<T>(&mut self, what: &'static str, len: usize) -> Result<&'static mut [T], OutOfMemory>
    where
        T: FromZeros + Send + 'static,
    {
        self.0 += len * size_of::<T>();
        Heap.zeroed(what, len)
    }
}

/// The most of several sizes, as tables may grow in steps. What a worker takes with the fewest
/// sessions that can be configured is not counted: it does not grow with them.
pub(super) fn run(_: &Effort) -> Result<Vec<Figure>, Failed> {
    let bytes = |sessions: usize| -> Result<usize, Failed> {
        let mut memory = Counted::default();
        appliance::nat44(sessions, &mut memory, "")?;
        Ok(memory.0)
    };
    let least = bytes(LEAST)?;
    let mut most = f64::NAN;
    for sessions in [64_512, 258_048, 1_032_192, 1_100_000] {
        let each = (bytes(sessions)? - least) as f64 / (sessions - LEAST) as f64;
        most = most.max(each);
    }
    Ok(vec![
        Figure::told("session.bytes", most).reach(Reach::AtMost(160.0)),
    ])
}

/// The fewest that can be configured.
const LEAST: usize = 1024;
