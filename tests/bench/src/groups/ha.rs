//! `ha.*`: what sharing sessions with another appliance costs, and what it keeps.
//!
//! Two nodes of one worker each take turns in this thread; each one's time is taken apart. Where a
//! figure is a rate of both, it is that of the slower one: on two machines they work side by side.

use std::time::Duration;

use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::tcp::{ACK, SYN};
use sluice_dpdk::HugeMemory;

use super::{Effort, Failed, eal};
use crate::figure::{Figure, Reach};
use crate::pair::{Node, Pair, reverse, tcp, tuple, udp};
use crate::rounds::{Better, Rounds, windows};
use crate::scenario::flow;

/// Sessions that a round opens.
const WINDOW: usize = 16_384;
const BURST: usize = 64;
/// Of the figures about what is lost.
const MILLION: usize = 1_000_000;
/// Of the link, where a figure wants it slow, milliseconds.
const SLOW_MS: u32 = 20;
/// Handshakes that begin in a millisecond.
const PER_MS: usize = 250;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let eal = eal()?;
    let mut memory = HugeMemory::new(eal, None);
    let mut figures = vec![];
    let sessions = (effort.rounds + 2) * WINDOW + 4 * WINDOW;
    let mut pair = Pair::new(sessions, &mut memory)?;
    let mut single = pair.single(&mut memory)?;
    figures.extend(opened(effort, &mut pair, &mut single)?);
    figures.extend(corrected(effort, &mut pair, &mut single)?);
    figures.push(lag(&mut pair));
    figures.push(joined(&mut pair, &mut memory)?);
    drop((pair, single));
    let mut pair = Pair::new(MILLION + MILLION / 8, &mut memory)?;
    figures.push(asymmetric(&mut pair));
    figures.extend(killed(&mut pair)?);
    Ok(figures)
}

/// Sessions opened per second with and without sync, and what the records of them cost.
fn opened(effort: &Effort, pair: &mut Pair, single: &mut Node) -> Result<Vec<Figure>, Failed> {
    let mut next = 0;
    let mut applied = Duration::ZERO;
    let mut rounds = Rounds::default();
    let rate = |took: Duration| WINDOW as f64 / took.as_secs_f64();
    for _ in 0..effort.rounds {
        pair.nodes
            .iter_mut()
            .flatten()
            .for_each(|node| node.took = Duration::ZERO);
        single.took = Duration::ZERO;
        for burst in (next..next + WINDOW).step_by(BURST) {
            for n in burst..burst + BURST {
                let frame = udp(&flow(n));
                pair.node(0).io().offer(0, &frame);
                single.io().offer(0, &frame);
            }
            // A million sessions a second.
            pair.now += u32::from(burst % 1024 == 0);
            pair.poll();
            single.poll(pair.now);
            pair.node(0).io().drain(1, |_| {});
            single.io().drain(1, |_| {});
        }
        next += WINDOW;
        applied = applied.max(pair.node(1).took);
        rounds.push(rate(pair.node(0).took), rate(single.took));
        pair.run(20);
    }
    let replicas = pair.node(1).sum(WorkerCounter::SessionsReplica);
    if replicas < next as u64 {
        return Err(Failed(format!(
            "{replicas} of {next} sessions were told of"
        )));
    }
    let ratio = rounds.ratio(
        "ha.new_sessions_vs_no_sync",
        Better::More,
        Reach::AtLeast(0.75),
    );
    // What a record costs the sender: what opening a session costs more than without.
    let told: Vec<_> = rounds
        .a()
        .iter()
        .zip(rounds.b())
        .map(|(with, without)| 1.0 / (1.0 / with - 1.0 / without).max(1e-9))
        .collect();
    let heard = WINDOW as f64 / applied.as_secs_f64();
    let records: Vec<_> = told.iter().map(|told| told.min(heard)).collect();
    Ok(vec![
        ratio,
        windows("ha.sync_records_per_s", Better::More, &records).reach(Reach::AtLeast(1e6)),
        Figure::told("ha.sync_records_heard_per_s", heard),
    ])
}

/// Packets of the other node's sessions, against packets of one's own.
fn corrected(effort: &Effort, pair: &mut Pair, single: &mut Node) -> Result<Vec<Figure>, Failed> {
    let mut rounds = Rounds::default();
    let rate = |took: Duration| WINDOW as f64 / took.as_secs_f64() / 1e6;
    let mut arrived = 0;
    for _ in 0..effort.rounds {
        pair.nodes
            .iter_mut()
            .flatten()
            .for_each(|node| node.took = Duration::ZERO);
        single.took = Duration::ZERO;
        for burst in (0..WINDOW).step_by(BURST) {
            for n in burst..burst + BURST {
                let frame = udp(&flow(n));
                pair.node(1).io().offer(0, &frame);
                single.io().offer(0, &frame);
            }
            pair.now += u32::from(burst % 4096 == 0);
            let now = pair.now;
            pair.node(1).poll(now);
            pair.node(0).poll(now);
            single.poll(now);
            pair.node(0).io().drain(1, |_| arrived += 1);
            single.io().drain(1, |_| {});
        }
        let slower = pair.node(0).took.max(pair.node(1).took);
        rounds.push(rate(slower), rate(single.took));
    }
    pair.run(5);
    pair.node(0).io().drain(1, |_| arrived += 1);
    let expected = effort.rounds * WINDOW;
    if arrived < expected {
        return Err(Failed(format!(
            "{arrived} of {expected} packets came through"
        )));
    }
    Ok(vec![
        rounds.ratio("ha.corrected_vs_direct", Better::More, Reach::AtLeast(0.40)),
        windows("ha.corrected_mpps", Better::More, rounds.a()),
    ])
}

/// From a session's first packet to its copy, microseconds, while sessions are opened at half the
/// rate that both nodes by turns can bear.
fn lag(pair: &mut Pair) -> Figure {
    let mut lags = vec![];
    let first = pair.node(0).sum(WorkerCounter::SessionsOpened) as usize;
    for burst in (first..first + WINDOW).step_by(BURST / 2) {
        for n in burst..burst + BURST / 2 {
            let frame = udp(&flow(n));
            pair.node(0).io().offer(0, &frame);
        }
        pair.now += u32::from(burst % 1024 == 0);
        let start = std::time::Instant::now();
        // The second round of the first node is where acknowledgements are heard.
        pair.poll();
        let took = start.elapsed();
        lags.push(took.as_secs_f64() * 1e6);
        pair.node(0).io().drain(1, |_| {});
        while start.elapsed() < 2 * took {
            pair.poll();
        }
    }
    lags.sort_by(f64::total_cmp);
    let at = |share: usize| lags[lags.len() * share / 100];
    Figure::told("ha.sync_lag_p99_us", at(99))
        .median(at(50))
        .reach(Reach::AtMost(200.0))
}

/// A node starts anew, and is told everything.
fn joined(pair: &mut Pair, memory: &mut HugeMemory) -> Result<Figure, Failed> {
    let mut rates = vec![];
    for _ in 0..3 {
        pair.kill(1);
        pair.run(500);
        pair.start(1, memory)?;
        let all = pair.node(0).sum(WorkerCounter::SessionsV4);
        let mut took = [Duration::ZERO; 2];
        for _ in 0..1_000_000 {
            pair.now += 1;
            for _ in 0..100 {
                pair.nodes
                    .iter_mut()
                    .flatten()
                    .for_each(|node| node.took = Duration::ZERO);
                pair.poll();
                let told = pair.node(1).sum(WorkerCounter::SessionsReplica) > 0;
                if told {
                    for (took, node) in took.iter_mut().zip(pair.nodes.iter().flatten()) {
                        *took += node.took;
                    }
                }
            }
            if pair.node(1).sum(WorkerCounter::SessionsReplica) >= all {
                break;
            }
        }
        let slower = took[0].max(took[1]);
        rates.push(all as f64 / slower.as_secs_f64());
    }
    Ok(windows("ha.bulk_sessions_per_s", Better::More, &rates).reach(Reach::AtLeast(1e6)))
}

/// A million handshakes through the first node, answered at once into the second, while the link is
/// slow. Gives how many were not answered.
fn asymmetric(pair: &mut Pair) -> Figure {
    pair.delay = SLOW_MS;
    pair.run(100);
    let mut answered = 0;
    let mut begun = 0;
    while begun < MILLION {
        for _ in 0..PER_MS.min(MILLION - begun) {
            let frame = tcp(&flow(begun), 0, SYN, begun as u32, 0);
            pair.node(0).io().offer(0, &frame);
            begun += 1;
        }
        answered += handshake(pair);
    }
    for _ in 0..4 * SLOW_MS {
        answered += handshake(pair);
    }
    Figure::told("ha.asym_lost", (MILLION - answered) as f64).reach(Reach::AtMost(0.0))
}

/// A millisecond: what the first node sends outside is answered into the second, and who is answered
/// acknowledges. Gives how many were answered.
fn handshake(pair: &mut Pair) -> usize {
    pair.now += 1;
    let mut answered = 0;
    for _ in 0..8 {
        pair.poll();
        let mut answers = vec![];
        for node in [0, 1] {
            pair.node(node).io().drain(1, |frame| {
                if flags(frame) == SYN {
                    let seq = u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]);
                    let back = reverse(&tuple(frame));
                    answers.push(tcp(&back, 1, SYN | ACK, 7, seq + 1));
                }
            });
        }
        for answer in &answers {
            pair.node(1).io().offer(1, answer);
        }
        let mut acknowledgements = vec![];
        for node in [0, 1] {
            pair.node(node).io().drain(0, |frame| {
                if flags(frame) == SYN | ACK {
                    let ack = u32::from_be_bytes([frame[42], frame[43], frame[44], frame[45]]);
                    let back = reverse(&tuple(frame));
                    acknowledgements.push(tcp(&back, 0, ACK, ack, 8));
                }
            });
        }
        answered += acknowledgements.len();
        for acknowledgement in &acknowledgements {
            pair.node(0).io().offer(0, acknowledgement);
        }
    }
    answered
}

/// TCP's flags; 0 of a frame that is shorter, such as ARP's.
fn flags(frame: &[u8]) -> u8 {
    frame.get(47).copied().unwrap_or(0)
}

/// The first node dies with a million connections: how long it takes until the second one has them,
/// and how many it does not have.
fn killed(pair: &mut Pair) -> Result<Vec<Figure>, Failed> {
    pair.delay = 0;
    // Two rounds a millisecond tell of 256 places of the table, and there are a million.
    pair.run(10_000);
    let untold = pair.node(0).sum(WorkerCounter::SessionsUntold);
    if untold > 0 {
        return Err(Failed(format!(
            "{untold} sessions are not told of after seconds at rest"
        )));
    }
    pair.kill(0);
    let died = pair.now;
    let mut through = 0;
    // One of them is never silent.
    while through == 0 && pair.now - died < 10_000 {
        let frame = tcp(&flow(0), 0, ACK, 1, 8);
        pair.node(1).io().offer(0, &frame);
        pair.run(1);
        pair.node(1).io().drain(1, |_| through += 1);
    }
    let gap = f64::from(pair.now - died);
    let mut alive = 0;
    for burst in (0..MILLION).step_by(BURST) {
        for n in burst..burst + BURST {
            let frame = tcp(&flow(n), 0, ACK, n as u32 + 1, 8);
            pair.node(1).io().offer(0, &frame);
        }
        pair.now += u32::from(burst % 1024 == 0);
        pair.poll();
        pair.node(1).io().drain(1, |_| alive += 1);
    }
    pair.run(5);
    pair.node(1).io().drain(1, |_| alive += 1);
    Ok(vec![
        Figure::told("ha.failover_ms", gap).reach(Reach::AtMost(50.0)),
        Figure::told("ha.established_lost", MILLION as f64 - f64::from(alive))
            .reach(Reach::AtMost(0.0)),
    ])
}
