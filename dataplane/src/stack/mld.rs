//! Multicast listener reports (RFC 3810): switches that snoop on them deliver neighbour solicitations
//! only to ports that have asked for the solicited-node groups of their addresses.

use std::net::{IpAddr, Ipv6Addr};

use sluice_wire::bytes::{put, put_be16, u8_at};
use sluice_wire::ndisc::{addrs, multicast_mac, solicited_node};
use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::proto::{self, ETHERTYPE_IPV6};
use sluice_wire::{Family, V6, icmp6, ipv6};

use crate::io::Frame;
use crate::snapshot::is_link_local;
use crate::stack::ether;
use crate::stack::link::Link;

/// All routers that speak version 2.
const REPORTS_TO: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Hop-by-hop header with a router alert (RFC 2711) for listener discovery, before ICMPv6.
const ROUTER_ALERT: [u8; 8] = [proto::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// Bytes of a report before its records, and of a record without sources.
const REPORT_LEN: usize = 8;
const RECORD_LEN: usize = 20;
/// Bytes of the shortest query (RFC 2710).
const QUERY_LEN: usize = 24;

/// Why a report is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The groups are new: at start, and when addresses were added.
    Joined,
    /// A router asked.
    Asked,
}

/// Whether a frame is a listener query that is to be answered by reports. (A query for one group is
/// answered like one for all.)
pub fn is_query(frame: &[u8], parsed: &Parsed) -> bool {
    let message = parsed.transport(frame);
    let between = parsed.key_v6(frame, 0).addrs;
    parsed.kind == Kind::MulticastListener
        && u8_at(message, 0) == Some(icmp6::LISTENER_QUERY)
        && message.len() >= QUERY_LEN
        && parsed.ttl == 1
        && is_link_local(V6::unpack(between).0)
        && icmp6::checksum_ok(between, message)
}

/// Makes `out`, an empty frame, a report of the groups of addresses that we answer for on a link,
/// leaving out the first `from` of them. Gives how many were reported or left out by then: go on from
/// there until it is `None`, which means that none is left, or that the frame has no room.
pub fn report<F: Frame>(link: &Link<'_>, from: usize, why: Why, out: &mut F) -> Option<usize> {
    let groups = || {
        link.answered().filter_map(|address| match address {
            IpAddr::V6(address) => Some(solicited_node(address)),
            IpAddr::V4(_) => None,
        })
    };
    let before = ipv6::HEADER_LEN + ROUTER_ALERT.len() + REPORT_LEN;
    let room = usize::from(link.port.mtu).saturating_sub(before) / RECORD_LEN;
    let count = groups().skip(from).take(room).count();
    if count == 0 {
        return None;
    }
    // RFC 3810 section 5.2.13: from a link-local address, or from none.
    let source = link.port.addresses.iter().find_map(|own| match own.addr() {
        IpAddr::V6(own) if own.is_unicast_link_local() => Some(own),
        _ => None,
    });
    let between = addrs(source.unwrap_or(Ipv6Addr::UNSPECIFIED), REPORTS_TO);
    let len = before + count * RECORD_LEN;
    let ip = ipv6::Build {
        traffic_class: 0,
        payload_len: (len - ipv6::HEADER_LEN) as u16,
        next: ipv6::next::HOP_BY_HOP,
        hop_limit: 1,
        addrs: between,
    };
    let packet = ether::compose(
        out,
        link.port,
        multicast_mac(REPORTS_TO),
        ETHERTYPE_IPV6,
        len,
    )?;
    put(packet, 0, ip.bytes());
    put(packet, ipv6::HEADER_LEN, ROUTER_ALERT);
    let message = packet.get_mut(ipv6::HEADER_LEN + ROUTER_ALERT.len()..)?;
    put(message, 0, [icmp6::LISTENER_REPORT_V2, 0, 0, 0, 0, 0]);
    put_be16(message, 6, count as u16);
    let (records, _) = message.get_mut(REPORT_LEN..)?.as_chunks_mut::<RECORD_LEN>();
    for (record, group) in records.iter_mut().zip(groups().skip(from)) {
        // All sources but none: CHANGE_TO_EXCLUDE_MODE, MODE_IS_EXCLUDE (RFC 3810 section 5.2.12).
        let kind = match why {
            Why::Joined => 4,
            Why::Asked => 2,
        };
        put(record, 0, [kind, 0, 0, 0]);
        put(record, 4, group.octets());
    }
    icmp6::seal(between, message);
    Some(from + count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{GroupSet, Groups};
    use crate::io::memory::VecFrame;
    use crate::snapshot::{Local, LocalAddresses, Port, PortId};
    use crate::stack::testing::{self, OURS, PEER, port};

    const ID: PortId = PortId(0);

    fn reports(port: &Port, local: &LocalAddresses, why: Why) -> Vec<Vec<u8>> {
        let link = Link {
            id: ID,
            port,
            local,
            groups: &Groups::default(),
            held: GroupSet::default(),
        };
        let mut frames = Vec::new();
        let mut from = 0;
        loop {
            let mut out = VecFrame::new(&[], 2048);
            match report(&link, from, why, &mut out) {
                Some(next) => from = next,
                None => return frames,
            }
            frames.push(out.bytes().to_vec());
        }
    }

    fn own(address: &str) -> (IpAddr, Local) {
        (address.parse().unwrap(), Local::Own(ID))
    }

    #[test]
    fn a_report_to_the_byte() {
        let local = LocalAddresses::new([own("10.0.0.1"), own("2001:db8::12:3456")]);
        let mut expected = testing::ethernet("33:33:00:00:00:16".parse().unwrap(), OURS, 0x86dd);
        expected.extend([0x60, 0, 0, 0, 0, 36, 0, 1]);
        expected.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        expected.extend("ff02::16".parse::<Ipv6Addr>().unwrap().octets());
        expected.extend([58, 0, 5, 2, 0, 0, 1, 0]);
        expected.extend([143, 0, 0x3c, 0xa0, 0, 0, 0, 1, 4, 0, 0, 0]);
        expected.extend("ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(reports(&port(), &local, Why::Joined), [expected]);
        assert_eq!(reports(&port(), &local, Why::Asked)[0][70], 2);
    }

    #[test]
    fn many_groups_take_several_frames_of_the_links_mtu() {
        let local = LocalAddresses::new((1..=100).map(|i| own(&format!("2001:db8::{i:x}"))));
        let frames = reports(&port(), &local, Why::Joined);
        let counts: Vec<_> = frames.iter().map(|frame| frame[69]).collect();
        assert_eq!(counts, [72, 28]);
        assert!(frames.iter().all(|frame| frame.len() <= 14 + 1500));
        assert_eq!(frames[1][14 + 56 + 19], 73, "goes on where the first ended");
        let none = LocalAddresses::new([own("10.0.0.1")]);
        assert!(reports(&port(), &none, Why::Joined).is_empty());
    }

    #[test]
    fn queries_are_told_from_all_else() {
        let query = |src: &str, hop_limit: u8, kind: u8| {
            let between = addrs(src.parse().unwrap(), "ff02::1".parse().unwrap());
            let mut message = vec![kind, 0, 0, 0, 0x27, 0x10, 0, 0];
            message.extend([0; 20]);
            icmp6::seal(between, &mut message);
            let to = "33:33:00:00:00:01".parse().unwrap();
            let mut frame = testing::ethernet(to, PEER, 0x86dd);
            let ip = ipv6::Build {
                traffic_class: 0,
                payload_len: 8 + message.len() as u16,
                next: 0,
                hop_limit,
                addrs: between,
            };
            frame.extend(ip.bytes());
            frame.extend(ROUTER_ALERT);
            frame.extend(message);
            frame
        };
        let asked =
            |frame: &[u8]| is_query(frame, &sluice_wire::parse(frame, None, false).unwrap());
        let good = query("fe80::9", 1, 130);
        assert!(asked(&good));
        assert!(!asked(&query("fe80::9", 2, 130)), "from afar");
        assert!(
            !asked(&query("2001:db8::9", 1, 130)),
            "not from a link-local address"
        );
        assert!(!asked(&query("fe80::9", 1, 131)), "a report");
        let mut damaged = good;
        damaged[70] ^= 1;
        assert!(!asked(&damaged));
    }
}
