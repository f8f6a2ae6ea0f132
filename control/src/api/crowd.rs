//! Places that clients share, such that none has all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::security::network;

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// All of them.
    pub(super) all: usize,
    /// Those that one client may have.
    pub(super) one: usize,
    /// The last ones, which are kept for clients that have fewer than `few`.
    pub(super) kept: usize,
    pub(super) few: usize,
}

/// Who has places. A client is an IPv4 address, or an IPv6 /64. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    room: Room,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One place of a client; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    inside: Arc<Mutex<Inside>>,
    client: IpAddr,
}

impl Crowd {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            inside: Arc::default(),
        }
    }

    /// A place for a client; `None` if it has its share, or there is none.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let client = network(client);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let has = inside.by_client.get(&client).copied().unwrap_or(0);
        let free = self.room.all.saturating_sub(inside.all);
        let share = if free > self.room.kept {
            self.room.one
        } else {
            self.room.few
        };
        if free == 0 || has >= share {
            return None;
        }
        inside.all += 1;
        inside.by_client.insert(client, has + 1);
        Some(Place {
            inside: Arc::clone(&self.inside),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(has) = inside.by_client.get_mut(&self.client) {
            *has -= 1;
            if *has == 0 {
                inside.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        all: 20,
        one: 8,
        kept: 4,
        few: 2,
    };

    fn enter(crowd: &Crowd, client: &str) -> Option<Place> {
        crowd.enter(client.parse().expect("an address"))
    }

    /// As many places as a client gets.
    fn crowd_in(crowd: &Crowd, client: &str) -> Vec<Place> {
        std::iter::from_fn(|| enter(crowd, client)).collect()
    }

    #[test]
    fn a_few_clients_leave_places_for_others() {
        let crowd = Crowd::new(ROOM);
        let greedy = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let taken = greedy.map(|client| crowd_in(&crowd, client));
        assert_eq!(taken.each_ref().map(Vec::len), [8, 8, 2, 2]);
        assert!(enter(&crowd, "192.0.2.5").is_none(), "none is left");
        drop(taken);
        let first = ["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(|client| crowd_in(&crowd, client));
        assert_eq!(first.each_ref().map(Vec::len), [8, 8, 0]);
        assert!(enter(&crowd, "192.0.2.5").is_some(), "these are kept");
        drop(first);
        assert!(crowd.inside.lock().expect("no panic").by_client.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = Crowd::new(ROOM);
        let addresses = (0..9).map(|n| format!("2001:db8::{n}"));
        let places: Vec<_> = addresses.filter_map(|one| enter(&crowd, &one)).collect();
        assert_eq!(places.len(), 8);
        assert!(enter(&crowd, "2001:db8:0:1::1").is_some());
        // The same host, as a socket of both families has it.
        let mapped = crowd_in(&crowd, "::ffff:192.0.2.1");
        let plain = crowd_in(&crowd, "192.0.2.1");
        assert_eq!((mapped.len(), plain.len()), (8, 0));
    }
}
