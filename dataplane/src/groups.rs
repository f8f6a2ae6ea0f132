//! Groups of virtual addresses, each held by one of two appliances at a time.
//!
//! A group has a number, a virtual MAC address, and addresses. The node that holds it answers ARP and
//! neighbour solicitations for its addresses with its virtual MAC address, and takes frames that are
//! sent there. Which node that is, [`sluice_ha::Roles`] decides; here is what follows from it.

use std::net::IpAddr;

use foldhash::HashMap;
pub use sluice_ha::roles::MAX_GROUPS;
use sluice_wire::MacAddr;

use crate::snapshot::PortId;

/// The number of a group, from 1 to [`MAX_GROUPS`]: the same on both nodes, and the last byte of its
/// virtual MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupId(pub u8);

impl GroupId {
    /// Its place in what nodes tell each other.
    pub fn slot(self) -> usize {
        usize::from(self.0).saturating_sub(1)
    }

    /// The group of a place.
    pub fn of_slot(slot: usize) -> Self {
        Self(slot as u8 + 1)
    }
}

/// Groups, as a set: bit n is group n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupSet(pub u32);

impl GroupSet {
    /// Whether the group is in it.
    #[inline]
    pub fn has(self, group: GroupId) -> bool {
        self.0 >> (group.0 & 31) & 1 == 1
    }

    /// Puts a group in, or takes it out.
    pub fn set(&mut self, group: GroupId, is_in: bool) {
        let bit = 1 << (group.0 & 31);
        self.0 = if is_in { self.0 | bit } else { self.0 & !bit };
    }

    /// All of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The virtual MAC addresses of all groups: five bytes that they share, then the group's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualMacs(pub [u8; 5]);

impl Default for VirtualMacs {
    /// Those of VRRP (RFC 9568 section 7.3), for both families.
    fn default() -> Self {
        Self([0, 0, 0x5e, 0, 1])
    }
}

/// An Ethernet address as the lower bits of a word, its first byte lowest.
const ADDRESS: u64 = (1 << 48) - 1;
/// The bits of it that tell groups apart.
const NUMBER: u64 = 31 << 40;

impl VirtualMacs {
    /// That of a group.
    pub fn of(self, group: GroupId) -> MacAddr {
        let [a, b, c, d, e] = self.0;
        MacAddr([a, b, c, d, e, group.0])
    }

    /// Whether an address is that of a group.
    pub fn has(self, mac: MacAddr) -> bool {
        mac.0[..5] == self.0 && (1..=MAX_GROUPS as u8).contains(&mac.0[5])
    }

    /// What all of them have in common, as the first bytes of a frame in a word.
    pub fn word(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

/// Whether the first eight bytes of a frame, its first byte lowest, begin with the virtual MAC address
/// of one of `groups`, `word` being [`VirtualMacs::word`].
#[inline(always)]
pub fn leads_to(word: u64, groups: GroupSet, head: u64) -> bool {
    (head & ADDRESS & !NUMBER == word) & (groups.0 >> (head >> 40 & 31) & 1 == 1)
}

/// A group, on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name in the configuration.
    pub name: String,
    /// The node of the higher priority holds it; 0 never does.
    pub priority: u8,
    /// Take it from a node of lower priority after being fit for so many milliseconds.
    pub preempt: Option<u32>,
}

/// What there is besides sessions for two appliances to divide. Empty where there is one.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    /// All of them, by number.
    pub groups: Vec<Group>,
    /// Their MAC addresses.
    pub macs: VirtualMacs,
    /// The data port that heartbeats go by as well.
    pub witness: Option<PortId>,
    /// Routers that are asked all the time whether they are there, and by which port.
    pub gateways: Vec<(PortId, IpAddr)>,
    addresses: HashMap<IpAddr, GroupId>,
}

impl Groups {
    /// With their addresses.
    pub fn new(
        groups: Vec<Group>,
        macs: VirtualMacs,
        witness: Option<PortId>,
        addresses: impl IntoIterator<Item = (IpAddr, GroupId)>,
    ) -> Self {
        Self {
            groups,
            macs,
            witness,
            gateways: Vec::new(),
            addresses: addresses.into_iter().collect(),
        }
    }

    /// The group that an address belongs to.
    pub fn of(&self, address: IpAddr) -> Option<GroupId> {
        self.addresses.get(&address).copied()
    }

    /// Whether addresses or their groups differ.
    pub fn differ(&self, other: &Self) -> bool {
        self.addresses != other.addresses || self.macs != other.macs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(mac: MacAddr) -> u64 {
        let [a, b, c, d, e, f] = mac.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0xee, 0xff])
    }

    #[test]
    fn frames_lead_to_groups_that_are_in_the_set_and_to_no_other() {
        let macs = VirtualMacs::default();
        let mut groups = GroupSet::default();
        groups.set(GroupId(1), true);
        groups.set(GroupId(16), true);
        for number in 0..=255 {
            let led = leads_to(macs.word(), groups, head(macs.of(GroupId(number))));
            assert_eq!(led, matches!(number, 1 | 16), "{number}");
        }
        let [mut near, mut far] = [macs.of(GroupId(1)); 2];
        near.0[4] ^= 1;
        far.0[0] ^= 2;
        for other in [near, far] {
            assert!(!leads_to(macs.word(), groups, head(other)) && !macs.has(other));
        }
        groups.set(GroupId(16), false);
        assert!(!groups.has(GroupId(16)) && groups.has(GroupId(1)));
        assert!(!leads_to(macs.word(), groups, head(macs.of(GroupId(16)))));
    }

    #[test]
    fn without_groups_nothing_leads_anywhere() {
        let macs = VirtualMacs::default();
        let all = (0..=16).map(|number| head(macs.of(GroupId(number))));
        assert!(
            !all.into_iter()
                .any(|head| leads_to(macs.word(), GroupSet::default(), head))
        );
    }
}
