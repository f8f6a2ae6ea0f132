//! Who may open a session, and TCP that belongs to none.

use sluice_tests::lab::{Lab, OUTSIDE};
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::wait;

use crate::{NAT, VIP, echoes, get, pool, snat, udp, virtual_server};

#[test]
fn unsolicited_traffic_from_outside_is_dropped_and_counted() {
    let mut lab = Lab::gateway("unsolicited");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let _nginx = Nginx::start(&inside);
    let sluice = lab.start(&snat(""));
    let listener = udp(&inside, inside.address(), 9000);
    let attacker = udp(&outside, outside.address(), 0);
    let refused = || -> u64 {
        let dropped = sluice.stats().total().dropped;
        ["denied", "nat_no_mapping", "not_listening"]
            .iter()
            .filter_map(|why| dropped.get(*why))
            .sum()
    };
    let before = refused();
    for target in ["10.1.0.11", NAT, OUTSIDE] {
        attacker
            .send_to(
                b"let me in",
                format!("{target}:9000")
                    .parse::<std::net::SocketAddr>()
                    .expect("an address"),
            )
            .expect("cannot send");
        assert!(
            get(&outside, target, "/").is_err(),
            "TCP to {target} was let in"
        );
        let _ = outside.run(&["ping", "-c", "1", "-W", "1", "10.1.0.11"]);
    }
    let mut datagram = [0; 64];
    assert!(listener.recv_from(&mut datagram).is_err(), "UDP was let in");
    wait::expect("all of it to be counted", || refused() >= before + 6);
    assert_eq!(sluice.assert_accounted().total().sessions(), 0);
}

#[test]
fn a_stranger_cannot_use_the_mapping_of_another_destination() {
    let mut lab = Lab::gateway("stranger");
    let server = lab.outside(10);
    let stranger = lab.outside(66);
    let client = lab.inside(11);
    let _echo = UdpEcho::start(server.namespace(), server.address(), 7);
    let _sluice = lab.start(&snat("ports = \"50000-50063\""));
    let socket = udp(&client, client.address(), 0);
    assert!(echoes(&socket, server.at(7), b"open"));
    let attacker = udp(&stranger, stranger.address(), 7);
    for port in 50_000..50_064_u16 {
        attacker
            .send_to(b"forged", (NAT, port))
            .expect("cannot send");
    }
    let mut datagram = [0; 64];
    assert!(
        socket.recv_from(&mut datagram).is_err(),
        "a stranger's datagram came through"
    );
    assert!(echoes(&socket, server.at(7), b"still open"));
}

#[test]
fn rules_let_in_what_they_say_first_match_first() {
    let mut lab = Lab::gateway("rules");
    let outside = lab.outside(10);
    let blocked = lab.outside(66);
    let inside = lab.inside(11);
    let _nginx = Nginx::start(&inside);
    let _sluice = lab.start(
        "[[firewall.rule]]\nname = \"not-him\"\nfrom = \"outside\"\nto = \"inside\"\n\
         source = [\"198.51.100.66/32\"]\naction = \"deny\"\n\
         [[firewall.rule]]\nname = \"www\"\nfrom = \"outside\"\nto = \"inside\"\n\
         destination = [\"10.1.0.11/32\"]\nprotocol = \"tcp\"\nports = [\"80\"]\n\
         action = \"allow\"\n",
    );
    assert!(get(&outside, "10.1.0.11", "/").is_ok());
    let fails = |host: &sluice_tests::lab::Host, url: &str| {
        !host.run(&["curl", "-sS", "-m", "3", url]).status.success()
    };
    assert!(
        fails(&outside, "http://10.1.0.11:8080/"),
        "another port is not allowed"
    );
    assert!(
        fails(&blocked, "http://10.1.0.11/"),
        "the first rule says no"
    );
}

#[test]
fn tcp_without_a_session_is_dropped_reset_or_adopted_as_configured() {
    for (policy, reset) in [("drop", "silence"), ("reset", "reset")] {
        let mut lab = Lab::gateway(policy);
        let outside = lab.outside(10);
        let inside = lab.inside(11);
        let _nginx = Nginx::start(&inside);
        let sluice = lab.start(
            &(pool(&[(&inside, 1)])
                + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")
                + &format!("[tcp]\nout_of_state = \"{policy}\"\n")),
        );
        assert!(get(&outside, VIP, "/").is_ok());
        let answer = outside.python("tcp_stray.py", &["eth0", OUTSIDE, VIP, "80"]);
        assert_eq!(answer.trim(), reset, "out_of_state = {policy}");
        sluice.expect_dropped("out_of_state", 1);
    }
}

#[test]
fn forged_resets_inside_the_window_do_not_end_a_session() {
    let mut lab = Lab::gateway("rst");
    let outside = lab.outside(10);
    let inside = lab.inside(11);
    let nginx = Nginx::start(&inside);
    std::fs::write(nginx.root().join("blob"), vec![b'r'; 1_500_000]).expect("cannot write");
    let sluice = lab.start(
        &(pool(&[(&inside, 1)]) + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    outside.ok(&["ping", "-c", "1", "-W", "5", VIP]);
    let so_far = || outside.size_of("blob");
    std::thread::scope(|scope| {
        let download = scope.spawn(|| {
            outside.sh(&format!(
                "curl -sS --fail --local-port 45000 --limit-rate 200k -o blob http://{VIP}/blob"
            ))
        });
        wait::expect("the download to be under way", || so_far() > 200_000);
        // Sequence numbers near what it hears, never the next one expected.
        outside.python("tcp_reset.py", &["eth0", OUTSIDE, VIP, "80", "45000"]);
        assert!(so_far() < 1_500_000, "it is over already");
        download.join().expect("the download panicked");
    });
    assert_eq!(so_far(), 1_500_000);
    assert_eq!(
        sluice.assert_accounted().dropped("out_of_state"),
        0,
        "the session was ended by a forged reset"
    );
}
