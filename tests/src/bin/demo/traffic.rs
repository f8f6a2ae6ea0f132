//! What the demo's hosts do, and what came of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sluice_tests::load::{Load, Tally};
use sluice_tests::process::Process;
use sluice_tests::stats::Stats;

use crate::world::{VIP, World};

/// Everything under way.
pub(crate) struct Traffic {
    /// Requests to the virtual server, from the internet host.
    from_outside: Load,
    /// Requests to the virtual server, from the client.
    from_inside: Load,
    /// Requests from the client to the internet host, with the source translated.
    through_snat: Load,
    /// Pings of the internet host by the client, and of the virtual server by the internet host.
    pings: Vec<Process>,
    iperf3: Process,
    iperf3_runs: u64,
    iperf3_bytes: u64,
    failures: Vec<String>,
}

/// Bits per second that iperf3 sends, so that it leaves the machine some time for the others.
const IPERF3_RATE: &str = "100M";

impl Traffic {
    pub(crate) fn start(world: &World) -> Self {
        let http = |address: IpAddr| SocketAddr::new(address, 80);
        let vip = http(VIP.parse().expect("an address"));
        let pause = Duration::from_millis(5);
        let (client, internet) = (&world.client, &world.internet);
        let far = internet.address();
        let ping = |host: &sluice_tests::lab::Host, name: &str, target: &str| {
            let command = ["ping", "-i", "0.5", "-W", "10", target];
            Process::start(host.namespace(), host.directory(), name, &command)
        };
        Self {
            from_outside: Load::start(internet.namespace(), 2, vip, "/", pause),
            from_inside: Load::start(client.namespace(), 2, vip, "/", pause),
            through_snat: Load::start(client.namespace(), 2, http(far), "/", pause),
            pings: vec![
                ping(client, "ping-internet", &far.to_string()),
                ping(internet, "ping-vip", VIP),
            ],
            iperf3: iperf3(world),
            iperf3_runs: 0,
            iperf3_bytes: 0,
            failures: Vec::new(),
        }
    }

    /// Starts iperf3 again when it has ended.
    pub(crate) fn keep_up(&mut self, world: &World) {
        if self.iperf3.exited().is_some() {
            self.judge_iperf3();
            self.iperf3 = iperf3(world);
        }
    }

    fn judge_iperf3(&mut self) {
        let report: serde_json::Value =
            serde_json::from_str(&self.iperf3.log()).unwrap_or_default();
        self.iperf3_runs += 1;
        match report["end"]["sum_received"]["bytes"].as_u64() {
            Some(bytes) if bytes > 0 => self.iperf3_bytes += bytes,
            _ => self.failures.push(format!("iperf3: {}", report["error"])),
        }
    }

    /// (what, requests answered or failed so far, of them failed)
    pub(crate) fn requests(&self) -> [(&'static str, u64, usize); 3] {
        [
            ("HTTP to the VIP, from outside", &self.from_outside),
            ("HTTP to the VIP, from inside", &self.from_inside),
            ("HTTP through SNAT", &self.through_snat),
        ]
        .map(|(what, load)| (what, load.done(), load.failed()))
    }

    /// (runs ended, bytes received in them)
    pub(crate) fn iperf3(&self) -> (u64, u64) {
        (self.iperf3_runs, self.iperf3_bytes)
    }

    /// Ends everything, each in its own good time, and adds it up.
    pub(crate) fn finish(mut self) -> Outcome {
        // It is two seconds long.
        if self.iperf3.wait(Duration::from_secs(30)).is_some() {
            self.judge_iperf3();
        } else {
            self.failures.push("iperf3 does not end".to_owned());
        }
        let requests = self.requests().map(|(what, ..)| what);
        let loads = [self.from_outside, self.from_inside, self.through_snat].map(Load::finish);
        let mut failures = std::mem::take(&mut self.failures);
        let mut answers = BTreeMap::new();
        for (what, tally) in requests.iter().zip(&loads) {
            failures.extend(tally.failures.iter().map(|why| format!("{what}: {why}")));
        }
        for tally in &loads[..2] {
            for (server, count) in &tally.answers {
                *answers.entry(server.clone()).or_default() += count;
            }
        }
        let pings = self.pings.iter_mut().map(Pings::end).collect::<Vec<_>>();
        for ping in &pings {
            if ping.received == 0 || ping.received + 1 < ping.sent {
                failures.push(format!("ping: {} of {} answered", ping.received, ping.sent));
            }
        }
        Outcome {
            requests: requests.into_iter().zip(loads).collect(),
            answers,
            pings,
            iperf3: (self.iperf3_runs, self.iperf3_bytes),
            failures,
        }
    }
}

fn iperf3(world: &World) -> Process {
    let client = &world.client;
    let target = world.internet.address().to_string();
    let command = ["iperf3", "-c", &target, "-t", "2", "-b", IPERF3_RATE, "-J"];
    Process::start(client.namespace(), client.directory(), "iperf3", &command)
}

/// What a ping has to say at its end.
pub(crate) struct Pings {
    sent: u64,
    received: u64,
}

impl Pings {
    fn end(ping: &mut Process) -> Self {
        // It prints its summary on SIGINT.
        if ping.exited().is_none() {
            ping.signal(nix::sys::signal::Signal::SIGINT);
        }
        ping.wait(Duration::from_secs(10));
        let log = ping.log();
        let summary = log
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let mut numbers = summary
            .into_iter()
            .flat_map(str::split_whitespace)
            .filter_map(|word| word.parse().ok());
        Self {
            sent: numbers.next().unwrap_or(0),
            received: numbers.next().unwrap_or(0),
        }
    }
}

/// How it went.
pub(crate) struct Outcome {
    requests: Vec<(&'static str, Tally)>,
    answers: BTreeMap<String, u64>,
    pings: Vec<Pings>,
    iperf3: (u64, u64),
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    pub(crate) fn print(&self, stats: &Stats, elapsed: Duration) {
        println!("\nSummary after {} s", elapsed.as_secs());
        for (what, tally) in &self.requests {
            let (answered, failed) = (tally.answered(), tally.failures.len());
            println!("  {what:<30} {answered:>9} requests answered, {failed} failed");
        }
        let total: u64 = self.answers.values().sum();
        for (server, count) in &self.answers {
            let share = 100.0 * *count as f64 / total.max(1) as f64;
            println!("    {server:<28} {count:>9} of them, {share:.1} %");
        }
        let (sent, received) = self.pings.iter().fold((0, 0), |(sent, got), ping| {
            (sent + ping.sent, got + ping.received)
        });
        println!("  {:<30} {received:>9} of {sent} answered", "ping");
        let (runs, bytes) = self.iperf3;
        println!(
            "  {:<30} {:>9} MB in {runs} runs",
            "iperf3 through SNAT",
            bytes / 1_000_000
        );
        let total = stats.total();
        println!(
            "  {:<30} {:>9} received = {} forwarded + {} consumed + {} dropped",
            "frames",
            total.received,
            total.forwarded,
            total.consumed,
            total.drops(),
        );
        for (reason, count) in total.dropped.iter().filter(|(_, count)| **count > 0) {
            println!("    dropped: {reason:<19} {count:>9}");
        }
        println!("  every frame accounted for, no packet buffer missing");
        for why in self.failures.iter().take(10) {
            println!("  FAILED {why}");
        }
        println!(
            "{}",
            if self.failures.is_empty() {
                "OK"
            } else {
                "NOT OK"
            }
        );
    }
}
