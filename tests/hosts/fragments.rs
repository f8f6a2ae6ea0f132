//! Fragments, as kernels send them. Over `net_af_xdp`, because `net_af_packet` has the kernel put
//! them together first.

use std::net::SocketAddr;

use sluice_tests::lab::{Device, Host, Lab};
use sluice_tests::servers::UdpEcho;

use crate::{VIP, echoes, pool, snat, udp, virtual_server};

fn lab(name: &str) -> (Lab, Host, Host) {
    let mut lab = Lab::new(name);
    lab.network("inside");
    lab.network("outside");
    for mut port in sluice_tests::lab::gateway_ports() {
        port.device = Device::AfXdp;
        lab.port(port);
    }
    let (inside, outside) = (lab.inside(11), lab.outside(10));
    (lab, inside, outside)
}

#[test]
fn datagrams_of_4000_bytes_pass_snat_in_fragments_both_ways() {
    let (lab, inside, outside) = lab("frag");
    let _echo = UdpEcho::start(outside.namespace(), outside.address(), 7);
    let sluice = lab.start(&snat(""));
    for number in 0..20_u8 {
        let socket = udp(&inside, inside.address(), 0);
        let datagram: Vec<u8> = (0..4000_u32).map(|at| (at % 251) as u8 ^ number).collect();
        assert!(echoes(&socket, outside.at(7), &datagram), "socket {number}");
        assert!(echoes(
            &socket,
            outside.at(7),
            b"a small one of the same session"
        ));
    }
    inside.ok(&["ping", "-c", "3", "-W", "5", "-s", "4000", "198.51.100.10"]);
    let total = sluice.assert_accounted().total();
    assert!(total.forwarded >= 20 * 2 * 3, "not fragments: {total:#?}");
}

#[test]
fn datagrams_of_4000_bytes_pass_a_vip_in_fragments_both_ways() {
    let (lab, inside, outside) = lab("fragvip");
    let _echo = UdpEcho::start(inside.namespace(), inside.address(), 53);
    let _sluice = lab.start(
        &(pool(&[(&inside, 1)]).replace("port = 80", "port = 53")
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")
                .replace("port = 80", "port = 53")
                .replace("\"tcp\"", "\"udp\"")),
    );
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 53);
    for number in 0..20_u8 {
        let socket = udp(&outside, outside.address(), 0);
        let datagram: Vec<u8> = (0..4000_u32).map(|at| (at % 249) as u8 ^ number).collect();
        assert!(echoes(&socket, vip, &datagram), "socket {number}");
    }
}

#[test]
fn ipv6_fragments_pass_as_they_are() {
    let (lab, inside, outside) = lab("frag6");
    let _echo = UdpEcho::start(outside.namespace(), outside.address6(), 7);
    let _sluice = lab.start("[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n");
    let socket = udp(&inside, inside.address6(), 0);
    let server = SocketAddr::new(outside.address6(), 7);
    for number in 0..10_u8 {
        assert!(
            echoes(&socket, server, &vec![number; 4000]),
            "datagram {number}"
        );
    }
}

#[test]
fn fragments_out_of_order_pass_and_overlapping_ones_do_not() {
    let (lab, inside, outside) = lab("fragord");
    let sluice = lab.start(&snat(""));
    // Resolve the neighbours first: what waits for them is held, and that is another test.
    inside.ok(&["ping", "-c", "2", "-W", "5", "198.51.100.10"]);
    let socket = udp(&outside, outside.address(), 7777);
    socket.set_nonblocking(false).expect("blocking");
    let server = outside.address().to_string();
    let mut datagram = vec![0; 65_536];
    for order in ["reverse", "middle-first", "duplicate"] {
        inside.python(
            "fragments.py",
            &["eth0", "10.1.0.1", &server, "7777", order],
        );
        let (length, _) = socket
            .recv_from(&mut datagram)
            .unwrap_or_else(|why| panic!("{order}: {why}: {:#?}", sluice.stats().total().dropped));
        assert_eq!(length, 4000, "{order}");
        assert!(
            datagram[..length]
                .iter()
                .zip(0_u32..)
                .all(|(&byte, at)| byte == (at % 251) as u8)
        );
    }
    let before = sluice.stats().dropped("fragment_overlap");
    inside.python(
        "fragments.py",
        &["eth0", "10.1.0.1", &server, "7777", "overlap"],
    );
    assert!(
        socket.recv_from(&mut datagram).is_err(),
        "an overlapping fragment got through"
    );
    sluice.expect_dropped("fragment_overlap", before + 1);
    // What never completes must not be held for ever: `sluice` is checked for it at its end.
    inside.python(
        "fragments.py",
        &["eth0", "10.1.0.1", &server, "7777", "no-first"],
    );
    assert!(socket.recv_from(&mut datagram).is_err());
}
