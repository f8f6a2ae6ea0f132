//! What is not believed on an FTP control connection.

use crate::world;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::nat::rules::SourceNat;
use sluice_dataplane::published::WorkerCounter;
use sluice_wire::tcp::flag::{ACK, PSH};
use world::INSIDE;
use world::talk::{Connection, End};

use super::{SERVER, outward, snat};

#[test]
fn a_damaged_line_is_not_believed() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let mut control = outward(&mut world);
    let text = "PORT 10,0,0,7,19,137\r\n";
    let mut frame = control.client.frame(ACK | PSH, control.client.send, text);
    let last = frame.len() - 3;
    frame[last] ^= 1;
    world.dropped(INSIDE, &frame, DropReason::BadTcpChecksum);
    assert!(
        control
            .client(&mut world, text)
            .starts_with("PORT 192,0,2,1")
    );
}

#[test]
fn lines_in_two_segments_pass_as_they_are() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let mut control = outward(&mut world);
    for part in ["PORT 10,0,", "0,7,19,137\r\n", "NOOP\r\n"] {
        assert_eq!(control.client(&mut world, part), part);
    }
    assert_eq!(world.count(WorkerCounter::AlgExpected), 0);
}

#[test]
fn nobody_is_announced_but_the_speaker() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let mut control = outward(&mut world);
    for line in [
        "PORT 10,0,0,8,19,137\r\n",
        "PORT 10,0,0,7,0,22\r\n",
        "EPRT |1|10.0.0.8|5001|\r\n",
        "EPRT |2|2001:db8:a::7|5001|\r\n",
    ] {
        assert_eq!(control.client(&mut world, line), line);
    }
    control.client(&mut world, "PASV\r\n");
    let elsewhere = "227 Entering Passive Mode (203,0,113,7,156,65).\r\n";
    assert_eq!(control.server(&mut world, elsewhere), elsewhere);
    assert_eq!(world.count(WorkerCounter::AlgRefused), 5);
    assert_eq!(world.count(WorkerCounter::AlgExpected), 0);
}

#[test]
fn a_browser_cannot_be_made_to_say_port() {
    let mut world = snat(1, SourceNat::Pool(0)).start();
    let client = End::new(INSIDE, ("10.0.0.7", 4000), (SERVER, 21), 1000);
    let mut control = Connection::open(&mut world, client, (SERVER, 21));
    control.server(&mut world, "220 ready\r\n");
    control.client(&mut world, "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    let line = "PORT 10,0,0,7,19,137\r\n";
    assert_eq!(control.client(&mut world, line), line);
    assert_eq!(
        world.count(WorkerCounter::AlgControls),
        0,
        "it is like any other"
    );
}
