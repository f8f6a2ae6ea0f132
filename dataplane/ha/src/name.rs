//! Numbers for names that are the same on every node.
//!
//! Services, servers and zones have numbers that each process gives out as it meets their names. On
//! the wire they are known by a hash of the name: SipHash-2-4 under a fixed key, so that it does not
//! change from release to release. It keeps nobody out; names come from the configuration.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

const KEY: [u64; 2] = [0x736c_7569_6365_2d68, 0x612d_6e61_6d65_7331];

/// The hash of a service's or a server's name. Zero stands for none and is no name's hash.
pub fn hash64(name: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(KEY[0], KEY[1]);
    hasher.write(name.as_bytes());
    hasher.finish().max(1)
}

/// The hash of a zone's name, never zero. Zones are few: the configuration refuses two that hash
/// alike.
pub fn hash32(name: &str) -> u32 {
    ((hash64(name) >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_in_every_release() {
        assert_eq!(hash64("web"), 0x3144_cd80_8e3c_5dc1);
        assert_eq!(hash32("inside"), 0x852a_e6e0);
        assert_ne!(hash64(""), 0);
    }
}
