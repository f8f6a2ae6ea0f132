//! The echo requests of a traceroute: several under way at once, told of in the order of their hops.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::echo::Asked;
use super::{Answer, ProbeView, TracerouteQuery};

/// Echo requests under way at most.
const AT_ONCE: usize = 16;

/// One of them.
enum Slot {
    Waits(Asked),
    Known(ProbeView),
}

/// What is under way.
pub(super) struct Round {
    slots: VecDeque<Slot>,
    /// Sent so far.
    sent: u16,
    probes: u32,
    /// The last hop of which anybody wants to know: the destination's, as soon as it is found.
    last: u32,
    /// One at first: while the next hop is looked for, few packets wait for it.
    room: usize,
}

impl Round {
    pub(super) fn new(query: &TracerouteQuery) -> Self {
        Self {
            slots: VecDeque::new(),
            sent: 0,
            probes: query.probes.max(1),
            last: query.max_hops,
            room: 1,
        }
    }

    /// Sequence and hop of the next one, if it is time for it.
    pub(super) fn next(&self) -> Option<(u16, u32)> {
        let hop = u32::from(self.sent) / self.probes + 1;
        (hop <= self.last && self.slots.len() < self.room).then_some((self.sent + 1, hop))
    }

    pub(super) fn sent(&mut self, sent: Result<Asked, ProbeView>) {
        self.sent += 1;
        match sent {
            Ok(asked) => self.slots.push_back(Slot::Waits(asked)),
            Err(not_sent) => {
                self.end(&not_sent);
                self.slots.push_back(Slot::Known(not_sent));
            }
        }
    }

    /// Those of which nothing is known.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Asked> + Clone {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Waits(asked) => Some(asked),
            Slot::Known(_) => None,
        })
    }

    /// When the oldest of them was sent; `None`: that is all.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting().map(|asked| asked.begun).min()
    }

    pub(super) fn know(&mut self, view: ProbeView) {
        let is_it =
            |slot: &&mut Slot| matches!(slot, Slot::Waits(it) if it.sequence == view.sequence);
        let Some(slot) = self.slots.iter_mut().find(is_it) else {
            return;
        };
        self.room = AT_ONCE;
        let end = view.clone();
        *slot = Slot::Known(view);
        self.end(&end);
    }

    /// Gives up those that were sent so long ago.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) {
        for slot in &mut self.slots {
            if let Slot::Waits(asked) = slot
                && now.saturating_duration_since(asked.begun) >= timeout
            {
                *slot = Slot::Known(asked.view(Answer::Timeout));
                self.room = AT_ONCE;
            }
        }
    }

    /// The next one that can be told of.
    pub(super) fn told(&mut self) -> Option<ProbeView> {
        match self.slots.pop_front() {
            Some(Slot::Known(view)) => Some(view),
            Some(waits) => {
                self.slots.push_front(waits);
                None
            }
            None => None,
        }
    }

    /// Hops behind the one where it ends are nobody's concern.
    fn end(&mut self, view: &ProbeView) {
        let ends = !matches!(view.answer, Answer::TimeExceeded | Answer::Timeout);
        let Some(hop) = view.hop.filter(|&hop| ends && hop <= self.last) else {
            return;
        };
        self.last = hop;
        self.slots.retain(|slot| {
            let its = match slot {
                Slot::Waits(asked) => asked.hop,
                Slot::Known(view) => view.hop,
            };
            its <= Some(hop)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(max_hops: u32, probes: u32) -> TracerouteQuery {
        TracerouteQuery {
            destination: "192.0.2.1".parse().expect("an address"),
            max_hops,
            probes,
            timeout_ms: 1000,
        }
    }

    /// Sends what may be sent; which hops.
    fn send(round: &mut Round, now: Instant) -> Vec<u32> {
        let mut hops = Vec::new();
        while let Some((sequence, hop)) = round.next() {
            round.sent(Ok(Asked::new(sequence, Some(hop), now)));
            hops.push(hop);
        }
        hops
    }

    fn know(round: &mut Round, sequence: u16, hop: u32, answer: Answer) {
        round.know(ProbeView::new(sequence, Some(hop), answer));
    }

    fn told(round: &mut Round) -> Vec<(u16, Answer)> {
        let told = std::iter::from_fn(|| round.told());
        told.map(|view| (view.sequence, view.answer)).collect()
    }

    #[test]
    fn many_are_under_way_once_one_is_answered_and_are_told_in_order() {
        let (mut round, now) = (Round::new(&query(30, 2)), Instant::now());
        assert_eq!(send(&mut round, now), [1]);
        know(&mut round, 1, 1, Answer::TimeExceeded);
        let more = send(&mut round, now);
        assert_eq!((more.len(), more[0], more[14]), (15, 1, 8));
        // What is known early waits for those before it.
        know(&mut round, 3, 2, Answer::TimeExceeded);
        assert_eq!(told(&mut round), [(1, Answer::TimeExceeded)]);
        know(&mut round, 2, 1, Answer::TimeExceeded);
        assert_eq!(told(&mut round).len(), 2);
        // The destination is three hops away: what went further is forgotten, and no more is sent.
        know(&mut round, 9, 5, Answer::Reply);
        know(&mut round, 5, 3, Answer::Reply);
        know(&mut round, 7, 4, Answer::Reply);
        assert_eq!(send(&mut round, now), [] as [u32; 0]);
        round.expire(now, Duration::from_secs(1));
        assert_eq!(told(&mut round), []);
        round.expire(now + Duration::from_secs(1), Duration::from_secs(1));
        let rest = [
            (4, Answer::Timeout),
            (5, Answer::Reply),
            (6, Answer::Timeout),
        ];
        assert_eq!(told(&mut round), rest);
        assert_eq!(round.oldest(), None, "that is all");
    }

    #[test]
    fn a_silent_way_is_gone_to_its_end_and_one_that_is_refused_is_not() {
        let (mut round, now) = (Round::new(&query(30, 3)), Instant::now());
        let mut all = 0;
        while !send(&mut round, now).is_empty() {
            round.expire(now + Duration::from_secs(1), Duration::from_secs(1));
            all += told(&mut round).len();
        }
        assert_eq!((all, round.oldest()), (90, None));

        let mut round = Round::new(&query(30, 3));
        let refused = ProbeView::new(1, Some(1), Answer::NotSent);
        round.sent(Err(refused));
        assert_eq!(told(&mut round), [(1, Answer::NotSent)]);
        assert_eq!(send(&mut round, now), [1]);
        know(&mut round, 2, 1, Answer::Unreachable);
        assert_eq!(send(&mut round, now), [1], "all of this hop, and no other");
    }
}
