//! What stands behind a port: the addresses that answer to ARP, and the appliance they speak to.

use std::net::Ipv4Addr;

use sluice_wire::proto::ETHERTYPE_ARP;
use sluice_wire::{MacAddr, arp, ethernet};

use crate::flows::Addresses;
use crate::template::LEAST;

/// A frame that carries an ARP packet.
pub(crate) type ArpFrame = [u8; LEAST];

/// Hosts on one port, as many as there are addresses.
#[derive(Debug, Clone)]
pub(crate) struct Station {
    /// The port's name.
    pub(crate) name: String,
    /// The port's MAC address.
    pub(crate) mac: MacAddr,
    /// The address that ARP asks from.
    pub(crate) address: Option<Ipv4Addr>,
    /// The appliance's address here.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Its MAC address, once known.
    pub(crate) gateway_mac: Option<MacAddr>,
    /// Addresses that are answered for.
    pub(crate) answers: Addresses,
    /// Each answered address has a MAC address of its own.
    pub(crate) mac_per_address: bool,
}

/// What an ARP packet brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To be sent.
    Answer(Box<ArpFrame>),
    /// The appliance has another MAC address than before.
    Gateway,
    /// Nothing.
    Nothing,
}

impl Station {
    /// The MAC address that frames of the port go to: broadcast while it is not known.
    pub(crate) fn next_hop(&self) -> MacAddr {
        self.gateway_mac.unwrap_or(MacAddr::BROADCAST)
    }

    /// A question for the gateway, while its MAC address is not known.
    pub(crate) fn question(&self) -> Option<ArpFrame> {
        if self.gateway_mac.is_some() {
            return None;
        }
        let address = self.address?;
        let request = arp::Packet::request(self.mac, address, self.gateway?);
        Some(frame(MacAddr::BROADCAST, self.mac, &request))
    }

    /// Handles a received ARP frame.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Heard {
        let Some(packet) = bytes
            .get(ethernet::HEADER_LEN..)
            .and_then(arp::Packet::parse)
        else {
            return Heard::Nothing;
        };
        let changed = Some(packet.sender_ip) == self.gateway
            && self.gateway_mac.replace(packet.sender_mac) != Some(packet.sender_mac);
        if packet.op == arp::Op::Request
            && let Some(mac) = self.mac_of(packet.target_ip)
        {
            let answer = frame(packet.sender_mac, mac, &packet.reply(mac));
            // A change is noticed by comparing MAC addresses, so that nothing is lost here.
            return Heard::Answer(Box::new(answer));
        }
        if changed {
            Heard::Gateway
        } else {
            Heard::Nothing
        }
    }

    /// The MAC address of a host behind the port.
    fn mac_of(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let own = self.address == Some(address);
        // A range of answers may well contain the appliance's own address.
        let foreign = self.gateway == Some(address) || self.answers.place(address).is_none();
        if !own && foreign {
            return None;
        }
        if own || !self.mac_per_address {
            return Some(self.mac);
        }
        let [a, b, c, d] = address.octets();
        Some(MacAddr([0x02, 0x10, a, b, c, d]))
    }
}

fn frame(dst: MacAddr, src: MacAddr, packet: &arp::Packet) -> ArpFrame {
    let mut bytes = [0; LEAST];
    let header = ethernet::Header {
        dst,
        src,
        tci: None,
        ethertype: ETHERTYPE_ARP,
    };
    header.write(&mut bytes);
    bytes[ethernet::HEADER_LEN..ethernet::HEADER_LEN + arp::LEN].copy_from_slice(&packet.bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLIANCE: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn station() -> Station {
        let mut answers = Addresses::default();
        answers.push(Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 26));
        Station {
            name: "servers".into(),
            mac: OWN,
            address: Some(Ipv4Addr::new(10, 1, 0, 2)),
            gateway: Some(Ipv4Addr::new(10, 1, 0, 1)),
            gateway_mac: None,
            answers,
            mac_per_address: true,
        }
    }

    fn from_appliance(packet: &arp::Packet) -> ArpFrame {
        frame(MacAddr::BROADCAST, APPLIANCE, packet)
    }

    fn request(target: Ipv4Addr) -> ArpFrame {
        from_appliance(&arp::Packet::request(
            APPLIANCE,
            Ipv4Addr::new(10, 1, 0, 1),
            target,
        ))
    }

    fn answer(heard: Heard) -> arp::Packet {
        let Heard::Answer(frame) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(ethernet::dst(&frame[..]), Some(APPLIANCE));
        arp::Packet::parse(&frame[14..]).unwrap()
    }

    #[test]
    fn every_simulated_server_answers_with_its_own_mac() {
        let mut station = station();
        let reply = answer(station.hear(&request(Ipv4Addr::new(10, 1, 0, 26))));
        assert_eq!(reply.op, arp::Op::Reply);
        assert_eq!(reply.sender_mac, MacAddr([2, 0x10, 10, 1, 0, 26]));
        assert_eq!(reply.sender_ip, Ipv4Addr::new(10, 1, 0, 26));
        assert_eq!(reply.target_mac, APPLIANCE);
        station.mac_per_address = false;
        let reply = answer(station.hear(&request(Ipv4Addr::new(10, 1, 0, 26))));
        assert_eq!(reply.sender_mac, OWN);
        assert_eq!(
            answer(station.hear(&request(Ipv4Addr::new(10, 1, 0, 2)))).sender_mac,
            OWN
        );
        for other in [Ipv4Addr::new(10, 1, 0, 27), Ipv4Addr::new(10, 1, 0, 1)] {
            assert_eq!(station.hear(&request(other)), Heard::Nothing);
        }
    }

    #[test]
    fn the_appliance_is_never_impersonated() {
        let mut station = station();
        station
            .answers
            .push(Ipv4Addr::new(10, 1, 0, 0), Ipv4Addr::new(10, 1, 0, 255));
        let probe = request(Ipv4Addr::new(10, 1, 0, 1));
        assert!(!matches!(station.hear(&probe), Heard::Answer(_)));
        answer(station.hear(&request(Ipv4Addr::new(10, 1, 0, 3))));
    }

    #[test]
    fn the_appliance_is_learned_and_followed_when_it_moves() {
        let mut station = station();
        let question = station.question().unwrap();
        let asked = arp::Packet::parse(&question[14..]).unwrap();
        assert_eq!(asked.target_ip, Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(asked.sender_ip, Ipv4Addr::new(10, 1, 0, 2));
        assert_eq!(
            station.hear(&from_appliance(&asked.reply(APPLIANCE))),
            Heard::Gateway
        );
        assert_eq!(station.next_hop(), APPLIANCE);
        assert_eq!(station.question(), None, "it is known");
        let other = MacAddr([2, 0, 0, 0, 0, 8]);
        let moved = arp::Packet::announce(other, Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(station.hear(&from_appliance(&moved)), Heard::Gateway);
        assert_eq!(station.next_hop(), other);
        assert_eq!(station.hear(&from_appliance(&moved)), Heard::Nothing);
        assert_eq!(station.hear(&[0; 60]), Heard::Nothing);
    }
}
