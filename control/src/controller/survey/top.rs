//! Which hosts, services or real servers have most.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_dataplane::mailbox::SessionRow;
use sluice_dataplane::snapshot::{ServerId, ServiceId};

use crate::compile::Registry;

/// Groups that are kept at most. Where there are more, those with least are let go, and what the others
/// had may have been counted short.
const MOST: usize = 1 << 17;

/// What sessions are grouped by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Address of the opener.
    #[default]
    Source,
    /// Address that the opener sends to, before translation.
    Destination,
    /// Destination address and port, before translation.
    Endpoint,
    /// Service: virtual server, forward, static translation, SNAT or firewall rule.
    Service,
    /// Real server.
    Server,
}

/// What counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Bytes of both directions.
    #[default]
    Bytes,
    /// Packets of both directions.
    Packets,
    /// Sessions.
    Sessions,
}

/// Those who have most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Top {
    /// Most first.
    pub groups: Vec<Group>,
    /// Of all sessions that match.
    pub total: Group,
    /// Whether all groups were kept. If not, there were more than 131,072, and what is told of one may
    /// lack what it had when it was small.
    pub exact: bool,
}

/// What a group has in the sessions that live now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Group {
    /// An address, `address:port`, `kind/name` or `pool/name`; empty for sessions of none.
    pub name: String,
    /// Sessions.
    pub sessions: u64,
    /// Packets of both directions.
    pub packets: u64,
    /// Bytes (IP length) of both directions.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Endpoint(IpAddr, u16),
    Service(ServiceId),
    Server(ServerId),
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    sessions: u64,
    packets: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, row: &SessionRow) {
        self.sessions += 1;
        self.packets += row.packets.iter().map(|&n| u64::from(n)).sum::<u64>();
        self.bytes += row.bytes.iter().sum::<u64>();
    }

    fn by(&self, order: Order) -> u64 {
        match order {
            Order::Bytes => self.bytes,
            Order::Packets => self.packets,
            Order::Sessions => self.sessions,
        }
    }

    fn named(&self, name: String) -> Group {
        Group {
            name,
            sessions: self.sessions,
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

/// Groups, as they are added up.
#[derive(Debug)]
pub(super) struct Groups {
    by: GroupBy,
    order: Order,
    limit: usize,
    groups: HashMap<Key, Sums>,
    total: Sums,
    exact: bool,
}

impl Groups {
    pub(super) fn new(by: GroupBy, order: Order, limit: usize) -> Self {
        Self {
            by,
            order,
            limit,
            groups: HashMap::new(),
            total: Sums::default(),
            exact: true,
        }
    }

    pub(super) fn add(&mut self, row: &SessionRow) {
        let tuple = &row.original;
        let key = match self.by {
            GroupBy::Source => Key::Address(tuple.src),
            GroupBy::Destination => Key::Address(tuple.dst),
            GroupBy::Endpoint => Key::Endpoint(tuple.dst, tuple.dport),
            GroupBy::Service => Key::Service(row.service),
            GroupBy::Server => Key::Server(row.server),
        };
        self.total.add(row);
        if self.groups.len() == MOST && !self.groups.contains_key(&key) {
            self.let_half_go();
        }
        self.groups.entry(key).or_default().add(row);
    }

    /// Makes room: half of the groups go, those with least.
    fn let_half_go(&mut self) {
        self.exact = false;
        let order = self.order;
        let mut all: Vec<(Key, Sums)> = self.groups.drain().collect();
        let half = all.len() / 2;
        all.select_nth_unstable_by_key(half, |(_, sums)| std::cmp::Reverse(sums.by(order)));
        all.truncate(half);
        self.groups.extend(all);
    }

    pub(super) fn finish(self, registry: &Registry) -> Top {
        let name = |key: Key| match key {
            Key::Address(address) => address.to_string(),
            Key::Endpoint(address, port) => std::net::SocketAddr::new(address, port).to_string(),
            Key::Service(id) => registry
                .service_name(id)
                .map(|name| format!("{}/{}", name.kind, name.name))
                .unwrap_or_default(),
            Key::Server(id) => registry.server_name(id).unwrap_or_default().to_owned(),
        };
        let order = self.order;
        let mut groups: Vec<Group> = Vec::new();
        let mut all: Vec<(Key, Sums)> = self.groups.into_iter().collect();
        all.sort_unstable_by_key(|(_, sums)| std::cmp::Reverse(sums.by(order)));
        for (key, sums) in all.into_iter().take(self.limit) {
            groups.push(sums.named(name(key)));
        }
        Top {
            groups,
            total: self.total.named(String::new()),
            exact: self.exact,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::testing::session;

    #[test]
    fn who_has_most_is_still_known_when_there_are_more_than_are_kept() {
        let mut groups = Groups::new(GroupBy::Source, Order::Bytes, 3);
        for n in 0..(MOST as u32 + 10) {
            let mut row = session(1, 2);
            row.original.src = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
            row.bytes = [if n == 7 { 1 << 30 } else { 40 }, 0];
            groups.add(&row);
            assert!(groups.groups.len() <= MOST);
        }
        let registry = crate::testing::registry();
        let top = groups.finish(&registry);
        assert!(!top.exact);
        assert_eq!(top.total.sessions, MOST as u64 + 10);
        assert_eq!(
            (top.groups.len(), top.groups[0].name.as_str()),
            (3, "10.0.0.7")
        );
        assert_eq!(top.groups[0].bytes, 1 << 30);
    }
}
