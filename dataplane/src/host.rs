//! The host interface: packets between workers and the kernel of the machine.
//!
//! What is for an own address, and what no service of the data plane takes, a worker *punts*: a
//! control thread gives it to the kernel by a TUN interface, and ordinary sockets take it from there.
//! What the kernel sends comes back the same way and is *injected*: a worker finds the next hop. The
//! data plane keeps ARP, neighbour discovery and MAC addresses to itself; the kernel sees IP packets.
//!
//! Packets are copied into [`Parcel`]s that go round between two queues each way, so that a worker
//! neither allocates nor frees, and no packet buffer leaves the workers. Where the interface is off
//! there are no parcels, and workers don't look.
//!
//! The kernel's own connections are remembered by the worker that is home to their replies
//! (`Connections`): replies pass whatever the policy says. What strangers may open is a list
//! ([`HostPolicy`]), and held to a rate.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use sluice_wire::bytes::{array, ne64};
use sluice_wire::parse::{Kind, Parsed, parse};
use sluice_wire::proto::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use sluice_wire::tcp::flag;
use sluice_wire::{Family, Key, KeyHasher, Tuple, V4, V6, ipv4, ipv6};

use crate::io::{DeviceId, Memory, OutOfMemory};
use crate::map::{ExpiringMap, MapFull};
use crate::networks::Networks;
use crate::path::{Link, UNTAGGED};
use crate::snapshot::{Local, Port, PortId, Snapshot};
use crate::stack::neighbour::NeighbourId;

/// Packets that a worker's queues hold, each way.
pub const QUEUE: usize = 512;
/// Ports and echo identifiers of own addresses that are the kernel's to connect from: no session is
/// ever translated to them ([`crate::nat::rules::MASQUERADE_PORTS`]).
pub const HOST_PORTS: (u16, u16) = (61_000, 65_535);
/// Room for an Ethernet header without a tag.
const ETHERNET: usize = 14;

/// What strangers may send to the host. In a snapshot: the interface is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    /// What may be opened towards the host; nothing but this.
    pub allow: Vec<Allow>,
    /// Packets of strangers that each worker punts per second at most.
    pub strangers_per_s: u32,
}

/// One thing that strangers may open. What is empty or `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The zone that they come from.
    pub from: Option<u8>,
    /// Their networks.
    pub source: Networks,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Destination ports, first and last.
    pub ports: Vec<(u16, u16)>,
}

impl HostPolicy {
    /// Whether a packet of `tuple` from `zone` may be the first to the host.
    pub fn admits(&self, zone: u8, tuple: &Tuple) -> bool {
        self.allow.iter().any(|allow| {
            allow.from.is_none_or(|from| from == zone)
                && allow.proto.is_none_or(|proto| proto == tuple.proto)
                && allow.source.holds(tuple.src)
                && (allow.ports.is_empty()
                    || allow
                        .ports
                        .iter()
                        .any(|&(first, last)| (first..=last).contains(&tuple.dport)))
        })
    }
}

/// An IP packet between a worker and the host.
#[derive(Debug, Default)]
pub struct Parcel {
    port: PortId,
    bytes: Vec<u8>,
}

impl Parcel {
    /// An empty one for packets of up to `room` bytes.
    pub fn with_room(room: usize) -> Self {
        Self {
            port: PortId::default(),
            bytes: Vec::with_capacity(room),
        }
    }

    /// The port that the packet came in by (punted).
    pub fn port(&self) -> PortId {
        self.port
    }

    /// The packet, from its IP header on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Replaces the packet; false, and unchanged, if it is larger than the parcel.
    pub fn fill(&mut self, port: PortId, packet: &[u8]) -> bool {
        if packet.len() > self.bytes.capacity() {
            return false;
        }
        self.port = port;
        self.bytes.clear();
        self.bytes.extend_from_slice(packet);
        true
    }
}

/// The queues between the host and one worker.
#[derive(Debug)]
struct Queues {
    /// Worker to host: packets, and the parcels for them.
    punted: ArrayQueue<Parcel>,
    punt_blanks: ArrayQueue<Parcel>,
    /// Host to worker.
    injected: ArrayQueue<Parcel>,
    inject_blanks: ArrayQueue<Parcel>,
}

/// The host's end of the queues of one worker.
#[derive(Debug)]
pub struct HostEnd(Arc<Queues>);

/// A worker's end.
#[derive(Debug)]
pub struct WorkerSide(Arc<Queues>);

/// Two ends of new queues, without any parcels.
pub fn queues() -> (HostEnd, WorkerSide) {
    let queues = Arc::new(Queues {
        punted: ArrayQueue::new(QUEUE),
        punt_blanks: ArrayQueue::new(QUEUE),
        injected: ArrayQueue::new(QUEUE),
        inject_blanks: ArrayQueue::new(QUEUE),
    });
    (HostEnd(Arc::clone(&queues)), WorkerSide(queues))
}

impl HostEnd {
    /// Puts parcels for packets of up to `room` bytes into circulation. Call it once.
    pub fn stock(&self, room: usize) {
        for blanks in [&self.0.punt_blanks, &self.0.inject_blanks] {
            while blanks.push(Parcel::with_room(room)).is_ok() {}
        }
    }

    /// The oldest packet that the worker punted. Give the parcel back.
    pub fn receive(&self) -> Option<Parcel> {
        self.0.punted.pop()
    }

    /// A parcel is empty again.
    pub fn give_back(&self, parcel: Parcel) {
        let _ = self.0.punt_blanks.push(parcel);
    }

    /// Has the worker send an IP packet. False if its queue is full, or the packet too large.
    pub fn inject(&self, packet: &[u8]) -> bool {
        let Some(mut parcel) = self.0.inject_blanks.pop() else {
            return false;
        };
        let fits = parcel.fill(PortId::default(), packet);
        let queue = if fits {
            &self.0.injected
        } else {
            &self.0.inject_blanks
        };
        // There are as many parcels as places.
        let _ = queue.push(parcel);
        fits
    }
}

impl WorkerSide {
    /// An empty parcel; `None` when the host does not keep up.
    pub fn blank(&self) -> Option<Parcel> {
        self.0.punt_blanks.pop()
    }

    /// Gives a packet to the host.
    pub fn punt(&self, parcel: Parcel) {
        let _ = self.0.punted.push(parcel);
    }

    /// A parcel was not used.
    pub fn keep(&self, parcel: Parcel) {
        let _ = self.0.punt_blanks.push(parcel);
    }

    /// The oldest packet that the host wants sent. Give the parcel back.
    pub fn receive(&self) -> Option<Parcel> {
        self.0.injected.pop()
    }

    /// A parcel is empty again.
    pub fn give_back(&self, parcel: Parcel) {
        let _ = self.0.inject_blanks.push(parcel);
    }
}

/// Makes a frame of an IP packet: an Ethernet header with addresses of zeros stands before it. `None`
/// if it is neither IPv4 nor IPv6.
pub fn ethernet_header(packet: &[u8]) -> Option<[u8; ETHERNET]> {
    let ethertype = match packet.first()? >> 4 {
        4 => ETHERTYPE_IPV4,
        6 => ETHERTYPE_IPV6,
        _ => return None,
    };
    let mut header = [0; ETHERNET];
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    Some(header)
}

/// The worker that a packet of the kernel is to be given to: the one that the reply will come to.
/// `frame` is the packet behind an [`ethernet_header`]. Any worker will do where there is no route.
pub fn home(snapshot: &Snapshot, frame: &[u8]) -> u16 {
    let Ok(parsed) = parse(frame, None, true) else {
        return 0;
    };
    let (_, to) = addresses(frame, &parsed);
    let Some(hop) = snapshot.routes.lookup(to) else {
        return 0;
    };
    let device = snapshot.ports.get(usize::from(hop.port.0));
    let tuple = if parsed.v6 {
        parsed.key_v6(frame, 0).tuple::<V6>()
    } else {
        parsed.key_v4(frame, 0).tuple::<V4>()
    };
    device.map_or(0, |port| {
        snapshot.steering.home_of(port.device, &tuple.reverse())
    })
}

/// Source and destination of a packet, as its header has them.
pub(crate) fn addresses(frame: &[u8], parsed: &Parsed) -> (IpAddr, IpAddr) {
    let l3 = usize::from(parsed.l3);
    if parsed.v6 {
        let addrs: [u8; 32] = array(frame, l3 + ipv6::field::ADDRS).unwrap_or([0; 32]);
        V6::unpack(zerocopy::transmute!(addrs))
    } else {
        V4::unpack(ne64(frame, l3 + ipv4::field::ADDRS).unwrap_or_default())
    }
}

/// Stands for the kernel where a path names its next hop; no neighbour has this number.
pub(crate) const KERNEL: NeighbourId = NeighbourId(u16::MAX);

/// The link to the kernel by the interface of a port. Frames go by it as they would to the port itself.
pub(crate) fn link(id: PortId, port: &Port) -> Link {
    Link {
        source: port.mac,
        device: DeviceId::host(id),
        vlan: UNTAGGED,
        mtu: port.mtu,
    }
}

/// Whether the address is one that the kernel may send from.
pub(crate) fn is_own(snapshot: &Snapshot, address: IpAddr) -> bool {
    matches!(snapshot.local.get(address), Some(Local::Own(_)))
}

/// How long a connection of the kernel is remembered after its last packet, milliseconds.
mod lifetime {
    /// TCP that was answered: longer than two keepalives of Linux.
    pub(super) const TCP: u32 = 4 * 3_600_000;
    /// TCP that was not: longer than Linux waits between the first five tries.
    pub(super) const TCP_OPENING: u32 = 20_000;
    /// TCP after a FIN of either side.
    pub(super) const TCP_CLOSING: u32 = 120_000;
    /// TCP after a reset: for what is still under way.
    pub(super) const TCP_RESET: u32 = 1000;
    /// UDP.
    pub(super) const UDP: u32 = 60_000;
    /// ICMP echo.
    pub(super) const ECHO: u32 = 15_000;
    /// Any other protocol.
    pub(super) const OTHER: u32 = 600_000;
}

/// What is remembered of one connection of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not answered yet.
    Opening,
    /// Answered.
    Open,
    /// TCP: one side has finished.
    Closing,
    /// TCP: reset.
    Reset,
}

impl State {
    fn after(self, flags: u8, reply: bool) -> Self {
        if flags & flag::RST != 0 {
            Self::Reset
        } else if flags & flag::SYN != 0 && !reply {
            // A new connection may take the place of one that is over.
            Self::Opening
        } else if flags & flag::FIN != 0 || self == Self::Closing {
            Self::Closing
        } else if reply {
            Self::Open
        } else {
            self
        }
    }

    fn lifetime(self, number: u8) -> u32 {
        match (number, self) {
            (proto::TCP, Self::Opening) => lifetime::TCP_OPENING,
            (proto::TCP, Self::Open) => lifetime::TCP,
            (proto::TCP, Self::Closing) => lifetime::TCP_CLOSING,
            (proto::TCP, Self::Reset) => lifetime::TCP_RESET,
            (proto::UDP, _) => lifetime::UDP,
            (proto::ICMP | proto::ICMPV6, _) => lifetime::ECHO,
            _ => lifetime::OTHER,
        }
    }
}

/// A connection of the kernel.
#[derive(Debug, Clone, Copy)]
struct Connection {
    state: State,
    /// Its next hop, referred to, so that it is kept and asked for.
    neighbour: NeighbourId,
}

/// The kernel's connections of one family, by the key of their replies.
#[derive(Debug)]
pub(crate) struct Connections<F: Family> {
    map: ExpiringMap<Key<F::Addrs>, Connection>,
    hasher: KeyHasher,
}

impl<F: Family> Connections<F> {
    pub(crate) fn new(
        memory: &mut impl Memory,
        capacity: usize,
        hasher: KeyHasher,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            map: ExpiringMap::new(memory, "connections of the host", capacity)?,
            hasher,
        })
    }

    /// The kernel sends a packet whose reply has this key, by a neighbour that the caller has referred
    /// to. Gives the neighbour to which a reference is to be released, if any.
    pub(crate) fn sent(
        &mut self,
        reply: &Key<F::Addrs>,
        flags: u8,
        neighbour: NeighbourId,
        now: u32,
    ) -> Result<Option<NeighbourId>, MapFull> {
        let hash = self.hasher.hash::<F>(reply);
        let known = self.map.get(hash, reply, now).map(|known| known.state);
        let state = known.unwrap_or(State::Opening).after(flags, false);
        let lifetime = state.lifetime(reply.proto);
        let connection = Connection { state, neighbour };
        let inserted = self.map.insert(hash, *reply, connection, now, lifetime)?;
        Ok(inserted.1.map(|old| old.neighbour))
    }

    /// Whether a packet with this key answers the kernel. `flags` are TCP's; `about`: it is an ICMP
    /// error about the connection, which leaves it as it is.
    pub(crate) fn answered(
        &mut self,
        key: &Key<F::Addrs>,
        flags: u8,
        about: bool,
        now: u32,
    ) -> bool {
        let hash = self.hasher.hash::<F>(key);
        let Some(handle) = self.map.find(hash, key, now) else {
            return false;
        };
        if about {
            return true;
        }
        if let Some(known) = self.map.get_mut(hash, key, now) {
            known.state = known.state.after(flags, true);
            let lifetime = known.state.lifetime(key.proto);
            self.map.set_lifetime(handle, now, lifetime);
        }
        true
    }

    /// Whether there is a connection whose replies have this key.
    pub(crate) fn has(&self, key: &Key<F::Addrs>, now: u32) -> bool {
        !self.map.is_empty() && self.map.get(self.hasher.hash::<F>(key), key, now).is_some()
    }

    /// Forgets what is over; `release` gets the neighbours that were referred to.
    pub(crate) fn sweep(&mut self, now: u32, budget: usize, mut release: impl FnMut(NeighbourId)) {
        self.map.sweep(now, budget, |_, connection| {
            release(connection.neighbour);
            None
        });
    }
}

/// Whether a packet of this kind can be the kernel's.
pub(crate) fn may_leave(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Session | Kind::IcmpError | Kind::FragmentFirst | Kind::FragmentRest
    )
}

#[cfg(test)]
mod tests;
