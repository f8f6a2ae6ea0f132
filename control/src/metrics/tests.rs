use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use sluice_dataplane::load;
use sluice_dataplane::published::{FlowCounter, PeerCounter, Slot};
use sluice_dataplane::snapshot::{PortId, ServerId, ServiceId};
use tokio::sync::oneshot;

use super::*;
use crate::controller::{Action, Controller, HealthFilter, Outcome};
use crate::testing::{FakeWorker, WHOLE, controller};

fn ask(controller: &mut Controller, action: Action) -> Outcome {
    let (answer, mut answered) = oneshot::channel();
    controller.submit(action, answer, Instant::now());
    let outcome = answered.try_recv().expect("an answer");
    outcome.unwrap_or_else(|why| panic!("{why}"))
}

fn page(controller: &mut Controller) -> String {
    let Outcome::Stats(stats) = ask(controller, Action::Stats) else {
        panic!("no stats");
    };
    let Outcome::Status(status) = ask(controller, Action::Status) else {
        panic!("no status");
    };
    let Outcome::Health(health) = ask(controller, Action::Health(HealthFilter::default())) else {
        panic!("no health");
    };
    let Outcome::Tiers(tiers) = ask(controller, Action::ListTiers(None)) else {
        panic!("no tiers");
    };
    let Outcome::Ha(ha) = ask(controller, Action::Ha) else {
        panic!("no answer about other nodes");
    };
    text(&stats, &status, &health, &tiers, ha.as_deref()).expect("no family is empty")
}

/// Values by name and labels, as they stand in the text.
fn scrape(controller: &mut Controller) -> BTreeMap<String, f64> {
    let text = page(controller);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    let mut found = BTreeMap::new();
    for (series, value) in samples {
        let before = found.insert(series.clone(), value);
        assert_eq!(before, None, "{series} is there twice");
    }
    found
}

fn sum(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of = samples
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(name));
    of.map(|(_, value)| value).sum()
}

/// Gives every counter of a worker a value of its own, such that every frame is accounted for.
fn fill(worker: &mut FakeWorker, from: u64) {
    worker.side.publisher.publish(|writer| {
        let mut next = from;
        let mut value = || {
            next += 1;
            next
        };
        let (mut came, mut went) = (0, 0);
        for &counter in WorkerCounter::ALL {
            let value = value();
            writer.set(Slot::Worker(counter), value);
            match counter {
                WorkerCounter::Forwarded
                | WorkerCounter::Redirected
                | WorkerCounter::Punted
                | WorkerCounter::Consumed
                | WorkerCounter::Held
                | WorkerCounter::HandedOver => went += value,
                WorkerCounter::TakenOver | WorkerCounter::Injected => came += value,
                _ => {}
            }
        }
        for &reason in DropReason::ALL {
            let value = value();
            writer.set(Slot::Drop(reason), value);
            went += value;
        }
        writer.set(Slot::Worker(WorkerCounter::Received), went - came);
        for class in 0..load::BURST_CLASSES {
            writer.set(Slot::Burst(class), value());
        }
        for class in 0..load::ROUND_CLASSES {
            writer.set(Slot::Round(class), value());
        }
        for class in 0..load::AGE_CLASSES {
            writer.set(Slot::Age(class), value());
        }
        for &counter in PortCounter::ALL {
            writer.set(Slot::Port(PortId(0), counter), value());
        }
        for &counter in FlowCounter::ALL {
            writer.set(Slot::Service(ServiceId(1), counter), value());
            writer.set(Slot::Server(ServerId(1), counter), value());
        }
    });
}

#[test]
fn every_frame_is_accounted_for_and_every_counter_is_told_once() {
    let (mut controller, mut workers) = controller(WHOLE);
    fill(&mut workers[0], 10_000);
    fill(&mut workers[1], 20_000);
    let samples = scrape(&mut controller);
    let came = sum(&samples, "sluice_worker_frames_in_total");
    let went = sum(&samples, "sluice_worker_frames_out_total");
    let dropped = sum(&samples, "sluice_worker_dropped_frames_total");
    let held = sum(&samples, "sluice_worker_held_frames");
    assert!(came > 0.0 && held > 0.0);
    assert_eq!(came, went + dropped + held);

    let published = controller.published();
    for worker in 0..2 {
        let values = published.worker(worker);
        for &reason in DropReason::ALL {
            let series = format!(
                "sluice_worker_dropped_frames_total{{worker=\"{worker}\",reason=\"{}\"}}",
                reason.name()
            );
            assert_eq!(samples[&series], values.get(Slot::Drop(reason)) as f64);
        }
        let polls = format!("sluice_worker_busy_polls_total{{worker=\"{worker}\"}}");
        let counted = values.get(Slot::Worker(WorkerCounter::BusyPolls));
        assert_eq!(samples[&polls], counted as f64);
        // Each class of a histogram includes those before it.
        let count = |slots: &mut dyn Iterator<Item = Slot>| -> u64 {
            slots.map(|slot| values.get(slot)).sum()
        };
        let bursts = format!("sluice_worker_burst_frames_count{{worker=\"{worker}\"}}");
        let all = count(&mut (0..load::BURST_CLASSES).map(Slot::Burst));
        assert_eq!(samples[&bursts], all as f64);
        let four = format!("sluice_worker_burst_frames_bucket{{worker=\"{worker}\",le=\"4\"}}");
        let three = count(&mut (0..3).map(Slot::Burst));
        assert_eq!(samples[&four], three as f64);
        let rounds =
            format!("sluice_worker_round_seconds_bucket{{worker=\"{worker}\",le=\"+Inf\"}}");
        let all = count(&mut (0..load::ROUND_CLASSES).map(Slot::Round));
        assert_eq!(samples[&rounds], all as f64);
        let second =
            format!("sluice_worker_session_age_seconds_bucket{{worker=\"{worker}\",le=\"1\"}}");
        let three = count(&mut (0..3).map(Slot::Age));
        assert_eq!(samples[&second], three as f64);
    }
    let told = samples["sluice_port_receive_bytes_total{port=\"outside\"}"];
    let counted = published.sum(Slot::Port(PortId(0), PortCounter::RxBytes));
    assert_eq!(told, counted as f64);
    let bytes = sum(&samples, "sluice_server_bytes_total");
    let both = [FlowCounter::BytesOriginal, FlowCounter::BytesReply]
        .map(|counter| published.sum(Slot::Server(ServerId(1), counter)));
    assert_eq!(bytes, both.iter().sum::<u64>() as f64);
}

#[test]
fn each_other_node_has_gauges_of_its_own() {
    let (mut controller, mut workers) = controller(include_str!("../../../examples/ha-three.toml"));
    for worker in &mut workers {
        worker.side.publisher.publish(|writer| {
            for (peer, state) in [(0, 3), (1, 2)] {
                writer.set(Slot::Peer(peer, PeerCounter::State), state);
                writer.set(Slot::Peer(peer, PeerCounter::Paths), 1);
                writer.set(Slot::Peer(peer, PeerCounter::Lag), 4);
                writer.set(Slot::Peer(peer, PeerCounter::Untold), 7 * peer as u64);
                writer.set(Slot::Peer(peer, PeerCounter::DigestAge), 1500);
            }
        });
    }
    // As the worker sees it that sees the least.
    workers[1].side.publisher.publish(|writer| {
        writer.set(Slot::Peer(0, PeerCounter::State), 1);
    });
    let samples = scrape(&mut controller);
    for (series, value) in [
        ("sluice_ha_peer_state{peer=\"2\"}", 1.0),
        ("sluice_ha_peer_state{peer=\"3\"}", 2.0),
        ("sluice_ha_peer_lag_frames{peer=\"2\"}", 8.0),
        ("sluice_ha_peer_untold_sessions{peer=\"3\"}", 14.0),
        ("sluice_ha_peer_digest_age_seconds{peer=\"3\"}", 1.5),
        ("sluice_ha_peer_path_up{peer=\"2\",path=\"link\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    let witness = samples.keys().any(|series| series.contains("witness"));
    assert!(!witness, "there is none");
}

#[test]
fn gauges_say_what_is_there() {
    let (mut controller, mut workers) = controller(WHOLE);
    workers[0].side.publisher.publish(|writer| {
        writer.set(Slot::Worker(WorkerCounter::SessionsV4), 5);
        writer.set(Slot::Worker(WorkerCounter::PeerState), 3);
        writer.set(Slot::Worker(WorkerCounter::SessionsReplica), 2);
        writer.set(Slot::Worker(WorkerCounter::SessionsUntold), 1);
        writer.set(Slot::Worker(WorkerCounter::HaLag), 4);
        writer.set(Slot::Worker(WorkerCounter::HaDigestAge), 1500);
        for id in 1..20 {
            writer.set(Slot::Service(ServiceId(id), FlowCounter::Opened), 9);
            writer.set(Slot::Service(ServiceId(id), FlowCounter::Ended), 5);
        }
    });
    let samples = scrape(&mut controller);
    for (series, value) in [
        (
            "sluice_build_info{name=\"sluice-a\",version=\"1.2.3\"}",
            1.0,
        ),
        ("sluice_sessions{family=\"ipv4\"}", 5.0),
        ("sluice_sessions_limit{family=\"ipv4\"}", 2e6),
        ("sluice_worker_peer_state{worker=\"0\"}", 3.0),
        ("sluice_worker_replica_sessions{worker=\"0\"}", 2.0),
        ("sluice_worker_untold_sessions{worker=\"0\"}", 1.0),
        ("sluice_worker_ha_lag_frames{worker=\"0\"}", 4.0),
        ("sluice_worker_ha_digest_age_seconds{worker=\"0\"}", 1.5),
        (
            "sluice_server_state{pool=\"web\",server=\"web1\",state=\"draining\"}",
            1.0,
        ),
        (
            "sluice_server_state{pool=\"web\",server=\"web1\",state=\"up\"}",
            0.0,
        ),
        ("sluice_server_weight{pool=\"web\",server=\"web1\"}", 3.0),
        ("sluice_snat_pool_ports{pool=\"internet\"}", 7.0 * 64_512.0),
        // Of the rule and of the virtual server.
        ("sluice_snat_pool_sessions{pool=\"internet\"}", 8.0),
        ("sluice_metrics_omitted{kind=\"server\"}", 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
}

/// `promtool`, given `input`; what it says.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("promtool: {why}; scripts/setup installs it"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn promtool_has_nothing_to_say_against_names_and_units() {
    let (mut controller, _workers) = controller(WHOLE);
    let said = promtool(&["check", "metrics"], &page(&mut controller));
    assert_eq!(said, "");
}

#[test]
fn alerts_and_dashboard_are_about_series_that_exist() {
    let (controller, _workers) = controller(&with_peer());
    let mut controller = controller.with_logs(crate::logs::Logs::default());
    let text = page(&mut controller) + &certificate(0).expect("it is not empty");
    let known: HashSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    promtool(
        &[
            "check",
            "rules",
            &format!("{deploy}/prometheus/sluice.rules.yml"),
        ],
        "",
    );
    for file in ["prometheus/sluice.rules.yml", "grafana/sluice.json"] {
        let path = format!("{deploy}/{file}");
        let used = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
        let words = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut found = 0;
        for word in words.filter(|word| word.starts_with("sluice_")) {
            assert!(known.contains(word), "{file} uses {word}");
            found += 1;
        }
        assert!(found > 10, "{file}");
    }
}

/// The whole configuration, and another appliance.
fn with_peer() -> String {
    let key = "ab".repeat(32);
    let groups = "[[ha.group]]\nname = \"web\"\nnumber = 5\naddresses = [\"203.0.113.80\"]\n\
                  [[ha.group]]\nname = \"out\"\nnumber = 6\naddresses = [\"203.0.113.2\"]\n\
                  [[ha.track]]\nport = \"inside\"\n[[ha.track]]\nport = \"inside\"\n";
    let ha = format!("node = 1\npeer = 2\ndevice = \"net_memif9\"\nkey = \"{key}\"");
    format!("{WHOLE}\n[ha]\n{ha}\n{groups}")
}

#[test]
fn groups_of_addresses_and_ways_to_the_peer_are_told_by_name() {
    let (mut controller, mut workers) = controller(&with_peer());
    workers[0].side.publisher.publish(|writer| {
        writer.set(Slot::Worker(WorkerCounter::HaGroupsHeld), 1 << 5);
        writer.set(Slot::Peer(0, PeerCounter::Groups), 1 << 6);
        writer.set(Slot::Worker(WorkerCounter::HaPaths), 1);
    });
    let samples = scrape(&mut controller);
    for (series, wanted) in [
        ("sluice_ha_group_held{group=\"web\",node=\"this\"}", 1.0),
        ("sluice_ha_group_held{group=\"web\",node=\"peer\"}", 0.0),
        ("sluice_ha_group_held{group=\"out\",node=\"this\"}", 0.0),
        ("sluice_ha_group_held{group=\"out\",node=\"peer\"}", 1.0),
        ("sluice_ha_path_up{path=\"link\"}", 1.0),
        ("sluice_ha_tracked_up{what=\"port inside\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&wanted), "{series}");
    }
    let bits = samples.keys().find(|it| it.contains("ha_groups"));
    assert_eq!(bits, None, "no set of bits is a number");
}

#[test]
fn the_end_of_the_certificate_is_a_series() {
    let text = certificate(1_804_550_400).expect("it is not empty");
    let last = text.lines().last();
    let wanted = "sluice_api_certificate_expiry_timestamp_seconds 1804550400";
    assert_eq!(last, Some(wanted));
}
