//! Plenty of bytes through every kind of path.

use std::path::Path;

use sluice_tests::lab::{Device, Host, Lab};
use sluice_tests::servers::{self, Nginx};

use crate::{VIP, get, pool, snat, virtual_server};

const HUNDRED_MB: &str = "100000000";

/// Writes 100 MB that no compression or repetition hides, and gives their checksum.
fn blob(host: &Host, root: &Path) -> String {
    let file = root.join("blob").display().to_string();
    host.sh(&format!(
        "head -c {HUNDRED_MB} /dev/urandom >{file}; sha256sum <{file}"
    ))
}

#[test]
fn hundred_megabytes_through_a_vip_and_through_snat_arrive_as_they_were() {
    let mut lab = Lab::gateway("blob");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let (web, far) = (Nginx::start(&inside), Nginx::start(&outside));
    let (from_web, from_far) = (blob(&inside, web.root()), blob(&outside, far.root()));
    let _sluice = lab.start(
        &(snat("")
            + &pool(&[(&inside, 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let fetch = |host: &Host, server: &str| {
        host.sh(&format!(
            "curl -sS --fail --max-time 55 http://{server}/blob | sha256sum"
        ))
    };
    assert_eq!(fetch(&outside, VIP), from_web);
    assert_eq!(fetch(&inside, "198.51.100.10"), from_far);

    // And upwards.
    let sent = far.root().join("blob").display().to_string();
    outside.sh(&format!(
        "curl -sS --fail --max-time 55 -T {sent} http://{VIP}/in/blob"
    ));
    let stored = web.root().join("in/blob").display().to_string();
    assert_eq!(inside.sh(&format!("sha256sum <{stored}")), from_far);
}

#[test]
fn iperf3_tcp_and_udp_in_both_directions() {
    let mut lab = Lab::gateway("iperf");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let _far = servers::iperf3(&outside);
    let _sluice = lab.start(&snat(""));
    for options in ["-P 2", "-R", "-u -b 20M", "-u -b 20M -R"] {
        let report = inside.sh(&format!("iperf3 -c 198.51.100.10 -t 2 -J {options}"));
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let end = &report["end"];
        let received = match options.starts_with("-u") {
            true => {
                end["sum"]["packets"].as_u64().unwrap_or(0)
                    - end["sum"]["lost_packets"].as_u64().unwrap_or(0)
            }
            false => end["sum_received"]["bytes"].as_u64().unwrap_or(0) / 1448,
        };
        assert!(
            received > 500,
            "iperf3 {options}: {received} packets\n{end:#}"
        );
    }
}

#[test]
fn one_queue_for_two_workers_and_af_xdp_carry_traffic_as_well() {
    for device in [Device::AfPacket(1), Device::AfXdp] {
        let mut lab = Lab::new("devices");
        lab.network("inside");
        lab.network("outside");
        for mut port in sluice_tests::lab::gateway_ports() {
            port.device = device;
            lab.port(port);
        }
        let outside = lab.outside(10);
        let inside = lab.inside(11);
        let nginx = Nginx::start(&outside);
        std::fs::write(nginx.root().join("blob"), vec![b'q'; 5_000_000]).expect("cannot write");
        let _sluice = lab.start(&snat(""));
        for _ in 0..20 {
            let answer = get(&inside, "198.51.100.10", "/");
            assert_eq!(
                answer.map(|answer| answer.text()),
                Ok("out10\n".to_owned()),
                "{device:?}"
            );
        }
        let size = inside.sh("curl -sS --fail http://198.51.100.10/blob | wc -c");
        assert_eq!(size.trim(), "5000000", "{device:?}");
    }
}

#[test]
fn ipv6_is_forwarded_with_sessions_as_ipv4_is() {
    let mut lab = Lab::gateway("fwd6");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let nginx = Nginx::start(&outside);
    let _web = Nginx::start(&inside);
    std::fs::write(nginx.root().join("blob"), vec![b'6'; 5_000_000]).expect("cannot write");
    let _sluice = lab.start("[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n");
    let (here, there) = (inside.address6(), outside.address6());
    let size = inside.sh(&format!(
        "curl -6 -g -sS --fail http://[{there}]/blob | wc -c"
    ));
    assert_eq!(size.trim(), "5000000");
    inside.ok(&["ping", "-6", "-c", "3", "-W", "5", &there.to_string()]);
    inside.ok(&[
        "ping",
        "-6",
        "-c",
        "3",
        "-W",
        "5",
        "-s",
        "1400",
        &there.to_string(),
    ]);
    let unsolicited = outside.run(&[
        "curl",
        "-6",
        "-g",
        "-sS",
        "-m",
        "3",
        &format!("http://[{here}]/"),
    ]);
    assert!(
        !unsolicited.status.success(),
        "outside opened a session to inside"
    );
}
