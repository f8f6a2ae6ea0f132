use sluice_ha::hello::{Association, Node, Zones};
use sluice_ha::seal::{Keyring, PreShared};
use sluice_ha::{LaneConfig, Session};
use sluice_wire::MacAddr;

use super::super::peer::Link;
use super::*;

const BUDGET: u32 = 50;

/// What nodes 0 and 1 agree on, of which one has these capabilities besides records.
fn agreed(capabilities: [u64; 2]) -> [Session; 2] {
    let node = |id: u8| Node {
        id,
        boot: 1 + u64::from(id),
        workers: 1,
        capabilities: capability::RECORDS | capabilities[usize::from(id)],
        window: 64,
        mtu: 1500,
        config: 0,
        zones: Zones::default(),
    };
    let keyring = || Keyring::Sealed {
        current: PreShared {
            id: 1,
            secret: [5; 32],
        },
        also: None,
    };
    let mut nodes =
        [0, 1].map(|id: u8| Association::new(node(id), 1 - id, keyring(), [7 + id; 32]));
    let mut buffer = [0; 512];
    for now in 0..500 {
        for from in [0, 1] {
            if let Some(len) = nodes[from].poll_transmit(now, &mut buffer) {
                let _ = nodes[1 - from].handle(&buffer[..len], now);
            }
        }
    }
    nodes.map(|node| *node.session().expect("they have met"))
}

/// What node 0 knows of node 1, after both have spoken to each other for a while.
fn peer(sessions: [Session; 2]) -> Peer {
    let config = LaneConfig::default();
    let mut ends = [1, 0].map(|node| Peer::new(node, (0, 1), 1, &config, 0));
    for (peer, session) in ends.iter_mut().zip(sessions) {
        peer.link = Some(Link {
            session,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            yields: false,
        });
        peer.own_lane().expect("a lane").associate(&session);
    }
    let mut buffer = [0; 1600];
    for now in 0..300 {
        for from in [0, 1] {
            let lane = ends[from].own_lane().expect("a lane");
            if let Some(len) = lane.poll_transmit(now, &mut buffer) {
                let lane = ends[1 - from].own_lane().expect("a lane");
                let mut sink = |_: &Record| Take::Taken;
                let taken = lane.handle(&mut buffer[..len], now, &mut sink);
                assert_eq!(taken, Ok(()));
            }
        }
    }
    let [peer, _] = ends;
    peer
}

#[test]
fn packets_go_by_nodes_that_can_and_are_fit_for_it() {
    let both = agreed([capability::INLINE; 2]);
    let mut able = peer(both);
    assert!(able.inline_lane(300, BUDGET).is_some());
    if let Some(link) = &mut able.link {
        link.yields = true;
    }
    assert!(able.inline_lane(300, BUDGET).is_none(), "it is worse off");
    able.link = None;
    assert!(able.inline_lane(300, BUDGET).is_none(), "no way there");

    let mut able = peer(both);
    let record = Record::RepairRequest { bucket: 1 };
    let lane = able.own_lane().expect("a lane");
    lane.push(&record).expect("it is open");
    let mut buffer = [0; 1600];
    assert!(lane.poll_transmit(300, &mut buffer).is_some());
    assert!(able.inline_lane(300 + BUDGET, BUDGET).is_some());
    assert!(
        able.inline_lane(301 + BUDGET, BUDGET).is_none(),
        "it is slow"
    );
}

#[test]
fn nothing_goes_by_a_node_of_a_release_that_knows_no_packets_in_streams() {
    for capabilities in [[capability::INLINE, 0], [0, capability::INLINE], [0, 0]] {
        let mut peer = peer(agreed(capabilities));
        assert!(peer.own_lane().is_some_and(|lane| lane.is_open()));
        assert!(peer.inline_lane(300, BUDGET).is_none());
    }
}

#[test]
fn an_ip_packet_ends_where_its_header_says() {
    let mut v4 = [0; 60];
    (v4[0], v4[3], v4[16], v4[19]) = (0x45, 46, 10, 9);
    assert_eq!(ip_packet(&v4).map(<[u8]>::len), Some(46));
    assert_eq!(destination(&v4), Some(IpAddr::from([10, 0, 0, 9])));
    let mut v6 = [0; 60];
    (v6[0], v6[5], v6[24], v6[39]) = (0x60, 7, 0x20, 9);
    assert_eq!(ip_packet(&v6).map(<[u8]>::len), Some(47));
    let to: IpAddr = "2000::9".parse().expect("an address");
    assert_eq!(destination(&v6), Some(to));
    // Cut short, of another version, or none at all.
    assert_eq!(ip_packet(&v4[..45]), None);
    assert_eq!(ip_packet(&v6[..46]), None);
    v4[0] = 0x55;
    assert_eq!((ip_packet(&v4), ip_packet(&[])), (None, None));
    assert_eq!((destination(&v6[..39]), destination(&[])), (None, None));
}
