//! `[system]`: cores, memory and table sizes. Read once, at the start.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::names::Name;
use super::place::{Place, optional};
use super::raw::section;
use super::value::{number, word};

section! {
    /// `[system]`
    pub struct RawSystem {
        /// The node's name.
        name: String,
        /// Cores, one worker each.
        workers: Vec<i64>,
        /// `spin` or `backoff`.
        idle: String,
        /// IPv4 sessions, all workers together.
        sessions: i64,
        /// IPv6 sessions, all workers together.
        sessions_v6: i64,
        /// Huge page memory in MiB.
        memory_mb: i64,
        /// Packet buffers, all workers together.
        packet_buffers: i64,
        /// More arguments for DPDK's EAL.
        eal_args: Vec<String>,
        /// Keeps apart the DPDK processes of one host.
        file_prefix: String,
        /// Whether rights and system calls that are not needed are given up.
        harden: bool,
        /// Where programs for health checks are.
        script_directory: String,
        /// The user that they run as.
        script_user: String,
    }
}

/// Most workers.
pub const MAX_WORKERS: usize = 64;

/// What a worker does when its queues are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idle {
    /// Look again at once.
    #[default]
    Spin,
    /// Pause, then yield, then sleep briefly.
    Backoff,
}

impl std::fmt::Display for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Spin => "spin",
            Self::Backoff => "backoff",
        })
    }
}

/// Cores, memory and table sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The node's name.
    pub name: Name,
    /// Cores, one worker each; all different, at least one.
    pub workers: Vec<u16>,
    /// What a worker does when its queues are empty.
    pub idle: Idle,
    /// IPv4 sessions, all workers together.
    pub sessions: u32,
    /// IPv6 sessions, all workers together.
    pub sessions_v6: u32,
    /// Memory for DPDK in MiB.
    pub memory_mb: u32,
    /// Packet buffers, all workers together.
    pub packet_buffers: u32,
    /// More arguments for DPDK's EAL, as they are.
    pub eal_args: Vec<String>,
    /// DPDK's `--file-prefix`; the node's name unless given.
    pub file_prefix: Name,
    /// Whether rights and system calls that are not needed are given up.
    pub harden: bool,
    /// Where programs for health checks are; `None`: there are none.
    pub script_directory: Option<PathBuf>,
    /// The user that they run as.
    pub script_user: String,
}

impl RawSystem {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<System> {
        let name = Name::check(self.name.as_deref().unwrap_or("sluice"), &place.key("name"));
        let workers = self.workers(place);
        let idle = optional(self.idle.as_deref(), |text| {
            let words = [("spin", Idle::Spin), ("backoff", Idle::Backoff)];
            word(text, &words, &place.key("idle"))
        });
        let limit = |key, value: Option<i64>, default, limits| {
            number::<u32>(value.unwrap_or(default), limits, &place.key(key))
        };
        let sessions = limit("sessions", self.sessions, 1_000_000, 1024..=256 << 20);
        let sessions_v6 = limit("sessions_v6", self.sessions_v6, 100_000, 1024..=256 << 20);
        let memory_mb = limit("memory_mb", self.memory_mb, 1024, 64..=1 << 20);
        let packet_buffers = limit(
            "packet_buffers",
            self.packet_buffers,
            32_768,
            4096..=16 << 20,
        );
        let eal_args = self.eal_args(place);
        let file_prefix = optional(self.file_prefix.as_deref(), |text| {
            Name::check(text, &place.key("file_prefix"))
        });
        let script_directory = optional(self.script_directory.as_deref(), |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() && !text.contains('\0') {
                return Some(path);
            }
            place.key("script_directory").wrong(
                format_args!("{text:?} is not a path from the root"),
                "write one like \"/etc/sluice/checks\"",
            )
        });
        let script_user = Name::check(
            self.script_user.as_deref().unwrap_or("nobody"),
            &place.key("script_user"),
        );
        let name = name?;
        Some(System {
            script_directory: script_directory?,
            script_user: script_user?.to_string(),
            workers: workers?,
            idle: idle?.unwrap_or_default(),
            sessions: sessions?,
            sessions_v6: sessions_v6?,
            memory_mb: memory_mb?,
            packet_buffers: packet_buffers?,
            eal_args: eal_args?,
            file_prefix: file_prefix?.unwrap_or_else(|| name.clone()),
            harden: self.harden.unwrap_or(true),
            name,
        })
    }

    fn workers(&self, place: &Place<'_>) -> Option<Vec<u16>> {
        let given = place.required("workers", &self.workers, "[1], a list of cores")?;
        let place = place.key("workers");
        if given.is_empty() || given.len() > MAX_WORKERS {
            return place.wrong(
                format_args!("{} workers", given.len()),
                format_args!("name 1 to {MAX_WORKERS} cores"),
            );
        }
        let cores = place.each(given, |&core, place| number::<u16>(core, 0..=1023, place))?;
        let mut seen = BTreeSet::new();
        for (index, core) in cores.iter().enumerate() {
            if !seen.insert(core) {
                return place.index(index).wrong(
                    format_args!("core {core} is there twice"),
                    "give every worker a core of its own",
                );
            }
        }
        Some(cores)
    }

    fn eal_args(&self, place: &Place<'_>) -> Option<Vec<String>> {
        let given = self.eal_args.clone().unwrap_or_default();
        place.key("eal_args").each(&given, |argument, place| {
            for (option, key) in OURS {
                let same = argument.strip_prefix(option);
                if same.is_some_and(|rest| rest.is_empty() || rest.starts_with('=')) {
                    return place.wrong(
                        format_args!("{argument:?} is for Sluice to give"),
                        format_args!("use {key} instead"),
                    );
                }
            }
            if argument.is_empty() || argument.contains('\0') {
                return place.wrong("an argument without text", "take it out");
            }
            Some(argument.clone())
        })
    }
}

/// EAL options that follow from other keys, and from which.
const OURS: &[(&str, &str)] = &[
    ("-l", "system.workers"),
    ("--lcores", "system.workers"),
    ("-c", "system.workers"),
    ("-m", "system.memory_mb"),
    ("--file-prefix", "system.file_prefix"),
    ("-a", "port.device"),
    ("--allow", "port.device"),
    ("--vdev", "port.device"),
];
