//! ARP: answering, learning, asking, announcing (RFC 826, RFC 5227).

use std::net::{IpAddr, Ipv4Addr};

use sluice_wire::MacAddr;
use sluice_wire::arp::{LEN, Op, Packet};
use sluice_wire::bytes::put;
use sluice_wire::parse::Parsed;
use sluice_wire::proto::ETHERTYPE_ARP;

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::ether;
use crate::stack::link::{Heard, Link};
use crate::stack::neighbour::How;

/// Deals with a received ARP frame. A request for an address that we answer for becomes the reply.
/// `None` if it is malformed, with the frame untouched.
pub fn handle<F: Frame>(frame: &mut F, parsed: &Parsed, link: &Link<'_>) -> Option<Heard> {
    let packet = Packet::parse(parsed.packet(frame.bytes()))?;
    let asked = IpAddr::V4(packet.target_ip);
    let for_us = link.answers_for(asked);
    let how = match packet.op {
        Op::Request if for_us => How::Request,
        Op::Reply if for_us => How::Reply,
        Op::Request | Op::Reply => How::Announce,
    };
    // A probe (RFC 5227) asks from no address.
    let mut heard = match packet.sender_ip {
        Ipv4Addr::UNSPECIFIED => Heard::default(),
        sender => link.learn(sender.into(), Some(packet.sender_mac), how),
    };
    if packet.op == Op::Request && for_us && heard.conflict.is_none() {
        heard.answered = answer(frame, parsed, link, &packet).is_some();
    }
    Some(heard)
}

fn answer<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    link: &Link<'_>,
    request: &Packet,
) -> Option<()> {
    if link.is_ours(request.sender_mac) {
        return None;
    }
    let mac = link.mac_of(request.target_ip.into());
    let reply = request.reply(mac).bytes();
    let to = request.sender_mac;
    let l3 = ether::readdress_from(frame, parsed.l3, link.port, mac, to, ETHERTYPE_ARP)?;
    (frame.set_len(l3 + LEN) && put(frame.bytes_mut(), l3, reply)).then_some(())
}

/// Makes `out`, an empty frame, a request for `target`, by broadcast or to the MAC address that it
/// had last. False if the port has no IPv4 address to ask from, or the frame no room.
pub fn solicit<F: Frame>(
    port: &Port,
    target: Ipv4Addr,
    unicast: Option<MacAddr>,
    out: &mut F,
) -> bool {
    let Some(IpAddr::V4(from)) = port.source_for(target.into()) else {
        return false;
    };
    let to = unicast.unwrap_or(MacAddr::BROADCAST);
    let request = Packet::request(port.mac, from, target);
    write(port, port.mac, to, &request, out)
}

/// Makes `out`, an empty frame, an announcement to all that `address` is ours, here, at `mac`. False
/// if the frame has no room.
pub fn announce<F: Frame>(port: &Port, mac: MacAddr, address: Ipv4Addr, out: &mut F) -> bool {
    let packet = Packet::announce(mac, address);
    write(port, mac, MacAddr::BROADCAST, &packet, out)
}

fn write<F: Frame>(port: &Port, from: MacAddr, to: MacAddr, packet: &Packet, out: &mut F) -> bool {
    ether::compose_from(out, port, from, to, ETHERTYPE_ARP, LEN)
        .is_some_and(|place| put(place, 0, packet.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{GroupSet, Groups};
    use crate::io::memory::VecFrame;
    use crate::snapshot::{Local, LocalAddresses, PortId};
    use crate::stack::neighbour::Learned;
    use crate::stack::testing::{self, OURS, PEER, port, tagged};

    const ID: PortId = PortId(3);
    const PEER_IP: [u8; 4] = [10, 0, 0, 2];

    fn local() -> LocalAddresses {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        LocalAddresses::new([
            (ip("10.0.0.1"), Local::Own(ID)),
            (ip("10.0.0.5"), Local::Own(PortId(9))),
            (ip("10.0.0.80"), Local::Vip),
            (ip("10.0.0.90"), Local::Nat),
            (ip("192.0.2.80"), Local::Vip),
        ])
    }

    /// `op` from the peer's MAC address, as it stands on the wire, with padding.
    fn frame(op: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mut frame = testing::ethernet(MacAddr::BROADCAST, PEER, 0x0806);
        frame.extend([0, 1, 8, 0, 6, 4, 0, op]);
        frame.extend(PEER.0);
        frame.extend(sender);
        frame.extend([0; 6]);
        frame.extend(target);
        frame.resize(60, 0);
        frame
    }

    fn handled_on(port: &Port, bytes: &[u8]) -> Option<(Heard, Vec<u8>)> {
        let parsed = sluice_wire::parse(bytes, None, false).unwrap();
        let mut frame = VecFrame::new(bytes, 128);
        let local = local();
        let link = Link {
            id: ID,
            port,
            local: &local,
            groups: &Groups::default(),
            held: GroupSet::default(),
        };
        let heard = handle(&mut frame, &parsed, &link)?;
        Some((heard, frame.bytes().to_vec()))
    }

    fn heard(bytes: &[u8]) -> Heard {
        handled_on(&port(), bytes).unwrap().0
    }

    fn learned(how: How) -> Option<Learned> {
        Some(Learned {
            port: ID,
            addr: PEER_IP.into(),
            mac: Some(PEER),
            how,
        })
    }

    #[test]
    fn a_request_for_our_address_becomes_the_reply() {
        let (heard, reply) = handled_on(&port(), &frame(1, PEER_IP, [10, 0, 0, 1])).unwrap();
        assert!(heard.answered && heard.conflict.is_none());
        assert_eq!(heard.learned, learned(How::Request));
        let mut expected = testing::ethernet(PEER, OURS, 0x0806);
        expected.extend([0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        expected.extend([2, 0, 0, 0, 0, 0xee, 10, 0, 0, 2]);
        assert_eq!(reply, expected);
    }

    #[test]
    fn virtual_and_nat_addresses_are_answered_where_their_network_is_and_others_not() {
        let answered = |target| heard(&frame(1, PEER_IP, target)).answered;
        assert!(answered([10, 0, 0, 80]) && answered([10, 0, 0, 90]));
        assert!(!answered([192, 0, 2, 80]), "not on this network");
        assert!(!answered([10, 0, 0, 5]), "another port's own");
        assert!(!answered([10, 0, 0, 77]), "nobody's");
    }

    #[test]
    fn a_request_in_a_vlan_is_answered_in_it() {
        let mut request = frame(1, PEER_IP, [10, 0, 0, 1]);
        let (_, stripped) = handled_on(&tagged(100), &request).unwrap();
        request.splice(12..12, [0x81, 0, 0x60, 100]);
        let (_, in_frame) = handled_on(&tagged(100), &request).unwrap();
        assert_eq!(stripped[12..18], [0x81, 0, 0, 100, 8, 6]);
        assert_eq!((&in_frame, in_frame.len()), (&stripped, 46));
    }

    #[test]
    fn a_probe_is_answered_and_teaches_nothing() {
        // RFC 5227 2.1.1: a host that comes up must find out that the address is taken.
        let (heard, reply) = handled_on(&port(), &frame(1, [0; 4], [10, 0, 0, 1])).unwrap();
        assert_eq!((heard.answered, heard.learned), (true, None));
        assert_eq!(reply[38..42], [0; 4]);
    }

    #[test]
    fn replies_and_announcements_teach_what_they_are() {
        assert_eq!(
            heard(&frame(2, PEER_IP, [10, 0, 0, 1])).learned,
            learned(How::Reply)
        );
        for op in [1, 2] {
            let announced = heard(&frame(op, PEER_IP, PEER_IP));
            assert_eq!(
                (announced.answered, announced.learned),
                (false, learned(How::Announce))
            );
        }
        let to_another = heard(&frame(1, PEER_IP, [10, 0, 0, 77]));
        assert_eq!(to_another.learned, learned(How::Announce));
    }

    #[test]
    fn addresses_that_are_ours_or_off_the_link_are_not_learnt() {
        for own in [[10, 0, 0, 1], [10, 0, 0, 80]] {
            let heard = heard(&frame(1, own, own));
            let conflict = Some(IpAddr::from(own));
            assert_eq!(
                heard,
                Heard {
                    conflict,
                    ..Heard::default()
                }
            );
        }
        assert_eq!(
            heard(&frame(1, [10, 0, 0, 5], [10, 0, 0, 5])),
            Heard::default()
        );
        let far = heard(&frame(1, [192, 0, 2, 9], [10, 0, 0, 1]));
        assert_eq!((far.answered, far.learned), (true, None));
    }

    #[test]
    fn our_own_frames_that_come_back_mean_nothing() {
        let mut own = frame(1, [10, 0, 0, 1], [10, 0, 0, 1]);
        own[22..28].copy_from_slice(&OURS.0);
        assert_eq!(heard(&own), Heard::default());
    }

    #[test]
    fn malformed_frames_are_told() {
        let request = frame(1, PEER_IP, [10, 0, 0, 1]);
        assert!(handled_on(&port(), &request[..41]).is_none());
        let mut group = request.clone();
        group[22] |= 1;
        assert!(handled_on(&port(), &group).is_none());
    }

    #[test]
    fn solicitations_and_announcements_to_the_byte() {
        let mut out = VecFrame::new(&[], 128);
        assert!(solicit(&port(), PEER_IP.into(), None, &mut out));
        let mut expected = testing::ethernet(MacAddr::BROADCAST, OURS, 0x0806);
        expected.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        expected.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(out.bytes(), expected);
        assert!(solicit(&port(), PEER_IP.into(), Some(PEER), &mut out));
        assert_eq!(out.bytes()[..6], PEER.0);
        assert!(announce(&tagged(7), OURS, [10, 0, 0, 80].into(), &mut out));
        let mut expected = testing::ethernet(MacAddr::BROADCAST, OURS, 0x8100);
        expected.extend([0, 7, 8, 6]);
        expected.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 80]);
        expected.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 80]);
        assert_eq!(out.bytes(), expected);
    }

    #[test]
    fn all_that_we_answer_for_is_announced() {
        let local = local();
        let link = Link {
            id: ID,
            port: &port(),
            local: &local,
            groups: &Groups::default(),
            held: GroupSet::default(),
        };
        let all: Vec<_> = link.answered().map(|address| address.to_string()).collect();
        assert_eq!(all, ["10.0.0.1", "10.0.0.80", "10.0.0.90"]);
    }
}
