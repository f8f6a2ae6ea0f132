//! `pipeline.vs_rte_hash`: what a packet takes from reception to transmission, all of source NAT
//! included, in units of one lookup in `rte_hash`; and sessions opened per second, in process.
//!
//! `rte_hash` holds the keys of both flows of every session, as our table does, and is asked for the
//! original flows' in the order in which their packets come, 64 at a time. What the devices in memory
//! take by themselves, to make frames and to swallow them, is measured in turn with both
//! (`pipeline.source_ns`) and is not the pipeline's: `pipeline.ns` is what is left of
//! `pipeline.with_source_ns`. Windows are short and many, so that some find the machine undisturbed.

use std::hint::black_box;

use arrayvec::ArrayVec;
use sluice_dataplane::io::{DeviceId, Io, RxBurst, TxBurst};
use sluice_dataplane::published::WorkerCounter;
use sluice_dpdk::{Clock, Eal, HugeMemory, RteHash};
use sluice_wire::proto::UDP;
use sluice_wire::{Family, Key, V4, key::pack_ports};

use super::table::{Raw, raw};
use super::{Effort, Failed, eal};
use crate::appliance::{self, drain};
use crate::figure::{Figure, Reach};
use crate::packets::Source;
use crate::rounds::{Better, Rounds, median, windows};
use crate::scenario::{self, Tuple};

const BURST: usize = 64;
/// Packets of a window: some milliseconds.
const PACKETS: usize = 1 << 17;
/// Windows for each round that is asked for.
const WINDOWS: usize = 16;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let eal = eal()?;
    let mut figures = vec![];
    for (name, sessions) in [("64k", 64_512), ("1m", 1_032_192), ("4m", 4_128_768)] {
        figures.extend(measure(effort, eal, name, sessions)?);
    }
    Ok(figures)
}

fn measure(effort: &Effort, eal: Eal, name: &str, sessions: usize) -> Result<Vec<Figure>, Failed> {
    let clock = Clock::start(eal);
    let ns = |ticks: u64, count: usize| ticks as f64 * 1e9 / clock.hz() as f64 / count as f64;
    let mut memory = HugeMemory::new(eal, None);
    let mut appliance = appliance::nat44(sessions, &mut memory, "")?;
    let worker = &mut appliance.workers[0];

    // Opening, in as many windows as there are rounds.
    let mut opening = vec![];
    for window in 0..effort.rounds {
        let count = sessions * (window + 1) / effort.rounds - sessions * window / effort.rounds;
        worker.io().offer(0, count);
        let start = clock.ticks();
        drain(worker, || clock.now_ms() + 20);
        opening.push(1e9 / ns(clock.ticks() - start, count));
    }

    let order = scenario::shuffled(sessions);
    let keys: Vec<_> = order
        .iter()
        .map(|&n| raw(&key(&scenario::flow(n as usize))))
        .collect();
    let mut theirs = RteHash::<Raw>::create(eal, (2 * sessions + sessions / 4) as u32)?;
    for (key, n) in keys.iter().zip(0..) {
        theirs.insert(key)?;
        theirs.insert(&raw(&reply(key, n)))?;
    }
    let asked: Vec<_> = keys.iter().collect();
    let mut bursts = asked.chunks(BURST).cycle();
    let mut found = 0;
    let mut alone = Source::new([(0..sessions).map(scenario::flow).collect(), vec![]]);
    let mut source = vec![];
    let windowed = effort.rounds * WINDOWS;
    let rounds = Rounds::measure(
        windowed,
        || {
            worker.io().offer(0, PACKETS);
            let start = clock.ticks();
            drain(worker, || clock.now_ms() + 20);
            ns(clock.ticks() - start, PACKETS)
        },
        || {
            source.push(ns(bare(&clock, &mut alone), PACKETS));
            let mut positions = [0; BURST];
            let start = clock.ticks();
            for keys in bursts.by_ref().take(PACKETS / BURST) {
                theirs.lookup_bulk(keys, &mut positions);
                found += positions.iter().filter(|&&at| at >= 0).count();
            }
            ns(black_box(clock.ticks()) - start, PACKETS)
        },
    );
    worker.poll(clock.now_ms() + 40);
    let forwarded = appliance.sum(WorkerCounter::Forwarded) as usize;
    // The first packet once more, which resolved the next hop.
    let expected = sessions + windowed * PACKETS + 1;
    if forwarded != expected {
        let dropped = appliance.published.worker(0).dropped();
        return Err(Failed(format!(
            "{forwarded} of {expected} packets were forwarded, {dropped} dropped"
        )));
    }
    let of = |figure: &str| format!("pipeline.{figure}.{name}");
    let (all, theirs) = (rounds.a(), rounds.b());
    let best = |values: &[f64]| Better::Less.best(values);
    let net: Vec<_> = all
        .iter()
        .zip(&source)
        .map(|(all, own)| all - own)
        .collect();
    let paired: Vec<_> = net.iter().zip(theirs).map(|(net, own)| net / own).collect();
    // Best less best, as the best of the differences would pair a good window with a bad one.
    let ns = best(all) - best(&source);
    let ratio = Figure::told(of("vs_rte_hash"), ns / best(theirs));
    Ok(vec![
        Figure::told(of("ns"), ns).median(median(&net)),
        windows(of("with_source_ns"), Better::Less, all),
        windows(of("rte_hash_ns"), Better::Less, theirs),
        windows(of("source_ns"), Better::Less, &source),
        ratio.reach(Reach::AtMost(1.3)).median(median(&paired)),
        windows(
            format!("session.udp_new_per_s.in_process.{name}"),
            Better::More,
            &opening,
        ),
    ])
}

/// Ticks that the source takes by itself.
fn bare(clock: &Clock, source: &mut Source) -> u64 {
    let mut received: RxBurst<_> = ArrayVec::new();
    let mut sent: TxBurst<_> = ArrayVec::new();
    source.offer(0, PACKETS);
    let start = clock.ticks();
    while source.left() > 0 {
        source.rx(DeviceId(0), &mut received);
        sent.extend(received.drain(..));
        source.tx(DeviceId(1), &mut sent);
    }
    clock.ticks() - start
}

/// The key of a flow's packets, in zone 0.
fn key(tuple: &Tuple) -> Key<u64> {
    Key {
        addrs: V4::pack(tuple.src.into(), tuple.dst.into()),
        ports: pack_ports(tuple.sport, tuple.dport),
        proto: UDP,
        ..Key::default()
    }
}

/// Some key that stands for the reply's of flow `n`: what is asked for are originals.
fn reply(original: &Raw, n: u64) -> Key<u64> {
    Key {
        addrs: original[0].rotate_left(32) ^ n,
        ports: original[1] as u32,
        proto: UDP,
        zone: 1,
        ..Key::default()
    }
}
