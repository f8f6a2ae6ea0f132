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
