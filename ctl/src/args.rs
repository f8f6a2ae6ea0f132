//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

const AFTER: &str = "\
Examples:
  sluicectl show status
  sluicectl show sessions --server web/web1 --state established
  sluicectl drain web/web1 --comment 'new disk'
  sluicectl set pool/web/server/web1 weight=3
  sluicectl set route/0.0.0.0/0 via=203.0.113.253 --confirm 60
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
    /// End sessions
    #[command(subcommand)]
    Sessions(Sessions),
    /// Give everything to the other appliance, or take part again
    Handover {
        /// `maintenance` or `active`
        #[arg(value_enum)]
        duty: Duty,
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
    /// The other appliance, groups of addresses, what would be lost if this one died
    Ha,
    /// Workers: load, frames, sessions
    Workers,
    /// Ports and their links
    Ports,
    /// Devices, by their own counters
    Devices,
    /// Virtual servers, forwards, static translations, SNAT and firewall rules
    Services,
    /// Real servers
    Servers,
    /// Health of real servers, check by check
    Health,
    /// SNAT pools
    Pools,
    /// Dropped frames by reason
    Drops,
    /// Sessions, by filter
    Sessions(SessionFilter),
    /// What ARP and neighbour discovery found
    Neighbours,
    /// Connected networks and static routes
    Routes,
    /// The configuration in use, or a part of it, as pool/web or route/0.0.0.0/0
    Config {
        /// A part, as it is named below /api/v1/config
        part: Option<String>,
        /// Of your candidate
        #[arg(long)]
        candidate: bool,
    },
    /// The history of the configuration
    Revisions,
    /// What going to another configuration would change
    Diff {
        /// A revision; without one, your candidate
        revision: Option<u64>,
    },
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// End those that match
    End {
        #[command(flatten)]
        filter: SessionFilter,
        /// Really all, without a condition
        #[arg(long)]
        all: bool,
        /// Tell both ends of TCP sessions by a reset
        #[arg(long)]
        reset: bool,
    },
}

/// Conditions on sessions; all must hold. Addresses may be networks.
#[derive(Debug, Default, Args)]
pub(crate) struct SessionFilter {
    /// tcp, udp, icmp, ... or a number
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// A TCP state (established), or new or replied for other protocols
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// A virtual server, or KIND/NAME of any service
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// A real server, POOL/NAME
    #[arg(long)]
    pub(crate) server: Option<String>,
    /// Any of the four addresses
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// Any of the four ports
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Source of the opener's packets
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Its port
    #[arg(long)]
    pub(crate) source_port: Option<u16>,
    /// Destination of the opener's packets
    #[arg(long)]
    pub(crate) destination: Option<String>,
    /// Its port
    #[arg(long)]
    pub(crate) destination_port: Option<u16>,
    /// Source of the packets that answer
    #[arg(long)]
    pub(crate) reply_source: Option<String>,
    /// Its port
    #[arg(long)]
    pub(crate) reply_source_port: Option<u16>,
    /// Destination of the packets that answer
    #[arg(long)]
    pub(crate) reply_destination: Option<String>,
    /// Its port
    #[arg(long)]
    pub(crate) reply_destination_port: Option<u16>,
    /// How many to show at most
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
}

impl SessionFilter {
    /// The conditions, as the API wants them.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let words = [
            ("protocol", &self.protocol),
            ("state", &self.state),
            ("service", &self.service),
            ("server", &self.server),
            ("address", &self.address),
            ("source", &self.source),
            ("destination", &self.destination),
            ("reply_source", &self.reply_source),
            ("reply_destination", &self.reply_destination),
        ];
        let ports = [
            ("port", self.port),
            ("source_port", self.source_port),
            ("destination_port", self.destination_port),
            ("reply_source_port", self.reply_source_port),
            ("reply_destination_port", self.reply_destination_port),
        ];
        let words = words
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)));
        let ports = ports
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?.to_string())));
        words.chain(ports).collect()
    }
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
    /// Begin a candidate: a copy of what is in use, to work on
    Begin,
    /// Forget the candidate
    Discard,
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
