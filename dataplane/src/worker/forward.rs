//! The last steps of a frame: its Ethernet header, its device, or its drop.

use sluice_wire::proto::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN};

use super::Worker;
use super::burst::Packet;
use crate::counters::DropReason;
use crate::io::{DeviceId, Frame, Io};
use crate::path::{Path, UNTAGGED};
use crate::published::WorkerCounter;
use crate::snapshot::PortId;

/// Length of an Ethernet header without a tag, and with one.
const PLAIN: u8 = 14;
const TAGGED: usize = 18;

impl<I: Io> Worker<I> {
    /// Ends a received frame here.
    #[inline]
    pub(super) fn drop(&mut self, frame: I::Frame, port: PortId, reason: DropReason) {
        self.counters.drop(reason);
        self.tally.dropped(port);
        drop(frame);
    }

    /// Ends a packet here.
    #[inline]
    pub(super) fn reject(&mut self, packet: Packet<I::Frame>, reason: DropReason) {
        self.drop(packet.frame, packet.port, reason);
    }

    /// Sends a received frame, whose IP header starts at `l3`, along a path.
    #[inline]
    pub(super) fn send(&mut self, frame: I::Frame, path: &Path, l3: u8, v6: bool) {
        self.send_as(frame, path, l3, v6, false);
    }

    /// The same; `originated`: the frame is not one that was received.
    #[inline(always)]
    pub(super) fn send_as(
        &mut self,
        mut frame: I::Frame,
        path: &Path,
        l3: u8,
        v6: bool,
        originated: bool,
    ) {
        if let Some(seat) = self.by_peer
            && !originated
        {
            match self.send_by_peer(frame, path, l3, seat) {
                Some(back) => frame = back,
                None => return,
            }
        }
        if l3 == PLAIN && path.vlan == UNTAGGED {
            // The EtherType stands already.
            if let Some(macs) = frame.bytes_mut().first_chunk_mut() {
                *macs = path.macs;
            }
        } else if !encapsulate(&mut frame, &path.macs, path.vlan, l3, v6) {
            if originated {
                return self.counters.count(WorkerCounter::OriginatedLost);
            }
            return self.drop(frame, path.port, DropReason::NoBuffer);
        }
        self.egress
            .push(&mut self.io, &self.rings, path.device, frame, originated);
    }

    /// Sends a frame that was made here; its Ethernet header is complete.
    pub(super) fn originate(&mut self, frame: I::Frame, device: DeviceId) {
        self.egress
            .push(&mut self.io, &self.rings, device, frame, true);
    }
}

/// Replaces what stands before the IP header by the header of the port that the frame leaves by.
#[cold]
pub(super) fn encapsulate<F: Frame>(
    frame: &mut F,
    macs: &[u8; 12],
    vlan: u16,
    l3: u8,
    v6: bool,
) -> bool {
    let (now, wanted) = (
        usize::from(l3),
        if vlan == UNTAGGED {
            usize::from(PLAIN)
        } else {
            TAGGED
        },
    );
    if wanted > now {
        if !frame.grow_front(wanted - now) {
            return false;
        }
    } else {
        frame.cut_front(now - wanted);
    }
    let ethertype = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    let Some(header) = frame.bytes_mut().get_mut(..wanted) else {
        return false;
    };
    header[..12].copy_from_slice(macs);
    if vlan != UNTAGGED {
        header[12..14].copy_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
        header[14..16].copy_from_slice(&vlan.to_be_bytes());
    }
    header[wanted - 2..].copy_from_slice(&ethertype.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::VecFrame;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn sent(l3: u8, vlan: u16, v6: bool) -> Vec<u8> {
        let mut bytes = vec![0xee; usize::from(l3)];
        bytes.extend([0x45, 1, 2, 3]);
        let mut frame = VecFrame::new(&bytes, 64);
        assert!(encapsulate(&mut frame, &MACS, vlan, l3, v6));
        assert_eq!(frame.bytes()[..12], MACS);
        frame.bytes()[12..].to_vec()
    }

    #[test]
    fn tags_come_and_go_without_touching_the_packet() {
        assert_eq!(sent(14, 100, false), [0x81, 0, 0, 100, 8, 0, 0x45, 1, 2, 3]);
        assert_eq!(sent(18, UNTAGGED, true), [0x86, 0xdd, 0x45, 1, 2, 3]);
        assert_eq!(sent(18, 7, false), [0x81, 0, 0, 7, 8, 0, 0x45, 1, 2, 3]);
    }
}
