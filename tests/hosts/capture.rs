//! Captures and traces, held against what hosts see of the same packets, and read by programs that
//! others wrote: tshark, dumpcap, DPDK's telemetry client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_tests::http;
use sluice_tests::lab::{Host, Lab, OUTSIDE, SYSTEM};
use sluice_tests::machine::build_directory;
use sluice_tests::process::Process;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::{API, Sluice};
use sluice_tests::wait;

use crate::{NAT, VIP, get, pool, snat, virtual_server};

/// Where a frame was seen, what became of it, and what tells it from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    interface: String,
    direction: String,
    comment: String,
    frame: String,
}

/// What tshark reads in a file.
fn rows(file: &Path) -> Vec<Row> {
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.comment",
        "frame.len",
        "eth.src",
        "eth.dst",
        "ip.src",
        "ip.dst",
        "ip.id",
        "ip.ttl",
        "ip.checksum",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
        "tcp.checksum",
    ];
    let output = Command::new("tshark")
        .args(["-n", "-Y", "tcp.port == 80", "-T", "fields"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .arg("-r")
        .arg(file)
        .output()
        .expect("cannot run tshark");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |line: &str| {
        let words: Vec<&str> = line.splitn(4, '\t').collect();
        Row {
            interface: words[0].to_owned(),
            direction: words[1].to_owned(),
            comment: words[2].to_owned(),
            frame: words[3].to_owned(),
        }
    };
    text.lines().map(row).collect()
}

fn frames<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut frames: Vec<&str> = rows.into_iter().map(|row| row.frame.as_str()).collect();
    frames.sort_unstable();
    frames
}

/// Dumpcap on a host, which has begun.
fn witness(host: &Host, file: &Path) -> Process {
    let file = file.display().to_string();
    let name = format!("dumpcap-{}", host.name());
    let command = ["dumpcap", "-q", "-i", "eth0", "-f", "tcp", "-w", &file];
    let process = Process::start(host.namespace(), host.directory(), &name, &command);
    wait::expect("dumpcap to begin", || process.log().contains("File:"));
    process
}

fn ask(lab: &Lab, method: &str, path: &str, body: &Value) -> Value {
    let (kind, body) = ("Content-Type: application/json\r\n", body.to_string());
    let send = || http::send(API, method, path, kind, body.as_bytes());
    let answer = lab.appliance().inside(send);
    let answer = answer.unwrap_or_else(|why| panic!("{method} {path}: {why}"));
    assert!(answer.status < 300, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn curl(host: &Host, port: u16, url: &str) -> Option<String> {
    let port = port.to_string();
    let command = ["curl", "-sS", "--max-time", "0.7", "--local-port", &port];
    let output = host.run(&[&command[..], &[url]].concat());
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[test]
fn a_capture_has_each_frame_once_with_its_direction_verdict_and_reason() {
    let mut lab = Lab::gateway("capture");
    let (client, stranger) = (lab.outside(10), lab.outside(66));
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let rule = "[[firewall.rule]]\nname = \"block\"\nfrom = \"outside\"\naction = \"deny\"\n\
                source = \"198.51.100.66\"\n";
    let rest = virtual_server("mode = \"dnat\"") + rule + &pool(&[(&web, 1)]);
    let sluice = lab.start(&rest);
    // From here on all neighbours know each other, and no frame waits for that.
    assert!(get(&client, VIP, "/").is_ok());
    assert!(stranger.run(&["ping", "-c", "1", OUTSIDE]).status.success());
    wait::expect("the first connection to be over", || {
        sluice.assert_accounted();
        true
    });

    let seen = lab.directory().join("client.pcapng");
    let watching = witness(&client, &seen);
    let spec = json!({ "filter": "tcp port 80", "seconds": 600 });
    let id = ask(&lab, "POST", "/api/v1/captures", &spec)["id"].clone();
    let url = format!("http://{VIP}/");
    assert_eq!(curl(&client, 40_001, &url).as_deref(), Some("in11"));
    assert_eq!(curl(&stranger, 40_002, &url), None);
    // Not TCP: not of the filter.
    assert!(client.run(&["ping", "-c", "1", OUTSIDE]).status.success());
    sluice.expect_dropped("denied", 1);
    sluice.assert_accounted();
    ask(
        &lab,
        "POST",
        &format!("/api/v1/captures/{id}/stop"),
        &json!({}),
    );
    let path = format!("/api/v1/captures/{id}/packets?follow=true");
    // HTTP/1.0: not in chunks.
    let inside = || http::request_1_0(API, &path);
    let packets = lab.appliance().inside(inside).expect("packets").body;
    let file = lab.directory().join("sluice.pcapng");
    std::fs::write(&file, packets).expect("cannot write");
    let found = rows(&file);
    let of = |interface: &str, direction: &str| {
        let of = found
            .iter()
            .filter(move |row| row.interface == interface && row.direction == direction);
        of.collect::<Vec<_>>()
    };
    let (inbound, outbound) = ("0x00000001", "0x00000002");
    let denied: Vec<&Row> = of("outside", inbound)
        .into_iter()
        .filter(|row| row.comment.contains("verdict=dropped"))
        .collect();
    assert_eq!(
        denied.len() as u64,
        sluice.stats().dropped("denied"),
        "{found:#?}"
    );
    for row in &denied {
        assert!(row.comment.contains("reason=denied:"), "{row:?}");
        assert!(row.frame.contains("198.51.100.66"), "{row:?}");
    }
    let forwarded: Vec<&Row> = of("outside", inbound)
        .into_iter()
        .filter(|row| row.comment.contains("verdict=forwarded"))
        .collect();
    assert_eq!(
        forwarded.len() + denied.len(),
        of("outside", inbound).len(),
        "{found:#?}"
    );
    assert_eq!(of("inside", outbound).len(), forwarded.len(), "{found:#?}");
    assert_eq!(
        of("inside", inbound).len(),
        of("outside", outbound).len(),
        "{found:#?}"
    );
    for row in of("inside", outbound)
        .iter()
        .chain(&of("outside", outbound))
    {
        assert!(
            row.comment.starts_with("tx ") && row.comment.ends_with("verdict=sent"),
            "{row:?}"
        );
    }
    // What the client's kernel sent and got is what came and what was sent, to the last field.
    let sent_by = |row: &&Row| row.frame.contains("198.51.100.10\t203.0.113.80");
    let mut at_client = Vec::new();
    wait::expect("dumpcap to have written all", || {
        at_client = rows(&seen);
        at_client.len() == forwarded.len() + of("outside", outbound).len()
    });
    drop(watching);
    let (sent, got): (Vec<&Row>, Vec<&Row>) = at_client.iter().partition(sent_by);
    assert_eq!(frames(forwarded.iter().copied()), frames(sent));
    assert_eq!(frames(of("outside", outbound).iter().copied()), frames(got));
}

#[test]
fn a_trace_says_what_then_happens() {
    let mut lab = Lab::gateway("trace");
    let (client, stranger) = (lab.outside(10), lab.outside(66));
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let _far = Nginx::start(&client);
    let rule = "[[firewall.rule]]\nname = \"block\"\nfrom = \"outside\"\naction = \"deny\"\n\
                source = \"198.51.100.66\"\n";
    let snat = snat("").replace("[[snat_pool]]", &format!("{rule}[[snat_pool]]"));
    let rest = snat + &pool(&[(&web, 1)]) + &virtual_server("mode = \"dnat\"");
    // Another lab on this machine may have the usual one.
    let prefix = lab.appliance().name().to_owned();
    lab.system(&format!("{SYSTEM}file_prefix = \"{prefix}\"\n"));
    let sluice = lab.start(&rest);
    let trace = |port: &str, source: &str, sport: u16, to: &str| {
        let packet = json!({ "port": port, "source": source, "source_port": sport,
            "destination": to, "destination_port": 80 });
        ask(&lab, "POST", "/api/v1/trace", &packet)
    };
    let far = client.address().to_string();

    // Out, with another source: the very port that it says.
    let said = trace("inside", "10.1.0.11", 40_011, &far);
    assert_eq!(said["verdict"], "forwarded", "{said:#}");
    assert_eq!(
        (&said["port"], &said["leaves"]["source"]),
        (&json!("outside"), &json!(NAT))
    );
    let seen = curl(&web, 40_011, &format!("http://{far}/from")).expect("an answer");
    let port = said["leaves"]["source_port"].to_string();
    assert!(
        seen.starts_with(&format!("{NAT} {port} ")),
        "{seen}, and said: {said:#}"
    );

    // In, by the virtual server.
    let said = trace("outside", "198.51.100.10", 40_012, VIP);
    assert_eq!(said["verdict"], "forwarded", "{said:#}");
    assert_eq!(said["leaves"]["destination"], "10.1.0.11", "{said:#}");
    let seen = curl(&client, 40_012, &format!("http://{VIP}/from")).expect("an answer");
    assert_eq!(seen, "198.51.100.10 40012 10.1.0.11 80");

    // And not in.
    let said = trace("outside", "198.51.100.66", 40_013, VIP);
    assert_eq!(
        (&said["verdict"], &said["reason"]),
        (&json!("dropped"), &json!("denied"))
    );
    let steps = said["steps"].to_string();
    assert!(
        steps.contains("firewall/block") || steps.contains("rule/block"),
        "{said:#}"
    );
    assert_eq!(sluice.stats().dropped("denied"), 0, "a trace is no packet");
    assert_eq!(curl(&stranger, 40_013, &format!("http://{VIP}/")), None);
    sluice.expect_dropped("denied", 1);

    // DPDK's own client reads the same counters.
    sluice.assert_accounted();
    let received = || sluice.json("/api/v1/stats")["total"]["received"].as_u64();
    let before = received();
    let commands = "/sluice/drops\\n/sluice/stats\\n/sluice/sessions\\n";
    let ask = format!("printf '{commands}' | dpdk-telemetry.py -f {prefix}");
    let output = Command::new("bash").args(["-c", &ask]).output();
    let output = output.expect("cannot run bash");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = |command: &str| -> Value {
        let answer = text.lines().find(|line| line.contains(command));
        let answer: Value = serde_json::from_str(answer.unwrap_or_default())
            .unwrap_or_else(|why| panic!("{why}: {output:?}"));
        answer[command].clone()
    };
    let denied = sluice.stats().dropped("denied");
    assert_eq!(told("/sluice/drops")["denied"], denied, "{text}");
    let stats = told("/sluice/stats")["received"].as_u64();
    assert!(before <= stats && stats <= received(), "{text}");
    let sessions = &sluice.json("/api/v1/status")["sessions"];
    assert!(sessions["v4"].as_u64() > Some(0), "{sessions}");
    assert_eq!(told("/sluice/sessions")["sessions_v4"], sessions["v4"]);
}

#[test]
fn tshark_reads_a_capture_as_it_comes_and_the_capture_goes_with_it() {
    let mut lab = Lab::gateway("live");
    let client = lab.outside(10);
    let sluice = lab.start("");
    let ctl = build_directory().join("sluicectl");
    let pipe = format!(
        "{} capture -w - --seconds 600 icmp | tshark -l -n -c 2 -r - -T fields \
         -e frame.comment -e icmp.type",
        ctl.display()
    );
    let mut pipe = lab
        .appliance()
        .command("bash")
        .args(["-c", &pipe])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot run bash");
    let ping = || {
        client
            .run(&["ping", "-c", "1", "-W", "1", OUTSIDE])
            .status
            .success()
    };
    // tshark ends after two packets, and sluicectl when it cannot write the third.
    let ended = wait::until(wait::PATIENCE, || {
        assert!(ping());
        pipe.try_wait().expect("its state").ok_or(())
    });
    if ended.is_err() {
        let _ = pipe.kill();
    }
    let output = pipe.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    // Both have the time of their burst.
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with("rx ") && lines[0].ends_with("verdict=consumed\t8"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("tx ") && lines[1].ends_with("verdict=originated\t0"),
        "{text}"
    );
    wait::expect("the capture to be gone", || {
        sluice.json("/api/v1/captures")["captures"] == json!([])
    });
}

/// A place where DPDK keeps memory that processes share; it goes with the test.
struct SharedPages(tempfile::TempDir);

impl SharedPages {
    fn mount() -> Self {
        let place = tempfile::tempdir().expect("cannot make a directory");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "hugetlbfs", "none"]).arg(place.path());
        assert!(mount.status().expect("cannot run mount").success());
        Self(place)
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn dumpcap_of_dpdk_attaches_and_sees_what_a_device_has() {
    let _pages = SharedPages::mount();
    let mut lab = Lab::gateway("attach");
    let client = lab.outside(10);
    let prefix = lab.appliance().name().to_owned();
    lab.system(&format!("{SYSTEM}file_prefix = \"{prefix}\"\n"));
    let config = lab.config("");
    if config.contains("--no-huge") {
        eprintln!("no huge pages: nothing can attach");
        return;
    }
    let shared = "eal_args = [\"--proc-type=primary\"]";
    let config = config.replace("eal_args = []", shared);
    let sluice = Sluice::start(lab.appliance(), lab.directory(), &config);
    let file = lab.directory().join("device.pcapng");
    let (prefix, path) = (
        format!("--file-prefix={prefix}"),
        file.display().to_string(),
    );
    let command = ["dpdk-dumpcap", &prefix, "-i", "net_af_packet1", "-w", &path];
    let mut dumpcap = Process::start(lab.appliance(), lab.directory(), "dpdk-dumpcap", &command);
    wait::expect("dumpcap to begin", || dumpcap.log().contains("File:"));
    client.ok(&["ping", "-c", "3", "-i", "0.2", OUTSIDE]);
    dumpcap.signal(Signal::SIGINT);
    let ended = dumpcap.wait(wait::PATIENCE).expect("it ends");
    assert!(ended.success(), "{}", dumpcap.log());
    let read = Command::new("tshark")
        .args(["-n", "-Y", "icmp", "-T", "fields", "-e", "icmp.type", "-r"])
        .arg(&file)
        .output()
        .expect("cannot run tshark");
    let text = String::from_utf8_lossy(&read.stdout);
    let mut types: Vec<&str> = text.lines().collect();
    types.sort_unstable();
    assert_eq!(types, ["0", "0", "0", "8", "8", "8"], "{}", dumpcap.log());
    // Nothing is lost by it, nor afterwards.
    client.ok(&["ping", "-c", "1", OUTSIDE]);
    sluice.assert_accounted();
}

#[test]
fn a_capture_keeps_to_its_size_and_to_its_rate() {
    let mut lab = Lab::gateway("bounds");
    let (client, server) = (lab.inside(11), lab.outside(10));
    let _nginx = Nginx::start(&server);
    let sluice = lab.start(&snat(""));
    let begun = Instant::now();
    let start = |bound: &str, value: u32| {
        let mut spec = json!({ "filter": "tcp port 80", "seconds": 600 });
        spec[bound] = json!(value);
        let id = ask(&lab, "POST", "/api/v1/captures", &spec)["id"].clone();
        format!("/api/v1/captures/{id}")
    };
    let small = start("max_bytes", 20_000);
    let slow = start("packets_per_second", 5);
    wait::expect("the one to be full", || {
        get(&client, "198.51.100.10", "/").expect("an answer");
        sluice.json(&small)["running"] == false
    });
    let full = sluice.json(&small);
    assert_eq!(full["over"], "size", "{full}");
    let inside = || http::request_1_0(API, &format!("{small}/packets"));
    let packets = lab.appliance().inside(inside).expect("packets").body;
    let bytes = packets.len();
    assert!((10_000..=20_000).contains(&bytes), "{full}");
    assert_eq!(full["bytes"], bytes, "{full}");
    // What was cut off is whole frames.
    let file = lab.directory().join("small.pcapng");
    std::fs::write(&file, packets).expect("cannot write");
    assert_eq!(full["packets"], rows(&file).len(), "{full}");

    wait::expect("frames beyond the rate", || {
        get(&client, "198.51.100.10", "/").expect("an answer");
        sluice.json(&slow)["limited"].as_u64() > Some(50)
    });
    let limited = sluice.json(&slow);
    // Five of each worker at once, and five more in each second.
    let most = 2 * 5 * (begun.elapsed().as_secs() + 2);
    let packets = limited["packets"].as_u64();
    assert!(packets > Some(0) && packets <= Some(most), "{limited}");
    assert_eq!(limited["running"], true, "{limited}");
    sluice.assert_accounted();
}
