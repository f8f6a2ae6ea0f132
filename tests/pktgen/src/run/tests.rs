//! Whole runs through an appliance in memory that forwards so many packets a second, and no more.

use std::cell::Cell;

use sluice_dataplane::io::memory::{MemoryIo, VecFrame};
use sluice_dataplane::io::{DeviceId, RxBurst, TxBurst};
use sluice_wire::MacAddr;

use super::*;
use crate::profile::Profile;

const HZ: u64 = 1_000_000_000;

/// Time that goes on by two microseconds with each look at it.
struct Clock(Cell<u64>);

impl Clock {
    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 2_000);
        self.0.get()
    }
}

/// From port 0 to port 1, at a rate. It drops the first packets too, as if it had to find its next
/// hop.
struct Appliance<'a> {
    memory: MemoryIo,
    clock: &'a Clock,
    rate: f64,
    forwarded: u64,
    since: u64,
    to_drop: u64,
}

impl Io for Appliance<'_> {
    type Frame = VecFrame;

    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<VecFrame>) {
        self.memory.rx(device, burst);
    }

    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<VecFrame>) {
        assert_eq!(device, DeviceId(0));
        let now = self.clock.0.get();
        for frame in burst.drain(..) {
            let allowed = (now - self.since) as f64 * self.rate / HZ as f64;
            // A queue of 200 packets, which a pause empties.
            self.forwarded = self.forwarded.max((allowed as u64).saturating_sub(200));
            if self.to_drop > 0 {
                self.to_drop -= 1;
            } else if (self.forwarded as f64) < allowed {
                self.forwarded += 1;
                self.memory.rx[1].push_back(frame);
            }
        }
    }

    fn can_tx(&self, device: DeviceId) -> bool {
        self.memory.can_tx(device)
    }

    fn alloc(&mut self) -> Option<VecFrame> {
        self.memory.alloc()
    }
}

fn with_run<T>(
    rate: f64,
    to_drop: u64,
    profile: &str,
    body: impl FnOnce(&mut Run<'_, Appliance<'_>, &dyn Fn() -> u64>, &Profile) -> T,
) -> T {
    let text = format!(
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\ngateway_mac = \"02:00:00:00:00:01\"\n\
         [[port]]\nname = \"b\"\ndevice = \"net_null1\"\n\
         [[stream]]\nfrom = \"a\"\nto = \"b\"\nsource = [\"10.0.0.2-10.0.0.17\"]\n\
         destination = [\"198.51.100.10\"]\nflows = 5000\n{profile}"
    );
    let profile = Profile::parse(&text).unwrap();
    let clock = Clock(Cell::new(0));
    let appliance = Appliance {
        memory: MemoryIo::new(2),
        clock: &clock,
        rate,
        forwarded: 0,
        since: 0,
        to_drop,
    };
    let macs = [MacAddr([2, 0, 0, 0, 0, 2]); 2];
    let stations = profile.stations(&macs).unwrap();
    let now = || clock.now();
    let mut run = Run {
        engine: Engine::new(appliance, HZ, stations, profile.streams().unwrap()),
        clock: &now as &dyn Fn() -> u64,
        stop: &AtomicBool::new(false),
        live: &Live::new(HZ, [""; 4], Vec::new()),
    };
    body(&mut run, &profile)
}

#[test]
fn the_search_finds_what_an_appliance_can_do() {
    let keys = "check = \"stamp\"\n[search]\nto = 3e6\ntrial_ms = 20\n[measure]\nsettle_ms = 0\n";
    with_run(1_234_000.0, 0, keys, |run, profile| {
        let report = run.search(&profile.search.unwrap(), &profile.measure);
        let search = report.search.unwrap();
        let found = search.rate.unwrap();
        assert!((1_180_000.0..=1_260_000.0).contains(&found), "{search:?}");
        assert!(!search.trials[0].passed && search.trials[0].rate == 3e6);
        assert_eq!(report.total.lost, 0);
    });
    // Some loss allowed: more than the appliance can do.
    with_run(
        1_000_000.0,
        0,
        &(keys.replace("to", "loss = 0.2\nto")),
        |run, profile| {
            let report = run.search(&profile.search.unwrap(), &profile.measure);
            let found = report.search.unwrap().rate.unwrap();
            assert!((1_200_000.0..=1_300_000.0).contains(&found), "{found}");
        },
    );
}

#[test]
fn an_appliance_that_forwards_nothing_has_no_throughput() {
    let keys = "[search]\nfrom = 1e5\nto = 1e6\ntrial_ms = 5\n";
    with_run(0.0, 0, keys, |run, profile| {
        let report = run.search(&profile.search.unwrap(), &profile.measure);
        let search = report.search.unwrap();
        assert_eq!(search.rate, None);
        assert!(search.trials.iter().all(|trial| trial.loss == 1.0));
    });
}

#[test]
fn the_warm_up_goes_on_until_every_flow_came_back() {
    // 500 are lost: the scouts take that on themselves.
    with_run(2e6, 500, "[warm_up]\nrate = 1e6\n", |run, profile| {
        let report = run.warm_up(&profile.warm_up.unwrap()).unwrap();
        assert_eq!((report.flows, report.passes, report.missing), (5000, 1, 0));
        assert!(
            report.ms >= 4.9,
            "5,000 packets at a million a second: {report:?}"
        );
    });
    with_run(
        1e5,
        0,
        "[warm_up]\nrate = 1e6\npasses = 2\n",
        |run, profile| {
            let error = run.warm_up(&profile.warm_up.unwrap()).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("of 5000 packets did not come back in 2 passes"),
                "{text}"
            );
        },
    );
}

#[test]
fn windows_add_up_to_the_total() {
    let keys =
        "rate = 1e6\ncheck = \"stamp\"\n[measure]\nwindows = 4\nwindow_ms = 5\nsettle_ms = 1\n";
    with_run(8e5, 0, keys, |run, profile| {
        let report = run.measure(&profile.measure);
        assert_eq!(report.windows.len(), 4);
        let sent: u64 = report.windows.iter().map(|window| window.sent).sum();
        assert_eq!(sent, report.total.sent);
        assert!((19_800..=20_100).contains(&sent), "{sent} in 20 ms");
        let stream = &report.streams[0];
        assert_eq!(
            stream.lost,
            stream.sent - stream.forward.as_ref().unwrap().unique
        );
        assert!(
            report.total.loss > 0.15 && report.total.loss < 0.21,
            "{}",
            report.total.loss
        );
        let best = report.best.unwrap().received_pps;
        assert!(
            report
                .windows
                .iter()
                .all(|window| window.received_pps <= best)
        );
    });
}
