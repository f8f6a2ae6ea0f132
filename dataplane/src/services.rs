//! What is behind an address and port.

use std::net::IpAddr;

use foldhash::HashMap;

/// What a destination stands for; the numbers are indexes into the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `Snapshot::virtual_servers`
    VirtualServer(u16),
    /// `Nat::forwards`
    Forward(u16),
    /// `Nat::statics`
    Static(u16),
}

/// One definition: what comes to `address` by `proto` and `ports` is `target`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Destination address.
    pub address: IpAddr,
    /// IP protocol; `None`: all of them, and then `ports` is `None` as well.
    pub proto: Option<u8>,
    /// First and last destination port, both included; `None`: all of them.
    pub ports: Option<(u16, u16)>,
    /// What it is.
    pub target: Target,
}

/// Why definitions cannot stand together. Numbers are positions in the list that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Both claim some destination, and neither is the more specific kind.
    #[error("definitions {first} and {second} overlap")]
    Overlap {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// Ports mean nothing without a protocol that has them.
    #[error("definition {0} has ports but no protocol")]
    PortsWithoutProtocol(usize),
    /// The last port is less than the first.
    #[error("definition {0} has an empty port range")]
    EmptyRange(usize),
}

/// Finds the [`Target`] of a destination.
///
/// The most specific kind of definition wins: one port before a range of ports before all ports of
/// a protocol before all protocols. Within a kind no two definitions may claim the same destination.
#[derive(Debug, Default, Clone)]
pub struct ServiceMap {
    by_address: HashMap<IpAddr, Services>,
}

/// Everything that one address stands for.
#[derive(Debug, Default, Clone)]
pub struct Services {
    /// Single ports, sorted by protocol and port.
    exact: Vec<(u8, u16, Target)>,
    /// Ranges of more than one port, sorted by protocol and first port, disjoint.
    ranges: Vec<Range>,
    /// All ports of a protocol.
    any_port: Vec<(u8, Target)>,
    /// All protocols.
    any: Option<Target>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    proto: u8,
    first: u16,
    last: u16,
    target: Target,
}

impl ServiceMap {
    /// Compiles definitions.
    ///
    /// # Errors
    /// Every [`Conflict`] among them.
    pub fn build(definitions: &[Definition]) -> Result<Self, Vec<Conflict>> {
        let conflicts = conflicts(definitions);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut by_address: HashMap<IpAddr, Services> = HashMap::default();
        for definition in definitions {
            let services = by_address.entry(definition.address).or_default();
            let target = definition.target;
            match (definition.proto, definition.ports) {
                (None, _) => services.any = Some(target),
                (Some(proto), None) => services.any_port.push((proto, target)),
                (Some(proto), Some((first, last))) if first == last => {
                    services.exact.push((proto, first, target));
                }
                (Some(proto), Some((first, last))) => services.ranges.push(Range {
                    proto,
                    first,
                    last,
                    target,
                }),
            }
        }
        for services in by_address.values_mut() {
            services
                .exact
                .sort_by_key(|&(proto, port, _)| (proto, port));
            services.ranges.sort_by_key(|r| (r.proto, r.first));
        }
        Ok(Self { by_address })
    }

    /// What packets to `dst` with this protocol and destination port are for. Protocols without
    /// ports give 0.
    #[inline]
    pub fn find(&self, dst: IpAddr, proto: u8, dport: u16) -> Option<Target> {
        self.at(dst)?.find(proto, dport)
    }

    /// Everything that `dst` stands for, to look up many ports of one address.
    #[inline]
    pub fn at(&self, dst: IpAddr) -> Option<&Services> {
        self.by_address.get(&dst)
    }
}

impl Services {
    /// See [`ServiceMap::find`].
    pub fn find(&self, proto: u8, dport: u16) -> Option<Target> {
        self.exact(proto, dport)
            .or_else(|| self.range(proto, dport))
            .or_else(|| self.any_port(proto))
            .or(self.any)
    }

    fn exact(&self, proto: u8, dport: u16) -> Option<Target> {
        let at = self
            .exact
            .binary_search_by_key(&(proto, dport), |&(proto, port, _)| (proto, port))
            .ok()?;
        Some(self.exact.get(at)?.2)
    }

    fn range(&self, proto: u8, dport: u16) -> Option<Target> {
        let after = self
            .ranges
            .partition_point(|r| (r.proto, r.first) <= (proto, dport));
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (range.proto == proto && dport <= range.last).then_some(range.target)
    }

    fn any_port(&self, proto: u8) -> Option<Target> {
        self.any_port
            .iter()
            .find(|&&(own, _)| own == proto)
            .map(|&(_, target)| target)
    }
}

/// All conflicts, each pair once.
fn conflicts(definitions: &[Definition]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (at, definition) in definitions.iter().enumerate() {
        match (definition.proto, definition.ports) {
            (None, Some(_)) => found.push(Conflict::PortsWithoutProtocol(at)),
            (_, Some((first, last))) if first > last => found.push(Conflict::EmptyRange(at)),
            _ => {}
        }
    }
    // Sorted so that those that can overlap are neighbours, ranges by their first port: whoever
    // overlaps any earlier range overlaps the one that reaches furthest.
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    let rank = |at: usize| {
        let Definition {
            address,
            proto,
            ports,
            ..
        } = definitions[at];
        let kind = match (proto, ports) {
            (None, _) => 0,
            (_, None) => 1,
            (_, Some((first, last))) => 2 + u8::from(first == last),
        };
        (address, kind, proto)
    };
    order.sort_by_key(|&at| (rank(at), definitions[at].ports, at));
    let mut furthest: Option<usize> = None;
    for at in order {
        let (_, last) = definitions[at].ports.unwrap_or((0, u16::MAX));
        match furthest {
            Some(before) if rank(before) == rank(at) => {
                let (_, reach) = definitions[before].ports.unwrap_or((0, u16::MAX));
                let (first, _) = definitions[at].ports.unwrap_or((0, u16::MAX));
                if first <= reach {
                    found.push(Conflict::Overlap {
                        first: before.min(at),
                        second: before.max(at),
                    });
                }
                if last > reach {
                    furthest = Some(at);
                }
            }
            _ => furthest = Some(at),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TCP: u8 = 6;
    const UDP: u8 = 17;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn define(last: u8, proto: Option<u8>, ports: Option<(u16, u16)>, target: u16) -> Definition {
        Definition {
            address: ip(last),
            proto,
            ports,
            target: Target::Forward(target),
        }
    }

    #[test]
    fn the_more_specific_kind_wins() {
        let map = ServiceMap::build(&[
            define(1, None, None, 0),
            define(1, Some(TCP), None, 1),
            define(1, Some(TCP), Some((80, 90)), 2),
            define(1, Some(TCP), Some((85, 85)), 3),
        ])
        .unwrap();
        let find = |proto, port| map.find(ip(1), proto, port);
        assert_eq!(find(TCP, 85), Some(Target::Forward(3)));
        assert_eq!(find(TCP, 80), Some(Target::Forward(2)));
        assert_eq!(find(TCP, 90), Some(Target::Forward(2)), "ends are included");
        assert_eq!(find(TCP, 91), Some(Target::Forward(1)));
        assert_eq!(find(TCP, 79), Some(Target::Forward(1)));
        assert_eq!(find(UDP, 85), Some(Target::Forward(0)));
        assert_eq!(find(47, 0), Some(Target::Forward(0)));
        assert_eq!(map.find(ip(2), TCP, 85), None);
    }

    #[test]
    fn ranges_of_different_protocols_do_not_shadow_each_other() {
        let map = ServiceMap::build(&[
            define(1, Some(TCP), Some((1, 65535)), 0),
            define(1, Some(UDP), Some((5000, 5010)), 1),
        ])
        .unwrap();
        assert_eq!(map.find(ip(1), UDP, 4999), None);
        assert_eq!(map.find(ip(1), UDP, 5010), Some(Target::Forward(1)));
        assert_eq!(map.find(ip(1), TCP, 65535), Some(Target::Forward(0)));
        assert_eq!(map.find(ip(1), TCP, 0), None);
    }

    #[test]
    fn two_claims_of_one_kind_are_reported_with_their_places() {
        let overlap = |first, second| Err(vec![Conflict::Overlap { first, second }]);
        let build = |list: &[Definition]| ServiceMap::build(list).map(|_| ());
        for (a, b) in [
            (define(1, None, None, 0), define(1, None, None, 1)),
            (define(1, Some(TCP), None, 0), define(1, Some(TCP), None, 1)),
            (
                define(1, Some(TCP), Some((80, 80)), 0),
                define(1, Some(TCP), Some((80, 80)), 1),
            ),
            (
                define(1, Some(TCP), Some((80, 90)), 0),
                define(1, Some(TCP), Some((90, 99)), 1),
            ),
        ] {
            assert_eq!(build(&[a, b]), overlap(0, 1));
            assert_eq!(build(&[b, a]), overlap(0, 1));
        }
        // A range within a wider one, with one between them in sorting order.
        assert_eq!(
            build(&[
                define(1, Some(TCP), Some((10, 99)), 0),
                define(1, Some(TCP), Some((20, 29)), 1),
                define(1, Some(TCP), Some((50, 59)), 2),
            ]),
            Err(vec![
                Conflict::Overlap {
                    first: 0,
                    second: 1
                },
                Conflict::Overlap {
                    first: 0,
                    second: 2
                },
            ])
        );
        assert_eq!(
            build(&[define(1, None, Some((1, 2)), 0)]),
            Err(vec![Conflict::PortsWithoutProtocol(0)])
        );
        assert_eq!(
            build(&[define(1, Some(TCP), Some((2, 1)), 0)]),
            Err(vec![Conflict::EmptyRange(0)])
        );
    }

    /// What the documentation says, without any index.
    fn model(list: &[Definition], dst: IpAddr, proto: u8, dport: u16) -> Option<Target> {
        let kind = |d: &Definition| match (d.proto, d.ports) {
            (None, _) => 3,
            (_, None) => 2,
            (_, Some((a, b))) => u8::from(a != b),
        };
        list.iter()
            .filter(|d| d.address == dst && d.proto.is_none_or(|own| own == proto))
            .filter(|d| d.ports.is_none_or(|(a, b)| (a..=b).contains(&dport)))
            .min_by_key(|d| kind(d))
            .map(|d| d.target)
    }

    proptest! {
        #[test]
        fn finds_what_a_search_of_the_whole_list_finds(
            raw in prop::collection::vec(
                (0u8..3, 0u8..3, 0u16..40, 0u16..12, prop::bool::ANY), 0..25),
        ) {
            let mut list: Vec<Definition> = Vec::new();
            for (index, (last, proto, first, len, any_port)) in raw.into_iter().enumerate() {
                let proto = [None, Some(TCP), Some(UDP)][usize::from(proto)];
                let ports = (proto.is_some() && !any_port).then_some((first, first + len));
                list.push(define(last, proto, ports, index as u16));
                if ServiceMap::build(&list).is_err() {
                    list.pop();
                }
            }
            let map = ServiceMap::build(&list).unwrap();
            for last in 0..3 {
                for proto in [TCP, UDP, 47] {
                    for port in 0..54 {
                        prop_assert_eq!(
                            map.find(ip(last), proto, port), model(&list, ip(last), proto, port));
                    }
                }
            }
        }
    }
}
