//! One worker: a thread's own queues, tables and counters, and the loop body that joins them.
//!
//! [`Worker::poll`] is a packet's way, once per burst. It owns everything that it touches; what
//! reaches it from elsewhere comes by two kinds of rings, from control and from other workers.
//! The modules below are the stations of that way:
//!
//! - `captured`: the same for one packet at a time, while packets are captured
//! - `burst`: parse, look up, decide which station is next; `scratch`: the arrays for that
//! - `plain`: the short way of nearly every packet
//! - `hit`: state, rewrite, next hop of a packet that has a session
//! - `miss`: who deals with a packet that has none; `plan`, `choose` and `open` make it one
//! - `firsts`: first packets of a burst, and the memory that they wait for
//! - `lately`: what was asked about addresses a moment ago
//! - `revalidate`: sessions that meet a newer snapshot
//! - `local`: ARP, neighbour discovery, echo: what is for us
//! - `host`: what is for the host's kernel, or from it; `hosted`: the kernel as a client of services
//! - `errors`: ICMP errors and resets, passing through or made here
//! - `http_redirect`: clients that no server can take, and that are sent elsewhere
//! - `fragments`: datagrams in pieces
//! - `pass`: packets that belong to another worker
//! - `egress`, `forward`: to the device
//! - `ha`: the other appliance: packets that belong to it, sessions that are told of
//! - `trace`: what would become of a packet, for those who ask
//! - `alg`: sessions that announce others: FTP
//! - `farewell`: what both ends of a session are told when it ends
//! - `tick`: timers, expiry, messages of control, publishing counters

use std::sync::Arc;

use sluice_wire::KeyHasher;

use crate::cookie::Cookies;
use crate::counters::Counters;
use crate::handoff::{Passed, Rings, Seat};
use crate::host::WorkerSide;
use crate::io::{DeviceId, Io, Memory, OutOfMemory, RxBurst};
use crate::lb::Balancer;
use crate::lb::loads::Loads;
use crate::load::Load;
use crate::mailbox::WorkerEnd;
use crate::nat::lease::Leaser;
use crate::nat::mapping::Mappings;
use crate::path::Paths;
use crate::published::{Publisher, WorkerCounter};
use crate::snapshot::{PortId, Snapshot};
use crate::stack::fragment::Reassembly;
use crate::stack::hold::{self, Hold};
use crate::stack::icmp::RateLimit;
use crate::stack::neighbour::{self, Neighbours};

mod alg;
mod burst;
mod captured;
mod choose;
mod egress;
mod errors;
mod farewell;
mod firsts;
mod forward;
mod fragments;
mod ha;
mod hit;
mod host;
mod hosted;
mod http_redirect;
mod lately;
mod limits;
mod local;
mod mail;
mod miss;
mod next_hop;
mod open;
mod pass;
mod plain;
mod plan;
mod revalidate;
mod scratch;
mod source;
mod tables;
mod tally;
mod tick;
mod trace;

pub use ha::{HaParts, TunnelEnd, TunnelKind, TunnelParts};
pub use limits::Limits;

use alg::Alg;
use egress::Egress;
use firsts::Firsts;
use ha::Ha;
use lately::Lately;
use mail::Mail;
use scratch::Scratch;
use tables::Tables;
use tally::Tally;
use tick::Tick;

/// Gratuitous ARP and the like that is passed on to other workers, per second.
const ANNOUNCEMENTS_PER_S: u32 = 1000;

/// What a worker is made of, besides its queues and memory.
pub struct Parts<F> {
    /// Sizes of its tables.
    pub limits: Limits,
    /// The configuration to begin with.
    pub snapshot: Arc<Snapshot>,
    /// Its view of the rings between workers, which also tells its number.
    pub rings: Rings<F>,
    /// Its end of the mailbox.
    pub mailbox: WorkerEnd,
    /// Its end of the queues to and from the host's kernel.
    pub host: WorkerSide,
    /// Its counters, as others see them.
    pub publisher: Publisher,
    /// Its load balancer's counts of sessions, and a view of the others'.
    pub loads: Loads,
    /// Random words, the same for all workers.
    pub secret: [u64; 4],
    /// What connections without a session are known by, the same for all workers.
    pub cookies: Cookies,
    /// Other appliances, if there are to be any.
    pub ha: Option<HaParts>,
}

/// A worker. `I` brings its queues; nothing in here is shared but rings and published counters.
pub struct Worker<I: Io> {
    id: u16,
    now: u32,
    io: I,
    /// Taken out while a burst is worked on, as is the next.
    rx: Option<Box<RxBurst<I::Frame>>>,
    scratch: Option<Box<Scratch>>,
    /// First packets of the burst; taken out while their sessions are opened.
    firsts: Option<Box<Firsts<I::Frame>>>,
    /// A burst is worked on, and `firsts` are looked at again before it is over.
    gathering: bool,
    /// What is sent on goes by another appliance: it is of a session that may not be known there.
    by_peer: Option<Seat>,
    snapshot: Arc<Snapshot>,
    /// The shortest timeout of the snapshot, milliseconds.
    grace: u32,
    /// A virtual server of the snapshot redirects its clients.
    redirects: bool,
    cookies: Cookies,
    tables: Tables,
    paths: Paths,
    neighbours: Neighbours,
    lately: Lately,
    hold: Hold<Passed<I::Frame>>,
    fragments: Reassembly<I::Frame>,
    hasher: KeyHasher,
    leases: Leaser,
    mappings: Mappings,
    alg: Alg,
    balancer: Balancer,
    egress: Egress<I::Frame>,
    error_limit: RateLimit,
    announcements: RateLimit,
    strangers: RateLimit,
    farewells: RateLimit,
    rings: Rings<I::Frame>,
    mailbox: WorkerEnd,
    host: WorkerSide,
    mail: Mail,
    counters: Counters,
    tally: Tally,
    load: Load,
    publisher: Publisher,
    tick: Tick,
    /// `None` where there is no other appliance.
    ha: Option<Box<Ha>>,
}

impl<I: Io> Worker<I> {
    /// Takes all memory that the worker will ever need. `now` is the time of the first poll.
    ///
    /// # Errors
    /// [`OutOfMemory`] names the table that found no room.
    pub fn new(
        io: I,
        memory: &mut impl Memory,
        parts: Parts<I::Frame>,
        now: u32,
    ) -> Result<Self, OutOfMemory> {
        let Parts {
            limits,
            snapshot,
            rings,
            mailbox,
            host,
            publisher,
            loads,
            secret,
            cookies,
            ha,
        } = parts;
        let (id, workers) = (rings.me(), rings.workers());
        let hasher = KeyHasher::new(secret);
        // Keeps what workers draw at random apart.
        let seed = secret[3] ^ u64::from(id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let own_secret = [secret[0] ^ seed, secret[1] ^ seed, secret[2] ^ seed, seed];
        let devices = snapshot.devices.iter().zip((0..).map(DeviceId));
        let via = devices.map(|(device, at)| {
            (!io.can_tx(at)).then(|| device.tx_worker.get(usize::from(id)).copied().unwrap_or(id))
        });
        let mut balancer = Balancer::new(memory, &limits.balancer, (id, workers), loads, hasher)?;
        balancer.on_snapshot(&snapshot);
        let names = snapshot.shared_names.as_ref();
        let zones = names.map_or(Vec::new(), |names| names.zones().to_vec());
        let layout = publisher.published().layout();
        // Every worker has copies of all that other appliances have.
        let shared = Ha::shared(ha.as_ref());
        let copies = ha
            .as_ref()
            .map_or(0, |ha| ha.peers.len() * usize::from(ha.peer_workers));
        let mappings = limits.mappings * (1 + copies);
        let mut worker = Self {
            id,
            now,
            rx: Some(Box::default()),
            scratch: Some(Box::default()),
            firsts: Some(Box::default()),
            gathering: false,
            by_peer: None,
            tables: Tables::new(memory, &limits, workers, (hasher, seed), shared)?,
            paths: Paths::new(limits.paths, limits.neighbours),
            neighbours: Neighbours::new(
                neighbour::Limits {
                    capacity: u16::try_from(limits.neighbours).unwrap_or(u16::MAX),
                    ..neighbour::Limits::default()
                },
                seed,
            ),
            lately: Lately::default(),
            hold: Hold::new(hold::Limits {
                total: limits.held,
                ..hold::Limits::default()
            }),
            fragments: Reassembly::new(limits.fragments, id, workers, own_secret),
            hasher,
            leases: Leaser::new(id, hasher),
            mappings: Mappings::new(id, workers, hasher, mappings, limits.contacts),
            alg: Alg::new(memory, &limits, hasher)?,
            balancer,
            egress: Egress::new(via).redirecting_by(ha.as_ref().map(|ha| ha.device)),
            error_limit: RateLimit::new(snapshot.icmp_errors_per_s, now),
            announcements: RateLimit::new(ANNOUNCEMENTS_PER_S, now),
            strangers: RateLimit::new(strangers_per_s(&snapshot), now),
            farewells: RateLimit::new(farewell::PER_S, now),
            io,
            grace: snapshot.shortest_timeout(),
            redirects: snapshot.redirects(),
            cookies,
            snapshot,
            rings,
            mailbox,
            host,
            mail: Mail::default(),
            counters: Counters::default(),
            tally: Tally::new(layout.ports, layout.services, layout.servers),
            load: Load::default(),
            publisher,
            tick: Tick::new(now),
            ha: ha.map(|ha| Box::new(Ha::new(ha, id, workers, &zones, now))),
        };
        worker.follow_groups();
        worker.announce();
        Ok(worker)
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// One round over all devices and rings, at `now` milliseconds. Returns whether there was
    /// anything to do.
    ///
    /// A burst is received before the ring is emptied, and worked on after: see
    /// [`crate::handoff`].
    pub fn poll(&mut self, now: u32) -> bool {
        self.now = now;
        let mut busy = false;
        let mut frames = self.rx.take().unwrap_or_default();
        let ha_device = self.ha.as_ref().map(|ha| ha.device());
        for device in (0..self.snapshot.devices.len()).map(|device| DeviceId(device as u16)) {
            self.io.rx(device, &mut frames);
            if self.rings.workers() > 1 {
                busy |= self.take_messages() > 0;
            }
            if !frames.is_empty() {
                busy = true;
                self.load.burst(frames.len());
                if ha_device == Some(device) {
                    self.ha_burst(&mut frames);
                } else {
                    self.burst(device, &mut frames);
                }
            }
        }
        self.rx = Some(frames);
        busy |= self.mail();
        if self.snapshot.host.is_some() {
            busy |= self.take_from_host();
        }
        self.tick();
        self.ha_poll();
        self.egress.flush(&mut self.io, &self.rings);
        self.deliver_to_host();
        self.counters.count(WorkerCounter::Polls);
        self.counters.add(WorkerCounter::BusyPolls, u64::from(busy));
        busy
    }

    /// Counts the time, in nanoseconds, of a round that found something to do.
    #[inline]
    pub fn took(&mut self, ns: u64) {
        self.load.round(ns);
        self.counters.add(WorkerCounter::BusyNs, ns);
    }

    /// Counts a sleep of the thread that polls.
    pub fn slept(&mut self) {
        self.counters.count(WorkerCounter::Sleeps);
    }

    /// Ends the worker: what still waits is dropped and counted, and the counters are published.
    /// Gives the queues back.
    pub fn stop(mut self) -> I {
        self.drop_what_waits();
        self.deliver_to_host();
        self.egress.flush(&mut self.io, &self.rings);
        self.egress.flush(&mut self.io, &self.rings);
        self.publish();
        self.io
    }

    /// The queues.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// The zone of a port.
    fn zone(&self, port: PortId) -> Option<u8> {
        self.snapshot
            .ports
            .get(usize::from(port.0))
            .map(|port| port.zone)
    }
}

/// What a snapshot lets strangers send to the host.
fn strangers_per_s(snapshot: &Snapshot) -> u32 {
    snapshot
        .host
        .as_ref()
        .map_or(0, |host| host.strangers_per_s)
}
