//! Answering pings.

use sluice_wire::bytes::{array, put};
use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::proto::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use sluice_wire::{Family, V4, V6, icmp4, icmp6, ipv4, ipv6};

use crate::io::Frame;
use crate::snapshot::Port;
use crate::stack::{TTL, ether};

/// Turns an echo request into its reply, to be sent out by the port it came in by, to the station
/// that sent it.
///
/// Fragments are answered one by one, by fragments: the first one's checksum is mended without
/// seeing the others, which only change their addresses. `parsed` is what was found in the frame;
/// for a later fragment, `fragment` reassembly has told the caller that it belongs to a request.
/// False, in which case the frame may be damaged and is to be dropped, if it is no request.
pub fn reply<F: Frame>(frame: &mut F, parsed: &Parsed, port: &Port) -> bool {
    answer(frame, parsed, port).is_some()
}

fn answer<F: Frame>(frame: &mut F, parsed: &Parsed, port: &Port) -> Option<()> {
    let to = ether::sender(frame.bytes())?;
    let whole = matches!(parsed.kind, Kind::Session | Kind::FragmentFirst);
    if !whole && parsed.kind != Kind::FragmentRest {
        return None;
    }
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let (packet_len, header_len) = (
        usize::from(parsed.end).checked_sub(l3)?,
        l4.checked_sub(l3)?,
    );
    if !frame.set_len(l3 + packet_len) {
        return None;
    }
    let packet = frame.bytes_mut().get_mut(l3..)?;
    let (header, message) = packet.split_at_mut_checked(header_len)?;
    let ethertype = if parsed.v6 {
        if whole && !(parsed.proto == proto::ICMPV6 && icmp6::answer_echo(message)) {
            return None;
        }
        let addrs: [u64; 4] = zerocopy::transmute!(array::<32>(header, ipv6::field::ADDRS)?);
        let swapped: [u8; 32] = zerocopy::transmute!(V6::swap(addrs));
        put(header, ipv6::field::ADDRS, swapped);
        put(header, ipv6::field::HOP_LIMIT, [TTL]);
        ETHERTYPE_IPV6
    } else {
        if parsed.proto != proto::ICMP || (whole && !icmp4::answer_echo(message)) {
            return None;
        }
        let addrs = u64::from_ne_bytes(array(header, ipv4::field::ADDRS)?);
        put(header, ipv4::field::ADDRS, V4::swap(addrs).to_ne_bytes());
        put(header, ipv4::field::TTL, [TTL]);
        // Options were for the way here: no operation.
        header.get_mut(ipv4::MIN_LEN..)?.fill(1);
        ipv4::reseal(header);
        ETHERTYPE_IPV4
    };
    ether::readdress(frame, parsed.l3, port, to, ethertype)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::VecFrame;
    use crate::stack::testing::{self, PEER, port, tagged};

    fn replied(bytes: &[u8], port: &Port) -> Option<Vec<u8>> {
        let parsed = sluice_wire::parse(bytes, None, false).unwrap();
        let mut frame = VecFrame::new(bytes, 2048);
        reply(&mut frame, &parsed, port).then(|| frame.bytes().to_vec())
    }

    #[test]
    fn a_ping_is_answered_in_place_and_padding_goes() {
        let mut request = testing::ethernet(port().mac, PEER, 0x0800);
        request.extend(b"\x45\x00\x00\x20\x12\x34\x40\x00\x3f\x01");
        request.extend(b"\x13\xa5\x0a\x00\x00\x02\x0a\x00\x00\x01");
        request.extend(b"\x08\x00\xe3\x04\x12\x34\x00\x01\x01\x02\x03\x04");
        request.extend([0xee; 14]);
        let mut expected = testing::ethernet(PEER, port().mac, 0x0800);
        expected.extend(b"\x45\x00\x00\x20\x12\x34\x40\x00\x40\x01");
        expected.extend(b"\x14\xa4\x0a\x00\x00\x01\x0a\x00\x00\x02");
        expected.extend(b"\x00\x00\xeb\x04\x12\x34\x00\x01\x01\x02\x03\x04");
        testing::reseal(&mut request, 14);
        testing::reseal(&mut expected, 14);
        assert_eq!(replied(&request, &port()), Some(expected));
    }

    #[test]
    fn a_ping_on_a_vlan_gets_its_tag_back_though_the_device_took_it() {
        let request = testing::ping_v4(b"abcd", &[]);
        let reply = replied(&request, &tagged(100)).unwrap();
        assert_eq!(reply[12..18], [0x81, 0, 0, 100, 8, 0]);
        assert_eq!(reply.len(), request.len() + 4);
    }

    #[test]
    fn ip_options_do_not_come_back_and_shift_nothing() {
        // Pitfall 9. Record route, three bytes of it used up by the length and pointer.
        let request = testing::ping_v4(b"abcd", &[7, 7, 4, 0, 0, 0, 0, 0]);
        let reply = replied(&request, &port()).unwrap();
        assert_eq!(reply[34..42], [1; 8]);
        let message = &reply[42..];
        assert_eq!(message[0], icmp4::ECHO_REPLY);
        assert!(icmp4::checksum_ok(message) && ipv4::checksum_ok(&reply[14..], 28));
    }

    #[test]
    fn a_ping_over_ipv6_is_answered() {
        let request = testing::ping_v6(b"abcde");
        let reply = replied(&request, &port()).unwrap();
        assert_eq!(reply[22..38], request[38..54]);
        assert_eq!(reply[38..54], request[22..38]);
        assert_eq!((reply[21], reply[54]), (64, 129));
        let addrs: [u64; 4] = zerocopy::transmute!(array::<32>(&reply, 22).unwrap());
        assert!(icmp6::checksum_ok(addrs, &reply[54..]));
    }

    #[test]
    fn a_fragmented_ping_is_answered_piece_by_piece() {
        // Pitfall 10: ICMP in fragments.
        let whole = testing::ping_v4(b"0123456789abcdefghijklmn", &[]);
        let cut = |from: usize, to: usize, word: u16| {
            let mut piece = whole[..34].to_vec();
            piece.extend(&whole[34 + from..34 + to]);
            piece[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
            piece[20..22].copy_from_slice(&word.to_be_bytes());
            testing::reseal(&mut piece, 14);
            replied(&piece, &port()).unwrap()
        };
        let (first, last) = (cut(0, 16, 0x2000), cut(16, 32, 2));
        let message = [&first[34..], &last[34..]].concat();
        assert_eq!(message[0], icmp4::ECHO_REPLY);
        assert!(icmp4::checksum_ok(&message));
        assert_eq!(
            (first[20..22].to_vec(), last[20..22].to_vec()),
            (vec![0x20, 0], vec![0, 2])
        );
        assert_eq!(last[26..30], whole[30..34]);
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        let mut reply = testing::ping_v4(b"abcd", &[]);
        reply[34] = 0;
        assert_eq!(replied(&reply, &port()), None);
        assert_eq!(replied(&testing::udp_v4(b"abcd"), &port()), None);
    }
}
