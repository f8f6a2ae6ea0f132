//! Schedulers that go by turns or by load. Those that go by hash are in `maglev` and `rendezvous`.
//!
//! They see the members that may take sessions and nobody else, and pass over those that have no
//! `room` for one more.

use super::loads::Loads;
use super::turns::{Member, Place};
use crate::snapshot::ServerId;

/// In turn.
#[inline]
pub fn round_robin(
    place: &mut Place,
    members: &[Member],
    room: impl Fn(ServerId) -> bool,
) -> Option<ServerId> {
    let at = place.next as usize;
    let at = if at < members.len() { at } else { 0 };
    let (behind, ahead) = members.split_at(at);
    let turns = (at..).zip(ahead).chain((0..).zip(behind));
    let (at, member) = turns.into_iter().find(|(_, member)| room(member.server))?;
    place.next = at as u32 + 1;
    Some(member.server)
}

/// In turn, in proportion to the weights, smoothly interleaved as nginx does it: everybody becomes
/// due its weight, and who is due most pays for all. Exact over every as many picks as the weights
/// sum to. Who has no room takes no part: it neither becomes due nor pays.
#[inline]
pub fn weighted_round_robin(
    members: &mut [Member],
    room: impl Fn(ServerId) -> bool,
) -> Option<ServerId> {
    let mut total = 0;
    let mut most: Option<&mut Member> = None;
    for member in members.iter_mut().filter(|member| room(member.server)) {
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
#[inline]
pub fn least_connections(
    place: &mut Place,
    members: &[Member],
    loads: &Loads,
    weighted: bool,
    room: impl Fn(ServerId) -> bool,
) -> Option<ServerId> {
    let start = (place.next as usize).min(members.len());
    let (behind, ahead) = members.split_at(start);
    let mut least: Option<(u64, u64, usize, ServerId)> = None;
    for (at, member) in (start..).zip(ahead).chain((0..).zip(behind)) {
        if !room(member.server) {
            continue;
        }
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
    place.next = at as u32 + 1;
    Some(server)
}
