//! Ports on the kernel's interfaces, in a network namespace of the test's own. Needs root.

#![allow(unsafe_code, reason = "only the kernel can make a namespace")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use common::{frame, pattern, pool, send_all, start};
use sluice_dataplane::io::Frame;
use sluice_dpdk::{Mbuf, Port, PortConfig, Started};

/// Moves this thread, and with it what it starts, to a namespace with a cable `left`-`right` that no kernel
/// stack talks on. False without the right to.
fn enter_namespace() -> bool {
    // SAFETY: takes a number, and moves only this thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        eprintln!("skipped: network namespaces need root");
        return false;
    }
    ip("link add left type veth peer name right");
    for end in ["left", "right"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1");
        ip(&format!("link set {end} up"));
    }
    true
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// An Ethernet frame with a payload that the kernel has no name for.
fn ethernet(len: usize, tag: Option<u16>) -> Vec<u8> {
    let mut bytes = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01".to_vec();
    if let Some(tci) = tag {
        bytes.extend([0x81, 0x00]);
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend([0x88, 0xb5]);
    bytes.extend(pattern(len - bytes.len(), 5));
    bytes
}

/// Frames of our own kind, from all queues; the kernel may say something of its own.
fn receive(port: &mut Started, count: usize) -> Vec<Mbuf> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut all = Vec::new();
    while all.len() < count {
        let ours = |frame: &Mbuf| frame.bytes().get(12..14) == Some(&[0x88, 0xb5]);
        all.extend(receive_any(port).into_iter().filter(ours));
        assert!(Instant::now() < until, "{} of {count}", all.len());
    }
    all
}

fn receive_any(port: &mut Started) -> Vec<Mbuf> {
    let mut all = Vec::new();
    for queue in &mut port.rx {
        let mut burst: ArrayVec<Mbuf, 64> = ArrayVec::new();
        queue.receive(&mut burst);
        all.extend(burst);
    }
    all
}

fn wait_for_link(port: &Port, up: bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while port.link().up != up {
        assert!(Instant::now() < until, "the link is not {up}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn af_packet_is_a_whole_port() {
    if !enter_namespace() {
        return;
    }
    let pool = pool(1500);
    let config = PortConfig {
        promiscuous: true,
        ..PortConfig::default()
    };
    let mut a = start("net_af_packet0,iface=left,qpairs=1", &config, &pool);
    let mut b = start("net_af_packet1,iface=right,qpairs=2", &config, &pool);
    assert_eq!((a.rx.len(), a.tx.len()), (1, 1));
    assert_eq!(b.rx.len(), 2, "all sockets of a fanout must be read");

    let sent: Vec<_> = [60, 61, 590, 1514].map(|len| ethernet(len, None)).into();
    send_all(&mut a.tx[0], sent.iter().map(|bytes| frame(&pool, bytes)));
    let mut received = receive(&mut b, sent.len());
    received.sort_by_key(|frame| frame.bytes().len());
    for (frame, sent) in received.iter().zip(&sent) {
        assert_eq!(frame.bytes(), sent);
        assert_eq!(frame.meta().vlan_tci, None);
    }

    // The kernel takes tags out of what it hands up, whether asked to or not.
    send_all(&mut b.tx[0], [frame(&pool, &ethernet(1518, Some(0x6064)))]);
    let tagged = receive(&mut a, 1);
    assert_eq!(tagged[0].meta().vlan_tci, Some(0x6064));
    assert_eq!(tagged[0].bytes()[..14], ethernet(60, None)[..14]);
    assert_eq!(tagged[0].bytes().len(), 1514);

    wait_for_link(&a.port, true);
    ip("link set right down");
    wait_for_link(&a.port, false);
    ip("link set right up");
    wait_for_link(&a.port, true);

    // A worker must not be held up by an interface that is down, nor later by what it could not send.
    ip("link set left down");
    let start = Instant::now();
    for _ in 0..20 {
        let mut lost: ArrayVec<Mbuf, 128> = (0..128).map(|_| frame(&pool, &sent[0])).collect();
        a.tx[0].send(&mut lost);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    ip("link set left up");
    wait_for_link(&a.port, true);
    let last = ethernet(100, None);
    let until = Instant::now() + Duration::from_secs(5);
    while receive_any(&mut b)
        .iter()
        .all(|frame| frame.bytes() != last)
    {
        a.tx[0].send(&mut ArrayVec::<Mbuf, 1>::from([frame(&pool, &last)]));
        assert!(Instant::now() < until, "nothing passes any more");
    }

    drop((received, tagged, a, b));
    assert_eq!(pool.in_use(), 0);
}
