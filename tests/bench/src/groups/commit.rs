//! `commit.*`: from sending a change over the API to the answer that all workers use it, while the appliance
//! forwards as much as it can on memif. Every session is judged anew by the new configuration meanwhile.
//!
//! The generator polls on the core that control has, where a machine has two, so that control gets half of
//! it at best.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::http;

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::profile::Profile;
use crate::rig::{self, Rig, Side};
use crate::rounds::median;
use crate::scenario;

/// As `scenario::system` says.
const API: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_080);
/// How far into a window the change is sent.
const INTO: Duration = Duration::from_millis(150);

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let mut figures = one(effort, "commit.small", String::new())?;
    figures.extend(one(effort, "commit.large", large())?);
    Ok(figures)
}

/// A configuration as large ones are: two thousand real servers, a hundred virtual servers with Maglev tables,
/// a thousand rules, and a list of ten thousand networks that each of them names.
fn large() -> String {
    let mut text = String::from("\n[[list]]\nname = \"bad\"\nnetworks = [");
    for n in 0..10_000 {
        text += &format!("\"100.{}.{}.0/25\",", 64 + n / 256, n % 256);
    }
    text += "]\n";
    for n in 0..100 {
        text += &format!("[[pool]]\nname = \"p{n}\"\n");
        for server in 0..20 {
            text += &format!(
                "[[pool.server]]\nname = \"s{server}\"\naddress = \"10.200.{n}.{server}\"\nport = 80\n"
            );
        }
        text += &format!(
            "[[virtual_server]]\nname = \"v{n}\"\naddress = \"203.0.113.{n}\"\nport = 80\n\
             pool = \"p{n}\"\nscheduler = \"maglev\"\n"
        );
    }
    for n in 0..1000 {
        text += &format!(
            "[[firewall.rule]]\nname = \"r{n}\"\nfrom = \"outside\"\naction = \"deny\"\n\
             source = \"@bad\"\nprotocol = \"tcp\"\nports = {}\n",
            1000 + n
        );
    }
    text
}

fn one(effort: &Effort, name: &str, extra: String) -> Result<Vec<Figure>, Failed> {
    let sessions = scenario::LADDER[0];
    let extra = format!("{}{extra}", scenario::LONG);
    let config = |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], sessions, devices, &extra);
    let profile = Profile {
        window_ms: 600,
        ..scenario::nat44_profile(sessions)
    };
    let rig = Rig::new()?;
    let mut sluice = rig.sluice(config, &profile)?;
    let (mut took, mut mpps) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        let (ms, pps) = change(&mut sluice, round)?;
        took.push(ms);
        mpps.push(pps / 1e6);
    }
    let worst = took.iter().copied().fold(0.0, f64::max);
    let figure = Figure::told(format!("{name}_ms.worst"), worst).median(median(&took));
    Ok(vec![
        figure.reach(Reach::AtMost(100.0)),
        Figure::told(format!("{name}_mpps"), median(&mpps)),
    ])
}

/// One change in one window: milliseconds, and packets per second of the window.
fn change(sluice: &mut Side, round: usize) -> Result<(f64, f64), Failed> {
    let (window, ms) = sluice.measure_during(|| {
        std::thread::sleep(INTO);
        commit(round)
    })?;
    Ok((ms?, window.received_pps))
}

/// Sends a change and waits until all workers use it: milliseconds.
fn commit(round: usize) -> Result<f64, Failed> {
    let body = format!("{{\"icmp\":\"{}s\"}}", 30 + round % 2);
    let begun = Instant::now();
    let path = "/api/v1/config/timeouts";
    let answer = http::request(API, "PATCH", path, body.as_bytes()).map_err(Failed)?;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    let said: Value = serde_json::from_slice(&answer.body)?;
    match said["result"] == "committed" && said["in_force"] == true {
        true => Ok(ms),
        false => Err(Failed(answer.text())),
    }
}
