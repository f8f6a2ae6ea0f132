//! Many sessions whose time ends at once: all of them end, none early, and no poll does it all.

use crate::world;

use sluice_dataplane::io::memory::VecFrame;
use sluice_dataplane::published::{Slot, WorkerCounter};
use sluice_dataplane::worker::Limits;
use world::packet::udp;
use world::{INSIDE, Setup};

const SESSIONS: usize = 20_000;

#[test]
fn sessions_that_end_together_are_ended_by_many_polls() {
    let setup = Setup {
        limits: Limits {
            sessions_v4: SESSIONS,
            ..Setup::default().limits
        },
        ..Setup::default()
    };
    let mut world = setup.start();
    for n in 0..SESSIONS as u16 {
        let frame = udp("10.0.0.7", 1024 + n, "198.51.100.9", 53, b"x").to(INSIDE);
        world.workers[0].io().rx[0].push_back(VecFrame::new(&frame, 2048));
        if n % 1024 == 0 {
            world.settle();
        }
    }
    world.settle();
    assert_eq!(world.count(WorkerCounter::SessionsV4), SESSIONS as u64);
    let ended = |world: &mut world::World| {
        world
            .published
            .sum(Slot::Worker(WorkerCounter::SessionsEnded))
    };
    // UDP that nobody answers lives for two minutes.
    let lifetime = setup.timeouts[0].udp_new;
    for _ in 0..SESSIONS / 1024 + 100 {
        world.now += 1;
        world.workers[0].poll(world.now);
    }
    world.now += lifetime - 2000;
    for _ in 0..1000 {
        world.now += 1;
        world.workers[0].poll(world.now);
    }
    assert_eq!(ended(&mut world), 0, "not before their time");
    world.now += 2000;
    let (mut before, mut polls) = (0, 0);
    while before < SESSIONS as u64 {
        // Several polls within one millisecond go on where the last one stopped.
        world.now += u32::from(polls % 4 == 0);
        world.workers[0].poll(world.now);
        let now = ended(&mut world);
        // Counters are published once a millisecond, so four polls may show at once.
        assert!(now - before <= 4 * 32, "{} in four polls", now - before);
        before = now;
        polls += 1;
        assert!(polls < 10 * SESSIONS, "they do not end");
    }
    assert!(
        polls <= SESSIONS / 8,
        "{polls} polls, of which most ended nothing"
    );
    assert_eq!(world.count(WorkerCounter::SessionsV4), 0);
}
