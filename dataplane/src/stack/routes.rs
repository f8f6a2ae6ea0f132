//! Longest prefix match.
//!
//! The prefixes of a family are turned into the ranges of addresses that they come down to: sorted,
//! disjoint, each with one answer. A lookup is a binary search for the last range that starts at or
//! below the address. Where there are many ranges, a table by the upper 16 bits first narrows the
//! search to those of one /16, which are a few cache lines (the idea of DXR: Zec, Rizzo, Mikuc,
//! "DXR: towards a billion routing lookups per second in software", CCR 42(5), 2012).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::snapshot::PortId;

#[cfg(test)]
mod tests;

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The port it leaves by.
    pub port: PortId,
    /// The router to give it to; `None`: the destination itself is on that network.
    pub gateway: Option<IpAddr>,
}

/// A set of routes that has no single meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two routes for one prefix.
    #[error("two routes to {0}")]
    Duplicate(IpNet),
}

/// The routes of both families, immutable.
#[derive(Debug, Default, Clone)]
pub struct Routes {
    /// Sorted by prefix, host bits cleared.
    listed: Vec<(IpNet, NextHop)>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Routes {
    /// Compiles a set of routes. Host bits of the prefixes do not count.
    ///
    /// # Errors
    /// [`RouteError::Duplicate`] if a prefix is given twice, even with the same next hop.
    pub fn build(routes: impl IntoIterator<Item = (IpNet, NextHop)>) -> Result<Self, RouteError> {
        let mut listed: Vec<_> = routes
            .into_iter()
            .map(|(prefix, hop)| (prefix.trunc(), hop))
            .collect();
        // By first address, and of prefixes that start together the wider first: the order in
        // which ranges nest.
        listed.sort_by_key(|&(prefix, _)| (prefix.network(), prefix.prefix_len()));
        if let Some(pair) = listed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(RouteError::Duplicate(pair[0].0));
        }
        let v4 = listed.iter().filter_map(|&(prefix, hop)| match prefix {
            IpNet::V4(net) => Some(Span {
                first: u32::from(net.network()),
                last: u32::from(net.broadcast()),
                hop,
            }),
            IpNet::V6(_) => None,
        });
        let v6 = listed.iter().filter_map(|&(prefix, hop)| match prefix {
            IpNet::V6(net) => Some(Span {
                first: u128::from(net.network()),
                last: u128::from(net.broadcast()),
                hop,
            }),
            IpNet::V4(_) => None,
        });
        Ok(Self {
            v4: Ranges::build(v4),
            v6: Ranges::build(v6),
            listed,
        })
    }

    /// The next hop of the longest prefix that contains `dst`.
    #[inline]
    pub fn lookup(&self, dst: IpAddr) -> Option<NextHop> {
        match dst {
            IpAddr::V4(dst) => self.v4.lookup(u32::from(dst)),
            IpAddr::V6(dst) => self.v6.lookup(u128::from(dst)),
        }
    }

    /// All routes, IPv4 first, by prefix.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, NextHop)> + '_ {
        self.listed.iter().copied()
    }
}

/// An address as a number.
trait Address: Copy + Ord {
    const ZERO: Self;
    /// The upper 16 bits.
    fn upper(self) -> usize;
    /// The address after this one, unless it is the last.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    const ZERO: Self = 0;

    #[inline]
    fn upper(self) -> usize {
        (self >> 16) as usize
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const ZERO: Self = 0;

    #[inline]
    fn upper(self) -> usize {
        (self >> 112) as usize
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// A prefix as a range, ends included.
struct Span<A> {
    first: A,
    last: A,
    hop: NextHop,
}

/// In `Ranges::answers`: no route.
const NONE: u32 = u32::MAX;
/// With so many ranges the table by upper bits pays: below, they fit the first-level cache.
const WORTH_INDEXING: usize = 1024;

/// Disjoint ranges that together cover all addresses.
#[derive(Debug, Clone)]
struct Ranges<A> {
    /// Where each range starts, ascending. The first is 0, if there is any.
    starts: Vec<A>,
    /// For each range: index into `hops`, or [`NONE`].
    answers: Vec<u32>,
    /// Different next hops.
    hops: Vec<NextHop>,
    /// For each value of the upper 16 bits: a range at or before the first that holds an address with
    /// them, and one more entry for the end. Empty where ranges are few.
    index: Vec<u32>,
}

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Self {
            starts: Vec::new(),
            answers: Vec::new(),
            hops: Vec::new(),
            index: Vec::new(),
        }
    }
}

impl<A: Address> Ranges<A> {
    /// From prefixes in nesting order.
    fn build(spans: impl Iterator<Item = Span<A>>) -> Self {
        let mut ranges = Self::default();
        let mut known = std::collections::HashMap::new();
        // Prefixes that are still open where the sweep stands, widest first.
        let mut open: Vec<(A, u32)> = Vec::new();
        ranges.push(A::ZERO, NONE);
        for span in spans {
            ranges.close_before(&mut open, Some(span.first));
            let answer = *known.entry(span.hop).or_insert_with(|| {
                ranges.hops.push(span.hop);
                ranges.hops.len() as u32 - 1
            });
            ranges.push(span.first, answer);
            open.push((span.last, answer));
        }
        ranges.close_before(&mut open, None);
        ranges.build_index();
        ranges
    }

    /// Ends the open prefixes that end before `limit` (all, without one).
    fn close_before(&mut self, open: &mut Vec<(A, u32)>, limit: Option<A>) {
        while let Some(&(last, _)) = open.last() {
            if limit.is_some_and(|limit| last >= limit) {
                return;
            }
            open.pop();
            if let Some(after) = last.next() {
                self.push(after, open.last().map_or(NONE, |&(_, answer)| answer));
            }
        }
    }

    /// From `start` on the answer is this.
    fn push(&mut self, start: A, answer: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.answers.pop();
        }
        if self.answers.last() != Some(&answer) {
            self.starts.push(start);
            self.answers.push(answer);
        }
    }

    fn build_index(&mut self) {
        if self.starts.len() < WORTH_INDEXING {
            return;
        }
        // A block's search starts at the range before the first one that starts within it: that one
        // reaches into the block, unless a range starts exactly with it, and then it does no harm.
        let mut at = 0;
        self.index = (0..=0x1_0000)
            .map(|upper| {
                while self
                    .starts
                    .get(at)
                    .is_some_and(|start| start.upper() < upper)
                {
                    at += 1;
                }
                (at as u32).saturating_sub(1)
            })
            .collect();
    }

    #[inline]
    fn lookup(&self, address: A) -> Option<NextHop> {
        let (from, to) = match self.index.get(address.upper()..=address.upper() + 1) {
            Some(&[from, to]) => (from as usize, to as usize + 1),
            _ => (0, self.starts.len()),
        };
        let among = self.starts.get(from..to)?;
        let at = from + among.partition_point(|&start| start <= address);
        let answer = *self.answers.get(at.checked_sub(1)?)?;
        self.hops.get(answer as usize).copied()
    }
}
