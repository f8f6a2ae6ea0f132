//! Sets of networks, for rules to ask whether an address is among them.
//!
//! The networks of a family become the ranges of addresses that they come down to: sorted, disjoint, and
//! none next to another. A lookup is a binary search, so that a list of thousands costs a first packet some
//! ten comparisons. Clones share their memory: many rules may speak of one list.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Networks of both families. Without any it stands for all addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Option<Arc<Sets>>);

#[derive(Debug, PartialEq, Eq)]
struct Sets {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Addresses of one family. Starts and ends have arrays of their own: a search reads the starts alone.
#[derive(Debug, PartialEq, Eq)]
struct Ranges<A> {
    firsts: Box<[A]>,
    lasts: Box<[A]>,
}

impl<A: Copy + Ord> Ranges<A> {
    /// Of spans with both ends included; `next` is the address after another one, if there is any.
    fn build(mut spans: Vec<(A, A)>, next: impl Fn(A) -> Option<A>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(A, A)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match merged.last_mut() {
                Some(before) if next(before.1).is_none_or(|next| first <= next) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        let (firsts, lasts): (Vec<A>, Vec<A>) = merged.into_iter().unzip();
        Self {
            firsts: firsts.into(),
            lasts: lasts.into(),
        }
    }

    #[inline]
    fn contains(&self, address: A) -> bool {
        let after = self.firsts.partition_point(|&first| first <= address);
        let last = after.checked_sub(1).and_then(|at| self.lasts.get(at));
        last.is_some_and(|&last| address <= last)
    }

    fn span(&self) -> Option<Span<A>> {
        Some(Span {
            first: *self.firsts.first()?,
            last: *self.lasts.last()?,
            whole: self.firsts.len() == 1,
        })
    }
}

/// From the first to the last address of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<A> {
    pub(crate) first: A,
    pub(crate) last: A,
    /// There is no address between them that is not in the set.
    pub(crate) whole: bool,
}

impl Networks {
    /// Whether `address` is in one of the networks, or there are none.
    #[inline]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (&self.0, address) {
            (None, _) => true,
            (Some(sets), IpAddr::V4(address)) => sets.v4.contains(address.to_bits()),
            (Some(sets), IpAddr::V6(address)) => sets.v6.contains(address.to_bits()),
        }
    }

    /// Whether there are none, so that it stands for all addresses.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// What of IPv4 is in there. `None` if nothing is, and if it is everything.
    pub(crate) fn span_v4(&self) -> Option<Span<u32>> {
        self.0.as_ref()?.v4.span()
    }

    /// The same of IPv6.
    pub(crate) fn span_v6(&self) -> Option<Span<u128>> {
        self.0.as_ref()?.v6.span()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        if v4.is_empty() && v6.is_empty() {
            return Self(None);
        }
        Self(Some(Arc::new(Sets {
            v4: Ranges::build(v4, |address| address.checked_add(1)),
            v6: Ranges::build(v6, |address| address.checked_add(1)),
        })))
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Self {
        networks.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn of(list: &[&str]) -> Networks {
        list.iter()
            .map(|net| net.parse::<IpNet>().unwrap())
            .collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_network_is_everything_and_one_family_is_not_the_other() {
        let nothing = of(&[]);
        assert!(nothing.is_everything() && nothing.holds(ip("::1")));
        let four = of(&["0.0.0.0/0"]);
        assert!(four.holds(ip("255.255.255.255")) && four.holds(ip("0.0.0.0")));
        assert!(!four.holds(ip("::")) && four.span_v6().is_none());
    }

    #[test]
    fn networks_side_by_side_are_one_range_also_at_the_end_of_all_addresses() {
        let halves = of(&[
            "255.255.255.128/25",
            "255.255.255.0/25",
            "255.255.255.255/32",
        ]);
        let span = halves.span_v4().unwrap();
        assert_eq!(Ipv4Addr::from(span.first), Ipv4Addr::new(255, 255, 255, 0));
        assert!(span.whole && span.last == u32::MAX);
        assert!(!halves.holds(ip("255.255.254.255")));
        // The wider one does not end with a narrower one within it.
        let nested = of(&["10.0.0.0/8", "10.1.0.0/16", "10.2.3.4/32", "12.0.0.0/8"]);
        assert!(nested.holds(ip("10.200.0.1")) && !nested.holds(ip("11.0.0.0")));
        assert!(!nested.span_v4().unwrap().whole);
        let last = of(&["ffff::/16", "8000::/1"]);
        assert!(last.span_v6().unwrap().whole);
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few bits, so that they meet, nest and touch; some at both ends of all addresses.
        let bits = prop_oneof![0..64u32, (0..64u32).prop_map(|n| u32::MAX - n)];
        prop_oneof![
            (bits, 26..=32u8)
                .prop_map(|(bits, len)| IpNet::new(Ipv4Addr::from(bits).into(), len).unwrap()),
            (any::<u128>(), 0..=128u8).prop_map(|(bits, len)| {
                let bits = bits & 3 | (bits >> 126) << 126;
                IpNet::new(Ipv6Addr::from(bits).into(), len).unwrap()
            }),
        ]
    }

    proptest! {
        /// A search finds what looking at every network finds.
        #[test]
        fn finds_what_looking_at_each_finds(
            list in prop::collection::vec(network(), 1..40),
            probes in prop::collection::vec(any::<(u128, bool)>(), 64),
        ) {
            let networks: Networks = list.iter().copied().collect();
            let around = list.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let drawn = probes.into_iter().map(|(bits, high)| match bits & 1 {
                0 => IpAddr::from(Ipv4Addr::from(match high {
                    true => u32::MAX - (bits as u32 >> 1) % 80,
                    false => (bits as u32 >> 1) % 80,
                })),
                _ => IpAddr::from(Ipv6Addr::from(bits & 6 | (bits >> 126) << 126)),
            });
            for address in around.chain(drawn) {
                let wanted = list.iter().any(|net| net.contains(&address));
                prop_assert_eq!(networks.holds(address), wanted, "{}", address);
            }
        }
    }
}
