//! Neighbours on the links: whose MAC address is behind an IP address.
//!
//! One table serves ARP (RFC 826) and neighbour discovery (RFC 4861), with the latter's
//! reachability detection for both: an address that was learnt is trusted for about 30 s, then
//! asked again, by unicast, when it is used. Each worker has a table of its own; what one learns
//! from the wire it tells the others ([`Learned`]), which enter it in the same way.
//!
//! Everything is bounded and nothing is allocated after the start. Entries that nobody refers to
//! are a cache, and give way when room is needed. Times are milliseconds since start.

use std::net::IpAddr;

use sluice_wire::MacAddr;

use crate::snapshot::PortId;

mod learn;
#[cfg(test)]
mod tests;
mod timers;

pub use learn::{Change, How, Learned};

/// Index of a neighbour. Means the same neighbour for as long as the reference that
/// [`Neighbours::resolve`] gave is not released.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct NeighbourId(pub u16);

/// Every entry is referred to by somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the neighbour table is full")]
pub struct TableFull;

/// Size and times of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most entries.
    pub capacity: u16,
    /// How long an address is trusted without a word from it, on average; drawn anew within half
    /// and one and a half of it each time (RFC 4861 section 6.3.2). Milliseconds.
    pub reachable_ms: u32,
    /// Between two solicitations of one address, milliseconds.
    pub retransmit_ms: u32,
    /// Solicitations without an answer before giving up.
    pub tries: u8,
    /// After giving up, packets are refused for so long before the address is asked again,
    /// milliseconds.
    pub failed_ms: u32,
}

impl Default for Limits {
    /// The times are those of RFC 4861 section 10.
    fn default() -> Self {
        Self {
            capacity: 4096,
            reachable_ms: 30_000,
            retransmit_ms: 1000,
            tries: 3,
            failed_ms: 3000,
        }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Being asked for by broadcast or multicast; no MAC address yet.
    Incomplete,
    /// Heard of within the reachable time.
    Reachable,
    /// MAC address known, but not from an answer to us, or too long ago.
    Stale,
    /// Like stale, and being asked by unicast.
    Probe,
    /// Did not answer.
    Failed,
    /// Configured; never asked, never changed.
    Static,
}

/// What to do with a packet for a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Send it there.
    At(MacAddr),
    /// Hold it: the neighbour is being asked for.
    Wait,
    /// Drop it: the neighbour did not answer a moment ago.
    Unreachable,
}

/// What [`Neighbours::tick`] wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Ask who has an address.
    Solicit {
        /// On this port.
        port: PortId,
        /// For this address.
        addr: IpAddr,
        /// By unicast to the MAC address it had last, or by broadcast or multicast.
        unicast: Option<MacAddr>,
    },
    /// The neighbour was reachable and no longer answers. Its MAC address is forgotten, and it is
    /// asked for by broadcast: hold packets.
    Lost(NeighbourId),
    /// The neighbour did not answer: what waits for it waits in vain.
    Failed(NeighbourId),
}

/// An entry, for the API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The port.
    pub port: PortId,
    /// The address.
    pub addr: IpAddr,
    /// Its MAC address, if known.
    pub mac: Option<MacAddr>,
    /// What is known of it. An address not used since its reachable time passed is stale.
    pub state: State,
    /// It said that it is a router (IPv6).
    pub router: bool,
    /// Somebody refers to it.
    pub referenced: bool,
    /// Milliseconds since it was last used or heard of.
    pub age_ms: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    addr: IpAddr,
    port: PortId,
    mac: MacAddr,
    state: State,
    /// Solicitations sent since it entered its state.
    tries: u8,
    router: bool,
    /// In `Neighbours::active`.
    active: bool,
    /// In `Neighbours::sorted`: can be found.
    listed: bool,
    /// Is to be asked for though nobody refers to it.
    sought: bool,
    references: u32,
    /// Reachable: when it was confirmed. Incomplete, Probe: when to solicit next. Failed: since when.
    at: u32,
    /// Reachable: how long.
    trust_ms: u32,
    /// When it was last used or heard of.
    seen: u32,
}

impl Entry {
    fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Incomplete | State::Failed => None,
            State::Reachable | State::Stale | State::Probe | State::Static => Some(self.mac),
        }
    }

    fn expired(&self, now: u32) -> bool {
        now.wrapping_sub(self.at) >= self.trust_ms
    }
}

/// Entries that are looked at to find one that can give way.
const EVICTION_WINDOW: usize = 64;

/// A worker's neighbours.
#[derive(Debug)]
pub struct Neighbours {
    limits: Limits,
    entries: Vec<Entry>,
    /// Ids of entries, by (port, address).
    sorted: Vec<u16>,
    /// Ids of entries that are neither listed nor referred to.
    free: Vec<u16>,
    /// Ids of entries with a timer running: Incomplete and Probe.
    active: Vec<u16>,
    /// Where the next tick goes on in `active`.
    cursor: usize,
    /// Where the next search for an entry that can give way goes on in `entries`.
    hand: usize,
    random: u64,
    /// Ids that were found lately, by a hash of what was looked for: a guess to begin with.
    lately: [u16; LATELY],
}

/// Neighbours found lately that are remembered.
const LATELY: usize = 256;

/// Where a neighbour found lately is remembered.
fn lately_at(port: PortId, addr: IpAddr) -> usize {
    let word = match addr {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() as u64,
    };
    let mixed = (word ^ u64::from(port.0) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % LATELY
}

impl Neighbours {
    /// An empty table. `seed` makes workers draw different times; any value will do.
    pub fn new(limits: Limits, seed: u64) -> Self {
        let capacity = usize::from(limits.capacity);
        Self {
            limits,
            entries: Vec::with_capacity(capacity),
            sorted: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            active: Vec::with_capacity(capacity),
            cursor: 0,
            hand: 0,
            random: seed | 1,
            lately: [0; LATELY],
        }
    }

    /// Refers to a neighbour, which is asked for at the next tick if it is not known. Each call is
    /// paid back by one [`Neighbours::release`].
    ///
    /// # Errors
    /// [`TableFull`] if no entry could give way. A bounded number is looked at, so that a later call
    /// may find one even if nothing was released.
    pub fn resolve(
        &mut self,
        port: PortId,
        addr: IpAddr,
        now: u32,
    ) -> Result<NeighbourId, TableFull> {
        let guess = lately_at(port, addr);
        let guessed = NeighbourId(self.lately[guess]);
        if self.is(guessed, port, addr) {
            self.entries[usize::from(guessed.0)].references += 1;
            return Ok(guessed);
        }
        let id = match self.find(port, addr) {
            Some(id) => id,
            None => {
                let id = self.insert(port, addr, now).ok_or(TableFull)?;
                self.ask(id, State::Incomplete, now);
                id
            }
        };
        self.entries[usize::from(id.0)].references += 1;
        self.lately[guess] = id.0;
        Ok(id)
    }

    /// Gives a reference back.
    pub fn release(&mut self, id: NeighbourId) {
        let Some(entry) = self.entries.get_mut(usize::from(id.0)) else {
            return;
        };
        let referred = entry.references > 0;
        entry.references = entry.references.saturating_sub(1);
        if referred && entry.references == 0 && !entry.listed && !entry.active {
            self.free.push(id.0);
        }
    }

    /// The neighbour with this address, if there is an entry for it. Takes no reference.
    pub fn find(&self, port: PortId, addr: IpAddr) -> Option<NeighbourId> {
        self.position(port, addr)
            .ok()
            .map(|at| NeighbourId(self.sorted[at]))
    }

    /// Whether this is what [`Self::resolve`] would find for the address.
    #[inline]
    pub fn is(&self, id: NeighbourId, port: PortId, addr: IpAddr) -> bool {
        let entry = self.entries.get(usize::from(id.0));
        entry.is_some_and(|entry| entry.listed && entry.addr == addr && entry.port == port)
    }

    /// Its port and address.
    pub fn name(&self, id: NeighbourId) -> Option<(PortId, IpAddr)> {
        self.entries
            .get(usize::from(id.0))
            .map(|entry| (entry.port, entry.addr))
    }

    /// Its MAC address, if known.
    #[inline]
    pub fn get(&self, id: NeighbourId) -> Option<MacAddr> {
        self.entries.get(usize::from(id.0))?.mac()
    }

    /// What [`used`](Self::used) would say.
    pub fn reach(&self, id: NeighbourId, now: u32) -> Reach {
        let Some(entry) = self.entries.get(usize::from(id.0)) else {
            return Reach::Unreachable;
        };
        match entry.state {
            State::Reachable | State::Stale | State::Static | State::Probe => Reach::At(entry.mac),
            State::Incomplete => Reach::Wait,
            State::Failed
                if !entry.listed || now.wrapping_sub(entry.at) < self.limits.failed_ms =>
            {
                Reach::Unreachable
            }
            State::Failed => Reach::Wait,
        }
    }

    /// Its MAC address for a packet to be sent now. An address that was not confirmed for long is
    /// asked again by the next tick; one that failed is asked again once its time is over.
    #[inline]
    pub fn used(&mut self, id: NeighbourId, now: u32) -> Reach {
        let Some(entry) = self.entries.get_mut(usize::from(id.0)) else {
            return Reach::Unreachable;
        };
        entry.seen = now;
        match entry.state {
            State::Reachable if !entry.expired(now) => Reach::At(entry.mac),
            State::Static | State::Probe => Reach::At(entry.mac),
            State::Reachable | State::Stale => {
                let mac = entry.mac;
                self.ask(id, State::Probe, now);
                Reach::At(mac)
            }
            State::Incomplete => Reach::Wait,
            State::Failed
                if !entry.listed || now.wrapping_sub(entry.at) < self.limits.failed_ms =>
            {
                Reach::Unreachable
            }
            State::Failed => {
                self.ask(id, State::Incomplete, now);
                Reach::Wait
            }
        }
    }

    /// Configures a neighbour's MAC address.
    ///
    /// # Errors
    /// [`TableFull`], as [`Neighbours::resolve`].
    pub fn pin(
        &mut self,
        port: PortId,
        addr: IpAddr,
        mac: MacAddr,
        now: u32,
    ) -> Result<Change, TableFull> {
        let id = match self.find(port, addr) {
            Some(id) => id,
            None => self.insert(port, addr, now).ok_or(TableFull)?,
        };
        let entry = &mut self.entries[usize::from(id.0)];
        entry.state = State::Static;
        entry.mac = mac;
        Ok(Change { id, mac })
    }

    /// Makes a configured neighbour an ordinary one again.
    pub fn unpin(&mut self, port: PortId, addr: IpAddr) {
        if let Some(id) = self.find(port, addr) {
            let entry = &mut self.entries[usize::from(id.0)];
            if entry.state == State::Static {
                entry.state = State::Stale;
            }
        }
    }

    /// Takes over a new configuration, in which ports may have other numbers. `port` gives the new
    /// number of a neighbour's port, or `None` if the neighbour is no longer one: port gone, not
    /// connected any more, or the address has become ours. What still refers to such a neighbour
    /// finds it unreachable.
    pub fn renumber(&mut self, mut port: impl FnMut(PortId, IpAddr) -> Option<PortId>) {
        let (entries, free) = (&mut self.entries, &mut self.free);
        self.sorted.retain(|&id| {
            let entry = &mut entries[usize::from(id)];
            match port(entry.port, entry.addr) {
                Some(number) => entry.port = number,
                None => {
                    entry.listed = false;
                    entry.state = State::Failed;
                    if entry.references == 0 && !entry.active {
                        free.push(id);
                    }
                }
            }
            entry.listed
        });
        self.sorted.sort_unstable_by_key(|&id| {
            let entry = &entries[usize::from(id)];
            (entry.port, entry.addr)
        });
    }

    /// All entries, by port and address.
    pub fn iter(&self, now: u32) -> impl Iterator<Item = Listed> + '_ {
        self.sorted.iter().map(move |&id| {
            let entry = &self.entries[usize::from(id)];
            Listed {
                port: entry.port,
                addr: entry.addr,
                mac: entry.mac(),
                state: match entry.state {
                    State::Reachable if entry.expired(now) => State::Stale,
                    state => state,
                },
                router: entry.router,
                referenced: entry.references > 0,
                age_ms: now.wrapping_sub(entry.seen),
            }
        })
    }

    fn position(&self, port: PortId, addr: IpAddr) -> Result<usize, usize> {
        self.sorted.binary_search_by(|&id| {
            let entry = &self.entries[usize::from(id)];
            (entry.port, entry.addr).cmp(&(port, addr))
        })
    }

    /// A new entry, Stale and without a MAC address until the caller says otherwise.
    fn insert(&mut self, port: PortId, addr: IpAddr, now: u32) -> Option<NeighbourId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.entries.len() < usize::from(self.limits.capacity) => {
                self.entries.len() as u16
            }
            None => self.evict(now)?,
        };
        let entry = Entry {
            addr,
            port,
            mac: MacAddr::ZERO,
            state: State::Stale,
            tries: 0,
            router: false,
            active: false,
            listed: true,
            sought: false,
            references: 0,
            at: now,
            trust_ms: 0,
            seen: now,
        };
        match self.entries.get_mut(usize::from(id)) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        let at = self.position(port, addr).unwrap_or_else(|at| at);
        self.sorted.insert(at, id);
        Some(NeighbourId(id))
    }

    /// Removes the entry that is missed least among a window of them: one that failed, or else the
    /// one not heard of for longest.
    fn evict(&mut self, now: u32) -> Option<u16> {
        let len = self.entries.len();
        let window = (0..len.min(EVICTION_WINDOW)).map(|i| (self.hand + i) % len);
        let victim = window
            .filter(|&at| {
                let entry = &self.entries[at];
                entry.references == 0 && !entry.active && entry.state != State::Static
            })
            .max_by_key(|&at| {
                let entry = &self.entries[at];
                (entry.state == State::Failed, now.wrapping_sub(entry.seen))
            });
        self.hand = (self.hand + EVICTION_WINDOW) % len.max(1);
        let id = victim? as u16;
        let entry = &self.entries[usize::from(id)];
        if let Ok(at) = self.position(entry.port, entry.addr) {
            self.sorted.remove(at);
        }
        Some(id)
    }
}
