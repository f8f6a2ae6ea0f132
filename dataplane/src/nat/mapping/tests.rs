use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::nat::rules::Mapping as Kind;
use crate::services::{Definition, Target};

fn hasher() -> KeyHasher {
    KeyHasher::new([5, 6, 7, 8])
}

fn pool(ports: (u16, u16), filtering: Filtering) -> SnatPool {
    SnatPool {
        name: "pool".into(),
        addresses: vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
        ports,
        mapping: Kind::EndpointIndependent,
        filtering,
        parity: false,
    }
}

fn udp(host: u8, sport: u16, remote: u8) -> Tuple {
    Tuple {
        proto: proto::UDP,
        src: [10, 0, 0, host].into(),
        dst: remote_ip(remote),
        sport,
        dport: 53,
    }
}

fn remote_ip(last: u8) -> IpAddr {
    [198, 51, 100, last].into()
}

fn alone(filtering: Filtering) -> (Mappings, SnatPool, ServiceMap) {
    (
        Mappings::new(0, 1, hasher(), 1000, 1000),
        pool((1024, 65535), filtering),
        ServiceMap::default(),
    )
}

/// RFC 4787 REQ-1.
#[test]
fn one_internal_endpoint_is_one_external_endpoint_to_everybody() {
    let (mut mappings, pool, services) = alone(Filtering::EndpointIndependent);
    let mut map = |tuple: Tuple| mappings.outbound(&pool, &services, &tuple, 0).unwrap();
    let first = map(udp(1, 4000, 1));
    assert_eq!(map(udp(1, 4000, 2)), first);
    assert_ne!(map(udp(1, 4001, 1)), first);
    assert_ne!(map(udp(2, 4000, 1)), first);
    let tcp = Tuple {
        proto: proto::TCP,
        ..udp(1, 4000, 1)
    };
    assert_ne!(map(tcp), first);
    let mapping = *mappings.get(first).unwrap();
    let (address, port) = mapping.external;
    assert_eq!(mapping.outbound(udp(1, 4000, 1)).src, address);
    let reply = mapping.outbound(udp(1, 4000, 1)).reverse();
    assert_eq!(mapping.inbound(reply), udp(1, 4000, 1).reverse());
    assert_eq!(mappings.inbound(proto::UDP, address, port, 0), Some(first));
    assert_eq!(mappings.inbound(proto::TCP, address, port, 0), None);
}

/// RFC 4787 REQ-8.
#[test]
fn filters_admit_whom_they_should() {
    for (filtering, same_address, stranger) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::EndpointDependent, false, false),
    ] {
        let (mut mappings, pool, services) = alone(filtering);
        let id = mappings
            .outbound(&pool, &services, &udp(1, 4000, 1), 0)
            .unwrap();
        mappings.hold(id, remote_ip(1)).unwrap();
        mappings.hold(id, remote_ip(1)).unwrap();
        assert_eq!(mappings.admits(id, remote_ip(1)), same_address);
        assert_eq!(mappings.admits(id, remote_ip(9)), stranger);
        mappings.release(id, remote_ip(1), 0);
        assert_eq!(mappings.admits(id, remote_ip(1)), same_address);
        mappings.release(id, remote_ip(1), 0);
        let still = filtering == Filtering::EndpointIndependent;
        assert_eq!(mappings.admits(id, remote_ip(1)), still);
    }
}

/// RFC 4787 REQ-5: two minutes at least; and a mapping with sessions never goes.
#[test]
fn a_mapping_outlives_its_last_session_and_then_goes() {
    let (mut mappings, pool, services) = alone(Filtering::EndpointIndependent);
    let start = u32::MAX - 1000;
    let id = mappings
        .outbound(&pool, &services, &udp(1, 4000, 1), start)
        .unwrap();
    let (address, port) = mappings.get(id).unwrap().external;
    mappings.hold(id, remote_ip(1)).unwrap();
    mappings.hold(id, remote_ip(2)).unwrap();
    mappings.release(id, remote_ip(1), start);
    assert_eq!(
        mappings.expire(start.wrapping_add(1 << 30), 1000, |_| false, |_| {}),
        0
    );
    let end = start.wrapping_add(5000);
    mappings.release(id, remote_ip(2), end);
    mappings.release(id, remote_ip(2), end);
    let late = end.wrapping_add(LINGER_UDP_MS);
    let find = |mappings: &Mappings, now| mappings.inbound(proto::UDP, address, port, now);
    assert_eq!(find(&mappings, late.wrapping_sub(1)), Some(id));
    assert_eq!(
        mappings.expire(late.wrapping_sub(1), 1000, |_| false, |_| {}),
        0
    );
    assert_eq!(find(&mappings, late), None, "even before it is swept");
    assert_eq!(mappings.expire(late, 1000, |_| false, |_| {}), 1);
    assert!(mappings.is_empty());
    assert_eq!(mappings.get(id), None);
}

#[test]
fn a_mapping_that_no_session_took_goes_soon() {
    let (mut mappings, pool, services) = alone(Filtering::EndpointIndependent);
    mappings
        .outbound(&pool, &services, &udp(1, 4000, 1), 0)
        .unwrap();
    assert_eq!(mappings.expire(UNHELD_MS - 1, 1000, |_| false, |_| {}), 0);
    assert_eq!(mappings.expire(UNHELD_MS, 1000, |_| false, |_| {}), 1);
}

/// Pitfall 13: whoever finds no port leaves the others' mappings as they were. And recovery.
#[test]
fn exhaustion_takes_nothing_from_anybody() {
    let (mut mappings, _, services) = alone(Filtering::EndpointIndependent);
    let pool = pool((5000, 5004), Filtering::EndpointIndependent);
    let mut ids = Vec::new();
    for port in 0..10 {
        let id = mappings
            .outbound(&pool, &services, &udp(1, port, 1), 0)
            .unwrap();
        mappings.hold(id, remote_ip(1)).unwrap();
        ids.push(id);
    }
    for port in 10..20 {
        let refused = mappings.outbound(&pool, &services, &udp(1, port, 1), 0);
        assert_eq!(refused, Err(MappingError::Exhausted));
    }
    let externals: HashSet<_> = ids
        .iter()
        .map(|id| mappings.get(*id).unwrap().external)
        .collect();
    assert_eq!(externals.len(), 10);
    let freed = mappings.get(ids[3]).unwrap().external;
    mappings.release(ids[3], remote_ip(1), 0);
    assert_eq!(mappings.expire(LINGER_UDP_MS, 1000, |_| false, |_| {}), 1);
    let id = mappings
        .outbound(&pool, &services, &udp(1, 15, 1), LINGER_UDP_MS)
        .unwrap();
    assert_eq!(mappings.get(id).unwrap().external, freed);
}

#[test]
fn full_tables_refuse_and_change_nothing() {
    let services = ServiceMap::default();
    let pool = pool((1024, 65535), Filtering::AddressDependent);
    let mut mappings = Mappings::new(0, 1, hasher(), 1, 1);
    let id = mappings
        .outbound(&pool, &services, &udp(1, 1, 1), 0)
        .unwrap();
    let another = mappings.outbound(&pool, &services, &udp(1, 2, 1), 0);
    assert_eq!(another, Err(MappingError::Full));
    mappings.hold(id, remote_ip(1)).unwrap();
    assert_eq!(mappings.hold(id, remote_ip(2)), Err(MappingError::Full));
    assert_eq!(mappings.get(id).unwrap().sessions, 1);
    mappings.release(id, remote_ip(1), 0);
    assert_eq!(mappings.hold(id, remote_ip(2)), Ok(()));
}

/// Pitfall 15.
#[test]
fn services_keep_their_ports() {
    let (mut mappings, _, _) = alone(Filtering::EndpointIndependent);
    let pool = pool((5000, 5001), Filtering::EndpointIndependent);
    let definitions = [1, 2].map(|last| Definition {
        address: [192, 0, 2, last].into(),
        proto: Some(proto::UDP),
        ports: Some((5000, 5000)),
        target: Target::Forward(0),
    });
    let services = ServiceMap::build(&definitions).unwrap();
    for sport in 0..2 {
        let id = mappings
            .outbound(&pool, &services, &udp(1, sport, 1), 0)
            .unwrap();
        assert_eq!(mappings.get(id).unwrap().external.1, 5001);
    }
}

/// After a change of configuration the pool may no longer have a mapping's address.
#[test]
fn a_mapping_of_another_pool_is_not_used() {
    let (mut mappings, pool, services) = alone(Filtering::EndpointIndependent);
    let tuple = udp(1, 4000, 1);
    let old = mappings.outbound(&pool, &services, &tuple, 0).unwrap();
    let moved = SnatPool {
        addresses: vec![[192, 0, 2, 77].into()],
        ..pool.clone()
    };
    let new = mappings.outbound(&moved, &services, &tuple, 0).unwrap();
    assert_ne!(old, new);
    assert_eq!(
        mappings.get(new).unwrap().external.0,
        IpAddr::from([192, 0, 2, 77])
    );
    assert_eq!(mappings.outbound(&pool, &services, &tuple, 0), Ok(old));
}

/// Fewer ports than workers: nobody is sent to a worker that has none.
#[test]
fn the_affinity_worker_has_ports() {
    for workers in 1..=16 {
        for port in 0..200 {
            let worker = affinity(&hasher(), (7, 9), workers, 17, [10, 0, 0, 1].into(), port);
            assert!(worker < workers.min(3));
        }
    }
    assert_eq!(block_owner((7, 9), 16, 9), Some(2));
    assert_eq!(block_owner((7, 9), 16, 10), None);
}

type Endpoint = (IpAddr, u16);

/// A live mapping: its id, its external endpoint, and the remotes of its sessions.
type Known = (MappingId, Endpoint, Vec<u8>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Several workers, random sessions: an endpoint keeps its external endpoint while it has
    /// sessions, no two share one, and the port tells the worker.
    #[test]
    fn mappings_are_stable_distinct_and_found_by_their_port(
        workers in 1u16..=8, first in 0u16..65000, len in 0u16..200, parity in any::<bool>(),
        steps in prop::collection::vec((0u8..6, 0u16..12, 0u8..4, any::<bool>()), 1..300),
    ) {
        let ports = (first, first + len);
        let pool = SnatPool { parity, ..pool(ports, Filtering::AddressDependent) };
        let services = ServiceMap::default();
        let mut all: Vec<Mappings> = (0..workers)
            .map(|worker| Mappings::new(worker, workers, hasher(), 50, 100)).collect();
        let mut model: HashMap<Endpoint, Known> = HashMap::new();
        for (now, (host, sport, remote, open)) in (0u32..).step_by(500).zip(steps) {
            let tuple = udp(host, sport, remote);
            let endpoint = (tuple.src, tuple.sport);
            let worker = affinity(&hasher(), ports, workers, tuple.proto, tuple.src, tuple.sport);
            let mappings = &mut all[usize::from(worker)];
            if open {
                let Ok(id) = mappings.outbound(&pool, &services, &tuple, now) else {
                    prop_assert!(!model.contains_key(&endpoint), "what is mapped stays mapped");
                    continue;
                };
                mappings.hold(id, tuple.dst).unwrap();
                let external = mappings.get(id).unwrap().external;
                prop_assert_eq!(block_owner(ports, workers, external.1), Some(worker));
                if parity {
                    prop_assert_eq!(external.1 & 1, sport & 1);
                }
                let known = model.entry(endpoint).or_insert((id, external, vec![]));
                prop_assert_eq!((known.0, known.1), (id, external));
                known.2.push(remote);
            } else if let Some((id, _, remotes)) = model.get_mut(&endpoint) {
                let remote = remotes.swap_remove(0);
                mappings.release(*id, remote_ip(remote), now);
                if remotes.is_empty() {
                    model.remove(&endpoint);
                }
            }
            for mappings in &mut all {
                mappings.expire(now, 20, |_| false, |_| {});
            }
            let externals: HashSet<_> = model.values().map(|known| known.1).collect();
            prop_assert_eq!(externals.len(), model.len(), "two share one");
            for (endpoint, (id, external, remotes)) in &model {
                let owner = block_owner(ports, workers, external.1).unwrap();
                let mappings = &all[usize::from(owner)];
                let found = mappings.inbound(proto::UDP, external.0, external.1, now);
                prop_assert_eq!(found, Some(*id));
                prop_assert_eq!(mappings.get(*id).unwrap().internal, *endpoint);
                for remote in 0..4 {
                    let spoken = remotes.contains(&remote);
                    prop_assert_eq!(mappings.admits(*id, remote_ip(remote)), spoken);
                }
            }
        }
    }
}
