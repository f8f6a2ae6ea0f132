//! What two nodes agreed on.

use crate::frame::TAG;
use crate::seal::Secret;

use super::body::{Node, Zones};
use super::lanes;

/// Names a session in the header of every datagram.
pub type SessionId = u32;

/// What two nodes agreed on, and the secret that only they know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Node id of this node.
    pub me: u8,
    /// Node id of the peer.
    pub peer: u8,
    /// Boot id of the peer: another one means that it lost what it knew.
    pub peer_boot: u64,
    /// Names the session.
    pub id: SessionId,
    /// Id of the pre-shared key that it comes from.
    pub key_id: u8,
    /// Release of the protocol that is spoken.
    pub version: u8,
    /// What both can do, bits of [`super::capability`].
    pub capabilities: u64,
    /// Lanes: the larger number of workers. Lane `l` joins worker `l % workers` of either node.
    pub lanes: u8,
    /// Frames that the peer keeps for later.
    pub window: u16,
    /// Bytes of the longest datagram that both take.
    pub mtu: u16,
    /// Whether both nodes told the same digest of their configuration.
    pub same_config: bool,
    /// Zones by the peer's numbers.
    pub zones: Zones,
    pub(crate) secret: Secret,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("peer_boot", &self.peer_boot)
            .field("version", &self.version)
            .field("capabilities", &self.capabilities)
            .field("lanes", &self.lanes)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        me: &Node,
        peer: &Node,
        version: u8,
        key_id: u8,
        key: &Secret,
        salt: &[u8],
    ) -> Self {
        let derived = key.derive(salt, &[b"sluice ha session"]);
        let [a, b, c, d, ..] = key.derive(salt, &[b"sluice ha session id"]);
        Self {
            me: me.id,
            peer: peer.id,
            peer_boot: peer.boot,
            id: u32::from_be_bytes([a, b, c, d]).max(1),
            key_id,
            version,
            capabilities: me.capabilities & peer.capabilities,
            lanes: lanes(me.workers, peer.workers),
            window: peer.window,
            mtu: me.mtu.min(peer.mtu),
            same_config: me.config == peer.config,
            zones: peer.zones,
            secret: match key {
                Secret::Key(_) => Secret::Key(derived),
                Secret::Plaintext => Secret::Plaintext,
            },
        }
    }

    /// Bytes of a datagram that header and tag leave to its body.
    pub(crate) fn body(&self) -> usize {
        usize::from(self.mtu).saturating_sub(crate::frame::HEADER + TAG)
    }
}
