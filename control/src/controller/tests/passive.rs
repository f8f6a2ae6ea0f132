//! From connections that fail to servers that are out, and their way back to their share.

use std::time::Duration;

use sluice_dataplane::snapshot::{Scheduler, ServerState};

use super::*;
use crate::health::Verdict;

const WEB: [ServerId; 2] = [ServerId(1), ServerId(2)];

/// Both servers are up and alike, and the pool has these keys.
fn two(keys: &str) -> String {
    WHOLE
        .replace("state = \"draining\"\n", "")
        .replace("weight = 3\n", "")
        .replace(
            "[[pool]]\nname = \"web\"\n",
            &format!("[[pool]]\nname = \"web\"\n{keys}\n"),
        )
}

fn count(worker: &mut FakeWorker, server: ServerId, counter: FlowCounter, more: u64) {
    let publisher = &mut worker.side.publisher;
    publisher.publish(|writer| writer.add(Slot::Server(server, counter), more));
}

/// Lets a time come, and what it brings be taken up.
fn come(controller: &mut Controller, workers: &mut [FakeWorker], now: Instant) {
    for _ in 0..4 {
        controller.poll(now);
        workers.iter_mut().for_each(FakeWorker::poll);
    }
}

fn states(worker: &FakeWorker) -> [ServerState; 2] {
    WEB.map(|id| {
        let server = worker.side.snapshot.servers[usize::from(id.0)].as_ref();
        server.expect("a server").state
    })
}

#[test]
fn a_server_whose_connections_fail_is_out_for_a_while_and_the_last_one_stays() {
    use ServerState::{Draining, Up};
    let passive = "passive = { failures = 4, window = \"5s\", out = \"10s\", most_out = 100 }";
    let (mut controller, mut workers) = controller(&two(passive));
    let begin = Instant::now();
    let at = |ms: u64| begin + Duration::from_millis(ms);
    come(&mut controller, &mut workers, at(200));
    count(&mut workers[0], WEB[1], FlowCounter::Unanswered, 2);
    count(&mut workers[1], WEB[1], FlowCounter::Rejected, 1);
    count(&mut workers[1], WEB[0], FlowCounter::Answered, 9);
    come(&mut controller, &mut workers, at(400));
    assert_eq!(states(&workers[0]), [Up, Up], "three are not four");
    count(&mut workers[0], WEB[1], FlowCounter::Unanswered, 1);
    come(&mut controller, &mut workers, at(600));
    for worker in &workers {
        assert_eq!(states(worker), [Up, Draining]);
        assert_eq!(worker.side.snapshot.epoch, 1);
    }
    // The other one fails as well, and goes on all the same.
    count(&mut workers[0], WEB[0], FlowCounter::Rejected, 100);
    come(&mut controller, &mut workers, at(800));
    assert_eq!(states(&workers[0]), [Up, Draining]);
    let filter = HealthFilter {
        pool: Some("web".to_owned()),
        health: None,
    };
    let Ok(Outcome::Health(health)) = answer(submit(&mut controller, Action::Health(filter)))
    else {
        panic!("health");
    };
    let told = |at: usize| {
        health.servers[at]
            .connections
            .clone()
            .expect("it is looked at")
    };
    assert_eq!(health.servers[1].passive, Some(Verdict::Down));
    assert_eq!((told(1).failed, told(1).out_until.is_some()), (4, true));
    assert_eq!((told(0).failed, told(0).answered), (100, 9));
    assert_eq!(told(0).out_until, None);

    come(&mut controller, &mut workers, at(7_000));
    assert_eq!(states(&workers[0]), [Up, Draining], "the failures are old");
    come(&mut controller, &mut workers, at(10_700));
    assert_eq!(states(&workers[0]), [Up, Up]);
    // It fails at once: out for longer.
    count(&mut workers[0], WEB[1], FlowCounter::Unanswered, 4);
    come(&mut controller, &mut workers, at(10_900));
    come(&mut controller, &mut workers, at(30_000));
    assert_eq!(states(&workers[0]), [Up, Draining]);
    come(&mut controller, &mut workers, at(31_000));
    assert_eq!(states(&workers[0]), [Up, Up]);
    let events = controller.events().after(0, 100);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let told = kinds.into_iter().filter(|kind| kind.starts_with("health."));
    let (down, up) = ("health.passive.down", "health.passive.up");
    assert_eq!(told.collect::<Vec<_>>(), [down, up, down, up]);

    // A pool that asks for nothing of the kind forgets it all.
    count(&mut workers[0], WEB[1], FlowCounter::Unanswered, 4);
    come(&mut controller, &mut workers, at(31_200));
    assert_eq!(states(&workers[0]), [Up, Draining]);
    submit(&mut controller, replace(&two("")));
    come(&mut controller, &mut workers, at(31_400));
    assert_eq!(states(&workers[0]), [Up, Up]);
}

/// Slots of the Maglev table that are web2's, in percent.
fn share(worker: &FakeWorker) -> usize {
    let Scheduler::Maglev(table) = &worker.side.snapshot.virtual_servers[0].tiers[0].scheduler
    else {
        panic!("another scheduler");
    };
    let its = table.slots().iter().filter(|&&member| member == 1);
    (its.count() as f64 * 100.0 / table.slots().len() as f64).round() as usize
}

#[test]
fn a_server_that_comes_back_gets_its_share_by_steps_also_over_a_commit() {
    let text = two("slow_start = \"1h\"");
    let (mut controller, mut workers) = controller(&text);
    let begin = Instant::now();
    let at = |minutes: u64| begin + Duration::from_secs(60 * minutes);
    assert_eq!(share(&workers[0]), 50, "nobody starts slowly with Sluice");
    controller.standings().set_active(WEB[1], Verdict::Down);
    come(&mut controller, &mut workers, at(1));
    assert_eq!(share(&workers[0]), 0);
    controller.standings().set_active(WEB[1], Verdict::Up);
    let mut shares = Vec::new();
    for minutes in [2, 10, 32, 60, 63] {
        come(&mut controller, &mut workers, at(minutes));
        assert_eq!(share(&workers[0]), share(&workers[1]));
        assert_eq!(workers[0].side.snapshot.epoch, 1);
        shares.push(share(&workers[0]));
    }
    // 1, 3, 9, 16 and 16 sixteenths of what the other has
    assert_eq!(shares, [6, 16, 36, 50, 50]);

    controller.standings().set_active(WEB[1], Verdict::Down);
    settle(&mut controller, &mut workers);
    controller.standings().set_active(WEB[1], Verdict::Up);
    settle(&mut controller, &mut workers);
    assert_eq!(share(&workers[0]), 6);
    submit(
        &mut controller,
        replace(&format!("{text}\n# another text\n")),
    );
    settle(&mut controller, &mut workers);
    assert_eq!(workers[0].side.snapshot.epoch, 2);
    assert_eq!(share(&workers[0]), 6, "as before the commit");
    submit(&mut controller, replace(&two("")));
    settle(&mut controller, &mut workers);
    assert_eq!(share(&workers[0]), 50);
}
