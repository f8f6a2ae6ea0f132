//! `sluice run` and `sluice check`: everything is started in order, and stopped the other way round.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use sluice_control::api;
use sluice_control::compile::{CompileError, layout};
use sluice_control::config::{self, Config, Copies};
use sluice_control::controller::{Controller, unconfirmed};
use sluice_control::host::HostError;
use sluice_control::logs::Logs;
use sluice_control::security::{Security, SecurityError};
use sluice_control::service::Service;
use sluice_control::startup::{Startup, StartupError};
use sluice_dataplane::handoff::Rings;
use sluice_dataplane::io::OutOfMemory;
use sluice_dataplane::lb::loads::{Loads, Tally};
use sluice_dataplane::published::Layout;
use sluice_dataplane::worker::{Limits, Parts};
use sluice_dpdk::{
    Clock, CoreError, Cores, DeviceError, Eal, EalConfig, EalError, HugeMemory, Mbuf, Pages, Pool,
    PoolConfig, PoolError, SpecError,
};
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{CheckArgs, LogFormat, RunArgs};
use crate::devices::{self, Devices, OpenError, Running};
use crate::signals::{Request, Requests};
use crate::workers::{Crew, CrewError, Idle, Plan};
use crate::{confine, ha, random, scripts, tools};

/// How long log lines that wait for a syslog server may hold up the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// DPDK's argument for running without huge pages: slow, and enough for a try on a small machine.
const NO_HUGE: &str = "--no-huge";
/// DPDK's argument for a process that others may attach to.
const PRIMARY: &str = "--proc-type=primary";

/// Why the appliance does not run. Each has an exit code of its own kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Startup(#[from] StartupError),
    #[error("the configuration cannot be used: {0}")]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Cores(#[from] CoreError),
    #[error(transparent)]
    Eal(#[from] EalError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error("the API cannot listen on {address}: {reason}; choose another address in [api] listen")]
    Listen {
        address: SocketAddr,
        reason: std::io::Error,
    },
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the control thread does not start: {0}")]
    Control(std::io::Error),
    #[error("the process that runs scripts of health checks does not start: {0}")]
    Scripts(std::io::Error),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Startup(StartupError::State { .. }) | Self::Security(_) => 1,
            Self::Startup(_) | Self::Compile(_) => 3,
            Self::Cores(_) | Self::Pool(_) | Self::Memory(_) => 4,
            Self::Crew(CrewError::Memory(_)) => 4,
            Self::Eal(EalError::Rights(_)) => 6,
            Self::Open(
                OpenError::Rights { .. } | OpenError::Device(DeviceError::Rights { .. }),
            ) => 6,
            Self::Eal(_) => 4,
            Self::Spec(_) | Self::Open(_) => 5,
            Self::Host(_) => 6,
            Self::Listen { .. } | Self::Control(_) => 1,
            Self::Crew(_) | Self::Scripts(_) | Self::Signals(_) | Self::Random(_) => 1,
        }
    }
}

/// `sluice check`
pub(crate) fn check(arguments: &CheckArgs) -> ExitCode {
    match Config::load(&arguments.config) {
        Ok(config) => {
            let (ports, services) = (config.ports.len(), config.virtual_servers.len());
            println!(
                "{}: good ({ports} ports, {services} virtual servers)",
                arguments.config.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}

/// `sluice run`
pub(crate) fn run(arguments: &RunArgs) -> ExitCode {
    let logs = Logs::default();
    log(arguments, &logs);
    let ended = appliance(arguments, &logs);
    if let Err(failure) = &ended {
        error!("{failure}");
    }
    logs.finish(LAST_WORDS);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.code()),
    }
}

/// Lines go to standard error, to those who ask the API, and to syslog servers.
fn log(arguments: &RunArgs, logs: &Logs) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = tracing_subscriber::registry()
        .with(logs.filter(&arguments.log))
        .with(logs.layer());
    match arguments.log_format {
        LogFormat::Text => log.with(lines.with_target(false)).init(),
        LogFormat::Json => log.with(lines.json()).init(),
    }
}

/// The data plane, running.
struct DataPlane {
    crew: Crew,
    pool: Pool,
}

impl DataPlane {
    /// Starts DPDK, the devices and the workers. Gives the controller of all this beside it.
    fn start(config: Config) -> Result<(Self, Controller), Failure> {
        let system = config.system.clone();
        let harden = system.harden;
        let cores: Vec<usize> = system.workers.iter().copied().map(usize::from).collect();
        let cores = Cores::plan(&cores, None)?;
        let pci = devices::pci(&config)?;
        let asked = |wanted| system.eal_args.iter().any(|argument| argument == wanted);
        let pages = match (asked(NO_HUGE), asked(PRIMARY)) {
            (true, _) => Pages::Ordinary,
            (false, true) => Pages::Shared,
            (false, false) => Pages::Huge,
        };
        let eal = Eal::init(&EalConfig {
            control_cores: cores.control,
            pages,
            memory_mib: Some(system.memory_mb),
            pci,
            file_prefix: Some(system.file_prefix.to_string()),
            telemetry: true,
            extra: system
                .eal_args
                .iter()
                .filter(|&argument| argument != NO_HUGE && argument != PRIMARY)
                .cloned()
                .collect(),
            ..EalConfig::default()
        })?;
        info!(
            "{} started, {} workers",
            sluice_dpdk::version(),
            cores.workers.len()
        );
        let mtu = config
            .devices()
            .iter()
            .map(|device| device.mtu)
            .max()
            .unwrap_or(1500);
        let pool = Pool::create(eal, &PoolConfig::for_mtu(system.packet_buffers, mtu))?;
        let Devices { ports, facts, ios } = Devices::open(eal, &config, &pool)?;
        for (port, facts) in ports.iter().zip(&facts) {
            let link = if port.link().up { "up" } else { "down" };
            let rss = if facts.rss_hardware {
                "hardware"
            } else {
                "software"
            };
            info!(
                "device {}: {}, link {link}, RSS in {rss}",
                port.info().name,
                facts.mac
            );
        }
        let layout = layout(&config);
        let limits = limits(&config, layout);
        let idle = match system.idle {
            config::Idle::Spin => Idle::Spin,
            config::Idle::Backoff => Idle::BackOff,
        };
        let clock = Clock::start(eal);
        let running = Running {
            ports,
            pool,
            tsc_hz: clock.hz(),
        };
        let ha = ha::parts(&config, &facts).map_err(Failure::Random)?;
        let cookies = ha::cookies(&config);
        let (controller, sides) =
            Controller::new(config, facts, Box::new(running), crate::cli::version())?;
        tools::serve(eal, pages, controller.published());
        let secret = random::words().map_err(Failure::Random)?;
        let cookies = cookies.map_err(Failure::Random)?;
        let near = |core| HugeMemory::near_core(eal, core);
        let tallies = cores
            .workers
            .iter()
            .map(|&core| Tally::new(&mut near(core), layout.servers));
        let tallies = tallies.collect::<Result<Vec<_>, _>>()?;
        let boards: Vec<_> = tallies.iter().map(Tally::board).collect();
        let controller = controller.with_boards(boards.clone());
        let rings = Rings::<Mbuf>::mesh(cores.workers.len() as u16);
        let each = rings
            .into_iter()
            .zip(sides)
            .zip(tallies)
            .zip(ios)
            .zip(&cores.workers);
        let mut plans = Vec::new();
        for (me, ((((rings, side), tally), io), &core)) in each.enumerate() {
            let others = boards.iter().enumerate().filter(|&(at, _)| at != me);
            let others: Vec<_> = others.map(|(_, board)| *board).collect();
            let parts = Parts {
                limits,
                snapshot: side.snapshot,
                rings,
                mailbox: side.mailbox,
                host: side.host,
                publisher: side.publisher,
                loads: Loads::new(&mut near(core), tally, others)?,
                secret,
                cookies,
                ha: ha.clone(),
            };
            plans.push(Plan {
                core,
                idle,
                io,
                parts,
            });
        }
        if harden {
            confine::started();
        }
        let crew = Crew::start(eal, clock, harden, plans)?;
        Ok((Self { crew, pool }, controller))
    }

    /// Stops the workers. The controller, which holds the devices, is to be gone before: a device
    /// gives back the packet buffers in its queues when it is closed.
    fn stop(mut self) -> Result<(), Failure> {
        self.crew.stop()?;
        match self.pool.in_use() {
            0 => info!("packet buffers missing: 0"),
            missing => warn!("packet buffers missing: {missing}"),
        }
        Ok(())
    }
}

/// How long the other appliance has to take over before this one stops.
const HANDOVER: std::time::Duration = std::time::Duration::from_secs(5);

/// An appliance's life, from its start to the signal that ends it.
fn appliance(arguments: &RunArgs, logs: &Logs) -> Result<(), Failure> {
    let Startup {
        config,
        before,
        given_up,
        store,
        directory,
        origin,
    } = Startup::open(
        &arguments.config,
        arguments.state_dir.as_deref(),
        arguments.take_file,
    )?;
    info!("configuration: {origin}");
    // With all rights, and as long as there is one thread.
    let runner = scripts::start(&config.system)?;
    if config.system.harden {
        confine::process();
    }
    let listen = config.api.listen;
    let mut requests = Requests::listen().map_err(Failure::Signals)?;
    let listener = api::bind(listen).map_err(|reason| Failure::Listen {
        address: listen,
        reason,
    })?;
    // The system chooses one for port 0.
    let listen = listener.local_addr().unwrap_or(listen);
    let security = Security::open(&config.api, directory.as_ref(), config.system.name.as_str())?;
    if let Some(revision) = &given_up {
        security.audit.done(unconfirmed(revision, 200));
    }
    let scheme = if config.api.tls { "https" } else { "http" };
    let (plane, controller) = DataPlane::start(config)?;
    let mut controller = controller.with_scripts(runner);
    if let Err(error) = controller.allow_host() {
        drop(controller);
        plane.stop()?;
        return Err(error.into());
    }
    let controller = controller.with_store(store, before).with_logs(logs.clone());
    let service = Service::start(controller, listener, security, &arguments.config);
    let service = match service {
        Ok(service) => service,
        Err(error) => {
            plane.stop()?;
            return Err(Failure::Control(error));
        }
    };
    info!("ready; API on {scheme}://{listen}/api/v1/");
    loop {
        match requests.next() {
            Request::Stop => break,
            Request::Reload => {
                // What is wrong is logged, and the configuration in use stays.
                if let Ok(replaced) = service.reload() {
                    info!("configuration reloaded, epoch {}", replaced.epoch);
                }
            }
        }
    }
    info!("stopping");
    service.hand_over(HANDOVER);
    service.stop();
    plane.stop()
}

/// Sizes of one worker's tables: an even share of what the configuration says for all.
fn limits(config: &Config, layout: Layout) -> Limits {
    let workers = config.system.workers.len();
    let share = |all: u32| (all as usize).div_ceil(workers);
    let defaults = Limits::default();
    // Of its sessions each node owns one half and is the backup of the other; all others' it knows by both
    // of their tuples.
    let others = match &config.ha {
        Some(ha) if ha.copies == Copies::Backup => ha.peers.len().saturating_sub(1),
        _ => 0,
    };
    let sessions = share(config.system.sessions) + share(config.system.sessions_v6);
    Limits {
        sessions_v4: share(config.system.sessions),
        sessions_v6: share(config.system.sessions_v6),
        registrations: 2 * share(config.system.sessions),
        pointers: others * sessions,
        balancer: sluice_dataplane::lb::Limits {
            services: layout.services,
            servers: layout.servers,
            ..defaults.balancer
        },
        ..defaults
    }
}
