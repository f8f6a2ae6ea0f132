use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use sluice_wire::toeplitz::MICROSOFT_KEY;

use super::*;
use crate::services::{Definition, Target};
use crate::steer::{Fields, Spread};

const DEVICE: DeviceId = DeviceId(0);

fn hasher() -> KeyHasher {
    KeyHasher::new([11, 22, 33, 44])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn steering(workers: u16, key: &[u8], fields: Fields, bits: u32) -> Steering {
    let spread = Spread {
        key: key.to_vec(),
        fields,
        table: (0..1u16 << bits).map(|at| at % workers).collect(),
    };
    Steering::new(workers, &[spread]).unwrap()
}

fn udp(src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    Tuple {
        proto: proto::UDP,
        src: ip(src),
        dst: ip(dst),
        sport,
        dport,
    }
}

/// Workers with their leasers, and the sessions of all of them.
struct Nat {
    steering: Steering,
    services: ServiceMap,
    leasers: Vec<Leaser>,
    /// By reply tuple: the worker whose session it is.
    live: HashMap<Tuple, u16>,
}

impl Nat {
    fn new(steering: Steering) -> Self {
        Self {
            leasers: (0..steering.workers())
                .map(|worker| Leaser::new(worker, hasher()))
                .collect(),
            steering,
            services: ServiceMap::default(),
            live: HashMap::new(),
        }
    }

    /// Opens a session on `worker`, which knows of its own sessions only.
    fn open(
        &mut self,
        worker: u16,
        request: &Request<'_>,
        now: u32,
    ) -> Result<(Lease, Tuple), LeaseError> {
        let live = &self.live;
        let leaser = &mut self.leasers[usize::from(worker)];
        // Foreseen or not, the lease is the same.
        let foreseen = (request.tuple.sport % 2 == 1).then_some(());
        let foreseen = foreseen.and_then(|()| leaser.foresee(&self.steering, request));
        let prepared = foreseen.and_then(|(_, prepared)| prepared);
        let lease = leaser.lease(
            &self.steering,
            &self.services,
            (request, prepared),
            now,
            |reply| live.get(reply) == Some(&worker),
        )?;
        let reply = lease.apply(*request.tuple).reverse();
        let other = self.live.insert(reply, worker);
        assert_eq!(other, None, "{reply} is two sessions'");
        Ok((lease, reply))
    }

    fn close(&mut self, reply: &Tuple) {
        let worker = self.live.remove(reply).unwrap();
        self.leasers[usize::from(worker)].give_back(reply);
    }
}

fn request<'a>(tuple: &'a Tuple, addresses: &'a [IpAddr], ports: (u16, u16)) -> Request<'a> {
    Request {
        tuple,
        addresses,
        ports,
        parity: false,
        device: DEVICE,
    }
}

/// Two inside hosts with one source port and one destination: two ports. And one port serves two
/// destinations.
#[test]
fn ports_are_shared_between_destinations_and_not_within_one() {
    let mut nat = Nat::new(steering(1, &MICROSOFT_KEY, Fields::Tuple, 7));
    let pool = [ip("192.0.2.1")];
    let one_port =
        |tuple: &Tuple, nat: &mut Nat| nat.open(0, &request(tuple, &pool, (5000, 5000)), 0);
    let first = udp("10.0.0.1", 4000, "198.51.100.1", 53);
    let second = udp("10.0.0.2", 4000, "198.51.100.1", 53);
    let elsewhere = udp("10.0.0.2", 4000, "198.51.100.2", 53);
    assert_eq!(one_port(&first, &mut nat).unwrap().0.port, 5000);
    assert_eq!(one_port(&second, &mut nat), Err(LeaseError::Exhausted));
    assert_eq!(one_port(&elsewhere, &mut nat).unwrap().0.port, 5000);
    let reply = udp("198.51.100.1", 53, "192.0.2.1", 5000);
    nat.close(&reply);
    assert_eq!(one_port(&second, &mut nat).unwrap().1, reply);
}

/// Pitfall 15: a port that a service has on the address is never leased.
#[test]
fn services_keep_their_ports() {
    let mut nat = Nat::new(steering(1, &MICROSOFT_KEY, Fields::Tuple, 7));
    nat.services = ServiceMap::build(&[Definition {
        address: ip("192.0.2.1"),
        proto: Some(proto::UDP),
        ports: Some((2001, 2008)),
        target: Target::Forward(0),
    }])
    .unwrap();
    let pool = [ip("192.0.2.1")];
    let mut leased = HashSet::new();
    let tuple = udp("10.0.0.1", 4000, "198.51.100.1", 53);
    while let Ok((lease, _)) = nat.open(0, &request(&tuple, &pool, (2000, 2009)), 0) {
        leased.insert(lease.port);
    }
    assert_eq!(leased, HashSet::from([2000, 2009]));
}

/// RFC 4787 REQ-2: one host, one address, on every worker and for every destination; the others
/// only when its own has nothing left.
#[test]
fn a_host_keeps_its_address() {
    let mut nat = Nat::new(steering(4, &MICROSOFT_KEY, Fields::Tuple, 7));
    let pool: Vec<IpAddr> = (1..=8).map(|last| [192, 0, 2, last].into()).collect();
    let mut used = HashSet::new();
    for host in 1..=100u8 {
        let mut addresses = HashSet::new();
        for worker in 0..4 {
            let tuple = Tuple {
                src: [10, 0, 0, host].into(),
                ..udp("10.0.0.1", 4000, "198.51.100.1", 53 + worker)
            };
            let (lease, _) = nat
                .open(worker, &request(&tuple, &pool, (1024, 65535)), 0)
                .unwrap();
            addresses.insert(lease.address);
        }
        assert_eq!(addresses.len(), 1);
        used.extend(addresses);
    }
    assert_eq!(used.len(), 8, "hosts are spread over all addresses");
}

#[test]
fn other_addresses_are_used_when_ones_own_is_exhausted() {
    let mut nat = Nat::new(steering(1, &MICROSOFT_KEY, Fields::Tuple, 7));
    let pool = [ip("192.0.2.1"), ip("192.0.2.2")];
    let tuple = udp("10.0.0.1", 4000, "198.51.100.1", 53);
    let mut opened = Vec::new();
    while let Ok((lease, _)) = nat.open(0, &request(&tuple, &pool, (6000, 6009)), 0) {
        opened.push(lease.address);
    }
    assert_eq!(opened.len(), 20);
    assert!(opened[..10].iter().all(|address| *address == opened[0]));
    assert!(opened[10..].iter().all(|address| *address != opened[0]));
}

/// Identifiers of echo cannot steer replies: workers share them out, and the lease says where the
/// replies will come.
#[test]
fn echo_identifiers_are_shared_out_between_workers() {
    let mut nat = Nat::new(steering(3, &MICROSOFT_KEY, Fields::Tuple, 7));
    let pool = [ip("192.0.2.1")];
    let tuple = Tuple {
        proto: proto::ICMP,
        dport: 0,
        ..udp("10.0.0.1", 77, "198.51.100.1", 0)
    };
    let mut homes = HashSet::new();
    let mut leased = 0;
    for worker in 0..3 {
        while let Ok((lease, reply)) = nat.open(worker, &request(&tuple, &pool, (100, 399)), 0) {
            assert_eq!(
                reply.sport, 0,
                "a reply carries its identifier as destination"
            );
            assert_eq!(lease.home, nat.steering.home_of(DEVICE, &reply));
            homes.insert(lease.home);
            leased += 1;
        }
    }
    assert_eq!((leased, homes.len()), (300, 1));
}

/// Without ports there is one session per address and remote host, and one worker that can tell.
#[test]
fn protocols_without_ports_take_an_address_each() {
    const GRE: u8 = 47;
    let mut nat = Nat::new(steering(2, &MICROSOFT_KEY, Fields::Tuple, 7));
    let pool: Vec<IpAddr> = (1..=6).map(|last| [192, 0, 2, last].into()).collect();
    let mut opened = HashSet::new();
    for host in 1..=6u8 {
        let tuple = Tuple {
            proto: GRE,
            src: [10, 0, 0, host].into(),
            ..udp("10.0.0.1", 0, "198.51.100.1", 0)
        };
        for worker in 0..2 {
            if let Ok((lease, _)) = nat.open(worker, &request(&tuple, &pool, (1, 2)), 0) {
                assert_eq!((lease.port, lease.home), (0, worker));
                opened.insert(lease.address);
            }
        }
    }
    assert_eq!(opened.len(), 6);

    let one = [ip("192.0.2.1")];
    let tuple = Tuple {
        proto: GRE,
        ..udp("10.0.0.1", 0, "203.0.113.1", 0)
    };
    let results = [0, 1].map(|worker| nat.open(worker, &request(&tuple, &one, (1, 2)), 0));
    let home = u16::from(results[0].is_err());
    assert_eq!(
        results[usize::from(1 - home)],
        Err(LeaseError::Elsewhere(home))
    );
    assert!(results[usize::from(home)].is_ok());
    let again = nat.open(home, &request(&tuple, &one, (1, 2)), 0);
    assert_eq!(
        again,
        Err(LeaseError::Exhausted),
        "never sent round in circles"
    );
}

#[test]
fn impossible_requests_are_exhausted_and_not_a_panic() {
    let mut nat = Nat::new(steering(2, &MICROSOFT_KEY, Fields::Tuple, 7));
    let tuple = udp("10.0.0.1", 4000, "198.51.100.1", 53);
    for (addresses, ports) in [
        (&[][..], (1, 2)),
        (&[ip("192.0.2.1")], (2, 1)),
        (&[ip("2001:db8::1")], (1, 2)),
    ] {
        let result = nat.open(0, &request(&tuple, addresses, ports), 0);
        assert_eq!(result, Err(LeaseError::Exhausted));
    }
}

fn any_tuple(v6: bool) -> impl Strategy<Value = Tuple> {
    let remote = move |at: u8| -> IpAddr {
        if v6 {
            format!("2001:db8:1::{at}").parse().unwrap()
        } else {
            [198, 51, 100, at].into()
        }
    };
    let host = move |at: u8| -> IpAddr {
        if v6 {
            format!("2001:db8::{at}").parse().unwrap()
        } else {
            [10, 0, 0, at].into()
        }
    };
    (
        0u8..4,
        any::<u16>(),
        0u8..2,
        prop::sample::select(vec![53, 443]),
        prop::sample::select(vec![proto::TCP, proto::UDP]),
    )
        .prop_map(move |(src, sport, dst, dport, protocol)| Tuple {
            proto: protocol,
            src: host(src),
            dst: remote(dst),
            sport,
            dport,
        })
}

#[derive(Debug, Clone)]
enum Step {
    Open(Tuple, u16),
    Close(prop::sample::Index),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Under any order of opening and closing, any key and any number of workers: live leases are
    /// unique (asserted in `open`), inside the range, of the right parity, and replies come home.
    #[test]
    fn live_leases_are_unique_and_come_home(
        key in prop::collection::vec(any::<u8>(), 40),
        workers in 1u16..=16, bits in 0u32..9,
        fields in prop::sample::select(vec![Fields::Tuple, Fields::Tuple, Fields::Destination]),
        first in 0u16..65000, len in 0u16..400, parity in any::<bool>(),
        steps in any::<bool>().prop_flat_map(|v6| prop::collection::vec(prop_oneof![
            3 => (any_tuple(v6), any::<u16>()).prop_map(|(tuple, at)| Step::Open(tuple, at)),
            1 => any::<prop::sample::Index>().prop_map(Step::Close),
        ], 1..400)),
    ) {
        let mut nat = Nat::new(steering(workers, &key, fields, bits));
        let pools = [
            vec![ip("192.0.2.1"), ip("192.0.2.2")],
            vec![ip("2001:db8:f::1"), ip("2001:db8:f::2")],
        ];
        let ports = (first, first + len);
        for (now, step) in (0u32..).step_by(100).zip(steps) {
            match step {
                Step::Open(tuple, worker) => {
                    let worker = worker % workers;
                    let pool = &pools[usize::from(tuple.src.is_ipv6())];
                    let request = Request { parity, ..request(&tuple, pool, ports) };
                    let Ok((lease, reply)) = nat.open(worker, &request, now) else { continue };
                    prop_assert!(pool.contains(&lease.address));
                    prop_assert!((ports.0..=ports.1).contains(&lease.port));
                    if parity && tuple.proto == proto::UDP {
                        prop_assert_eq!(lease.port & 1, tuple.sport & 1);
                    }
                    let home = nat.steering.home_of(DEVICE, &reply);
                    prop_assert_eq!(lease.home, home);
                    if nat.steering.replies(DEVICE, &reply).steerable() {
                        prop_assert_eq!(home, worker);
                    }
                }
                Step::Close(index) => {
                    let mut live: Vec<Tuple> = nat.live.keys().copied().collect();
                    live.sort_by_key(|t| (t.src, t.sport, t.dst, t.dport, t.proto));
                    if !live.is_empty() {
                        nat.close(&live[index.index(live.len())]);
                    }
                }
            }
        }
    }

    /// All workers together lease every port of the range, and then recover.
    #[test]
    fn every_port_is_reachable(
        key in prop::collection::vec(any::<u8>(), 40), workers in 1u16..=16,
        first in 0u16..64000, len in 0u16..900,
    ) {
        let mut nat = Nat::new(steering(workers, &key, Fields::Tuple, 7));
        let pool = [ip("192.0.2.1")];
        let tuple = udp("10.0.0.1", 4000, "198.51.100.1", 53);
        let request = request(&tuple, &pool, (first, first + len));
        for worker in 0..workers {
            // Some packets in a row may be refused before the search has seen everything.
            let mut refused = 0;
            while refused < 6 {
                match nat.open(worker, &request, 0) {
                    Ok(_) => refused = 0,
                    Err(_) => refused += 1,
                }
            }
        }
        let ports: HashSet<u16> = nat.live.keys().map(|reply| reply.dport).collect();
        prop_assert_eq!(ports.len(), usize::from(len) + 1);

        let freed: Vec<(Tuple, u16)> = nat.live.iter().take(10).map(|(r, w)| (*r, *w)).collect();
        for (reply, _) in &freed {
            nat.close(reply);
        }
        for (_, worker) in &freed {
            prop_assert!(nat.open(*worker, &request, 0).is_ok(), "free again at once");
        }
    }
}
