//! Datagrams in pieces: which ports a later fragment has.
//!
//! Only the first fragment of a datagram carries ports, and it may arrive last. What is kept here
//! is what a router in the middle needs ("virtual reassembly", RFC 8900 section 4): the ports, once
//! known, which bytes have been seen, and fragments that came before the first, until it does.
//! Nothing is put together.
//!
//! A fragment that overlaps another gives different receivers different datagrams, so it is an
//! attack or damage: the datagram is poisoned, and no more of it passes (RFC 5722, here for IPv4
//! too). A fragment that brings nothing new is a duplicate; it is dropped and does no harm. Bytes
//! pass at most once. Pieces that no datagram can have, and first fragments without their whole
//! transport header (RFC 1858, RFC 7112), have been refused by [`sluice_wire::parse()`].
//!
//! Everything is bounded: datagrams, frames in all and for one datagram, separate ranges of one
//! datagram, and time. When all pieces have passed the datagram is forgotten.

use arrayvec::ArrayVec;
use sluice_wire::parse::{Fragment, Kind, Parsed};
use sluice_wire::{Key, KeyHasher, V4, V6};

use crate::counters::DropReason;
use crate::stack::ident::Idents;

mod coverage;
mod slab;
#[cfg(test)]
mod tests;

use coverage::{Coverage, Refused};
use slab::{Chain, Slab};

/// Bounds of [`Reassembly`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most datagrams under way.
    pub datagrams: u16,
    /// Most frames held in all.
    pub frames: u16,
    /// Most frames held for one datagram.
    pub frames_per_datagram: u16,
    /// A datagram is given up so long after its earliest piece came, milliseconds. Hosts wait 60 s
    /// (RFC 8200 section 4.5); what is late by seconds has been sent again by then.
    pub timeout_ms: u32,
}

impl Default for Limits {
    /// The largest datagram in pieces of 1,500 bytes has 45 of them.
    fn default() -> Self {
        Self {
            datagrams: 1024,
            frames: 512,
            frames_per_datagram: 64,
            timeout_ms: 5000,
        }
    }
}

/// What all pieces of a datagram share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Upper-layer protocol, as in [`Parsed::key_proto`] of the first fragment.
    pub proto: u8,
    /// Ports, as in [`Parsed::ports`] of the first fragment.
    pub ports: u32,
    /// To be written over the identification in every piece if the datagram's source address is
    /// translated; see [`Idents`]. Of IPv4, the low 16 bits.
    pub new_id: u32,
}

/// One fragment, as far as this is about it.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    name: Name,
    fragment: Fragment,
    /// Protocol and ports, in a first fragment.
    transport: Option<(u8, u32)>,
}

/// What names a datagram: addresses, protocol (IPv4 only), zone; identification in the ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    V4(Key<u64>),
    V6(Key<[u64; 4]>),
}

impl Piece {
    /// Of a frame that came in by `zone`; `None` if it is no fragment.
    pub fn of(parsed: &Parsed, frame: &[u8], zone: u8) -> Option<Self> {
        let fragment = parsed.fragment(frame)?;
        let name = if parsed.v6 {
            Name::V6(Key {
                ports: fragment.id,
                proto: 0,
                ..parsed.key::<V6>(frame, zone)
            })
        } else {
            Name::V4(Key {
                ports: fragment.id,
                proto: parsed.proto,
                ..parsed.key::<V4>(frame, zone)
            })
        };
        let first = parsed.kind == Kind::FragmentFirst;
        Some(Self {
            name,
            fragment,
            transport: first.then_some((parsed.key_proto, parsed.ports)),
        })
    }
}

/// What becomes of a fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<F> {
    /// It goes on, as part of this datagram.
    Pass(F, Datagram),
    /// It is kept until the first fragment comes.
    Held,
    /// It is refused.
    Drop(F, DropReason),
}

/// A frame that was held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Released<F> {
    /// The frame.
    pub frame: F,
    /// What the caller gave along with it.
    pub cookie: u32,
    /// Goes on as part of this datagram, or is to be dropped.
    pub fate: Result<Datagram, DropReason>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not in use.
    Free,
    /// The first fragment has not come.
    Waiting,
    /// Ports are known.
    Known,
    /// Pieces overlapped: nothing of it passes.
    Poisoned,
}

#[derive(Debug)]
struct Record {
    name: Name,
    state: State,
    /// `proto` and `ports` count once the state is `Known`.
    datagram: Datagram,
    since: u32,
    coverage: Coverage,
    held: Chain,
    /// Next record in the same bucket, or next free one.
    next: u16,
}

/// No record.
const NIL: u16 = u16::MAX;

/// Datagrams under way on one worker.
#[derive(Debug)]
pub struct Reassembly<F> {
    limits: Limits,
    hasher: KeyHasher,
    /// For each hash: the first record.
    buckets: Box<[u16]>,
    records: Vec<Record>,
    free: u16,
    live: usize,
    held: Slab<F>,
    /// Released, to be taken by `pop`.
    ready: Chain,
    idents_v4: Idents,
    idents_v6: Idents,
    cursor: usize,
}

impl<F> Reassembly<F> {
    /// No datagrams. The secret keeps outsiders from aiming at one bucket and from foretelling
    /// identifications.
    pub fn new(limits: Limits, worker: u16, workers: u16, secret: [u64; 4]) -> Self {
        let capacity = usize::from(limits.datagrams.clamp(1, NIL - 1));
        Self {
            limits: Limits {
                datagrams: capacity as u16,
                ..limits
            },
            hasher: KeyHasher::new(secret),
            buckets: vec![NIL; capacity.next_power_of_two()].into(),
            records: Vec::with_capacity(capacity),
            free: NIL,
            live: 0,
            held: Slab::new(limits.frames),
            ready: Chain::EMPTY,
            idents_v4: Idents::v4(worker, workers, secret[0] ^ secret[1].rotate_left(17)),
            idents_v6: Idents::v6(worker, workers, secret[2] ^ secret[3].rotate_left(17)),
            cursor: 0,
        }
    }

    /// Datagrams under way.
    pub fn datagrams(&self) -> usize {
        self.live
    }

    /// Frames held, those included that [`Reassembly::pop`] has yet to give.
    pub fn frames(&self) -> usize {
        self.held.len()
    }

    /// A new identification for an IPv4 datagram that we split ourselves, or whose pieces do not
    /// pass through here.
    pub fn next_id_v4(&mut self) -> u16 {
        self.idents_v4.draw() as u16
    }

    /// Enters a fragment. `cookie` comes back with it if it is held. Frames that were held may be
    /// released by it: take them with [`Reassembly::pop`] afterwards.
    pub fn input(&mut self, piece: &Piece, frame: F, cookie: u32, now: u32) -> Outcome<F> {
        let bucket = self.bucket(&piece.name);
        let mut found = self.find(bucket, &piece.name);
        if let Some(at) = found
            && self.expired(at, now)
        {
            self.remove(at, Err(DropReason::FragmentTimeout));
            found = None;
        }
        let Some(at) = found.or_else(|| self.insert(bucket, piece.name, now)) else {
            return Outcome::Drop(frame, DropReason::FragmentTableFull);
        };
        let record = &mut self.records[usize::from(at)];
        let waiting = record.state == State::Waiting && piece.transport.is_none();
        let full = record.held.len >= self.limits.frames_per_datagram || self.held.is_full();
        if record.state == State::Poisoned {
            return Outcome::Drop(frame, DropReason::FragmentOverlap);
        }
        if waiting && full {
            if record.coverage.is_empty() {
                self.remove(at, Err(DropReason::FragmentTableFull));
            }
            return Outcome::Drop(frame, DropReason::FragmentTableFull);
        }
        let fragment = piece.fragment;
        match record
            .coverage
            .add(fragment.offset, fragment.len, fragment.more)
        {
            Ok(()) => {}
            Err(Refused::Duplicate) => {
                return Outcome::Drop(frame, DropReason::FragmentDuplicate);
            }
            Err(Refused::TooScattered) => {
                return Outcome::Drop(frame, DropReason::FragmentTableFull);
            }
            Err(Refused::Overlap) => {
                record.state = State::Poisoned;
                let held = std::mem::replace(&mut record.held, Chain::EMPTY);
                self.release(held, Err(DropReason::FragmentOverlap));
                return Outcome::Drop(frame, DropReason::FragmentOverlap);
            }
        }
        if waiting {
            self.held.push(&mut record.held, frame, cookie);
            return Outcome::Held;
        }
        if let Some((proto, ports)) = piece.transport {
            record.state = State::Known;
            record.datagram.proto = proto;
            record.datagram.ports = ports;
            let held = std::mem::replace(&mut record.held, Chain::EMPTY);
            let datagram = record.datagram;
            self.release(held, Ok(datagram));
        }
        let record = &self.records[usize::from(at)];
        let datagram = record.datagram;
        if record.coverage.is_complete() {
            self.remove(at, Err(DropReason::Internal));
        }
        Outcome::Pass(frame, datagram)
    }

    /// Takes a released frame; those of one datagram come in the order they arrived.
    pub fn pop(&mut self) -> Option<Released<F>> {
        self.held.pop(&mut self.ready)
    }

    /// Gives up datagrams whose time is over, looking at no more than `budget` of them. Their frames
    /// are released. Those not looked at yet end when a piece of theirs comes.
    pub fn expire(&mut self, now: u32, budget: usize) {
        if self.live == 0 {
            return;
        }
        for _ in 0..budget.min(self.records.len()) {
            if self.cursor >= self.records.len() {
                self.cursor = 0;
            }
            let at = self.cursor as u16;
            if self.expired(at, now) {
                self.remove(at, Err(DropReason::FragmentTimeout));
            }
            self.cursor += 1;
        }
    }

    /// Releases all frames that are held, to be dropped, and forgets all datagrams.
    pub fn clear(&mut self, reason: DropReason) {
        for at in 0..self.records.len() {
            if self.records[at].state != State::Free {
                self.remove(at as u16, Err(reason));
            }
        }
    }

    fn expired(&self, at: u16, now: u32) -> bool {
        let record = &self.records[usize::from(at)];
        record.state != State::Free && now.wrapping_sub(record.since) >= self.limits.timeout_ms
    }

    fn bucket(&self, name: &Name) -> usize {
        let hash = match name {
            Name::V4(key) => self.hasher.hash::<V4>(key),
            Name::V6(key) => self.hasher.hash::<V6>(key),
        };
        hash as usize & (self.buckets.len() - 1)
    }

    fn find(&self, bucket: usize, name: &Name) -> Option<u16> {
        let mut at = self.buckets[bucket];
        loop {
            let record = self.records.get(usize::from(at))?;
            if record.name == *name {
                return Some(at);
            }
            at = record.next;
        }
    }

    fn insert(&mut self, bucket: usize, name: Name, now: u32) -> Option<u16> {
        let new_id = match name {
            Name::V4(_) => self.idents_v4.draw(),
            Name::V6(_) => self.idents_v6.draw(),
        };
        let record = Record {
            name,
            state: State::Waiting,
            datagram: Datagram {
                proto: 0,
                ports: 0,
                new_id,
            },
            since: now,
            coverage: Coverage::default(),
            held: Chain::EMPTY,
            next: self.buckets[bucket],
        };
        let at = if let Some(free) = self.records.get_mut(usize::from(self.free)) {
            let at = std::mem::replace(&mut self.free, free.next);
            *free = record;
            at
        } else if self.records.len() < usize::from(self.limits.datagrams) {
            self.records.push(record);
            (self.records.len() - 1) as u16
        } else {
            return None;
        };
        self.buckets[bucket] = at;
        self.live += 1;
        Some(at)
    }

    fn remove(&mut self, at: u16, fate: Result<Datagram, DropReason>) {
        let record = &mut self.records[usize::from(at)];
        let (name, next) = (record.name, record.next);
        let held = std::mem::replace(&mut record.held, Chain::EMPTY);
        record.state = State::Free;
        record.next = std::mem::replace(&mut self.free, at);
        self.live -= 1;
        self.release(held, fate);
        let bucket = self.bucket(&name);
        if self.buckets[bucket] == at {
            self.buckets[bucket] = next;
            return;
        }
        let mut before = self.buckets[bucket];
        while let Some(record) = self.records.get_mut(usize::from(before)) {
            if record.next == at {
                record.next = next;
                return;
            }
            before = record.next;
        }
    }

    fn release(&mut self, held: Chain, fate: Result<Datagram, DropReason>) {
        self.held.decide(held, fate, &mut self.ready);
    }
}
