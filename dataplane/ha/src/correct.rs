//! Corrected packets: frames that came in at one node and are handed, untouched but for their MAC
//! addresses, to the node that owns their session.
//!
//! The EtherType stays what it was, so the owner's NIC spreads the packets over its workers as it
//! would have on the port that they were meant for, and no byte of MTU is lost. The destination is the
//! MAC address of the owner's port on the HA link. The source is a locally administered address that
//! says where the packet came in:
//!
//! | bits of the source MAC | meaning |
//! |---|---|
//! | 47..44 | node id of the sender |
//! | 43 | generation of the key, as the low bit of the session's number |
//! | 42 | 1: the packet has been handed on once |
//! | 41..40 | binary 10: locally administered, unicast (IEEE 802 8.4) |
//! | 39..38 | what the receiver is to do ([`Turn`]) |
//! | 37..32 | number of the zone that it came in by |
//! | 31..0 | tag |
//!
//! The tag is SipHash-2-4, cut to 32 bits, of both MAC addresses but for itself and of up to
//! [`COVERED`] bytes from the EtherType on, under a key of the session and the direction. It ends where
//! the IP packet ends, because what is short is padded on its way. It keeps
//! strangers' frames out of the ports that they are not on: who guesses is right once in four billion
//! frames, each of which is counted. Whoever records a corrected packet can repeat it, as he could on
//! the wire that it came from; what the packet contains is as open as it was there.
//!
//! Between two nodes a packet is handed on once, and is judged where it comes to. Where there are more
//! it may not be known who has its session: then it is shown to one node after the other, in the
//! order of their ids, until one knows. Whoever is taken for the owner by somebody who knows less may
//! hand it on once more. [`Turn`] only ever counts up from there, so no packet can circle.
//!
//! Source addresses differ from packet to packet. The HA link is a cable, or a VLAN whose switch does
//! not learn addresses.

use siphasher::sip::SipHasher24;
use sluice_wire::bytes::be16;

use crate::frame::MAX_NODES;
use crate::hello::Session;

/// Bytes from the EtherType on that the tag covers: all of an IPv4 header with ports, addresses and
/// next header of IPv6.
pub const COVERED: usize = 50;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const HOP: u8 = 1 << 2;
const KEY: u8 = 1 << 3;
/// Locally administered, unicast.
const LOCAL: u8 = 0b10;
const LOCAL_MASK: u8 = 0b11;

/// What whoever is handed a packet is to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Turn {
    /// Deal with it as the owner of its session. Who knows of another owner than the sender gives it
    /// there, as the last one.
    #[default]
    Owner = 0,
    /// Deal with it if the session is known; otherwise show it to the next node, and if there is
    /// none, judge it.
    Asked = 1,
    /// Deal with it whatever is known.
    Last = 2,
}

impl Turn {
    const fn of(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Owner),
            1 => Some(Self::Asked),
            2 => Some(Self::Last),
            _ => None,
        }
    }
}

/// Zones that a corrected packet can be of: as many as a hello tells of.
pub const ZONES: u8 = crate::hello::MAX_ZONES as u8;
const TURN_SHIFT: u32 = 6;

/// Where a corrected packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The node that handed it over.
    pub node: u8,
    /// That node's number of the zone.
    pub zone: u8,
    /// What is to be done with it.
    pub turn: Turn,
}

/// The node that a frame says it was handed over by. To be believed when [`Codec::unwrap`] does.
#[inline]
pub fn sender(frame: &[u8]) -> Option<u8> {
    let first = *frame.get(6)?;
    (first & (LOCAL_MASK | HOP) == LOCAL | HOP).then_some(first >> 4)
}

/// Why a frame is no corrected packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCorrected {
    /// Its source is no address that [`Codec::wrap`] writes.
    #[error("not marked as a corrected packet")]
    Unmarked,
    /// Of another node than the peer, or under a key that is no longer used.
    #[error("of an unknown node or session")]
    Unknown,
    /// The tag is wrong.
    #[error("damaged or forged")]
    Forged,
}

#[derive(Clone, Copy)]
struct Keys {
    generation: u8,
    me: u8,
    peer: u8,
    to_peer: [u8; 16],
    from_peer: [u8; 16],
}

impl Keys {
    fn new(session: &Session) -> Self {
        let Session {
            me, peer, secret, ..
        } = session;
        let key = |from: u8, to: u8| {
            let bytes = secret.derive(b"", &[b"sluice ha correct", &[from, to]]);
            let mut key = [0; 16];
            key.copy_from_slice(&bytes[..16]);
            key
        };
        Self {
            generation: session.id as u8 & 1,
            me: *me,
            peer: *peer,
            to_peer: key(*me, *peer),
            from_peer: key(*peer, *me),
        }
    }
}

/// Rewrites MAC addresses of packets to and from one peer.
#[derive(Clone, Default)]
pub struct Codec {
    keys: Option<Keys>,
    before: Option<Keys>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec")
            .field("peer", &self.keys.map(|keys| keys.peer))
            .finish_non_exhaustive()
    }
}

impl Codec {
    /// For a session.
    pub fn new(session: &Session) -> Self {
        let mut codec = Self::default();
        codec.associate(session);
        codec
    }

    /// Uses the keys of a session. Packets under those of the session before are still accepted.
    pub fn associate(&mut self, session: &Session) {
        self.before = self.keys.replace(Keys::new(session));
    }

    /// Rewrites the MAC addresses of an Ethernet frame that came in by zone `zone`. False, with nothing
    /// changed, if there is no session or no Ethernet header, or if the zone is none of [`ZONES`].
    #[inline]
    pub fn wrap(&self, frame: &mut [u8], destination: [u8; 6], zone: u8, turn: Turn) -> bool {
        let (Some(keys), true) = (&self.keys, frame.len() >= 14 && zone < ZONES) else {
            return false;
        };
        debug_assert!(keys.me < MAX_NODES);
        let key = if keys.generation == 1 { KEY } else { 0 };
        let first = (keys.me << 4) | key | HOP | LOCAL;
        frame[..6].copy_from_slice(&destination);
        [frame[6], frame[7]] = [first, (turn as u8) << TURN_SHIFT | zone];
        let tag = tag(&keys.to_peer, frame);
        frame[8..12].copy_from_slice(&tag);
        true
    }

    /// Tells where a frame came in that the peer's [`Codec::wrap`] rewrote.
    ///
    /// # Errors
    /// [`NotCorrected`]
    #[inline]
    pub fn unwrap(&self, frame: &[u8]) -> Result<Origin, NotCorrected> {
        let &[_, _, _, _, _, _, first, zone, a, b, c, d, _, _] =
            frame.first_chunk::<14>().ok_or(NotCorrected::Unmarked)?;
        let turn = Turn::of(zone >> TURN_SHIFT).ok_or(NotCorrected::Unmarked)?;
        let zone = zone & (ZONES - 1);
        if first & (LOCAL_MASK | HOP) != LOCAL | HOP {
            return Err(NotCorrected::Unmarked);
        }
        let generation = u8::from(first & KEY != 0);
        let mut refused = NotCorrected::Unknown;
        for keys in [&self.keys, &self.before].into_iter().flatten() {
            if keys.generation != generation || keys.peer != first >> 4 {
                continue;
            }
            if tag(&keys.from_peer, frame) == [a, b, c, d] {
                let node = keys.peer;
                return Ok(Origin { node, zone, turn });
            }
            refused = NotCorrected::Forged;
        }
        Err(refused)
    }
}

/// Where the packet ends: nothing behind that survives the wire unchanged.
#[inline]
fn packet_end(frame: &[u8]) -> usize {
    let len = match be16(frame, 12) {
        Some(IPV4) => be16(frame, 16).map(usize::from),
        Some(IPV6) => be16(frame, 18).map(|payload| 40 + usize::from(payload)),
        _ => None,
    };
    len.map_or(frame.len(), |len| frame.len().min(14 + len))
}

#[inline]
fn tag(key: &[u8; 16], frame: &[u8]) -> [u8; 4] {
    // In one piece: SipHash of several takes twice as long.
    let mut covered = [0; 8 + COVERED];
    let len = packet_end(frame).clamp(14, 12 + COVERED) - 12;
    covered[..8].copy_from_slice(&frame[..8]);
    covered[8..8 + len].copy_from_slice(&frame[12..12 + len]);
    let hash = SipHasher24::new_with_key(key).hash(&covered[..8 + len]);
    ((hash >> 32) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests;
