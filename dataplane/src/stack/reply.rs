//! Answering a TCP segment by another, in its frame.

use sluice_wire::parse::Parsed;
use sluice_wire::{Family, MacAddr, V4, V6};

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::ether;
use crate::stack::segment::{Full, Header};

/// Turns the frame of a TCP segment, `parsed`, into one from its receiver to its sender with `segment`,
/// to be sent out by the port it came in by, to the station `to`. The ports of `segment` are the sender's
/// to say as well: they are set here.
///
/// False, with the frame perhaps damaged, if there is no room for it.
pub fn in_place<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    port: &Port,
    to: MacAddr,
    segment: Full<'_>,
) -> bool {
    let mut segment = segment;
    // Two halves of the header's first word.
    segment.bare.ports = parsed.ports.rotate_left(16);
    let placed = if parsed.v6 {
        let addrs = V6::swap(parsed.key_v6(frame.bytes(), 0).addrs);
        place::<V6, F>(frame, parsed, port, to, &segment, addrs)
    } else {
        let addrs = V4::swap(parsed.key_v4(frame.bytes(), 0).addrs);
        place::<V4, F>(frame, parsed, port, to, &segment, addrs)
    };
    placed.is_some()
}

fn place<N: Header, F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    port: &Port,
    to: MacAddr,
    segment: &Full<'_>,
    addrs: N::Addrs,
) -> Option<()> {
    let l3 = ether::readdress(frame, parsed.l3, port, to, N::ETHERTYPE)?;
    if !frame.set_len(l3 + segment.packet_len::<N>()) {
        return None;
    }
    segment.write::<N>(frame.bytes_mut().get_mut(l3..)?, addrs);
    Some(())
}
