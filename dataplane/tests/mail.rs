//! What control asks workers for, while they have much of it.

use crate::world;

use sluice_dataplane::mailbox::{
    Cursor, Filter, FromWorker, NeighbourPage, RequestId, SessionPage, ToWorker,
};
use world::packet::udp;
use world::{INSIDE, Setup};

#[test]
fn a_long_question_does_not_hold_up_a_short_one() {
    let mut world = Setup::default().start();
    for port in 1..=2000 {
        world.through(
            INSIDE,
            &udp("10.0.0.7", port, "198.51.100.9", 53, b"ask").to(INSIDE),
        );
    }
    let nobodys = Filter {
        proto: Some(99),
        ..Filter::default()
    };
    let control = &world.control[0];
    let sessions = SessionPage::new(RequestId(1), nobodys, Cursor::default(), 10);
    control
        .send(ToWorker::ListSessions(Box::new(sessions)))
        .expect("room");
    let neighbours = NeighbourPage::new(RequestId(2), 0, 100);
    control
        .send(ToWorker::ListNeighbours(Box::new(neighbours)))
        .expect("room");
    world.settle();
    let mut answers = std::iter::from_fn(|| world.control[0].receive());
    assert!(matches!(answers.next(), Some(FromWorker::Neighbours(page)) if !page.rows.is_empty()));
    assert!(matches!(answers.next(), Some(FromWorker::Sessions(page)) if page.cursor.is_none()));
}
