//! `sluice-pktgen`: a packet generator on DPDK.
//!
//! One thread generates and receives ([`engine`]); [`run`] takes it through finding the appliance,
//! warm-up and measurement. All of that is written against [`sluice_dataplane::io`], so that it is
//! tested on wires in memory that lose and damage packets; [`devices`] puts it on DPDK's ports.

mod check;
mod cli;
mod devices;
mod engine;
mod flows;
mod live;
mod pace;
mod permutation;
mod profile;
mod report;
mod run;
mod stamp;
mod station;
mod stream;
mod tcp;
mod template;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::devices::Failure;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => devices::run(&arguments),
        Command::Check { profile } => devices::check(&profile),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sluice-pktgen: {failure}");
            ExitCode::from(match failure {
                Failure::Run(_) | Failure::Write { .. } => 1,
                Failure::Usage(_) => 2,
                Failure::Read { .. } | Failure::Profile { .. } => 3,
                Failure::Dpdk(_) => 4,
            })
        }
    }
}
