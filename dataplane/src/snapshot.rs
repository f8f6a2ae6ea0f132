//! The compiled, immutable configuration that workers read.
//!
//! Control builds one per change, checks it, gives it an epoch and sends every worker an `Arc` of
//! it; workers send the old one back, so that nothing is freed on a polling core. Indexes into its
//! vectors are newtypes. [`ServiceId`] and [`ServerId`] are given out by control by name and never
//! reused for another name while the process lives, so that sessions outlive a change of
//! configuration; all other indexes are valid within one snapshot only.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::HashMap;
use ipnet::IpNet;
use sluice_wire::MacAddr;

use crate::alg::AlgPolicy;
use crate::firewall::Firewall;
use crate::groups::Groups;
use crate::host::HostPolicy;
use crate::http_redirect::HttpRedirect;
use crate::io::DeviceId;
use crate::lb::maglev::MaglevTable;
use crate::lb::rendezvous::Rendezvous;
use crate::nat::rules::Nat;
use crate::services::ServiceMap;
use crate::shared_names::SharedNames;
use crate::stack::routes::Routes;
use crate::steer::Steering;
use crate::timeouts::Timeouts;

/// Index of a logical port: a device, or one VLAN of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct PortId(pub u16);

/// A configured service: virtual server, port forward, static translation, SNAT rule or firewall
/// rule. Sessions and counters refer to it.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, zerocopy::FromZeros,
)]
#[repr(transparent)]
pub struct ServiceId(pub u16);

impl ServiceId {
    /// Forwarded by the zones' policy alone.
    pub const NONE: Self = Self(0);
}

/// A real server, by the name of its pool and its own.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, zerocopy::FromZeros,
)]
#[repr(transparent)]
pub struct ServerId(pub u16);

impl ServerId {
    /// Not load-balanced.
    pub const NONE: Self = Self(0);
}

/// All that workers know of the configuration.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows by one with every change; starts at 1.
    pub epoch: u32,
    /// By [`DeviceId`].
    pub devices: Vec<Device>,
    /// By [`PortId`].
    pub ports: Vec<Port>,
    /// Names of the zones; a session key carries the index.
    pub zones: Vec<String>,
    /// Addresses that we answer for.
    pub local: LocalAddresses,
    /// Longest prefix match to next hops, connected networks included.
    pub routes: Routes,
    /// Policy between zones.
    pub firewall: Firewall,
    /// What is behind an address and port: virtual servers, forwards, static translations.
    pub services: ServiceMap,
    /// By the index that [`ServiceMap`] gives.
    pub virtual_servers: Vec<VirtualServer>,
    /// By [`ServerId`]; `None` where the configuration no longer has it.
    pub servers: Vec<Option<RealServer>>,
    /// Source translation.
    pub nat: Nat,
    /// Index 0 holds the defaults, the others are overrides by services. At most 256.
    pub timeouts: Vec<Timeouts>,
    /// Which worker is home to which tuple.
    pub steering: Steering,
    /// What to do with TCP that has no session or fails its checks.
    pub tcp: TcpPolicy,
    /// Connections that announce others.
    pub alg: AlgPolicy,
    /// The host interface, if it is on: what strangers may send to it.
    pub host: Option<HostPolicy>,
    /// How many ICMP errors a worker sends per second at most.
    pub icmp_errors_per_s: u32,
    /// By [`ServiceId`]: its kind and name, for the API; gaps are `None`.
    pub service_names: Vec<Option<ServiceName>>,
    /// What the other appliance calls zones, services and servers; `None` where there is none.
    pub shared_names: Option<SharedNames>,
    /// Which addresses one of two appliances answers for at a time.
    pub groups: Groups,
}

impl Snapshot {
    /// The timeouts with this index or, if they are not there, the defaults.
    #[inline]
    pub fn timeout_set(&self, set: u8) -> Option<&Timeouts> {
        self.timeouts
            .get(usize::from(set))
            .or(self.timeouts.first())
    }

    /// How long a session may be idle; see [`timeout`].
    #[inline]
    pub fn timeout(&self, set: u8, proto: u8, state: u8) -> u32 {
        timeout(&self.timeouts, set, proto, state)
    }

    /// The shortest time, in milliseconds, that any session may be idle. Looks at all sets.
    pub fn shortest_timeout(&self) -> u32 {
        let shortest = self.timeouts.iter().map(Timeouts::shortest).min();
        shortest.unwrap_or(0)
    }

    /// Whether a virtual server redirects clients that no server can take. Looks at all.
    pub fn redirects(&self) -> bool {
        self.virtual_servers.iter().any(|vs| vs.redirect.is_some())
    }

    /// The MSS that a service asks to clamp SYNs to. Looks through all services: for SYNs of
    /// sessions that are marked, and nothing else.
    pub fn clamp_mss(&self, service: ServiceId) -> Option<u16> {
        let server = self
            .virtual_servers
            .iter()
            .find(|server| server.service == service);
        let rule = || self.nat.rules.iter().find(|rule| rule.service == service);
        match server {
            Some(server) => server.clamp_mss,
            None => rule()?.clamp_mss,
        }
    }
}

/// How long a session of this protocol may be idle in this state, in milliseconds, by the set with
/// this index or, if it is not there, by the defaults.
#[inline]
pub fn timeout(sets: &[Timeouts], set: u8, proto: u8, state: u8) -> u32 {
    let set = sets.get(usize::from(set)).or(sets.first());
    set.map_or(0, |set| set.of(proto, state))
}

/// A DPDK port as the data plane sees it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name in the configuration.
    pub name: String,
    /// The logical port for frames without a tag.
    pub untagged: Option<PortId>,
    /// Logical ports by VLAN id, sorted by it.
    pub vlans: Vec<(u16, PortId)>,
    /// For each worker: the worker whose transmit queue its frames leave by (itself, where the
    /// device has enough queues).
    pub tx_worker: Vec<u16>,
}

impl Device {
    /// The logical port of frames with this VLAN id, or without a tag.
    #[inline]
    pub fn port(&self, vlan: Option<u16>) -> Option<PortId> {
        match vlan {
            None => self.untagged,
            Some(id) => {
                let at = self
                    .vlans
                    .binary_search_by_key(&id, |&(vlan, _)| vlan)
                    .ok()?;
                Some(self.vlans[at].1)
            }
        }
    }
}

/// A logical port.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// The device it is on.
    pub device: DeviceId,
    /// Its VLAN id, or `None` for untagged frames.
    pub vlan: Option<u16>,
    /// Index into [`Snapshot::zones`].
    pub zone: u8,
    /// Our MAC address on it.
    pub mac: MacAddr,
    /// Largest IP packet that it sends, in bytes.
    pub mtu: u16,
    /// Our own addresses on it, each with its network's prefix length; link-local ones included.
    pub addresses: Vec<IpNet>,
    /// Clamp the MSS of SYNs leaving or entering by this port to its MTU.
    pub clamp_mss: bool,
}

impl Port {
    /// The address to speak from towards `peer`: one on the peer's network if there is one, else
    /// the first of its family.
    pub fn source_for(&self, peer: IpAddr) -> Option<IpAddr> {
        let family = || {
            self.addresses
                .iter()
                .filter(|own| own.addr().is_ipv4() == peer.is_ipv4())
        };
        family()
            .find(|own| own.contains(&peer))
            .or_else(|| family().find(|own| !is_link_local(own.addr())))
            .or_else(|| family().next())
            .map(IpNet::addr)
    }

    /// Whether `peer` is on a network connected to this port.
    pub fn is_connected(&self, peer: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.contains(&peer))
    }
}

/// 169.254.0.0/16 or fe80::/10.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Addresses that we answer ARP, neighbour solicitations and echo for, sorted by address.
///
/// An own address is answered for on its port only, and VIPs and SNAT addresses on every port
/// whose network they are part of (and echo for them everywhere).
#[derive(Debug, Default, Clone)]
pub struct LocalAddresses {
    sorted: Vec<(IpAddr, Local)>,
    found: HashMap<IpAddr, Local>,
}

/// Why an address is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// Configured on this port.
    Own(PortId),
    /// The address of a virtual server.
    Vip,
    /// An address that NAT translates to or from (SNAT pool, static, forward).
    Nat,
    /// An address of a group and nothing else: a gateway for hosts.
    Virtual,
}

impl LocalAddresses {
    /// Of several roles of one address the first given counts.
    pub fn new(addresses: impl IntoIterator<Item = (IpAddr, Local)>) -> Self {
        let mut sorted: Vec<_> = addresses.into_iter().collect();
        sorted.sort_by_key(|&(address, _)| address);
        sorted.dedup_by_key(|&mut (address, _)| address);
        let found = sorted.iter().copied().collect();
        Self { sorted, found }
    }

    /// Whether and why `address` is ours.
    pub fn get(&self, address: IpAddr) -> Option<Local> {
        self.found.get(&address).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Local)> + '_ {
        self.sorted.iter().copied()
    }
}

/// What to do with TCP segments that the session table does not explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPolicy {
    /// No session, and not a SYN.
    pub out_of_state: OutOfState,
    /// Drop segments outside the window (counted), instead of passing them on, translated but
    /// without effect on the session's state.
    pub strict_window: bool,
}

/// The fate of a TCP segment that has no session and is not a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfState {
    /// Drop it, counted.
    #[default]
    Drop,
    /// If policy would let it open a session, take it up in mid-connection.
    Adopt,
    /// Drop it and answer with a reset, so that the sender need not wait for its timeouts.
    Reset,
}

/// A virtual server.
#[derive(Debug, Clone)]
pub struct VirtualServer {
    /// For sessions and counters.
    pub service: ServiceId,
    /// Its name in the configuration.
    pub name: String,
    /// First and last port that it listens on, both included; `None` is any port.
    pub ports: Option<(u16, u16)>,
    /// What happens to the packets.
    pub mode: LbMode,
    /// Its real servers, in the order in which they are tried: a session goes to the first tier
    /// that has a server which may take it.
    pub tiers: Vec<Tier>,
    /// TCP: what clients are answered that no tier can take.
    pub redirect: Option<Arc<HttpRedirect>>,
    /// Sessions of one client (network) stay with one real server.
    pub persistence: Option<Persistence>,
    /// `fullnat`: the SNAT pool, an index into [`Nat::pools`]. `None`: the egress port's address.
    pub snat_pool: Option<u16>,
    /// Index into [`Snapshot::timeouts`].
    pub timeouts: u8,
    /// Clamp the MSS of its SYNs.
    pub clamp_mss: Option<u16>,
}

impl VirtualServer {
    /// Its real servers of all tiers, all states.
    pub fn members(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.tiers
            .iter()
            .flat_map(|tier| tier.members.iter().copied())
    }
}

/// Real servers of a virtual server that are chosen among before the next tier is looked at: those
/// priority groups of the pool that are in use, then each other group, those of the backup pool, and
/// the sorry server.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Where they are from.
    pub kind: TierKind,
    /// All states, in the order of the configuration.
    pub members: Vec<ServerId>,
    /// How one of them is chosen.
    pub scheduler: Scheduler,
}

/// Where the servers of a [`Tier`] are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierKind {
    /// The virtual server's pool.
    Pool,
    /// Its backup pool.
    Backup,
    /// Its sorry server.
    Sorry,
}

/// What a virtual server does to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LbMode {
    /// The destination becomes the real server's; replies must come back through us.
    Dnat,
    /// The source becomes one of ours as well; replies come back by themselves.
    Fullnat,
    /// Only the destination MAC changes; the real server, a neighbour of ours that has the VIP on a
    /// loopback, answers the client directly.
    Dsr,
}

/// How the real server of a new session is chosen.
#[derive(Debug, Clone)]
pub enum Scheduler {
    /// In turn, weights ignored (but 0 means none).
    RoundRobin,
    /// In turn, in proportion to the weights, smoothly interleaved.
    WeightedRoundRobin,
    /// The one with the fewest sessions.
    LeastConnections,
    /// The one with the fewest sessions for its weight.
    WeightedLeastConnections,
    /// As [`WeightedRoundRobin`](Self::WeightedRoundRobin), by these weights of the tier's members instead
    /// of the servers': while one of them is only on its way to its share.
    PacedTurns(Box<[u16]>),
    /// As [`WeightedLeastConnections`](Self::WeightedLeastConnections), likewise.
    PacedLoads(Box<[u16]>),
    /// By a hash of the client's address (rendezvous, weighted): the same client, the same server, at
    /// every appliance and after every restart.
    SourceHash(Rendezvous),
    /// By a hash of client address and port over a Maglev table (NSDI 2016).
    Maglev(MaglevTable),
}

/// Persistence by source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// Clients whose IPv4 addresses agree in so many bits are one.
    pub prefix_v4: u8,
    /// The same for IPv6.
    pub prefix_v6: u8,
    /// How long the choice is kept after the last session that used it was opened, milliseconds.
    pub timeout_ms: u32,
}

/// A real server.
#[derive(Debug, Clone)]
pub struct RealServer {
    /// `pool/name` in the configuration.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` keeps the client's destination port.
    pub port: Option<u16>,
    /// Its share; 0 takes no new sessions.
    pub weight: u16,
    /// Whether it takes sessions: what the configuration says and what is known of its health, put
    /// together by control.
    pub state: ServerState,
    /// How many it takes.
    pub limits: SessionLimits,
}

/// How many sessions a real server takes, all workers and virtual servers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionLimits {
    /// Open at a time.
    pub open: Option<NonZeroU32>,
    /// Opened within a second of the worker's clock, below 2^20.
    pub per_second: Option<NonZeroU32>,
}

/// Whether a real server takes sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Takes sessions.
    Up,
    /// Keeps its sessions and gets no new ones.
    Draining,
    /// Gets none, and its sessions end.
    Down,
}

/// What a [`ServiceId`] stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// `virtual_server`, `forward`, `static`, `snat` or `firewall`.
    pub kind: &'static str,
    /// The name in the configuration.
    pub name: String,
}
