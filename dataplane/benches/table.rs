//! Nanoseconds a packet for looking sessions up, in random order, by the number of sessions.
//!
//!     GLIBC_TUNABLES=glibc.malloc.hugetlb=1 cargo bench -p sluice-dataplane --bench table [SESSIONS...]
//!
//! The tunable has the heap use transparent huge pages, as the appliance uses huge pages; without it
//! much of the time goes into page walks. Hits are of flows drawn at random, misses of tuples that no
//! session has. Each figure is the best of several runs. "peer" is the
//! standard library's hash map (hashbrown, SwissTable) with the same hash, from tuple to session, one
//! packet after the other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;
use std::time::Instant;

use arrayvec::ArrayVec;
use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::session::table::{Candidate, Direction};
use sluice_dataplane::session::{SessionId, Table};
use sluice_dataplane::tcp::{self, Segment};
use sluice_wire::proto::{TCP, UDP};
use sluice_wire::{Family, Key, KeyHasher, V4, V6};

const SECRET: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
];
/// FD.io's ladder, in sessions.
const LADDER: [usize; 5] = [64_512, 258_048, 1_032_192, 4_128_768, 16_515_072];
const PACKETS: usize = 1 << 20;
const RUNS: usize = 7;

fn mixed(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

trait Keys: Family {
    fn key(n: u64) -> Key<Self::Addrs>;
}

fn make<A>(addrs: A, n: u64) -> Key<A> {
    Key {
        addrs,
        ports: (mixed(n) >> 32) as u32,
        proto: if n & 2 == 0 { TCP } else { UDP },
        zone: (n >> 40) as u8,
        zero: 0,
    }
}

impl Keys for V4 {
    fn key(n: u64) -> Key<u64> {
        make(n.wrapping_mul(0x1_0000_0003), n)
    }
}

impl Keys for V6 {
    fn key(n: u64) -> Key<[u64; 4]> {
        make([0xb80d_0120, n, 0xb80d_0120, 7], n)
    }
}

/// Flow `n` is a direction of session `n / 2`.
fn fill<F: Keys>(sessions: usize) -> Table<F> {
    let mut table = Table::new(&mut Heap, sessions, KeyHasher::new(SECRET)).expect("memory");
    for n in 0..sessions as u64 {
        open(&mut table, n);
    }
    table
}

fn open<F: Keys>(table: &mut Table<F>, n: u64) {
    let (original, reply) = (F::key(2 * n), F::key(2 * n + 1));
    let id = table.insert(&original, &reply, 0, 1_000_000).expect("room");
    if original.proto == TCP {
        let (this, other) = table.pair_mut(id.flow(Direction::Original)).expect("live");
        tcp::open(this, other, &segment(tcp::ACK, 0));
    }
}

fn segment(flags: u8, seq: u32) -> Segment {
    Segment {
        seq,
        ack: 0,
        window: 1_000,
        data_len: 0,
        flags,
        wscale: None,
    }
}

/// Best time of `run` in nanoseconds for each of `packets`.
fn best(packets: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e9 / packets as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Hash, stages, confirmation, for TCP its step, and the packet counted in its flow.
fn burst<F: Keys>(table: &mut Table<F>, keys: &[Key<F::Addrs>], size: usize) -> f64 {
    let mut hashes = [0; 64];
    let mut candidates = [Candidate::default(); 64];
    best(keys.len(), || {
        let mut found = 0;
        for keys in keys.chunks(size) {
            for (hash, key) in hashes.iter_mut().zip(keys) {
                *hash = table.hash(key);
                table.prefetch_bucket(*hash);
            }
            let guesses = hashes.iter().zip(&mut candidates);
            for (key, (&hash, candidate)) in keys.iter().zip(guesses) {
                let guess = table.probe(key, hash);
                *candidate = guess.unwrap_or_else(|| table.probe_away(key, hash));
            }
            for ((key, &hash), &candidate) in keys.iter().zip(&hashes).zip(&candidates) {
                let Some(flow) = table.confirm(candidate, key, hash) else {
                    continue;
                };
                let (this, other) = table.pair_mut(flow).expect("found");
                if key.proto == TCP {
                    let verdict =
                        tcp::step(this, other, flow.direction(), &segment(tcp::ACK, 0), 1);
                    found += usize::from(verdict == tcp::Verdict::Pass);
                } else {
                    found += 1;
                }
                this.count(64, 1);
            }
        }
        black_box(found);
    })
}

fn single<F: Keys>(table: &mut Table<F>, keys: &[Key<F::Addrs>]) -> f64 {
    best(keys.len(), || {
        for key in keys {
            if let Some(flow) = table.lookup(key, table.hash(key)) {
                table.flow_mut(flow).expect("found").count(64, 1);
            }
        }
    })
}

/// Ends sessions and opens others, in random order, as in steady state. Per session.
fn churn<F: Keys>(table: &mut Table<F>) -> f64 {
    let (sessions, mut next) = (table.capacity() as u64, 1_u64 << 36);
    let rounds = (2 * sessions).min(1 << 21) as usize;
    let mut time = || {
        best(rounds, || {
            for _ in 0..rounds {
                let id = SessionId((mixed(next) % sessions) as u32);
                table.remove(id).expect("live");
                open(table, next);
                next += 1;
            }
        })
    };
    time()
}

fn sweep<F: Keys>(table: &mut Table<F>) -> f64 {
    let mut due = ArrayVec::new();
    let strides = table.capacity() / 16;
    best(table.capacity(), || {
        for _ in 0..strides / 64 {
            table.sweep(2, 1_024, &mut due);
        }
        assert!(due.is_empty());
    })
}

fn family<F: Keys>(name: &str, sessions: usize) {
    let mut table = fill::<F>(sessions);
    let random = |n: u64| mixed(n) % (2 * sessions as u64);
    let of = |proto| -> Vec<_> {
        let keys = (0..PACKETS as u64 * 2).map(|n| F::key(random(n)));
        keys.filter(|key| key.proto == proto).collect()
    };
    let misses: Vec<_> = (0..PACKETS as u64).map(|n| F::key(1 << 42 | n)).collect();
    println!(
        "{name} {sessions:>9}  TCP: {:5.1}  UDP: {:5.1} (burst 32: {:5.1}, singly: {:5.1})  \
         miss: {:5.1}  sweep: {:4.2}",
        burst(&mut table, &of(TCP), 64),
        burst(&mut table, &of(UDP), 64),
        burst(&mut table, &of(UDP), 32),
        single(&mut table, &of(UDP)),
        burst(&mut table, &misses, 64),
        sweep(&mut table),
    );
    println!(
        "{name} {sessions:>9}  end and open: {:5.1}",
        churn(&mut table)
    );
    let keys = (0..PACKETS as u64 * 2).map(|n| {
        let id = SessionId((mixed(n) % sessions as u64) as u32);
        table.session(id).expect("live").flows[(n & 1) as usize].key()
    });
    let live: Vec<_> = keys.filter(|key| key.proto == UDP).collect();
    println!(
        "{name} {sessions:>9}  after the churn: UDP: {:5.1}  miss: {:5.1}",
        burst(&mut table, &live, 64),
        burst(&mut table, &misses, 64),
    );
}

#[derive(PartialEq, Eq)]
struct PeerKey {
    key: Key<u64>,
    hash: u64,
}

impl Hash for PeerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[derive(Default)]
struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn peer(sessions: usize) {
    let hasher = KeyHasher::new(SECRET);
    let with_hash = |key| PeerKey {
        hash: hasher.hash::<V4>(&key),
        key,
    };
    let mut map = HashMap::<_, u32, BuildHasherDefault<Given>>::with_capacity_and_hasher(
        2 * sessions,
        BuildHasherDefault::default(),
    );
    let mut flows = vec![[0_u64; 8]; 2 * sessions];
    for n in 0..2 * sessions as u64 {
        map.insert(with_hash(V4::key(n)), n as u32);
    }
    let random = |n: u64| mixed(n) % (2 * sessions as u64);
    let hits: Vec<_> = (0..PACKETS as u64).map(|n| V4::key(random(n))).collect();
    let misses: Vec<_> = (0..PACKETS as u64).map(|n| V4::key(1 << 42 | n)).collect();
    let mut time = |keys: &[Key<u64>]| {
        best(keys.len(), || {
            for &key in keys {
                if let Some(&flow) = map.get(&with_hash(key)) {
                    flows[flow as usize][0] += 1;
                }
            }
        })
    };
    let (hit, miss) = (time(&hits), time(&misses));
    println!("peer {sessions:>9}  hit: {hit:5.1}  miss: {miss:5.1}");
}

fn main() {
    let asked: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let ladder = if asked.is_empty() {
        &LADDER[..]
    } else {
        &asked
    };
    println!("nanoseconds a packet; sweep: a deadline; end and open: a session");
    for &sessions in ladder {
        family::<V4>("IPv4", sessions);
        peer(sessions);
        family::<V6>("IPv6", sessions);
    }
}
