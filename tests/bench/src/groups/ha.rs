//! `ha.*`: what sharing sessions with another appliance costs, and what it keeps.
//!
//! Two nodes of one worker each take turns in this thread; each one's time is taken apart. Where a
//! figure is a rate of both, it is that of the slower one: on two machines they work side by side.

use sluice_dpdk::HugeMemory;

use super::{Effort, Failed, eal};
use crate::figure::Figure;
use crate::pair::{Pair, Shape};

mod cost;
mod join;
mod loss;

/// Of the figures about what is lost.
const MILLION: usize = 1_000_000;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let mut memory = HugeMemory::new(eal()?, None);
    let mut figures = if std::env::var("NOCOST").is_ok() {vec![]} else {cost::run(effort, &mut memory)?};
    if std::env::var("PHASE").is_ok() { return Ok(figures); }
    let shape = Shape {
        sessions: MILLION + MILLION / 8,
        heartbeat_ms: 10,
        dead_after: 3,
    };
    let mut pair = Pair::new(shape, &mut memory)?;
    figures.push(loss::asymmetric(&mut pair));
    figures.push(join::bulk(&mut pair, &mut memory)?);
    figures.extend(loss::killed_at_rest(&mut pair)?);
    drop(pair);
    let mut pair = Pair::new(shape, &mut memory)?;
    figures.extend(loss::killed_under_load(&mut pair)?);
    Ok(figures)
}
