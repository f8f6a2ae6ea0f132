//! The compiled rules of source and destination translation.

use std::net::IpAddr;

use foldhash::HashMap;
use sluice_wire::Tuple;

use crate::nat::ports::PortRange;
use crate::networks::Networks;
use crate::snapshot::ServiceId;

/// Ports that a masquerading address gives away, first and last: all that are not privileged
/// (RFC 6056 section 3.2).
pub const MASQUERADE_PORTS: (u16, u16) = (1024, crate::host::HOST_PORTS.0 - 1);

/// All translation but virtual servers.
#[derive(Debug, Default, Clone)]
pub struct Nat {
    /// Source translation, first match first.
    pub rules: Vec<SnatRule>,
    /// SNAT pools.
    pub pools: Vec<SnatPool>,
    /// Port forwards.
    pub forwards: Vec<Forward>,
    /// Static 1:1 translations.
    pub statics: Vec<StaticNat>,
    /// Indexes into `statics` by internal address.
    by_internal: HashMap<IpAddr, u16>,
    /// Ports that nodes divide among them, by pool, and those of masquerading addresses last: first
    /// and last of all together. Empty where there is one node.
    divided: Vec<(u16, u16)>,
    /// Which share is this node's, of how many.
    share: (u16, u16),
}

/// Sessions that match leave with another source. Empty lists and `None` match everything.
#[derive(Debug, Clone)]
pub struct SnatRule {
    /// For sessions and counters.
    pub service: ServiceId,
    /// Zone that the first packet comes in by.
    pub from: Option<u8>,
    /// Zone that it leaves by.
    pub to: Option<u8>,
    /// Networks of the source.
    pub source: Networks,
    /// Networks of the destination (after destination translation).
    pub destination: Networks,
    /// IP protocol.
    pub proto: Option<u8>,
    /// What the source becomes.
    pub to_source: SourceNat,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
    /// Clamp the MSS of its SYNs to this many bytes.
    pub clamp_mss: Option<u16>,
}

/// What a source becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceNat {
    /// Stays as it is.
    Keep,
    /// An address and port of [`Nat::pools`].
    Pool(u16),
    /// The egress port's own address and a free port.
    Masquerade,
}

/// Addresses and ports to translate sources to.
#[derive(Debug, Clone)]
pub struct SnatPool {
    /// Its name in the configuration.
    pub name: String,
    /// All of one family. Never empty.
    pub addresses: Vec<IpAddr>,
    /// First and last port, both included; also the range of ICMP identifiers.
    pub ports: (u16, u16),
    /// RFC 4787 section 4.1.
    pub mapping: Mapping,
    /// RFC 4787 section 5.
    pub filtering: Filtering,
    /// Keep even ports even and odd ports odd (RFC 4787 REQ-4).
    pub parity: bool,
}

/// First and last port of one of `shares` shares.
fn share_of(whole: (u16, u16), share: u16, shares: u16) -> Option<(u16, u16)> {
    let block = PortRange::new(whole)?.block(share, shares)?;
    Some(block.ends())
}

/// Whether sessions of one internal endpoint share an external one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Address- and port-dependent: a port serves many destinations at once.
    #[default]
    EndpointDependent,
    /// One internal address and port is one external address and port, to whomever it speaks.
    EndpointIndependent,
}

/// Who may answer to an endpoint-independent mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// Only endpoints that were spoken to.
    #[default]
    EndpointDependent,
    /// Any port of addresses that were spoken to.
    AddressDependent,
    /// Anybody.
    EndpointIndependent,
}

/// A port forward: what comes to `address:ports` goes to `to:to_port`.
#[derive(Debug, Clone)]
pub struct Forward {
    /// For sessions and counters.
    pub service: ServiceId,
    /// External address.
    pub address: IpAddr,
    /// IP protocol.
    pub proto: u8,
    /// First and last external port, both included.
    pub ports: (u16, u16),
    /// Internal address.
    pub to: IpAddr,
    /// Internal port of the first external one; the others follow in step.
    pub to_port: u16,
    /// Twice NAT: what the source becomes as well.
    pub source: SourceNat,
    /// Index into the snapshot's timeout sets.
    pub timeouts: u8,
}

/// One address for another, all protocols and ports, both ways.
#[derive(Debug, Clone)]
pub struct StaticNat {
    /// For sessions and counters.
    pub service: ServiceId,
    /// The address that the world sees.
    pub external: IpAddr,
    /// The address of the host.
    pub internal: IpAddr,
    /// Zones whose hosts may open sessions to `external`; empty: only where the firewall allows it.
    pub open_from: Vec<u8>,
}

impl Nat {
    /// Compiles the parts; of several statics for one internal address the first counts.
    pub fn new(
        rules: Vec<SnatRule>,
        pools: Vec<SnatPool>,
        forwards: Vec<Forward>,
        statics: Vec<StaticNat>,
    ) -> Self {
        let mut by_internal = HashMap::default();
        for (at, nat) in (0u16..).zip(&statics) {
            by_internal.entry(nat.internal).or_insert(at);
        }
        Self {
            rules,
            pools,
            forwards,
            statics,
            by_internal,
            divided: Vec::new(),
            share: (0, 1),
        }
    }

    /// Divides the ports of all pools, and of masquerading addresses, among nodes into `shares`
    /// shares, of which pools keep number `own`. From the port alone it can then be told which node
    /// chose it. Each pool must have a port for every share.
    pub fn divide(&mut self, own: u16, shares: u16) {
        let ranges = self.pools.iter().map(|pool| pool.ports);
        self.divided = ranges.chain([MASQUERADE_PORTS]).collect();
        self.share = (own, shares);
        for (pool, &whole) in self.pools.iter_mut().zip(&self.divided) {
            pool.ports = share_of(whole, own, shares).unwrap_or(whole);
        }
    }

    /// How many shares there are: 1 where there is one node.
    pub fn shares(&self) -> u16 {
        self.share.1.max(1)
    }

    /// First and last port of a pool, those of other nodes included.
    pub fn whole_pool(&self, pool: u16) -> (u16, u16) {
        let at = usize::from(pool);
        let own = || self.pools.get(at).map(|pool| pool.ports);
        let whole = self.divided.get(at).copied();
        whole.or_else(own).unwrap_or_default()
    }

    /// The share that a port of an address is in; `None` if the address is no pool's.
    pub fn share_with(&self, address: IpAddr, port: u16) -> Option<u16> {
        let pools = self.pools.iter().zip(&self.divided);
        let mut of_address = pools.filter(|(pool, _)| pool.addresses.contains(&address));
        of_address.find_map(|(_, &whole)| PortRange::new(whole)?.block_of(port, self.share.1))
    }

    /// Whether an address is of a pool with endpoint-independent mappings.
    pub fn has_mappings(&self, address: IpAddr) -> bool {
        let mut pools = self.pools.iter();
        pools.any(|pool| {
            pool.mapping == Mapping::EndpointIndependent && pool.addresses.contains(&address)
        })
    }

    /// First and last port of one share of a pool, or (`None`) of masquerading addresses.
    pub fn share(&self, pool: Option<u16>, share: u16) -> Option<(u16, u16)> {
        let whole = match pool {
            Some(pool) => self.divided.get(usize::from(pool)),
            None => self.divided.last(),
        };
        share_of(*whole?, share, self.share.1)
    }

    /// First and last port that this node chooses for masquerading addresses.
    pub fn masquerade_ports(&self) -> (u16, u16) {
        self.share(None, self.share.0).unwrap_or(MASQUERADE_PORTS)
    }

    /// The first rule for a session between these zones. `tuple` has the destination as it will
    /// leave and the source as it arrived.
    ///
    /// A rule with a pool is for the pool's family. IPv6 is masqueraded only where the rule names
    /// IPv6 networks as its source: a plain "masquerade" means IPv4, and IPv6 is forwarded as it is.
    pub fn source_rule(&self, from: u8, to: u8, tuple: &Tuple) -> Option<&SnatRule> {
        self.rules.iter().find(|rule| {
            rule.from.is_none_or(|zone| zone == from)
                && rule.to.is_none_or(|zone| zone == to)
                && rule.proto.is_none_or(|proto| proto == tuple.proto)
                && rule.source.holds(tuple.src)
                && rule.destination.holds(tuple.dst)
                && self.translates(rule, tuple.src.is_ipv4())
        })
    }

    /// Whether a rule has something for this family.
    fn translates(&self, rule: &SnatRule, ipv4: bool) -> bool {
        match rule.to_source {
            SourceNat::Keep => true,
            SourceNat::Pool(pool) => {
                let own = self
                    .pools
                    .get(usize::from(pool))
                    .and_then(|pool| pool.addresses.first());
                own.is_some_and(|own| own.is_ipv4() == ipv4)
            }
            SourceNat::Masquerade => ipv4 || !rule.source.is_everything(),
        }
    }

    /// The static translation of this internal address.
    pub fn static_of(&self, internal: IpAddr) -> Option<&StaticNat> {
        self.statics
            .get(usize::from(*self.by_internal.get(&internal)?))
    }
}

impl Forward {
    /// The tuple with the destination that this forward gives it; internal ports follow external
    /// ones in step. Unchanged if the forward is not for it.
    #[must_use]
    pub fn apply(&self, tuple: Tuple) -> Tuple {
        let (first, last) = self.ports;
        if tuple.dst != self.address || !(first..=last).contains(&tuple.dport) {
            return tuple;
        }
        Tuple {
            dst: self.to,
            dport: self.to_port.wrapping_add(tuple.dport - first),
            ..tuple
        }
    }
}

impl StaticNat {
    /// The tuple of a packet from the world, to the host's own address.
    #[must_use]
    pub fn inbound(&self, tuple: Tuple) -> Tuple {
        Tuple {
            dst: self.internal,
            ..tuple
        }
    }

    /// Whether hosts of this zone may open sessions to the external address, whatever the firewall
    /// says.
    pub fn opens_from(&self, zone: u8) -> bool {
        self.open_from.contains(&zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    const INSIDE: u8 = 0;
    const OUTSIDE: u8 = 1;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn tuple(src: &str, dst: &str, dport: u16) -> Tuple {
        Tuple {
            proto: 6,
            src: ip(src),
            dst: ip(dst),
            sport: 5000,
            dport,
        }
    }

    fn rule(service: u16, source: &[&str], to_source: SourceNat) -> SnatRule {
        SnatRule {
            service: ServiceId(service),
            from: Some(INSIDE),
            to: Some(OUTSIDE),
            source: source
                .iter()
                .map(|net| net.parse::<IpNet>().unwrap())
                .collect(),
            destination: Networks::default(),
            proto: None,
            to_source,
            timeouts: 0,
            clamp_mss: None,
        }
    }

    fn nat(rules: Vec<SnatRule>) -> Nat {
        let pool = SnatPool {
            name: "pool".into(),
            addresses: vec![ip("192.0.2.1")],
            ports: (1024, 65535),
            mapping: Mapping::EndpointDependent,
            filtering: Filtering::EndpointDependent,
            parity: false,
        };
        let fixed = StaticNat {
            service: ServiceId(9),
            external: ip("192.0.2.9"),
            internal: ip("10.0.0.9"),
            open_from: vec![],
        };
        Nat::new(rules, vec![pool], vec![], vec![fixed])
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let nat = nat(vec![
            SnatRule {
                destination: vec!["172.16.0.0/12".parse().unwrap()].into(),
                ..rule(1, &[], SourceNat::Keep)
            },
            rule(2, &["10.0.0.0/8"], SourceNat::Pool(0)),
        ]);
        let found = |src, dst| {
            let rule = nat.source_rule(INSIDE, OUTSIDE, &tuple(src, dst, 80));
            rule.map(|rule| rule.service.0)
        };
        assert_eq!(found("10.0.0.9", "172.16.0.1"), Some(1));
        assert_eq!(found("10.0.0.8", "198.51.100.1"), Some(2));
        assert_eq!(found("172.20.0.1", "198.51.100.1"), None);
    }

    #[test]
    fn rules_for_ipv4_leave_ipv6_alone() {
        let masquerade = SnatRule {
            service: ServiceId(3),
            ..rule(3, &[], SourceNat::Masquerade)
        };
        let nat = nat(vec![rule(2, &[], SourceNat::Pool(0)), masquerade.clone()]);
        let v6 = tuple("2001:db8::1", "2001:db8:1::1", 80);
        assert!(nat.source_rule(INSIDE, OUTSIDE, &v6).is_none());
        let named = SnatRule {
            source: vec!["2001:db8::/32".parse().unwrap()].into(),
            ..masquerade
        };
        let nat = Nat::new(vec![named], vec![], vec![], vec![]);
        assert!(nat.source_rule(INSIDE, OUTSIDE, &v6).is_some());
    }

    #[test]
    fn two_nodes_divide_all_ports_and_share_none() {
        let nodes = [0, 1].map(|own| {
            let mut divided = nat(vec![]);
            divided.divide(own, 2);
            divided
        });
        let [first, second] = &nodes;
        assert_eq!(first.pools[0].ports, (1024, 33279));
        assert_eq!(second.pools[0].ports, (33280, 65535));
        for (own, (other, share)) in [(first, (second, 1)), (second, (first, 0))] {
            assert_eq!(own.share(Some(0), share), Some(other.pools[0].ports));
            assert_eq!(own.whole_pool(0), (1024, 65535));
            assert_eq!(own.share(None, share), Some(other.masquerade_ports()));
        }
        let alone = nat(vec![]);
        assert_eq!(alone.whole_pool(0), (1024, 65535));
        assert_eq!(
            (alone.share(Some(0), 1), alone.share(None, 1)),
            (None, None)
        );
        assert_eq!(
            (alone.shares(), alone.masquerade_ports()),
            (1, MASQUERADE_PORTS)
        );
    }

    #[test]
    fn of_any_number_of_nodes_each_port_has_one() {
        for shares in [2, 3, 5, 16] {
            let mut owners = vec![];
            for own in 0..shares {
                let mut divided = nat(vec![]);
                divided.divide(own, shares);
                let (first, last) = divided.pools[0].ports;
                assert_eq!(divided.share(Some(0), own), Some((first, last)));
                owners.extend((first..=last).map(|port| (port, own)));
            }
            let ports: Vec<_> = owners.iter().map(|(port, _)| *port).collect();
            assert_eq!(ports, (1024..=65535).collect::<Vec<_>>());
            let mut divided = nat(vec![]);
            divided.divide(0, shares);
            let address = divided.pools[0].addresses[0];
            for (port, own) in owners {
                assert_eq!(divided.share_with(address, port), Some(own));
            }
            assert_eq!(divided.share_with(address, 80), None);
            assert_eq!(divided.share_with(ip("192.0.2.77"), 2000), None);
        }
    }

    #[test]
    fn a_port_range_is_forwarded_in_step_and_to_its_very_ends() {
        let forward = Forward {
            service: ServiceId(1),
            address: ip("192.0.2.1"),
            proto: 6,
            ports: (65000, 65535),
            to: ip("10.0.0.5"),
            to_port: 5000,
            source: SourceNat::Keep,
            timeouts: 0,
        };
        let to = |dport| {
            let t = forward.apply(tuple("198.51.100.1", "192.0.2.1", dport));
            (t.dst.to_string(), t.dport)
        };
        assert_eq!(to(65000), ("10.0.0.5".into(), 5000));
        assert_eq!(to(65535), ("10.0.0.5".into(), 5535));
        assert_eq!(to(64999), ("192.0.2.1".into(), 64999));
    }
}
