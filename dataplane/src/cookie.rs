//! Sequence numbers that remember a TCP handshake in place of memory (SYN cookies, RFC 4987 section
//! 3.6).
//!
//! Who answers a SYN by such a number knows from a later segment alone that its sender has got the
//! answer: nobody else can acknowledge it. The number is
//!
//! - in its upper 12 bits those of the client's initial sequence number, under a mask, so that a
//!   segment's place in the client's stream is known, modulo 4096,
//! - in its lower 20 bits a hash, so that it is known how much of what was sent the client has got.
//!
//! Hash and mask are SipHash-2-4 of addresses, ports and the time in slots of 2^18 ms (4 minutes and 22
//! seconds), under a secret key. A number is good for its slot and the next.

use std::hash::Hasher;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher24;
use sluice_wire::Tuple;

/// Bits of a slot's length in milliseconds.
const SLOT_BITS: u32 = 18;
/// The clock comes round after so many slots.
const SLOTS: u32 = 1 << (32 - SLOT_BITS);
/// Bits of the hash in a cookie.
const HASH_BITS: u32 = 20;
const HASH_MASK: u32 = (1 << HASH_BITS) - 1;
/// Bits of the client's sequence number in it.
const PLACE_MASK: u32 = (1 << (32 - HASH_BITS)) - 1;
/// Two addresses, two ports, a slot.
const LONGEST: usize = 16 + 16 + 2 + 2 + 2;

/// A secret key.
pub type Key = [u64; 2];

/// Makes and reads cookies. All who share its keys and clock read each other's.
#[derive(Clone, Copy)]
pub struct Cookies {
    key: Key,
    /// Another key that cookies are read by.
    also: Option<Key>,
    /// What the clock says when `now` is 0, milliseconds; wraps.
    clock: u32,
    /// Others make cookies as well, whose clock may be fast.
    shared: bool,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// What a segment of a client says by its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Bytes that the client has sent before the segment, modulo 4096.
    pub place: u16,
    /// Numbers after the cookie that it acknowledges: bytes and FIN.
    pub acknowledged: u16,
}

impl Told {
    /// Whether all 32 bits of the cookie have been checked: of a segment at the beginning of the
    /// client's stream, which acknowledges nothing but the handshake.
    pub const fn is_certain(&self) -> bool {
        self.place == 0 && self.acknowledged == 0
    }
}

impl Cookies {
    /// For one appliance, under a random key.
    pub const fn new(key: Key) -> Self {
        Self {
            key,
            also: None,
            clock: 0,
            shared: false,
        }
    }

    /// For appliances that have a secret in common, and perhaps another one that is to follow, or that it
    /// followed. `clock`: milliseconds since 1970, modulo 2^32, when `now` is 0.
    pub fn shared(secret: &[u8; 32], other: Option<&[u8; 32]>, clock: u32) -> Self {
        let key = |secret: &[u8; 32]| {
            let derived = sluice_ha::seal::derive(secret, b"sluice syn cookies");
            let word = |at: usize| derived[at..at + 8].iter();
            [0, 8].map(|at| word(at).fold(0, |word, byte| word << 8 | u64::from(*byte)))
        };
        Self {
            key: key(secret),
            also: other.map(key),
            clock,
            shared: true,
        }
    }

    /// The initial sequence number that answers a SYN of `tuple` with sequence number `isn`.
    pub fn make(&self, tuple: &Tuple, isn: u32, now: u32) -> u32 {
        let hash = hash(self.key, tuple, self.slot(now));
        let place = (isn & PLACE_MASK).wrapping_add(hash >> HASH_BITS);
        place << HASH_BITS | hash & HASH_MASK
    }

    /// What a segment of `tuple` says, if its sender was given a cookie and `acknowledges` so much. The
    /// probability that this is an accident is about one in 2^20 for each number that may be acknowledged,
    /// and one in 2^32 if it [is certain](Told::is_certain).
    pub fn read(
        &self,
        tuple: &Tuple,
        (seq, ack): (u32, u32),
        now: u32,
        acknowledges: impl Fn(u16) -> bool,
    ) -> Option<Told> {
        let slot = self.slot(now);
        let before = slot.wrapping_sub(1) % SLOTS;
        let after = self.shared.then_some(slot.wrapping_add(1) % SLOTS);
        let keys = [Some(self.key), self.also];
        let slots = [Some(slot), Some(before), after];
        let told = |key, slot| {
            let hash = hash(key, tuple, slot);
            let acknowledged = ack.wrapping_sub(1).wrapping_sub(hash) & HASH_MASK;
            let acknowledged = u16::try_from(acknowledged).ok()?;
            let cookie = ack.wrapping_sub(1).wrapping_sub(u32::from(acknowledged));
            let isn = (cookie >> HASH_BITS).wrapping_sub(hash >> HASH_BITS);
            Some(Told {
                place: (seq.wrapping_sub(1).wrapping_sub(isn) & PLACE_MASK) as u16,
                acknowledged,
            })
        };
        let mut all = keys.into_iter().flatten().flat_map(|key| {
            let slots = slots.into_iter().flatten();
            slots.filter_map(move |slot| told(key, slot))
        });
        all.find(|told| told.acknowledged == 0 || acknowledges(told.acknowledged))
    }

    /// The slot of a time.
    fn slot(&self, now: u32) -> u32 {
        self.clock.wrapping_add(now) >> SLOT_BITS
    }
}

fn hash(key: Key, tuple: &Tuple, slot: u32) -> u32 {
    let mut bytes = ArrayVec::<u8, LONGEST>::new();
    for address in [tuple.src, tuple.dst] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    for word in [tuple.sport, tuple.dport, slot as u16] {
        bytes.extend(word.to_be_bytes());
    }
    let mut hasher = SipHasher24::new_with_keys(key[0], key[1]);
    hasher.write(&bytes);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_wire::proto;

    use super::*;

    const SLOT: u32 = 1 << SLOT_BITS;
    const COOKIES: Cookies = Cookies::new([1, 2]);

    fn tuple(sport: u16) -> Tuple {
        Tuple {
            proto: proto::TCP,
            src: [203, 0, 113, 9].into(),
            dst: [192, 0, 2, 100].into(),
            sport,
            dport: 80,
        }
    }

    /// What is read of a segment that comes `later` than the SYN, after `place` bytes and with
    /// `acknowledged` acknowledged; 200 to 299 may be.
    fn read(isn: u32, (place, acknowledged): (u32, u32), (now, later): (u32, u32)) -> Option<Told> {
        let cookie = COOKIES.make(&tuple(7), isn, now);
        let seq = isn.wrapping_add(1).wrapping_add(place);
        let ack = cookie.wrapping_add(1).wrapping_add(acknowledged);
        let now = now.wrapping_add(later);
        COOKIES.read(&tuple(7), (seq, ack), now, |n| (200..300).contains(&n))
    }

    proptest! {
        #[test]
        fn a_segment_tells_where_it_is_and_what_was_got(
            isn: u32, now: u32, place in 0u32..4096, got in 200u32..300, not in 1u32..200,
        ) {
            for got in [0, got] {
                let told = Told { place: place as u16, acknowledged: got as u16 };
                prop_assert_eq!(read(isn, (place, got), (now, 0)), Some(told));
            }
            // By the hash of the slot before it may mean something else, one time in 10,000.
            let told = read(isn, (place, not), (now, 0));
            prop_assert!(told.is_none_or(|told| u32::from(told.acknowledged) != not));
        }

        #[test]
        fn nobody_else_is_believed(isn: u32, now: u32, off in 1u32.., other: Key) {
            let told = Some(Told { place: 0, acknowledged: 0 });
            let cookie = COOKIES.make(&tuple(7), isn, now);
            let read = |cookies: &Cookies, tuple: &Tuple, seq: u32, ack: u32| {
                cookies.read(tuple, (seq, ack), now, |_| false)
            };
            let (seq, ack) = (isn.wrapping_add(1), cookie.wrapping_add(1));
            prop_assert_eq!(read(&COOKIES, &tuple(7), seq, ack), told);
            // Another number is never certain: it is some other, or at another place.
            prop_assert_ne!(read(&COOKIES, &tuple(7), seq, ack.wrapping_add(off)), told);
            prop_assume!(other != [1, 2]);
            // One in 2^32 of these may be.
            prop_assert_ne!(read(&COOKIES, &tuple(8), seq, ack), told);
            prop_assert_ne!(read(&COOKIES, &tuple(7).reverse(), seq, ack), told);
            prop_assert_ne!(read(&Cookies::new(other), &tuple(7), seq, ack), told);
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_slot_and_the_next_also_where_the_clock_comes_round() {
        for start in [0, 5 * SLOT, 0u32.wrapping_sub(SLOT)] {
            let at = |later| read(99, (0, 0), (start, later)).is_some();
            assert!(at(0) && at(SLOT - 1) && at(SLOT) && at(2 * SLOT - 1));
            assert!(!at(2 * SLOT) && !at(3 * SLOT) && !at(1000 * SLOT));
        }
        assert_ne!(
            COOKIES.make(&tuple(7), 1, 0),
            COOKIES.make(&tuple(7), 1, SLOT)
        );
    }

    #[test]
    fn nodes_that_share_a_secret_and_the_time_read_each_others() {
        let (one, two) = ([1; 32], [2; 32]);
        // The second started an hour later.
        let hour = 3_600_000;
        let here = Cookies::shared(&one, None, 0u32.wrapping_sub(1000));
        let told = |there: &Cookies, from: &Cookies, at: u32, back: u32| {
            let cookie = from.make(&tuple(7), 5, at);
            there.read(&tuple(7), (6, cookie.wrapping_add(1)), back, |_| false)
        };
        let there = |secret: &[u8; 32], other| Cookies::shared(secret, other, hour - 1000);
        for at in [hour, hour + SLOT, hour + 10 * SLOT + 77] {
            let there = there(&one, None);
            assert!(told(&there, &here, at, at - hour).is_some());
            assert!(told(&here, &there, at - hour, at).is_some());
            // One is a whole slot ahead.
            assert!(told(&there, &here, at + SLOT, at - hour).is_some());
            assert!(told(&there, &here, at + 2 * SLOT, at - hour).is_none());
        }
        // While keys are exchanged, either way.
        assert!(told(&there(&two, Some(&one)), &here, hour, 0).is_some());
        let old = Cookies::shared(&one, Some(&two), 0u32.wrapping_sub(1000));
        assert!(told(&old, &there(&two, Some(&one)), 0, hour).is_some());
        assert!(told(&there(&two, None), &here, hour, 0).is_none());
    }

    #[test]
    fn both_families_are_hashed_whole() {
        let v6 = |last: u16, sport| Tuple {
            src: [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into(),
            dst: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            ..tuple(sport)
        };
        let all = [v6(2, 7), v6(3, 7), v6(2, 8), tuple(7), tuple(8)];
        let mut made = all.map(|tuple| COOKIES.make(&tuple, 0, 0)).to_vec();
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), all.len());
    }
}
