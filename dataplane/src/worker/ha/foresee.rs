//! What records of other nodes concern, fetched before they are applied one after the other: nobody has
//! touched these lines of memory for long, or ever.

use sluice_ha::record::{Identity, Record, SessionRecord};
use sluice_wire::Key;

use super::super::Worker;
use super::super::tables::PerFamily;
use crate::io::Io;

impl<I: Io> Worker<I> {
    /// A record that is about to be applied here or passed on: has the places fetched where its session
    /// is looked for, or put.
    #[inline]
    pub(super) fn foresee_told(&self, record: &Record) {
        match record {
            Record::Session4(told) => self.foresee_session(told),
            Record::Session6(told) => self.foresee_session(told),
            Record::Change4(told) => self.foresee_key(&told.identity),
            Record::Change6(told) => self.foresee_key(&told.identity),
            Record::Death4(told) => self.foresee_key(&told.identity),
            Record::Death6(told) => self.foresee_key(&told.identity),
            _ => {}
        }
    }

    fn foresee_session<F: PerFamily>(&self, told: &SessionRecord<F>) {
        self.foresee_key(&told.identity);
        let zone = |hash| self.snapshot.shared_names.as_ref()?.zone_of(hash);
        if let (Some(zone), Some(reply_zone)) = (zone(told.identity.zone), zone(told.reply_zone)) {
            let leaves = Key::<F::Addrs> {
                addrs: told.new_addrs,
                ports: told.new_ports,
                ..key_of(&told.identity, zone)
            };
            let reply = Key::new::<F>(&leaves.tuple::<F>().reverse(), reply_zone);
            let table = F::table(&self.tables);
            table.prefetch_bucket(table.hash(&reply));
        }
    }

    fn foresee_key<F: PerFamily>(&self, identity: &Identity<F>) {
        let names = self.snapshot.shared_names.as_ref();
        if let Some(zone) = names.and_then(|names| names.zone_of(identity.zone)) {
            let table = F::table(&self.tables);
            table.prefetch_bucket(table.hash(&key_of(identity, zone)));
        }
    }
}

/// The key of an original flow, by our number of its zone.
#[inline]
pub(super) fn key_of<F: PerFamily>(identity: &Identity<F>, zone: u8) -> Key<F::Addrs> {
    Key {
        addrs: identity.addrs,
        ports: identity.ports,
        proto: identity.proto,
        zone,
        zero: 0,
    }
}
