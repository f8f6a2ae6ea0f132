//! Asking a worker what it would do with a packet.

use std::net::IpAddr;

use sluice_wire::parse::Kind;
use sluice_wire::{MacAddr, Tuple};

use super::RequestId;
use crate::counters::DropReason;
use crate::handoff::Why;
use crate::http_redirect::Answer;
use crate::io::DeviceId;
use crate::session::table::Direction;
use crate::snapshot::{PortId, ServerId, ServiceId};

/// Steps that a worker takes at most.
const STEPS: usize = 32;

/// A packet to judge, and what a worker found.
#[derive(Debug)]
pub struct Trace {
    /// The request that it answers.
    pub request: RequestId,
    /// The device that the frame comes by.
    pub device: DeviceId,
    /// The VLAN tag that the device takes out of it.
    pub tci: Option<u16>,
    /// The frame, from its destination MAC address on.
    pub frame: Vec<u8>,
    /// How it came to the worker.
    pub why: Why,
    /// What the worker looked at, in its order.
    pub steps: Vec<Step>,
    /// What would become of the packet.
    pub verdict: Verdict,
}

impl Trace {
    /// For a frame that comes from `device`.
    pub fn new(request: RequestId, device: DeviceId, tci: Option<u16>, frame: Vec<u8>) -> Self {
        Self {
            request,
            device,
            tci,
            frame,
            why: Why::Arrived,
            steps: Vec::with_capacity(STEPS),
            verdict: Verdict::Drop(DropReason::Internal),
        }
    }
}

/// What would become of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It would leave by this port, at once or as soon as its next hop has answered.
    Forward {
        /// The port.
        port: PortId,
        /// The tuple that it leaves with. Port 0 of the source: one that is still to be leased.
        leaves: Tuple,
        /// The next hop's MAC address has to be asked for first.
        waits: bool,
    },
    /// It would be dropped.
    Drop(DropReason),
    /// It is for the appliance itself, which answers it if it asks something.
    Consume,
    /// It would be given to the host's kernel.
    Punt,
    /// It would be given to the other appliance.
    Redirect,
    /// It would be handed to another worker, which decides.
    Pass(u16, Why),
    /// It is a fragment. What becomes of it depends on the rest of its datagram.
    Fragment,
}

/// Something that a worker looked at, and what it found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The port that the frame came in by, and its zone.
    Port(PortId, u8),
    /// Headers.
    Parsed {
        /// What kind of packet it is.
        kind: Kind,
        /// The tuple that its session is looked up by.
        tuple: Tuple,
        /// TTL or hop limit.
        ttl: u8,
        /// Bytes of the IP packet.
        length: u16,
        /// TCP flags; 0 for all else.
        flags: u8,
    },
    /// The packet belongs to this session.
    Session {
        /// Which of its two flows.
        direction: Direction,
        /// The tuple of the opener's packets.
        original: Tuple,
        /// The tuple of the packets that answer.
        reply: Tuple,
        /// See `session::state` and `tcp::state`.
        state: u8,
        /// The service that it runs under.
        service: ServiceId,
        /// Its real server.
        server: ServerId,
    },
    /// The session is over, for this reason: the packet counts as a first one.
    SessionOver(Over),
    /// No session of this worker has the packet's tuple.
    NoSession,
    /// Another worker registered the tuple.
    Registered(u16),
    /// The worker that is home to the tuple.
    Home(u16),
    /// The host's kernel waits for the packet, or lets strangers in.
    Host {
        /// It answers the kernel.
        reply: bool,
    },
    /// The other appliance may know it.
    Peer,
    /// Whether it can open a session.
    Opens(bool),
    /// The service that the destination names; `NONE` for no service.
    Service(ServiceId),
    /// Another worker decides for the client or internal endpoint.
    Decider(u16),
    /// An endpoint-independent mapping lets it in.
    Mapping(IpAddr, u16),
    /// The scheduler's choice, or persistence's.
    Server(ServerId),
    /// Where the destination, translated, is routed to.
    Route {
        /// The address.
        to: IpAddr,
        /// The port.
        port: PortId,
        /// Its zone.
        zone: u8,
        /// The next hop.
        via: IpAddr,
    },
    /// Where the source is routed to; from there the packet must come.
    SourceRoute(PortId, u8),
    /// What policy says, and by which rule (`NONE`: by what holds between the zones).
    Policy {
        /// Zone it comes from.
        from: u8,
        /// Zone it goes to.
        to: u8,
        /// Whether the session may be.
        allow: bool,
        /// The rule.
        rule: ServiceId,
        /// The destination is a published service: no rule is needed.
        published: bool,
    },
    /// The source becomes this; `None` where a mapping would be made for it.
    Source {
        /// The service that the session runs under.
        service: ServiceId,
        /// Address and port.
        source: Option<(IpAddr, u16)>,
    },
    /// No real server can take it: the virtual server answers it, to redirect the client.
    LastResort,
    /// It belongs to a connection that a virtual server has answered to redirect the client.
    Redirected(Answer),
    /// This rule does not let the virtual server answer.
    Denied(ServiceId),
    /// TCP tracking.
    Tcp(TcpVerdict),
    /// The neighbour that the packet is sent to.
    Neighbour {
        /// Its address.
        address: IpAddr,
        /// Its MAC address, if it is known.
        mac: Option<MacAddr>,
    },
}

/// Why a session is over that a packet met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The configuration would not open it today.
    Configuration,
    /// Its time.
    Timeout,
    /// The packet opens a new connection.
    Reopened,
    /// The real server has not answered, and takes no new sessions any more.
    Unanswered,
}

/// What TCP tracking says of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpVerdict {
    /// It fits.
    Fits,
    /// It is outside the window.
    OutOfWindow,
    /// The state does not allow it.
    Invalid,
}
