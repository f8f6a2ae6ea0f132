//! What worker 0 does for all workers: how it speaks with each of the other nodes.

use sluice_ha::heartbeat::{Heartbeat, Intervals, Path};
use sluice_ha::hello::{Node, Zones, capability};
use sluice_ha::roles::Roles;
use sluice_ha::seal::{Keyring, PreShared};
use sluice_ha::{Association, LaneConfig, NodeSet, roles};

use super::HaParts;
use super::probe::Probes;
use super::roles::{Announcer, slots};
use crate::groups::GroupSet;
use crate::handoff::Going;

/// How long a node that hears nobody after its start waits for one that lives, milliseconds: links
/// take their time to come up.
const PATIENCE: u32 = 3000;

/// How far another node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reach {
    /// It is not heard at all.
    #[default]
    Dead,
    /// It is heard, but not by the HA link, or it is about to stop.
    Lives,
    /// By the HA link.
    Linked,
}

/// What worker 0 does for all.
pub(super) struct Speaker {
    /// What it has to do with each of the other nodes, by their places.
    pub(super) voices: Vec<Voice>,
    /// When this node started.
    born: u32,
    /// All others were heard since.
    met: bool,
    pub(super) roles: Roles,
    /// This node has been told everything once, so it may hold groups.
    pub(super) ready: bool,
    /// Nodes that have, and stay; and some workers have not been told which.
    pub(super) ready_nodes: NodeSet,
    pub(super) ready_untold: bool,
    /// This node is about to go; and some workers have not heard that, or that it stays.
    pub(super) going: Going,
    pub(super) going_untold: bool,
    /// Groups that this node holds; and when it let others go last, by their place.
    pub(super) held: GroupSet,
    pub(super) let_go: [Option<u32>; roles::MAX_GROUPS],
    /// Some workers have not been told which groups are held.
    pub(super) untold: bool,
    pub(super) announcer: Announcer,
    pub(super) probes: Probes,
}

/// How worker 0 speaks with one other node.
pub(super) struct Voice {
    pub(super) association: Association,
    pub(super) heartbeat: Heartbeat,
    /// When the session began.
    pub(super) since: u32,
    pub(super) reach: Reach,
    /// It is worse off than this node, which takes its sessions over.
    pub(super) yields: bool,
    /// How it was when control was told of it last.
    pub(super) told: u64,
    /// All workers have heard how it can be reached.
    pub(super) spread: bool,
    /// Groups that it says it holds.
    pub(super) holds: GroupSet,
}

impl Voice {
    fn new(parts: &HaParts, me: Node, peer: u8, now: u32) -> Self {
        let shared = |secret: [u8; 32]| PreShared {
            id: key_id(&secret),
            secret,
        };
        let keyring = Keyring::Sealed {
            current: shared(parts.key),
            also: parts.next_key.map(shared),
        };
        // Nonces must not be those of another association.
        let mut seed = parts.seed;
        seed[31] ^= peer;
        Self {
            association: Association::new(me, peer, keyring, seed),
            heartbeat: Heartbeat::new(Intervals {
                send: parts.heartbeat_ms,
                dead: parts.heartbeat_ms * parts.dead_after,
            }),
            since: now,
            reach: Reach::Dead,
            yields: false,
            told: 0,
            spread: true,
            holds: GroupSet::default(),
        }
    }

    /// Bits: 1 the HA link works, 2 the witness does.
    pub(super) fn paths(&self) -> u64 {
        let bit = |path, bit| if self.heartbeat.works(path) { bit } else { 0 };
        bit(Path::HaLink, 1) | bit(Path::Witness, 2)
    }
}

impl Speaker {
    pub(super) fn new(
        parts: &HaParts,
        workers: u16,
        zones: &[u32],
        config: &LaneConfig,
        now: u32,
    ) -> Self {
        let me = node(parts, workers, zones, config);
        let peers = parts.peers.iter();
        let peers = peers.filter(|&&peer| peer < sluice_ha::frame::MAX_NODES);
        Self {
            voices: peers
                .map(|&peer| Voice::new(parts, me, peer, now))
                .collect(),
            born: now,
            met: false,
            roles: Roles::new(&roles::Config {
                me: parts.node,
                groups: slots(&[]).to_vec(),
                dead: parts.heartbeat_ms * parts.dead_after,
                start: PATIENCE,
            }),
            ready: false,
            ready_nodes: NodeSet::default(),
            ready_untold: false,
            going: Going::No,
            going_untold: false,
            held: GroupSet::default(),
            let_go: [None; roles::MAX_GROUPS],
            untold: false,
            announcer: Announcer::default(),
            probes: Probes::new(now),
        }
    }

    /// Whether it is settled who is there, so that this node may take groups.
    pub(super) fn has_listened(&mut self, now: u32) -> bool {
        self.met |= self.voices.iter().all(|voice| voice.heartbeat.is_up());
        self.met || now.wrapping_sub(self.born) >= PATIENCE
    }

    /// Groups that other nodes say they hold, as long as those are heard.
    pub(super) fn held_by_others(&self) -> GroupSet {
        let voices = self.voices.iter();
        GroupSet(voices.fold(0, |all, voice| all | voice.holds.0))
    }

    /// Bits: 1 the HA link works to all others, 2 the witness does.
    pub(super) fn paths(&self) -> u64 {
        self.voices.iter().fold(3, |all, voice| all & voice.paths())
    }
}

/// What this node says of itself.
pub(super) fn node(parts: &HaParts, workers: u16, zones: &[u32], config: &LaneConfig) -> Node {
    Node {
        id: parts.node,
        boot: parts.boot,
        workers: workers as u8,
        capabilities: capability::RECORDS
            | capability::CORRECTION
            | capability::ROLES
            | capability::CLUSTER
            | capability::INLINE,
        window: config.reorder,
        mtu: parts.mtu,
        config: shared_config(parts),
        zones: Zones::new(zones.iter().copied()),
    }
}

/// Digest of what all nodes of more than two must have configured alike: who they are, how they divide
/// ports, and who has copies. Two cannot disagree about that.
fn shared_config(parts: &HaParts) -> u64 {
    if parts.peers.len() < 2 {
        return 0;
    }
    let members: NodeSet = parts.peers.iter().copied().chain([parts.node]).collect();
    let copies = if parts.backup { " copies backup" } else { "" };
    let (nodes, shares) = (members.0, parts.shares);
    sluice_ha::name::hash64(&format!("nodes {nodes:#x} shares {shares}{copies}"))
}

/// The number that a key goes by on the wire: both nodes must find the same, whichever place it has in
/// their configuration. One of 255 pairs of keys has the same; then only the current one is used.
fn key_id(secret: &[u8; 32]) -> u8 {
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    (sluice_ha::name::hash32(&text) % 255) as u8 + 1
}
