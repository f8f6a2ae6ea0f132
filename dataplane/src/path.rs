//! Paths: what a flow's packets need after their rewrite, interned per worker.
//!
//! A path joins a next hop (MAC addresses, device, VLAN, MTU) with the service and real server that
//! its packets are accounted to. Flows refer to it by a [`PathId`], so that a packet finds all of
//! this in one cache line that it shares with many sessions, and a neighbour that changes its MAC
//! address is corrected in one place. Flows hold references; a path without any is reused.

use sluice_wire::MacAddr;

use crate::io::DeviceId;
use crate::session::flow::PathId;
use crate::snapshot::{PortId, ServerId, ServiceId};
use crate::stack::neighbour::NeighbourId;

/// No VLAN tag.
pub const UNTAGGED: u16 = u16::MAX;
/// End of a list.
const NIL: u16 = u16::MAX;

/// What makes two paths the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathKey {
    /// The next hop.
    pub neighbour: NeighbourId,
    /// The port towards it.
    pub port: PortId,
    /// The service that packets are accounted to.
    pub service: ServiceId,
    /// The real server that they are accounted to.
    pub server: ServerId,
    /// True for the direction back to the opener of the session.
    pub reply: bool,
}

/// How frames look on the port that a path leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Our MAC address.
    pub source: MacAddr,
    /// The device.
    pub device: DeviceId,
    /// VLAN id, or [`UNTAGGED`].
    pub vlan: u16,
    /// Largest IP packet, bytes.
    pub mtu: u16,
}

/// One path. Hot: everything that sending a packet reads and counts.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Path {
    /// Destination and source MAC address as they open the frame; all zeros in the first half while
    /// the neighbour is unresolved.
    pub macs: [u8; 12],
    /// VLAN id, or [`UNTAGGED`].
    pub vlan: u16,
    /// The device to send by.
    pub device: DeviceId,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Whether the neighbour's MAC address is known.
    pub resolved: bool,
    /// Direction, see [`PathKey::reply`].
    pub reply: bool,
    /// The next hop.
    pub neighbour: NeighbourId,
    /// The port.
    pub port: PortId,
    /// Accounting.
    pub service: ServiceId,
    /// Accounting.
    pub server: ServerId,
    /// Frames sent since the counters were last taken.
    pub packets: u32,
    next: u16,
    next_of_neighbour: u16,
    /// Bytes (IP length) sent since the counters were last taken.
    pub bytes: u64,
    references: u32,
}

impl Path {
    fn new(key: &PathKey, link: &Link) -> Self {
        let mut path = Self {
            macs: [0; 12],
            vlan: UNTAGGED,
            device: link.device,
            mtu: link.mtu,
            resolved: false,
            reply: key.reply,
            neighbour: key.neighbour,
            port: key.port,
            service: key.service,
            server: key.server,
            packets: 0,
            next: NIL,
            next_of_neighbour: NIL,
            bytes: 0,
            references: 1,
        };
        set_link(&mut path, link);
        path
    }

    /// What was counted since the last call, as (packets, bytes).
    pub fn take_counts(&mut self) -> (u64, u64) {
        (
            u64::from(std::mem::take(&mut self.packets)),
            std::mem::take(&mut self.bytes),
        )
    }

    fn key(&self) -> PathKey {
        PathKey {
            neighbour: self.neighbour,
            port: self.port,
            service: self.service,
            server: self.server,
            reply: self.reply,
        }
    }
}

/// All paths of a worker.
#[derive(Debug)]
pub struct Paths {
    entries: Vec<Path>,
    limit: usize,
    free: u16,
    buckets: Box<[u16]>,
    by_neighbour: Box<[u16]>,
}

impl Paths {
    /// Room for `limit` paths (at most 65,535) to `neighbours` neighbours.
    pub fn new(limit: usize, neighbours: usize) -> Self {
        let limit = limit.clamp(1, usize::from(NIL));
        Self {
            entries: Vec::with_capacity(limit),
            limit,
            free: NIL,
            buckets: vec![NIL; limit.next_power_of_two()].into(),
            by_neighbour: vec![NIL; neighbours].into(),
        }
    }

    /// Paths ever in use; ids are below this.
    pub fn high_water(&self) -> usize {
        self.entries.len()
    }

    /// The path, if flows refer to it.
    #[inline]
    pub fn get(&self, id: PathId) -> Option<&Path> {
        self.entries.get(usize::from(id.0))
    }

    /// The path, to count on.
    #[inline]
    pub fn get_mut(&mut self, id: PathId) -> Option<&mut Path> {
        self.entries.get_mut(usize::from(id.0))
    }

    /// The path for `key`, with one more reference. `mac` is the neighbour's address if known.
    /// `None` if the table is full. True beside it if the path is new, in which case the caller
    /// keeps a reference to the neighbour for it.
    pub fn acquire(
        &mut self,
        key: &PathKey,
        link: &Link,
        mac: Option<MacAddr>,
    ) -> Option<(PathId, bool)> {
        let bucket = self.bucket(key);
        let mut at = self.buckets[bucket];
        while let Some(path) = self.entries.get_mut(usize::from(at)) {
            if path.key() == *key {
                path.references += 1;
                // The configuration may have changed the port since the path was made.
                set_link(path, link);
                return Some((PathId(at), false));
            }
            at = path.next;
        }
        let mut path = Path::new(key, link);
        set_mac(&mut path, mac);
        path.next = self.buckets[bucket];
        let id = if let Some(free) = self.entries.get_mut(usize::from(self.free)) {
            let id = std::mem::replace(&mut self.free, free.next);
            *free = path;
            id
        } else if self.entries.len() < self.limit {
            self.entries.push(path);
            (self.entries.len() - 1) as u16
        } else {
            return None;
        };
        self.buckets[bucket] = id;
        if let Some(head) = self.by_neighbour.get_mut(usize::from(key.neighbour.0)) {
            self.entries[usize::from(id)].next_of_neighbour = std::mem::replace(head, id);
        }
        Some((PathId(id), true))
    }

    /// One more reference to a path that was acquired before, if it is still there and for the same
    /// key, and nothing about its port has changed.
    #[inline]
    pub fn acquire_again(&mut self, id: PathId, key: &PathKey) -> bool {
        let path = self.entries.get_mut(usize::from(id.0));
        let path = path.filter(|path| path.references > 0 && path.key() == *key);
        path.is_some_and(|path| {
            path.references += 1;
            true
        })
    }

    /// Gives one reference back. If it was the last, the path is gone: what it still had counted and
    /// the neighbour that it held are returned.
    pub fn release(&mut self, id: PathId) -> Option<Path> {
        let path = self.entries.get_mut(usize::from(id.0))?;
        path.references = path.references.saturating_sub(1);
        if path.references > 0 {
            return None;
        }
        let gone = *path;
        let bucket = self.bucket(&gone.key());
        self.unlink(id.0, bucket);
        let path = &mut self.entries[usize::from(id.0)];
        path.next = std::mem::replace(&mut self.free, id.0);
        path.resolved = false;
        path.take_counts();
        Some(gone)
    }

    /// The neighbour's MAC address is now this, or unknown.
    pub fn set_mac(&mut self, neighbour: NeighbourId, mac: Option<MacAddr>) {
        let Some(&head) = self.by_neighbour.get(usize::from(neighbour.0)) else {
            return;
        };
        let mut at = head;
        while let Some(path) = self.entries.get_mut(usize::from(at)) {
            set_mac(path, mac);
            at = path.next_of_neighbour;
        }
    }

    fn bucket(&self, key: &PathKey) -> usize {
        let word = u64::from(key.neighbour.0)
            | u64::from(key.service.0) << 16
            | u64::from(key.server.0) << 32
            | u64::from(key.port.0) << 48;
        let mixed = (word ^ u64::from(key.reply)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as usize & (self.buckets.len() - 1)
    }

    fn unlink(&mut self, id: u16, bucket: usize) {
        let next = self.entries[usize::from(id)].next;
        let mut at = self.buckets[bucket];
        if at == id {
            self.buckets[bucket] = next;
        }
        while let Some(path) = self.entries.get_mut(usize::from(at)) {
            if path.next == id {
                path.next = next;
                break;
            }
            at = path.next;
        }
        let gone = self.entries[usize::from(id)];
        let Some(head) = self.by_neighbour.get_mut(usize::from(gone.neighbour.0)) else {
            return;
        };
        let mut at = *head;
        if at == id {
            *head = gone.next_of_neighbour;
        }
        while let Some(path) = self.entries.get_mut(usize::from(at)) {
            if path.next_of_neighbour == id {
                path.next_of_neighbour = gone.next_of_neighbour;
                break;
            }
            at = path.next_of_neighbour;
        }
    }
}

fn set_link(path: &mut Path, link: &Link) {
    path.macs[6..].copy_from_slice(&link.source.0);
    path.device = link.device;
    path.vlan = link.vlan;
    path.mtu = link.mtu;
}

fn set_mac(path: &mut Path, mac: Option<MacAddr>) {
    path.resolved = mac.is_some();
    path.macs[..6].copy_from_slice(&mac.unwrap_or(MacAddr::ZERO).0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link {
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        device: DeviceId(1),
        vlan: UNTAGGED,
        mtu: 1500,
    };

    fn key(neighbour: u16, service: u16) -> PathKey {
        PathKey {
            neighbour: NeighbourId(neighbour),
            port: PortId(0),
            service: ServiceId(service),
            server: ServerId::NONE,
            reply: false,
        }
    }

    #[test]
    fn a_path_is_one_cache_line() {
        assert_eq!(size_of::<Path>(), 64);
    }

    #[test]
    fn equal_keys_share_a_path_until_the_last_reference_goes() {
        let mut paths = Paths::new(2, 4);
        let (a, new) = paths.acquire(&key(1, 1), &LINK, None).unwrap();
        assert!(new);
        assert_eq!(paths.acquire(&key(1, 1), &LINK, None), Some((a, false)));
        let (b, _) = paths.acquire(&key(1, 2), &LINK, None).unwrap();
        assert_ne!(a, b);
        assert_eq!(paths.acquire(&key(2, 2), &LINK, None), None, "full");
        assert!(paths.release(a).is_none());
        assert_eq!(paths.release(a).unwrap().neighbour, NeighbourId(1));
        let (c, new) = paths.acquire(&key(2, 2), &LINK, None).unwrap();
        assert!(new && c == a, "the slot is reused");
        assert!(!paths.acquire_again(a, &key(1, 1)), "it is another's now");
        assert!(paths.acquire_again(c, &key(2, 2)));
        assert!(paths.release(c).is_none() && paths.release(c).is_some());
        assert!(!paths.acquire_again(c, &key(2, 2)), "it is nobody's");
    }

    #[test]
    fn a_new_mac_reaches_all_paths_of_the_neighbour_and_no_other() {
        let mut paths = Paths::new(8, 4);
        let ids: Vec<_> = (0..3)
            .map(|s| paths.acquire(&key(1, s), &LINK, None).unwrap().0)
            .collect();
        let (other, _) = paths.acquire(&key(2, 0), &LINK, None).unwrap();
        paths.release(ids[1]);
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        paths.set_mac(NeighbourId(1), Some(mac));
        for id in [ids[0], ids[2]] {
            let path = paths.get(id).unwrap();
            assert!(path.resolved);
            assert_eq!(path.macs, [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
        }
        assert!(!paths.get(other).unwrap().resolved);
    }
}
