//! Where every received frame ends.
//!
//! received = forwarded + redirected + punted + consumed + dropped (by reason) + held, at any moment
//! and to the frame, where `held` are those that wait for a neighbour, for a fragment or in a ring
//! between two workers.

use sluice_wire::ParseError;

use crate::published::WorkerCounter;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// All reasons, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in the API, in logs and in metrics: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it means, in a sentence.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its headers say.
    Truncated = "truncated",
    /// Spread over more than one buffer; raise the port's MTU.
    Segmented = "segmented",
    /// Neither IPv4, IPv6 nor ARP.
    EtherType = "ethertype",
    /// A VLAN tag that no port has.
    UnknownVlan = "unknown_vlan",
    /// Sent to another station's MAC address.
    NotOurMac = "not_our_mac",
    /// Broadcast or multicast that nothing here listens to.
    Multicast = "multicast",
    /// An IP header with a wrong version, length or option.
    BadIpHeader = "bad_ip_header",
    /// A wrong IPv4 header checksum.
    BadIpChecksum = "bad_ip_checksum",
    /// A transport header that contradicts itself.
    BadL4Header = "bad_l4_header",
    /// A wrong TCP checksum in a segment that the appliance itself would answer, or has to read.
    BadTcpChecksum = "bad_tcp_checksum",
    /// A source address that no host can have, or one of our own.
    MartianSource = "martian_source",
    /// A destination address that must not be on the wire: loopback, unspecified.
    MartianDestination = "martian_destination",
    /// An IPv6 extension header that an appliance must not pass (routing header 0) or cannot walk.
    ExtensionHeader = "extension_header",
    /// Malformed ARP.
    BadArp = "bad_arp",
    /// Malformed or off-link neighbour discovery.
    BadNeighbourDiscovery = "bad_neighbour_discovery",
    /// TTL or hop limit used up; the sender was told.
    TtlExceeded = "ttl_exceeded",
    /// A source address that is not routed to where the packet came from.
    Spoofed = "spoofed",
    /// No route to the destination.
    NoRoute = "no_route",
    /// Larger than the next link takes, and not to be fragmented; the sender was told.
    TooBig = "too_big",
    /// The policy between the zones, or a firewall rule, says no.
    Denied = "denied",
    /// TCP without a session, and not a SYN.
    OutOfState = "out_of_state",
    /// TCP flags that no stack sends, or that the session's state does not allow.
    TcpInvalid = "tcp_invalid",
    /// A TCP segment outside the window, where the policy is strict.
    TcpOutOfWindow = "tcp_out_of_window",
    /// Of a control connection that is watched (FTP): a segment out of order, in pieces, or with a part of
    /// what was rewritten; the sender repeats it.
    AlgUnreadable = "alg_unreadable",
    /// An ICMP error about no session of ours.
    IcmpUnrelated = "icmp_unrelated",
    /// An ICMP message that is neither echo nor error.
    IcmpUnsupported = "icmp_unsupported",
    /// The session table is full.
    SessionTableFull = "session_table_full",
    /// Another session already has the tuple that this one would need.
    TupleClash = "tuple_clash",
    /// All ports of the SNAT pool towards this destination are taken.
    NatPortsExhausted = "nat_ports_exhausted",
    /// The table of endpoint-independent mappings is full.
    NatMappingsFull = "nat_mappings_full",
    /// From outside to a SNAT address where no mapping is, or its filter says no.
    NatNoMapping = "nat_no_mapping",
    /// The virtual server has no real server that may take the session.
    NoRealServer = "no_real_server",
    /// All real servers of the virtual server have as many sessions as they may.
    Overloaded = "overloaded",
    /// The table of next hops in use is full.
    PathTableFull = "path_table_full",
    /// The next hop did not answer.
    NeighbourUnresolved = "neighbour_unresolved",
    /// Too many packets already wait for the next hop.
    NeighbourQueueFull = "neighbour_queue_full",
    /// Too many datagrams are being put together.
    FragmentTableFull = "fragment_table_full",
    /// The rest of the datagram did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// A fragment brought nothing that was not there already.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment overlaps another of its datagram.
    FragmentOverlap = "fragment_overlap",
    /// A fragment that no datagram can have.
    FragmentInvalid = "fragment_invalid",
    /// The ring to the worker that owns the session is full.
    HandoffFull = "handoff_full",
    /// To an address of ours where nothing listens.
    NotListening = "not_listening",
    /// Strangers sent the host more than the rate that it is given.
    PuntLimited = "punt_limited",
    /// The queue to the host is full.
    HostQueueFull = "host_queue_full",
    /// The host has more connections than are remembered.
    HostTableFull = "host_table_full",
    /// On the HA link: neither a packet that the peer handed on, nor of the HA protocol.
    HaForged = "ha_forged",
    /// No session is known for it, and this node has just started and not met its peer yet, which may
    /// have one.
    HaWaiting = "ha_waiting",
    /// A datagram of the HA link that is damaged, repeated, or not from the peer.
    HaRefused = "ha_refused",
    /// No packet buffer for the answer or for what had to be changed.
    NoBuffer = "no_buffer",
    /// The device did not take it for transmission.
    TxFull = "tx_full",
    /// The appliance was stopped while it waited.
    Stopped = "stopped",
    /// Counted as malformed by a check that should never fire; please report.
    Internal = "internal",
}

impl From<ParseError> for DropReason {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Truncated => Self::Truncated,
            ParseError::EtherType => Self::EtherType,
            ParseError::Multicast => Self::Multicast,
            ParseError::BadIpHeader => Self::BadIpHeader,
            ParseError::BadIpChecksum => Self::BadIpChecksum,
            ParseError::BadL4Header => Self::BadL4Header,
            ParseError::MartianSource => Self::MartianSource,
            ParseError::MartianDestination => Self::MartianDestination,
            ParseError::ExtensionHeader => Self::ExtensionHeader,
            ParseError::FragmentInvalid => Self::FragmentInvalid,
            ParseError::IcmpUnrelated => Self::IcmpUnrelated,
            ParseError::IcmpUnsupported => Self::IcmpUnsupported,
        }
    }
}

/// What one worker counted since it started. Plain numbers, written by that worker alone; readers
/// see the copy that it publishes (see [`crate::published`]).
#[derive(Clone, Debug)]
pub struct Counters {
    values: [u64; WorkerCounter::COUNT],
    dropped: [u64; DropReason::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            values: [0; WorkerCounter::COUNT],
            dropped: [0; DropReason::COUNT],
        }
    }
}

impl Counters {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, counter: WorkerCounter) {
        self.add(counter, 1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(&mut self, counter: WorkerCounter, n: u64) {
        self.values[counter as usize] += n;
    }

    /// Sets a counter that says what is there at the moment.
    pub fn set(&mut self, counter: WorkerCounter, value: u64) {
        self.values[counter as usize] = value;
    }

    /// Counts one dropped frame.
    #[inline]
    pub fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts `n` dropped frames.
    pub fn add_drops(&mut self, reason: DropReason, n: u64) {
        self.dropped[reason as usize] += n;
    }

    /// A counter's value.
    pub fn get(&self, counter: WorkerCounter) -> u64 {
        self.values[counter as usize]
    }

    /// Frames dropped, by reason.
    pub fn all_dropped(&self) -> [u64; DropReason::COUNT] {
        self.dropped
    }

    /// Frames dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}
