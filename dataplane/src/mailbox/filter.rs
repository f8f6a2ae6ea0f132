//! Which sessions a request is about.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_wire::{Tuple, proto};

use super::SessionRow;
use crate::firewall::Firewall;
use crate::snapshot::{ServerId, ServiceId};

/// Conditions that must all hold; `None` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// IP protocol.
    pub proto: Option<u8>,
    /// The session's state.
    pub state: Option<StateFilter>,
    /// What it runs under.
    pub service: Option<ServiceId>,
    /// The real server it was given to.
    pub server: Option<ServerId>,
    /// The firewall rule that lets it through today, be it counted for a service or for the rule.
    pub rule: Option<ServiceId>,
    /// Whether the peer owns it, and this is a copy.
    pub replica: Option<bool>,
    /// Opened at least so many milliseconds ago.
    pub min_age_ms: Option<u32>,
    /// Opened at most so many milliseconds ago.
    pub max_age_ms: Option<u32>,
    /// Without a packet for at least so many milliseconds.
    pub min_idle_ms: Option<u32>,
    /// Any of the four addresses, before or after translation.
    pub address: Option<IpNet>,
    /// Any of the four ports.
    pub port: Option<u16>,
    /// The opener's tuple.
    pub original: TupleFilter,
    /// The tuple that answers it.
    pub reply: TupleFilter,
}

impl Filter {
    /// Whether it holds for every session.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds for this one, under this firewall. Asking for a rule costs a walk through the
    /// rules, and is the last that is looked at.
    pub fn matches(&self, row: &SessionRow, firewall: &Firewall) -> bool {
        let tuples = [&row.original, &row.reply];
        holds(self.proto, row.original.proto)
            && self.state.is_none_or(|state| state.matches(row))
            && holds(self.service, row.service)
            && holds(self.server, row.server)
            && self.address.is_none_or(|net| {
                tuples
                    .iter()
                    .any(|tuple| net.contains(&tuple.src) || net.contains(&tuple.dst))
            })
            && self.port.is_none_or(|port| {
                tuples
                    .iter()
                    .any(|tuple| tuple.sport == port || tuple.dport == port)
            })
            && self.original.matches(&row.original)
            && self.reply.matches(&row.reply)
            && holds(self.replica, row.replica)
            && self.min_age_ms.is_none_or(|least| row.age_ms >= least)
            && self.max_age_ms.is_none_or(|most| row.age_ms <= most)
            && self.min_idle_ms.is_none_or(|least| row.idle_ms >= least)
            && self.rule.is_none_or(|rule| {
                let [from, to] = row.zones;
                firewall.decide(from, to, &row.original).service == rule
            })
    }
}

/// A state, which means one thing for TCP and another for all other protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateFilter {
    /// TCP in this state (`tcp::state::State`).
    Tcp(u8),
    /// Any other protocol in this state (`session::state`).
    Other(u8),
}

impl StateFilter {
    fn matches(self, row: &SessionRow) -> bool {
        let tcp = row.original.proto == proto::TCP;
        match self {
            Self::Tcp(state) => tcp && row.state == state,
            Self::Other(state) => !tcp && row.state == state,
        }
    }
}

/// Conditions on one tuple; `None` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TupleFilter {
    /// Source address.
    pub src: Option<IpNet>,
    /// Destination address.
    pub dst: Option<IpNet>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
}

impl TupleFilter {
    /// Whether it holds for `tuple`.
    pub fn matches(&self, tuple: &Tuple) -> bool {
        within(self.src, tuple.src)
            && within(self.dst, tuple.dst)
            && holds(self.sport, tuple.sport)
            && holds(self.dport, tuple.dport)
    }
}

fn holds<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn within(wanted: Option<IpNet>, found: IpAddr) -> bool {
    wanted.is_none_or(|net| net.contains(&found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Rule;
    use crate::networks::Networks;

    fn row() -> SessionRow {
        let original = Tuple {
            proto: 6,
            src: "10.0.0.5".parse().expect("an address"),
            sport: 40000,
            dst: "203.0.113.80".parse().expect("an address"),
            dport: 80,
        };
        let reply = Tuple {
            proto: 6,
            src: "10.1.0.9".parse().expect("an address"),
            sport: 8080,
            dst: "10.0.0.5".parse().expect("an address"),
            dport: 40000,
        };
        SessionRow {
            original,
            reply,
            zones: [0, 1],
            state: 3,
            service: ServiceId(4),
            server: ServerId(5),
            age_ms: 10_000,
            idle_ms: 500,
            expires_ms: 1,
            packets: [1, 1],
            bytes: [40, 40],
            replica: false,
        }
    }

    fn net(text: &str) -> Option<IpNet> {
        Some(text.parse().expect("a network"))
    }

    #[test]
    fn every_part_of_either_tuple_can_be_asked_for() {
        let base = Filter::default();
        let reply = |reply| Filter { reply, ..base };
        let part = TupleFilter::default();
        let holds = [
            base,
            Filter {
                address: net("10.1.0.0/16"),
                ..base
            },
            Filter {
                port: Some(8080),
                ..base
            },
            reply(TupleFilter {
                src: net("10.1.0.9/32"),
                ..part
            }),
            reply(TupleFilter {
                sport: Some(8080),
                ..part
            }),
            reply(TupleFilter {
                dst: net("10.0.0.0/24"),
                ..part
            }),
            reply(TupleFilter {
                dport: Some(40000),
                ..part
            }),
            Filter {
                proto: Some(6),
                state: Some(StateFilter::Tcp(3)),
                ..base
            },
            Filter {
                replica: Some(false),
                min_age_ms: Some(10_000),
                max_age_ms: Some(10_000),
                min_idle_ms: Some(500),
                ..base
            },
            Filter {
                rule: Some(ServiceId(7)),
                ..base
            },
        ];
        let fails = [
            Filter {
                address: net("10.2.0.0/16"),
                ..base
            },
            Filter {
                port: Some(81),
                ..base
            },
            reply(TupleFilter {
                sport: Some(80),
                ..part
            }),
            Filter {
                original: TupleFilter {
                    sport: Some(8080),
                    ..part
                },
                ..base
            },
            Filter {
                proto: Some(17),
                ..base
            },
            Filter {
                state: Some(StateFilter::Tcp(2)),
                ..base
            },
            Filter {
                state: Some(StateFilter::Other(3)),
                ..base
            },
            Filter {
                service: Some(ServiceId(3)),
                ..base
            },
            Filter {
                server: Some(ServerId(3)),
                ..base
            },
            Filter {
                address: net("2001:db8::/32"),
                ..base
            },
            Filter {
                replica: Some(true),
                ..base
            },
            Filter {
                min_age_ms: Some(10_001),
                ..base
            },
            Filter {
                max_age_ms: Some(9999),
                ..base
            },
            Filter {
                min_idle_ms: Some(501),
                ..base
            },
            Filter {
                rule: Some(ServiceId(8)),
                ..base
            },
        ];
        let rule = |service, ports| Rule {
            from: None,
            to: None,
            source: Networks::default(),
            destination: Networks::default(),
            proto: None,
            ports,
            allow: true,
            service: ServiceId(service),
            timeouts: 0,
        };
        let rules = vec![rule(7, vec![(80, 80)]), rule(8, Vec::new())];
        let firewall = Firewall::new(2, rules, Vec::new());
        for filter in holds {
            assert!(filter.matches(&row(), &firewall), "{filter:?}");
        }
        for filter in fails {
            assert!(!filter.matches(&row(), &firewall), "{filter:?}");
        }
    }
}
