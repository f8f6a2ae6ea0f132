//! Ranges of ports, and the order in which a free one is looked for.
//!
//! The order is that of RFC 6056 algorithm 4 (double hash), with a stride: from a start that depends
//! on a secret and on whom the port is for, and a counter that goes on where the last search ended.
//! Whoever sees the ports of one destination learns nothing of another's; a port that became free is
//! used again only after all others were; and since every search goes on, each port is tried in
//! turn, however little a single search may cost.

use arrayvec::ArrayVec;

/// Ports that one search may find taken before it gives up until the next packet.
const PROBES: u32 = 256;
/// Ports that one search may look at, those that are another worker's included.
const STEPS: u32 = 8192;
/// Ports that foreseeing one looks at.
const FORESEEN: u32 = 64;
/// How long a search that found nothing at all is not repeated, milliseconds, unless a port is
/// given back.
const EXHAUSTED_MS: u32 = 1000;
/// How many searches are remembered.
const SLOTS: usize = 1024;
/// Ports remembered that came back after a search found none.
const FREED: usize = 16;

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `None` if the last port is less than the first.
    pub fn new((first, last): (u16, u16)) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first and the last.
    pub fn ends(self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// How many ports: 1 to 65,536.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// How many of `parts` blocks have ports: all of them, unless there are fewer ports.
    pub fn blocks(self, parts: u16) -> u16 {
        self.count().min(u32::from(parts.max(1))) as u16
    }

    /// Block `index` of the range cut into `parts`. No port is lost: the first blocks are longer by
    /// one where the count does not divide. `None` for a block without ports.
    pub fn block(self, index: u16, parts: u16) -> Option<Self> {
        let parts = u32::from(parts.max(1));
        let (len, longer) = (self.count() / parts, self.count() % parts);
        let index = u32::from(index);
        let own = len + u32::from(index < longer);
        if index >= parts || own == 0 {
            return None;
        }
        let first = u32::from(self.first) + index * len + index.min(longer);
        Some(Self {
            first: first as u16,
            last: (first + own - 1) as u16,
        })
    }

    /// The block that `port` is in; `None` if it is outside the range.
    pub fn block_of(self, port: u16, parts: u16) -> Option<u16> {
        if !self.contains(port) {
            return None;
        }
        let parts = u32::from(parts.max(1));
        let (len, longer) = (self.count() / parts, self.count() % parts);
        let at = u32::from(port - self.first);
        let in_longer = longer * (len + 1);
        let block = if at < in_longer {
            at / (len + 1)
        } else {
            longer + (at - in_longer).checked_div(len)?
        };
        Some(block as u16)
    }

    /// All of its ports.
    pub fn all(self) -> Candidates {
        Candidates {
            first: self.first,
            stride: 1,
            count: self.count(),
        }
    }

    /// The ports that are even, or odd, as `like` is (RFC 4787 REQ-4). `None` if there is none.
    pub fn parity(self, like: u16) -> Option<Candidates> {
        let skip = (self.first ^ like) & 1;
        let first = self.first.checked_add(skip)?;
        (first <= self.last).then(|| Candidates {
            first,
            stride: 2,
            count: u32::from(self.last - first) / 2 + 1,
        })
    }
}

/// Ports to choose from: `count` of them, from `first` on, `stride` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidates {
    first: u16,
    stride: u16,
    count: u32,
}

impl Candidates {
    fn get(self, index: u32) -> u16 {
        (u32::from(self.first) + index * u32::from(self.stride)) as u16
    }

    fn contains(self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|above| {
            above.is_multiple_of(self.stride) && u32::from(above / self.stride) < self.count
        })
    }
}

/// Where searches go on. One per worker and purpose.
#[derive(Debug, Clone)]
pub struct Searches {
    slots: Box<[Slot]>,
}

/// The searches whose subjects hash here. They share the counter; all else is the last one's.
#[derive(Debug, Clone, Default)]
struct Slot {
    subject: u64,
    candidates: Candidates,
    /// Candidates tried, modulo their count.
    next: u32,
    /// How far ahead of `next` candidates were foreseen.
    ahead: u32,
    /// Candidates tried since one was free.
    barren: u32,
    /// The last search found none.
    failed: bool,
    /// When all were found taken, if they were.
    exhausted: Option<u32>,
    /// Those that came back since a search failed.
    freed: ArrayVec<u16, FREED>,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS].into(),
        }
    }
}

impl Searches {
    /// Looks for a port that is `ours` and not `taken`. `subject` is a keyed hash of all that the
    /// port must be unique within (protocol, own address, and the remote end where that counts).
    /// `probes` is the number of calls of `taken` that may still be made for this packet.
    ///
    /// `None`: all are taken, or so many that the search goes on with the next packet.
    pub fn find(
        &mut self,
        subject: u64,
        candidates: Candidates,
        now: u32,
        probes: &mut Probes,
        ours: impl Fn(u16) -> bool,
        mut taken: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let count = candidates.count.max(1);
        let slot = self.slots.get_mut(slot_of(subject))?;
        if slot.subject != subject || slot.candidates != candidates {
            *slot = Slot {
                subject,
                candidates,
                next: slot.next,
                ..Slot::default()
            };
        }
        while let Some(port) = slot.freed.pop() {
            if candidates.contains(port) && ours(port) && !taken(port) {
                return Some(port);
            }
        }
        if let Some(since) = slot.exhausted {
            if now.wrapping_sub(since) < EXHAUSTED_MS {
                return None;
            }
            slot.exhausted = None;
            slot.barren = 0;
        }

        slot.failed = true;
        slot.next %= count;
        let (mut at, step) = order(subject, count, slot.next);
        for _ in 0..STEPS {
            if slot.barren >= count {
                slot.exhausted = Some(now);
                return None;
            }
            if probes.0 == 0 {
                return None;
            }
            let port = candidates.get(at as u32);
            slot.next += 1;
            slot.ahead = slot.ahead.saturating_sub(1);
            slot.barren += 1;
            at += u64::from(step);
            if at >= u64::from(count) {
                at -= u64::from(count);
            }
            if !ours(port) {
                continue;
            }
            probes.0 -= 1;
            if !taken(port) {
                slot.barren = 0;
                slot.failed = false;
                return Some(port);
            }
        }
        None
    }

    /// The port that a search is likely to find, so that what tells whether it is taken can be
    /// fetched. Asked again before the search, it gives the one after that.
    pub fn foresee(
        &mut self,
        subject: u64,
        candidates: Candidates,
        ours: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let count = candidates.count.max(1);
        let slot = self.slots.get_mut(slot_of(subject))?;
        let (mut at, step) = order(subject, count, slot.next.wrapping_add(slot.ahead) % count);
        for _ in 0..FORESEEN {
            slot.ahead = (slot.ahead + 1) % count;
            let port = candidates.get(at as u32);
            if ours(port) {
                return Some(port);
            }
            at += u64::from(step);
            if at >= u64::from(count) {
                at -= u64::from(count);
            }
        }
        None
    }

    /// A port is free again. If the last search for this subject failed, the next one takes it.
    pub fn give_back(&mut self, subject: u64, port: u16) {
        if let Some(slot) = self.slots.get_mut(slot_of(subject))
            && slot.subject == subject
            && slot.failed
            && slot.freed.try_push(port).is_ok()
        {
            slot.exhausted = None;
            slot.barren = 0;
        }
    }
}

/// Where search number `next` for a subject begins, and how far it is to the candidate after that.
///
/// The step is a prime larger than the count, so it has no factor in common with it, and `count`
/// steps visit every candidate once.
fn order(subject: u64, count: u32, next: u32) -> (u64, u32) {
    let step = PRIMES[(subject >> 32) as usize % PRIMES.len()] % count;
    let start = (subject as u32) % count;
    let at = (u64::from(start) + u64::from(next) * u64::from(step)) % u64::from(count);
    (at, step)
}

fn slot_of(subject: u64) -> usize {
    (subject >> 40) as usize % SLOTS
}

/// How much one packet may still search.
#[derive(Debug)]
pub struct Probes(u32);

impl Default for Probes {
    fn default() -> Self {
        Self(PROBES)
    }
}

impl Probes {
    /// Nothing is left.
    pub fn spent(&self) -> bool {
        self.0 == 0
    }
}

/// Primes above 65,536, some way apart.
const PRIMES: [u32; 64] = primes();

const fn primes() -> [u32; 64] {
    let mut found = [0; 64];
    let mut at = 0;
    let mut number = 65_537;
    while at < found.len() {
        let mut divisor = 3;
        while divisor * divisor <= number && number % divisor != 0 {
            divisor += 2;
        }
        if divisor * divisor > number {
            found[at] = number;
            at += 1;
            number += 10_000;
        }
        number += 2;
    }
    found
}

#[cfg(test)]
mod tests;
