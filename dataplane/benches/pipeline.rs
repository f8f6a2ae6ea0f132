//! Time per packet of the whole pipeline, without a device: SNAT of 64-byte UDP, in to out.
//!
//! `cargo bench -p sluice-dataplane --bench pipeline [sessions ...]`

#[path = "../tests/world/mod.rs"]
mod world;

use std::sync::Arc;
use std::time::Instant;

use sluice_dataplane::cookie::Cookies;
use sluice_dataplane::handoff::Rings;
use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::io::{DeviceId, Frame, Io, RX_BURST, RxBurst, RxMeta, TxBurst};
use sluice_dataplane::lb::loads::{Loads, Tally};
use sluice_dataplane::mailbox::mailbox;
use sluice_dataplane::nat::rules::{Filtering, Mapping, SnatPool, SnatRule, SourceNat};
use sluice_dataplane::networks::Networks;
use sluice_dataplane::published::{Layout, Published, Slot, WorkerCounter};
use sluice_dataplane::snapshot::ServiceId;
use sluice_dataplane::worker::{Limits, Parts, Worker};
use world::packet::udp;
use world::{INSIDE, Setup, ip};

const HEAD: usize = 128;
const FRAME: usize = 60;

/// A buffer that goes back to where it came from.
struct Buffer {
    bytes: Box<[u8; 512]>,
    start: usize,
    len: usize,
}

impl Frame for Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
    fn meta(&self) -> RxMeta {
        RxMeta::default()
    }
    fn grow_front(&mut self, n: usize) -> bool {
        self.start -= n;
        self.len += n;
        true
    }
    fn cut_front(&mut self, n: usize) {
        self.start += n;
        self.len -= n;
    }
    fn set_len(&mut self, len: usize) -> bool {
        self.len = len;
        true
    }
}

/// Gives the same frames again and again, in a fixed random order.
struct Source {
    templates: Vec<[u8; FRAME]>,
    at: usize,
    free: Vec<Buffer>,
    /// Frames to give.
    left: usize,
    answers: Vec<Vec<u8>>,
}

impl Io for Source {
    type Frame = Buffer;

    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Buffer>) {
        if device == DeviceId(1) {
            for answer in self.answers.drain(..) {
                let Some(mut buffer) = self.free.pop() else {
                    return;
                };
                (buffer.start, buffer.len) = (HEAD, answer.len());
                buffer.bytes_mut().copy_from_slice(&answer);
                burst.push(buffer);
            }
            return;
        }
        let templates = &self.templates;
        for _ in 0..RX_BURST.min(self.left) {
            let Some(mut buffer) = self.free.pop() else {
                return;
            };
            (buffer.start, buffer.len) = (HEAD, FRAME);
            buffer.bytes[HEAD..HEAD + FRAME].copy_from_slice(&templates[self.at]);
            self.at = if self.at + 1 == templates.len() {
                0
            } else {
                self.at + 1
            };
            self.left -= 1;
            burst.push(buffer);
        }
    }

    fn tx(&mut self, _device: DeviceId, burst: &mut TxBurst<Buffer>) {
        for buffer in burst.drain(..) {
            if buffer.bytes()[12..14] == [8, 6]
                && let world::packet::Neighbourly::Answer(_, answer) =
                    world::packet::neighbour_answer(buffer.bytes())
            {
                self.answers.push(answer);
            }
            self.free.push(buffer);
        }
    }

    fn can_tx(&self, _device: DeviceId) -> bool {
        true
    }

    fn alloc(&mut self) -> Option<Buffer> {
        let mut buffer = self.free.pop()?;
        (buffer.start, buffer.len) = (HEAD, 0);
        Some(buffer)
    }
}

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    for sessions in if sizes.is_empty() {
        vec![64_512, 1_032_192]
    } else {
        sizes
    } {
        run(sessions);
    }
}

fn run(sessions: usize) {
    let setup = Setup {
        routes: vec![
            ("0.0.0.0/0", world::OUTSIDE, Some("192.0.2.254")),
            ("172.16.0.0/12", INSIDE, Some("10.0.0.254")),
        ],
        snat_rules: vec![SnatRule {
            service: ServiceId(1),
            from: Some(0),
            to: Some(1),
            source: Networks::default(),
            destination: Networks::default(),
            proto: None,
            to_source: SourceNat::Pool(0),
            timeouts: 0,
            clamp_mss: None,
        }],
        snat_pools: vec![SnatPool {
            name: "wan".into(),
            addresses: vec![ip("192.0.2.10")],
            ports: (1024, 65535),
            mapping: Mapping::EndpointDependent,
            filtering: Filtering::EndpointDependent,
            parity: false,
        }],
        limits: Limits {
            sessions_v4: sessions,
            ..Limits::default()
        },
        ..Setup::default()
    };
    let mut templates = Vec::with_capacity(sessions);
    for flow in 0..sessions {
        let host = format!(
            "172.{}.{}.{}",
            16 + flow % 13,
            flow / 13 % 200,
            1 + flow / 2600 % 200
        );
        let far = format!("198.51.{}.{}", flow % 97, flow % 199);
        let sport = 1024 + (flow / 520_000) as u16;
        let mut frame = udp(&host, sport, &far, 53, &[0; 18]).to(INSIDE);
        frame[6..12].copy_from_slice(&world::host_mac(ip("10.0.0.254")).0);
        templates.push(<[u8; FRAME]>::try_from(&frame[..]).unwrap());
    }
    let mut random = 88172645463325252_u64;
    for i in (1..sessions).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        templates.swap(i, (random % (i as u64 + 1)) as usize);
    }
    let buffer = || Buffer {
        bytes: Box::new([0; 512]),
        start: HEAD,
        len: 0,
    };
    let source = Source {
        templates,
        at: 0,
        free: (0..512).map(|_| buffer()).collect(),
        left: 0,
        answers: vec![],
    };
    let (published, mut publishers) = Published::new(
        1,
        Layout {
            ports: 2,
            services: 4,
            servers: 4,
            peers: 0,
        },
    );
    let (_control, mailbox) = mailbox();
    let parts = Parts {
        limits: setup.limits,
        snapshot: Arc::new(setup.snapshot()),
        rings: Rings::mesh(1).remove(0),
        mailbox,
        host: sluice_dataplane::host::queues().1,
        publisher: publishers.remove(0),
        loads: Loads::new(&mut Heap, Tally::new(&mut Heap, 4).unwrap(), []).unwrap(),
        secret: [1, 2, 3, 4],
        cookies: Cookies::new([1, 2]),
        ha: None,
    };
    let mut worker = Worker::new(source, &mut Heap, parts, 0).unwrap();
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u32;
    // Resolve the next hops.
    worker.io().left = 1;
    while now() < 20 {
        worker.poll(now());
    }
    let opening = Instant::now();
    worker.io().at = 0;
    worker.io().left = sessions;
    while worker.io().left > 0 {
        worker.poll(now());
    }
    let opened = opening.elapsed();
    let mut best = f64::MAX;
    for _ in 0..8 {
        let count = 2_000_000;
        worker.io().left = count;
        let round = Instant::now();
        while worker.io().left > 0 {
            worker.poll(now());
        }
        best = best.min(round.elapsed().as_secs_f64() * 1e9 / count as f64);
    }
    worker.poll(now() + 2);
    let sum = |counter| published.sum(Slot::Worker(counter));
    println!(
        "{sessions} sessions: {best:.1} ns a packet, {:.0} ns a new session ({} of {} forwarded, {} open)",
        opened.as_secs_f64() * 1e9 / sessions as f64,
        sum(WorkerCounter::Forwarded),
        sum(WorkerCounter::Received),
        sum(WorkerCounter::SessionsV4),
    );
}
