//! What can be typed of sessions.

use clap::{Args, Subcommand};

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// Show those that match, page by page
    List {
        #[command(flatten)]
        filter: SessionFilter,
        /// How many to show at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Packets, bytes, worker and owner as well
        #[arg(long)]
        wide: bool,
    },
    /// Count those that match, by protocol, state and worker
    Count {
        #[command(flatten)]
        filter: SessionFilter,
    },
    /// Show who has most of those that match
    Top {
        #[command(flatten)]
        filter: SessionFilter,
        /// What they are grouped by
        #[arg(long, value_parser = ["source", "destination", "endpoint", "service", "server"], default_value = "source")]
        by: String,
        /// What counts
        #[arg(long, value_parser = ["bytes", "packets", "sessions"], default_value = "bytes")]
        order: String,
        /// How many groups to show at most
        #[arg(long, default_value_t = 10)]
        limit: usize,
    },
    /// Print all that match as JSON, one a line, as fast as they are taken
    Stream {
        #[command(flatten)]
        filter: SessionFilter,
    },
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
    /// Show how far the ending of many sessions is
    Ending {
        /// Its number, as the API gave it
        id: u64,
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
    /// A firewall rule that lets it through today
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// The worker that has it
    #[arg(long)]
    pub(crate) worker: Option<u16>,
    /// this node, or peer: copies of what the other appliance owns
    #[arg(long, value_parser = ["this", "peer"])]
    pub(crate) owner: Option<String>,
    /// Opened longer ago than this: 90s, 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<String>,
    /// Opened within this time
    #[arg(long, value_name = "TIME")]
    pub(crate) younger_than: Option<String>,
    /// Without a packet for this long
    #[arg(long, value_name = "TIME")]
    pub(crate) idle_for: Option<String>,
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
}

impl SessionFilter {
    /// The conditions, as the API wants them.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let words = [
            ("protocol", &self.protocol),
            ("state", &self.state),
            ("service", &self.service),
            ("server", &self.server),
            ("rule", &self.rule),
            ("owner", &self.owner),
            ("older_than", &self.older_than),
            ("younger_than", &self.younger_than),
            ("idle_for", &self.idle_for),
            ("address", &self.address),
            ("source", &self.source),
            ("destination", &self.destination),
            ("reply_source", &self.reply_source),
            ("reply_destination", &self.reply_destination),
        ];
        let ports = [
            ("worker", self.worker),
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
