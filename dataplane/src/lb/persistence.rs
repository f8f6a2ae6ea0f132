//! Clients that come back to the real server that they had.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::Persistence;

/// The network of `client` by which it is remembered.
pub fn network(persistence: &Persistence, client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => {
            let cut = 32 - u32::from(persistence.prefix_v4.min(32));
            let mask = u32::MAX.checked_shl(cut).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let cut = 128 - u32::from(persistence.prefix_v6.min(128));
            let mask = u128::MAX.checked_shl(cut).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}
