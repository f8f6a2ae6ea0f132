//! `health.*`: 2,000 real servers checked once a second, and how soon clients feel it that one is down.
//!
//! A whole appliance with one worker stands between a client and a host that has the addresses of all real
//! servers; checks go through the data plane, as they always do. What control takes of the processor is
//! read from `/proc`. Beside the two thousand, two servers of a virtual server are checked ten times a
//! second; when one begins to answer checks with 503, the time from that answer to the last connection of
//! the client that still reaches it is `health.change_ms`: check, controller, workers and all.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::lab::{Host, INSIDE, Lab};
use sluice_tests::netns::Namespace;
use sluice_tests::sluice::Sluice;

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::rounds::median;

/// Real servers that are checked by the second, in pools of a thousand.
const SERVERS: u32 = 2000;
const POOL: u32 = 1000;
/// Where they are: all of it is one host's.
const FARM: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 0);
const FARM_PORT: u16 = 8000;
/// The two of the virtual server.
const PAIR: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 15, 1), Ipv4Addr::new(10, 9, 15, 2)];
const VIP: &str = "203.0.113.80";
/// How long is looked at the checks.
const WINDOW: Duration = Duration::from_secs(20);
/// Between two connections of the client.
const PAUSE: Duration = Duration::from_micros(500);
/// A change is over by then, on any machine.
const OVER: Duration = Duration::from_millis(600);
/// How long something may take before there are no figures.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the servers of the pair do, and what they see.
#[derive(Debug, Default)]
struct Pair {
    /// The address whose checks fail; 0: nobody's.
    sick: AtomicU32,
    /// When it said so first.
    told: Mutex<Option<Instant>>,
    /// When a client came last, by address.
    clients: Mutex<BTreeMap<Ipv4Addr, Instant>>,
    served: AtomicU64,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pair {
    fn last(&self, server: Ipv4Addr) -> Option<Instant> {
        lock(&self.clients).get(&server).copied()
    }

    /// Answers one connection: a check with 200 or 503, a client with its end.
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (IpAddr::V4(own), from) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip()) else {
            return Ok(());
        };
        if from.to_string() != INSIDE {
            lock(&self.clients).insert(own, Instant::now());
            self.served.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        let sick = self.sick.load(Ordering::Relaxed) == own.to_bits();
        let status = if sick { "503 No" } else { "200 OK" };
        if sick {
            lock(&self.told).get_or_insert_with(Instant::now);
        }
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    }
}

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let mut lab = Lab::gateway("bench-health");
    let (client, host) = (lab.outside(10), lab.inside(2));
    let network = format!("{FARM}/20");
    host.namespace()
        .ip(&["route", "add", "local", &network, "dev", "lo"]);
    // With the worker away from the core of control, where there are two.
    lab.system(
        "workers = [1]\nidle = \"backoff\"\nsessions = 262144\nmemory_mb = 256\npacket_buffers = 16384\n",
    );
    let pair = Arc::new(Pair::default());
    serve(&host, &pair)?;
    let mut sluice = lab.start(&configuration(&lab, &host));
    let asks = Arc::clone(&pair);
    ask(client.namespace(), asks);
    let mut figures = checks(&mut sluice)?;
    figures.extend(changes(&pair, effort.rounds)?);
    pair.stop.store(true, Ordering::Relaxed);
    Ok(figures)
}

/// Waits for something that has to come.
fn until(what: &str, mut there: impl FnMut() -> bool) -> Result<(), Failed> {
    let end = Instant::now() + PATIENCE;
    while !there() {
        if Instant::now() > end {
            return Err(Failed(format!("{what} does not come")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn configuration(lab: &Lab, host: &Host) -> String {
    let namespace = format!("{}-host", lab.appliance().name());
    let mut text = format!(
        "[host]\nnamespace = \"{namespace}\"\n\
         [[route]]\nto = \"{FARM}/20\"\nvia = \"{}\"\n\
         [[health_check]]\nname = \"farm\"\ntype = \"tcp\"\ninterval = \"1s\"\ntimeout = \"900ms\"\n\
         [[health_check]]\nname = \"pair\"\ntype = \"http\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\n\
         rise = 1\nfall = 1\n",
        host.address()
    );
    for pool in 0..SERVERS / POOL {
        text += &format!("[[pool]]\nname = \"farm{pool}\"\nhealth_check = \"farm\"\n");
        for n in pool * POOL..(pool + 1) * POOL {
            let address = Ipv4Addr::from_bits(FARM.to_bits() + 1 + n);
            text += &format!(
                "[[pool.server]]\nname = \"s{n}\"\naddress = \"{address}\"\nport = {FARM_PORT}\n"
            );
        }
    }
    text += "[[pool]]\nname = \"pair\"\nhealth_check = \"pair\"\n";
    for address in PAIR {
        text += &format!(
            "[[pool.server]]\nname = \"at-{}\"\naddress = \"{address}\"\nport = 80\n",
            address.octets()[3]
        );
    }
    text += &format!(
        "[[virtual_server]]\nname = \"pair\"\naddress = \"{VIP}\"\nport = 80\npool = \"pair\"\n\
         scheduler = \"round_robin\"\n"
    );
    text
}

/// All servers, on the host. Their threads end with the process.
fn serve(host: &Host, pair: &Arc<Pair>) -> Result<(), Failed> {
    let listen = |port: u16| {
        let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        host.namespace().inside(|| TcpListener::bind(all))
    };
    let (farm, theirs) = (listen(FARM_PORT)?, listen(80)?);
    std::thread::spawn(move || farm.incoming().for_each(drop));
    let pair = Arc::clone(pair);
    std::thread::spawn(move || {
        for stream in theirs.incoming().flatten() {
            // Who goes away early was told enough.
            let _ = pair.answer(stream);
        }
    });
    Ok(())
}

/// The client: one connection after the other, each until the server ends it.
fn ask(namespace: &Arc<Namespace>, pair: Arc<Pair>) {
    let namespace = Arc::clone(namespace);
    std::thread::spawn(move || {
        namespace.enter();
        let vip: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 80)), 80);
        while !pair.stop.load(Ordering::Relaxed) {
            if let Ok(mut stream) = TcpStream::connect_timeout(&vip, Duration::from_secs(1)) {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = stream.read(&mut [0; 16]);
            }
            std::thread::sleep(PAUSE);
        }
    });
}

/// Of the check `farm`: those that were done, by server, and those that failed.
fn done(sluice: &Sluice) -> (BTreeMap<String, u64>, u64) {
    let (mut done, mut failed) = (BTreeMap::new(), 0);
    for pool in 0..SERVERS / POOL {
        let health = sluice.json(&format!("/api/v1/health?pool=farm{pool}&limit={POOL}"));
        for server in health["servers"].as_array().into_iter().flatten() {
            let check = &server["checks"][0];
            let name = server["name"].as_str().unwrap_or_default().to_owned();
            done.insert(name, number(&check["done"]));
            failed += number(&check["failed"]);
        }
    }
    (done, failed)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Processor time of all threads of a process but its workers, in seconds: (all, health and host).
fn processor(pid: u32) -> Result<(f64, f64), Failed> {
    // Clock ticks; Linux has a hundred a second for user space, whatever it has inside.
    const HZ: f64 = 100.0;
    let (mut all, mut checks) = (0.0, 0.0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        // The name is in parentheses and may have anything in it.
        let (name, rest) = stat.rsplit_once(") ").unwrap_or_default();
        let field = |at: usize| -> f64 {
            let word = rest.split(' ').nth(at).unwrap_or_default();
            word.parse().unwrap_or(0.0)
        };
        let spent = (field(11) + field(12)) / HZ;
        if name.contains("(sluice-w") {
            continue;
        }
        all += spent;
        if name.contains("(sluice-health") || name.contains("(sluice-host") {
            checks += spent;
        }
    }
    Ok((all, checks))
}

/// What two thousand checks a second take.
fn checks(sluice: &mut Sluice) -> Result<Vec<Figure>, Failed> {
    until("the first check of each", || {
        done(sluice).0.values().all(|&done| done > 0)
    })?;
    std::thread::sleep(Duration::from_secs(3));
    let pid = sluice.process().pid();
    let begun = Instant::now();
    let (before, failed_before) = done(sluice);
    let (all, of_checks) = processor(pid)?;
    let measured = Instant::now();
    std::thread::sleep(WINDOW);
    let (all_after, of_checks_after) = processor(pid)?;
    let cpu = measured.elapsed().as_secs_f64();
    let (after, failed_after) = done(sluice);
    let seconds = begun.elapsed().as_secs_f64();
    let counts = after
        .iter()
        .map(|(name, done)| done - before.get(name).copied().unwrap_or(0));
    let (least, sum) = (counts.clone().min().unwrap_or(0), counts.sum::<u64>());
    let per_s = sum as f64 / seconds;
    Ok(vec![
        Figure::told("health.servers", after.len() as f64).reach(Reach::AtLeast(SERVERS.into())),
        Figure::told("health.checks_per_s", per_s),
        Figure::told("health.on_time", per_s / f64::from(SERVERS)).reach(Reach::AtLeast(0.99)),
        Figure::told("health.slowest_server_per_s", least as f64 / seconds)
            .reach(Reach::AtLeast(0.9)),
        Figure::told("health.failed", (failed_after - failed_before) as f64)
            .reach(Reach::AtMost(0.0)),
        Figure::told("health.cores_of_control", (all_after - all) / cpu).reach(Reach::AtMost(1.0)),
        Figure::told(
            "health.cores_of_checks",
            (of_checks_after - of_checks) / cpu,
        ),
    ])
}

/// How long clients come to a server that has said that it is sick.
fn changes(pair: &Pair, rounds: usize) -> Result<Vec<Figure>, Failed> {
    let mut took = Vec::new();
    for round in 0..rounds {
        let server = PAIR[round % PAIR.len()];
        let now = Instant::now();
        until("a client at either server", || {
            PAIR.iter()
                .all(|&it| pair.last(it).is_some_and(|at| at > now))
        })?;
        *lock(&pair.told) = None;
        pair.sick.store(server.to_bits(), Ordering::Relaxed);
        until("a check of the sick server", || lock(&pair.told).is_some())?;
        std::thread::sleep(OVER);
        let told = lock(&pair.told).unwrap_or_else(Instant::now);
        let last = pair.last(server).unwrap_or(told);
        if last.elapsed() < OVER / 2 {
            return Err(Failed("clients still come to a server that is down".into()));
        }
        took.push(last.saturating_duration_since(told).as_secs_f64() * 1000.0);
        pair.sick.store(0, Ordering::Relaxed);
    }
    let worst = took.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::told("health.change_ms.worst", worst)
            .median(median(&took))
            .reach(Reach::AtMost(50.0)),
        Figure::told(
            "health.client_connections",
            pair.served.load(Ordering::Relaxed) as f64,
        ),
    ])
}
