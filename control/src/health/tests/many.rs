//! Many servers, and what becomes of them while the configuration changes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};

use super::programs::free_port;
use super::*;

/// Servers that the appliance is to check at once.
const SERVERS: u16 = 2000;

/// Takes and closes connections to any address of this machine, while it lives.
struct Farm {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Farm {
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                drop(stream);
            }
        });
        let thread = Some(thread);
        Self { port, stop, thread }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn key(n: u16) -> Key {
    Key {
        server: format!("farm/s{n:04}"),
        check: "it".to_owned(),
    }
}

/// One address of 127/8 for each server.
fn farm(keys: &str, port: u16) -> Targets {
    let check = health_check(keys);
    let target = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let address = Ipv4Addr::new(127, 1, high, low);
        let target = Target {
            address: (address, port).into(),
            host: None,
            check: Arc::clone(&check),
        };
        (key(n), target)
    };
    Targets {
        all: (0..SERVERS).map(target).collect(),
    }
}

fn count(rows: &BTreeMap<Key, Status>, verdict: Verdict) -> usize {
    let rows = rows.values();
    rows.filter(|row| row.machine.verdict() == verdict).count()
}

#[test]
fn two_thousand_servers_are_checked_by_the_second_and_each_by_itself() {
    let all = usize::from(SERVERS);
    let keys = "type = 'tcp'\ninterval = '1s'\ntimeout = '1s'\nfall = 2\nrise = 1";
    let farm_of = Farm::start();
    let checker = Checker::start(None, None).expect("a thread");
    checker.apply(farm(keys, farm_of.port));
    let board = checker.board();
    wait_for("three checks of each", || {
        board.rows().values().all(|row| row.checks >= 3)
    });
    let rows = board.rows();
    let failed = rows.iter().find(|(_, row)| row.error.is_some());
    assert_eq!((rows.len(), failed), (all, None));
    assert_eq!(count(&rows, Verdict::Up), all);
    assert_eq!(board.changes().len(), all, "each once");
    // None is checked much more often than others: the first has no more than the last has, and what
    // came while it was read.
    let done = rows.values().map(|row| row.checks);
    let (least, most) = (done.clone().min(), done.max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| most <= 2 * least),
        "{least:?} {most:?}"
    );

    drop(farm_of);
    wait_for("all to be down", || {
        count(&board.rows(), Verdict::Down) == all
    });
    let changes = board.changes();
    assert_eq!(changes.len(), all);
    let refused = |(_, row): &(Key, Status)| {
        row.error
            .as_ref()
            .is_some_and(|why| why.reason == Reason::Refused)
    };
    assert!(changes.iter().all(refused));
}

/// What is known must not be lost because somebody changes how it is found out.
#[test]
fn a_change_of_the_check_keeps_the_verdict_and_another_address_forgets_it() {
    let keys = "type = 'tcp'\ninterval = '100ms'\nfall = 1";
    let checker = Checker::start(None, None).expect("a thread");
    let mut targets = farm(keys, free_port());
    targets
        .all
        .retain(|known, _| *known == key(0) || *known == key(1));
    checker.apply(targets.clone());
    let board = checker.board();
    wait_for("both to be down", || {
        count(&board.rows(), Verdict::Down) == 2
    });
    // So slow that nothing is found out anew.
    let slow = health_check("type = 'tcp'\ninterval = '1h'\ntimeout = '1h'\nrise = 5");
    for (n, target) in (0..).zip(targets.all.values_mut()) {
        target.check = Arc::clone(&slow);
        if n == 1 {
            target.address.set_port(1);
        }
    }
    targets
        .all
        .retain(|known, _| *known == key(0) || *known == key(1));
    checker.apply(targets.clone());
    let rows = board.rows();
    assert_eq!(rows[&key(0)].machine.verdict(), Verdict::Down);
    assert_eq!(rows[&key(1)].machine.verdict(), Verdict::Unknown);
    targets.all.clear();
    checker.apply(targets);
    assert!(board.rows().is_empty());
    assert_eq!(board.verdict("farm/s0000"), Verdict::Unknown);
}

#[test]
fn several_checks_have_to_agree() {
    use Verdict::{Down, Unknown, Up};
    let of = |verdicts: &[Verdict], waits: usize| {
        let waits = |at| at == waits;
        together(verdicts.iter().enumerate().map(|(at, &it)| (it, waits(at))))
    };
    assert_eq!(of(&[], 0), Unknown);
    assert_eq!(of(&[Up, Up], 0), Up);
    // One that has not looked yet matters if it is to be waited for, or nobody else has looked.
    assert_eq!(of(&[Up, Unknown], 1), Unknown);
    assert_eq!(of(&[Unknown, Up], 0), Unknown);
    assert_eq!(of(&[Up, Unknown], 0), Up);
    assert_eq!(of(&[Unknown, Unknown], 9), Unknown);
    assert_eq!(of(&[Up, Unknown, Down], 0), Down);
}
