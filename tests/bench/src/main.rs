//! `sluice-bench`: how fast Sluice is, in figures that can be compared.
//!
//! What stands in the report, how each figure comes about, and what it was on which machine:
//! docs/performance.md. Each group of figures is measured in a process of its own, because DPDK can
//! be started once in a process and gives no memory back.

mod appliance;
mod cli;
mod figure;
mod groups;
mod packets;
mod pair;
mod profile;
mod report;
mod rig;
mod rounds;
mod scenario;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sluice-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
