//! The small network stack that an appliance needs of its own.
//!
//! Everything is a function of its state, a packet and the time; frames come in and go out by the
//! caller's hand. Frames that are made or turned into answers here have a complete Ethernet header,
//! VLAN tag included, and only need to be given to the port's device.

pub mod arp;
pub mod echo;
pub mod ether;
pub mod fragment;
pub mod hold;
pub mod icmp;
pub mod ident;
pub mod link;
pub mod mld;
pub mod nd;
pub mod neighbour;
pub mod reply;
pub mod reset;
pub mod routes;
pub mod segment;
pub mod split;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// TTL and hop limit of packets made here (the default of RFC 1700 and its successors).
const TTL: u8 = 64;
