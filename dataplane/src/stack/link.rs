//! What ARP and neighbour discovery have in common: for whom we answer, and from whom we learn.

use std::net::IpAddr;

use sluice_wire::MacAddr;

use crate::groups::{GroupSet, Groups};
use crate::snapshot::{Local, LocalAddresses, Port, PortId, Snapshot};
use crate::stack::neighbour::{How, Learned};

/// The link that a message came by.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Number of the port.
    pub id: PortId,
    /// The port.
    pub port: &'a Port,
    /// Addresses that are ours, on any port.
    pub local: &'a LocalAddresses,
    /// Groups of addresses that one of two appliances answers for.
    pub groups: &'a Groups,
    /// Those that this one holds.
    pub held: GroupSet,
}

/// What a well-formed message of a neighbour leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// The frame has become the answer; send it by the port that it came from.
    pub answered: bool,
    /// To be entered here and by the other workers.
    pub learned: Option<Learned>,
    /// Another station claims this address, which is ours.
    pub conflict: Option<IpAddr>,
}

impl<'a> Link<'a> {
    /// That of a port, if the snapshot has it.
    pub fn of(snapshot: &'a Snapshot, id: PortId, held: GroupSet) -> Option<Self> {
        Some(Self {
            id,
            port: snapshot.ports.get(usize::from(id.0))?,
            local: &snapshot.local,
            groups: &snapshot.groups,
            held,
        })
    }
}

impl Link<'_> {
    /// The MAC address that an address of ours is to be reached by.
    pub fn mac_of(&self, address: IpAddr) -> MacAddr {
        let group = self.groups.of(address);
        group.map_or(self.port.mac, |group| self.groups.macs.of(group))
    }

    /// Whether a station is this appliance, or another that holds a group.
    pub fn is_ours(&self, mac: MacAddr) -> bool {
        mac == self.port.mac || self.groups.macs.has(mac) && !self.groups.groups.is_empty()
    }

    /// Whether we answer for `address` here: own addresses on their port, addresses of virtual
    /// servers and of NAT on each port whose network they are part of; those of a group only where
    /// it is held.
    pub fn answers_for(&self, address: IpAddr) -> bool {
        let held = || {
            let group = self.groups.of(address);
            group.is_none_or(|group| self.held.has(group))
        };
        match self.local.get(address) {
            Some(Local::Own(port)) => port == self.id,
            Some(Local::Vip | Local::Nat | Local::Virtual) => {
                self.port.is_connected(address) && held()
            }
            None => false,
        }
    }

    /// Addresses that we answer for here, to be announced at start and after a takeover.
    pub fn answered(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.local
            .iter()
            .map(|(address, _)| address)
            .filter(|address| self.answers_for(*address))
    }

    /// What there is to learn of a station that says that it has `addr`. Our own addresses are
    /// never learnt, and no address that is not on a network of the port.
    pub(super) fn learn(&self, addr: IpAddr, mac: Option<MacAddr>, how: How) -> Heard {
        let mut heard = Heard::default();
        if mac.is_some_and(|mac| self.is_ours(mac)) {
            // What we sent ourselves comes back on some links.
            return heard;
        }
        if self.local.get(addr).is_some() {
            heard.conflict = self.answers_for(addr).then_some(addr);
        } else if self.port.is_connected(addr) {
            heard.learned = Some(Learned {
                port: self.id,
                addr,
                mac,
                how,
            });
        }
        heard
    }
}
