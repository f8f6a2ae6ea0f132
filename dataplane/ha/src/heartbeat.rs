//! Whether the peer lives, and by which paths it can be heard.
//!
//! Heartbeats go by the HA link, and by a second path that shares no cable with it: the *witness*, a
//! data port or the management network. Silence on one path is a broken path; silence on all of them
//! is taken for a dead peer. Each heartbeat says which paths its sender hears, so a path that works in
//! one direction only is told from one that works, and carries a few bytes for [`crate::roles`].

use crate::bytes::{In, Out};
use crate::frame::{CONTROL_LANE, Kind, Refused};
use crate::hello::Session;
use crate::link::Link;

/// Bytes that a heartbeat carries for others, at most.
pub const PAYLOAD: usize = 64;
/// Paths.
const PATHS: usize = 2;

/// A way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Path {
    /// The HA link.
    HaLink = 0,
    /// The second path.
    Witness = 1,
}

impl Path {
    /// Both.
    pub const ALL: [Self; PATHS] = [Self::HaLink, Self::Witness];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Times of heartbeats, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Between two heartbeats on a path.
    pub send: u32,
    /// Silence after which a path, or the peer, is given up: some intervals, so that a lost
    /// heartbeat means nothing.
    pub dead: u32,
}

impl Default for Intervals {
    /// A dead peer is noticed within 30 ms.
    fn default() -> Self {
        Self { send: 5, dead: 30 }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer is heard.
    Up,
    /// The peer is heard by no path.
    Down,
    /// The path works in both directions.
    PathUp(Path),
    /// Of this path, one direction at least is broken.
    PathDown(Path),
}

/// The pulse of one peer.
pub struct Heartbeat {
    link: Link,
    intervals: Intervals,
    /// When the last heartbeat left, and came, by path.
    sent: [Option<u32>; PATHS],
    heard: [Option<u32>; PATHS],
    /// Number of our last heartbeat, and of the peer's latest: by the other path, or by the same, older
    /// ones may come later.
    number: u32,
    latest: Option<u32>,
    /// Bits of the paths by which the peer says that it hears us.
    hears_us: u8,
    /// What was told by events.
    up: bool,
    works: u8,
    payload: ([u8; PAYLOAD], u8),
    peer_payload: ([u8; PAYLOAD], u8),
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat")
            .field("up", &self.up)
            .field("works", &self.works)
            .finish_non_exhaustive()
    }
}

impl Heartbeat {
    /// With these times.
    pub fn new(intervals: Intervals) -> Self {
        Self {
            link: Link::new(CONTROL_LANE, Kind::Control),
            intervals,
            sent: [None; PATHS],
            heard: [None; PATHS],
            number: 0,
            latest: None,
            hears_us: 0,
            up: false,
            works: 0,
            payload: ([0; PAYLOAD], 0),
            peer_payload: ([0; PAYLOAD], 0),
        }
    }

    /// Begins to speak under a session.
    pub fn associate(&mut self, session: &Session) {
        if self.link.associate(session) {
            self.hears_us = 0;
            self.latest = None;
            self.peer_payload.1 = 0;
        }
        self.sent = [None; PATHS];
    }

    /// What the next heartbeats carry, [`PAYLOAD`] bytes at most; what is longer is cut. They leave
    /// at once if it changed.
    pub fn set_payload(&mut self, payload: &[u8]) {
        let len = payload.len().min(PAYLOAD);
        if self.payload() != &payload[..len] {
            self.payload.0[..len].copy_from_slice(&payload[..len]);
            self.payload.1 = len as u8;
            self.sent = [None; PATHS];
        }
    }

    fn payload(&self) -> &[u8] {
        &self.payload.0[..usize::from(self.payload.1)]
    }

    /// What the peer's last heartbeat carried; empty if there was none since the peer started.
    pub fn peer_payload(&self) -> &[u8] {
        &self.peer_payload.0[..usize::from(self.peer_payload.1)]
    }

    /// Whether the peer is heard by some path, as of the last event.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Whether a path works in both directions, as of the last event.
    pub fn works(&self, path: Path) -> bool {
        self.works & path.bit() != 0
    }

    /// Writes a heartbeat for `path` if one is due, and gives its length.
    pub fn poll_transmit(&mut self, path: Path, now: u32, buffer: &mut [u8]) -> Option<usize> {
        let sent = self.sent[path as usize];
        if sent.is_some_and(|sent| now.wrapping_sub(sent) < self.intervals.send) {
            return None;
        }
        let hears = self.hears(now);
        let (payload, len) = self.payload;
        let number = self.number.wrapping_add(1);
        let len = self.link.seal(buffer, |body| {
            let mut out = Out::new(body);
            out.put([path as u8, hears, 0, len]);
            out.u32(number);
            out.raw(&payload[..usize::from(len)]);
            out.finish()
        })?;
        self.number = number;
        self.sent[path as usize] = Some(now);
        Some(len)
    }

    /// Takes a heartbeat that came by `path`.
    ///
    /// # Errors
    /// Why the datagram was refused.
    pub fn handle(&mut self, path: Path, datagram: &mut [u8], now: u32) -> Result<(), Refused> {
        let body = self.link.open(datagram)?;
        let mut input = In(body);
        let [sent_by, hears_us, _, len] = input.take().ok_or(Refused::Malformed)?;
        let number = input.u32().ok_or(Refused::Malformed)?;
        let payload = input.raw(usize::from(len)).ok_or(Refused::Malformed)?;
        // Paths that are connected to each other would hide that one of them is broken.
        if sent_by != path as u8 || payload.len() > PAYLOAD {
            return Err(Refused::Malformed);
        }
        self.heard[path as usize] = Some(now);
        let newer = |latest| number.wrapping_sub(latest).cast_signed() > 0;
        if self.latest.is_none_or(newer) {
            self.latest = Some(number);
            self.peer_payload.0[..payload.len()].copy_from_slice(payload);
            self.peer_payload.1 = len;
            self.hears_us = hears_us;
        }
        Ok(())
    }

    /// Bits of the paths by which the peer was heard lately.
    fn hears(&self, now: u32) -> u8 {
        let lately = |heard: Option<u32>| {
            heard.is_some_and(|heard| now.wrapping_sub(heard) < self.intervals.dead)
        };
        let paths = Path::ALL.into_iter();
        paths.fold(0, |bits, path| {
            if lately(self.heard[path as usize]) {
                bits | path.bit()
            } else {
                bits
            }
        })
    }

    /// What changed since the last call; to be called until it gives `None`.
    pub fn poll_event(&mut self, now: u32) -> Option<Event> {
        let hears = self.hears(now);
        if (hears != 0) != self.up {
            self.up = !self.up;
            return Some(if self.up { Event::Up } else { Event::Down });
        }
        let works = hears & self.hears_us;
        for path in Path::ALL {
            if (works ^ self.works) & path.bit() != 0 {
                self.works ^= path.bit();
                return Some(if self.works & path.bit() != 0 {
                    Event::PathUp(path)
                } else {
                    Event::PathDown(path)
                });
            }
        }
        None
    }

    /// In how many milliseconds there is something to do, if nothing comes: a heartbeat to send, or
    /// silence to notice.
    pub fn poll_timeout(&self, now: u32) -> Option<u32> {
        self.link.session()?;
        let left = |since: Option<u32>, span: u32| {
            since.map(|since| span.saturating_sub(now.wrapping_sub(since)))
        };
        let send = self
            .sent
            .map(|sent| left(sent, self.intervals.send).or(Some(0)));
        let hears = self.hears(now);
        let lose = Path::ALL.map(|path| {
            let alive = hears & path.bit() != 0;
            left(
                self.heard[path as usize].filter(|_| alive),
                self.intervals.dead,
            )
        });
        send.into_iter().chain(lose).flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sessions;

    struct Pair {
        ends: [Heartbeat; 2],
        now: u32,
    }

    impl Pair {
        fn new() -> Self {
            let ends = sessions([1, 2]).map(|session| {
                let mut end = Heartbeat::new(Intervals::default());
                end.associate(&session);
                end
            });
            Self { ends, now: 0 }
        }

        /// Lets both beat on the paths that work, from the end and by the path that is asked for, and
        /// gives the events of both.
        fn run(&mut self, time: u32, works: impl Fn(usize, Path) -> bool) -> [Vec<Event>; 2] {
            let mut events = [vec![], vec![]];
            for _ in 0..time {
                self.now += 1;
                for from in [0, 1] {
                    for path in Path::ALL {
                        let mut buffer = [0; 200];
                        let Some(len) = self.ends[from].poll_transmit(path, self.now, &mut buffer)
                        else {
                            continue;
                        };
                        if works(from, path) {
                            let taken =
                                self.ends[1 - from].handle(path, &mut buffer[..len], self.now);
                            assert_eq!(taken, Ok(()));
                        }
                    }
                }
                for (end, events) in self.ends.iter_mut().zip(&mut events) {
                    events.extend(std::iter::from_fn(|| end.poll_event(self.now)));
                }
            }
            events
        }
    }

    use Event::{Down, PathDown, PathUp, Up};
    use Path::{HaLink, Witness};

    #[test]
    fn a_living_peer_is_heard_by_both_paths() {
        let mut pair = Pair::new();
        for events in pair.run(100, |_, _| true) {
            assert_eq!(events, [Up, PathUp(HaLink), PathUp(Witness)]);
        }
        assert_eq!(pair.run(1000, |_, _| true), [[], []]);
    }

    #[test]
    fn a_broken_path_is_not_a_dead_peer() {
        let mut pair = Pair::new();
        pair.run(100, |_, _| true);
        let events = pair.run(100, |_, path| path == Witness);
        assert_eq!(events, [[PathDown(HaLink)], [PathDown(HaLink)]]);
        assert!(pair.ends[0].is_up() && pair.ends[0].works(Witness));
        let events = pair.run(100, |_, _| true);
        assert_eq!(events, [[PathUp(HaLink)], [PathUp(HaLink)]]);
    }

    #[test]
    fn a_path_that_is_broken_one_way_is_broken_for_both() {
        let mut pair = Pair::new();
        pair.run(100, |_, _| true);
        let events = pair.run(100, |from, path| from == 0 || path == Witness);
        assert_eq!(events, [[PathDown(HaLink)], [PathDown(HaLink)]]);
    }

    #[test]
    fn silence_everywhere_is_a_dead_peer() {
        let mut pair = Pair::new();
        pair.run(100, |_, _| true);
        let dead = Intervals::default().dead;
        assert_eq!(pair.run(dead - 6, |_, _| false), [[], []]);
        let [events, _] = pair.run(6, |_, _| false);
        assert_eq!(events[0], Down);
        assert!(!pair.ends[0].is_up());
    }

    #[test]
    fn a_changed_payload_leaves_at_once() {
        let mut pair = Pair::new();
        pair.run(100, |_, _| true);
        pair.ends[0].set_payload(b"priority 5");
        assert_eq!(pair.ends[0].poll_timeout(pair.now), Some(0));
        pair.run(1, |_, _| true);
        assert_eq!(pair.ends[1].peer_payload(), b"priority 5");
        pair.ends[0].set_payload(&[7; 100]);
        pair.run(1, |_, _| true);
        assert_eq!(pair.ends[1].peer_payload(), [7; PAYLOAD]);
    }

    #[test]
    fn an_older_heartbeat_that_comes_later_changes_nothing_said() {
        let mut pair = Pair::new();
        let mut beat = |payload: &[u8], path| {
            let mut buffer = [0; 200];
            pair.ends[0].set_payload(payload);
            let len = pair.ends[0]
                .poll_transmit(path, 0, &mut buffer)
                .expect("due");
            buffer[..len].to_vec()
        };
        let (mut old, mut new) = (beat(b"old", Witness), beat(b"new", HaLink));
        assert_eq!(pair.ends[1].handle(HaLink, &mut new, 0), Ok(()));
        assert_eq!(pair.ends[1].handle(Witness, &mut old, 0), Ok(()));
        assert_eq!(pair.ends[1].peer_payload(), b"new");
    }

    #[test]
    fn a_heartbeat_of_one_path_on_the_other_is_refused() {
        let mut pair = Pair::new();
        let mut buffer = [0; 200];
        let len = pair.ends[0]
            .poll_transmit(Witness, 0, &mut buffer)
            .expect("due");
        let taken = pair.ends[1].handle(HaLink, &mut buffer[..len], 0);
        assert_eq!(taken, Err(Refused::Malformed));
    }

    #[test]
    fn a_restarted_peer_has_not_said_anything_yet() {
        let mut pair = Pair::new();
        pair.ends[0].set_payload(b"old");
        pair.run(100, |_, _| true);
        let [_, of_b] = sessions([9, 2]);
        pair.ends[1].associate(&of_b);
        assert_eq!(pair.ends[1].peer_payload(), b"");
    }
}
