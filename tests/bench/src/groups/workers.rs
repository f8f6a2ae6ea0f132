//! `workers_2.speedup` and `handoff.share_snat`: two workers on two cores, on ports in memory.
//!
//! Each worker's ports give the flows that a NIC's RSS would bring to it. Before speed is measured,
//! every session's packets go through in both directions, the replies to where RSS would bring them:
//! what is handed from worker to worker then, is counted.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sluice_dataplane::io::DeviceId;
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::worker::Worker;
use sluice_dpdk::{Clock, HugeMemory, thread};
use sluice_wire::proto::UDP;

use super::{Effort, Failed, eal};
use crate::appliance::{Appliance, drain, resolve};
use crate::figure::{Figure, Reach};
use crate::packets::Source;
use crate::rounds::{Better, Rounds, windows};
use crate::scenario::{self, Tuple};

const SESSIONS: usize = 64_512;
const WINDOW: Duration = Duration::from_millis(500);

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let eal = eal()?;
    let clock = Clock::start(eal);
    let text = scenario::nat44(
        &[0, 1],
        2 * SESSIONS,
        ["net_null0", "net_null1"],
        scenario::LONG,
    );
    let ios = || Source::new([vec![], vec![]]);
    let mut memory = HugeMemory::new(eal, None);
    let mut appliance = Appliance::new(&text, vec![ios(), ios()], &mut memory)?;
    let shared = handed_over(&mut appliance)?;

    let mut teams = vec![];
    for (worker, core) in appliance.workers.drain(..).zip(0..) {
        let (order, orders) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let body = move || work(worker, &clock, &orders, &answer);
        let thread = thread::spawn(eal, core, &format!("bench-w{core}"), body);
        let thread = thread.map_err(|why| Failed(why.to_string()))?;
        teams.push((order, answers, thread));
    }
    let mpps = |members: &[Member]| -> f64 {
        for (order, ..) in members {
            let _ = order.send(WINDOW);
        }
        let packets = members
            .iter()
            .filter_map(|(_, answers, _)| answers.recv().ok());
        packets.sum()
    };
    let rounds = Rounds::measure(effort.rounds, || mpps(&teams), || mpps(&teams[..1]));
    for (order, _, thread) in teams {
        drop(order);
        thread.join().map_err(|why| Failed(why.to_string()))?;
    }
    Ok(vec![
        rounds.ratio("workers_2.speedup", Better::More, Reach::AtLeast(1.9)),
        windows("workers_2.mpps", Better::More, rounds.a()),
        windows("workers_2.one_mpps", Better::More, rounds.b()),
        Figure::told("handoff.share_snat", shared).reach(Reach::AtMost(0.0)),
    ])
}

type Member = (SyncSender<Duration>, Receiver<f64>, thread::Worker<()>);

/// Polls for as long as it is told to, and answers how many million packets a second went through.
fn work(
    mut worker: Worker<Source>,
    clock: &Clock,
    orders: &Receiver<Duration>,
    answer: &SyncSender<f64>,
) {
    while let Ok(window) = orders.recv() {
        let start = clock.ticks();
        let ticks = (window.as_secs_f64() * clock.hz() as f64) as u64;
        let mut packets = 0;
        while clock.ticks() - start < ticks {
            worker.io().offer(0, 64);
            packets += 64;
            worker.poll(clock.now_ms() + 100);
        }
        let seconds = (clock.ticks() - start) as f64 / clock.hz() as f64;
        let _ = answer.send(f64::from(packets) / seconds / 1e6);
    }
}

/// Opens all sessions and answers each; the share of packets that another worker had to take.
fn handed_over(appliance: &mut Appliance<Source>) -> Result<f64, Failed> {
    let flows: Vec<_> = (0..SESSIONS).map(scenario::flow).collect();
    let mut split = by_home(appliance, DeviceId(0), &flows)?;
    for (worker, flows) in appliance.workers.iter_mut().zip(&mut split) {
        worker.io().rewind(0, Some(std::mem::take(flows)));
    }
    // Both must know the next hop before any session is answered.
    resolve(&mut appliance.workers[0]);
    resolve(&mut appliance.workers[1]);
    let mut replies = vec![];
    for worker in &mut appliance.workers {
        worker.io().watch();
        let count = worker.io().flows(0);
        worker.io().offer(0, count);
        drain(worker, || 30);
        let [_, left] = worker.io().seen();
        replies.extend(left.iter().map(|tuple| Tuple {
            src: tuple.dst,
            dst: tuple.src,
            sport: tuple.dport,
            dport: tuple.sport,
        }));
    }
    let split = by_home(appliance, DeviceId(1), &replies)?;
    for (worker, replies) in appliance.workers.iter_mut().zip(split) {
        let count = replies.len();
        worker.io().rewind(1, Some(replies));
        worker.io().offer(1, count);
    }
    for now in [40, 50, 60] {
        for worker in &mut appliance.workers {
            drain(worker, || now);
        }
    }
    let sum = |counter| appliance.sum(counter) as f64;
    let (forwarded, expected) = (sum(WorkerCounter::Forwarded), 2 * SESSIONS);
    // The two that resolved next hops come on top.
    if forwarded < expected as f64 {
        return Err(Failed(format!(
            "{forwarded} of {expected} packets were forwarded"
        )));
    }
    Ok(sum(WorkerCounter::HandedOver) / sum(WorkerCounter::Received))
}

/// The flows that each worker's queue gets, were the device a NIC.
fn by_home(
    appliance: &mut Appliance<Source>,
    device: DeviceId,
    flows: &[Tuple],
) -> Result<Vec<Vec<Tuple>>, Failed> {
    let steering = appliance.snapshot(1)?.steering;
    let mut split = vec![vec![]; appliance.workers.len()];
    for flow in flows {
        let tuple = sluice_wire::Tuple {
            proto: UDP,
            src: flow.src.into(),
            dst: flow.dst.into(),
            sport: flow.sport,
            dport: flow.dport,
        };
        split[usize::from(steering.home_of(device, &tuple))].push(*flow);
    }
    Ok(split)
}
