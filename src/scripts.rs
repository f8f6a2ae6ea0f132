//! The process that runs scripts for the health checks, at both of its ends.

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sluice_control::config::System;
use sluice_control::health::{ScriptRunner, run_scripts};
use sluice_dpdk::Cores;

use crate::cli::ScriptArgs;
use crate::confine;
use crate::run::Failure;

/// Starts it, if the configuration has a directory of scripts, on the cores that workers leave.
pub(crate) fn start(system: &System) -> Result<Option<ScriptRunner>, Failure> {
    let Some(directory) = &system.script_directory else {
        return Ok(None);
    };
    let workers: Vec<usize> = system.workers.iter().copied().map(usize::from).collect();
    let mut cores = CpuSet::new();
    for core in Cores::plan(&workers, None)?.control {
        // A core beyond what the set has room for is none that it could run on.
        let _ = cores.set(core);
    }
    let program = std::env::current_exe().map_err(Failure::Scripts)?;
    let arguments = [
        "run-scripts".as_ref(),
        directory.as_os_str(),
        system.script_user.as_ref(),
    ];
    let runner = ScriptRunner::start(&program, &arguments).map_err(Failure::Scripts)?;
    sched_setaffinity(Pid::from_raw(runner.id() as i32), &cores)
        .map_err(|why| Failure::Scripts(why.into()))?;
    Ok(Some(runner))
}

/// Is it: what comes over standard input is run, until that is closed.
pub(crate) fn serve(arguments: ScriptArgs) -> ExitCode {
    confine::scripts();
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => socket.into(),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    match run_scripts(socket, arguments.directory, arguments.user) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("scripts cannot be run: {why}; `sluice run` starts this by itself");
            ExitCode::FAILURE
        }
    }
}
