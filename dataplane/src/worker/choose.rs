//! Which real server a new session gets, and what is counted of that.

use sluice_wire::Tuple;

use super::tally::{Fate, Tally};
use crate::counters::DropReason;
use crate::lb::{Balancer, NoServer, Picked};
use crate::snapshot::VirtualServer;

/// Asks the balancer, and counts what goes elsewhere.
///
/// # Errors
/// Why there is no server for it.
pub(super) fn choose(
    balancer: &mut Balancer,
    tally: &mut Tally,
    vs: &VirtualServer,
    tuple: &Tuple,
    now: u32,
) -> Result<Picked, DropReason> {
    let picked = balancer.pick(vs, tuple, now)?;
    if picked.tier > 0 {
        tally.session(vs.service, picked.server, Fate::Overflowed);
    }
    Ok(picked)
}

impl From<NoServer> for DropReason {
    fn from(why: NoServer) -> Self {
        match why {
            NoServer::NoneUp => Self::NoRealServer,
            NoServer::AllFull => Self::Overloaded,
        }
    }
}
