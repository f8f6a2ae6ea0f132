//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use crate::bytes::array;
use crate::mac::MacAddr;

/// Bytes of a packet.
pub const LEN: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// What a packet wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// A packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Request or reply.
    pub op: Op,
    /// MAC address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// MAC address of the target; not meaningful in requests.
    pub target_mac: MacAddr,
    /// IPv4 address that is asked for, or to which the reply goes.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Reads a packet, behind which there may be padding.
    ///
    /// `None` if it is cut, not about IPv4 over Ethernet, neither request nor reply, or if its
    /// sender claims addresses that no station can have: a group or zero MAC address, a multicast,
    /// loopback or broadcast IP address.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let packet: [u8; LEN] = array(packet, 0)?;
        let op = match array(&packet, 6)? {
            [0, 1] => Op::Request,
            [0, 2] => Op::Reply,
            _ => return None,
        };
        let parsed = Self {
            op,
            sender_mac: MacAddr(array(&packet, 8)?),
            sender_ip: array(&packet, 14)?.into(),
            target_mac: MacAddr(array(&packet, 18)?),
            target_ip: array(&packet, 24)?.into(),
        };
        let ip = parsed.sender_ip;
        let impossible = ip.is_multicast() || ip.is_loopback() || ip.is_broadcast();
        (packet[..6] == ETHERNET_IPV4 && parsed.sender_mac.is_unicast() && !impossible)
            .then_some(parsed)
    }

    /// The packet's bytes.
    pub fn bytes(&self) -> [u8; LEN] {
        let mut packet = [0; LEN];
        packet[..6].copy_from_slice(&ETHERNET_IPV4);
        packet[7] = match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        };
        packet[8..14].copy_from_slice(&self.sender_mac.0);
        packet[14..18].copy_from_slice(&self.sender_ip.octets());
        packet[18..24].copy_from_slice(&self.target_mac.0);
        packet[24..].copy_from_slice(&self.target_ip.octets());
        packet
    }

    /// Asks for the MAC address of `target`.
    pub const fn request(mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            op: Op::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: MacAddr::ZERO,
            target_ip: target,
        }
    }

    /// Tells everybody that `mac` has `ip`: a request for one's own address, as RFC 5227 section
    /// 2.3 prefers it.
    pub const fn announce(mac: MacAddr, ip: Ipv4Addr) -> Self {
        Self::request(mac, ip, ip)
    }

    /// The answer to this request from the station that has the address asked for.
    #[must_use]
    pub const fn reply(&self, mac: MacAddr) -> Self {
        Self {
            op: Op::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Whether the sender speaks of its own address unasked.
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip && !self.sender_ip.is_unspecified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    /// 02:00:00:00:00:01, 192.0.2.1, asks for 192.0.2.254.
    const REQUEST: [u8; LEN] = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 254,
    ];

    #[test]
    fn a_request_is_answered() {
        let request = Packet::parse(&REQUEST).unwrap();
        assert_eq!(request.op, Op::Request);
        assert_eq!(request.target_ip, Ipv4Addr::new(192, 0, 2, 254));
        assert_eq!(
            request.reply(MAC).bytes(),
            [
                0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 192, 0, 2, 254, 2, 0, 0, 0, 0, 1, 192, 0,
                2, 1
            ]
        );
        let again = Packet::request(request.sender_mac, request.sender_ip, request.target_ip);
        assert_eq!(again.bytes(), REQUEST);
        assert!(!request.is_announcement());
    }

    #[test]
    fn announcements_and_probes_are_told_apart() {
        let ip = Ipv4Addr::new(192, 0, 2, 7);
        assert!(Packet::announce(MAC, ip).is_announcement());
        let probe = Packet::request(MAC, Ipv4Addr::UNSPECIFIED, ip);
        assert_eq!(Packet::parse(&probe.bytes()), Some(probe));
        assert!(!probe.is_announcement());
    }

    #[test]
    fn cut_packets_are_refused_and_padding_is_ignored() {
        for len in 0..LEN {
            assert_eq!(Packet::parse(&REQUEST[..len]), None, "{len}");
        }
        let mut padded = REQUEST.to_vec();
        padded.resize(46, 0xee);
        assert_eq!(Packet::parse(&padded), Packet::parse(&REQUEST));
    }

    #[test]
    fn what_is_not_ethernet_and_ipv4_or_has_an_impossible_sender_is_refused() {
        let changes: [(usize, &[u8]); 10] = [
            (0, &[0, 6]),
            (2, &[0x86, 0xdd]),
            (4, &[8]),
            (5, &[16]),
            (6, &[0, 3]),
            (8, &[0xff; 6]),
            (8, &[0; 6]),
            (14, &[224, 0, 0, 1]),
            (14, &[127, 0, 0, 1]),
            (14, &[255; 4]),
        ];
        for (at, bytes) in changes {
            let mut packet = REQUEST;
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(Packet::parse(&packet), None, "{at} {bytes:?}");
        }
    }
}
