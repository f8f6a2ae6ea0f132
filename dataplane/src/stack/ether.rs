//! The Ethernet header of frames made or answered here.

use sluice_wire::MacAddr;
use sluice_wire::ethernet::{self, Header};

use crate::io::Frame;
use crate::snapshot::Port;

/// Replaces all that stands before the packet, which begins at `l3`, by the header of a frame from
/// `port`, with its VLAN tag. Returns where the packet begins now; `None`, and nothing changed, if
/// there is no room for a tag.
pub fn readdress<F: Frame>(
    frame: &mut F,
    l3: u8,
    port: &Port,
    to: MacAddr,
    ethertype: u16,
) -> Option<usize> {
    readdress_from(frame, l3, port, port.mac, to, ethertype)
}

/// The same from another MAC address than the port's.
pub fn readdress_from<F: Frame>(
    frame: &mut F,
    l3: u8,
    port: &Port,
    from: MacAddr,
    to: MacAddr,
    ethertype: u16,
) -> Option<usize> {
    let (now, wanted) = (usize::from(l3), ethernet::header_len(port.vlan));
    if wanted > now {
        if !frame.grow_front(wanted - now) {
            return None;
        }
    } else {
        frame.cut_front(now - wanted);
    }
    write(frame.bytes_mut(), port, from, to, ethertype);
    Some(wanted)
}

/// Makes an empty frame one from `port` with a packet of `len` bytes, whose contents are up to the
/// caller. `None` if they don't fit.
pub fn compose<'a, F: Frame>(
    frame: &'a mut F,
    port: &Port,
    to: MacAddr,
    ethertype: u16,
    len: usize,
) -> Option<&'a mut [u8]> {
    compose_from(frame, port, port.mac, to, ethertype, len)
}

/// The same from another MAC address than the port's.
pub fn compose_from<'a, F: Frame>(
    frame: &'a mut F,
    port: &Port,
    from: MacAddr,
    to: MacAddr,
    ethertype: u16,
    len: usize,
) -> Option<&'a mut [u8]> {
    let l3 = ethernet::header_len(port.vlan);
    if !frame.set_len(l3 + len) {
        return None;
    }
    write(frame.bytes_mut(), port, from, to, ethertype);
    frame.bytes_mut().get_mut(l3..)
}

/// Who sent a frame; `None` if it is not a station that could be answered.
pub fn sender(frame: &[u8]) -> Option<MacAddr> {
    ethernet::src(frame).filter(|mac| mac.is_unicast())
}

fn write(frame: &mut [u8], port: &Port, from: MacAddr, to: MacAddr, ethertype: u16) {
    let header = Header {
        dst: to,
        src: from,
        tci: port.vlan,
        ethertype,
    };
    header.write(frame);
}
