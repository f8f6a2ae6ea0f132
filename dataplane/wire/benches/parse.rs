//! Nanoseconds for what is done to every packet: parsing, its key, its hashes, checksums.
//!
//! `cargo bench -p sluice-wire`. Each figure is the best of many short runs over a burst of frames
//! that lie in cache, so that what else the machine does has little part in it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sluice_wire::toeplitz::MICROSOFT_KEY;
use sluice_wire::{Delta, KeyHasher, Sum, Toeplitz, V4, V6, icmp4, ipv4, ipv6, parse, proto, udp};

/// Frames in a burst.
const BURST: usize = 64;
/// Bursts timed at once.
const ROUNDS: usize = 100;

fn main() {
    // `cargo test --all-targets` runs this, too, and shall not wait for it.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let udp4 = burst(|n| v4(n, proto::UDP));
    let tcp4 = burst(|n| v4(n, proto::TCP));
    let echo = burst(|n| v4(n, proto::ICMP));
    let udp6 = burst(v6);
    let mixed = burst(|n| v4(n, [proto::UDP, proto::TCP][(n as usize * 7 / 3) % 2]));
    let hasher = KeyHasher::new([1, 2, 3, 4]);
    let toeplitz = Toeplitz::new(&MICROSOFT_KEY).expect("the key is 40 bytes");

    for (name, frames) in [("UDP", &udp4), ("TCP", &tcp4), ("UDP and TCP", &mixed)] {
        time(
            &format!("parse, checksum verified, key: IPv4 {name}"),
            || {
                for frame in frames {
                    if let Ok(parsed) = parse(black_box(frame), None, false) {
                        black_box(parsed.key_v4(frame, 1));
                    }
                }
            },
        );
    }
    time("parse, checksum by the device, key: IPv4 UDP", || {
        for frame in &udp4 {
            if let Ok(parsed) = parse(black_box(frame), None, true) {
                black_box(parsed.key_v4(frame, 1));
            }
        }
    });
    time("parse, key: IPv4 echo (slow path)", || {
        for frame in &echo {
            if let Ok(parsed) = parse(black_box(frame), None, false) {
                black_box(parsed.key_v4(frame, 1));
            }
        }
    });
    time("parse, key: IPv6 UDP", || {
        for frame in &udp6 {
            if let Ok(parsed) = parse(black_box(frame), None, false) {
                black_box(parsed.key_v6(frame, 1));
            }
        }
    });
    let keys4 = udp4
        .each_ref()
        .map(|f| parse(f, None, true).map(|p| p.key_v4(f, 1)));
    let keys6 = udp6
        .each_ref()
        .map(|f| parse(f, None, true).map(|p| p.key_v6(f, 1)));
    time("table hash: IPv4", || {
        for key in keys4.iter().flatten() {
            black_box(hasher.hash::<V4>(black_box(key)));
        }
    });
    time("table hash: IPv6", || {
        for key in keys6.iter().flatten() {
            black_box(hasher.hash::<V6>(black_box(key)));
        }
    });
    time("Toeplitz: IPv4 with ports", || {
        for key in keys4.iter().flatten() {
            let key = black_box(key);
            black_box(toeplitz.hash_v4(key.addrs, key.ports));
        }
    });
    time("Toeplitz: IPv6 with ports", || {
        for key in keys6.iter().flatten() {
            let key = black_box(key);
            black_box(toeplitz.hash_v6(key.addrs, key.ports));
        }
    });
    time("Toeplitz: one candidate port", || {
        for port in 0..BURST as u16 {
            black_box(toeplitz.dport::<V4>(black_box(port)));
        }
    });
    let mut frame = udp4[0].clone();
    time("checksum deltas into IP and UDP header", || {
        for _ in 0..BURST {
            let frame = black_box(&mut frame[..]);
            Delta(0x1234).patch(frame, 24);
            Delta(0x4321).patch_udp(frame, 40);
        }
    });
    let payload = vec![0xa5; 1500];
    time("sum of 1,500 bytes", || {
        for _ in 0..BURST {
            black_box(Sum::ZERO.bytes(black_box(&payload)).fold());
        }
    });
}

fn burst(frame: impl Fn(u16) -> Vec<u8>) -> [Vec<u8>; BURST] {
    std::array::from_fn(|n| frame(n as u16))
}

/// An IPv4 packet of the `n`th host in a frame of 60 bytes (64 with FCS).
fn v4(n: u16, proto: u8) -> Vec<u8> {
    let [high, low] = n.to_be_bytes();
    let addrs = u64::from_ne_bytes([10, 0, high, low, 198, 51, 100, 7]);
    let header = ipv4::Build {
        total_len: 46,
        tos: 0,
        id: n,
        fragment: ipv4::DONT_FRAGMENT,
        ttl: 64,
        proto,
        addrs,
    };
    let mut l4 = transport(n, proto, 26);
    match proto {
        proto::UDP => udp::seal::<V4>(addrs, &mut l4),
        proto::ICMP => icmp4::seal(&mut l4),
        _ => {}
    }
    [&ethernet([0x08, 0x00]), &header.bytes()[..], &l4].concat()
}

/// An IPv6 UDP datagram of the `n`th host.
fn v6(n: u16) -> Vec<u8> {
    let mut addrs = [0x20u8; 32];
    addrs[14..16].copy_from_slice(&n.to_be_bytes());
    let header = ipv6::Build {
        traffic_class: 0,
        payload_len: 18,
        next: proto::UDP,
        hop_limit: 64,
        addrs: zerocopy::transmute!(addrs),
    };
    let l4 = transport(n, proto::UDP, 18);
    [&ethernet([0x86, 0xdd]), &header.bytes()[..], &l4].concat()
}

fn ethernet(ethertype: [u8; 2]) -> [u8; 14] {
    let mut header = [2; 14];
    header[12..].copy_from_slice(&ethertype);
    header
}

fn transport(n: u16, proto: u8, len: usize) -> Vec<u8> {
    let mut l4 = vec![0; len];
    match proto {
        proto::TCP => l4[12..14].copy_from_slice(&[0x50, 0x10]),
        proto::ICMP => l4[0] = icmp4::ECHO_REQUEST,
        _ => l4[4..6].copy_from_slice(&(len as u16).to_be_bytes()),
    }
    if proto != proto::ICMP {
        l4[..2].copy_from_slice(&(n + 1024).to_be_bytes());
        l4[3] = 53;
    }
    l4
}

/// Prints nanoseconds per packet of a function that handles [`BURST`] of them.
fn time(name: &str, mut burst: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            burst();
        }
        best = best.min(start.elapsed());
    }
    let packets = (ROUNDS * BURST) as f64;
    println!("{:8.2} ns  {name}", best.as_nanos() as f64 / packets);
}
