//! A router between the HA links of appliances that are no neighbours: written from the RFCs, with
//! nothing of the appliance's own code.

use sluice_dataplane::worker::{TunnelEnd, TunnelKind, TunnelParts};
use sluice_wire::checksum::Sum;

use super::pair::link_mac;

/// Its MAC address, and, from the beginning, that of another one in its place.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0xfe], [2, 0, 0, 0, 1, 0xfd]];

/// The tunnels of node `node` of `nodes`: each is on a network of its own.
pub fn tunnels(kind: TunnelKind, node: u8, nodes: u16) -> TunnelParts {
    let others = (1..=nodes as u8).filter(|&other| other != node);
    let [gateway, own] = [254, 1].map(|last| [10, 99, node, last].into());
    TunnelParts {
        end: TunnelEnd {
            kind,
            id: 4711,
            address: own,
        },
        nodes: others
            .map(|other| (other, [10, 99, other, 1].into(), gateway))
            .collect(),
    }
}

#[derive(Debug, Default)]
pub struct Router {
    /// It answers nothing and carries nothing.
    pub dead: bool,
    /// Which of its MAC addresses it has.
    pub mac: usize,
    /// Bytes of an IP packet that its links take.
    pub mtu: usize,
    /// Packets that it carried, and that were larger than its links take.
    pub carried: u32,
    pub too_big: u32,
}

impl Router {
    /// What becomes of a frame that node `from` sends, by places: node 1 has place 0.
    pub fn carry(&mut self, frame: &[u8], from: usize) -> Vec<(usize, Vec<u8>)> {
        let own = MACS[self.mac];
        let is_ours = frame[..6] == own || frame[..6] == [0xff; 6];
        if self.dead || !is_ours {
            return vec![];
        }
        let node = from as u8 + 1;
        match frame[12..14] {
            [8, 6] => {
                let asked = frame[20..22] == [0, 1] && frame[38..42] == [10, 99, node, 254];
                if !asked {
                    return vec![];
                }
                assert_eq!(frame[28..32], [10, 99, node, 1], "who asks");
                vec![(from, self.says(node, &frame[6..12]))]
            }
            [8, 0] => self.forward(frame).into_iter().collect(),
            _ => panic!("a frame without a tunnel: {:02x?}", &frame[..14]),
        }
    }

    /// An ARP reply to a node.
    pub fn says(&self, node: u8, to: &[u8]) -> Vec<u8> {
        let own = MACS[self.mac];
        let head = [to, &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
        let ips = [[10, 99, node, 254], [10, 99, node, 1]];
        let mut frame = [&*head, &own, &ips[0], to, &ips[1]].concat();
        frame.resize(60, 0);
        frame
    }

    fn forward(&mut self, frame: &[u8]) -> Option<(usize, Vec<u8>)> {
        let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        assert!(Sum::ZERO.bytes(&frame[14..34]).is_valid(), "its checksum");
        assert_eq!(frame[20] & 0xe0, 0x40, "not to be cut, and not cut");
        assert!(len <= frame.len() - 14);
        if len > self.mtu {
            self.too_big += 1;
            return None;
        }
        let to = frame[32];
        assert_eq!(frame[30..34], [10, 99, to, 1]);
        let mut out = frame.to_vec();
        out[..6].copy_from_slice(&link_mac(to).0);
        out[6..12].copy_from_slice(&MACS[self.mac]);
        out[22] -= 1;
        out[24..26].fill(0);
        let sum = Sum::ZERO.bytes(&out[14..34]).checksum();
        out[24..26].copy_from_slice(&sum.to_ne_bytes());
        self.carried += 1;
        Some((usize::from(to) - 1, out))
    }
}
