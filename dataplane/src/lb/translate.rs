//! What a session to a real server looks like on the server's side.

use std::net::IpAddr;

use sluice_wire::Tuple;
use sluice_wire::proto::{TCP, UDP};

use crate::snapshot::{LbMode, RealServer, VirtualServer};

/// The tuple that packets of a new session leave with towards `server`, given the one they arrive
/// with. Replies arrive with its reverse (`dsr`: they don't come).
///
/// `source` is the leased address and port that the client's are replaced by under
/// [`LbMode::Fullnat`]; other modes leave the client's and take no `source`. The server is of the
/// client's address family, as control has checked.
pub fn to_server(
    vs: &VirtualServer,
    server: &RealServer,
    arrives: &Tuple,
    source: Option<(IpAddr, u16)>,
) -> Tuple {
    let mut leaves = *arrives;
    if vs.mode == LbMode::Dsr {
        return leaves;
    }
    leaves.dst = server.address;
    leaves.dport = server_port(vs, server, arrives);
    if let (LbMode::Fullnat, Some((address, port))) = (vs.mode, source) {
        (leaves.src, leaves.sport) = (address, port);
    }
    leaves
}

/// The port at the real server: its own, as far along as the client's is in the virtual server's
/// range, or the client's where the server has none.
pub fn server_port(vs: &VirtualServer, server: &RealServer, arrives: &Tuple) -> u16 {
    match server.port {
        Some(port) if matches!(arrives.proto, TCP | UDP) => {
            let first = vs.ports.map_or(arrives.dport, |(first, _)| first);
            port.wrapping_add(arrives.dport.wrapping_sub(first))
        }
        _ => arrives.dport,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Scheduler, ServerState, ServiceId, SessionLimits, Tier, TierKind};

    const CLIENT: &str = "198.51.100.7";
    const VIP: &str = "192.0.2.1";

    fn tuple(proto: u8, (src, sport): (&str, u16), (dst, dport): (&str, u16)) -> Tuple {
        Tuple {
            proto,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            sport,
            dport,
        }
    }

    fn leaves(
        mode: LbMode,
        ports: Option<(u16, u16)>,
        port: Option<u16>,
        (proto, dport): (u8, u16),
    ) -> Tuple {
        let vs = VirtualServer {
            service: ServiceId(1),
            name: "web".into(),
            ports,
            mode,
            tiers: vec![Tier {
                kind: TierKind::Pool,
                scheduler: Scheduler::RoundRobin,
                members: vec![],
            }],
            persistence: None,
            redirect: None,
            snat_pool: None,
            timeouts: 0,
            clamp_mss: None,
        };
        let server = RealServer {
            name: "web/a".into(),
            address: "10.0.1.1".parse().unwrap(),
            port,
            weight: 1,
            state: ServerState::Up,
            limits: SessionLimits::default(),
        };
        let arrives = tuple(proto, (CLIENT, 40_000), (VIP, dport));
        let lease = Some(("10.0.1.254".parse().unwrap(), 2048));
        to_server(&vs, &server, &arrives, lease)
    }

    #[test]
    fn modes_change_what_they_say() {
        let of = |mode| leaves(mode, Some((80, 80)), Some(8080), (TCP, 80));
        assert_eq!(
            of(LbMode::Dnat),
            tuple(TCP, (CLIENT, 40_000), ("10.0.1.1", 8080))
        );
        assert_eq!(
            of(LbMode::Fullnat),
            tuple(TCP, ("10.0.1.254", 2048), ("10.0.1.1", 8080))
        );
        assert_eq!(of(LbMode::Dsr), tuple(TCP, (CLIENT, 40_000), (VIP, 80)));
    }

    #[test]
    fn ports_keep_their_place_in_the_range() {
        let dport = |ports, port, dport| leaves(LbMode::Dnat, ports, port, (UDP, dport)).dport;
        assert_eq!(dport(Some((8000, 8010)), Some(9000), 8000), 9000);
        assert_eq!(dport(Some((8000, 8010)), Some(9000), 8010), 9010);
        assert_eq!(dport(Some((8000, 8010)), None, 8003), 8003);
        assert_eq!(dport(None, None, 65_535), 65_535);
        assert_eq!(dport(None, Some(9000), 1234), 9000, "any port to one port");
    }

    #[test]
    fn protocols_without_ports_keep_their_zeros() {
        const ESP: u8 = 50;
        let of = |mode| leaves(mode, None, Some(9000), (ESP, 0)).dport;
        assert_eq!(of(LbMode::Dnat), 0);
    }
}
