//! Network address translation.

use std::net::IpAddr;

use sluice_wire::{Key, KeyHasher, Tuple, V4, V6};

mod contacts;
mod index;
pub mod lease;
pub mod mapping;
pub mod ports;
pub mod rules;
mod slab;

/// What a keyed hash is for; each purpose has its own values.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Purpose {
    /// Start and order of a search for a port.
    Search = 1,
    /// The external address of an internal one.
    Pairing = 2,
    /// The worker of an internal endpoint.
    Affinity = 3,
    /// Mappings by internal endpoint.
    Internal = 4,
    /// Mappings by external endpoint.
    External = 5,
    /// Remote addresses of mappings.
    Contact = 6,
}

/// A keyed hash of a tuple, for a purpose.
fn hash(hasher: &KeyHasher, purpose: Purpose, tuple: &Tuple) -> u64 {
    if tuple.src.is_ipv4() {
        hasher.hash::<V4>(&Key::new::<V4>(tuple, purpose as u8))
    } else {
        hasher.hash::<V6>(&Key::new::<V6>(tuple, purpose as u8))
    }
}

/// A keyed hash of one endpoint, for a purpose.
fn hash_endpoint(
    hasher: &KeyHasher,
    purpose: Purpose,
    proto: u8,
    address: IpAddr,
    port: u16,
) -> u64 {
    let tuple = Tuple {
        proto,
        src: address,
        dst: address,
        sport: port,
        dport: 0,
    };
    hash(hasher, purpose, &tuple)
}

/// The addresses of a pool in the order in which an internal host is given them: its own first,
/// always the same one (RFC 4787 REQ-2, "paired"; RFC 6888 REQ-2), the others in case that one has
/// nothing left.
fn paired<'a>(
    hasher: &KeyHasher,
    addresses: &'a [IpAddr],
    internal: IpAddr,
) -> impl Iterator<Item = IpAddr> + 'a {
    let own = own_of(hasher, addresses.len(), internal);
    from_own(addresses, own, internal.is_ipv4())
}

/// The place of an internal host's own address among so many.
fn own_of(hasher: &KeyHasher, addresses: usize, internal: IpAddr) -> usize {
    let hash = hash_endpoint(hasher, Purpose::Pairing, 0, internal, 0);
    // The high part of a product spreads without dividing, and an empty pool gives 0.
    ((u128::from(hash) * addresses as u128) >> 64) as usize
}

/// The addresses of a family, from this place on and round.
fn from_own(addresses: &[IpAddr], own: usize, ipv4: bool) -> impl Iterator<Item = IpAddr> + '_ {
    let (before, from) = addresses.split_at_checked(own).unwrap_or((&[], addresses));
    from.iter()
        .chain(before)
        .copied()
        .filter(move |address| address.is_ipv4() == ipv4)
        .take(MAX_ADDRESSES)
}

/// Addresses of a pool that one packet may try.
const MAX_ADDRESSES: usize = 64;

/// Protocols whose sessions have a port or identifier that can be translated.
const fn has_ports(protocol: u8) -> bool {
    use sluice_wire::proto;
    matches!(
        protocol,
        proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6
    )
}
