//! The control plane is busy, abused or told something wrong, and traffic does not notice.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sluice_tests::lab::Lab;
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::API;
use sluice_tests::wait;

use crate::{VIP, get, pool, snat, virtual_server};

#[test]
fn a_wrong_commit_comes_back_by_itself_and_no_request_through_the_vip_fails() {
    let mut lab = Lab::gateway("trial");
    let client = lab.outside(10);
    let web = [lab.inside(11), lab.inside(12)];
    let _nginx = web.each_ref().map(Nginx::start);
    let _far = Nginx::start(&client);
    let sluice = lab.start(
        &(snat("")
            + &pool(&[(&web[0], 1), (&web[1], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let load = Load::start(client.namespace(), 4, vip, "/", Duration::from_millis(5));
    load.run_for(50);
    let out = || {
        let to = "http://198.51.100.10/";
        web[0]
            .run(&["curl", "-sS", "--fail", "--max-time", "1", to])
            .status
            .success()
    };
    wait::expect("the inside to reach the outside", out);
    // Whoever does this has locked the inside in, perhaps themselves with it.
    let wrong = sluice.ask(
        "PUT",
        "/api/v1/config/firewall?confirm_seconds=3&comment=wrong",
        b"{\"open\":[]}",
    );
    let wrong = wrong.expect("an answer");
    assert_eq!(wrong.status, 200, "{}", wrong.text());
    let epoch = sluice.epoch();
    assert!(!out(), "it is in use");
    load.run_for(50);
    wait::expect("it to be undone", || sluice.epoch() > epoch);
    wait::expect("the inside to reach the outside again", out);
    load.run_for(50);
    let events = sluice.json("/api/v1/events?limit=1000");
    let events = events["events"].as_array().expect("events");
    let told = |kind: &str| events.iter().any(|event| event["kind"] == kind);
    assert!(told("configuration.trial") && told("configuration.rolled_back"));
    assert_eq!(load.finish().failures, Vec::<String>::new());
}

/// Asks on one connection, a batch at a time, until told to stop; counts the answers.
fn hammer(stop: &AtomicBool, answers: &AtomicU64) {
    const BATCH: usize = 50;
    let mut piece = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(API).expect("it listens");
        let request = "GET /api/v1/ha HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(BATCH);
        // The server may close the connection: then on another one.
        while !stop.load(Ordering::Relaxed) && stream.write_all(request.as_bytes()).is_ok() {
            let mut seen = 0;
            while seen < BATCH {
                let Ok(read @ 1..) = stream.read(&mut piece) else {
                    break;
                };
                let heads = piece[..read]
                    .windows(9)
                    .filter(|it| it == b"HTTP/1.1 ")
                    .count();
                seen += heads;
            }
            answers.fetch_add(seen as u64, Ordering::Relaxed);
        }
    }
}

/// Requests, and slow ones that never end, as many as the API can take: far more than 10,000.
#[test]
fn a_flood_of_requests_and_slow_ones_on_the_api_lose_no_packet() {
    let mut lab = Lab::gateway("apiflood");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let sluice = lab.start(
        &(snat("")
            + &pool(&[(&web, 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    assert!(get(&client, VIP, "/").is_ok());
    web.ok(&["ping", "-c", "1", "-W", "5", "198.51.100.10"]);
    let before = sluice.assert_accounted().total();
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let ping = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                lab.appliance().enter();
                hammer(&stop, &answers);
            });
        }
        let _slow: Vec<TcpStream> = lab.appliance().inside(|| {
            let slow = (0..60).map(|_| {
                let mut stream = TcpStream::connect(API).expect("it listens");
                let _ = stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nX-Slow: ");
                stream
            });
            slow.collect()
        });
        wait::expect("the flood to begin", || answers.load(Ordering::Relaxed) > 0);
        let ping = scope.spawn(|| {
            web.ok(&[
                "ping",
                "-i",
                "0.01",
                "-c",
                "300",
                "-W",
                "5",
                "198.51.100.10",
            ])
        });
        let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
        let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(20));
        let ping = ping.join().expect("ping");
        load.run_for(10);
        let flood = 10_000;
        wait::expect("the flood to be one", || {
            answers.load(Ordering::Relaxed) > flood
        });
        assert_eq!(load.finish().failures, Vec::<String>::new());
        stop.store(true, Ordering::Relaxed);
        ping
    });
    assert!(ping.contains("300 received, 0% packet loss"), "{ping}");
    let mut dropped = sluice.assert_accounted().total().dropped;
    for (reason, count) in before.dropped {
        *dropped.entry(reason).or_default() -= count;
    }
    dropped.retain(|why, count| why != "multicast" && *count > 0);
    assert!(dropped.is_empty(), "{dropped:?}");
}
