//! Plain packets take a short way through a worker. Whatever happens, it must come to the same as
//! the long way, which frames with a priority tag (802.1Q, VLAN 0) take.

use crate::world;

use proptest::prelude::*;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::nat::rules::{Filtering, Mapping, SnatPool, SourceNat};
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::snapshot::{Local, PortId};
use sluice_dataplane::timeouts::{OnExpiry, Timeouts};
use world::packet::{Spec, tcp, udp};
use world::{INSIDE, OUTSIDE, Setup, World, ip};

/// Lifetimes short enough that pauses matter.
const BRIEF: Timeouts = Timeouts {
    tcp: [40, 40, 200, 100, 100, 40, 40, 20],
    udp_new: 30,
    udp_replied: 90,
    icmp: 30,
    other: 30,
    on_expiry: OnExpiry::Silent,
};

fn setup(epoch: u32) -> Setup {
    Setup {
        snat_rules: vec![world::snat(SourceNat::Pool(0))],
        snat_pools: vec![SnatPool {
            name: "wan".into(),
            addresses: vec![ip("192.0.2.10"), ip("2001:db8:b::10")],
            ports: (5000, 5999),
            mapping: Mapping::EndpointDependent,
            filtering: Filtering::EndpointDependent,
            parity: false,
        }],
        local: vec![
            (ip("192.0.2.10"), Local::Nat),
            (ip("2001:db8:b::10"), Local::Nat),
        ],
        timeouts: vec![BRIEF],
        epoch,
        ..Setup::default()
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A packet of a flow: from inside or back, with TCP flags, numbers and a TTL.
    Packet {
        flow: u16,
        v6: bool,
        tcp: bool,
        back: bool,
        flags: u8,
        seq: u32,
        ack: u32,
        ttl: u8,
    },
    /// Everything so far comes in one burst; what comes out is compared.
    Burst,
    Pause(u32),
    /// The same configuration with a new epoch.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec![0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00]);
    let numbers = prop::sample::select(vec![0_u32, 1, 2, 100, 70_000, 1 << 31]);
    let ttl = prop::sample::select(vec![64_u8, 64, 64, 2, 1]);
    let packet = (
        (0..3_u16, any::<bool>(), any::<bool>(), any::<bool>()),
        (flags, numbers.clone(), numbers, ttl),
    );
    prop_oneof![
        12 => packet.prop_map(|((flow, v6, tcp, back), (flags, seq, ack, ttl))| Step::Packet {
            flow, v6, tcp, back, flags, seq, ack, ttl,
        }),
        4 => Just(Step::Burst),
        2 => (1..120_u32).prop_map(Step::Pause),
        1 => Just(Step::Reload),
    ]
}

/// What makes frames without options packets of one flow.
fn flow(frame: &[u8]) -> Vec<u8> {
    match frame[12] {
        0x86 => [&frame[20..21], &frame[22..58]].concat(),
        _ => [&frame[23..24], &frame[26..38]].concat(),
    }
}

/// The same appliance twice: frames come plain to one, and with a priority tag to the other.
struct Twins {
    plain: World,
    tagged: World,
    epoch: u32,
    /// The port that a flow was translated to last.
    outside: [u16; 12],
    /// Flows that packets of this burst came from inside of.
    senders: Vec<usize>,
}

impl Twins {
    fn take(&mut self, step: Step) {
        match step {
            Step::Burst => self.settle(),
            Step::Pause(ms) => {
                self.settle();
                self.plain.pass_time(ms);
                self.tagged.pass_time(ms);
            }
            Step::Reload => {
                self.settle();
                self.epoch += 1;
                self.plain.swap(&setup(self.epoch));
                self.tagged.swap(&setup(self.epoch));
            }
            Step::Packet {
                flow,
                v6,
                tcp: is_tcp,
                back,
                flags,
                seq,
                ack,
                ttl,
            } => {
                let slot = usize::from(flow) * 4 + usize::from(v6) * 2 + usize::from(is_tcp);
                let (host, pool, far) = if v6 {
                    ("2001:db8:a::7", "2001:db8:b::10", "2001:db8:f::9")
                } else {
                    ("10.0.0.7", "192.0.2.10", "198.51.100.9")
                };
                let inner = 4000 + flow;
                let outer = self.outside[slot];
                let make = |src, sport, dst, dport| -> Spec {
                    if is_tcp {
                        tcp(src, sport, dst, dport, flags, seq, ack)
                    } else {
                        udp(src, sport, dst, dport, b"payload of some length")
                    }
                };
                let (port, packet) = if back {
                    (OUTSIDE, make(far, 53, pool, outer))
                } else {
                    (INSIDE, make(host, inner, far, 53))
                };
                let frame = packet.ttl(ttl).to(port);
                self.arrive(port, &frame);
                if !back {
                    self.senders.push(slot);
                }
            }
        }
    }

    fn arrive(&mut self, port: PortId, frame: &[u8]) {
        let mut tagged = frame[..12].to_vec();
        tagged.extend([0x81, 0, 0, 0]);
        tagged.extend(&frame[12..]);
        let at = usize::from(port.0);
        self.plain.workers[0].io().rx[at].push_back(VecFrame::new(frame, 2048));
        self.tagged.workers[0].io().rx[at].push_back(VecFrame::new(&tagged, 2048));
    }

    fn settle(&mut self) {
        self.plain.settle();
        self.tagged.settle();
        // Within a flow the order is that of arrival; flows may overtake one another.
        for world in [&mut self.plain, &mut self.tagged] {
            for sent in &mut world.sent {
                sent.make_contiguous().sort_by_key(|frame| flow(frame));
            }
        }
        assert_eq!(self.plain.sent, self.tagged.sent);
        // Who left by which port is known where only one flow sent.
        if let [slot] = self.senders[..]
            && let Some(out) = self.plain.sent[1].back()
        {
            let at = if out[12] == 0x86 { 54 } else { 34 };
            self.outside[slot] = u16::from_be_bytes([out[at], out[at + 1]]);
        }
        self.senders.clear();
        for world in [&mut self.plain, &mut self.tagged] {
            world.sent.iter_mut().for_each(|sent| sent.clear());
        }
    }

    fn compare(&mut self) {
        self.plain.accounts();
        self.tagged.accounts();
        assert_eq!(self.plain.drops(), self.tagged.drops());
        for counter in [
            WorkerCounter::Forwarded,
            WorkerCounter::SessionsV4,
            WorkerCounter::SessionsV6,
            WorkerCounter::SessionsEnded,
            WorkerCounter::TcpOutOfWindow,
        ] {
            assert_eq!(self.plain.count(counter), self.tagged.count(counter));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_short_way_comes_to_the_same_as_the_long_one(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut twins = Twins {
            plain: setup(1).start(),
            tagged: setup(1).start(),
            epoch: 1,
            outside: [5000; 12],
            senders: vec![],
        };
        for step in steps {
            twins.take(step);
        }
        twins.settle();
        twins.compare();
    }
}

/// A burst of one flow whose session an earlier frame of the same burst opens, resets, and opens
/// again: every frame meets the session as it is then.
#[test]
fn a_burst_sees_what_its_own_frames_have_done() {
    let mut world = setup(1).start();
    let segment =
        |flags, seq, ack| tcp("10.0.0.7", 4000, "198.51.100.9", 53, flags, seq, ack).to(INSIDE);
    world.arrive(INSIDE, &segment(0x02, 1, 0));
    let syn = world.left(OUTSIDE);
    let port = u16::from_be_bytes([syn[34], syn[35]]);
    let answer = tcp("198.51.100.9", 53, "192.0.2.10", port, 0x12, 9, 2).to(OUTSIDE);
    world.through(OUTSIDE, &answer);
    // ACK, RST, and one more ACK that no session is left for once the reset's grace is over.
    for frame in [segment(0x10, 2, 10), segment(0x14, 2, 10)] {
        world.workers[0].io().rx[0].push_back(VecFrame::new(&frame, 2048));
    }
    world.settle();
    assert_eq!(world.sent[1].len(), 2, "{}", world.drops());
    world.sent[1].clear();
    world.pass_time(1100);
    world.dropped(INSIDE, &segment(0x10, 2, 10), DropReason::OutOfState);
    assert_eq!(
        world.published.sum(Slot::Worker(WorkerCounter::SessionsV4)),
        0
    );
}

/// First packets wait for the rest of their burst: what follows them in it must find their session.
#[test]
fn segments_right_behind_their_syn_find_its_session() {
    let mut world = setup(1).start();
    let segment = |port, flags, seq, ack| {
        tcp("10.0.0.7", port, "198.51.100.9", 53, flags, seq, ack).to(INSIDE)
    };
    let frames = [
        segment(4000, 0x02, 1, 0),
        segment(4001, 0x02, 1, 0),
        segment(4000, 0x02, 1, 0),
        // Aborted before it was answered: for whoever has seen the SYN.
        segment(4001, 0x04, 2, 0),
        // Out of state, waiting or not.
        segment(4002, 0x10, 2, 10),
    ];
    for frame in &frames {
        world.workers[0].io().rx[0].push_back(VecFrame::new(frame, 2048));
    }
    world.settle();
    let ports = |frame: &Vec<u8>| u16::from_be_bytes([frame[34], frame[35]]);
    let sent: Vec<_> = world.sent[1]
        .iter()
        .map(|frame| (ports(frame), frame[47]))
        .collect();
    let [(a, 0x02), (b, 0x02), (c, 0x02), (d, 0x04)] = sent[..] else {
        panic!("{sent:?}, {}", world.drops());
    };
    assert!(a == c && b == d && a != b, "{sent:?}");
    assert_eq!(world.drop_count(DropReason::OutOfState), 1);
    assert_eq!(world.count(WorkerCounter::SessionsOpened), 2);
    world.sent[1].clear();
}
