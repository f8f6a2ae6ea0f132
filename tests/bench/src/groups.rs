//! The groups of figures, one a file.

use sluice_dataplane::io::OutOfMemory;
use sluice_dpdk::{Eal, EalConfig, EalError, HashError};

use crate::figure::Figure;

mod commit;
mod forwarding;
mod ha;
mod health;
pub(crate) mod instructions;
mod latency;
mod memory;
mod pipeline;
mod poll;
mod sessions;
mod table;
mod workers;

/// Why a group has no figures.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! failed_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Failed {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })+
    };
}
failed_from!(
    OutOfMemory,
    EalError,
    HashError,
    std::io::Error,
    serde_json::Error
);

/// What every group is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Windows of each of A and B.
    pub(crate) rounds: usize,
}

/// A group: measured in a process of its own.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// What it is about, in a line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Effort) -> Result<Vec<Figure>, Failed>,
}

/// All groups, in the order in which they are measured.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "table",
        about: "the session table's burst lookup against rte_hash",
        run: table::run,
    },
    Group {
        name: "pipeline",
        about: "the whole NAT pipeline in process, against one lookup in rte_hash",
        run: pipeline::run,
    },
    Group {
        name: "memory",
        about: "bytes per session held",
        run: memory::run,
    },
    Group {
        name: "poll",
        about: "the longest gap between two polls, while sessions expire under load",
        run: poll::run,
    },
    Group {
        name: "workers",
        about: "two workers against one, and what is handed between them",
        run: workers::run,
    },
    Group {
        name: "ha_rates",
        about: "what sharing sessions and correcting paths cost, two nodes by turns",
        run: ha::rates,
    },
    Group {
        name: "ha_losses",
        about: "a million connections of two nodes: replies to the other one, joining, and a kill",
        run: ha::losses,
    },
    Group {
        name: "instructions",
        about: "instructions per packet by stage, with callgrind",
        run: instructions::run,
    },
    Group {
        name: "nat44",
        about: "source NAT on memif, by number of sessions, against testpmd",
        run: forwarding::nat44,
    },
    Group {
        name: "nat44_16m",
        about: "the same with 16.5 million sessions",
        run: forwarding::nat44_16m,
    },
    Group {
        name: "lb",
        about: "load balancing on memif, against testpmd",
        run: forwarding::lb,
    },
    Group {
        name: "sessions",
        about: "sessions opened per second on memif, UDP and TCP",
        run: sessions::run,
    },
    Group {
        name: "latency",
        about: "latency on memif at half load, against testpmd",
        run: latency::run,
    },
    Group {
        name: "commit",
        about: "how soon all workers use a new configuration, under full load on memif",
        run: commit::run,
    },
    Group {
        name: "health",
        about: "2,000 real servers checked by the second, and how soon one that is down is left alone",
        run: health::run,
    },
];

/// Starts DPDK with huge pages and confines this thread to the first core.
fn eal() -> Result<Eal, Failed> {
    let first = core_affinity::get_core_ids()
        .into_iter()
        .flatten()
        .map(|core| core.id)
        .min()
        .unwrap_or(0);
    Ok(Eal::init(&EalConfig {
        control_cores: vec![first],
        ..EalConfig::default()
    })?)
}
