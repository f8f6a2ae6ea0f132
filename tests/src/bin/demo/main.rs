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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use screen::{Screen, View};
use traffic::Traffic;
use world::World;

fn main() -> ExitCode {
    let seconds = match seconds(std::env::args().skip(1)) {
        Ok(seconds) => seconds,
        Err(why) => {
            eprintln!("demo: {why}\nusage: demo [--seconds N]");
            return ExitCode::from(2);
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if let Err(why) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            eprintln!("demo: cannot catch signal {signal}: {why}");
            return ExitCode::FAILURE;
        }
    }
    if run(seconds, &stop) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn seconds(mut args: impl Iterator<Item = String>) -> Result<Option<u64>, String> {
    let Some(option) = args.next() else {
        return Ok(None);
    };
    let value = match option.strip_prefix("--seconds") {
        Some("") => args.next().unwrap_or_default(),
        Some(value) => value.trim_start_matches('=').to_owned(),
        None => return Err(format!("unknown argument {option}")),
    };
    match value.parse() {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        _ => Err(format!("{value:?} is not a number of seconds")),
    }
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
