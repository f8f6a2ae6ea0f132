//! The arrays that a burst is worked on in: keys, hashes and guesses, each at the place of its frame.

use arrayvec::ArrayVec;
use sluice_wire::parse::{Parsed, parse_plain};
use sluice_wire::{Family, Key, V4, V6};

use super::burst::NOWHERE;
use super::plain::Lane;
use super::tables::{PerFamily, Tables};
use crate::counters::DropReason;
use crate::io::{Checksum, RX_BURST, RxMeta};
use crate::session::table::Candidate;
use crate::snapshot::PortId;

/// What is next for a frame of the burst that is not plain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Drop it.
    Drop(DropReason, PortId),
    /// Not a packet of a session: ARP, neighbour discovery, fragments.
    Special(Parsed, PortId),
    /// Its key is among the burst's.
    Key(Parsed, PortId),
}

/// Keys of one family, with hashes and what the table says, each at the place of its frame.
#[derive(Debug)]
pub(super) struct Batch<F: Family> {
    keys: [Key<F::Addrs>; RX_BURST],
    hashes: [u64; RX_BURST],
    candidates: [Candidate; RX_BURST],
    /// Bit i: frame i has a key here, and there is nothing special about it.
    pub(super) plain: u64,
    /// Bit i: frame i has a key here, but is not plain.
    others: u64,
    /// Bit i: the table has to look a second time.
    away: u64,
}

/// So that an index cut to the size of a burst needs no other check, and a word has a bit for each.
const _: () = assert!(RX_BURST == 64);
/// Frames that are looked up before as many are worked on, so that memory has something to do all
/// the time.
pub(super) const GROUP: usize = 8;

impl<F: Family> Default for Batch<F> {
    fn default() -> Self {
        Self {
            keys: [Key::default(); RX_BURST],
            hashes: [0; RX_BURST],
            candidates: [Candidate::default(); RX_BURST],
            plain: 0,
            others: 0,
            away: 0,
        }
    }
}

/// The arrays that a burst is worked on in, kept between bursts.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) v4: Batch<V4>,
    pub(super) v6: Batch<V6>,
    /// Frames that are not plain, in the order of arrival.
    pub(super) others: ArrayVec<Next, RX_BURST>,
    /// The ports of those that are.
    pub(super) ports: [PortId; RX_BURST],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            v4: Batch::default(),
            v6: Batch::default(),
            others: ArrayVec::new(),
            ports: [NOWHERE; RX_BURST],
        }
    }
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.others.clear();
        self.v4.clear();
        self.v6.clear();
    }

    /// Takes the key of frame `at`, which came by a lane, if there is nothing special about the
    /// frame.
    #[inline(always)]
    pub(super) fn take_plain(
        &mut self,
        tables: &Tables,
        lane: &Lane,
        bytes: &[u8],
        meta: &RxMeta,
        at: usize,
    ) -> bool {
        if meta.segmented | (meta.ip_checksum == Checksum::Bad) | !lane.leads_here(bytes) {
            return false;
        }
        let good = meta.ip_checksum == Checksum::Good;
        self.ports[at % RX_BURST] = lane.port;
        self.v4
            .take_plain(tables, lane.zone, bytes, (meta.vlan_tci, good), at)
            || self.take_plain_v6(tables, lane.zone, bytes, meta.vlan_tci, at)
    }

    /// Takes the key of frame `at`, which came in by this zone of another appliance, if there is nothing
    /// special about the frame.
    pub(super) fn take_corrected(
        &mut self,
        tables: &Tables,
        zone: u8,
        bytes: &[u8],
        meta: &RxMeta,
        at: usize,
    ) {
        let good = meta.ip_checksum == Checksum::Good;
        let v4 = !meta.segmented && self.v4.take_plain(tables, zone, bytes, (None, good), at);
        if !v4 && !meta.segmented {
            self.take_plain_v6(tables, zone, bytes, None, at);
        }
    }

    /// Out of line: two parsers in one loop would take each other's registers.
    #[inline(never)]
    fn take_plain_v6(
        &mut self,
        tables: &Tables,
        zone: u8,
        bytes: &[u8],
        tci: Option<u16>,
        at: usize,
    ) -> bool {
        self.v6.take_plain(tables, zone, bytes, (tci, true), at)
    }

    /// Looks up the keys of a group of frames, as far as guesses go.
    #[inline(always)]
    pub(super) fn probe(&mut self, tables: &Tables, from: usize) {
        self.v4.probe(tables, from);
        self.v6.probe(tables, from);
    }
}

impl<F: PerFamily> Batch<F> {
    fn clear(&mut self) {
        (self.plain, self.others, self.away) = (0, 0, 0);
    }

    /// Key, hash and guess of a packet of this burst.
    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> (&Key<F::Addrs>, u64, Candidate) {
        let at = at % RX_BURST;
        (&self.keys[at], self.hashes[at], self.candidates[at])
    }

    /// Takes the key of frame `at` if the frame is plain.
    #[inline(always)]
    fn take_plain(
        &mut self,
        tables: &Tables,
        zone: u8,
        bytes: &[u8],
        (tci, ip_checksum_good): (Option<u16>, bool),
        at: usize,
    ) -> bool {
        let parsed = parse_plain::<F>(bytes, tci, ip_checksum_good);
        if let Some(parsed) = &parsed {
            self.add(tables, parsed, bytes, zone, at);
            self.plain |= 1 << (at % RX_BURST);
        }
        parsed.is_some()
    }

    /// Takes the key of frame `at`, which is not plain.
    pub(super) fn add_other(
        &mut self,
        tables: &Tables,
        parsed: &Parsed,
        bytes: &[u8],
        zone: u8,
        at: usize,
    ) {
        self.add(tables, parsed, bytes, zone, at);
        self.others |= 1 << (at % RX_BURST);
    }

    /// Takes the key of frame `at`, and has its bucket fetched.
    #[inline(always)]
    fn add(&mut self, tables: &Tables, parsed: &Parsed, bytes: &[u8], zone: u8, at: usize) {
        let key = parsed.key::<F>(bytes, zone);
        let table = F::table(tables);
        let hash = table.hash(&key);
        table.prefetch_bucket(hash);
        let at = at % RX_BURST;
        self.keys[at] = key;
        self.hashes[at] = hash;
    }

    /// Guesses the flows of a group of frames, and has them fetched; before that, those of the group
    /// before it that take a second look.
    #[inline(always)]
    fn probe(&mut self, tables: &Tables, from: usize) {
        let table = F::table(tables);
        while self.away != 0 {
            let at = self.away.trailing_zeros() as usize % RX_BURST;
            self.away &= self.away - 1;
            self.candidates[at] = table.probe_away(&self.keys[at], self.hashes[at]);
        }
        let group = ((1 << GROUP) - 1_u64).checked_shl(from as u32);
        let mut left = (self.plain | self.others) & group.unwrap_or(0);
        while left != 0 {
            let at = left.trailing_zeros() as usize % RX_BURST;
            left &= left - 1;
            match table.probe(&self.keys[at], self.hashes[at]) {
                Some(guess) => self.candidates[at] = guess,
                None => {
                    self.candidates[at] = Candidate::default();
                    self.away |= 1 << at;
                }
            }
        }
    }
}
