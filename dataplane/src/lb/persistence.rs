//! Clients that come back to the real server that they had.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::io::{Memory, OutOfMemory};
use crate::map::ExpiringMap;
use crate::snapshot::{Persistence, ServerId, ServiceId};

/// Who is remembered: a network of clients, at one virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// See [`network`].
    pub network: IpAddr,
    /// The virtual server.
    pub service: ServiceId,
}

/// How full the memory of clients is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Clients remembered, those included whose time is up and that were not swept yet.
    pub clients: usize,
    /// For how many there is room.
    pub room: usize,
    /// Sessions whose client could not be remembered because there was no room.
    pub refused: u64,
}

/// The clients that one worker decides for, and their servers.
#[derive(Debug)]
pub struct Clients {
    map: ExpiringMap<Client, ServerId>,
    refused: u64,
}

impl Clients {
    /// Memory for so many.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(memory: &mut impl Memory, room: usize) -> Result<Self, OutOfMemory> {
        Ok(Self {
            map: ExpiringMap::new(memory, "persistence of clients", room)?,
            refused: 0,
        })
    }

    /// The server that a client had, if that is not too long ago. `hash` is keyed.
    pub fn get(&self, hash: u64, client: &Client, now: u32) -> Option<ServerId> {
        self.map.get(hash, client, now).copied()
    }

    /// The client got this server, and is remembered for `timeout_ms` from now on (cut to 12 days).
    /// Without room it is not: the session goes on, and the next may get another server.
    pub fn set(&mut self, hash: u64, client: Client, server: ServerId, now: u32, timeout_ms: u32) {
        let set = self.map.insert(hash, client, server, now, timeout_ms);
        self.refused = self.refused.wrapping_add(u64::from(set.is_err()));
    }

    /// Forgets a client.
    pub fn forget(&mut self, hash: u64, client: &Client) {
        self.map.remove(hash, client);
    }

    /// The client at a place of the memory, its server, and the milliseconds since it was last set.
    /// `None` behind the last place; `Some(None)` where there is none.
    pub fn at(&self, place: usize, now: u32) -> Option<Option<(Client, ServerId, u32)>> {
        let mut found = None;
        let next = self.map.scan(place, 1, now, |_, client, server, idle| {
            found = Some((*client, *server, idle));
        });
        (found.is_some() || next.is_some()).then_some(found)
    }

    /// Looks at the next `budget` places and frees those whose time is up.
    pub fn sweep(&mut self, now: u32, budget: usize) {
        self.map.sweep(now, budget, |_, _| None);
    }

    /// How full it is.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            clients: self.map.len(),
            room: self.map.capacity(),
            refused: self.refused,
        }
    }
}

/// The network of `client` by which it is remembered.
pub fn network(persistence: &Persistence, client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => {
            let cut = 32 - u32::from(persistence.prefix_v4.min(32));
            let mask = u32::MAX.checked_shl(cut).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let cut = 128 - u32::from(persistence.prefix_v6.min(128));
            let mask = u128::MAX.checked_shl(cut).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_by_family() {
        let persistence = |prefix_v4, prefix_v6| Persistence {
            prefix_v4,
            prefix_v6,
            timeout_ms: 1,
        };
        for (prefixes, client, expected) in [
            ((32, 128), "198.51.100.255", "198.51.100.255"),
            ((25, 128), "198.51.100.255", "198.51.100.128"),
            ((24, 128), "198.51.100.255", "198.51.100.0"),
            ((0, 128), "198.51.100.255", "0.0.0.0"),
            ((0, 128), "2001:db8::ffff", "2001:db8::ffff"),
            ((0, 127), "2001:db8::ffff", "2001:db8::fffe"),
            ((32, 64), "2001:db8::ffff", "2001:db8::"),
            ((32, 0), "2001:db8::ffff", "::"),
        ] {
            let (v4, v6) = prefixes;
            assert_eq!(
                network(&persistence(v4, v6), client.parse().unwrap()),
                expected.parse::<IpAddr>().unwrap(),
                "{client} by {prefixes:?}"
            );
        }
    }
}
