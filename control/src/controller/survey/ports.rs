//! Which external addresses and ports live sessions hold.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::Serialize;
use sluice_dataplane::mailbox::SessionRow;
use sluice_dataplane::nat::ports::PortRange;
use sluice_dataplane::nat::rules::Mapping;
use sluice_dataplane::published::{Slot, WorkerCounter};

use super::super::Controller;
use super::super::stats::SnatPoolStats;
use crate::config::protocol_name;

/// Bitmaps of 65,536 ports (8 KiB) that one survey keeps at most.
const MOST: usize = 4096;

/// Use of a SNAT pool, by the sessions that live now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SnatUse {
    /// Its name.
    pub name: String,
    /// `endpoint_dependent`: a port serves many destinations at once. `endpoint_independent`: a port is
    /// one internal endpoint's.
    pub mapping: &'static str,
    /// First port of the range.
    pub first_port: u16,
    /// Last port of the range.
    pub last_port: u16,
    /// Sessions that hold a port of it.
    pub sessions: u64,
    /// Packets that opened no session because no port was free for them.
    pub exhausted: u64,
    /// Its addresses.
    pub addresses: Vec<AddressUse>,
    /// What each worker holds, in the order of `system.workers`.
    pub workers: Vec<WorkerUse>,
}

/// Of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AddressUse {
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Sessions of this node.
    pub sessions: u64,
    /// Sessions of the peer.
    pub peer_sessions: u64,
    /// Ports (of ICMP: identifiers) in use by either node, by protocol; absent where there are too many
    /// addresses to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<BTreeMap<String, u32>>,
}

/// Of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WorkerUse {
    /// Sessions of the pool on this worker.
    pub sessions: u64,
    /// Its block of the ports, first and last; of endpoint-independent pools only: elsewhere the
    /// destination decides which worker leases a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<[u16; 2]>,
    /// Mappings of all endpoint-independent pools that it keeps.
    pub mappings: u64,
}

#[derive(Debug, Default)]
struct Book {
    own: u64,
    peer: u64,
    /// A bit for each port, by protocol.
    ports: Vec<(u8, Box<[u64; 1024]>)>,
}

/// A pool, by its place in the configuration, and its first and last port.
type PoolPorts = (usize, (u16, u16));

/// What is known of pools' addresses.
#[derive(Debug, Default)]
pub(super) struct PortBooks {
    /// Pools that have an address, with their ranges.
    pools: HashMap<IpAddr, Vec<PoolPorts>>,
    books: HashMap<(usize, IpAddr), Book>,
    workers: Vec<Vec<u64>>,
    bitmaps: usize,
    full: bool,
}

impl PortBooks {
    pub(super) fn add(&mut self, worker: usize, row: &SessionRow) {
        let (address, port) = (row.reply.dst, row.reply.dport);
        if address == row.original.src {
            return;
        }
        let Some(pools) = self.pools.get(&address) else {
            return;
        };
        let holds = |(_, (first, last)): &&PoolPorts| (*first..=*last).contains(&port);
        let Some(&(pool, _)) = pools.iter().find(holds) else {
            return;
        };
        let book = self.books.entry((pool, address)).or_default();
        if row.replica {
            book.peer += 1;
        } else {
            book.own += 1;
            if let Some(count) = self.workers.get_mut(worker).and_then(|w| w.get_mut(pool)) {
                *count += 1;
            }
        }
        let proto = row.reply.proto;
        let at = match book.ports.iter().position(|(known, _)| *known == proto) {
            Some(at) => at,
            None if self.bitmaps == MOST => {
                self.full = true;
                return;
            }
            None => {
                self.bitmaps += 1;
                book.ports.push((proto, Box::new([0; 1024])));
                book.ports.len() - 1
            }
        };
        book.ports[at].1[usize::from(port / 64)] |= 1 << (port % 64);
    }
}

impl Controller {
    /// Empty books for the pools of the configuration.
    pub(super) fn port_books(&self) -> PortBooks {
        let mut books = PortBooks::default();
        let pools = &self.config.snat_pools;
        for (at, pool) in pools.iter().enumerate() {
            for &address in &pool.addresses {
                books
                    .pools
                    .entry(address)
                    .or_default()
                    .push((at, pool.ports));
            }
        }
        books.workers = vec![vec![0; pools.len()]; self.workers.len()];
        books
    }

    pub(super) fn snat_use(&self, books: &PortBooks) -> Vec<SnatUse> {
        let reading = super::super::stats::Reading::of(&self.published);
        let services = self.service_stats(&reading);
        let stats = SnatPoolStats::of(&self.config, &services);
        let workers = u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        let mut uses = Vec::new();
        for (at, pool) in self.config.snat_pools.iter().enumerate() {
            let independent = pool.mapping == Mapping::EndpointIndependent;
            let mut total = 0;
            let mut addresses = Vec::new();
            for &address in &pool.addresses {
                let book = books.books.get(&(at, address));
                let (own, peer) = book.map_or((0, 0), |book| (book.own, book.peer));
                total += own;
                let ports = book.into_iter().flat_map(|book| &book.ports);
                let ports = ports.map(|(proto, bits)| {
                    let used = bits.iter().map(|word| word.count_ones()).sum();
                    (protocol_name(*proto), used)
                });
                addresses.push(AddressUse {
                    address,
                    sessions: own,
                    peer_sessions: peer,
                    ports: (!books.full).then(|| ports.collect()),
                });
            }
            // Of several nodes each has a share, which its workers divide again.
            let own = self.snapshot.nat.pools.get(at);
            let range = PortRange::new(own.map_or(pool.ports, |own| own.ports));
            let of_worker = |worker: u16| {
                let sessions = books.workers.get(usize::from(worker));
                let block = range
                    .filter(|_| independent)
                    .and_then(|range| range.block(worker, workers))
                    .map(PortRange::ends);
                let mappings = Slot::Worker(WorkerCounter::NatMappings);
                WorkerUse {
                    sessions: sessions.and_then(|w| w.get(at)).copied().unwrap_or(0),
                    block: block.map(<[u16; 2]>::from),
                    mappings: self.published.one(usize::from(worker), mappings),
                }
            };
            uses.push(SnatUse {
                name: pool.name.to_string(),
                mapping: match independent {
                    true => "endpoint_independent",
                    false => "endpoint_dependent",
                },
                first_port: pool.ports.0,
                last_port: pool.ports.1,
                sessions: total,
                exhausted: stats.get(at).map_or(0, |stats| stats.exhausted),
                addresses,
                workers: (0..workers).map(of_worker).collect(),
            });
        }
        uses
    }
}
