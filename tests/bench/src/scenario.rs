//! What is measured: a configuration of Sluice, and the flows that go through it.

use std::net::Ipv4Addr;

use crate::profile::{Port, Profile};

/// FD.io's ladder of sessions, so that figures can be held against VPP's.
pub(crate) const LADDER: [usize; 5] = [64_512, 258_048, 1_032_192, 4_128_768, 16_515_072];
/// Source ports of each inside host, as FD.io has it.
const PORTS_PER_HOST: usize = 63;
/// The lowest source port.
const FIRST_PORT: u16 = 1024;
/// Destinations of the flows, 198.19.0.0 and up (RFC 2544's range for benchmarks).
const DESTINATIONS: usize = 16_384;

/// The frame size on the wire, FCS included, which frames in memory are without.
pub(crate) const FRAME: usize = 64;

/// Where flows come from: 10.1.0.0 and up.
const SOURCES: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 0);
const FAR: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);
/// Destination port of all flows.
pub(crate) const SERVICE_PORT: u16 = 80;

/// A UDP flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

/// Flow number `n` of any number: 63 from each host, hosts spread over destinations.
pub(crate) fn flow(n: usize) -> Tuple {
    let host = n / PORTS_PER_HOST;
    let at = |base: Ipv4Addr, offset: usize| Ipv4Addr::from(u32::from(base) + offset as u32);
    Tuple {
        src: at(SOURCES, host),
        dst: at(FAR, host % DESTINATIONS),
        sport: FIRST_PORT + (n % PORTS_PER_HOST) as u16,
        dport: SERVICE_PORT,
    }
}

/// The numbers below `count` in a random order, the same each time.
pub(crate) fn shuffled(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut random = Random::default();
    for at in (1..count).rev() {
        order.swap(at, (random.next() % (at as u64 + 1)) as usize);
    }
    order
}

/// Xorshift: good enough for an order, and the same each time.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(88_172_645_463_325_252)
    }
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Source NAT from inside to outside for `sessions` sessions, on these cores and devices.
///
/// `extra` is appended: what a measurement varies.
pub(crate) fn nat44(cores: &[usize], sessions: usize, devices: [&str; 2], extra: &str) -> String {
    let system = system(cores, sessions);
    let [inside, outside] = devices;
    format!(
        r#"{system}
[[port]]
name = "inside"
device = "{inside}"
zone = "inside"
addresses = ["10.0.0.1/24"]

[[port]]
name = "outside"
device = "{outside}"
zone = "outside"
addresses = ["192.0.2.1/24"]

[[route]]
to = "10.0.0.0/8"
via = "10.0.0.254"

[[route]]
to = "0.0.0.0/0"
via = "192.0.2.254"

[[snat_pool]]
name = "wan"
addresses = ["198.18.0.0-198.18.0.63"]
ports = "1024-65535"

[[snat]]
name = "wan"
from = "inside"
to = "outside"
pool = "wan"
{extra}"#
    )
}

/// `[system]` and `[api]`: so many sessions, and memory for them.
pub(crate) fn system(cores: &[usize], sessions: usize) -> String {
    let memory_mb = 400 + sessions * 165 / (1 << 20);
    format!(
        "[system]\nworkers = {cores:?}\nsessions = {sessions}\nsessions_v6 = 1024\n\
         memory_mb = {memory_mb}\npacket_buffers = 32768\n\n\
         [api]\nlisten = \"127.0.0.1:18080\"\n"
    )
}

/// Sessions outlive any measurement.
pub(crate) const LONG: &str = "\n[timeouts]\nudp_unreplied = \"1h\"\n";

/// The generator's traffic for [`nat44`]: 63 ports of each host, to 16 destinations.
pub(crate) fn nat44_profile(sessions: usize) -> Profile {
    let hosts = sessions / PORTS_PER_HOST / 16;
    let last = Ipv4Addr::from(u32::from(SOURCES) + hosts as u32 - 1);
    Profile {
        ports: [
            Port {
                address: "10.0.0.254",
                gateway: "10.0.0.1",
                answers: "",
            },
            Port {
                address: "192.0.2.254",
                gateway: "192.0.2.1",
                answers: "",
            },
        ],
        source: format!("{SOURCES}-{last}"),
        source_ports: "1024-1086",
        destination: "198.19.0.0-198.19.0.15",
        ..profile(sessions)
    }
}

/// TCP connections instead, so many at a time, of more flows than are ever remembered at once.
pub(crate) fn tcp_profile(concurrent: u32) -> Profile {
    Profile {
        source: "10.1.0.0-10.1.15.255".into(),
        source_ports: "1024-2047",
        destination: "198.19.0.0",
        connections: Some(concurrent),
        ..nat44_profile(1 << 22)
    }
}

fn profile(flows: usize) -> Profile {
    let nobody = Port {
        address: "",
        gateway: "",
        answers: "",
    };
    Profile {
        ports: [nobody.clone(), nobody],
        source: String::new(),
        source_ports: "",
        destination: "",
        flows,
        connections: None,
        random: true,
        rate: None,
        latency: false,
        warm_up: true,
        resolve: true,
        window_ms: 300,
    }
}

/// What a balancer does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balanced {
    /// The destination becomes the server's.
    Dnat,
    /// The source becomes one of ours as well.
    FullNat,
}

/// A virtual server with 16 real servers, chosen by Maglev.
pub(crate) fn balancer(
    cores: &[usize],
    sessions: usize,
    devices: [&str; 2],
    mode: Balanced,
    extra: &str,
) -> String {
    let system = system(cores, sessions);
    let [outside, inside] = devices;
    let (mode, pool) = match mode {
        Balanced::Dnat => ("mode = \"dnat\"", ""),
        Balanced::FullNat => (
            "mode = \"fullnat\"\nsnat_pool = \"own\"",
            "[[snat_pool]]\nname = \"own\"\naddresses = [\"172.16.0.64-172.16.0.127\"]\n",
        ),
    };
    let servers: String = (11..27)
        .map(|n| format!("[[pool.server]]\nname = \"s{n}\"\naddress = \"172.16.0.{n}\"\n"))
        .collect();
    format!(
        r#"{system}
[[port]]
name = "outside"
device = "{outside}"
zone = "outside"
addresses = ["192.0.2.1/24"]

[[port]]
name = "inside"
device = "{inside}"
zone = "inside"
addresses = ["172.16.0.1/24"]

[[route]]
to = "0.0.0.0/0"
via = "192.0.2.254"

[[pool]]
name = "servers"

{servers}
{pool}
[[virtual_server]]
name = "vip"
address = "203.0.113.80"
port = {SERVICE_PORT}
protocol = "udp"
pool = "servers"
scheduler = "maglev"
{mode}
{extra}"#
    )
}

/// The generator's traffic for [`balancer`]: 63 ports of each client, to the VIP.
pub(crate) fn balancer_profile(sessions: usize) -> Profile {
    let last = Ipv4Addr::from(u32::from(SOURCES) + (sessions / PORTS_PER_HOST) as u32 - 1);
    Profile {
        ports: [
            Port {
                address: "192.0.2.254",
                gateway: "192.0.2.1",
                answers: "",
            },
            Port {
                address: "172.16.0.2",
                gateway: "172.16.0.1",
                answers: "\"172.16.0.11-172.16.0.26\"",
            },
        ],
        source: format!("{SOURCES}-{last}"),
        source_ports: "1024-1086",
        destination: "203.0.113.80",
        ..profile(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flows_are_the_same() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..200_000 {
            let Tuple {
                src, dst, sport, ..
            } = flow(n);
            assert!(seen.insert((src, dst, sport)), "flow {n}");
        }
        let last = flow(LADDER[4] - 1);
        assert_eq!(last.src.octets()[0], 10);
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut order = shuffled(10_000);
        assert_ne!(order[..4], [0, 1, 2, 3]);
        order.sort_unstable();
        assert!(order.iter().zip(0..).all(|(&a, b)| a == b));
    }
}
