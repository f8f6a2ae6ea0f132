//! The short way of nearly every packet: TCP or UDP without anything special about it, of a session
//! that is known, unchanged and open, to a next hop that is known.
//!
//! What is decided here is decided as [`hit`](super::hit) would, only without everything that such
//! a packet cannot need. Whatever there is more to a packet, its frame comes back untouched, and
//! goes the long way.

use sluice_wire::proto::TCP;
use sluice_wire::{Key, ipv4, ipv6, tcp as wire};

use super::Worker;
use super::tables::PerFamily;
use crate::groups::{self, GroupSet};
use crate::io::{DeviceId, Frame, Io};
use crate::path::UNTAGGED;
use crate::rewrite;
use crate::session::flow::PathId;
use crate::session::state;
use crate::session::table::{Candidate, Direction};
use crate::snapshot::{PortId, Snapshot};
use crate::tcp;

/// Offset of the IP header in a plain frame.
const L3: usize = 14;

/// The port that frames of a device come in by, untagged or with one tag, and what all of them have
/// in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// The tag that the device took out.
    pub(super) tci: Option<u16>,
    /// The port.
    pub(super) port: PortId,
    /// Its zone.
    pub(super) zone: u8,
    /// Its MAC address, the first byte lowest.
    mac: u64,
    /// Virtual MAC addresses that lead here as well.
    virtual_macs: u64,
    held: GroupSet,
    /// Frames counted since the lane was entered, and their bytes.
    frames: u32,
    bytes: u64,
}

impl Lane {
    /// The lane of frames with this tag; `None` if the device has no port for them.
    pub(super) fn of(
        snapshot: &Snapshot,
        device: DeviceId,
        tci: Option<u16>,
        held: GroupSet,
    ) -> Option<Self> {
        let vlan = tci.map(|tci| tci & 0x0fff).filter(|id| *id != 0);
        let id = snapshot.devices.get(usize::from(device.0))?.port(vlan)?;
        let port = snapshot.ports.get(usize::from(id.0))?;
        let [a, b, c, d, e, f] = port.mac.0;
        Some(Self {
            tci,
            port: id,
            zone: port.zone,
            mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            virtual_macs: snapshot.groups.macs.word(),
            held,
            frames: 0,
            bytes: 0,
        })
    }

    /// Whether a frame is addressed to the port.
    #[inline(always)]
    pub(super) fn leads_here(&self, frame: &[u8]) -> bool {
        const ADDRESS: u64 = (1 << 48) - 1;
        frame.first_chunk().is_some_and(|head| {
            let head = u64::from_le_bytes(*head);
            head & ADDRESS == self.mac || groups::leads_to(self.virtual_macs, self.held, head)
        })
    }

    /// Counts a frame.
    #[inline(always)]
    pub(super) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// What was counted: frames and bytes.
    pub(super) fn counted(&self) -> (u64, u64) {
        (u64::from(self.frames), self.bytes)
    }
}

impl<I: Io> Worker<I> {
    /// Forwards a plain frame if its session was guessed right and nothing stands in its way.
    ///
    /// # Errors
    /// The frame, unchanged, if there is more to it.
    #[inline(always)]
    pub(super) fn forward_plain<F: PerFamily>(
        &mut self,
        mut frame: I::Frame,
        key: &Key<F::Addrs>,
        candidate: Candidate,
    ) -> Result<(), I::Frame> {
        let bytes = frame.bytes_mut();
        let Some((direction, flows)) = F::table_mut(&mut self.tables).guessed(candidate, key)
        else {
            return Err(frame);
        };
        let this = &mut flows[direction as usize];
        let Some(path) = self.paths.get_mut(this.path) else {
            return Err(frame);
        };
        let Some((ttl, length)) = ttl_and_length::<F>(bytes) else {
            return Err(frame);
        };
        // No timeout is shorter than `grace`: only older flows need to be looked at closely.
        let fresh =
            (this.epoch == self.snapshot.epoch) & (self.now.wrapping_sub(this.seen) < self.grace);
        let clear = (ttl > 1) & path.resolved & (length <= path.mtu);
        if !(fresh & clear) {
            return Err(frame);
        }
        let usual = if key.proto == TCP {
            let [original, reply] = &mut *flows;
            let (this, other) = match direction {
                Direction::Original => (original, reply),
                Direction::Reply => (reply, original),
            };
            segment::<F>(bytes, length)
                .is_some_and(|segment| tcp::step_usual(this, other, direction, &segment))
        } else {
            state::is_settled(this, direction)
        };
        if !usual {
            return Err(frame);
        }
        let this = &mut flows[direction as usize];
        this.count(length, self.now);
        path.packets = path.packets.wrapping_add(1);
        path.bytes += u64::from(length);
        rewrite::apply_plain(this, bytes);
        if path.vlan != UNTAGGED {
            let path = this.path;
            self.send_tagged(frame, path, F::IS_V6);
            return Ok(());
        }
        if let Some(macs) = bytes.first_chunk_mut() {
            *macs = path.macs;
        }
        let device = path.device;
        self.egress
            .push(&mut self.io, &self.rings, device, frame, false);
        Ok(())
    }

    /// The last step where the next hop is behind a VLAN tag.
    #[inline(never)]
    fn send_tagged(&mut self, frame: I::Frame, path: PathId, v6: bool) {
        if let Some(&path) = self.paths.get(path) {
            self.send(frame, &path, L3 as u8, v6);
        }
    }
}

/// TTL and bytes of the IP packet in a plain frame.
#[inline(always)]
fn ttl_and_length<F: PerFamily>(frame: &[u8]) -> Option<(u8, u16)> {
    let head: &[u8; L3 + 20] = frame.first_chunk()?;
    let word = |at: usize| u16::from_be_bytes([head[L3 + at], head[L3 + at + 1]]);
    Some(if F::IS_V6 {
        let payload = word(ipv6::field::PAYLOAD_LEN);
        (
            head[L3 + ipv6::field::HOP_LIMIT],
            payload.wrapping_add(ipv6::HEADER_LEN as u16),
        )
    } else {
        (head[L3 + ipv4::field::TTL], word(ipv4::field::TOTAL_LEN))
    })
}

/// What TCP tracking needs of a plain frame whose IP packet has `length` bytes. Options are left:
/// they matter on SYNs only, which are never usual.
#[inline(always)]
fn segment<F: PerFamily>(frame: &[u8], length: u16) -> Option<tcp::Segment> {
    let l4 = L3
        + if F::IS_V6 {
            ipv6::HEADER_LEN
        } else {
            ipv4::MIN_LEN
        };
    let header = wire::Segment::parse(frame.get(l4..L3 + usize::from(length))?)?;
    Some(tcp::Segment {
        seq: header.seq,
        ack: header.ack,
        window: header.window,
        data_len: header.len,
        flags: header.flags,
        wscale: None,
    })
}
