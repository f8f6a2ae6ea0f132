//! `make demo-ha`: two appliances between two routers, requests by one and replies by the other, a
//! download that goes on when a node is killed, and a live table of it.
//!
//! ```text
//! demo-ha [--seconds N]
//! ```
//!
//! Enter kills a node, once; with `--seconds` one is killed halfway through. Exit code 0: the download
//! came whole and no other request failed. 1: not so. 2: wrong arguments.

mod world;

use std::io::{IsTerminal as _, Write as _};
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::load::Load;
use sluice_tests::show as program;
use sluice_tests::sluice::Sluice;

use world::{BYTES, Nodes, SERVER, World};

fn main() -> ExitCode {
    program::run("demo-ha", 4, run)
}

/// True once a line was typed.
fn enter() -> Arc<AtomicBool> {
    let typed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&typed);
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin()
            .read_line(&mut line)
            .is_ok_and(|bytes| bytes > 0)
        {
            told.store(true, Ordering::Relaxed);
        }
    });
    typed
}

/// The whole show; whether all went well.
fn run(seconds: Option<u64>, stop: &AtomicBool) -> bool {
    println!("demo-ha: building namespaces and starting nginx and two Sluices ...");
    let mut world = World::build();
    let mut nodes = Nodes::start(&world);
    let key = enter();
    let terminal = std::io::stdout().is_terminal();
    let rate = BYTES / seconds.map_or(120, |seconds| seconds + 2);
    let mut download = world.download(rate);
    let server = format!("{SERVER}:80").parse().expect("an address");
    let pause = Duration::from_millis(20);
    let load = Load::start(world.client.namespace(), 2, server, "/from", pause);
    let started = Instant::now();
    let mut killed = None;
    let mut ended = None;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let elapsed = started.elapsed();
        let due = seconds.is_some_and(|seconds| elapsed >= Duration::from_secs(seconds) / 2);
        if killed.is_none() && (due || key.load(Ordering::Relaxed)) {
            killed = Some(nodes.kill(&mut world));
        }
        show(terminal, elapsed, killed, &nodes, &world, &load);
        if let Some(status) = ended_with(&mut download) {
            ended = Some(status);
            break;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let whole = ended == Some(true) && world.is_whole();
    if ended.is_none() {
        let _ = download.kill();
        let _ = download.wait();
    }
    let tally = load.finish();
    println!(
        "demo-ha: {} requests answered, {} failed; the download {}; {}",
        tally.answered(),
        tally.failures.len(),
        if whole { "came whole" } else { "is not whole" },
        killed.map_or("no node was killed".to_owned(), |node| format!(
            "node {node} was killed"
        )),
    );
    for failure in tally.failures.iter().take(10) {
        println!("  {failure}");
    }
    // Who ends the demo early has seen what there is to see.
    stop.load(Ordering::Relaxed) || whole && tally.failures.is_empty() && killed.is_some()
}

fn ended_with(download: &mut Child) -> Option<bool> {
    let status = download.try_wait().expect("curl's state");
    status.map(|status| status.success())
}

/// A picture, or a line where nobody can draw.
fn show(
    terminal: bool,
    elapsed: Duration,
    killed: Option<u8>,
    nodes: &Nodes,
    world: &World,
    load: &Load,
) {
    let percent = 100 * world.so_far() / BYTES;
    let rows: Vec<String> = nodes
        .living()
        .map(|(number, node)| row(number, node))
        .collect();
    let (done, failed) = (load.done(), load.failed());
    if !terminal {
        println!(
            "{:>4} s  download {percent:>3} %  {done} requests, {failed} failed  {}",
            elapsed.as_secs(),
            rows.join("  ")
        );
        return;
    }
    let dead = killed.map_or(String::new(), |node| format!("  node {node}  KILLED\n"));
    let hint = match killed {
        None => "Enter kills a node",
        Some(_) => "the other one goes on",
    };
    print!(
        "\x1b[H\x1b[J{}\n  {:02}:{:02}   {hint}; Ctrl-C ends the demo\n\n{}\n{dead}\n  \
         download {percent} %   {done} short requests, {failed} failed\n",
        world::PICTURE,
        elapsed.as_secs() / 60,
        elapsed.as_secs() % 60,
        rows.join("\n"),
    );
    let _ = std::io::stdout().flush();
}

fn row(number: u8, node: &Sluice) -> String {
    let ha = node.json("/api/v1/ha");
    let held: Vec<&str> = ha["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|group| group["held_here"] == true)
        .filter_map(|group| group["name"].as_str())
        .collect();
    format!(
        "  node {number}  holds {:<16} peer {:<12} own {:>4}  copies {:>4}  corrected {:>7} ({:>5}/s)  \
         would be lost {}",
        if held.is_empty() {
            "nothing".to_owned()
        } else {
            held.join(", ")
        },
        ha["peer_state"].as_str().unwrap_or_default(),
        ha["sessions_own"],
        ha["sessions_replica"],
        ha["corrected_received"],
        ha["rates"]["corrected_received"],
        ha["sessions_untold"],
    )
}

/// Where curl says what went wrong.
fn complaints() -> Stdio {
    Stdio::inherit()
}
