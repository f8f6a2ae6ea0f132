//! `[ha]`: other appliances, and the ways to them.

use std::fmt;

use sluice_dataplane::groups::VirtualMacs;

use super::ha_group::{HaGroup, HaTrack, RawHaGroup, RawHaTrack};
use super::ha_tunnel::{HaTunnel, RawHaTunnel};
use super::names::PortIndex;
use super::place::{Place, optional};
use super::port::DeviceName;
use super::raw::section;
use super::secrets::is_no_mark;
use super::system::MAX_WORKERS;
use super::value::{number, word};

section! {
    /// `[ha]`
    pub struct RawHa {
        /// This node's number.
        node: i64,
        /// The other node's number, where there is one.
        peer: i64,
        /// The other nodes' numbers.
        peers: Vec<i64>,
        /// Into how many shares NAT ports are divided.
        shares: i64,
        /// The device of the HA link.
        device: String,
        /// MTU of the HA link.
        mtu: i64,
        /// Pre-shared key, hexadecimal.
        key: String,
        /// A file that holds the pre-shared key.
        key_file: String,
        /// The key that is to follow, or that `key` followed.
        next_key: String,
        /// A file that holds it.
        next_key_file: String,
        /// The port that heartbeats go by as well.
        witness: String,
        /// The first five bytes of virtual MAC addresses.
        virtual_mac: String,
        /// `[ha.tunnel]`
        tunnel: RawHaTunnel,
        /// `[[ha.group]]`
        group: Vec<RawHaGroup>,
        /// `[[ha.track]]`
        track: Vec<RawHaTrack>,
        /// How many workers the other node has.
        peer_workers: i64,
        /// `async` or `none`.
        sync: String,
        /// How long the other node may take to acknowledge, so that first packets go by it.
        inline_budget_ms: i64,
        /// `full` or `backup`.
        copies: String,
        /// Time between two heartbeats.
        heartbeat_ms: i64,
        /// Heartbeats missed in a row before the peer counts as dead.
        dead_after: i64,
    }
}

/// Nodes that can be told apart.
pub const MAX_NODES: u8 = 16;
/// Bytes of a pre-shared key.
const KEY_LEN: usize = 32;

/// A pre-shared key. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; KEY_LEN]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// When the peer is told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// In the burst that opened or changed it, without waiting for the peer.
    #[default]
    Async,
    /// The same, and what opened it travels with the record and through the peer. Of services only.
    Inline,
    /// Never: packets are corrected, and sessions die with their node.
    None,
}

/// Who has a copy of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copies {
    /// All other nodes.
    #[default]
    Full,
    /// One of them, and the others know whose it is.
    Backup,
}

/// Other appliances, and the link to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ha {
    /// This node, below [`MAX_NODES`].
    pub node: u8,
    /// The others: one at least, in ascending order.
    pub peers: Vec<u8>,
    /// Shares that NAT ports are divided into: one for each node at least.
    pub shares: u16,
    /// The device of the HA link; no port's.
    pub device: DeviceName,
    /// Largest IP packet on the HA link (within a tunnel, if there is one), bytes; at least that of every
    /// port unless given.
    pub mtu: Option<u16>,
    /// Ways to nodes that are not neighbours.
    pub tunnel: Option<HaTunnel>,
    /// How many workers another node has; as many as this one unless given.
    pub peer_workers: Option<u16>,
    /// What all nodes know, and nobody else.
    pub key: Key,
    /// What the others may use as well, while keys are exchanged.
    pub next_key: Option<Key>,
    /// The port that heartbeats go by as well.
    pub witness: Option<PortIndex>,
    /// The first five bytes of virtual MAC addresses.
    pub virtual_mac: VirtualMacs,
    /// When the others are told of a session.
    pub sync: Sync,
    /// How long another node may take to acknowledge what it is told before first packets do not go by
    /// it, milliseconds.
    pub inline_budget_ms: u32,
    /// Who has a copy of a session.
    pub copies: Copies,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u32,
    /// Heartbeats missed in a row before the peer counts as dead.
    pub dead_after: u32,
}

impl Ha {
    /// Which of the shares of ports is this node's: they go by the order of the nodes' numbers.
    pub fn share(&self) -> u16 {
        self.peers.iter().filter(|&&peer| peer < self.node).count() as u16
    }
}

impl Sync {
    /// The value of the key `sync` of the HA link.
    fn of_link(given: Option<&str>, place: &Place<'_>) -> Option<Self> {
        let words = [("async", Self::Async), ("none", Self::None)];
        word(given.unwrap_or("async"), &words, &place.key("sync"))
    }

    /// The same of a service.
    pub(super) fn of_service(given: Option<&str>, place: &Place<'_>) -> Option<Self> {
        let words = [
            ("async", Self::Async),
            ("inline", Self::Inline),
            ("none", Self::None),
        ];
        word(given.unwrap_or("async"), &words, &place.key("sync"))
    }
}

impl RawHa {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Ha> {
        let last = MAX_NODES - 1;
        let node = place
            .required("node", &self.node, "1")
            .and_then(|&node| number::<u8>(node, 0..=last, &place.key("node")));
        let peers = self.peers(place);
        let device = place
            .required("device", &self.device, "\"0000:04:00.0\"")
            .and_then(|device| DeviceName::check(device, &place.key("device")));
        let mtu = optional(self.mtu, |mtu| {
            let least = if self.tunnel.is_some() { 1280 } else { 1500 };
            number::<u16>(mtu, least..=9600, &place.key("mtu"))
        });
        let peer_workers = optional(self.peer_workers, |count| {
            number::<u16>(count, 1..=MAX_WORKERS as u16, &place.key("peer_workers"))
        });
        let sync = Sync::of_link(self.sync.as_deref(), place);
        let budget = self.inline_budget_ms.unwrap_or(200);
        let budget = number::<u32>(budget, 1..=900, &place.key("inline_budget_ms"));
        let words = [("full", Copies::Full), ("backup", Copies::Backup)];
        let copies = self.copies.as_deref().unwrap_or("full");
        let copies = word(copies, &words, &place.key("copies"));
        let heartbeat_ms = self.heartbeat_ms.unwrap_or(20);
        let heartbeat_ms = number::<u32>(heartbeat_ms, 5..=1000, &place.key("heartbeat_ms"));
        let dead_after = self.dead_after.unwrap_or(5);
        let dead_after = number::<u32>(dead_after, 2..=100, &place.key("dead_after"));
        let key = self.key(place);
        let next_key = self.next_key(place);
        let witness = optional(self.witness.as_deref(), |port| {
            let place = place.key("witness");
            place.names().port(port, &place)
        });
        let virtual_mac = optional(self.virtual_mac.as_deref(), |text| {
            virtual_macs(text, &place.key("virtual_mac"))
        });
        let (node, peers) = (node?, peers?);
        if peers.contains(&node) {
            let key = if self.peer.is_some() { "peer" } else { "peers" };
            return place.key(key).wrong(
                format_args!("{node} is this node's own number"),
                "write the number that the other appliance has as its `node`",
            );
        }
        let tunnel = optional(self.tunnel.as_ref(), |tunnel| {
            tunnel.check(&peers, &place.key("tunnel"))
        });
        let nodes = peers.len() as u16 + 1;
        let shares = self.shares.unwrap_or(i64::from(nodes));
        let shares = number::<u16>(shares, nodes..=u16::from(MAX_NODES), &place.key("shares"));
        Some(Ha {
            node,
            peers,
            shares: shares?,
            device: device?,
            mtu: mtu?,
            tunnel: tunnel?,
            peer_workers: peer_workers?,
            key: key?,
            next_key: next_key?,
            witness: witness?,
            virtual_mac: virtual_mac?.unwrap_or_default(),
            sync: sync?,
            inline_budget_ms: budget?,
            copies: copies?,
            heartbeat_ms: heartbeat_ms?,
            dead_after: dead_after?,
        })
    }

    /// The other nodes' numbers.
    fn peers(&self, place: &Place<'_>) -> Option<Vec<u8>> {
        let last = MAX_NODES - 1;
        let (key, given): (_, &[i64]) = match (&self.peer, &self.peers) {
            (Some(peer), None) => ("peer", std::slice::from_ref(peer)),
            (None, Some(peers)) => ("peers", peers),
            (Some(_), Some(_)) => {
                return place.key("peers").wrong(
                    "there is a `peer` as well",
                    "write one of the two: `peer` for one other node, `peers` for several",
                );
            }
            (None, None) => {
                place.required("peer", &self.peer, "2")?;
                return None;
            }
        };
        let place = place.key(key);
        let numbers = given
            .iter()
            .map(|&peer| number::<u8>(peer, 0..=last, &place));
        let mut peers = numbers.collect::<Option<Vec<_>>>()?;
        peers.sort_unstable();
        if peers.is_empty() {
            return place.wrong(
                "there is none",
                "write the numbers of the other nodes: [2, 3]",
            );
        }
        if let Some(pair) = peers.windows(2).find(|pair| pair[0] == pair[1]) {
            return place.wrong(
                format_args!("{} is there twice", pair[0]),
                "write each of the other nodes once",
            );
        }
        Some(peers)
    }

    /// The groups, and what is tracked: they may change while the process runs.
    pub(super) fn parts(&self, place: &Place<'_>) -> Option<(Vec<HaGroup>, Vec<HaTrack>)> {
        let groups = self.group.as_deref().unwrap_or_default();
        let tracks = self.track.as_deref().unwrap_or_default();
        let groups = place.key("group").each(groups, RawHaGroup::check);
        let tracks = place.key("track").each(tracks, RawHaTrack::check);
        Some((groups?, tracks?))
    }

    /// The second key: `Some(None)` if there is none.
    fn next_key(&self, place: &Place<'_>) -> Option<Option<Key>> {
        match (&self.next_key, &self.next_key_file) {
            (None, None) => Some(None),
            (Some(text), None) => key(text, &place.key("next_key")).map(Some),
            (None, Some(path)) => key_in(path, &place.key("next_key_file")).map(Some),
            (Some(_), Some(_)) => place.key("next_key").wrong(
                "there is a `next_key_file` as well",
                "write one of the two, best `next_key_file`",
            ),
        }
    }

    fn key(&self, place: &Place<'_>) -> Option<Key> {
        match (&self.key, &self.key_file) {
            (Some(text), None) => key(text, &place.key("key")),
            (None, Some(path)) => key_in(path, &place.key("key_file")),
            (Some(_), Some(_)) => place.key("key").wrong(
                "there is a `key_file` as well",
                "write one of the two, best `key_file`",
            ),
            (None, None) => place.wrong(
                "there is no key",
                "write key_file = \"/etc/sluice/ha.key\", made with: openssl rand -hex 32",
            ),
        }
    }
}

fn key_in(path: &str, place: &Place<'_>) -> Option<Key> {
    match std::fs::read_to_string(path) {
        Ok(text) => key(text.trim(), place),
        Err(why) => place.wrong(
            format_args!("{path:?} cannot be read: {why}"),
            "make one with: openssl rand -hex 32",
        ),
    }
}

/// Five bytes of a unicast address.
fn virtual_macs(text: &str, place: &Place<'_>) -> Option<VirtualMacs> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() == 2)
        })
        .collect();
    let bytes: Option<[u8; 5]> = bytes.and_then(|bytes| bytes.try_into().ok());
    match bytes {
        Some(bytes) if bytes[0] & 1 == 0 => Some(VirtualMacs(bytes)),
        _ => place.wrong(
            format_args!("{text:?} is not the beginning of a station's MAC address"),
            "write five bytes, like \"00:00:5e:00:01\" or \"02:53:4c:00:00\"",
        ),
    }
}

fn key(text: &str, place: &Place<'_>) -> Option<Key> {
    is_no_mark(text, place)?;
    let mut key = [0; KEY_LEN];
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len() == 2 * KEY_LEN => {
            for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = pair[0] << 4 | pair[1];
            }
            Some(Key(key))
        }
        // What was found is not shown: it may be all but a digit of the secret.
        _ => place.wrong(
            format_args!("not a key of {KEY_LEN} bytes"),
            "write 64 hexadecimal digits, made with: openssl rand -hex 32",
        ),
    }
}
