//! Frames from the hosts around the appliance, byte by byte, and what they answer.

use std::net::{IpAddr, Ipv4Addr};

use sluice_wire::checksum::Sum;
use sluice_wire::{Family, V4, V6, proto};

use super::{PortId, host_mac, ip, own_mac};

/// A packet between two hosts, with what tests vary.
#[derive(Clone)]
pub struct Spec {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    pub ttl: u8,
    /// IPv4: the fragment word (flags and offset), host order.
    pub fragment: u16,
    pub id: u16,
    pub body: Vec<u8>,
}

/// A UDP datagram, its checksum right.
pub fn udp(src: &str, sport: u16, dst: &str, dport: u16, data: &[u8]) -> Spec {
    let mut body = vec![];
    body.extend(sport.to_be_bytes());
    body.extend(dport.to_be_bytes());
    body.extend((8 + data.len() as u16).to_be_bytes());
    body.extend([0, 0]);
    body.extend(data);
    Spec::new(src, dst, proto::UDP, body).summed(6)
}

/// A TCP segment, its checksum right.
pub fn tcp(src: &str, sport: u16, dst: &str, dport: u16, flags: u8, seq: u32, ack: u32) -> Spec {
    let mut body = vec![];
    body.extend(sport.to_be_bytes());
    body.extend(dport.to_be_bytes());
    body.extend(seq.to_be_bytes());
    body.extend(ack.to_be_bytes());
    body.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    Spec::new(src, dst, proto::TCP, body).summed(16)
}

/// A TCP segment with data, its checksum right.
pub fn segment(
    [from, to]: [(&str, u16); 2],
    flags: u8,
    (seq, ack): (u32, u32),
    data: &[u8],
) -> Spec {
    let mut spec = tcp(from.0, from.1, to.0, to.1, flags, seq, ack);
    spec.body.extend(data);
    spec.summed(16)
}

/// An echo request (or reply), of the family of its addresses.
pub fn echo(src: &str, dst: &str, id: u16, reply: bool) -> Spec {
    let v6 = ip(src).is_ipv6();
    let kind = match (v6, reply) {
        (false, false) => 8,
        (false, true) => 0,
        (true, false) => 128,
        (true, true) => 129,
    };
    let mut body = vec![kind, 0, 0, 0];
    body.extend(id.to_be_bytes());
    body.extend([0, 1, b'p', b'i', b'n', b'g']);
    Spec::new(src, dst, if v6 { proto::ICMPV6 } else { proto::ICMP }, body).summed(2)
}

/// An ICMP error about a packet, from a router.
pub fn icmp_error(router: &str, to: &str, kind: u8, code: u8, rest: [u8; 4], about: &[u8]) -> Spec {
    let mut body = vec![kind, code, 0, 0];
    body.extend(rest);
    body.extend(about);
    let number = if ip(router).is_ipv6() {
        proto::ICMPV6
    } else {
        proto::ICMP
    };
    Spec::new(router, to, number, body).summed(2)
}

impl Spec {
    pub fn new(src: &str, dst: &str, proto: u8, body: Vec<u8>) -> Self {
        Self {
            src: ip(src),
            dst: ip(dst),
            proto,
            ttl: 64,
            fragment: 0,
            id: 0x1234,
            body,
        }
    }

    /// Puts the checksum at `at` of the body right.
    pub fn summed(mut self, at: usize) -> Self {
        self.body[at..at + 2].fill(0);
        let len = self.body.len() as u32;
        let sum = match (self.proto, self.src) {
            (proto::ICMP, _) => Sum::default(),
            (_, IpAddr::V4(_)) => {
                Sum::default().pseudo::<V4>(V4::pack(self.src, self.dst), self.proto, len)
            }
            (_, IpAddr::V6(_)) => {
                Sum::default().pseudo::<V6>(V6::pack(self.src, self.dst), self.proto, len)
            }
        };
        let sum = sum.bytes(&self.body);
        let sum = if self.proto == proto::UDP {
            sum.checksum_udp()
        } else {
            sum.checksum()
        };
        self.body[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub fn fragment(mut self, word: u16) -> Self {
        self.fragment = word;
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// The IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut out = vec![];
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                out.extend([0x45, 0]);
                out.extend((20 + self.body.len() as u16).to_be_bytes());
                out.extend(self.id.to_be_bytes());
                out.extend(self.fragment.to_be_bytes());
                out.extend([self.ttl, self.proto, 0, 0]);
                out.extend(src.octets());
                out.extend(dst.octets());
                let sum = Sum::default().bytes(&out).checksum();
                out[10..12].copy_from_slice(&sum.to_ne_bytes());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                out.extend([0x60, 0, 0, 0]);
                out.extend((self.body.len() as u16).to_be_bytes());
                out.extend([self.proto, self.ttl]);
                out.extend(src.octets());
                out.extend(dst.octets());
            }
            _ => panic!("mixed families"),
        }
        out.extend(&self.body);
        out
    }

    /// The frame as the appliance receives it by `port`, sent by the host itself or, from afar, by
    /// the router.
    pub fn to(&self, port: PortId) -> Vec<u8> {
        self.framed(own_mac(port).0, self.sender_mac(port))
    }

    /// The frame as the appliance sends it by `port` to the host or to the router.
    pub fn from(&self, port: PortId) -> Vec<u8> {
        self.framed(self.receiver_mac(port), own_mac(port).0)
    }

    fn sender_mac(&self, port: PortId) -> [u8; 6] {
        host_mac(next_hop(self.src, port)).0
    }

    fn receiver_mac(&self, port: PortId) -> [u8; 6] {
        host_mac(next_hop(self.dst, port)).0
    }

    fn framed(&self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let mut out = vec![];
        out.extend(to);
        out.extend(from);
        out.extend(if self.src.is_ipv6() {
            [0x86, 0xdd]
        } else {
            [8, 0]
        });
        out.extend(self.packet());
        out
    }
}

/// Who a host's packets go through: the host itself where it is on the port's network.
fn next_hop(address: IpAddr, port: PortId) -> IpAddr {
    let near = ["10.0.0.", "192.0.2.", "2001:db8:a::", "2001:db8:b::"];
    if near.iter().any(|net| address.to_string().starts_with(net)) || port.0 == 0 {
        address
    } else if address.is_ipv6() {
        ip("2001:db8:b::fe")
    } else {
        ip("192.0.2.254")
    }
}

/// What a neighbour makes of a frame.
pub enum Neighbourly {
    /// It asks for this address, whose owner answers so.
    Answer(IpAddr, Vec<u8>),
    /// Announcements.
    Ignore,
    /// It is not about neighbours.
    No,
}

/// Answers ARP requests and neighbour solicitations.
pub fn neighbour_answer(frame: &[u8]) -> Neighbourly {
    match frame[12..14] {
        [8, 6] => {
            let target = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[38..42]).unwrap());
            if frame[20..22] != [0, 1] || frame[28..32] == frame[38..42] {
                return Neighbourly::Ignore;
            }
            let mac = host_mac(target.into()).0;
            let mut answer = frame[..42].to_vec();
            answer[..6].copy_from_slice(&frame[6..12]);
            answer[6..12].copy_from_slice(&mac);
            answer[21] = 2;
            answer[22..28].copy_from_slice(&mac);
            answer[28..32].copy_from_slice(&target.octets());
            answer[32..42].copy_from_slice(&frame[22..32]);
            Neighbourly::Answer(target.into(), answer)
        }
        [0x86, 0xdd] if frame[20] == proto::ICMPV6 && frame[54] == 135 => {
            let target = <[u8; 16]>::try_from(&frame[62..78]).unwrap();
            let target = IpAddr::from(target);
            let asker = IpAddr::from(<[u8; 16]>::try_from(&frame[22..38]).unwrap());
            let mac = host_mac(target).0;
            let mut body = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
            body.extend(&frame[62..78]);
            body.extend([2, 1]);
            body.extend(mac);
            let spec = Spec::new(&target.to_string(), &asker.to_string(), proto::ICMPV6, body);
            let spec = spec.ttl(255).summed(2);
            let to = frame[6..12].try_into().unwrap();
            Neighbourly::Answer(target, spec.framed(to, mac))
        }
        [0x86, 0xdd] if frame[20] == proto::ICMPV6 && frame[54] == 136 => Neighbourly::Ignore,
        // Multicast listener reports, behind a router alert.
        [0x86, 0xdd] if frame[20] == 0 && frame.get(62) == Some(&143) => Neighbourly::Ignore,
        _ => Neighbourly::No,
    }
}
