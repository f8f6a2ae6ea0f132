//! The appliance's workers in this process, configured as the binary configures them.

use std::sync::Arc;

use sluice_control::compile::{DeviceFacts, Registry, compile, layout};
use sluice_control::config::{Config, Source as Text};
use sluice_dataplane::cookie::Cookies;
use sluice_dataplane::handoff::Rings;
use sluice_dataplane::host;
use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::io::{Io, Memory, OutOfMemory};
use sluice_dataplane::lb::loads::{Loads, Tally};
use sluice_dataplane::mailbox::{ControlEnd, mailbox};
use sluice_dataplane::published::{Published, Slot, WorkerCounter};
use sluice_dataplane::snapshot::Snapshot;
use sluice_dataplane::worker::{HaParts, Limits, Parts, Worker};

use sluice_wire::MacAddr;

use crate::groups::Failed;
use crate::packets::{MACS, Source};
use crate::scenario;

/// Of the device that leads to another appliance.
const LINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// Workers, and the ends that control would hold.
pub(crate) struct Appliance<I: Io> {
    pub(crate) workers: Vec<Worker<I>>,
    pub(crate) control: Vec<ControlEnd>,
    pub(crate) published: Arc<Published>,
    config: Config,
    registry: Registry,
}

impl<I: Io> Appliance<I> {
    /// A worker for each of `ios`, with tables from `memory`. `text` is a configuration with two
    /// devices and as many workers. Packets reach workers as a NIC's RSS would have them.
    pub(crate) fn new(text: &str, ios: Vec<I>, memory: &mut impl Memory) -> Result<Self, Failed> {
        // No configuration that gets here speaks of another appliance.
        Self::paired(text, ios, memory, 0, |ha| unreachable!("{ha:?}"))
    }

    /// The same from the millisecond `now` on. Where the configuration speaks of another appliance,
    /// `parts` says what workers are told of it.
    pub(crate) fn paired(
        text: &str,
        ios: Vec<I>,
        memory: &mut impl Memory,
        now: u32,
        parts: impl Fn(&sluice_control::config::Ha) -> HaParts,
    ) -> Result<Self, Failed> {
        let config = Config::read(Text::toml(text)).map_err(|why| Failed(why.to_string()))?;
        let layout = layout(&config);
        let mut registry = Registry::new(layout);
        let snapshot = Arc::new(compiled(&config, &mut registry, 1)?);
        let (published, publishers) = Published::new(ios.len(), layout);
        let tallies = ios.iter().map(|_| Tally::new(&mut Heap, layout.servers));
        let tallies = tallies.collect::<Result<Vec<_>, OutOfMemory>>()?;
        let boards: Vec<_> = tallies.iter().map(Tally::board).collect();
        let limits = limits(&config);
        let ha = config.ha.as_ref().map(parts);
        let (mut workers, mut control) = (vec![], vec![]);
        let rings = Rings::mesh(ios.len() as u16);
        let each = rings.into_iter().zip(publishers).zip(tallies).zip(ios);
        for (me, (((rings, publisher), tally), io)) in each.enumerate() {
            let (control_end, mailbox) = mailbox();
            // No configuration here speaks of the host, so nobody serves the other end.
            let (_, host) = host::queues();
            control.push(control_end);
            let others = boards.iter().enumerate().filter(|&(at, _)| at != me);
            let others: Vec<_> = others.map(|(_, board)| *board).collect();
            let parts = Parts {
                limits,
                snapshot: Arc::clone(&snapshot),
                rings,
                mailbox,
                host,
                publisher,
                loads: Loads::new(&mut Heap, tally, others)?,
                secret: [1, 2, 3, 4],
                cookies: Cookies::new([1, 2]),
                ha: ha.clone(),
            };
            workers.push(Worker::new(io, memory, parts, now)?);
        }
        Ok(Self {
            workers,
            control,
            published,
            config,
            registry,
        })
    }

    /// The configuration compiled again, as after a change, under this epoch.
    pub(crate) fn snapshot(&mut self, epoch: u32) -> Result<Snapshot, Failed> {
        compiled(&self.config, &mut self.registry, epoch)
    }

    /// A counter's sum over workers, as last published.
    pub(crate) fn sum(&self, counter: WorkerCounter) -> u64 {
        self.published.sum(Slot::Worker(counter))
    }
}

fn compiled(config: &Config, registry: &mut Registry, epoch: u32) -> Result<Snapshot, Failed> {
    let workers = config.system.workers.len() as u16;
    let devices = config.devices();
    let facts = devices
        .iter()
        .zip(MACS.into_iter().chain([LINK_MAC]))
        .map(|(device, mac)| DeviceFacts {
            rss_hardware: true,
            ..DeviceFacts::software(mac, device.mtu, workers, device)
        });
    let facts: Vec<_> = facts.collect();
    compile(config, &facts, registry, (epoch, None)).map_err(|why| Failed(why.to_string()))
}

/// Table sizes, as `sluice run` makes them.
fn limits(config: &Config) -> Limits {
    let workers = config.system.workers.len();
    let share = |all: u32| (all as usize).div_ceil(workers);
    Limits {
        sessions_v4: share(config.system.sessions),
        sessions_v6: share(config.system.sessions_v6),
        registrations: 2 * share(config.system.sessions),
        ..Limits::default()
    }
}

/// One worker that translates the sources of `sessions` flows, which come in random order; its next
/// hop is resolved, and no session is open yet.
pub(crate) fn nat44(
    sessions: usize,
    memory: &mut impl Memory,
    extra: &str,
) -> Result<Appliance<Source>, Failed> {
    let order = scenario::shuffled(sessions);
    let flows = order.iter().map(|&n| scenario::flow(n as usize)).collect();
    let text = scenario::nat44(&[0], sessions, ["net_null0", "net_null1"], extra);
    let mut appliance = Appliance::new(&text, vec![Source::new([flows, vec![]])], memory)?;
    resolve(&mut appliance.workers[0]);
    Ok(appliance)
}

/// Sends one packet, so that the next hop's MAC address is known from here on.
pub(crate) fn resolve(worker: &mut Worker<Source>) {
    worker.io().offer(0, 1);
    for now in 1..20 {
        worker.poll(now);
    }
    worker.io().rewind(0, None);
}

/// Polls until all that was offered has come in and gone out.
#[inline(never)]
pub(crate) fn drain(worker: &mut Worker<Source>, mut now: impl FnMut() -> u32) {
    while worker.io().left() > 0 {
        worker.poll(now());
    }
    worker.poll(now());
}
