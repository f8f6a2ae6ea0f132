//! Other appliances, one by one.

use super::families::{Families, Family};
use super::{MS, family, float};
use crate::controller::{Ha, PeerState};

const STATE: Family = family(
    "sluice_ha_peer_state",
    "Of another node: 1 dead, 2 has not told all that it knows, 3 present, 4 lives out of reach.",
);
const PATH: Family = family(
    "sluice_ha_peer_path_up",
    "1 if heartbeats come and go between this node and another one by the path, 0 if not.",
);
const LAG: Family = family(
    "sluice_ha_peer_lag_frames",
    "Frames of records that another node has not acknowledged.",
);
const UNTOLD: Family = family(
    "sluice_ha_peer_untold_sessions",
    "Sessions of this node that another one may not know yet.",
);
const DIGEST_AGE: Family = family(
    "sluice_ha_peer_digest_age_seconds",
    "Time since all that another node tells was last proven to be what is known here.",
);

pub(super) fn peers(families: &mut Families, ha: &Ha) {
    for peer in &ha.peers {
        let node = peer.node.to_string();
        let of = &[("peer", node.as_str())];
        let state = match peer.state {
            PeerState::Dead => 1,
            PeerState::Joining => 2,
            PeerState::Present => 3,
            PeerState::Unreachable => 4,
        };
        families.gauge(STATE, of, float(state));
        families.gauge(LAG, of, float(peer.lag));
        families.gauge(UNTOLD, of, float(peer.sessions_untold));
        families.gauge(DIGEST_AGE, of, float(peer.digest_age_ms) / MS);
        let paths = [("link", Some(peer.ha_link)), ("witness", peer.witness)];
        for (path, up) in paths {
            if let Some(up) = up {
                let labels = &[("peer", node.as_str()), ("path", path)];
                families.gauge(PATH, labels, f64::from(u8::from(up)));
            }
        }
    }
}
