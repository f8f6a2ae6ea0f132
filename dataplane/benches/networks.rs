//! Nanoseconds for asking whether an address is in a list of networks, by the length of the list: looking at
//! each network, and as rules have it.
//!
//!     cargo bench -p sluice-dataplane --bench networks
//!
//! Half of the addresses are in the list. Each figure is the best of several runs, both kinds in turn.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::IpNet;
use sluice_dataplane::networks::Networks;

const LENGTHS: [u32; 5] = [1, 10, 100, 1000, 16_384];
const RUNS: usize = 7;
const LOOKUPS: u32 = 4096;

fn mixed(n: u32) -> u32 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    z = (z ^ z >> 16).wrapping_mul(0x85eb_ca6b);
    z ^ z >> 13
}

fn ns(run: impl Fn(IpAddr) -> bool, addresses: &[IpAddr]) -> f64 {
    let begun = Instant::now();
    let found = addresses.iter().filter(|&&address| run(address)).count();
    black_box(found);
    begun.elapsed().as_nanos() as f64 / addresses.len() as f64
}

fn main() {
    println!("networks     linear ns    ranges ns    ratio");
    for length in LENGTHS {
        // Every other /24, so that none touches another.
        let list: Vec<IpNet> = (0..length)
            .map(|n| {
                let address = Ipv4Addr::from(mixed(n) & 0xffff_fe00);
                IpNet::new(address.into(), 24).expect("24 bits")
            })
            .collect();
        let networks: Networks = list.iter().copied().collect();
        let addresses: Vec<IpAddr> = (0..LOOKUPS)
            .map(|n| {
                let net = mixed(mixed(n) % length) & 0xffff_fe00;
                let outside = (n & 1) << 8;
                IpAddr::from(Ipv4Addr::from(net | outside | n & 0xff))
            })
            .collect();
        let linear = |address| list.iter().any(|net| net.contains(&address));
        let ranges = |address| networks.holds(address);
        assert!(addresses.iter().all(|&it| linear(it) == ranges(it)));
        let mut best = [f64::MAX; 2];
        for _ in 0..RUNS {
            best[0] = best[0].min(ns(linear, &addresses));
            best[1] = best[1].min(ns(ranges, &addresses));
        }
        let [slow, fast] = best;
        println!("{length:>8} {slow:>13.1} {fast:>12.1} {:>8.1}", slow / fast);
    }
}
