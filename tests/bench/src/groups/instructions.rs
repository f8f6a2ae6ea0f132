//! `instructions.*`: instructions per packet by stage, counted by callgrind on the pipeline in
//! process. They repeat exactly, so a regression shows however the machine's speed changes.
//!
//! The pipeline is one inlined whole, so functions say little. Each instruction is put down to the
//! innermost source file of ours that it was inlined from, and each file to a stage. Those of the
//! first packet of a session, which opens it, are summed up alone: `instructions.first`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use addr2line::Loader;
use clap::ValueEnum;
use sluice_dataplane::io::memory::Heap;
use sluice_dataplane::published::WorkerCounter;

use super::{Effort, Failed};
use crate::appliance::{self, drain};
use crate::figure::Figure;

/// Sessions: few, as an instruction costs what it costs.
const SESSIONS: usize = 4096;
/// Packets counted.
const PACKETS: usize = 1 << 15;
/// What valgrind looks for: [`counted`].
const COUNTED: &str = "*instructions*counted*";

/// The packets that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Counted {
    /// Of sessions that are open.
    Known,
    /// Each opens a session.
    First,
}

/// Stages in the order of a packet's way, each with its files below the data plane.
const STAGES: [(&str, &[&str]); 6] = [
    (
        "parse",
        &[
            "wire/src/parse",
            "wire/src/ethernet",
            "wire/src/ipv4",
            "wire/src/bytes",
            "wire/src/udp",
            "wire/src/tcp",
            "wire/src/mac",
            "src/io.rs",
        ],
    ),
    (
        "lookup",
        &[
            "src/session/index",
            "src/session/table",
            "src/session/cpu",
            "src/session/refs",
            "wire/src/key",
            "src/worker/scratch",
        ],
    ),
    (
        "state",
        &[
            "src/session/flow",
            "src/session/state",
            "src/tcp",
            "src/timeouts",
            "src/worker/plain",
            "src/worker/hit",
            "src/worker/tally",
            "src/counters",
        ],
    ),
    ("rewrite", &["src/rewrite", "wire/src/checksum"]),
    (
        "transmit",
        &["src/worker/egress", "src/worker/forward", "src/path"],
    ),
    (
        "rounds",
        &[
            "src/worker",
            "src/published",
            "src/mailbox",
            "src/snapshot",
            "src/handoff",
        ],
    ),
];

pub(super) fn run(_: &Effort) -> Result<Vec<Figure>, Failed> {
    let program = std::env::current_exe()?;
    let mut figures = stages(&callgrind(&program, Counted::Known)?, &program)?;
    let first = stages(&callgrind(&program, Counted::First)?, &program)?;
    let total = first
        .into_iter()
        .find(|figure| figure.name == "instructions.total");
    figures.extend(total.map(|total| Figure {
        name: "instructions.first".into(),
        ..total
    }));
    Ok(figures)
}

/// Instructions at each address of this program, counted in a process of its own.
fn callgrind(program: &Path, what: Counted) -> Result<BTreeMap<u64, u64>, Failed> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("callgrind.out");
    let name = what.to_possible_value();
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--dump-instr=yes",
            "--dump-line=no",
            "--compress-pos=no",
        ])
        .args(["--compress-strings=no", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg("count")
        .args(name.as_ref().map(|name| name.get_name()))
        .output()
        .map_err(|why| Failed(format!("valgrind does not start: {why}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed(format!(
            "valgrind ended with {}: {text}",
            output.status
        )));
    }
    let costs = costs(&std::fs::read_to_string(out)?, program);
    if costs.is_empty() {
        return Err(Failed("callgrind counted nothing".into()));
    }
    Ok(costs)
}

/// Instructions executed at each address of this program, from callgrind's file: lines of an address
/// and a cost under `ob=`, the object. The line after `calls=` has the cost of what was called, which
/// is counted where it arose.
fn costs(text: &str, program: &Path) -> BTreeMap<u64, u64> {
    let (mut ours, mut called) = (false, false);
    let mut costs = BTreeMap::new();
    for line in text.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            ours = Path::new(object) == program;
        } else if line.starts_with("calls=") {
            called = true;
        } else if let Some(rest) = line.strip_prefix("0x") {
            let inclusive = std::mem::take(&mut called);
            let mut words = rest.split_whitespace();
            let address = words
                .next()
                .and_then(|word| u64::from_str_radix(word, 16).ok());
            let cost = words.next_back().and_then(|word| word.parse::<u64>().ok());
            if let (true, false, Some(address), Some(cost)) = (ours, inclusive, address, cost) {
                *costs.entry(address).or_default() += cost;
            }
        }
    }
    costs
}

fn stages(costs: &BTreeMap<u64, u64>, program: &Path) -> Result<Vec<Figure>, Failed> {
    let loader = Loader::new(program).map_err(|why| Failed(why.to_string()))?;
    let mut sums = [0_u64; STAGES.len()];
    let (mut elsewhere, mut source) = (0, 0);
    for (&address, &cost) in costs {
        match place(&loader, address) {
            Place::Stage(stage) => sums[stage] += cost,
            Place::Source => source += cost,
            Place::Elsewhere => elsewhere += cost,
        }
    }
    let each = |sum: u64| sum as f64 / PACKETS as f64;
    let total = sums.iter().sum::<u64>() + elsewhere;
    let figures = STAGES.iter().zip(sums);
    let mut figures: Vec<_> = figures
        .map(|((name, _), sum)| Figure::told(format!("instructions.{name}"), each(sum)))
        .collect();
    figures.push(Figure::told("instructions.elsewhere", each(elsewhere)));
    figures.push(Figure::told("instructions.total", each(total)));
    figures.push(Figure::told("instructions.source", each(source)));
    Ok(figures)
}

/// Where an instruction belongs.
enum Place {
    Stage(usize),
    /// The bench's own devices.
    Source,
    /// Nobody's: the compiler's own, or a library's that nobody of ours called.
    Elsewhere,
}

fn place(loader: &Loader, address: u64) -> Place {
    let Ok(mut frames) = loader.find_frames(address) else {
        return Place::Elsewhere;
    };
    // The innermost first.
    while let Ok(Some(frame)) = frames.next() {
        let Some(file) = frame.location.and_then(|location| location.file) else {
            continue;
        };
        if file.contains("tests/bench/src") {
            return Place::Source;
        }
        let Some((_, file)) = file.rsplit_once("dataplane/") else {
            continue;
        };
        let of = |files: &[&str]| files.iter().any(|name| file.starts_with(name));
        if let Some(stage) = STAGES.iter().position(|(_, files)| of(files)) {
            return Place::Stage(stage);
        }
    }
    Place::Elsewhere
}

/// What valgrind runs: opens the sessions, then sends what is counted.
pub(crate) fn count(what: Counted) -> Result<(), Failed> {
    let sessions = match what {
        Counted::Known => SESSIONS,
        Counted::First => SESSIONS + PACKETS,
    };
    let mut appliance = appliance::nat44(sessions, &mut Heap, "")?;
    let worker = &mut appliance.workers[0];
    worker.io().offer(0, SESSIONS);
    drain(worker, || 30);
    worker.io().offer(0, PACKETS);
    counted(worker);
    worker.poll(40);
    let opened = appliance.sum(WorkerCounter::SessionsOpened) as usize;
    let forwarded = appliance.sum(WorkerCounter::Forwarded) as usize;
    let expected = 1 + SESSIONS + PACKETS;
    if (opened, forwarded) == (sessions, expected) {
        Ok(())
    } else {
        Err(Failed(format!(
            "{forwarded} of {expected} packets were forwarded, {opened} of {sessions} sessions opened"
        )))
    }
}

/// Within one millisecond, so without timers.
#[inline(never)]
fn counted(worker: &mut sluice_dataplane::worker::Worker<crate::packets::Source>) {
    while worker.io().left() > 0 {
        worker.poll(30);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_costs_of_this_program_count() {
        let text = "ob=/bin/x\nfn=a\n0x10 3\n0x14 2\ncalls=1 0x40\n0x18 500\n0x18 1\n\
                    ob=/lib/y\nfn=b\n0x10 7\nob=/bin/x\n0x10 4\n";
        let costs = costs(text, Path::new("/bin/x"));
        assert_eq!(
            costs.into_iter().collect::<Vec<_>>(),
            [(0x10, 7), (0x14, 2), (0x18, 1)]
        );
    }
}
