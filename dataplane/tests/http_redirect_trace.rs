//! A trace says of clients that are redirected what becomes of their packets, and then that happens.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::firewall::Rule;
use sluice_dataplane::http_redirect::Answer;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::mailbox::trace::{Step, Trace, Verdict};
use sluice_dataplane::mailbox::{FromWorker, RequestId, ToWorker};
use sluice_dataplane::networks::Networks;
use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::snapshot::{ServerState, ServiceId};
use sluice_wire::tcp::flag::{ACK, FIN, PSH, RST, SYN};
use world::redirecting::{Client, GET, setup};
use world::{INSIDE_ZONE, OUTSIDE, OUTSIDE_ZONE, Setup, World};

/// What would become of a frame, and the last step that says so.
fn trace(world: &mut World, frame: &[u8]) -> (Verdict, Option<Step>) {
    let device = DeviceId(OUTSIDE.0);
    let asked = Trace::new(RequestId(1), device, None, frame.to_vec());
    let sent = world.control[0].send(ToWorker::Trace(Box::new(asked)));
    sent.expect("room");
    let before = world.count(WorkerCounter::Originated);
    let Some(FromWorker::Traced(answer)) = world.control[0].receive() else {
        panic!("no answer");
    };
    assert_eq!(world.count(WorkerCounter::Originated), before);
    world.assert_quiet();
    (answer.verdict, answer.steps.last().copied())
}

/// Traces a frame, lets it come, and compares.
fn comes(world: &mut World, frame: &[u8]) -> (Verdict, Option<Step>) {
    let told = trace(world, frame);
    let before = world.count(WorkerCounter::Consumed);
    match told.0 {
        Verdict::Drop(reason) => world.dropped(OUTSIDE, frame, reason),
        Verdict::Consume => {
            world.arrive(OUTSIDE, frame);
            assert_eq!(world.count(WorkerCounter::Consumed), before + 1);
        }
        other => panic!("{other:?}"),
    }
    told
}

#[test]
fn what_is_traced_of_a_redirected_client_is_what_happens() {
    let mut world = setup(ServerState::Down).start();
    let mut client = Client::new(false, 4000, 77);
    let told = comes(&mut world, &client.says(SYN, b""));
    assert_eq!(told, (Verdict::Consume, Some(Step::LastResort)));
    client.connected(&world.left(OUTSIDE));
    let consumed = |answer| (Verdict::Consume, Some(Step::Redirected(answer)));
    for (flags, data, answer) in [
        (ACK, &b""[..], Answer::Silence),
        (ACK | PSH, GET, Answer::Response),
        (ACK | PSH, b"\x16\x03\x01", Answer::Reset),
        (ACK | FIN, b"", Answer::Close),
        (ACK | RST, b"", Answer::Silence),
    ] {
        assert_eq!(
            comes(&mut world, &client.says(flags, data)),
            consumed(answer)
        );
        assert_eq!(
            world.sent[1].drain(..).count(),
            usize::from(answer != Answer::Silence)
        );
    }
    client.answered(GET.len());
    let fin = client.says(ACK | FIN, b"");
    assert_eq!(comes(&mut world, &fin), consumed(Answer::Acknowledge));
    world.left(OUTSIDE);

    let deny = Rule {
        service: ServiceId(9),
        from: Some(OUTSIDE_ZONE),
        to: Some(INSIDE_ZONE),
        source: Networks::default(),
        destination: Networks::default(),
        proto: None,
        ports: vec![],
        allow: false,
        timeouts: 0,
    };
    world.swap(&Setup {
        rules: vec![deny],
        epoch: 2,
        ..setup(ServerState::Down)
    });
    let denied = (
        Verdict::Drop(DropReason::Denied),
        Some(Step::Denied(ServiceId(9))),
    );
    assert_eq!(comes(&mut world, &fin), denied);
    assert_eq!(
        comes(&mut world, &Client::new(false, 4001, 1).says(SYN, b"")),
        denied
    );
    let mut damaged = fin.clone();
    damaged[51] ^= 1;
    let (verdict, _) = comes(&mut world, &damaged);
    assert_eq!(verdict, Verdict::Drop(DropReason::BadTcpChecksum));
}
