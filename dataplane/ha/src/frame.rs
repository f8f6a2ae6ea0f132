//! The header of every datagram on the HA link.
//!
//! A datagram is what follows the Ethernet header ([`ETHERTYPE`]), or the payload of a UDP packet on
//! the second path. It has a header of [`HEADER`] bytes, a body, and a tag of [`TAG`] bytes; the
//! header says how long body and tag are, because Ethernet pads what is short.

use crate::bytes::{In, Out};

/// IEEE 802's "local experimental EtherType 1", which is meant for private networks such as a link
/// between two nodes.
pub const ETHERTYPE: u16 = 0x88b5;
/// Bytes before the body.
pub const HEADER: usize = 24;
/// Bytes after the body.
pub const TAG: usize = 16;
/// The lane of everything that is not a stream of records.
pub const CONTROL_LANE: u8 = 0xff;
/// Lanes that two nodes can have, as many as workers.
pub const MAX_LANES: usize = 64;
/// Nodes of a cluster. Ids run from 0.
pub const MAX_NODES: u8 = 16;
/// The release of the protocol that this code speaks, and the oldest that it understands.
pub const VERSIONS: std::ops::RangeInclusive<u8> = 1..=1;
/// What a hello has in place of the version: its format is the same in all of them.
pub(crate) const HELLO_VERSION: u8 = 0;

const MAGIC: u16 = 0x534c;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Greeting: who is there, since when, and what it can do. Authenticated, not secret.
    Hello = 1,
    /// Records and acknowledgements of one lane.
    Stream = 2,
    /// Heartbeats and roles.
    Control = 3,
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Release of the protocol.
    pub version: u8,
    /// What it is.
    pub kind: Kind,
    /// Node id of the sender.
    pub from: u8,
    /// Node id that it is meant for.
    pub to: u8,
    /// Lane, or [`CONTROL_LANE`].
    pub lane: u8,
    /// Which of the pre-shared keys.
    pub key_id: u8,
    /// Names the session between two boots of the nodes; 0 in a hello.
    pub session: u32,
    /// Bytes of body and tag.
    pub len: u16,
    /// Number of the datagram among those under its key.
    pub counter: u64,
}

/// Why a datagram was not accepted. Each has a counter at its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too short, of another protocol, or with lengths that make no sense.
    #[error("not a datagram of this protocol")]
    Malformed,
    /// A release of the protocol that is not spoken here.
    #[error("another version of the protocol")]
    Version,
    /// For another node, or from a node that is not expected here.
    #[error("not from or not for the expected node")]
    Node,
    /// Sealed with a pre-shared key that is not known here.
    #[error("unknown key")]
    Key,
    /// Of an earlier or later session: the sender or we started anew.
    #[error("of another session")]
    Session,
    /// Its tag is wrong: damaged or forged.
    #[error("damaged or forged")]
    Forged,
    /// It was accepted before, or is too old to tell.
    #[error("seen before")]
    Replayed,
}

/// Reads the header. What it says is believed by nobody before the tag was checked; until then it
/// serves to find the worker that has the key.
///
/// # Errors
/// [`Refused::Malformed`]
#[inline]
pub fn peek(datagram: &[u8]) -> Result<Header, Refused> {
    parse(datagram).ok_or(Refused::Malformed)
}

fn parse(datagram: &[u8]) -> Option<Header> {
    let mut input = In(datagram);
    if input.u16()? != MAGIC {
        return None;
    }
    let [version, kind, from, to, lane, key_id] = input.take()?;
    let session = input.u32()?;
    let len = input.u16()?;
    let _reserved = input.u16()?;
    let counter = input.u64()?;
    if usize::from(len) < TAG || input.0.len() < usize::from(len) {
        return None;
    }
    let kind = match kind {
        1 => Kind::Hello,
        2 => Kind::Stream,
        3 => Kind::Control,
        _ => return None,
    };
    Some(Header {
        version,
        kind,
        from,
        to,
        lane,
        key_id,
        session,
        len,
        counter,
    })
}

impl Header {
    /// Writes the header to the start of `datagram`; `None` if that is too short.
    #[inline]
    pub(crate) fn write(&self, datagram: &mut [u8]) -> Option<()> {
        let mut out = Out::new(datagram.get_mut(..HEADER)?);
        out.u16(MAGIC);
        out.put([
            self.version,
            self.kind as u8,
            self.from,
            self.to,
            self.lane,
            self.key_id,
        ]);
        out.u32(self.session);
        out.u16(self.len);
        out.u16(0);
        out.u64(self.counter);
        out.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 42] = [
        0x53, 0x4c, 1, 2, 3, 4, 5, 6, // magic, version, stream, from, to, lane, key
        0xde, 0xad, 0xbe, 0xef, 0, 18, 0, 0, // session, length, reserved
        0, 0, 0, 1, 0, 0, 0, 2, // counter
        7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, // body and tag
    ];
    const HEADER_OF_BYTES: Header = Header {
        version: 1,
        kind: Kind::Stream,
        from: 3,
        to: 4,
        lane: 5,
        key_id: 6,
        session: 0xdead_beef,
        len: 18,
        counter: 0x1_0000_0002,
    };

    #[test]
    fn a_header_is_these_bytes() {
        assert_eq!(peek(&BYTES), Ok(HEADER_OF_BYTES));
        let mut written = BYTES;
        written[..HEADER].fill(0xaa);
        HEADER_OF_BYTES.write(&mut written).expect("room");
        assert_eq!(written, BYTES);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for len in 0..BYTES.len() {
            assert_eq!(peek(&BYTES[..len]), Err(Refused::Malformed), "{len}");
        }
        let mut bytes = BYTES;
        bytes[13] = 15; // shorter than a tag
        assert_eq!(peek(&bytes), Err(Refused::Malformed));
        bytes[12] = 0xff;
        assert_eq!(peek(&bytes), Err(Refused::Malformed));
        let padded = [&BYTES[..], &[0; 20]].concat();
        assert_eq!(peek(&padded), Ok(HEADER_OF_BYTES));
    }

    #[test]
    fn other_protocols_on_the_ethertype_are_refused() {
        for at in [0, 1, 3] {
            let mut bytes = BYTES;
            bytes[at] ^= 0x40;
            assert_eq!(peek(&bytes), Err(Refused::Malformed));
        }
    }
}
