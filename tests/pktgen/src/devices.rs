//! The generator on DPDK's ports.

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use sluice_dataplane::io::DeviceId;
use sluice_dpdk::{
    Clock, Cores, Device, DeviceSpec, Eal, EalConfig, Pages, Pool, PoolConfig, PortConfig,
    WorkerIo, thread,
};

use crate::cli::RunArgs;
use crate::engine::Engine;
use crate::live::{Live, Table};
use crate::profile::{self, Profile, ProfileError};
use crate::report::{Report, WarmUpReport};
use crate::run::{Run, RunError};
use crate::tcp::TcpEngine;
use crate::tcp::run::{TcpReport, TcpRun};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A profile that is not there.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Its path.
        path: String,
        /// The kernel's word.
        error: std::io::Error,
    },
    /// A profile with an error in it.
    #[error("{path}: {error}")]
    Profile {
        /// Its path.
        path: String,
        /// What is wrong.
        error: ProfileError,
    },
    /// Arguments that make no sense.
    #[error("{0}")]
    Usage(String),
    /// DPDK does not start, or a device.
    #[error("{0}")]
    Dpdk(Box<dyn Error + Send + Sync>),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Results cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Where to.
        path: String,
        /// The kernel's word.
        error: std::io::Error,
    },
}

fn dpdk(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Dpdk(Box::new(error))
}

fn read(path: &Path) -> Result<Profile, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Read {
        path: shown.clone(),
        error,
    })?;
    Profile::parse(&text).map_err(|error| Failure::Profile { path: shown, error })
}

/// Checks a profile.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let profile = read(path)?;
    let in_profile = |error| Failure::Profile {
        path: path.display().to_string(),
        error,
    };
    if let Some(tcp) = profile.tcp().map_err(in_profile)? {
        println!(
            "tcp: {} combinations of addresses and ports",
            tcp.space.flows()
        );
    }
    let specs = profile.streams().map_err(in_profile)?;
    let macs = vec![sluice_wire::MacAddr::ZERO; profile.ports.len()];
    profile.stations(&macs).map_err(in_profile)?;
    for spec in specs {
        println!("{}: {} flows", spec.name, spec.space.flows());
    }
    Ok(())
}

/// Puts the command line's wishes into the profile.
fn adapt(profile: &mut Profile, arguments: &RunArgs) -> Result<(), Failure> {
    for device in &arguments.devices {
        let named = device.split_once('=').and_then(|(name, device)| {
            let port = profile.ports.iter_mut().find(|port| port.name == name)?;
            Some((port, device))
        });
        let Some((port, device)) = named else {
            return Err(Failure::Usage(format!(
                "--device {device}: the profile has no such port; give NAME=DEVICE"
            )));
        };
        port.device = device.to_owned();
    }
    for stream in &mut profile.streams {
        if let Some(rate) = arguments.rate {
            stream.rate = (rate > 0.0).then_some(rate);
        }
        stream.flows = arguments.flows.or(stream.flows);
        stream.order = arguments.order.unwrap_or(stream.order);
    }
    if let Some(tcp) = &mut profile.tcp {
        if let Some(rate) = arguments.rate {
            tcp.rate = (rate > 0.0).then_some(rate);
        }
        tcp.flows = arguments.flows.or(tcp.flows);
    }
    let measure = &mut profile.measure;
    measure.windows = arguments.windows.unwrap_or(measure.windows);
    measure.window_ms = arguments.window_ms.unwrap_or(measure.window_ms);
    profile.memory_mb = arguments.memory_mb.unwrap_or(profile.memory_mb);
    if arguments.no_warm_up {
        profile.warm_up = None;
    }
    Ok(())
}

/// Runs a profile, and writes its results.
pub(crate) fn run(arguments: &RunArgs) -> Result<(), Failure> {
    let mut profile = read(&arguments.profile)?;
    adapt(&mut profile, arguments)?;
    let in_profile = |error| Failure::Profile {
        path: arguments.profile.display().to_string(),
        error,
    };
    let tcp = profile.tcp().map_err(in_profile)?;
    let specs = profile.streams().map_err(in_profile)?;
    let devices = profile
        .ports
        .iter()
        .map(|port| port.device.parse::<DeviceSpec>().map_err(dpdk))
        .collect::<Result<Vec<_>, _>>()?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(dpdk)?;
    }
    let last = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let core = arguments.core.or(profile.core).unwrap_or(last);
    let cores = Cores::plan(&[core], None).map_err(dpdk)?;
    let eal = Eal::init(&EalConfig {
        control_cores: cores.control,
        pages: if arguments.no_huge {
            Pages::Ordinary
        } else {
            Pages::Huge
        },
        memory_mib: Some(profile.memory_mb),
        pci: devices
            .iter()
            .filter(|device| device.is_pci())
            .map(ToString::to_string)
            .collect(),
        file_prefix: arguments.file_prefix.clone(),
        ..EalConfig::default()
    })
    .map_err(dpdk)?;
    let mtu = profile::mtu(&specs);
    let pool = Pool::create(eal, &PoolConfig::for_mtu(profile.buffers, mtu)).map_err(dpdk)?;
    let mut io = WorkerIo::new(pool);
    let mut ports = Vec::new();
    for (id, device) in (0..).map(DeviceId).zip(&devices) {
        let config = PortConfig {
            rx_descriptors: profile.descriptors,
            tx_descriptors: profile.descriptors,
            mtu,
            promiscuous: true,
            ip_checksum: false,
            vlan_strip: false,
            ..PortConfig::default()
        };
        let device = Device::probe(eal, device).map_err(dpdk)?;
        let started = device.start(&config, &pool).map_err(dpdk)?;
        io.add_rx(id, started.rx);
        for queue in started.tx {
            io.set_tx(id, queue);
        }
        ports.push(started.port);
    }
    let macs: Vec<_> = ports.iter().map(|port| port.mac()).collect();
    let stations = profile.stations(&macs).map_err(in_profile)?;

    let clock = Clock::start(eal);
    let live = Arc::new(match &tcp {
        Some(_) => {
            let columns = ["opened", "completed", "failed", "under way"];
            Live::new(clock.hz(), columns, vec!["connections".into()])
        }
        None => {
            let columns = ["sent", "received", "returned", "not back"];
            let names = specs.iter().map(|spec| spec.name.clone()).collect();
            Live::new(clock.hz(), columns, names)
        }
    });
    let generator = {
        let (stop, live) = (Arc::clone(&stop), Arc::clone(&live));
        let steps = arguments.step.then(steps);
        let profile = profile.clone();
        let body = move || -> Result<Option<Results>, RunError> {
            let clock_now = || clock.ticks();
            let Some(tcp) = tcp else {
                let run = Run {
                    engine: Engine::new(io, clock.hz(), stations, specs),
                    clock: clock_now,
                    stop: &stop,
                    live: &live,
                };
                return generate(run, &profile, steps);
            };
            let mut run = TcpRun {
                engine: TcpEngine::new(io, clock.hz(), stations, tcp),
                clock: clock_now,
                stop: &stop,
                live: &live,
            };
            run.find()?;
            by_steps(
                steps,
                &stop,
                &mut run,
                &serde_json::json!({ "ready": true }),
                |run, idle| {
                    if idle {
                        run.rest();
                        return None;
                    }
                    Some(Results::Tcp(run.measure(&profile.measure)))
                },
            )
        };
        thread::spawn(eal, core, "pktgen", body).map_err(dpdk)?
    };
    let mut table = Table::new(&live, arguments.quiet || arguments.step);
    let interval = Duration::from_millis(if table.is_some() { 500 } else { 10 });
    while !generator.is_finished() {
        std::thread::sleep(interval);
        if let Some(table) = &mut table {
            table.show(&live, interval.as_secs_f64());
        }
    }
    let report = generator.join().map_err(dpdk)??;
    if let Some(report) = report {
        publish(&report, arguments)?;
    }
    Ok(())
}

/// What a run may come to.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Results {
    Streams(Report),
    Tcp(TcpReport),
}

/// What the generating thread does for streams.
fn generate<C: Fn() -> u64>(
    mut run: Run<'_, WorkerIo, C>,
    profile: &Profile,
    steps: Option<Receiver<()>>,
) -> Result<Option<Results>, RunError> {
    run.find()?;
    let warm_up: Option<WarmUpReport> = match &profile.warm_up {
        Some(warm_up) => Some(run.warm_up(warm_up)?),
        None => None,
    };
    let ready = serde_json::json!({ "ready": true, "warm_up": warm_up });
    let stop = run.stop;
    by_steps(steps, stop, &mut run, &ready, |run, idle| {
        if idle {
            run.rest();
            return None;
        }
        let report = match &profile.search {
            Some(search) => run.search(search, &profile.measure),
            None => run.measure(&profile.measure),
        };
        Some(Results::Streams(Report {
            warm_up: warm_up.clone(),
            ..report
        }))
    })
}

/// Measures once, or each time that a line comes. `turn` is told whether it is to idle.
fn by_steps<R>(
    steps: Option<Receiver<()>>,
    stop: &AtomicBool,
    run: &mut R,
    ready: &serde_json::Value,
    turn: impl Fn(&mut R, bool) -> Option<Results>,
) -> Result<Option<Results>, RunError> {
    let Some(steps) = steps else {
        return Ok(turn(run, false));
    };
    say(ready);
    loop {
        match steps.try_recv() {
            Ok(()) => say(&turn(run, false)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) if stop.load(Ordering::Relaxed) => return Ok(None),
            Err(TryRecvError::Empty) => {
                // Still there for ARP, without taking the core from who shares it.
                turn(run, true);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A message for each line on standard input.
fn steps() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A line of JSON on standard output.
fn say(value: &impl serde::Serialize) {
    // All keys are strings, so this does not fail.
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

fn publish(report: &Results, arguments: &RunArgs) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).unwrap_or_default();
    match &arguments.json {
        Some(path) if path == Path::new("-") => {
            println!("{json}");
            return Ok(());
        }
        Some(path) => std::fs::write(path, json + "\n").map_err(|error| Failure::Write {
            path: path.display().to_string(),
            error,
        })?,
        None => {}
    }
    if !arguments.quiet {
        let text = match report {
            Results::Streams(report) => report.text(),
            Results::Tcp(report) => report.text(),
        };
        print!("{text}");
    }
    Ok(())
}
