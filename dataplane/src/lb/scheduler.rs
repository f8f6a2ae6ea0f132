//! Schedulers that go by turns or by load. Those that go by hash are in `maglev` and `rendezvous`.
//!
//! They see the members that may take sessions and nobody else.

use super::loads::{Loads, REFRESH_MS};
use super::turns::{Member, Turn};
use crate::snapshot::ServerId;

/// In turn.
pub fn round_robin(turn: &mut Turn, members: &[Member]) -> Option<ServerId> {
    let at = turn.next as usize;
    let at = if at < members.len() { at } else { 0 };
    let member = members.get(at)?;
    turn.next = at as u32 + 1;
    Some(member.server)
}

/// In turn, in proportion to the weights, smoothly interleaved as nginx does it: everybody becomes
/// due its weight, and who is due most pays for all. Exact over every as many picks as the weights
/// sum to.
pub fn weighted_round_robin(members: &mut [Member]) -> Option<ServerId> {
    let mut total = 0;
    let mut most: Option<&mut Member> = None;
    for member in members {
        member.due += i64::from(member.weight);
        total += i64::from(member.weight);
        if most.as_ref().is_none_or(|most| member.due > most.due) {
            most = Some(member);
        }
    }
    let picked = most?;
    picked.due -= total;
    Some(picked.server)
}

/// The one with the fewest sessions of all workers, for its weight if `weighted`: the session that
/// is being placed is counted in, so that of idle servers the heavier one is first. Ties go round.
pub fn least_connections(
    turn: &mut Turn,
    members: &[Member],
    loads: &mut Loads,
    weighted: bool,
    now: u32,
) -> Option<ServerId> {
    if now.wrapping_sub(turn.refreshed) >= REFRESH_MS {
        turn.refreshed = now;
        for member in members {
            loads.refresh(member.server);
        }
    }
    let start = (turn.next as usize).min(members.len());
    let (behind, ahead) = members.split_at(start);
    let mut least: Option<(u64, u64, usize, ServerId)> = None;
    for (at, member) in (start..).zip(ahead).chain((0..).zip(behind)) {
        let sessions = u64::from(loads.open(member.server)) + 1;
        let weight = if weighted {
            u64::from(member.weight)
        } else {
            1
        };
        // sessions / weight < fewest / its_weight, without dividing
        if least.is_none_or(|(fewest, its_weight, ..)| sessions * its_weight < fewest * weight) {
            least = Some((sessions, weight, at, member.server));
        }
    }
    let (_, _, at, server) = least?;
    turn.next = at as u32 + 1;
    Some(server)
}
