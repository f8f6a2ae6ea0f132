//! `sluicectl`

use std::io::{stderr, stdout};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let asked = sluice_ctl::Ctl::parse();
    ExitCode::from(sluice_ctl::run(&asked, &mut stdout(), &mut stderr()))
}
