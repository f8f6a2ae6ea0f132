//! A node: the whole of the protocol around a [`Store`].

use sluice_ha::bulk;
use sluice_ha::digest;
use sluice_ha::frame::{self, Kind};
use sluice_ha::heartbeat::{self, Heartbeat, Intervals, Path};
use sluice_ha::hello::{self, Association, Zones};
use sluice_ha::lane::{self, Lane, LaneConfig, Take};
use sluice_ha::seal::Keyring;

use crate::net::Net;
use crate::rng::Rng;
use crate::store::Store;

/// Lanes that are enough for the largest number of workers.
pub(crate) const LANES: usize = 3;
/// Between two digests, milliseconds.
const DIGEST_EVERY: u32 = 600;

#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) id: u8,
    pub(crate) workers: usize,
    pub(crate) lane: LaneConfig,
    pub(crate) keyring: Keyring,
    /// The node's clock at the start, and by how many thousandths it is fast.
    pub(crate) clock: (u32, u32),
    /// Of a thousand records, how many the workers behind the lane have no room for.
    pub(crate) slow: u32,
}

pub(crate) struct Node {
    setup: Setup,
    pub(crate) store: Store,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) bulks: Vec<bulk::Sender>,
    pub(crate) association: Association,
    heartbeat: Heartbeat,
    peer_boot: Option<u64>,
    tellers: Vec<digest::Teller>,
    digest_at: u32,
    pub(crate) digests: bool,
    pub(crate) slow: u32,
    rng: Rng,
}

impl Node {
    pub(crate) fn new(setup: &Setup, boot: u64, rng: &mut Rng) -> Self {
        let me = hello::Node {
            id: setup.id,
            boot,
            workers: setup.workers as u8,
            capabilities: u64::MAX,
            window: setup.lane.reorder,
            mtu: setup.lane.mtu,
            config: 0,
            zones: Zones::default(),
        };
        let lanes = 0..LANES;
        Self {
            store: Store::new(setup.id, LANES),
            lanes: lanes.map(|id| Lane::new(id as u8, &setup.lane)).collect(),
            bulks: (0..LANES).map(|_| bulk::Sender::default()).collect(),
            association: Association::new(me, 1 - setup.id, setup.keyring.clone(), rng.bytes()),
            heartbeat: Heartbeat::new(Intervals::default()),
            peer_boot: None,
            tellers: (0..LANES).map(|_| digest::Teller::default()).collect(),
            digest_at: 0,
            digests: true,
            slow: setup.slow,
            rng: Rng::new(rng.next()),
            setup: setup.clone(),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.setup.workers
    }

    fn clock(&self, now: u32) -> u32 {
        let (start, fast) = self.setup.clock;
        start.wrapping_add(now + now / 1000 * fast)
    }

    pub(crate) fn tell(&mut self, lane: usize, record: &sluice_ha::Record) {
        // While the lane stands alone nobody hears it; the bulk sync will tell.
        let _ = self.lanes[lane].push(record);
    }

    pub(crate) fn handle(&mut self, path: Path, bytes: &mut [u8], now: u32) {
        let now = self.clock(now);
        let Ok(header) = frame::peek(bytes) else {
            return;
        };
        match header.kind {
            Kind::Hello => {
                if let Ok(Some(hello::Event::Session(session))) =
                    self.association.handle(bytes, now)
                {
                    self.associate(&session);
                }
            }
            Kind::Control => {
                let _ = self.heartbeat.handle(path, bytes, now);
            }
            Kind::Stream => {
                let at = usize::from(header.lane);
                if let Some(lane) = self.lanes.get_mut(at) {
                    let mut sink = sink(&mut self.store, &mut self.rng, self.slow, at);
                    let _ = lane.handle(bytes, now, &mut sink);
                }
                self.events();
            }
        }
    }

    fn associate(&mut self, session: &sluice_ha::Session) {
        // A peer that was started anew lost what it knew: what we have of it is ours, even if its
        // death was too short to be noticed otherwise.
        if self.peer_boot.replace(session.peer_boot) != Some(session.peer_boot) {
            self.take_over();
        }
        self.lanes
            .iter_mut()
            .for_each(|lane| lane.associate(session));
        self.heartbeat.associate(session);
        self.events();
    }

    fn take_over(&mut self) {
        for (lane, record) in self.store.take_over(self.setup.workers) {
            self.tell(lane, &record);
        }
    }

    fn events(&mut self) {
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(event) = lane.poll_event() {
                match event {
                    lane::Event::Open => self.bulks[at].start(),
                    lane::Event::Alone(_) => {}
                    lane::Event::PeerRestarted => self.store.origins[at].rounds.restart(),
                }
            }
        }
    }

    /// One round: what is due is done and sent.
    pub(crate) fn poll(&mut self, net: &mut Net, now: u32) {
        let me = usize::from(self.setup.id);
        let (time, clock) = (now, self.clock(now));
        let mut buffer = [0; 2000];
        while let Some(event) = self.heartbeat.poll_event(clock) {
            if event == heartbeat::Event::Down {
                self.take_over();
            }
        }
        for at in 0..LANES {
            let mut sink = sink(&mut self.store, &mut self.rng, self.slow, at);
            self.lanes[at].resume(&mut sink);
        }
        self.repair();
        self.digests(clock);
        for at in 0..LANES {
            let store = &self.store;
            self.bulks[at].poll(&mut self.lanes[at], 20, |cursor, _| store.next(at, cursor));
        }
        while let Some(len) = self.association.poll_transmit(clock, &mut buffer) {
            for path in Path::ALL {
                net.send(me, path, &buffer[..len], time);
            }
        }
        for path in Path::ALL {
            while let Some(len) = self.heartbeat.poll_transmit(path, clock, &mut buffer) {
                net.send(me, path, &buffer[..len], time);
            }
        }
        for lane in &mut self.lanes {
            while let Some(len) = lane.poll_transmit(clock, &mut buffer) {
                net.send(me, Path::HaLink, &buffer[..len], time);
            }
        }
        self.events();
    }

    fn repair(&mut self) {
        for (lane, record) in std::mem::take(&mut self.store.answers) {
            self.tell(lane, &record);
        }
        for (lane, bucket) in std::mem::take(&mut self.store.asked) {
            self.bulks[lane].repair(bucket);
        }
        for (lane, bucket) in std::mem::take(&mut self.store.requests) {
            self.tell(lane, &sluice_ha::Record::RepairRequest { bucket });
        }
    }

    fn digests(&mut self, clock: u32) {
        let due = clock.wrapping_sub(self.digest_at) >= DIGEST_EVERY;
        if self.digests && due {
            self.digest_at = clock;
            self.tellers.iter_mut().for_each(digest::Teller::start);
        }
        for (at, teller) in self.tellers.iter_mut().enumerate() {
            if self.bulks[at].is_done() {
                teller.poll(
                    &mut self.lanes[at],
                    [&self.store.own[at], &digest::Digest::default()],
                );
            }
        }
    }

    /// Whether everything was told on this lane, and the peer said that it has it.
    pub(crate) fn told_all(&self, lane: usize) -> bool {
        let it = &self.lanes[lane];
        it.is_open() && it.lag() == 0 && self.bulks[lane].is_done()
    }
}

fn sink<'a>(
    store: &'a mut Store,
    rng: &'a mut Rng,
    slow: u32,
    lane: usize,
) -> impl FnMut(&sluice_ha::Record) -> Take + 'a {
    move |record| {
        if rng.chance(slow) {
            return Take::Later;
        }
        store.apply(lane, record);
        Take::Taken
    }
}
