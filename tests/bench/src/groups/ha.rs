//! `ha.*`: what sharing sessions with another appliance costs, and what it keeps.
//!
//! Two nodes of one worker each take turns in this thread; each one's time is taken apart. Where a
//! figure is a rate of both, it is that of the slower one: on two machines they work side by side.

use sluice_dpdk::HugeMemory;

use super::{Effort, Failed, eal};
use crate::figure::{Figure, Reach};
use crate::pair::{Pair, Shape};

mod cost;
mod join;
mod loss;

/// Of the figures about what is lost.
const MILLION: usize = 1_000_000;

/// A node is taken for dead as soon as there is little risk that it lives.
const QUICK: Shape = Shape {
    sessions: 0,
    heartbeat_ms: 10,
    dead_after: 3,
};
/// As it is configured where nothing is said of it.
const DEFAULT: Shape = Shape {
    sessions: 0,
    heartbeat_ms: 20,
    dead_after: 5,
};

/// Rates and times.
pub(super) fn rates(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    cost::run(effort, &mut HugeMemory::new(eal()?, None))
}

/// A million connections, and what becomes of them.
pub(super) fn losses(_: &Effort) -> Result<Vec<Figure>, Failed> {
    let mut memory = HugeMemory::new(eal()?, None);
    let shape = QUICK.with_room(MILLION + MILLION / 8);
    let mut pair = Pair::new(shape, &mut memory)?;
    let mut figures = vec![loss::asymmetric(&mut pair)];
    figures.push(join::bulk(&mut pair, &mut memory)?);
    figures.push(loss::killed_at_rest(&mut pair)?);
    drop(pair);
    let mut pair = Pair::new(shape, &mut memory)?;
    figures.extend(loss::killed_under_load(&mut pair)?);
    figures.extend(failovers(&mut memory)?);
    Ok(figures)
}

/// How long a connection is not served when its node dies.
fn failovers(memory: &mut HugeMemory) -> Result<[Figure; 2], Failed> {
    let [quick, default] =
        [QUICK, DEFAULT].map(|shape| loss::failover(shape.with_room(4096), memory));
    Ok([
        Figure::told("ha.failover_ms", quick?).reach(Reach::AtMost(50.0)),
        Figure::told("ha.failover_ms.by_default", default?),
    ])
}
