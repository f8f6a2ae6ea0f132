//! What a client meets at a virtual server that nobody can serve, and that redirects it.

use crate::world;

use std::num::NonZeroU32;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::firewall::Rule;
use sluice_dataplane::networks::Networks;
use sluice_dataplane::published::{FlowCounter, Slot, WorkerCounter};
use sluice_dataplane::snapshot::{OutOfState, ServerState, ServiceId};
use sluice_wire::tcp::flag::{ACK, FIN, PSH, RST, SYN};
use world::packet::{segment, tcp};
use world::redirecting::{CLIENT, Client, GET, RESPONSE, VIP, read, setup};
use world::{INSIDE, INSIDE_ZONE, OUTSIDE, OUTSIDE_ZONE, Setup, World};

/// Window and largest segment.
const MSS: u16 = 1460;

fn down() -> Setup {
    setup(ServerState::Down)
}

/// A client that has done the handshake.
fn connect(world: &mut World, v6: bool, port: u16) -> Client {
    let mut client = Client::new(v6, port, 0xffff_fffe);
    world.arrive(OUTSIDE, &client.says(SYN, b""));
    client.connected(&world.left(OUTSIDE));
    world.arrive(OUTSIDE, &client.says(ACK, b""));
    world.assert_quiet();
    client
}

/// Nothing is sent for the frame, and it is not dropped either.
fn consumed(world: &mut World, frame: &[u8]) {
    let before = world.count(WorkerCounter::Consumed);
    world.arrive(OUTSIDE, frame);
    world.assert_quiet();
    assert_eq!(
        world.count(WorkerCounter::Consumed),
        before + 1,
        "{}",
        world.drops()
    );
}

fn answer(world: &mut World, frame: &[u8]) -> Vec<u8> {
    world.arrive(OUTSIDE, frame);
    let answer = world.left(OUTSIDE);
    world.assert_quiet();
    answer
}

fn of_service(world: &mut World, service: u16, counter: FlowCounter) -> u64 {
    world.accounts();
    world
        .published
        .sum(Slot::Service(ServiceId(service), counter))
}

#[test]
fn a_connection_from_syn_to_fin_byte_by_byte() {
    for v6 in [false, true] {
        let mss = if v6 { 1440 } else { MSS };
        let mut world = down().start();
        let mut client = Client::new(v6, 4000, 0xffff_fffe);
        let syn = answer(&mut world, &client.says(SYN, b""));
        client.connected(&syn);
        let mut wanted = client.clone();
        wanted.ack = client.ack.wrapping_sub(1);
        let mut wanted = wanted.gets(SYN | ACK, mss, b"");
        wanted.body[12] = 0x60;
        wanted.body.extend([2, 4]);
        wanted.body.extend(mss.to_be_bytes());
        assert_eq!(syn, wanted.summed(16).from(OUTSIDE));

        consumed(&mut world, &client.says(ACK, b""));
        let response = client.response(GET.len(), mss);
        assert_eq!(answer(&mut world, &client.says(ACK | PSH, GET)), response);
        // The response is lost, and the request comes again.
        assert_eq!(answer(&mut world, &client.says(ACK | PSH, GET)), response);
        client.answered(GET.len());
        consumed(&mut world, &client.says(ACK, b""));
        let fin = client.says(FIN | ACK, b"");
        client.seq = client.seq.wrapping_add(1);
        let last = client.gets(ACK, mss, b"").from(OUTSIDE);
        assert_eq!(answer(&mut world, &fin), last);

        let service = if v6 { 2 } else { 1 };
        assert_eq!(
            of_service(&mut world, service, FlowCounter::HttpRedirects),
            2
        );
        assert_eq!(of_service(&mut world, service, FlowCounter::Refused), 0);
        for (counter, n) in [
            (WorkerCounter::HttpRedirectSyns, 1),
            (WorkerCounter::HttpRedirects, 2),
            (WorkerCounter::HttpRedirectResets, 0),
            (WorkerCounter::SessionsOpened, 0),
            (WorkerCounter::ResetsSent, 0),
        ] {
            assert_eq!(world.count(counter), n, "{}", counter.name());
        }
    }
}

#[test]
fn a_client_that_asks_nothing_is_let_go() {
    let mut world = down().start();
    let mut client = connect(&mut world, false, 4000);
    let fin = client.says(FIN | ACK, b"");
    client.seq = client.seq.wrapping_add(1);
    let close = client.gets(FIN | ACK, MSS, b"").from(OUTSIDE);
    assert_eq!(answer(&mut world, &fin), close);
    client.ack = client.ack.wrapping_add(1);
    consumed(&mut world, &client.says(ACK, b""));
    consumed(&mut world, &client.says(RST | ACK, b""));
}

#[test]
fn what_does_not_speak_http_is_reset_at_once() {
    let mut world = down().start();
    let client = connect(&mut world, false, 4000);
    let reset = answer(
        &mut world,
        &client.says(ACK | PSH, b"\x16\x03\x01\x02\x00\x01"),
    );
    let reset = read(&reset);
    assert_eq!((reset.flags, reset.seq, reset.len), (RST, client.ack, 0));
    assert_eq!(world.count(WorkerCounter::HttpRedirectResets), 1);
    // So little may become anything.
    let client = connect(&mut world, false, 4001);
    consumed(&mut world, &client.says(ACK | PSH, b"GE"));
    let whole = answer(&mut world, &client.says(ACK | PSH, GET));
    assert_eq!(whole, client.response(GET.len(), MSS));
}

#[test]
fn a_body_behind_the_request_neither_harms_nor_holds_up_its_answer() {
    let mut world = down().start();
    let mut client = connect(&mut world, false, 4000);
    let first = client.says(ACK | PSH, GET);
    let mut later = client.clone();
    later.seq = later.seq.wrapping_add(GET.len() as u32);
    // It overtakes the request.
    consumed(&mut world, &later.says(ACK | PSH, b"a=b"));
    assert_eq!(answer(&mut world, &first), client.response(GET.len(), MSS));
    client.answered(GET.len());
    let body = client.says(ACK | PSH | FIN, b"a=b");
    client.seq = client.seq.wrapping_add(4);
    let last = client.gets(ACK, MSS, b"").from(OUTSIDE);
    assert_eq!(answer(&mut world, &body), last);
}

#[test]
fn who_was_accepted_is_answered_also_when_servers_are_back_and_others_get_to_them() {
    for workers in [1, 3] {
        let with_workers = |state, epoch| Setup {
            workers,
            epoch,
            ..setup(state)
        };
        let mut world = with_workers(ServerState::Down, 1).start();
        let mut clients: Vec<_> = (0..20)
            .map(|n| {
                world.arrive_at = n;
                connect(&mut world, false, 4000 + n as u16)
            })
            .collect();
        world.swap(&with_workers(ServerState::Up, 2));
        for client in &mut clients {
            world.arrive_at += 1;
            consumed(&mut world, &client.says(ACK, b""));
            let response = client.response(GET.len(), MSS);
            assert_eq!(answer(&mut world, &client.says(ACK | PSH, GET)), response);
            client.answered(GET.len());
            let fin = read(&answer(&mut world, &client.says(FIN | ACK, b"")));
            assert_eq!((fin.flags, fin.seq), (ACK, client.ack));
        }
        assert_eq!(world.count(WorkerCounter::SessionsOpened), 0);
        let served = world.through(OUTSIDE, &Client::new(false, 5000, 1).says(SYN, b""));
        assert_eq!(served[30..34], [10, 0, 0, 11]);
    }
}

#[test]
fn a_client_whose_server_goes_before_it_answers_is_redirected() {
    let mut world = setup(ServerState::Up).start();
    let mut client = Client::new(false, 4000, 1);
    let syn = client.says(SYN, b"");
    world.through(OUTSIDE, &syn);
    world.swap(&Setup {
        epoch: 2,
        ..setup(ServerState::Draining)
    });
    client.connected(&answer(&mut world, &syn));
    let response = client.response(GET.len(), MSS);
    assert_eq!(answer(&mut world, &client.says(ACK, GET)), response);
    assert_eq!(world.count(WorkerCounter::SessionsEnded), 1);
}

#[test]
fn servers_that_are_full_count_as_none() {
    let mut full = setup(ServerState::Up);
    for server in full.servers.iter_mut().flatten() {
        server.limits.open = NonZeroU32::new(1);
    }
    let mut world = full.start();
    world.through(OUTSIDE, &Client::new(false, 4000, 1).says(SYN, b""));
    let client = connect(&mut world, false, 4001);
    let response = client.response(GET.len(), MSS);
    assert_eq!(answer(&mut world, &client.says(ACK, GET)), response);
    assert_eq!(of_service(&mut world, 1, FlowCounter::Refused), 0);
    assert_eq!(world.drop_count(DropReason::Overloaded), 0);
}

#[test]
fn whoever_was_sent_nothing_gets_nothing() {
    let mut world = down().start();
    let client = connect(&mut world, false, 4000);
    let originated = world.count(WorkerCounter::Originated);
    for (seq, ack, port) in [
        (client.seq, client.ack, 4001),
        (client.seq, client.ack.wrapping_sub(1), 4000),
        (client.seq, client.ack.wrapping_add(2000), 4000),
        (client.seq, client.ack ^ 1 << 19, 4000),
        (0, 0, 4000),
        (1, 1, 80),
    ] {
        let forged = segment([(CLIENT, port), (VIP, 80)], ACK | PSH, (seq, ack), GET);
        world.dropped(OUTSIDE, &forged.to(OUTSIDE), DropReason::OutOfState);
    }
    // Elsewhere in the stream: not dropped, but not answered either.
    for (seq, ack) in [
        (client.seq.wrapping_add(1), client.ack),
        (client.seq, client.ack ^ 1 << 31),
    ] {
        let forged = segment([(CLIENT, 4000), (VIP, 80)], ACK | PSH, (seq, ack), GET);
        consumed(&mut world, &forged.to(OUTSIDE));
    }
    assert_eq!(world.count(WorkerCounter::Originated), originated);
    // Without ACK, or with SYN beside it: never, however good the numbers.
    world.dropped(OUTSIDE, &client.says(PSH, GET), DropReason::TcpInvalid);
    world.dropped(
        OUTSIDE,
        &client.says(SYN | ACK, GET),
        DropReason::OutOfState,
    );
    // Policy for strays is what it was.
    let mut stray = down();
    stray.tcp.out_of_state = OutOfState::Reset;
    let mut world = stray.start();
    let stranger = Client::new(false, 4001, 1);
    let reset = answer(&mut world, &stranger.says(ACK | PSH, GET));
    assert_eq!(read(&reset).flags, RST);
    assert_eq!(world.count(WorkerCounter::ResetsSent), 1);
}

#[test]
fn nothing_is_sent_to_where_policy_or_routes_say_no() {
    let deny = Rule {
        service: ServiceId(9),
        from: Some(OUTSIDE_ZONE),
        to: Some(INSIDE_ZONE),
        source: vec!["203.0.113.0/28".parse().unwrap()].into(),
        destination: Networks::default(),
        proto: None,
        ports: vec![],
        allow: false,
        timeouts: 0,
    };
    let mut world = down().start();
    let client = connect(&mut world, false, 4000);
    let guarded = Setup {
        rules: vec![deny],
        epoch: 2,
        ..down()
    };
    world.swap(&guarded);
    let syn = Client::new(false, 4001, 1).says(SYN, b"");
    world.dropped(OUTSIDE, &syn, DropReason::Denied);
    world.dropped(OUTSIDE, &client.says(ACK | PSH, GET), DropReason::Denied);
    assert_eq!(of_service(&mut world, 9, FlowCounter::Refused), 2);
    // Addresses of the other side, and our own.
    let syn = |source| tcp(source, 4000, VIP, 80, SYN, 1, 0).to(OUTSIDE);
    world.dropped(OUTSIDE, &syn("10.0.0.7"), DropReason::Spoofed);
    world.dropped(OUTSIDE, &syn("192.0.2.1"), DropReason::MartianSource);
    // The sender is told so by ICMP, as ever.
    world.arrive(OUTSIDE, &syn("169.254.1.1"));
    world.left(OUTSIDE);
    assert_eq!(world.drop_count(DropReason::NoRoute), 1);
    assert_eq!(world.count(WorkerCounter::HttpRedirectSyns), 1);
}

#[test]
fn damaged_segments_are_not_answered() {
    let mut world = down().start();
    let mut syn = Client::new(false, 4000, 1).says(SYN, b"");
    syn[50] ^= 1;
    world.dropped(OUTSIDE, &syn, DropReason::BadTcpChecksum);
    let client = connect(&mut world, false, 4001);
    let mut get = client.says(ACK | PSH, GET);
    get[60] ^= 1;
    world.dropped(OUTSIDE, &get, DropReason::BadTcpChecksum);
    // In pieces: as ever.
    let pieces = client.spec(SYN, b"").fragment(0x2000).to(OUTSIDE);
    world.arrive(OUTSIDE, &pieces);
    world.assert_quiet();
}

#[test]
fn a_client_by_a_vlan_is_answered_by_it() {
    let mut tagged = down();
    tagged.ports[1].vlan = Some(7);
    let mut world = tagged.start();
    let mut syn = Client::new(false, 4000, 1).says(SYN, b"");
    syn.splice(12..12, [0x81, 0, 0, 7]);
    let out = answer(&mut world, &syn);
    assert_eq!(out[12..18], [0x81, 0, 0, 7, 8, 0]);
    let parsed = sluice_wire::parse(&out, None, false).unwrap();
    assert_eq!(parsed.tcp(&out).unwrap().flags, SYN | ACK);
    // From inside as well, if it comes to that.
    let syn = tcp("10.0.0.7", 4000, VIP, 80, SYN, 1, 0).to(INSIDE);
    world.arrive(INSIDE, &syn);
    assert_eq!(read(&world.left(INSIDE)).flags, SYN | ACK);
}

#[test]
fn segments_fit_what_the_port_and_the_configuration_take() {
    let mut narrow = down();
    narrow.ports[1].mtu = 576;
    let mut world = narrow.start();
    let syn = Client::new(false, 4000, 1).says(SYN, b"");
    assert_eq!(
        answer(&mut world, &syn)[54..58],
        [2, 4, 536u16.to_be_bytes()[0], 24]
    );
    let client = connect(&mut world, false, 4001);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(450));
    let response = answer(&mut world, &client.says(ACK, long.as_bytes()));
    let text = String::from_utf8_lossy(&response[54..]);
    assert!(
        text.ends_with("Location: https://status.example.com/\r\nCache-Control: no-store\r\n\r\n"),
        "{text}"
    );
    let mut clamped = down();
    clamped.virtual_servers[0].clamp_mss = Some(1000);
    let syn = answer(&mut clamped.start(), &syn);
    assert_eq!(syn[54..58], [2, 4, 1000u16.to_be_bytes()[0], 232]);
    assert_eq!(read(&syn).window, 1000);
}

#[test]
fn a_cookie_is_good_for_minutes_and_not_for_ever() {
    for start in [0, 0xffff_0000] {
        let mut world = Setup { start, ..down() }.start();
        let client = connect(&mut world, false, 4000);
        world.now = world.now.wrapping_add(4 * 60_000);
        let response = client.response(GET.len(), MSS);
        assert_eq!(answer(&mut world, &client.says(ACK, GET)), response);
        world.now = world.now.wrapping_add(10 * 60_000);
        world.dropped(OUTSIDE, &client.says(ACK, GET), DropReason::OutOfState);
    }
}

#[test]
fn whatever_is_sent_no_more_comes_back_than_a_syn_is_worth() {
    let mut world = down().start();
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u32
    };
    let (mut accepted, mut taken_for_others) = (0, 0);
    for _ in 0..20_000 {
        let ends = [(CLIENT, 1024 + random() as u16 % 60_000), (VIP, 80)];
        let flags = random() as u8 & 0x3f;
        let data = if random() % 2 == 0 { GET } else { b"" };
        let numbers = (random() << 1, random() << 1);
        let frame = segment(ends, flags, numbers, data).to(OUTSIDE);
        world.arrive(OUTSIDE, &frame);
        for sent in std::mem::take(&mut world.sent[1]) {
            assert!(sent.len() <= frame.len() + 4);
            match read(&sent).flags {
                ACK => taken_for_others += 1,
                flags => {
                    assert_eq!(flags, SYN | ACK);
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 100);
    // By 20 bits of the cookie, for some thousand numbers.
    assert!(taken_for_others < 100, "{taken_for_others}");
    assert_eq!(world.count(WorkerCounter::HttpRedirects), 0);
    assert!(RESPONSE.len() < 536);
}
