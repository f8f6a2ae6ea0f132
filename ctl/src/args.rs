//! What can be typed.

mod access;
mod audit;
mod sessions;
mod tools;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use access::{Access, Certificate, TokenCommand, UserCommand};
pub(crate) use audit::Audit;
pub(crate) use sessions::{SessionFilter, Sessions};
pub(crate) use tools::{Capture, CaptureSpec, Captures, Connectivity, Ping, Trace, Traceroute};

const AFTER: &str = "\
Examples:
  sluicectl show status
  sluicectl show sessions --server web/web1 --state established
  sluicectl drain web/web1 --comment 'new disk'
  sluicectl set pool/web/server/web1 weight=3
  sluicectl set route/0.0.0.0/0 via=203.0.113.253 --confirm 60
  sluicectl sessions top --by server
  sluicectl watch logs --level warn
  sluicectl log-level debug --seconds 600
  sluicectl capture -w - host 192.0.2.7 | tshark -r -
  sluicectl ping 10.0.0.11
  sluicectl connectivity web
  sluicectl trace -i outside --source 198.51.100.9 --destination 203.0.113.80 --destination-port 80
  sluicectl top

Exit codes: 0 done, or nothing to do; 1 it failed there; 2 usage; 3 what was asked for is wrong;
4 there is no such thing; 5 it conflicts with another change; 6 not allowed; 7 no connection.";

/// Ask and tell a running Sluice, on this machine or another
#[derive(Debug, Parser)]
#[command(name = "sluicectl", version, after_help = AFTER, disable_help_subcommand = true)]
pub struct Ctl {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print what the API answers, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which appliance, and who asks.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where the API is
    #[arg(
        long,
        global = true,
        env = "SLUICE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,
    /// A file with an API token; SLUICE_TOKEN may hold the token itself
    #[arg(long, global = true, env = "SLUICE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificates (PEM) to trust, instead of those of the public authorities
    #[arg(long, global = true, env = "SLUICE_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate and its key (PEM, in one file) to show, where it stands for a user
    #[arg(long, global = true, env = "SLUICE_IDENTITY", value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what there is
    #[command(subcommand)]
    Show(Show),
    /// List, count, stream or end sessions, or show who has most
    #[command(subcommand)]
    Sessions(Sessions),
    /// Give everything to the other appliance, or take part again
    Handover {
        /// `maintenance` or `active`
        #[arg(value_enum)]
        duty: Duty,
    },
    /// Print what happens, as it happens
    #[command(subcommand)]
    Watch(Watch),
    /// Log more, or less: log-level info,sluice_control::health=debug --seconds 600
    LogLevel {
        /// error, warn, info, debug, trace or off, or MODULE=LEVEL, with commas between
        directives: String,
        /// After so many seconds it is again what it was at the start
        #[arg(long)]
        seconds: Option<u32>,
    },
    /// Capture packets, to a file or a pipe
    Capture(Capture),
    /// Captures that are kept by the appliance: begin, list, read, stop or delete them
    #[command(subcommand)]
    Captures(Captures),
    /// Say what would become of a packet, and why
    Trace(Box<Trace>),
    /// Ask a host for an echo, from the appliance's own address
    Ping(Ping),
    /// Find the routers on the way to a host, from the appliance's own address
    Traceroute(Traceroute),
    /// Test whether clients get to real servers, step by step
    Connectivity(Connectivity),
    /// Write a file (tar.gz) for those who are to help; secrets are left out
    SupportBundle {
        /// Where to write; - is standard output
        #[arg(long, short, value_name = "FILE")]
        write: PathBuf,
    },
    /// A live screen: rates, sessions, servers, drops
    Top(Top),
    /// Print the completion of commands for a shell
    Completion {
        /// For which
        shell: Shell,
    },
    /// Write man pages, one for each command
    Man {
        /// Where to
        directory: PathBuf,
    },
    #[command(flatten)]
    Change(Change),
    #[command(flatten)]
    Access(Access),
}

/// What to watch.
#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// Commits, links, next hops, the other appliance
    Events,
    /// Log lines
    Logs {
        /// error, warn, info, debug or trace: this and all that is worse
        #[arg(long)]
        level: Option<String>,
    },
}

/// Whether a node is to take part.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Duty {
    /// Give groups and sessions to the other appliance.
    Maintenance,
    /// Take part again.
    Active,
}

/// What to show.
#[expect(clippy::large_enum_variant, reason = "one of them exists, once")]
#[derive(Debug, Subcommand)]
pub(crate) enum Show {
    /// What runs, and how it is
    Status,
    /// Workers: load, bursts, time for a frame, sessions
    Workers,
    /// Ports: links, addresses, what they and their devices count
    Ports,
    /// Devices, by their own counters
    Devices,
    /// Everything that a device counts, by its driver's names
    Device {
        /// The device, or a port on it
        name: String,
    },
    /// Virtual servers, forwards, static translations, SNAT and firewall rules
    Services,
    /// Real servers
    Servers,
    /// Health of real servers, check by check
    Health {
        /// Those of this pool
        #[arg(long)]
        pool: Option<String>,
        /// up, down or unknown: those of which checks say so
        #[arg(long)]
        health: Option<String>,
    },
    /// SNAT pools: ports and sessions by address, what was refused
    Pools,
    /// Dropped frames by reason, and what each reason means
    Drops {
        /// Those that never happened too
        #[arg(long)]
        all: bool,
    },
    /// Sessions, by filter
    Sessions {
        #[command(flatten)]
        filter: SessionFilter,
        /// How many to show at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Packets, bytes, worker and owner as well
        #[arg(long)]
        wide: bool,
    },
    /// The other appliance, and what would be lost if this one died
    Ha,
    /// All counters, as JSON
    Stats,
    /// All counters, as Prometheus reads them
    Metrics,
    /// What happened, oldest first
    Events {
        /// Only those after this one, by its number
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
        /// How many to show at most
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// The latest log lines
    Logs {
        /// error, warn, info, debug or trace: this and all that is worse
        #[arg(long)]
        level: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Syslog servers, and whether lines reach them
    Syslog,
    /// How much is logged
    LogLevel,
    /// Who I am to the appliance
    Whoami,
    /// Users, or one of them
    Users {
        /// Only this one
        name: Option<String>,
    },
    /// API tokens
    Tokens,
    /// The API's certificate
    Certificate,
    /// Which certificates of clients stand for users
    ClientCertificates,
    /// Who did what
    Audit {
        #[command(flatten)]
        records: Audit,
    },
    /// The description of the API (OpenAPI)
    Openapi,
    /// What ARP and neighbour discovery found
    Neighbours {
        /// Behind this port
        #[arg(long)]
        port: Option<String>,
        /// With this address, or in this network
        #[arg(long)]
        address: Option<String>,
        /// reachable, stale, resolving, failed or static
        #[arg(long)]
        state: Option<String>,
    },
    /// Connected networks and static routes
    Routes {
        /// By this port
        #[arg(long)]
        port: Option<String>,
        /// To networks that hold this address or network, or are parts of it
        #[arg(long)]
        to: Option<String>,
        /// By this router, or one of this network
        #[arg(long)]
        via: Option<String>,
    },
    /// Who takes new sessions of virtual servers: priority groups, backup pool, sorry server, redirect
    Tiers {
        /// Of this virtual server
        virtual_server: Option<String>,
    },
    /// The configuration in use, or a part of it, as pool/web or route/0.0.0.0/0
    Config {
        /// A part, as it is named below /api/v1/config
        part: Option<String>,
        /// Of your candidate
        #[arg(long)]
        candidate: bool,
        /// Of the history
        #[arg(long, conflicts_with_all = ["part", "candidate"])]
        revision: Option<u64>,
        /// What waits for the next start
        #[arg(long, conflicts_with_all = ["part", "candidate", "revision"])]
        next: bool,
        /// Print its ETag alone, for --if-match of a change
        #[arg(long, conflicts_with = "revision")]
        etag: bool,
    },
    /// The history of the configuration
    Revisions,
    /// What going to another configuration would change
    Diff {
        /// A revision; without one, your candidate
        revision: Option<u64>,
        /// What waits for the next start
        #[arg(long, conflicts_with = "revision")]
        next: bool,
    },
}

/// Arguments of `sluicectl top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Seconds between two looks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) interval: u64,
}

/// How a change is made.
#[derive(Debug, Default, Args)]
pub(crate) struct How {
    /// Why; kept in the history
    #[arg(long, short)]
    pub(crate) comment: Option<String>,
    /// Check everything and say what would be, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Undo it after so many seconds, unless `sluicectl confirm` comes before
    #[arg(long, value_name = "SECONDS")]
    pub(crate) confirm: Option<u32>,
    /// Change your candidate instead of what is in use
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) candidate: bool,
    /// Use it from the next start on: for what a running Sluice cannot follow
    #[arg(long, conflicts_with_all = ["confirm", "candidate"])]
    pub(crate) at_restart: bool,
    /// Only if it still is what `show config PART --etag` named so
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
    /// Only if it is not there yet
    #[arg(long, conflicts_with = "if_match")]
    pub(crate) if_absent: bool,
}

/// Changes of the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Change {
    /// Let a real server keep its sessions, and give it no new ones
    Drain {
        /// POOL/NAME
        server: String,
        #[command(flatten)]
        how: How,
    },
    /// Take a real server out at once, sessions included
    Disable {
        /// POOL/NAME
        server: String,
        #[command(flatten)]
        how: How,
    },
    /// Let a real server take new sessions again
    Enable {
        /// POOL/NAME
        server: String,
        #[command(flatten)]
        how: How,
    },
    /// Change values of a part: set pool/web/server/web1 weight=3 state=null
    Set {
        /// The part, as it is named below /api/v1/config
        part: String,
        /// KEY=VALUE; the value is JSON if it can be, else text; null takes the key out
        #[arg(required = true)]
        values: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Make a part, or replace it: put pool/web/server/web3 address=10.0.0.13
    Put {
        /// The part, as it is named below /api/v1/config
        part: String,
        /// KEY=VALUE, as for set
        values: Vec<String>,
        /// Of an item of a list: first, last, before:NAME or after:NAME
        #[arg(long)]
        position: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Take a part out
    Delete {
        /// The part, as it is named below /api/v1/config
        part: String,
        #[command(flatten)]
        how: How,
    },
    /// Use this file as the whole configuration
    Apply {
        /// TOML; - reads standard input
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Change values of the whole configuration by a JSON merge patch (RFC 7396)
    Merge {
        /// JSON; - reads standard input
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Begin a candidate: a copy of what is in use, to work on
    Begin {
        /// Begin with this file (TOML) instead
        file: Option<PathBuf>,
    },
    /// Forget the candidate
    Discard {
        /// Forget what waits for the next start instead
        #[arg(long)]
        next: bool,
    },
    /// Use the candidate
    Commit {
        /// Why; kept in the history
        #[arg(long, short)]
        comment: Option<String>,
        /// Check everything and say what would be, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Undo it after so many seconds, unless `sluicectl confirm` comes before
        #[arg(long, value_name = "SECONDS")]
        confirm: Option<u32>,
        /// Use it from the next start on: for what a running Sluice cannot follow
        #[arg(long, conflicts_with = "confirm")]
        at_restart: bool,
    },
    /// Keep what is on trial
    Confirm,
    /// Go back from what is on trial
    Revert,
    /// Go back to a revision of the history
    Rollback {
        /// Its number
        revision: u64,
        #[command(flatten)]
        how: How,
    },
}
