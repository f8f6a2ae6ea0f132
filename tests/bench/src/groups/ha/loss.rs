//! What is lost: of replies that come by the other node, and at the death of a node.

use sluice_dataplane::io::Memory;
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::tcp::{ACK, SYN};

use super::{Failed, MILLION};
use crate::figure::{Figure, Reach};
use crate::pair::frames::{flags, numbers, reverse, tcp, tuple, udp};
use crate::pair::{Pair, Shape};
use crate::scenario::flow;

const BURST: usize = 64;
/// Of the link, where a figure wants it slow, milliseconds.
const SLOW_MS: u32 = 20;
/// Of the link under the load that a node dies under.
const LINK_MS: u32 = 1;
/// Handshakes that begin in a millisecond.
const PER_MS: usize = 250;
/// When a node dies under load, milliseconds after the load began.
const DEATH_MS: u32 = 1000;
/// A death is noticed by then, milliseconds.
const DYING_MS: u32 = 200;
/// A node that starts has been told everything by then, milliseconds.
const JOINING_MS: u32 = 2000;
const ROUNDS: usize = 8;
/// Initial sequence number of servers.
const ISN: u32 = 7;

/// Connections through the first node, numbered, whose server answers into the second one at once.
struct Handshakes {
    begun: usize,
    /// By connection: when its opener was answered.
    answered: Vec<Option<u32>>,
}

impl Handshakes {
    fn new() -> Self {
        Self {
            begun: 0,
            answered: vec![],
        }
    }

    fn count(&self) -> usize {
        self.answered.iter().flatten().count()
    }

    fn begin(&mut self, pair: &mut Pair, most: usize) {
        for _ in 0..PER_MS.min(most - self.begun) {
            let frame = tcp(&flow(self.begun), 0, SYN, self.begun as u32, 0);
            pair.node(0).io().offer(0, &frame);
            self.begun += 1;
            self.answered.push(None);
        }
    }

    /// A millisecond: what is sent outside is answered into the second node, and who is answered
    /// acknowledges by the first.
    fn step(&mut self, pair: &mut Pair) {
        pair.now += 1;
        for _ in 0..ROUNDS {
            pair.poll();
            let (mut answers, mut acknowledgements) = (vec![], vec![]);
            for node in pair.nodes.iter_mut().flatten() {
                node.io().drain(1, |frame| {
                    if flags(frame) == SYN {
                        let (seq, _) = numbers(frame);
                        let back = reverse(&tuple(frame));
                        answers.push(tcp(&back, 1, SYN | ACK, ISN, seq + 1));
                    }
                });
                let (now, answered) = (pair.now, &mut self.answered);
                node.io().drain(0, |frame| {
                    if flags(frame) == SYN | ACK {
                        let (_, ack) = numbers(frame);
                        answered[ack as usize - 1].get_or_insert(now);
                        let back = reverse(&tuple(frame));
                        acknowledgements.push(tcp(&back, 0, ACK, ack, ISN + 1));
                    }
                });
            }
            for answer in &answers {
                pair.node(1).io().offer(1, answer);
            }
            if let Some(first) = &mut pair.nodes[0] {
                for acknowledgement in &acknowledgements {
                    first.io().offer(0, acknowledgement);
                }
            }
        }
    }
}

/// A million handshakes through the first node, answered at once into the second, while the link is
/// slow. Gives how many were not answered.
pub(super) fn asymmetric(pair: &mut Pair) -> Figure {
    pair.delay = SLOW_MS;
    pair.run(100);
    let mut handshakes = Handshakes::new();
    while handshakes.begun < MILLION {
        handshakes.begin(pair, MILLION);
        handshakes.step(pair);
    }
    for _ in 0..4 * SLOW_MS {
        handshakes.step(pair);
    }
    let lost = MILLION - handshakes.count();
    Figure::told("ha.asym_lost", lost as f64).reach(Reach::AtMost(0.0))
}

/// The first node dies at rest, with the connections of [`asymmetric`]: how many the other node does not
/// have.
pub(super) fn killed_at_rest(pair: &mut Pair) -> Result<Figure, Failed> {
    pair.delay = 0;
    pair.run(2000);
    let untold = pair.node(0).sum(WorkerCounter::SessionsUntold);
    if untold > 0 {
        return Err(Failed(format!(
            "{untold} sessions are not told of after seconds at rest"
        )));
    }
    pair.kill(0);
    pair.run(DYING_MS);
    let known = alive(pair, (0..MILLION).collect());
    let lost = MILLION - known.iter().filter(|known| **known).count();
    Ok(Figure::told("ha.established_lost", lost as f64).reach(Reach::AtMost(0.0)))
}

/// How long a connection that is never silent is not served when its node dies, milliseconds: the longest
/// of as many deaths as there are milliseconds between two heartbeats, each at another one of them.
pub(super) fn failover(shape: Shape, memory: &mut impl Memory) -> Result<f64, Failed> {
    let mut pair = Pair::new(shape, memory)?;
    let mut worst = 0;
    for phase in 0..shape.heartbeat_ms {
        let packet = udp(&flow(phase as usize));
        pair.node(0).io().offer(0, &packet);
        pair.run(50 + phase);
        pair.kill(0);
        // A packet was served in the last millisecond of its life.
        let died = pair.now;
        pair.node(1).io().drain(1, |_| {});
        let mut through = 0;
        while through == 0 && pair.now - died < 10_000 {
            pair.node(1).io().offer(0, &packet);
            pair.run(1);
            pair.node(1).io().drain(1, |_| through += 1);
        }
        worst = worst.max(pair.now - died);
        pair.start(0, memory)?;
        pair.run(JOINING_MS);
    }
    Ok(f64::from(worst))
}

/// The first node dies while handshakes go on: of those that were answered longer ago than records
/// take, how many the other node does not have; and how many of the younger ones.
pub(super) fn killed_under_load(pair: &mut Pair) -> Result<Vec<Figure>, Failed> {
    pair.delay = LINK_MS;
    pair.run(100);
    let mut handshakes = Handshakes::new();
    for _ in 0..DEATH_MS {
        handshakes.begin(pair, MILLION);
        handshakes.step(pair);
    }
    // In the middle of what it does.
    handshakes.begin(pair, MILLION);
    pair.poll_one(0);
    let died = pair.now;
    pair.kill(0);
    pair.run(DYING_MS);
    let established: Vec<_> = handshakes
        .answered
        .iter()
        .enumerate()
        .filter_map(|(connection, answered)| Some((connection, (*answered)?)))
        .collect();
    if established.len() < DEATH_MS as usize * PER_MS / 2 {
        return Err(Failed("there was no load to die under".into()));
    }
    let known = alive(pair, established.iter().map(|(at, _)| *at).collect());
    let lag = LINK_MS + 1;
    let (mut lost, mut young) = (0, 0);
    for ((_, answered), _) in established.iter().zip(known).filter(|(_, known)| !known) {
        if died - answered > lag {
            lost += 1;
        } else {
            young += 1;
        }
    }
    Ok(vec![
        Figure::told("ha.established_lost_under_load", f64::from(lost)).reach(Reach::AtMost(0.0)),
        Figure::told("ha.younger_lost_under_load", f64::from(young)),
    ])
}

/// Which of these connections the second node forwards the next packet of, in their order.
fn alive(pair: &mut Pair, connections: Vec<usize>) -> Vec<bool> {
    let mut alive = vec![false; connections.len()];
    let mut seen = |pair: &mut Pair| {
        pair.node(1).io().drain(1, |frame| {
            if flags(frame) != ACK {
                return;
            }
            let (seq, _) = numbers(frame);
            // Connection `n` begins with `n`.
            let at = connections.binary_search(&(seq as usize - 1));
            if let Ok(at) = at {
                alive[at] = true;
            }
        });
    };
    for burst in connections.chunks(BURST) {
        for &n in burst {
            let frame = tcp(&flow(n), 0, ACK, n as u32 + 1, ISN + 1);
            pair.node(1).io().offer(0, &frame);
        }
        pair.now += u32::from(burst[0] % 1024 < BURST);
        pair.poll();
        seen(pair);
    }
    pair.run(5);
    seen(pair);
    alive
}
