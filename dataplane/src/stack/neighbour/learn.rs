//! What a message from a neighbour changes in the table.

use std::net::IpAddr;

use sluice_wire::MacAddr;

use super::{NeighbourId, Neighbours, State};
use crate::snapshot::PortId;

/// One thing that was learnt from the wire. Workers pass it on to each other; `stack::arp` and
/// `stack::nd` make it, after having checked that the neighbour is on a network of the port and
/// the address is not one of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Learned {
    /// The port it came by.
    pub port: PortId,
    /// The neighbour's address.
    pub addr: IpAddr,
    /// The MAC address that it says it has; an advertisement may leave it out.
    pub mac: Option<MacAddr>,
    /// What kind of message said so.
    pub how: How,
}

/// The messages to learn from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It asked for an address of ours: it is about to speak to us, so an entry is made.
    Request,
    /// It answered to us (ARP). Changes entries that are there.
    Reply,
    /// It spoke to others, or to all (gratuitous ARP). Changes entries that are there.
    Announce,
    /// Neighbour advertisement. Changes entries that are there.
    Advert {
        /// It answers a solicitation.
        solicited: bool,
        /// It is to replace another MAC address.
        overrides: bool,
        /// The sender is a router.
        router: bool,
    },
}

/// A neighbour's MAC address has become known, or another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The neighbour.
    pub id: NeighbourId,
    /// Its MAC address from now on.
    pub mac: MacAddr,
}

impl Neighbours {
    /// Enters what was learnt. MAC addresses that no single station has are refused.
    pub fn learn(&mut self, learned: &Learned, now: u32) -> Option<Change> {
        match (learned.mac, learned.how) {
            (Some(mac), _) if !mac.is_unicast() => return None,
            (None, How::Request | How::Reply | How::Announce) => return None,
            _ => {}
        }
        let id = match (self.find(learned.port, learned.addr), learned.how) {
            (Some(id), _) => id,
            (None, How::Request) => self.insert(learned.port, learned.addr, now)?,
            (None, _) => return None,
        };
        let entry = &mut self.entries[usize::from(id.0)];
        entry.seen = now;
        let known = entry.mac().filter(|mac| *mac != MacAddr::ZERO);
        if entry.state == State::Static {
            return None;
        }
        match learned.how {
            How::Request | How::Announce => self.hear(id, known, learned.mac?),
            How::Reply => {
                let mac = learned.mac?;
                self.confirm(id, now);
                self.entries[usize::from(id.0)].mac = mac;
                (known != Some(mac)).then_some(Change { id, mac })
            }
            How::Advert {
                solicited,
                overrides,
                router,
            } => {
                let Some(mac) = learned.mac.or(known) else {
                    // RFC 4861 7.2.5: without a MAC address there is nothing to complete.
                    return None;
                };
                if known.is_some_and(|known| known != mac) && !overrides {
                    if entry.state == State::Reachable {
                        entry.state = State::Stale;
                    }
                    return None;
                }
                entry.router = router;
                if solicited {
                    self.confirm(id, now);
                    self.entries[usize::from(id.0)].mac = mac;
                    return (known != Some(mac)).then_some(Change { id, mac });
                }
                self.hear(id, known, mac)
            }
        }
    }

    /// A MAC address without proof that the neighbour hears us (RFC 4861 section 7.2.3; RFC 826's
    /// merge).
    fn hear(&mut self, id: NeighbourId, known: Option<MacAddr>, mac: MacAddr) -> Option<Change> {
        if known == Some(mac) {
            return None;
        }
        let entry = &mut self.entries[usize::from(id.0)];
        entry.mac = mac;
        entry.state = State::Stale;
        Some(Change { id, mac })
    }
}
