//! Which real servers clients had, shared with the other appliance.

use std::net::IpAddr;

use sluice_ha::bulk::{Next, Scope};
use sluice_ha::lane::Take;
use sluice_ha::record::{ClientRecord, Record};

use super::super::Worker;
use super::passed::Heard;
use crate::io::Io;
use crate::lb::persistence;
use crate::snapshot::ServerId;

impl<I: Io> Worker<I> {
    /// A client of a virtual server was given to a server, and is remembered.
    #[inline]
    pub(in super::super) fn tell_client(&mut self, index: u16, source: IpAddr, server: ServerId) {
        if self.ha.is_some()
            && let Some(record) = self.record_of_client(index, source, server)
        {
            self.push_record(&record);
        }
    }

    #[cold]
    fn record_of_client(&self, index: u16, source: IpAddr, server: ServerId) -> Option<Record> {
        let vs = self.snapshot.virtual_servers.get(usize::from(index))?;
        let (names, persistence) = (
            self.snapshot.shared_names.as_ref()?,
            vs.persistence.as_ref()?,
        );
        Some(Record::Client(ClientRecord {
            service: names.service(vs.service),
            network: persistence::network(persistence, source),
            server: names.server(server),
            timeout_left: persistence.timeout_ms,
        }))
    }

    /// Another node gave a client to a server. It is remembered on the worker that decides for the client.
    pub(super) fn client_told(
        &mut self,
        record: &Record,
        told: &ClientRecord,
        from: Heard,
    ) -> Take {
        let snapshot = &self.snapshot;
        let names = snapshot.shared_names.as_ref();
        let known = names.and_then(|names| {
            Some((
                names.service_of(told.service)?,
                names.server_of(told.server)?,
            ))
        });
        let Some((service, server)) = known else {
            self.counters
                .count(crate::published::WorkerCounter::HaRecordsForeign);
            return Take::Taken;
        };
        let mut all = snapshot.virtual_servers.iter();
        let Some(vs) = all.find(|vs| vs.service == service && vs.persistence.is_some()) else {
            return Take::Taken;
        };
        let hash = self.balancer.affinity(vs, told.network).unwrap_or(0);
        let decider = (hash % u64::from(self.rings.workers())) as u16;
        if decider != self.id && !from.passed {
            return self.pass_record(decider, record, from);
        }
        let node = self.ha.as_ref().map_or(0, |ha| ha.parts.node);
        let wins = self.node_at(from.of.seat).is_some_and(|peer| peer < node);
        let time = (self.now, told.timeout_left);
        self.balancer.remember(vs, told.network, server, time, wins);
        Take::Taken
    }

    /// What is at a place of the clients that this worker decides for.
    pub(super) fn client_at(&self, place: u32, scope: Scope) -> Next {
        if scope != Scope::All {
            return Next::End;
        }
        let Some(found) = self.balancer.client_at(place as usize, self.now) else {
            return Next::End;
        };
        let record = found.and_then(|(client, server, idle)| {
            let mut all = self.snapshot.virtual_servers.iter().zip(0..);
            let (_, index) = all.find(|(vs, _)| vs.service == client.service)?;
            match self.record_of_client(index, client.network, server)? {
                Record::Client(told) => Some(Record::Client(ClientRecord {
                    timeout_left: told.timeout_left.checked_sub(idle)?,
                    ..told
                })),
                _ => None,
            }
        });
        record.map_or(Next::Nothing, Next::Tell)
    }
}
