//! Logical ports on tagged frames. The tagging is done by a small switch in Python, so that kernels
//! without VLAN devices can play as well.

use sluice_tests::lab::{Lab, Port};
use sluice_tests::process::Process;
use sluice_tests::servers::Nginx;

use crate::{NAT, get, snat};

#[test]
fn two_tags_of_one_device_are_two_ports() {
    let mut lab = Lab::new("vlan");
    let trunk = lab.lone_host("trunk", &["0.0.0.0"]);
    let mut port = Port::new("inside", "", &["10.1.0.1/24"]);
    port.settings = "vlan = 100\nzone = \"inside\"\naddresses = [\"10.1.0.1/24\"]\n\
                     [[port]]\nname = \"outside\"\ndevice = \"@DEVICE@\"\nvlan = 200\n\
                     zone = \"outside\"\naddresses = [\"198.51.100.1/24\"]\n"
        .to_owned();
    lab.port_on(port, &trunk, "trunk");
    let inside = lab.lone_host("in11", &["10.1.0.11"]);
    let outside = lab.lone_host("out10", &["198.51.100.10"]);
    trunk.cable("access100", "169.254.0.1/32", &inside, "10.1.0.11/24", 1500);
    trunk.cable(
        "access200",
        "169.254.0.2/32",
        &outside,
        "198.51.100.10/24",
        1500,
    );
    inside
        .namespace()
        .ip(&["route", "add", "default", "via", "10.1.0.1"]);
    outside
        .namespace()
        .ip(&["route", "add", "default", "via", "198.51.100.1"]);
    // The switch's namespace only carries frames.
    trunk
        .namespace()
        .sysctl("net/ipv4/conf/all/arp_ignore", "8");
    trunk
        .namespace()
        .sysctl("net/ipv6/conf/all/disable_ipv6", "1");
    let script = format!("{}/python/trunk.py", env!("CARGO_MANIFEST_DIR"));
    let _switch = Process::start(
        trunk.namespace(),
        trunk.directory(),
        "switch",
        &[
            "/usr/bin/python3",
            "-B",
            &script,
            "trunk",
            "access100=100",
            "access200=200",
        ],
    );
    let nginx = Nginx::start(&outside);
    std::fs::write(nginx.root().join("blob"), vec![b'v'; 500_000]).expect("cannot write");
    let sluice = lab.start(&snat(""));
    sluice_tests::wait::expect("a ping through both tags", || {
        inside
            .run(&["ping", "-c", "1", "-W", "1", "198.51.100.10"])
            .status
            .success()
    });
    let seen = get(&inside, "198.51.100.10", "/from")
        .expect("an answer")
        .text();
    assert!(seen.starts_with(&format!("{NAT} ")), "{seen}");
    let size = inside.sh("curl -sS --fail http://198.51.100.10/blob | wc -c");
    assert_eq!(size.trim(), "500000");
    assert_eq!(sluice.assert_accounted().dropped("unknown_vlan"), 0);
}
