//! A digest of a set of sessions, kept up with each change, that shows whether two nodes have the same
//! set and where they differ.
//!
//! Sessions fall into [`BUCKETS`] by a hash of their original flow. Each contributes a number, made
//! from that hash and its [`Stamp`], to the sum of its bucket; sums are taken modulo 2^64, so the
//! order does not matter, and digests of parts of a set add up to that of the whole: a node whose
//! copies are spread over several workers adds theirs.
//!
//! The sender puts its sums into the stream ([`Digest::chunk`]). When they come out at the other end,
//! everything that was told before them was applied, so the receiver's own sums must be the same; of
//! buckets that differ it asks to be told anew.

use siphasher::sip::SipHasher13;
use sluice_wire::Family;
use zerocopy::IntoBytes;

use crate::lane::Lane;
use crate::record::{DIGEST_CHUNK, Identity, Record, Stamp};

/// Buckets of a digest.
pub const BUCKETS: usize = 256;
/// Records that tell a whole digest.
pub const CHUNKS: usize = BUCKETS / DIGEST_CHUNK;

const KEY: [u64; 2] = [0x736c_7569_6365_2d68, 0x612d_6469_6765_7374];

/// What a session is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    hash: u64,
}

impl Place {
    /// Of the session with this original flow.
    pub fn of<F: Family>(identity: &Identity<F>) -> Self {
        Self::of_tuple::<F>(&identity.addrs, identity.ports, identity.proto)
    }

    /// The same without the zone, which does not count: what a zone is called may change while the
    /// session lives, and then what was added could no longer be removed. Addresses and ports in
    /// wire order.
    #[inline]
    pub fn of_tuple<F: Family>(addrs: &F::Addrs, ports: u32, proto: u8) -> Self {
        // In one piece: SipHash of several takes four times as long.
        let mut bytes = [0; 2 * 16 + 4 + 1];
        let len = size_of::<F::Addrs>();
        bytes[..len].copy_from_slice(addrs.as_bytes());
        bytes[len..len + 4].copy_from_slice(&ports.to_ne_bytes());
        bytes[len + 4] = proto;
        Self {
            hash: SipHasher13::new_with_keys(KEY[0], KEY[1]).hash(&bytes[..len + 5]),
        }
    }

    /// Of what has this [`Place::hash`].
    pub fn of_hash(hash: u64) -> Self {
        Self { hash }
    }

    /// What is counted of a session besides, in the bucket of that.
    #[must_use]
    pub fn within_bucket(self, bucket: u16) -> Self {
        Self {
            hash: self.hash & (u64::MAX >> 8) | u64::from(bucket) << 56,
        }
    }

    /// Its bucket.
    pub fn bucket(self) -> u16 {
        (self.hash >> 56) as u16
    }

    /// The hash itself: what a session falls to a node by (see [`crate::members`]).
    pub fn hash(self) -> u64 {
        self.hash
    }

    /// What the session adds to the bucket's sum.
    fn term(self, stamp: Stamp) -> u64 {
        let said = u64::from(stamp.version) << 8 | u64::from(stamp.owner);
        mix(self.hash ^ said.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    sums: Box<[u64; BUCKETS]>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            sums: Box::new([0; BUCKETS]),
        }
    }
}

impl Digest {
    /// A session is there, as last said by `stamp`.
    #[inline]
    pub fn add(&mut self, place: Place, stamp: Stamp) {
        let sum = &mut self.sums[usize::from(place.bucket()) % BUCKETS];
        *sum = sum.wrapping_add(place.term(stamp));
    }

    /// It is no longer there, or no longer as said by `stamp`.
    #[inline]
    pub fn remove(&mut self, place: Place, stamp: Stamp) {
        let sum = &mut self.sums[usize::from(place.bucket()) % BUCKETS];
        *sum = sum.wrapping_sub(place.term(stamp));
    }

    /// The sums of the chunk that begins with bucket `first`.
    pub fn sums(&self, first: u16) -> [u64; DIGEST_CHUNK] {
        let (chunks, _) = self.sums.as_chunks::<DIGEST_CHUNK>();
        chunks[usize::from(first) / DIGEST_CHUNK % CHUNKS]
    }

    /// Adds all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        for (sum, other) in self.sums.iter_mut().zip(other.sums.iter()) {
            *sum = sum.wrapping_add(*other);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sums.fill(0);
    }

    /// The record that tells part `index`, modulo [`CHUNKS`], as it is now.
    pub fn chunk(&self, index: usize) -> Record {
        let (chunks, _) = self.sums.as_chunks::<DIGEST_CHUNK>();
        let index = index % CHUNKS;
        Record::Digest {
            first: (index * DIGEST_CHUNK) as u16,
            sums: chunks[index],
        }
    }

    /// The buckets from `first` on whose sums are not these.
    pub fn differing<'a>(
        &'a self,
        first: u16,
        sums: &'a [u64; DIGEST_CHUNK],
    ) -> impl Iterator<Item = u16> + 'a {
        let ours = self.sums.iter().skip(usize::from(first));
        let pairs = ours.zip(sums).enumerate();
        pairs
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(move |(at, _)| first + at as u16)
    }
}

/// Puts a digest into a stream, as fast as there is room.
#[derive(Debug, Default)]
pub struct Teller {
    left: usize,
}

impl Teller {
    /// Tells the digest from the start.
    pub fn start(&mut self) {
        self.left = CHUNKS;
    }

    /// Whether all of it was told.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Goes on as long as the lane has room, with the sum of both parts. A chunk is true of the moment
    /// at which it is told; they need not be of the same.
    pub fn poll(&mut self, lane: &mut Lane, parts: [&Digest; 2]) {
        while self.left > 0 && lane.has_room() {
            let first = ((CHUNKS - self.left) * DIGEST_CHUNK) as u16;
            let [mut sums, more] = parts.map(|part| part.sums(first));
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = sum.wrapping_add(more);
            }
            if lane.push(&Record::Digest { first, sums }).is_err() {
                return;
            }
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;
    use sluice_wire::{V4, key};

    use super::*;

    fn place(host: u8) -> Place {
        let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        Place::of::<V4>(&Identity {
            addrs: V4::pack(address(host), address(200)),
            ports: key::pack_ports(1, 2),
            proto: 6,
            zone: 1,
        })
    }

    fn stamp(version: u32) -> Stamp {
        Stamp { version, owner: 1 }
    }

    fn differing(a: &Digest, b: &Digest) -> Vec<u16> {
        let all = (0..CHUNKS).flat_map(|index| match a.chunk(index) {
            Record::Digest { first, sums } => b.differing(first, &sums).collect::<Vec<_>>(),
            _ => vec![],
        });
        all.collect()
    }

    #[test]
    fn a_missing_an_older_and_a_foreign_session_are_noticed() {
        let (mut ours, mut theirs) = (Digest::default(), Digest::default());
        for host in 0..100 {
            ours.add(place(host), stamp(7));
            theirs.add(place(host), stamp(7));
        }
        assert_eq!(differing(&ours, &theirs), []);
        ours.add(place(150), stamp(7));
        assert_eq!(differing(&ours, &theirs), [place(150).bucket()]);
        theirs.add(place(150), stamp(6));
        assert_eq!(differing(&ours, &theirs), [place(150).bucket()]);
        theirs.remove(place(150), stamp(6));
        let other = Stamp {
            version: 7,
            owner: 2,
        };
        theirs.add(place(150), other);
        assert_eq!(differing(&ours, &theirs), [place(150).bucket()]);
        theirs.remove(place(150), other);
        theirs.add(place(150), stamp(7));
        assert_eq!(differing(&ours, &theirs), []);
    }

    #[test]
    fn places_and_terms_are_the_same_in_every_release() {
        assert_eq!(place(1).hash, 0x2658_ab4a_9fcb_6b78);
        assert_eq!(place(1).term(stamp(7)), 0xbed6_d6c8_ca48_27bd);
    }

    proptest! {
        #[test]
        fn order_and_division_do_not_matter(
            steps in prop::collection::vec((any::<u8>(), any::<u32>(), any::<bool>()), 0..50),
        ) {
            let (mut whole, mut parts) = (Digest::default(), [Digest::default(), Digest::default()]);
            for &(host, version, _) in &steps {
                whole.add(place(host), stamp(version));
            }
            for &(host, version, left) in steps.iter().rev() {
                parts[usize::from(left)].add(place(host), stamp(version));
            }
            let [mut sum, right] = parts;
            sum.merge(&right);
            prop_assert_eq!(&sum, &whole);
            for &(host, version, _) in &steps {
                sum.remove(place(host), stamp(version));
            }
            prop_assert_eq!(sum, Digest::default());
        }
    }
}
