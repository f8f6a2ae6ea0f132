//! What nodes tell each other: one record, one change.
//!
//! Every record begins with its type and length, so a node skips types that it does not know, and
//! ignores what a later release appended to one that it does.
//!
//! A session is known by its *original* flow: the tuple that its opener's packets arrive with, and
//! the zone that they come in by. The reply flow follows from it: its packets arrive as the reverse of
//! what the opener's leave with, in the reply zone, and leave as the reverse of the original tuple.
//!
//! Process-local numbers are not sent. Zones, services and servers are known by hashes of their names
//! ([`crate::name`]), times are relative, and flags have numbers of their own, here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_wire::{Family, V4, V6};

mod codec;
mod packet;
#[cfg(test)]
mod tests;

pub use codec::{Item, MAX_LEN, Records, decode, encode};
pub use packet::PacketRecord;

/// Which of two statements about one session counts.
///
/// The owner adds one with each record; a node that takes a session over adds [`Stamp::TAKEOVER`], so
/// that whatever its former owner may still have under way is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Counts up, wraps, and is compared by wrapping difference.
    pub version: u32,
    /// Node id of the owner.
    pub owner: u8,
}

impl Stamp {
    /// What taking over adds: more than an owner says of one session before its peer hears of it.
    pub const TAKEOVER: u32 = 1 << 20;

    /// Whether this statement replaces `other`. If two nodes took over at once, the one with the
    /// higher id has it.
    #[must_use]
    pub fn replaces(self, other: Self) -> bool {
        let ahead = self.version.wrapping_sub(other.version).cast_signed();
        ahead > 0 || ahead == 0 && self.owner >= other.owner
    }

    /// The stamp of the same owner's next statement.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            version: self.version.wrapping_add(1),
            ..self
        }
    }

    /// The stamp of the first statement by `node`, which takes the session over.
    #[must_use]
    pub fn taken_over_by(self, node: u8) -> Self {
        Self {
            version: self.version.wrapping_add(Self::TAKEOVER),
            owner: node,
        }
    }
}

/// The original flow of a session, as its packets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<F: Family> {
    /// Source and destination address, wire order.
    pub addrs: F::Addrs,
    /// Source and destination port, wire order.
    pub ports: u32,
    /// IP protocol.
    pub proto: u8,
    /// Hash of the ingress zone's name.
    pub zone: u32,
}

/// One side of a TCP connection, as seen from between the hosts. Zero for other protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// Sequence number after the last one that this side sent.
    pub end: u32,
    /// Highest acknowledgement of this side's data by the other.
    pub acked: u32,
    /// Largest window that this side advertised, before scaling.
    pub max_window: u16,
    /// By how many bits its windows are shifted.
    pub scale: u8,
    /// Bits of [`side`].
    pub flags: u8,
}

/// Bits of [`Side::flags`].
pub mod side {
    /// The sequence numbers are known.
    pub const KNOWN: u8 = 1 << 0;
    /// The window scale is known from this side's SYN.
    pub const SCALE_KNOWN: u8 = 1 << 1;
    /// The largest window comes from a SYN, whose window is never scaled.
    pub const WINDOW_FROM_SYN: u8 = 1 << 2;
    /// The connection was taken up in the middle.
    pub const ADOPTED: u8 = 1 << 3;
    /// A packet of this side has been seen.
    pub const SEEN: u8 = 1 << 4;
}

/// How far a session has come: what its packets change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// TCP: 0 SYN sent, 1 SYN received, 2 established, 3 FIN of the opener, 4 FIN of the other side,
    /// 5 FIN of both, 6 both acknowledged, 7 reset. Other protocols: 0 until a reply was seen, then 1.
    pub state: u8,
    /// Milliseconds until it ends if no packet comes.
    pub timeout_left: u32,
    /// `[original, reply]`
    pub sides: [Side; 2],
}

/// Everything about a session: its birth, or the whole of it in a bulk sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRecord<F: Family> {
    /// Which statement this is.
    pub stamp: Stamp,
    /// The original flow.
    pub identity: Identity<F>,
    /// Source and destination that the opener's packets leave with, wire order.
    pub new_addrs: F::Addrs,
    /// Ports that they leave with, wire order.
    pub new_ports: u32,
    /// Hash of the name of the zone that replies come in by.
    pub reply_zone: u32,
    /// Hash of the service's name.
    pub service: u64,
    /// Hash of the real server's name, 0 for none.
    pub server: u64,
    /// Bits of [`session`].
    pub flags: u8,
    /// Milliseconds since it was opened.
    pub age: u32,
    /// State, numbers and time left.
    pub progress: Progress,
    /// With [`session::WATCHED`]: how far sequence numbers of either direction (original, reply) are
    /// ahead of the sender's when they leave, modulo 2^32.
    pub shifts: [u32; 2],
}

/// Bits of [`SessionRecord::flags`].
pub mod session {
    /// Only the opener's packets pass here (direct server return).
    pub const ONE_WAY: u8 = 1 << 0;
    /// The MSS option of SYNs is clamped.
    pub const CLAMP_MSS: u8 = 1 << 1;
    /// The source is translated by an endpoint-independent mapping, which has a record of its own.
    pub const MAPPED: u8 = 1 << 2;
    /// It is a control connection that is read, and whose text may have changed in length.
    pub const WATCHED: u8 = 1 << 3;
    /// A control connection announced it.
    pub const RELATED: u8 = 1 << 4;
}

/// A session went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRecord<F: Family> {
    /// Which statement this is.
    pub stamp: Stamp,
    /// The original flow.
    pub identity: Identity<F>,
    /// Where it stands now.
    pub progress: Progress,
}

/// A session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeathRecord<F: Family> {
    /// Which statement this is.
    pub stamp: Stamp,
    /// The original flow.
    pub identity: Identity<F>,
}

/// A session is the sender's, and whoever hears that needs no more of it: see [`crate::members`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointerRecord<F: Family> {
    /// Which statement this is.
    pub stamp: Stamp,
    /// The original flow.
    pub identity: Identity<F>,
    /// Source and destination that the opener's packets leave with, wire order.
    pub new_addrs: F::Addrs,
    /// Ports that they leave with, wire order.
    pub new_ports: u32,
    /// Hash of the name of the zone that replies come in by.
    pub reply_zone: u32,
    /// The session has ended.
    pub is_gone: bool,
}

impl<F: Family> PointerRecord<F> {
    /// To a session that there is.
    pub fn to(session: &SessionRecord<F>) -> Self {
        Self {
            stamp: session.stamp,
            identity: session.identity,
            new_addrs: session.new_addrs,
            new_ports: session.new_ports,
            reply_zone: session.reply_zone,
            is_gone: false,
        }
    }
}

/// A client and the real server that it is to go to again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRecord {
    /// Hash of the virtual server's name.
    pub service: u64,
    /// The client's network, its host bits zero.
    pub network: IpAddr,
    /// Hash of the real server's name.
    pub server: u64,
    /// Milliseconds until it is forgotten; 0: forget it now.
    pub timeout_left: u32,
}

/// An endpoint-independent mapping (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingRecord {
    /// Which statement this is.
    pub stamp: Stamp,
    /// IP protocol.
    pub proto: u8,
    /// 0 endpoint-independent, 1 address-dependent, 2 address and port-dependent filtering.
    pub filtering: u8,
    /// Hash of the SNAT service's name.
    pub service: u64,
    /// The host's address and port.
    pub internal: (IpAddr, u16),
    /// Address and port that the world sees, of the same family.
    pub external: (IpAddr, u16),
    /// Milliseconds until it goes if no session holds it; 0: it is gone.
    pub timeout_left: u32,
}

/// Buckets of the digest that one [`Record::Digest`] tells.
pub const DIGEST_CHUNK: usize = 16;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 session was opened, or is told whole.
    Session4(SessionRecord<V4>),
    /// The same for IPv6.
    Session6(SessionRecord<V6>),
    /// An IPv4 session went on.
    Change4(ChangeRecord<V4>),
    /// The same for IPv6.
    Change6(ChangeRecord<V6>),
    /// An IPv4 session ended.
    Death4(DeathRecord<V4>),
    /// The same for IPv6.
    Death6(DeathRecord<V6>),
    /// Whose an IPv4 session is.
    Pointer4(PointerRecord<V4>),
    /// The same for IPv6.
    Pointer6(PointerRecord<V6>),
    /// Persistence.
    Client(ClientRecord),
    /// Endpoint-independent mapping.
    Mapping(MappingRecord),
    /// All that the sender has follows, in between the changes. What the receiver has from this
    /// sender on this lane, and is not told of before the end of this round, no longer exists.
    BulkBegin {
        /// Number of the round, to mark what was told.
        round: u16,
    },
    /// Everything was told.
    BulkEnd {
        /// As in the begin.
        round: u16,
        /// Sessions told by the bulk itself.
        sessions: u64,
    },
    /// The sender's digest of its sessions at this place in the stream.
    Digest {
        /// First of [`DIGEST_CHUNK`] buckets.
        first: u16,
        /// Their sums.
        sums: [u64; DIGEST_CHUNK],
    },
    /// To a sender: your digest of this bucket is not mine, tell it anew.
    RepairRequest {
        /// The bucket.
        bucket: u16,
    },
    /// As [`Record::BulkBegin`], for the sessions of one bucket.
    RepairBegin {
        /// The bucket.
        bucket: u16,
        /// Number of the round, counted together with those of bulk syncs.
        round: u16,
    },
    /// As [`Record::BulkEnd`], for the sessions of one bucket.
    RepairEnd {
        /// The bucket.
        bucket: u16,
        /// As in the begin.
        round: u16,
    },
}

/// Sixteen bytes for either family, IPv4 in the first four.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
    }
}

fn address(is_v6: bool, bytes: [u8; 16]) -> IpAddr {
    if is_v6 {
        Ipv6Addr::from(bytes).into()
    } else {
        let [a, b, c, d, ..] = bytes;
        Ipv4Addr::new(a, b, c, d).into()
    }
}
