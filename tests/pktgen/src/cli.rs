//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::profile::RawOrder;

const AFTER: &str = "\
Examples:
  sluice-pktgen run nat.toml                       what the profile says, with a table at the end
  sluice-pktgen run nat.toml --json out.json       the results for programs as well
  sluice-pktgen run nat.toml --flows 1000000 --rate 2e6 --windows 5 --window-ms 1000
  sluice-pktgen run nat.toml --step                one measurement for each line on standard input
  sluice-pktgen check nat.toml                     says what is wrong with a profile

Exit codes: 0 done, 1 failed while running (no ARP answer, warm-up incomplete), 2 usage, 3 bad
profile, 4 DPDK, memory or a device.

docs/pktgen.md explains profiles; tests/pktgen/profiles has some to start from.";

/// Arguments of `sluice-pktgen`.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-pktgen",
    about = "A packet generator on DPDK, for Sluice and other appliances",
    after_help = AFTER,
    version,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Generate traffic and measure
    Run(RunArgs),
    /// Check a profile without starting anything
    Check {
        /// The profile (TOML)
        profile: PathBuf,
    },
}

/// Arguments of `sluice-pktgen run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The profile (TOML)
    pub(crate) profile: PathBuf,
    /// Core of the generating thread (the profile's `core`; else the last one)
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// A port's device instead of the profile's, as NAME=DEVICE
    #[arg(long = "device", value_name = "NAME=DEVICE")]
    pub(crate) devices: Vec<String>,
    /// Packets per second of every stream, such as 2e6; 0 for flat out
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Flows of every stream
    #[arg(long)]
    pub(crate) flows: Option<u32>,
    /// Order of flows in every stream
    #[arg(long, value_enum)]
    pub(crate) order: Option<RawOrder>,
    /// Number of measured windows
    #[arg(long)]
    pub(crate) windows: Option<u32>,
    /// Length of a window in milliseconds
    #[arg(long)]
    pub(crate) window_ms: Option<u32>,
    /// Don't open every session once before measuring
    #[arg(long)]
    pub(crate) no_warm_up: bool,
    /// Warm up, then measure once for each line on standard input, with a line of JSON as answer;
    /// idle in between. For measuring two appliances in turns
    #[arg(long)]
    pub(crate) step: bool,
    /// Write results to this file as JSON, or to standard output if it is -
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Only errors on standard error, and no table
    #[arg(long)]
    pub(crate) quiet: bool,
    /// MiB of memory (the profile's `memory_mb`)
    #[arg(long)]
    pub(crate) memory_mb: Option<u32>,
    /// Ordinary memory instead of huge pages: slower, and needs no rights
    #[arg(long)]
    pub(crate) no_huge: bool,
    /// Prefix of DPDK's files, where several of its processes run
    #[arg(long)]
    pub(crate) file_prefix: Option<String>,
}
