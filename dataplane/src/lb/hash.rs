//! The two hashes of load balancing: of names, stable for ever, and of clients, keyed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_wire::{Key, KeyHasher, Tuple, V4, V6};

/// A key that is no secret, for choices that must be the same on every appliance and after every
/// restart. Whoever has many addresses can find out which of them go to one server.
pub const EVERYWHERE: KeyHasher = KeyHasher::new([
    0x9ae1_6a3b_2f90_404f,
    0xc949_d7c7_509e_6557,
    0xff51_afd7_ed55_8ccd,
    0x8764_b3f3_5d8b_e4a9,
]);

/// A hash of a server's name that depends on nothing else: not on the process, the machine, the
/// place in the configuration or the other servers. `salt` makes independent hashes of one name.
pub fn of_name(name: &str, salt: u64) -> u64 {
    // FNV-1a, whose weak high bits the finalizer repairs.
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ spread(salt);
    for &byte in name.as_bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    spread(hash)
}

/// A bijection of 64 bits in which every input bit reaches every output bit (the finalizer of
/// splitmix64).
#[inline]
pub fn spread(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// A keyed hash of a client's address and 16 more bits: its port, or a service.
pub fn of_client(hasher: &KeyHasher, client: IpAddr, extra: u16) -> u64 {
    let tuple = |nowhere: IpAddr| Tuple {
        proto: 0,
        src: client,
        dst: nowhere,
        sport: extra,
        dport: 0,
    };
    let hash = match client {
        IpAddr::V4(_) => {
            hasher.hash::<V4>(&Key::new::<V4>(&tuple(Ipv4Addr::UNSPECIFIED.into()), 0))
        }
        IpAddr::V6(_) => {
            hasher.hash::<V6>(&Key::new::<V6>(&tuple(Ipv6Addr::UNSPECIFIED.into()), 0))
        }
    };
    // A table's hash need only be good enough to fill buckets, under secrets that are good. This
    // one must be even in its highest bits, whatever the secret.
    spread(hash)
}
