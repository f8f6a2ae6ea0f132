//! What was found out lately about addresses that open sessions or are spoken to, and the paths there.
//!
//! Most sessions are opened between hosts that have others. What would be looked up for each of them
//! again follows from the address and the snapshot alone, so it is remembered until another snapshot
//! comes, or another address that has the same place.

use std::net::{IpAddr, Ipv4Addr};

use super::plan::{self, Way};
use crate::counters::DropReason;
use crate::path::PathKey;
use crate::session::flow::{PathId, UNCHECKED};
use crate::snapshot::{Local, PortId, ServerId, ServiceId, Snapshot};
use crate::stack::neighbour::NeighbourId;

/// Addresses remembered.
const PLACES: usize = 1024;

/// What the snapshot of an epoch says about one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    epoch: u32,
    address: IpAddr,
    /// Whether and why it is ours.
    pub(super) local: Option<Local>,
    /// Where packets to it leave.
    pub(super) way: Result<Way, DropReason>,
}

/// The addresses.
#[derive(Debug)]
pub(super) struct Lately {
    places: Box<[About; PLACES]>,
    paths: Box<[Option<(Wanted, NeighbourId, PathId)>; PLACES]>,
}

impl Default for Lately {
    fn default() -> Self {
        let nothing = About {
            // No snapshot has this one.
            epoch: UNCHECKED,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            local: None,
            way: Err(DropReason::NoRoute),
        };
        Self {
            places: Box::new([nothing; PLACES]),
            paths: Box::new([None; PLACES]),
        }
    }
}

impl Lately {
    /// What is to be known about an address under this snapshot.
    #[inline]
    pub(super) fn about(&mut self, snapshot: &Snapshot, address: IpAddr) -> &About {
        self.remember(snapshot.epoch, address, || {
            (snapshot.local.get(address), plan::way(snapshot, address))
        })
    }

    #[inline]
    fn remember(
        &mut self,
        epoch: u32,
        address: IpAddr,
        ask: impl FnOnce() -> (Option<Local>, Result<Way, DropReason>),
    ) -> &About {
        let about = &mut self.places[place(address)];
        if about.epoch != epoch || about.address != address {
            let (local, way) = ask();
            *about = About {
                epoch,
                address,
                local,
                way,
            };
        }
        about
    }

    /// The next hop and the path that were found for this the last time: guesses, both.
    #[inline]
    pub(super) fn path(&self, wanted: &Wanted) -> Option<(NeighbourId, PathId)> {
        let (of, neighbour, path) = self.paths[wanted.place()]?;
        (of == *wanted).then_some((neighbour, path))
    }

    /// Remembers what was found.
    pub(super) fn note_path(&mut self, wanted: &Wanted, neighbour: NeighbourId, path: PathId) {
        self.paths[wanted.place()] = Some((*wanted, neighbour, path));
    }
}

#[inline]
fn place(address: IpAddr) -> usize {
    let word = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() as u64,
    };
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
}

/// What a path is wanted for, under the snapshot of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) epoch: u32,
    /// The port towards the next hop.
    pub(super) port: PortId,
    /// The next hop.
    pub(super) address: IpAddr,
    pub(super) service: ServiceId,
    pub(super) server: ServerId,
    pub(super) reply: bool,
}

impl Wanted {
    /// The path's key, given the next hop's number.
    #[inline]
    pub(super) fn key(&self, neighbour: NeighbourId) -> PathKey {
        PathKey {
            neighbour,
            port: self.port,
            service: self.service,
            server: self.server,
            reply: self.reply,
        }
    }

    #[inline]
    fn place(&self) -> usize {
        let of = usize::from(self.service.0) ^ usize::from(self.server.0) << 1;
        (place(self.address) ^ of << 1 ^ usize::from(self.reply)) % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is remembered of an address, which is VIP if it is asked about.
    fn is_vip(lately: &mut Lately, epoch: u32, address: u32, vip: bool) -> bool {
        let answer = (vip.then_some(Local::Vip), Err(DropReason::NoRoute));
        let address = IpAddr::from(address.to_be_bytes());
        lately.remember(epoch, address, || answer).local == Some(Local::Vip)
    }

    #[test]
    fn another_snapshot_is_asked_anew() {
        let mut lately = Lately::default();
        assert!(is_vip(&mut lately, 1, 7, true));
        assert!(is_vip(&mut lately, 1, 7, false), "remembered");
        assert!(!is_vip(&mut lately, 2, 7, false));
        assert!(!is_vip(&mut lately, 2, 7, true), "remembered");
    }

    #[test]
    fn addresses_with_one_place_are_told_apart() {
        let mut lately = Lately::default();
        for _ in 0..2 {
            for address in 0..4 * PLACES as u32 {
                let vip = address % 3 == 0;
                assert_eq!(is_vip(&mut lately, 1, address, vip), vip);
            }
        }
    }
}
