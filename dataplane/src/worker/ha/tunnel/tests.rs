use super::*;
use sluice_ha::tunnel::Kind;

const FIRST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// Nodes 2 and 3 behind a router, node 4 on the same network, node 5 a neighbour.
fn tunnel() -> Tunnel {
    let parts = TunnelParts {
        end: End {
            kind: Kind::Vxlan,
            id: 1,
            address: ip(1),
        },
        nodes: vec![
            (2, Ipv4Addr::new(198, 51, 100, 2), ip(254)),
            (3, Ipv4Addr::new(198, 51, 100, 3), ip(254)),
            (4, ip(4), ip(4)),
        ],
    };
    Tunnel::new(&parts, [2, 3, 4, 5])
}

fn leads(tunnel: &Tunnel, seat: u8) -> Result<Option<MacAddr>, NoWay> {
    let way = tunnel.way(Seat(seat));
    way.map(|way| way.map(|(_, mac)| mac))
}

#[test]
fn nodes_behind_one_router_share_its_address() {
    let mut tunnel = tunnel();
    assert_eq!(leads(&tunnel, 3), Ok(None), "a neighbour");
    for seat in 0..3 {
        assert_eq!(leads(&tunnel, seat), Err(NoWay));
    }
    assert_eq!(tunnel.note(ip(254), Some(FIRST), 5), Some(0));
    assert_eq!(tunnel.note(ip(254), Some(FIRST), 6), None, "no news");
    assert_eq!(tunnel.note(ip(77), Some(FIRST), 6), None, "nobody's");
    let all = [0, 1, 2].map(|seat| leads(&tunnel, seat));
    assert_eq!(all, [Ok(Some(FIRST)), Ok(Some(FIRST)), Err(NoWay)]);
    assert_eq!(tunnel.note(ip(254), Some(OTHER), 7), Some(0));
    assert_eq!(leads(&tunnel, 1), Ok(Some(OTHER)));
}

/// Times wrap, and a clock may begin anywhere.
#[test]
fn next_hops_are_asked_for_until_they_answer_and_now_and_then_after_that() {
    for start in [0, u32::MAX - 700, 1 << 31] {
        let at = |ms: u32| start.wrapping_add(ms);
        let mut tunnel = tunnel();
        assert_eq!(tunnel.wanted(at(0)), Some((ip(254), None)));
        assert_eq!(tunnel.wanted(at(0)), Some((ip(4), None)));
        assert_eq!(tunnel.wanted(at(ASK_MS - 1)), None);
        assert_eq!(tunnel.wanted(at(ASK_MS)), Some((ip(254), None)));
        tunnel.note(ip(254), Some(FIRST), at(ASK_MS));
        tunnel.note(ip(4), Some(OTHER), at(ASK_MS));
        assert_eq!(tunnel.wanted(at(FRESH_MS)), None);
        let again = ASK_MS + FRESH_MS;
        assert_eq!(tunnel.wanted(at(again)), Some((ip(254), Some(FIRST))));
        assert_eq!(tunnel.lost(at(again)), None);
        tunnel.note(ip(254), Some(FIRST), at(again));
        assert_eq!(tunnel.lost(at(ASK_MS + LOST_MS)), Some(ip(4)));
        tunnel.note(ip(4), None, at(ASK_MS + LOST_MS));
        assert_eq!(tunnel.lost(at(ASK_MS + LOST_MS)), None);
        assert_eq!(leads(&tunnel, 2), Err(NoWay));
        assert_eq!(tunnel.wanted(at(ASK_MS + LOST_MS)), Some((ip(4), None)));
    }
}
