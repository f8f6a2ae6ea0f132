//! A packet that travels in a stream of records, behind the record that it must not be earlier than.

use std::net::IpAddr;

use crate::bytes::{In, Out};

/// Type, flags and length.
const HEAD: usize = 4;
/// Types, of IPv4 and IPv6.
const PACKET: u8 = 32;
const PACKET6: u8 = 33;
/// The receiver could not send it, and gives it back.
const RETURNED: u8 = 1 << 0;
/// The sender has sent it itself.
const RECALLED: u8 = 1 << 1;
/// Where these bits are.
const BITS_AT: usize = HEAD + 4;

/// An IP packet that the receiver is to send on, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketRecord<'a> {
    /// The address to route it to, which is not always its destination (direct server return).
    pub hop: IpAddr,
    /// Hash of the name of the zone that it leaves by.
    pub zone: u32,
    /// The receiver was asked to send it, could not, and gives it back to the node that asked.
    pub returned: bool,
    /// It took too long, and the node that asked has sent it itself: there is nothing to do.
    pub recalled: bool,
    /// The packet, from its IP header on.
    pub packet: &'a [u8],
}

impl<'a> PacketRecord<'a> {
    /// Writes it to the start of `buffer` and gives its length; `None` if it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        let (head, body) = buffer.split_first_chunk_mut::<HEAD>()?;
        let mut out = Out::new(body);
        out.u32(self.zone);
        let bit = |set, bit| if set { bit } else { 0 };
        let bits = bit(self.returned, RETURNED) | bit(self.recalled, RECALLED);
        out.put([bits, 0, 0, 0]);
        let kind = match self.hop {
            IpAddr::V4(hop) => {
                out.put(hop.octets());
                PACKET
            }
            IpAddr::V6(hop) => {
                out.put(hop.octets());
                PACKET6
            }
        };
        out.raw(self.packet);
        let len = HEAD + out.finish()?;
        let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
        *head = [kind, 0, high, low];
        Some(len)
    }

    /// Marks one that was written as recalled. `encoded` begins with it.
    pub(crate) fn recall(encoded: &mut [u8]) {
        if let Some(bits) = encoded.get_mut(BITS_AT) {
            *bits |= RECALLED;
        }
    }

    /// Bytes that it takes besides the packet.
    pub const fn overhead(hop: IpAddr) -> usize {
        HEAD + 8
            + match hop {
                IpAddr::V4(_) => 4,
                IpAddr::V6(_) => 16,
            }
    }

    /// Reads what follows type, flags and length of a record of a type. `None` if it is of another
    /// type, or too short.
    pub(super) fn decode(kind: u8, body: &'a [u8]) -> Option<Self> {
        let mut input = In(body);
        if !matches!(kind, PACKET | PACKET6) {
            return None;
        }
        let zone = input.u32()?;
        let [bits, ..] = input.take::<4>()?;
        let hop = if kind == PACKET {
            IpAddr::from(input.take::<4>()?)
        } else {
            IpAddr::from(input.take::<16>()?)
        };
        Some(Self {
            hop,
            zone,
            returned: bits & RETURNED != 0,
            recalled: bits & RECALLED != 0,
            packet: input.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Item, Record, Records, encode};
    use super::*;

    #[test]
    fn a_packet_is_these_bytes() {
        let record = PacketRecord {
            hop: IpAddr::from([10, 1, 2, 3]),
            zone: 0x0102_0304,
            returned: true,
            recalled: false,
            packet: &[0x45, 0, 0xff],
        };
        let bytes = [
            32, 0, 0, 19, 1, 2, 3, 4, 1, 0, 0, 0, 10, 1, 2, 3, 0x45, 0, 0xff,
        ];
        let mut written = [0; 64];
        assert_eq!(record.encode(&mut written), Some(bytes.len()));
        assert_eq!(written[..bytes.len()], bytes);
        assert_eq!(
            bytes.len(),
            PacketRecord::overhead(record.hop) + record.packet.len()
        );
        assert_eq!(record.encode(&mut written[..bytes.len() - 1]), None);
        let mut items = Records::new(&bytes, 0);
        assert_eq!(items.next_item(), Some(Item::Packet(record)));
        assert_eq!(items.next_item(), None);
        let mut recalled = bytes;
        PacketRecord::recall(&mut recalled);
        recalled[8] ^= RECALLED;
        assert_eq!(recalled, bytes, "nothing else has changed");
        recalled[8] |= RECALLED;
        let record = PacketRecord {
            recalled: true,
            ..record
        };
        let mut items = Records::new(&recalled, 0);
        assert_eq!(items.next_item(), Some(Item::Packet(record)));
    }

    #[test]
    fn who_asks_for_records_is_not_given_packets_and_does_not_miss_what_follows() {
        let record = PacketRecord {
            hop: "2001:db8::1".parse().expect("an address"),
            zone: 7,
            returned: false,
            recalled: false,
            packet: &[0x60; 40],
        };
        let mut frame = [0; 256];
        let mut len = record.encode(&mut frame).expect("room");
        let end = Record::RepairRequest { bucket: 9 };
        len += encode(&end, &mut frame[len..]).expect("room");
        let mut items = Records::new(&frame[..len], 0);
        assert_eq!(items.next_item(), Some(Item::Packet(record)));
        assert_eq!(items.next_item(), Some(Item::Record(end)));
        let mut records = Records::new(&frame[..len], 0);
        assert_eq!((records.next(), records.next()), (Some(end), None));
        assert_eq!(records.unknown(), 0);
    }

    #[test]
    fn a_packet_that_is_cut_short_is_none() {
        let record = PacketRecord {
            hop: IpAddr::from([10, 1, 2, 3]),
            zone: 1,
            returned: false,
            recalled: false,
            packet: &[],
        };
        let mut bytes = [0; 32];
        let len = record.encode(&mut bytes).expect("room");
        bytes[3] = len as u8 - 1;
        let mut items = Records::new(&bytes[..len - 1], 0);
        assert_eq!(items.next_item(), None);
        assert_eq!(items.unknown(), 1);
    }
}
