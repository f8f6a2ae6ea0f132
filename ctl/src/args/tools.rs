//! Arguments of what finds out what happens, and why.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with captures that were begun before.
#[derive(Debug, Subcommand)]
pub(crate) enum Captures {
    /// Begin one that is kept, and say its number
    Start(CaptureSpec),
    /// Show all captures
    List,
    /// Show one
    Show {
        /// Its number
        id: u64,
    },
    /// Write what one has so far, as pcapng
    Read {
        /// Its number
        id: u64,
        /// Where to write; - is standard output
        #[arg(long, short, value_name = "FILE")]
        write: PathBuf,
    },
    /// End one, and keep what it has
    Stop {
        /// Its number
        id: u64,
    },
    /// End one, and forget it
    Delete {
        /// Its number
        id: u64,
    },
}

/// Arguments of `sluicectl capture`.
#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// Where to write (pcapng); - is standard output: -w - | tshark -r -
    #[arg(long, short, value_name = "FILE")]
    pub(crate) write: PathBuf,
    #[command(flatten)]
    pub(crate) what: CaptureSpec,
}

/// What is captured.
#[derive(Debug, Args)]
pub(crate) struct CaptureSpec {
    /// A filter, as for tcpdump: udp port 53
    pub(crate) filter: Vec<String>,
    /// Only frames of this port; may be given more than once
    #[arg(long = "port", short = 'i')]
    pub(crate) ports: Vec<String>,
    /// Frames of the link to the other appliance too; its device is a port for -i as well
    #[arg(long)]
    pub(crate) ha: bool,
    /// Bytes of each frame to keep
    #[arg(long, short)]
    pub(crate) snaplen: Option<u32>,
    /// End after so many seconds
    #[arg(long)]
    pub(crate) seconds: Option<u32>,
    /// End when the file has so many bytes
    #[arg(long)]
    pub(crate) max_bytes: Option<u64>,
    /// Frames a second that each worker captures at most
    #[arg(long)]
    pub(crate) rate: Option<u32>,
}

/// Arguments of `sluicectl trace`.
#[derive(Debug, Default, Args)]
pub(crate) struct Trace {
    /// The port that the packet comes in by
    #[arg(long, short = 'i')]
    pub(crate) port: String,
    /// The whole Ethernet frame in hexadecimal, in place of the fields below
    #[arg(long, conflicts_with_all = ["source", "destination", "protocol", "flags"])]
    pub(crate) frame: Option<String>,
    /// Source address
    #[arg(long, required_unless_present = "frame")]
    pub(crate) source: Option<String>,
    /// Destination address
    #[arg(long, required_unless_present = "frame")]
    pub(crate) destination: Option<String>,
    /// tcp, udp, icmp, ... or a number; tcp by default
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// Source port
    #[arg(long)]
    pub(crate) source_port: Option<u16>,
    /// Destination port
    #[arg(long)]
    pub(crate) destination_port: Option<u16>,
    /// Flags of TCP, of FSRPAUEC; S by default
    #[arg(long)]
    pub(crate) flags: Option<String>,
    /// TTL or hop limit
    #[arg(long)]
    pub(crate) ttl: Option<u8>,
    /// Bytes of payload
    #[arg(long)]
    pub(crate) payload: Option<u16>,
    /// The VLAN tag that it comes with, if not the port's
    #[arg(long)]
    pub(crate) vlan: Option<u16>,
}

/// Arguments of `sluicectl connectivity`.
#[derive(Debug, Args)]
pub(crate) struct Connectivity {
    /// A virtual server; without one, all of them and all pools
    pub(crate) name: Option<String>,
    /// The real servers of this pool
    #[arg(long, conflicts_with = "name")]
    pub(crate) pool: Option<String>,
    /// Clients of this zone, which are to get through; without it, one of each zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// A client's address, which is to get through
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// How long a ping or a connection may take, in milliseconds; 1000 by default
    #[arg(long, short = 'W')]
    pub(crate) wait_ms: Option<u32>,
}

/// Arguments of `sluicectl ping`.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// An address, IPv4 or IPv6
    pub(crate) destination: String,
    /// Echo requests; 5 by default
    #[arg(long, short)]
    pub(crate) count: Option<u32>,
    /// From one to the next, in milliseconds
    #[arg(long, short)]
    pub(crate) interval_ms: Option<u32>,
    /// How long an answer may take, in milliseconds
    #[arg(long, short = 'W')]
    pub(crate) wait_ms: Option<u32>,
}

/// Arguments of `sluicectl traceroute`.
#[derive(Debug, Args)]
pub(crate) struct Traceroute {
    /// An address, IPv4 or IPv6
    pub(crate) destination: String,
    /// Hops at most; 30 by default
    #[arg(long, short)]
    pub(crate) max_hops: Option<u32>,
    /// Echo requests for each hop; 3 by default
    #[arg(long, short = 'q')]
    pub(crate) probes: Option<u32>,
    /// How long an answer may take, in milliseconds
    #[arg(long, short = 'W')]
    pub(crate) wait_ms: Option<u32>,
}
