//! New configurations while traffic flows.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_tests::lab::Lab;
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::wait;

use crate::{VIP, get, pool, snat, virtual_server};

#[test]
fn sighup_under_load_fails_no_request_and_no_long_session() {
    let mut lab = Lab::gateway("sighup");
    let client = lab.outside(10);
    let far = lab.inside(20);
    let web = [lab.inside(11), lab.inside(12)];
    let nginx = web.each_ref().map(Nginx::start);
    let far_nginx = Nginx::start(&client);
    for nginx in nginx.iter().chain([&far_nginx]) {
        std::fs::write(nginx.root().join("blob"), vec![b'h'; 2_000_000]).expect("cannot write");
    }
    let mut sluice = lab.start(
        &(snat("")
            + &pool(&[(&web[0], 1), (&web[1], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")
            + "# here\n"),
    );
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let load = Load::start(client.namespace(), 4, vip, "/", Duration::from_millis(5));
    load.run_for(50);
    let fetch =
        |url: &str, to: &str| format!("curl -sS --fail --limit-rate 300k -o {to} {url}/blob");
    let (through_vip, through_snat) = (
        fetch(&format!("http://{VIP}"), "vip"),
        fetch("http://198.51.100.10", "snat"),
    );
    let so_far = || [client.size_of("vip"), far.size_of("snat")];
    std::thread::scope(|scope| {
        let downloads = [
            scope.spawn(|| client.sh(&through_vip)),
            scope.spawn(|| far.sh(&through_snat)),
        ];
        wait::expect("both downloads to be under way", || {
            so_far().into_iter().all(|size| size > 300_000)
        });
        // The same again; something that concerns nobody; a weight; back.
        sluice.process().signal(Signal::SIGHUP);
        load.run_for(30);
        let addition = "[[pool]]\nname = \"other\"\n[[pool.server]]\nname = \"x\"\n\
                        address = \"10.1.0.99\"\nport = 80\nweight = 1\n";
        sluice.reload_and_wait("# here\n", addition);
        load.run_for(30);
        let heavy = format!("address = \"{}\"\nport = 80\nweight = 1", web[0].address());
        sluice.reload_and_wait(&heavy, &heavy.replace("weight = 1", "weight = 5"));
        load.run_for(30);
        sluice.reload_and_wait(addition, "# here\n");
        load.run_for(30);
        for download in downloads {
            download.join().expect("a download panicked");
        }
    });
    assert_eq!(so_far(), [2_000_000; 2]);
    assert_eq!(load.finish().failures, Vec::<String>::new());
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place_and_changes_nothing() {
    let mut lab = Lab::gateway("wrong");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let mut sluice = lab.start(
        &(pool(&[(&web, 1)]) + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let epoch = sluice.epoch();
    let good = sluice.config();
    let wrong = good.replace("scheduler = \"round_robin\"", "scheduler = \"fastest\"");
    let refused = sluice
        .put("/api/v1/config", wrong.as_bytes())
        .expect("an answer");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    let why = refused.text();
    assert!(
        why.contains("fastest") && why.contains("round_robin"),
        "say what would do: {why}"
    );

    sluice.reload("scheduler = \"round_robin\"", "scheduler = \"fastest\"");
    wait::expect("the refusal to be logged", || {
        let log = sluice.log();
        log.contains("fastest") && log.contains("the configuration in use was kept")
    });
    assert_eq!(sluice.epoch(), epoch);
    assert!(
        get(&client, VIP, "/").is_ok(),
        "a refused configuration did harm"
    );
}

#[test]
fn a_configuration_that_is_put_is_in_force_and_can_be_got() {
    let mut lab = Lab::gateway("put");
    let client = lab.outside(10);
    let web = [lab.inside(11), lab.inside(12)];
    let _nginx = web.each_ref().map(Nginx::start);
    let sluice = lab.start(
        &(pool(&[(&web[0], 1), (&web[1], 0)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"weighted_round_robin\"")),
    );
    assert_eq!(get(&client, VIP, "/").expect("an answer").text(), "in11\n");
    let swapped = lab.config(
        &(pool(&[(&web[0], 0), (&web[1], 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"weighted_round_robin\"")),
    );
    let answer = sluice
        .put("/api/v1/config", swapped.as_bytes())
        .expect("an answer");
    assert!((200..300).contains(&answer.status), "{answer:?}");
    wait::expect("the other server to answer", || {
        get(&client, VIP, "/").is_ok_and(|answer| answer.text() == "in12\n")
    });
    let got = sluice.get("/api/v1/config").expect("an answer");
    assert_eq!(got.status, 200);
    let put_back = sluice.put("/api/v1/config", &got.body).expect("an answer");
    assert!(
        (200..300).contains(&put_back.status),
        "what GET gives, PUT takes: {put_back:?}"
    );
}
