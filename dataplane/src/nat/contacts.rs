//! Whom endpoint-independent mappings speak to, for address-dependent filtering.

use std::net::IpAddr;

use sluice_wire::{KeyHasher, Tuple};

use super::index::Index;
use super::slab::Slab;
use super::{Purpose, hash};

/// Remote addresses that mappings speak to, with the number of sessions.
#[derive(Debug)]
pub(super) struct Contacts {
    entries: Slab<Contact>,
    index: Index,
}

#[derive(Debug, Clone, Copy)]
struct Contact {
    mapping: u32,
    remote: IpAddr,
    sessions: u32,
}

impl Contact {
    fn hash(hasher: &KeyHasher, mapping: u32, remote: IpAddr) -> u64 {
        let [a, b, c, d] = mapping.to_be_bytes();
        let tuple = Tuple {
            proto: 0,
            src: remote,
            dst: remote,
            sport: u16::from_be_bytes([a, b]),
            dport: u16::from_be_bytes([c, d]),
        };
        hash(hasher, Purpose::Contact, &tuple)
    }
}

impl Contacts {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: Slab::new(capacity),
            index: Index::new(capacity),
        }
    }

    pub(super) fn find(&self, hasher: &KeyHasher, mapping: u32, remote: IpAddr) -> Option<u32> {
        self.index
            .candidates(Contact::hash(hasher, mapping, remote))
            .find(|&position| {
                self.entries
                    .get(position)
                    .is_some_and(|own| own.mapping == mapping && own.remote == remote)
            })
    }

    /// One more session. `None` if there is no room.
    pub(super) fn hold(&mut self, hasher: &KeyHasher, mapping: u32, remote: IpAddr) -> Option<()> {
        let known = self.find(hasher, mapping, remote);
        if let Some(contact) = known.and_then(|at| self.entries.get_mut(at)) {
            contact.sessions += 1;
            return Some(());
        }
        let contact = Contact {
            mapping,
            remote,
            sessions: 1,
        };
        let position = self.entries.insert(contact)?;
        self.index
            .insert(Contact::hash(hasher, mapping, remote), position);
        Some(())
    }

    /// One session less.
    pub(super) fn release(&mut self, hasher: &KeyHasher, mapping: u32, remote: IpAddr) {
        let Some(position) = self.find(hasher, mapping, remote) else {
            return;
        };
        let Some(contact) = self.entries.get_mut(position) else {
            return;
        };
        contact.sessions -= 1;
        if contact.sessions == 0 {
            let entries = &self.entries;
            let hash_of = |at| {
                entries
                    .get(at)
                    .map_or(0, |own| Contact::hash(hasher, own.mapping, own.remote))
            };
            self.index
                .remove(Contact::hash(hasher, mapping, remote), position, hash_of);
            self.entries.remove(position);
        }
    }
}
