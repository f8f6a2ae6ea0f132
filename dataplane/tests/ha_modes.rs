//! When the other appliance is told of a service's sessions.

use crate::world;

use sluice_dataplane::published::WorkerCounter;
use sluice_dataplane::shared_names::SyncMode;
use sluice_dataplane::snapshot::ServiceId;
use world::packet::udp;
use world::pair::{EXTERNAL, HOST, Pair, SERVER, snat, sport};
use world::{INSIDE, OUTSIDE, Setup};

pub(crate) fn untold(node: u8) -> Setup {
    Setup {
        modes: vec![(ServiceId(0), SyncMode::None)],
        ..snat(node)
    }
}

#[test]
fn sessions_of_a_service_that_is_not_told_of_work_across_both_nodes_all_the_same() {
    let mut pair = Pair::new(untold);
    let ask = udp(HOST, 4000, SERVER, 53, b"ask");
    let port = sport(&pair.through((1, INSIDE), &ask.to(INSIDE), (1, OUTSIDE)));
    let answer = udp(SERVER, 53, EXTERNAL, port, b"told");
    let back = pair.through((2, OUTSIDE), &answer.to(OUTSIDE), (1, INSIDE));
    let expected = udp(SERVER, 53, HOST, 4000, b"told").ttl(63);
    assert_eq!(back, expected.from(INSIDE));
    pair.run(2500);
    assert_eq!(pair.sum(1, WorkerCounter::HaRecordsSent), 0);
    assert_eq!(pair.sum(2, WorkerCounter::SessionsReplica), 0);
    assert_eq!(pair.sum(2, WorkerCounter::HaDigestMismatches), 0);
    assert_eq!(pair.sum(1, WorkerCounter::SessionsUntold), 0);
}
