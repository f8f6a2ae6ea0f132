//! Records as bytes.

use sluice_wire::{Family, V4, V6};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    ChangeRecord, ClientRecord, DIGEST_CHUNK, DeathRecord, Identity, MappingRecord, PacketRecord,
    PointerRecord, Progress, Record, SessionRecord, Side, Stamp, address, octets, session,
};
use crate::bytes::{In, Out};

/// Type, flags and length.
const HEAD: usize = 4;
/// Bytes of a session's record after [`HEAD`], but for its two pairs of addresses.
const SESSION_BUT_ADDRS: usize = 8 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 4 + 2 * 12;
/// Bytes of the longest record.
pub const MAX_LEN: usize = 148;

/// Type numbers. Those of IPv6 are odd. 0 is never used.
mod kind {
    pub(super) const SESSION: u8 = 2;
    pub(super) const CHANGE: u8 = 4;
    pub(super) const DEATH: u8 = 6;
    pub(super) const CLIENT: u8 = 8;
    pub(super) const MAPPING: u8 = 10;
    pub(super) const POINTER: u8 = 12;
    pub(super) const BULK_BEGIN: u8 = 16;
    pub(super) const BULK_END: u8 = 17;
    pub(super) const DIGEST: u8 = 18;
    pub(super) const REPAIR_REQUEST: u8 = 19;
    pub(super) const REPAIR_BEGIN: u8 = 20;
    pub(super) const REPAIR_END: u8 = 21;
    /// Added where addresses are IPv6.
    pub(super) const V6: u8 = 1;
}

/// Flag of a pointer: the session has ended.
const GONE: u8 = 1 << 0;

/// Writes a record to the start of `buffer` and gives its length; `None` if it does not fit.
#[inline]
pub fn encode(record: &Record, buffer: &mut [u8]) -> Option<usize> {
    // Where any record fits it takes no check whether a field does.
    match buffer.first_chunk_mut::<MAX_LEN>() {
        Some(all) => put(record, all),
        None => put(record, buffer),
    }
}

#[inline(always)]
fn put(record: &Record, buffer: &mut [u8]) -> Option<usize> {
    let (head, body) = buffer.split_first_chunk_mut::<HEAD>()?;
    let mut out = Out::new(body);
    let kind = put_body(record, &mut out);
    let len = HEAD + out.finish()?;
    let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
    *head = [kind, 0, high, low];
    Some(len)
}

#[inline(always)]
fn put_body(record: &Record, out: &mut Out<'_>) -> u8 {
    match record {
        Record::Session4(record) => put_session(record, out),
        Record::Session6(record) => put_session(record, out),
        Record::Change4(record) => put_change(record, out),
        Record::Change6(record) => put_change(record, out),
        Record::Death4(record) => put_death(record, out),
        Record::Death6(record) => put_death(record, out),
        Record::Pointer4(record) => put_pointer(record, out),
        Record::Pointer6(record) => put_pointer(record, out),
        Record::Client(record) => put_client(record, out),
        Record::Mapping(record) => put_mapping(record, out),
        Record::BulkBegin { round } => {
            out.u16(*round);
            out.u16(0);
            kind::BULK_BEGIN
        }
        Record::BulkEnd { round, sessions } => {
            out.u16(*round);
            out.u16(0);
            out.u64(*sessions);
            kind::BULK_END
        }
        Record::Digest { first, sums } => {
            out.u16(*first);
            out.u16(0);
            sums.iter().for_each(|&sum| out.u64(sum));
            kind::DIGEST
        }
        Record::RepairRequest { bucket } => {
            out.u16(*bucket);
            out.u16(0);
            kind::REPAIR_REQUEST
        }
        Record::RepairBegin { bucket, round } => {
            out.u16(*bucket);
            out.u16(*round);
            kind::REPAIR_BEGIN
        }
        Record::RepairEnd { bucket, round } => {
            out.u16(*bucket);
            out.u16(*round);
            kind::REPAIR_END
        }
    }
}

/// The type for a family.
const fn of<F: Family>(kind: u8) -> u8 {
    if F::IS_V6 { kind | kind::V6 } else { kind }
}

/// Stamp, protocol, state, flags and original flow: what all records of a session begin with.
#[inline(always)]
fn put_start<F: Family>(
    out: &mut Out<'_>,
    stamp: Stamp,
    identity: &Identity<F>,
    state: u8,
    flags: u8,
) {
    out.u32(stamp.version);
    out.put([stamp.owner, identity.proto, state, flags]);
    out.raw(identity.addrs.as_bytes());
    out.put(identity.ports.to_ne_bytes());
    out.u32(identity.zone);
}

#[inline(always)]
fn put_progress(out: &mut Out<'_>, progress: &Progress) {
    out.u32(progress.timeout_left);
    for side in &progress.sides {
        out.u32(side.end);
        out.u32(side.acked);
        out.u16(side.max_window);
        out.put([side.scale, side.flags]);
    }
}

#[inline(always)]
fn put_session<F: Family>(record: &SessionRecord<F>, out: &mut Out<'_>) -> u8 {
    let state = record.progress.state;
    put_start(out, record.stamp, &record.identity, state, record.flags);
    out.raw(record.new_addrs.as_bytes());
    out.put(record.new_ports.to_ne_bytes());
    out.u32(record.reply_zone);
    out.u64(record.service);
    out.u64(record.server);
    out.u32(record.age);
    put_progress(out, &record.progress);
    if record.flags & session::WATCHED != 0 {
        record.shifts.iter().for_each(|&shift| out.u32(shift));
    }
    of::<F>(kind::SESSION)
}

#[inline]
fn put_change<F: Family>(record: &ChangeRecord<F>, out: &mut Out<'_>) -> u8 {
    put_start(
        out,
        record.stamp,
        &record.identity,
        record.progress.state,
        0,
    );
    put_progress(out, &record.progress);
    of::<F>(kind::CHANGE)
}

#[inline]
fn put_death<F: Family>(record: &DeathRecord<F>, out: &mut Out<'_>) -> u8 {
    put_start(out, record.stamp, &record.identity, 0, 0);
    of::<F>(kind::DEATH)
}

#[inline]
fn put_pointer<F: Family>(record: &PointerRecord<F>, out: &mut Out<'_>) -> u8 {
    let flags = if record.is_gone { GONE } else { 0 };
    put_start(out, record.stamp, &record.identity, 0, flags);
    out.raw(record.new_addrs.as_bytes());
    out.put(record.new_ports.to_ne_bytes());
    out.u32(record.reply_zone);
    of::<F>(kind::POINTER)
}

fn put_client(record: &ClientRecord, out: &mut Out<'_>) -> u8 {
    out.u64(record.service);
    out.u64(record.server);
    out.put(octets(record.network));
    out.u32(record.timeout_left);
    kind::CLIENT | u8::from(record.network.is_ipv6())
}

fn put_mapping(record: &MappingRecord, out: &mut Out<'_>) -> u8 {
    out.u32(record.stamp.version);
    out.put([record.stamp.owner, record.proto, record.filtering, 0]);
    out.u64(record.service);
    out.put(octets(record.internal.0));
    out.put(octets(record.external.0));
    out.u16(record.internal.1);
    out.u16(record.external.1);
    out.u32(record.timeout_left);
    kind::MAPPING | u8::from(record.internal.0.is_ipv6())
}

/// What a frame is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record(Record),
    /// A packet that is to be sent on.
    Packet(PacketRecord<'a>),
}

/// Reads the record that `bytes` begin with, and says how long it is. `None` for a type that is not
/// known, or a record that is too short for its type: skip it. The outer `None`: the length makes no
/// sense, and nothing after it can be read.
#[inline]
pub fn decode(bytes: &[u8]) -> Option<(Option<Item<'_>>, usize)> {
    let &[kind, _, high, low] = bytes.first_chunk::<HEAD>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let body = bytes.get(HEAD..len)?;
    let item = match get_body(kind, In(body)) {
        Some(record) => Some(Item::Record(record)),
        None => PacketRecord::decode(kind, body).map(Item::Packet),
    };
    Some((item, len))
}

#[inline]
fn get_body(kind: u8, mut input: In<'_>) -> Option<Record> {
    const SESSION6: u8 = kind::SESSION | kind::V6;
    const CHANGE6: u8 = kind::CHANGE | kind::V6;
    const DEATH6: u8 = kind::DEATH | kind::V6;
    const POINTER6: u8 = kind::POINTER | kind::V6;
    const CLIENT6: u8 = kind::CLIENT | kind::V6;
    const MAPPING6: u8 = kind::MAPPING | kind::V6;
    let input = &mut input;
    Some(match kind {
        kind::SESSION => Record::Session4(get_session::<V4>(input)?),
        SESSION6 => Record::Session6(get_session::<V6>(input)?),
        kind::CHANGE => Record::Change4(get_change::<V4>(input)?),
        CHANGE6 => Record::Change6(get_change::<V6>(input)?),
        kind::DEATH => Record::Death4(get_death::<V4>(input)?),
        DEATH6 => Record::Death6(get_death::<V6>(input)?),
        kind::POINTER => Record::Pointer4(get_pointer::<V4>(input)?),
        POINTER6 => Record::Pointer6(get_pointer::<V6>(input)?),
        kind::CLIENT => Record::Client(get_client(input, false)?),
        CLIENT6 => Record::Client(get_client(input, true)?),
        kind::MAPPING => Record::Mapping(get_mapping(input, false)?),
        MAPPING6 => Record::Mapping(get_mapping(input, true)?),
        kind::BULK_BEGIN => Record::BulkBegin {
            round: input.u16()?,
        },
        kind::BULK_END => {
            let [round, _] = [input.u16()?, input.u16()?];
            let sessions = input.u64()?;
            Record::BulkEnd { round, sessions }
        }
        kind::DIGEST => {
            let [first, _] = [input.u16()?, input.u16()?];
            let mut sums = [0; DIGEST_CHUNK];
            for sum in &mut sums {
                *sum = input.u64()?;
            }
            Record::Digest { first, sums }
        }
        kind::REPAIR_REQUEST => Record::RepairRequest {
            bucket: input.u16()?,
        },
        kind::REPAIR_BEGIN => {
            let [bucket, round] = [input.u16()?, input.u16()?];
            Record::RepairBegin { bucket, round }
        }
        kind::REPAIR_END => {
            let [bucket, round] = [input.u16()?, input.u16()?];
            Record::RepairEnd { bucket, round }
        }
        _ => return None,
    })
}

/// Two addresses, as they stand in an IP header.
#[inline]
fn get_addrs<F: Family>(input: &mut In<'_>) -> Option<F::Addrs> {
    F::Addrs::read_from_bytes(input.raw(size_of::<F::Addrs>())?).ok()
}

/// Gives stamp, original flow, state and flags.
#[inline]
fn get_start<F: Family>(input: &mut In<'_>) -> Option<(Stamp, Identity<F>, u8, u8)> {
    let version = input.u32()?;
    let [owner, proto, state, flags] = input.take()?;
    let identity = Identity {
        addrs: get_addrs::<F>(input)?,
        ports: u32::from_ne_bytes(input.take()?),
        proto,
        zone: input.u32()?,
    };
    Some((Stamp { version, owner }, identity, state, flags))
}

#[inline]
fn get_progress(input: &mut In<'_>, state: u8) -> Option<Progress> {
    let timeout_left = input.u32()?;
    let mut sides = [Side::default(); 2];
    for side in &mut sides {
        side.end = input.u32()?;
        side.acked = input.u32()?;
        side.max_window = input.u16()?;
        [side.scale, side.flags] = input.take()?;
    }
    Some(Progress {
        state,
        timeout_left,
        sides,
    })
}

#[inline]
fn get_session<F: Family>(input: &mut In<'_>) -> Option<SessionRecord<F>> {
    // All of it is there, so that it takes no check whether a field is.
    let len = 2 * size_of::<F::Addrs>() + SESSION_BUT_ADDRS;
    let (whole, more) = input.0.split_at_checked(len)?;
    let input = &mut In(whole);
    let (stamp, identity, state, flags) = get_start::<F>(input)?;
    let mut shifts = [0; 2];
    if flags & session::WATCHED != 0 {
        let more = &mut In(more);
        shifts = [more.u32()?, more.u32()?];
    }
    Some(SessionRecord {
        stamp,
        identity,
        new_addrs: get_addrs::<F>(input)?,
        new_ports: u32::from_ne_bytes(input.take()?),
        reply_zone: input.u32()?,
        service: input.u64()?,
        server: input.u64()?,
        flags,
        age: input.u32()?,
        progress: get_progress(input, state)?,
        shifts,
    })
}

#[inline]
fn get_change<F: Family>(input: &mut In<'_>) -> Option<ChangeRecord<F>> {
    let (stamp, identity, state, _) = get_start::<F>(input)?;
    Some(ChangeRecord {
        stamp,
        identity,
        progress: get_progress(input, state)?,
    })
}

#[inline]
fn get_death<F: Family>(input: &mut In<'_>) -> Option<DeathRecord<F>> {
    let (stamp, identity, ..) = get_start::<F>(input)?;
    Some(DeathRecord { stamp, identity })
}

#[inline]
fn get_pointer<F: Family>(input: &mut In<'_>) -> Option<PointerRecord<F>> {
    let (stamp, identity, _, flags) = get_start::<F>(input)?;
    Some(PointerRecord {
        stamp,
        identity,
        new_addrs: get_addrs::<F>(input)?,
        new_ports: u32::from_ne_bytes(input.take()?),
        reply_zone: input.u32()?,
        is_gone: flags & GONE != 0,
    })
}

fn get_client(input: &mut In<'_>, is_v6: bool) -> Option<ClientRecord> {
    Some(ClientRecord {
        service: input.u64()?,
        server: input.u64()?,
        network: address(is_v6, input.take()?),
        timeout_left: input.u32()?,
    })
}

fn get_mapping(input: &mut In<'_>, is_v6: bool) -> Option<MappingRecord> {
    let version = input.u32()?;
    let [owner, proto, filtering, _] = input.take()?;
    let service = input.u64()?;
    let [internal, external] = [input.take()?, input.take()?].map(|bytes| address(is_v6, bytes));
    Some(MappingRecord {
        stamp: Stamp { version, owner },
        proto,
        filtering,
        service,
        internal: (internal, input.u16()?),
        external: (external, input.u16()?),
        timeout_left: input.u32()?,
    })
}

/// The records of a frame, one after the other. Ends at the first length that makes no sense.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    unknown: u32,
}

impl<'a> Records<'a> {
    /// Starting at offset `at` of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            unknown: 0,
        }
    }

    /// Offset of what the next call reads.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Records that were skipped because their type is not known, or that could not be read.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The next record or packet.
    #[inline]
    pub fn next_item(&mut self) -> Option<Item<'a>> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            let Some((item, len)) = decode(rest) else {
                self.at = self.bytes.len();
                self.unknown = self.unknown.saturating_add(1);
                return None;
            };
            self.at += len;
            if item.is_some() {
                return item;
            }
            self.unknown = self.unknown.saturating_add(1);
        }
    }
}

/// Records alone.
impl Iterator for Records<'_> {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        loop {
            if let Item::Record(record) = self.next_item()? {
                return Some(record);
            }
        }
    }
}
