//! The command line: `sluicectl`. It speaks the REST API and nothing else, so whatever it can do, any
//! program can do as well, from this machine or another.
//!
//! `--json` prints what the API answered. Exit codes are in `Failure::code` and in the help.

mod access;
mod args;
mod change;
mod client;
mod connectivity;
mod ha;
mod papers;
mod ping;
mod sessions;
mod show;
mod table;
mod tools;
mod top;
mod watch;

use std::io::Write;

pub use args::Ctl;
use clap::CommandFactory;

use args::Command;
use client::{Client, Failure};

/// Does what was asked for and says so on `out`; what went wrong goes to `err`. Gives the exit code.
pub fn run(asked: &Ctl, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match obey(asked, out) {
        Ok(()) => 0,
        // Somebody has read enough: `sluicectl show sessions | head`.
        Err(Failure::Output(why)) if why.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            failure.code()
        }
    }
}

fn obey(asked: &Ctl, out: &mut dyn Write) -> Result<(), Failure> {
    match &asked.command {
        Command::Completion { shell } => {
            papers::completion(&mut Ctl::command(), *shell, out);
            return Ok(());
        }
        Command::Man { directory } => {
            return Ok(papers::man_pages(Ctl::command(), directory)?);
        }
        _ => {}
    }
    let client = Client::new(&asked.target)?;
    match &asked.command {
        Command::Show(what) => show::show(&client, what, asked.json, out),
        Command::Handover { duty } => ha::hand_over(&client, *duty, asked.json, out),
        Command::Sessions(what) => sessions::sessions(&client, what, asked.json, out),
        Command::Watch(what) => watch::watch(&client, what, asked.json, out),
        Command::LogLevel {
            directives,
            seconds,
        } => tools::log_level(&client, directives, *seconds, asked.json, out),
        Command::Capture(what) => tools::capture(&client, what, out),
        Command::Captures(what) => tools::captures(&client, what, asked.json, out),
        Command::SupportBundle { write } => tools::support_bundle(&client, write, out),
        Command::Trace(what) => tools::trace(&client, what, asked.json, out),
        Command::Ping(what) => ping::ping(&client, what, asked.json, out),
        Command::Traceroute(what) => ping::traceroute(&client, what, asked.json, out),
        Command::Connectivity(what) => connectivity::test(&client, what, asked.json, out),
        Command::Top(how) => top::run(&client, how),
        Command::Completion { .. } | Command::Man { .. } => Ok(()),
        Command::Change(change) => change::change(&client, change, asked.json, out),
        Command::Access(what) => access::access(&client, what, asked.json, out),
    }
}
