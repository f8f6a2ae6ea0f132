//! What happens between bursts: timers, expiry, messages of control, publishing counters.
//!
//! Everything is done in slices, so that no poll takes long however many sessions there are or
//! expire.

use arrayvec::ArrayVec;

use super::Worker;
use super::farewell::Outlook;
use super::tables::PerFamily;
use super::tally::Fate;
use crate::counters::DropReason;
use crate::handoff::Message;
use crate::io::Io;
use crate::path::Path;
use crate::published::{FlowCounter, PortCounter, Slot, WorkerCounter, Writer};
use crate::session::flow::{Cold, PathId, Session, UNCHECKED};
use crate::session::table::{DUE, SessionId};
use crate::snapshot::{ServerId, ServiceId};

/// All deadlines are looked at within so many milliseconds.
const SWEEP_MS: usize = 1000;
/// Most deadlines looked at per poll: 16 KiB of sequential memory.
const SWEEP_MOST: usize = 4096;
/// Paths whose counters are taken per tick.
const PATHS_PER_TICK: usize = 256;
/// Persistent clients looked at per tick.
const CLIENTS_PER_TICK: usize = 64;
/// Mappings looked at per tick.
const MAPPINGS_PER_TICK: usize = 64;
/// Connections of the host looked at per tick.
const CONNECTIONS_PER_TICK: usize = 64;
/// Registrations looked at per tick.
const REGISTRATIONS_PER_TICK: usize = 64;

/// Where the slices have got to.
#[derive(Debug)]
pub(super) struct Tick {
    last: u32,
    path: usize,
    /// Deadlines that should have been looked at by now and were not, of each family.
    unswept: [usize; 2],
}

impl Tick {
    pub(super) fn new(now: u32) -> Self {
        Self {
            last: now,
            path: 0,
            unswept: [0; 2],
        }
    }
}

impl<I: Io> Worker<I> {
    /// Runs what is due.
    #[inline]
    pub(super) fn tick(&mut self) {
        let elapsed = self.now.wrapping_sub(self.tick.last);
        if elapsed > 0 {
            self.tick_after(elapsed as usize);
        }
        self.expire::<sluice_wire::V4>(0);
        self.expire::<sluice_wire::V6>(1);
    }

    fn tick_after(&mut self, elapsed: usize) {
        self.tick.last = self.now;
        let tables = &self.tables;
        let all = [
            sluice_wire::V4::table(tables).high_water(),
            sluice_wire::V6::table(tables).high_water(),
        ];
        for (unswept, all) in self.tick.unswept.iter_mut().zip(all) {
            // No more than one pass over the table is ever owed.
            *unswept = (*unswept + (all * elapsed).div_ceil(SWEEP_MS)).min(all);
        }
        self.neighbour_timers();
        self.fragment_timers();
        self.tables
            .sweep_registrations(self.now, REGISTRATIONS_PER_TICK);
        self.tables
            .sweep_host(self.now, CONNECTIONS_PER_TICK, &mut self.neighbours);
        self.expire_mappings(MAPPINGS_PER_TICK);
        self.balancer.tick(self.now, CLIENTS_PER_TICK);
        self.alg.sweep(self.now);
        self.ha_tick();
        self.age_pointers();
        self.publish();
    }

    /// Looks at the deadlines that are next, and ends a few sessions at most: a poll must not take
    /// long, however many end at the same time. Under load there are polls enough; without it they
    /// follow one another all the faster.
    #[inline]
    fn expire<F: PerFamily>(&mut self, family: usize) {
        let owed = self.tick.unswept[family % 2];
        if owed == 0 {
            return;
        }
        let mut due = ArrayVec::<SessionId, DUE>::new();
        let budget = owed.min(SWEEP_MOST);
        let table = F::table_mut(&mut self.tables);
        let swept = table.sweep(self.now, budget, &mut due);
        self.tick.unswept[family % 2] = owed.saturating_sub(swept);
        if due.is_empty() {
            return;
        }
        // Three rounds, so that the memory that one session needs is fetched while others are
        // worked on.
        for &id in &due {
            F::table(&self.tables).prefetch_session(id);
        }
        for &id in &due {
            F::table(&self.tables).prefetch_buckets(id);
        }
        for &id in &due {
            self.settle::<F>(id);
        }
    }

    /// Ends a session whose time is over, or moves its deadline to where its time will be over.
    fn settle<F: PerFamily>(&mut self, id: SessionId) {
        let current = self.snapshot.epoch;
        let Some(session) = F::table(&self.tables).session(id) else {
            return;
        };
        if session.is_replica() {
            return self.settle_replica::<F>(id);
        }
        let epoch = session.flows[0].epoch;
        // Timeout sets are numbered anew with each snapshot, so an idle session is brought under
        // the current one before its time is judged.
        if epoch != current && !self.renew::<F>(id) {
            return self.end_session::<F>(id);
        }
        if epoch == UNCHECKED {
            self.leave_unchecked::<F>(id);
        }
        let Some(session) = F::table(&self.tables).session(id) else {
            return;
        };
        let again = match self.outlook::<F>(session) {
            Outlook::Over => {
                self.run_out::<F>(id);
                return;
            }
            Outlook::Probe { quiet, again } => {
                if !self.probe_ends::<F>(id, quiet) {
                    self.counters.count(WorkerCounter::ExpiryLimited);
                }
                again
            }
            Outlook::Later(again) => again,
        };
        F::table_mut(&mut self.tables).set_deadline(id, self.now, again);
        self.tell_change::<F>(id);
    }

    /// Ends a session: out of the table, its references given back, other workers told.
    pub(super) fn end_session<F: PerFamily>(&mut self, id: SessionId) {
        let table = F::table_mut(&mut self.tables);
        let (version, holders) = (table.version(id), table.holders(id));
        let Some((session, cold)) = table.remove(id) else {
            return;
        };
        self.unregister::<F>(&session);
        if session.is_replica() {
            // It held nothing here: the peer counts it.
            return self.replica_gone::<F>(&session.flows[0], version, cold.extra);
        }
        self.tell_death::<F>(&session, (version, holders));
        self.account_end::<F>(&session, &cold);
    }

    pub(super) fn account_end<F: PerFamily>(&mut self, session: &Session<F>, cold: &Cold) {
        for flow in &session.flows {
            self.release_path(flow.path);
        }
        // Of one that is over, the server was rid when it came to that: see `moved`.
        if !session.is_over() {
            self.balancer.closed(cold.server);
        }
        self.account_silence(session, cold);
        self.watch_no_more(session);
        let [original, reply] = &session.flows;
        let reply = reply.arrives();
        self.release_mapping(cold.extra, &original.arrives(), &reply);
        self.leases.give_back(&reply);
        self.tally.session(cold.service, cold.server, Fate::Ended);
        self.counters.count(WorkerCounter::SessionsEnded);
        let age = self.now.wrapping_sub(cold.created);
        self.load.ended(age);
        self.counters.add(WorkerCounter::SessionMs, u64::from(age));
    }

    pub(super) fn unregister<F: PerFamily>(&mut self, session: &Session<F>) {
        for flow in &session.flows {
            // Should the ring be full the other worker keeps a pointer that leads here, and drops it
            // when the first packet that follows it comes back as unknown, or in time.
            if let Some(home) = flow.registered_with() {
                let message = Message::Unregister {
                    key: F::any(flow.key()),
                    owner: self.id,
                };
                let _ = self.rings.push(home, message);
            }
        }
    }

    /// Gives a flow's path back, and with the last reference its neighbour.
    pub(super) fn release_path(&mut self, id: PathId) {
        if let Some(mut gone) = self.paths.release(id) {
            self.neighbours.release(gone.neighbour);
            let (packets, bytes) = gone.take_counts();
            self.publisher
                .publish(|writer| add_counts(writer, &gone, packets, bytes));
        }
    }

    /// Copies the counters to where control reads them.
    pub(super) fn publish(&mut self) {
        let sent = self.egress.take_sent();
        self.counters.add(WorkerCounter::Forwarded, sent.forwarded);
        self.counters
            .add(WorkerCounter::Redirected, sent.redirected);
        self.counters.add(WorkerCounter::HandedOver, sent.passed);
        self.counters
            .add(WorkerCounter::Originated, sent.originated);
        self.counters
            .add(WorkerCounter::OriginatedLost, sent.originated_lost);
        self.counters
            .add_drops(DropReason::TxFull, sent.forwarded_lost);
        self.counters
            .add_drops(DropReason::HostQueueFull, sent.host_lost);
        let held = self.egress.held() + self.hold.len() as u64 + self.fragments.frames() as u64;
        self.counters.set(WorkerCounter::Held, held);
        self.count_ha();
        let v4 = sluice_wire::V4::table(&self.tables).len() as u64;
        let v6 = sluice_wire::V6::table(&self.tables).len() as u64;
        self.counters.set(WorkerCounter::SessionsV4, v4);
        self.counters.set(WorkerCounter::SessionsV6, v6);
        self.counters
            .set(WorkerCounter::Epoch, u64::from(self.snapshot.epoch));
        self.counters
            .set(WorkerCounter::Unregistrable, self.tables.unregistrable);
        let (controls, expected) = self.alg.counts();
        self.counters.set(WorkerCounter::AlgControls, controls);
        self.counters.set(WorkerCounter::AlgExpected, expected);
        let mappings = self.mappings.len() as u64;
        self.counters.set(WorkerCounter::NatMappings, mappings);
        let persistence = self.balancer.occupancy();
        let clients = persistence.clients as u64;
        self.counters.set(WorkerCounter::PersistentClients, clients);
        self.counters
            .set(WorkerCounter::PersistenceFull, persistence.refused);
        let (from, to) = (self.tick.path, self.tick.path + PATHS_PER_TICK);
        self.tick.path = if to >= self.paths.high_water() { 0 } else { to };
        let own = self.own_sessions();
        let Self {
            publisher,
            counters,
            tally,
            load,
            paths,
            neighbours,
            ha,
            now,
            ..
        } = self;
        publisher.publish(|writer| {
            for &counter in WorkerCounter::ALL {
                writer.set(Slot::Worker(counter), counters.get(counter));
            }
            for &reason in DropReason::ALL {
                writer.set(Slot::Drop(reason), counters.dropped(reason));
            }
            tally.publish(writer);
            load.publish(writer);
            if let Some(ha) = ha {
                ha.publish(own, *now, writer);
            }
            for id in (from..to).map(|id| PathId(id as u16)) {
                let Some(path) = paths.get_mut(id) else { break };
                let (packets, bytes) = path.take_counts();
                if packets > 0 {
                    // A neighbour in use is asked again before its address is too old.
                    let _ = neighbours.used(path.neighbour, *now);
                    add_counts(writer, path, packets, bytes);
                }
            }
        });
    }
}

fn add_counts(writer: &mut Writer<'_>, path: &Path, packets: u64, bytes: u64) {
    let names = if path.reply {
        [FlowCounter::PacketsReply, FlowCounter::BytesReply]
    } else {
        [FlowCounter::PacketsOriginal, FlowCounter::BytesOriginal]
    };
    let counts = [packets, bytes];
    for (name, count) in names.into_iter().zip(counts) {
        if path.service != ServiceId::NONE {
            writer.add(Slot::Service(path.service, name), count);
        }
        if path.server != ServerId::NONE {
            writer.add(Slot::Server(path.server, name), count);
        }
    }
    // The Ethernet header comes on top of what paths count.
    let header = if path.vlan == crate::path::UNTAGGED {
        14
    } else {
        18
    };
    writer.add(Slot::Port(path.port, PortCounter::TxFrames), packets);
    writer.add(
        Slot::Port(path.port, PortCounter::TxBytes),
        bytes + packets * header,
    );
}
