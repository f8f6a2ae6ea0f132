//! Sessions for tests of this crate.

use crate::hello::{Association, Event, Node, Session, Zones};
use crate::seal::{KEY_LEN, Keyring, PreShared};

pub(crate) fn node(id: u8, boot: u64) -> Node {
    Node {
        id,
        boot,
        workers: 1,
        capabilities: u64::MAX,
        window: 64,
        mtu: 600,
        config: 0,
        zones: Zones::default(),
    }
}

pub(crate) fn ring() -> Keyring {
    Keyring::Sealed {
        current: PreShared {
            id: 1,
            secret: [5; KEY_LEN],
        },
        also: None,
    }
}

/// The session that two nodes with these boot ids agree on.
pub(crate) fn sessions(boots: [u64; 2]) -> [Session; 2] {
    let seed = |id: u8| [id * 100 + boots[usize::from(id)] as u8; KEY_LEN];
    let mut nodes = [0, 1]
        .map(|id| Association::new(node(id, boots[usize::from(id)]), 1 - id, ring(), seed(id)));
    for now in 0..100 {
        for from in [0, 1] {
            let mut buffer = [0; 500];
            if let Some(len) = nodes[from].poll_transmit(now, &mut buffer) {
                let event = nodes[1 - from].handle(&buffer[..len], now);
                assert!(matches!(event, Ok(None | Some(Event::Session(_)))));
            }
        }
    }
    nodes.map(|node| *node.session().expect("session"))
}
