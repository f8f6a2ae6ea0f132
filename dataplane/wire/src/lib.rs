//! Headers, checksums and tuples: bytes in, bytes out.
//!
//! Nothing here knows of sessions, configuration or devices. Every parser takes a byte slice that
//! may be truncated, overlong or random, and never panics. Offsets are counted from the first byte
//! of the Ethernet frame; multi-byte fields are given in host byte order unless a name or a doc
//! line says "wire order", which means the bytes as they stand in the packet, read natively.

pub mod arp;
pub mod bytes;
pub mod checksum;
pub mod ethernet;
#[doc(hidden)]
pub mod fuzzing;
pub mod icmp4;
pub mod icmp6;
pub mod ipv4;
pub mod ipv6;
pub mod key;
pub mod mac;
pub mod ndisc;
pub mod parse;
pub mod proto;
#[cfg(test)]
mod samples;
pub mod tcp;
pub mod toeplitz;
pub mod tuple;
pub mod udp;

pub use checksum::{Delta, Sum};
pub use key::{Family, Key, KeyHasher, V4, V6};
pub use mac::MacAddr;
pub use parse::{Kind, ParseError, Parsed, parse, parse_plain};
pub use toeplitz::Toeplitz;
pub use tuple::Tuple;
