//! Records a second through two lanes on one core: encoded, sealed, opened, decoded and handed over,
//! acknowledgements included. Run with `cargo bench -p sluice-ha`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use sluice_ha::hello::{Association, Event, Node, Zones};
use sluice_ha::lane::{Lane, LaneConfig, Take};
use sluice_ha::record::{Identity, Progress, Record, SessionRecord, Stamp};
use sluice_ha::seal::{KEY_LEN, Keyring, PreShared};
use sluice_wire::{Family, V4, key};

/// Records timed at once, and how often: the best counts, so that what else the machine does has
/// little part in it.
const RECORDS: u32 = 4096;
const RUNS: u32 = 200;
/// Records of a burst, after which what is there is sent.
const BURST: u32 = 64;

fn record(number: u32) -> Record {
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
    let identity = Identity::<V4> {
        addrs: V4::pack(address(number), address(0xc000_0201)),
        ports: key::pack_ports(number as u16, 443),
        proto: 6,
        zone: 1,
    };
    Record::Session4(SessionRecord {
        stamp: Stamp {
            version: number,
            owner: 0,
        },
        identity,
        new_addrs: identity.addrs,
        new_ports: identity.ports,
        reply_zone: 2,
        service: 3,
        server: 4,
        flags: 0,
        age: 0,
        progress: Progress::default(),
        shifts: [0; 2],
    })
}

fn lanes(keyring: &Keyring, mtu: u16) -> [Lane; 2] {
    let config = LaneConfig {
        mtu,
        ..LaneConfig::default()
    };
    let node = |id: u8| Node {
        id,
        boot: u64::from(id),
        workers: 1,
        capabilities: 0,
        window: config.reorder,
        mtu,
        config: 0,
        zones: Zones::default(),
    };
    let mut ends =
        [0, 1].map(|id| Association::new(node(id), 1 - id, keyring.clone(), [id + 7; KEY_LEN]));
    let mut lanes = [0, 1].map(|_| Lane::new(0, &config));
    let mut buffer = [0; 1500];
    for now in 0..100 {
        for from in [0, 1] {
            if let Some(len) = ends[from].poll_transmit(now, &mut buffer)
                && let Ok(Some(Event::Session(session))) =
                    ends[1 - from].handle(&buffer[..len], now)
            {
                lanes[1 - from].associate(&session);
            }
        }
    }
    lanes
}

fn run(what: &str, keyring: &Keyring, mtu: u16) {
    let [mut a, mut b] = lanes(keyring, mtu);
    let mut buffer = vec![0; 9000];
    let (mut received, mut now) = (0_u64, 0);
    let mut exchange = |a: &mut Lane, b: &mut Lane, now| {
        let mut sink = |record: &Record| {
            black_box(record);
            received += 1;
            Take::Taken
        };
        while let Some(len) = a.poll_transmit(now, &mut buffer) {
            let _ = b.handle(&mut buffer[..len], now, &mut sink);
        }
        while let Some(len) = b.poll_transmit(now, &mut buffer) {
            let _ = a.handle(&mut buffer[..len], now, &mut sink);
        }
    };
    while !(a.is_open() && b.is_open()) {
        now += 1;
        exchange(&mut a, &mut b, now);
    }
    let mut best = Duration::MAX;
    for run in 0..RUNS {
        let start = Instant::now();
        for number in 0..RECORDS {
            if a.push(&record(run * RECORDS + number)).is_err() {
                println!("{what}: the lane closed");
                return;
            }
            if number % BURST == BURST - 1 {
                now += 1;
                exchange(&mut a, &mut b, now);
            }
        }
        best = best.min(start.elapsed());
    }
    assert_eq!(received, u64::from(RUNS * RECORDS));
    let rate = f64::from(RECORDS) / best.as_secs_f64() / 1e6;
    println!("{what}: {rate:.2} M records/s sent and received");
}

fn main() {
    // `cargo test --all-targets` runs this, too, and shall not wait for it.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let sealed = Keyring::Sealed {
        current: PreShared {
            id: 1,
            secret: [1; KEY_LEN],
        },
        also: None,
    };
    run("sealed, MTU 1500", &sealed, 1500);
    run("sealed, MTU 9000", &sealed, 9000);
    run("plaintext, MTU 1500", &Keyring::Plaintext, 1500);
}
