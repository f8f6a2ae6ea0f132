//! What sync and correction cost: rates with a peer and without, by turns, and how far it is behind.

use std::time::{Duration, Instant};

use sluice_dataplane::published::WorkerCounter;
use sluice_dpdk::HugeMemory;

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::pair::frames::udp;
use crate::pair::{Node, Pair};
use crate::rounds::{Better, Rounds, windows};
use crate::scenario::flow;

/// Packets of a window.
const WINDOW: usize = 8192;
const BURST: usize = 64;
/// Packets that one node works on before the other has its turn, so that frames are as near to the second
/// as a card would put them.
const TURN: usize = 4 * BURST;
/// Windows for each round asked for: each is of some milliseconds.
const WINDOWS: usize = 16;
/// Bursts that the lag is measured with.
const LAGS: usize = 4096;

pub(super) fn run(effort: &Effort, memory: &mut HugeMemory) -> Result<Vec<Figure>, Failed> {
    let rounds = effort.rounds * WINDOWS;
    let sessions = (rounds + 2) * WINDOW + LAGS * BURST;
    let mut pair = Pair::new(super::DEFAULT.with_room(sessions), memory)?;
    let mut single = pair.single(memory)?;
    let mut figures = opened(rounds, &mut pair, &mut single)?;
    figures.extend(corrected(rounds, &mut pair, &mut single)?);
    figures.push(lag(rounds * WINDOW, &mut pair)?);
    Ok(figures)
}

/// A node works on the packets of flows `from` and up for a turn, a burst per round, as they would come
/// from a device that always has some.
fn work(node: &mut Node, now: u32, from: usize) {
    for burst in (from..from + TURN).step_by(BURST) {
        for n in burst..burst + BURST {
            let frame = udp(&flow(n));
            node.io().offer(0, &frame);
        }
        node.poll(now);
        node.io().drain(1, |_| {});
    }
}

/// Lets a node work on what has come to it by then.
fn finish(pair: &mut Pair, node: usize) {
    for _ in 0..1000 {
        pair.poll_one(node);
        if pair.node(node).io().waiting() == 0 {
            break;
        }
    }
}

fn per_second(took: Duration) -> f64 {
    WINDOW as f64 / took.as_secs_f64()
}

/// Sessions opened per second with and without sync, and what the records of them cost.
fn opened(rounds: usize, pair: &mut Pair, single: &mut Node) -> Result<Vec<Figure>, Failed> {
    let (mut opened, mut heard) = (Rounds::default(), vec![]);
    for round in 0..rounds {
        let before = pair.node(1).sum(WorkerCounter::HaRecordsReceived);
        pair.restart_clocks();
        single.took = Duration::ZERO;
        pair.now += 1;
        let now = pair.now;
        for turn in (0..WINDOW).step_by(TURN) {
            let from = round * WINDOW + turn;
            work(pair.node(0), now, from);
            finish(pair, 1);
            work(single, now, from);
        }
        // What is acknowledged belongs to it.
        finish(pair, 0);
        let [told, hearing] = pair.restart_clocks();
        opened.push(per_second(told), per_second(single.took));
        // So that it is published.
        pair.run(5);
        let came = pair.node(1).sum(WorkerCounter::HaRecordsReceived) - before;
        heard.push(came as f64 / hearing.as_secs_f64());
    }
    let told = (rounds * WINDOW) as u64;
    let known = pair.node(1).sum(WorkerCounter::SessionsReplica);
    if known < told {
        return Err(Failed(format!("{known} of {told} sessions were told of")));
    }
    // What a record costs who tells it: what opening a session costs more than without.
    let telling = |with: f64, without: f64| 1.0 / (1.0 / with - 1.0 / without).max(1e-9);
    let (with, without) = (opened.a(), opened.b());
    let best = |values: &[f64]| Better::More.best(values);
    let pairs = with.iter().zip(without).map(|(&a, &b)| telling(a, b));
    let paired: Vec<_> = pairs.zip(&heard).map(|(a, &b)| a.min(b)).collect();
    let told = telling(best(with), best(without));
    let records = Figure::told("ha.sync_records_per_s", told.min(best(&heard)))
        .median(crate::rounds::median(&paired));
    Ok(vec![
        opened.ratio(
            "ha.new_sessions_vs_no_sync",
            Better::More,
            Reach::AtLeast(0.75),
        ),
        records.reach(Reach::AtLeast(1e6)),
        Figure::told("ha.sync_records_told_per_s", told),
        windows("ha.sync_records_heard_per_s", Better::More, &heard),
    ])
}

/// Packets of the other node's sessions, against packets of one's own.
fn corrected(rounds: usize, pair: &mut Pair, single: &mut Node) -> Result<Vec<Figure>, Failed> {
    let mut packets = Rounds::default();
    let before = pair.node(0).sum(WorkerCounter::CorrectedReceived);
    for _ in 0..rounds {
        pair.restart_clocks();
        single.took = Duration::ZERO;
        pair.now += 1;
        let now = pair.now;
        for turn in (0..WINDOW).step_by(TURN) {
            work(pair.node(1), now, turn);
            finish(pair, 0);
            pair.node(0).io().drain(1, |_| {});
            work(single, now, turn);
        }
        let [owner, other] = pair.restart_clocks();
        let slower = owner.max(other);
        packets.push(per_second(slower) / 1e6, per_second(single.took) / 1e6);
    }
    pair.run(5);
    let corrected = pair.node(0).sum(WorkerCounter::CorrectedReceived) - before;
    let expected = (rounds * WINDOW) as u64;
    if corrected != expected {
        return Err(Failed(format!(
            "{corrected} of {expected} packets were corrected"
        )));
    }
    Ok(vec![
        packets.ratio("ha.corrected_vs_direct", Better::More, Reach::AtLeast(0.40)),
        windows("ha.corrected_mpps", Better::More, packets.a()),
    ])
}

/// From before a burst of first packets is received to after the other node has the copies,
/// microseconds, while the two are busy for half of the time.
fn lag(first: usize, pair: &mut Pair) -> Result<Figure, Failed> {
    let mut lags = vec![];
    let before = pair.node(1).sum(WorkerCounter::SessionsReplica);
    for burst in 0..LAGS {
        let from = first + burst * (BURST / 2);
        for n in from..from + BURST / 2 {
            let frame = udp(&flow(n));
            pair.node(0).io().offer(0, &frame);
        }
        pair.now += u32::from(burst % 16 == 0);
        let start = Instant::now();
        pair.poll_one(0);
        while pair.node(1).io().waiting() > 0 {
            pair.poll_one(1);
        }
        let took = start.elapsed();
        lags.push(took.as_secs_f64() * 1e6);
        pair.node(0).io().drain(1, |_| {});
        while start.elapsed() < 2 * took {
            pair.poll();
        }
    }
    pair.run(5);
    let told = pair.node(1).sum(WorkerCounter::SessionsReplica) - before;
    if told != (LAGS * BURST / 2) as u64 {
        return Err(Failed(format!("{told} sessions were told of meanwhile")));
    }
    lags.sort_by(f64::total_cmp);
    let at = |share: usize| lags[lags.len() * share / 100];
    let figure = Figure::told("ha.sync_lag_p99_us", at(99)).median(at(50));
    Ok(figure.reach(Reach::AtMost(200.0)))
}
