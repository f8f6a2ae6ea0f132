//! Sluice, a Layer-4 session appliance: wiring only.

mod cli;
mod confine;
mod ctl;
mod devices;
mod ha;
mod random;
mod run;
mod scripts;
mod signals;
mod tools;
mod workers;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Run(arguments) => run::run(&arguments),
        cli::Command::Check(arguments) => run::check(&arguments),
        cli::Command::Ctl(arguments) => ctl::become_it(&arguments.arguments),
        cli::Command::RunScripts(arguments) => scripts::serve(arguments),
    }
}
