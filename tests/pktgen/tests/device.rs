//! The program itself, on DPDK's own devices and without huge pages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs a profile, with these arguments besides.
fn pktgen(name: &str, profile: &str, arguments: &[&str]) -> (Output, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("profile.toml");
    let profile = profile.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&path, profile).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-pktgen"))
        .arg("run")
        .arg(&path)
        .args(["--no-huge", "--quiet", "--json", "-"])
        .args(arguments)
        .output()
        .unwrap();
    (output, folder)
}

fn results(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A port from `a` to itself, and short windows.
const RING: &str = "memory_mb = 256\n[measure]\nwindows = 2\nwindow_ms = 30\nsettle_ms = 10\n\
                    [[port]]\nname = \"a\"\ndevice = \"net_ring0\"\n\
                    gateway_mac = \"02:00:00:00:00:01\"\n";
const UDP: &str = "[[stream]]\nfrom = \"a\"\nto = \"a\"\nsource = [\"10.0.0.2-10.0.0.65\"]\n\
                   destination = [\"198.51.100.10\"]\n";

#[test]
fn what_a_ring_carries_comes_back_whole() {
    let profile = format!(
        "{RING}[warm_up]\n{UDP}flows = 20_000\nsize = \"imix\"\ncheck = \"full\"\nlatency = true\n"
    );
    let (output, _) = pktgen("ring", &profile, &[]);
    let results = results(&output);
    assert_eq!(results["warm_up"]["missing"], 0);
    assert_eq!(results["windows"].as_array().unwrap().len(), 2);
    let stream = &results["streams"][0];
    let forward = &stream["forward"];
    assert!(stream["sent"].as_u64().unwrap() > 0);
    assert_eq!(forward["unique"], stream["sent"]);
    for key in ["duplicates", "reordered", "corrupted", "bad_checksums"] {
        assert_eq!(forward[key], 0, "{key}");
    }
    assert_eq!(forward["latency_us"]["count"], stream["sent"]);
    assert!(forward["latency_us"]["min"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_a_device_swallows_is_lost() {
    let profile = RING.replace("net_ring0", "net_null0,no-rx=1") + UDP;
    let (output, _) = pktgen("null", &profile, &["--rate", "100000"]);
    let results = results(&output);
    let stream = &results["streams"][0];
    assert!(stream["sent"].as_u64().unwrap() > 0);
    assert_eq!(stream["lost"], stream["sent"]);
    assert_eq!(results["total"]["loss"], 1.0);
}

#[test]
fn connections_are_made_over_a_ring() {
    let profile = format!(
        "{RING}[tcp]\nclient = \"a\"\nserver = \"a\"\nsource = [\"10.0.0.2-10.0.0.9\"]\n\
         destination = [\"192.0.2.1\"]\nrequest = 100\nresponse = 1000\nconcurrent = 100\n"
    );
    let (output, _) = pktgen("tcp", &profile, &[]);
    let total = &results(&output)["total"];
    assert!(total["completed"].as_u64().unwrap() > 0);
    assert_eq!(total["completed"], total["opened"]);
    for key in ["timed_out", "reset", "unfinished", "corrupted", "no_buffer"] {
        assert_eq!(total[key], 0, "{key}");
    }
}

#[test]
fn frames_are_sound_to_scapy() {
    let profile = RING.replace("net_ring0", "net_pcap0,tx_pcap=FOLDER/out.pcap")
        + UDP
        + "size = \"imix\"\ncheck = \"stamp\"\nflows = 20\n"
        + &UDP.replace("\"a\"\nto", "\"a\"\nprotocol = \"tcp\"\nto")
        + "size = 90\ncheck = \"stamp\"\nflows = 20\nname = \"syn\"\n";
    let profile = profile.replace("to = \"a\"", "to = \"b\"")
        + "[[port]]\nname = \"b\"\ndevice = \"net_null1,no-rx=1\"\n";
    let (output, folder) = pktgen("scapy", &profile, &["--rate", "20000"]);
    results(&output);
    let script = "
import sys
from scapy.all import rdpcap, Ether, IP, TCP, UDP
kinds = {'udp': set(), 'tcp': set()}
packets = rdpcap(sys.argv[1])
for number, packet in enumerate(packets):
    frame = bytes(packet)
    anew = Ether(frame)
    del anew[IP].chksum, anew[IP].len
    l4 = anew[IP].payload
    del l4.chksum
    if UDP in anew:
        del l4.len
    assert bytes(anew) == frame, (number, anew, packet)
    kinds['udp' if UDP in packet else 'tcp'].add((packet[IP].src, l4.sport, packet[IP].dst, l4.dport))
    if TCP in packet:
        assert packet[TCP].flags == 'S'
assert {len(flows) for flows in kinds.values()} == {20}, {k: len(v) for k, v in kinds.items()}
assert {len(packet) for packet in packets if UDP in packet} == {60, 590, 1514}
";
    let scapy = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(folder.join("out.pcap"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&scapy.stderr);
    assert!(scapy.status.success(), "{error}");
}

#[test]
fn a_wrong_profile_is_refused_with_a_line() {
    let (output, _) = pktgen("wrong", &format!("{RING}{UDP}flos = 3\n"), &[]);
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("unknown field `flos`") && error.contains("line"),
        "{error}"
    );
}

#[test]
fn each_profile_that_comes_along_is_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let output = Command::new(env!("CARGO_BIN_EXE_sluice-pktgen"))
                .arg("check")
                .arg(&path)
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{error}");
            checked += 1;
        }
    }
    assert!(checked >= 5);
}
