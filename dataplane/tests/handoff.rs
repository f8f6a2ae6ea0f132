//! What workers owe each other when there is much of it.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::Frame;
use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::published::WorkerCounter;
use sluice_wire::tcp::flag::{ACK, SYN};
use world::packet::tcp;
use world::{INSIDE, OUTSIDE, Setup, ip};

/// A reply that reaches its home worker when that worker's ring is full of other things still finds
/// its session: the worker reads on to the registration, however far back it is.
#[test]
fn a_reply_does_not_overtake_its_registration_in_a_long_ring() {
    const SESSIONS: u16 = 2000;
    let mut world = Setup {
        workers: 2,
        statics: vec![sluice_dataplane::nat::rules::StaticNat {
            service: sluice_dataplane::snapshot::ServiceId(1),
            external: ip("192.0.2.50"),
            internal: ip("10.0.0.51"),
            open_from: vec![],
        }],
        ..Setup::default()
    }
    .start();
    let server = "192.0.2.9";
    let syn = |port| tcp("10.0.0.51", port, server, 80, SYN, 1, 0).to(INSIDE);
    // Both workers get to know the server's MAC address.
    for port in 1000..1020 {
        world.through(INSIDE, &syn(port));
    }

    // Worker 0 opens sessions and worker 1, home to some of them and to the replies of others, is
    // busy elsewhere.
    for port in 2000..2000 + SESSIONS {
        world.workers[0].io().rx[0].push_back(VecFrame::new(&syn(port), 2048));
    }
    for _ in 0..SESSIONS {
        world.workers[0].poll(world.now);
    }
    let opened = std::mem::take(&mut world.workers[0].io().tx[1]);
    assert!(opened.len() > 100, "{}", world.drops());
    for frame in opened.iter().rev().take(50) {
        let port = u16::from_be_bytes([frame.bytes()[34], frame.bytes()[35]]);
        let reply = tcp(server, 80, "192.0.2.50", port, SYN | ACK, 9, 2).to(OUTSIDE);
        world.workers[1].io().rx[1].push_back(VecFrame::new(&reply, 2048));
    }
    world.settle();
    assert_eq!(world.drop_count(DropReason::OutOfState), 0);
    assert_eq!(world.sent[0].len(), 50, "{}", world.drops());
    assert!(world.count(WorkerCounter::HandedOver) > 0);
}
