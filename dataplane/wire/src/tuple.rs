//! The directional tuple in readable form, for the slow path, the API and logs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Protocol, source and destination of one flow. Equal only to itself, never to its reverse.
///
/// Ports are in host order. For ICMP and ICMPv6 echo a request carries its identifier in `sport`
/// and 0 in `dport`, a reply the other way round, so that the reply of a request is its reverse.
/// Protocols without ports carry 0 in both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// IP protocol number.
    pub proto: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family as `src`.
    pub dst: IpAddr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

impl Tuple {
    /// The tuple of a packet that answers a packet of this one.
    #[must_use]
    pub fn reverse(self) -> Self {
        Self {
            proto: self.proto,
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} > {}",
            self.proto,
            SocketAddr::new(self.src, self.sport),
            SocketAddr::new(self.dst, self.dport)
        )
    }
}
