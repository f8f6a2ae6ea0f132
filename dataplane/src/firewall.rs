//! Policy between zones: who may open a session to whom.

use std::net::IpAddr;
use std::ops::{BitAnd, BitOr, Not};

use foldhash::HashMap;
use sluice_wire::Tuple;

use crate::networks::{Networks, Span};
use crate::snapshot::ServiceId;

/// The rules, first match first, and what holds where none matches.
#[derive(Debug, Default, Clone)]
pub struct Firewall {
    rules: Vec<Rule>,
    open: Vec<(u8, u8)>,
    /// Of every pair of zones that a rule names or means: the rules that can match there.
    pairs: HashMap<(u8, u8), Lines>,
}

/// One rule. Empty lists and `None` match everything.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For counters.
    pub service: ServiceId,
    /// Zone that the first packet comes in by.
    pub from: Option<u8>,
    /// Zone that it would leave by.
    pub to: Option<u8>,
    /// Networks of the source.
    pub source: Networks,
    /// Networks of the destination, before any translation.
    pub destination: Networks,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Ranges of destination ports, first and last included.
    pub ports: Vec<(u16, u16)>,
    /// Let it through, or drop it.
    pub allow: bool,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
}

/// What policy says about a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Let it through, or drop it.
    pub allow: bool,
    /// The rule that matched; [`ServiceId::NONE`] if the zones' default decided.
    pub service: ServiceId,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
}

impl Firewall {
    /// Compiles rules for `zones` zones; `open` are the pairs (from, to) between which any session
    /// may be opened where no rule says otherwise.
    pub fn new(zones: u8, rules: Vec<Rule>, open: Vec<(u8, u8)>) -> Self {
        let mut pairs: HashMap<(u8, u8), Lines> = HashMap::default();
        for from in 0..zones {
            for to in 0..zones {
                let mut lines = Lines::default();
                for (at, rule) in rules.iter().enumerate() {
                    let here = |own: Option<u8>, zone| own.is_none_or(|own| own == zone);
                    if here(rule.from, from) && here(rule.to, to) {
                        lines.push(at, rule);
                    }
                }
                if !lines.v4.is_empty() || !lines.v6.is_empty() {
                    pairs.insert((from, to), lines);
                }
            }
        }
        Self { rules, open, pairs }
    }

    /// The rules, in the order of the configuration.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether the session that a packet of `tuple` (as it arrived) would open may be opened. `from`
    /// and `to` are the zones that it comes in and would leave by.
    pub fn decide(&self, from: u8, to: u8, tuple: &Tuple) -> Decision {
        let rule = self
            .pairs
            .get(&(from, to))
            .and_then(|lines| lines.first(&self.rules, tuple));
        match rule {
            Some(rule) => Decision {
                allow: rule.allow,
                service: rule.service,
                timeouts: rule.timeouts,
            },
            None => Decision {
                allow: self.open.contains(&(from, to)),
                service: ServiceId::NONE,
                timeouts: 0,
            },
        }
    }
}

impl Rule {
    /// All but the zones.
    fn matches(&self, tuple: &Tuple) -> bool {
        self.proto.is_none_or(|proto| proto == tuple.proto)
            && self.source.holds(tuple.src)
            && self.destination.holds(tuple.dst)
            && (self.ports.is_empty()
                || self
                    .ports
                    .iter()
                    .any(|&(first, last)| (first..=last).contains(&tuple.dport)))
    }
}

/// What of a list of rules can match, in a form that is fast to scan: a few thousand lines pass in
/// some microseconds.
#[derive(Debug, Default, Clone)]
struct Lines {
    v4: Vec<Line<u32>>,
    v6: Vec<Line<u128>>,
}

/// A rule, widened to one network for the source, one for the destination and one range of ports.
#[derive(Debug, Clone, Copy)]
struct Line<T> {
    src: Net<T>,
    dst: Net<T>,
    /// Values that `proto` may have, both ends included.
    proto: (u8, u8),
    ports: (u16, u16),
    /// Nothing was widened: the line says all that the rule says.
    exact: bool,
    rule: u32,
}

#[derive(Debug, Clone, Copy)]
struct Net<T> {
    value: T,
    mask: T,
}

/// The bits of an address.
trait Bits: BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> + Eq + Copy {
    /// No bit of the mask set: everything.
    const ANY: Net<Self>;
    /// The addresses of this family that a set has, if it has any and does not stand for all.
    fn span(set: &Networks) -> Option<Span<Self>>;
    /// As many leading ones as both values agree in.
    fn common(a: Self, b: Self) -> Self;
}

impl Bits for u32 {
    const ANY: Net<Self> = Net { value: 0, mask: 0 };

    fn span(set: &Networks) -> Option<Span<Self>> {
        set.span_v4()
    }

    fn common(a: Self, b: Self) -> Self {
        !Self::MAX.checked_shr((a ^ b).leading_zeros()).unwrap_or(0)
    }
}

impl Bits for u128 {
    const ANY: Net<Self> = Net { value: 0, mask: 0 };

    fn span(set: &Networks) -> Option<Span<Self>> {
        set.span_v6()
    }

    fn common(a: Self, b: Self) -> Self {
        !Self::MAX.checked_shr((a ^ b).leading_zeros()).unwrap_or(0)
    }
}

impl<T: Bits> Net<T> {
    #[inline]
    fn contains(self, address: T) -> bool {
        address & self.mask == self.value
    }

    /// The smallest network that holds all of a rule's of this family, and whether it holds nothing else.
    /// Everything if the rule names none, `None` if it names only the other family's.
    fn cover(nets: &Networks) -> Option<(Self, bool)> {
        if nets.is_everything() {
            return Some((T::ANY, true));
        }
        let Span { first, last, whole } = T::span(nets)?;
        let mask = T::common(first, last);
        let net = Self {
            value: first & mask,
            mask,
        };
        // Both ends of the network are those of the range.
        let fills = first == net.value && last == first | !mask;
        Some((net, whole && fills))
    }
}

impl<T: Bits> Line<T> {
    /// `None` if the rule is not for this family.
    fn new(at: u32, rule: &Rule) -> Option<Self> {
        let (src, sources) = Net::cover(&rule.source)?;
        let (dst, destinations) = Net::cover(&rule.destination)?;
        Some(Self {
            src,
            dst,
            proto: rule.proto.map_or((0, u8::MAX), |proto| (proto, proto)),
            ports: (
                rule.ports.iter().map(|r| r.0).min().unwrap_or(0),
                rule.ports.iter().map(|r| r.1).max().unwrap_or(u16::MAX),
            ),
            exact: sources && destinations && rule.ports.len() <= 1,
            rule: at,
        })
    }

    #[inline]
    fn matches(&self, src: T, dst: T, proto: u8, dport: u16) -> bool {
        self.src.contains(src)
            && self.dst.contains(dst)
            && (self.proto.0..=self.proto.1).contains(&proto)
            && (self.ports.0..=self.ports.1).contains(&dport)
    }
}

impl Lines {
    fn push(&mut self, at: usize, rule: &Rule) {
        let Ok(at) = u32::try_from(at) else { return };
        self.v4.extend(Line::new(at, rule));
        self.v6.extend(Line::new(at, rule));
    }

    fn first<'a>(&self, rules: &'a [Rule], tuple: &Tuple) -> Option<&'a Rule> {
        match (tuple.src, tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                scan(&self.v4, src.to_bits(), dst.to_bits(), rules, tuple)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                scan(&self.v6, src.to_bits(), dst.to_bits(), rules, tuple)
            }
            _ => None,
        }
    }
}

fn scan<'a, T: Bits>(
    lines: &[Line<T>],
    src: T,
    dst: T,
    rules: &'a [Rule],
    tuple: &Tuple,
) -> Option<&'a Rule> {
    lines
        .iter()
        .filter(|line| line.matches(src, dst, tuple.proto, tuple.dport))
        .filter_map(|line| Some((line, rules.get(line.rule as usize)?)))
        .find(|(line, rule)| line.exact || rule.matches(tuple))
        .map(|(_, rule)| rule)
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;

    fn rule(service: u16, allow: bool) -> Rule {
        Rule {
            service: ServiceId(service),
            from: None,
            to: None,
            source: Networks::default(),
            destination: Networks::default(),
            proto: None,
            ports: vec![],
            allow,
            timeouts: 0,
        }
    }

    fn tuple(proto: u8, src: &str, dst: &str, dport: u16) -> Tuple {
        Tuple {
            proto,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            sport: 4000,
            dport,
        }
    }

    fn nets(list: &[&str]) -> Networks {
        list.iter()
            .map(|net| net.parse::<IpNet>().unwrap())
            .collect()
    }

    const INSIDE: u8 = 0;
    const OUTSIDE: u8 = 1;

    #[test]
    fn without_rules_the_zones_decide_and_one_way_only() {
        let firewall = Firewall::new(2, vec![], vec![(INSIDE, OUTSIDE)]);
        let tuple = tuple(6, "10.0.0.1", "192.0.2.1", 80);
        let decision = firewall.decide(INSIDE, OUTSIDE, &tuple);
        assert_eq!((decision.allow, decision.service), (true, ServiceId::NONE));
        assert!(!firewall.decide(OUTSIDE, INSIDE, &tuple).allow);
        assert!(!firewall.decide(INSIDE, INSIDE, &tuple).allow);
    }

    #[test]
    fn the_first_match_decides_even_where_the_zones_are_open() {
        let ssh = Rule {
            proto: Some(6),
            ports: vec![(22, 22), (2200, 2299)],
            source: nets(&["10.1.0.0/16", "10.2.0.0/16"]),
            timeouts: 3,
            ..rule(1, true)
        };
        let all_ssh = Rule {
            proto: Some(6),
            ports: vec![(22, 22), (2200, 2299)],
            ..rule(2, false)
        };
        let firewall = Firewall::new(2, vec![ssh, all_ssh], vec![(INSIDE, OUTSIDE)]);
        let decide = |src, dport| {
            let decision = firewall.decide(INSIDE, OUTSIDE, &tuple(6, src, "192.0.2.1", dport));
            (decision.allow, decision.service.0, decision.timeouts)
        };
        assert_eq!(decide("10.1.0.1", 22), (true, 1, 3));
        assert_eq!(decide("10.2.0.1", 2299), (true, 1, 3));
        // 10.3 lies in the network that covers 10.1 and 10.2, 1000 in the range that covers both.
        assert_eq!(decide("10.3.0.1", 22), (false, 2, 0));
        assert_eq!(decide("10.1.0.1", 1000), (true, 0, 0));
    }

    #[test]
    fn a_rule_for_one_family_leaves_the_other_alone() {
        let deny = Rule {
            source: nets(&["0.0.0.0/0"]),
            ..rule(1, false)
        };
        let firewall = Firewall::new(2, vec![deny], vec![(INSIDE, OUTSIDE)]);
        let v4 = tuple(17, "10.0.0.1", "192.0.2.1", 53);
        let v6 = tuple(17, "2001:db8::1", "2001:db8::2", 53);
        assert!(!firewall.decide(INSIDE, OUTSIDE, &v4).allow);
        assert!(firewall.decide(INSIDE, OUTSIDE, &v6).allow);
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (any::<u32>(), 0u8..=32).prop_map(|(bits, len)| IpNet::new(
                std::net::Ipv4Addr::from(bits & 0x0300_0003).into(),
                len
            )
            .unwrap()),
            (any::<u128>(), 0u8..=128).prop_map(|(bits, len)| IpNet::new(
                std::net::Ipv6Addr::from(bits & 3 | (bits >> 126) << 126).into(),
                len
            )
            .unwrap()),
        ]
    }

    prop_compose! {
        fn any_rule()(
            from in prop::option::of(0u8..3), to in prop::option::of(0u8..3),
            source in prop::collection::vec(any_net(), 0..3),
            destination in prop::collection::vec(any_net(), 0..3),
            proto in prop::option::of(prop::sample::select(vec![1u8, 6, 17])),
            ports in prop::collection::vec((0u16..6, 0u16..3), 0..3),
            allow in any::<bool>(),
        ) -> Rule {
            let ports = ports.into_iter().map(|(first, len)| (first, first + len)).collect();
            let (source, destination) = (source.into(), destination.into());
            Rule { from, to, source, destination, proto, ports, ..rule(0, allow) }
        }
    }

    proptest! {
        /// The compiled lines say what reading the rules in order says.
        #[test]
        fn decides_as_reading_the_rules_in_order(
            rules in prop::collection::vec(any_rule(), 0..12),
            probes in prop::collection::vec(
                (0u8..3, 0u8..3, any::<[u128; 2]>(), any::<bool>(),
                 prop::sample::select(vec![1u8, 6, 17]), 0u16..9), 40),
        ) {
            let rules: Vec<Rule> = rules.into_iter().enumerate()
                .map(|(at, rule)| Rule { service: ServiceId(at as u16 + 1), ..rule }).collect();
            let firewall = Firewall::new(3, rules.clone(), vec![(0, 1)]);
            for (from, to, bits, v6, proto, dport) in probes {
                let [src, dst] = bits.map(|bits| -> IpAddr {
                    if v6 { std::net::Ipv6Addr::from(bits & 3 | (bits >> 126) << 126).into() }
                    else { std::net::Ipv4Addr::from(bits as u32 & 0x0300_0003).into() }
                });
                let tuple = Tuple { proto, src, dst, sport: 1, dport };
                let first = rules.iter().find(|rule|
                    rule.from.is_none_or(|own| own == from) && rule.to.is_none_or(|own| own == to)
                    && rule.matches(&tuple));
                let decision = firewall.decide(from, to, &tuple);
                prop_assert_eq!(decision.service, first.map_or(ServiceId::NONE, |r| r.service));
                prop_assert_eq!(decision.allow, first.map_or((from, to) == (0, 1), |r| r.allow));
            }
        }
    }
}
