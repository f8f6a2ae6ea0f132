//! `make demo`: real traffic through Sluice on one machine, and a live table of it.
//!
//! ```text
//! demo [--seconds N]
//! ```
//!
//! Exit code 0: no request failed and every frame is accounted for. 1: not so. 2: wrong arguments.

mod screen;
mod traffic;
mod world;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::show;

use screen::{Screen, View};
use traffic::Traffic;
use world::World;

fn main() -> ExitCode {
    show::run("demo", 1, run)
}

/// The whole show; whether all went well.
fn run(seconds: Option<u64>, stop: &AtomicBool) -> bool {
    println!("demo: building namespaces and starting nginx, iperf3 and Sluice ...");
    let mut world = World::build();
    let mut traffic = Traffic::start(&world);
    let mut screen = Screen::new(std::io::stdout().is_terminal());
    let started = Instant::now();
    let until = seconds.map(|seconds| started + Duration::from_secs(seconds));
    let mut last = world.sluice.report();
    while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(status) = world.sluice.process().exited() {
            drop(screen);
            panic!("Sluice ended: {status}\n{}", world.sluice.log());
        }
        traffic.keep_up(&world);
        let now = world.sluice.report();
        screen.show(&View {
            elapsed: started.elapsed(),
            ends: seconds,
            before: &last,
            now: &now,
            traffic: &traffic,
        });
        last = now;
    }
    drop(screen);
    println!("demo: ending; waiting for what is under way ...");
    let outcome = traffic.finish();
    // Panics, and so ends with an error, if a frame or a packet buffer is missing.
    let stats = world.sluice.finish();
    outcome.print(&stats, started.elapsed());
    outcome.failures.is_empty()
}
