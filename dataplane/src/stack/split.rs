//! Cutting IPv4 packets that are too large for the next link (RFC 791 section 3.2).

use arrayvec::ArrayVec;
use sluice_wire::bytes::{put_be16, u8_at};
use sluice_wire::ipv4::{self, field};

use crate::io::Frame;

#[cfg(test)]
mod tests;

/// Most pieces that a packet is cut into: 9,000 bytes for a link of 296, 1,500 for one of 68.
pub const MAX_PIECES: usize = 40;

/// The pieces, in order.
pub type Pieces<F> = ArrayVec<F, MAX_PIECES>;

/// Why a packet was not cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its sender forbids it (or it is no IPv4 packet): tell it the MTU.
    DontFragment,
    /// It would take more than [`MAX_PIECES`].
    TooMany,
    /// No packet buffers for the pieces.
    NoBuffer,
}

/// Cuts a frame, whose IPv4 packet begins at `l3`, into frames with packets of at most `mtu` bytes.
/// The frame itself becomes the first; `alloc` gives empty ones for the others. Ethernet headers are
/// copied. A packet that fits is given back as it is.
///
/// `id` replaces the identification of a packet that was whole, for one whose source is translated
/// (see [`crate::stack::ident`]); a packet that is a fragment already keeps the one it has.
///
/// # Errors
/// The frame, unchanged, with the reason.
pub fn split<F: Frame>(
    frame: F,
    l3: usize,
    mtu: u16,
    id: Option<u16>,
    alloc: impl FnMut() -> Option<F>,
) -> Result<Pieces<F>, (F, Refusal)> {
    let packet = frame.bytes().get(l3..).unwrap_or_default();
    let Ok(header) = ipv4::parse(packet) else {
        return Err((frame, Refusal::DontFragment));
    };
    if header.total_len > packet.len() {
        return Err((frame, Refusal::DontFragment));
    }
    if header.total_len <= usize::from(mtu) {
        return Ok(Pieces::from_iter([frame]));
    }
    if header.fragment & ipv4::DONT_FRAGMENT != 0 {
        return Err((frame, Refusal::DontFragment));
    }
    let options = packet
        .get(ipv4::MIN_LEN..header.header_len)
        .unwrap_or_default();
    let plan = Plan {
        l3,
        mtu: usize::from(mtu),
        header,
        id,
        options: copied(options),
    };
    match plan.count() {
        Some(count) if count <= MAX_PIECES => plan.cut(frame, count, alloc),
        _ => Err((frame, Refusal::TooMany)),
    }
}

/// Options of later pieces: those with the copy bit, padded to a multiple of four with end-of-list.
fn copied(options: &[u8]) -> ArrayVec<u8, 40> {
    const COPY: u8 = 0x80;
    let mut copied = ArrayVec::new();
    let mut at = 0;
    while let Some(kind) = u8_at(options, at) {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(u8_at(options, at + 1).unwrap_or(0)).max(2),
        };
        let Some(option) = options.get(at..at + len) else {
            break;
        };
        if kind & COPY != 0 {
            // Never full: copies are no longer than the 40 bytes that options can have.
            let _ = copied.try_extend_from_slice(option);
        }
        at += len;
    }
    while copied.len() % 4 != 0 && copied.try_push(0).is_ok() {}
    copied
}

struct Plan {
    l3: usize,
    mtu: usize,
    header: ipv4::Header,
    id: Option<u16>,
    options: ArrayVec<u8, 40>,
}

impl Plan {
    /// Payload bytes of the first piece, and of each between it and the last; `None` if the MTU
    /// does not even take a header and eight bytes.
    fn payloads(&self) -> Option<(usize, usize)> {
        let room = |header_len: usize| self.mtu.checked_sub(header_len).map(|room| room & !7);
        let first = room(self.header.header_len)?;
        let later = room(ipv4::MIN_LEN + self.options.len())?;
        (first > 0 && later > 0).then_some((first, later))
    }

    fn count(&self) -> Option<usize> {
        let (first, later) = self.payloads()?;
        let rest = self.header.total_len - self.header.header_len;
        Some(1 + rest.saturating_sub(first).div_ceil(later))
    }

    fn cut<F: Frame>(
        &self,
        mut frame: F,
        count: usize,
        mut alloc: impl FnMut() -> Option<F>,
    ) -> Result<Pieces<F>, (F, Refusal)> {
        let Some((first, later)) = self.payloads() else {
            return Err((frame, Refusal::TooMany));
        };
        let mut rest: Pieces<F> = Pieces::new();
        let mut from = first;
        for _ in 1..count {
            let Some(piece) = alloc().and_then(|piece| self.later(piece, &frame, from, later))
            else {
                return Err((frame, Refusal::NoBuffer));
            };
            rest.push(piece);
            from += later;
        }
        let word = self.header.fragment | ipv4::MORE_FRAGMENTS;
        let len = self.header.header_len + first;
        if !frame.set_len(self.l3 + len) {
            return Err((frame, Refusal::NoBuffer));
        }
        if let Some(packet) = frame.bytes_mut().get_mut(self.l3..) {
            self.finish(packet, len, word);
        }
        // At most `MAX_PIECES` of them: the caller has looked at `count`.
        Ok(std::iter::once(frame).chain(rest).collect())
    }

    /// Fills a piece with the payload from offset `from` on, at most `most` bytes of it.
    fn later<F: Frame>(&self, mut piece: F, whole: &F, from: usize, most: usize) -> Option<F> {
        let bytes = whole.bytes();
        let (ether, packet) = bytes.split_at_checked(self.l3)?;
        let payload = packet.get(self.header.header_len..self.header.total_len)?;
        let last = payload.len() - from <= most;
        let part = payload.get(from..from + most.min(payload.len() - from))?;
        let header_len = ipv4::MIN_LEN + self.options.len();
        let len = header_len + part.len();
        if !piece.set_len(self.l3 + len) {
            return None;
        }
        let out = piece.bytes_mut();
        out.get_mut(..self.l3)?.copy_from_slice(ether);
        let out = out.get_mut(self.l3..)?;
        out.get_mut(..ipv4::MIN_LEN)?
            .copy_from_slice(packet.get(..ipv4::MIN_LEN)?);
        out.get_mut(ipv4::MIN_LEN..header_len)?
            .copy_from_slice(&self.options);
        out.get_mut(header_len..)?.copy_from_slice(part);
        *out.first_mut()? = 0x40 | (header_len / 4) as u8;
        // Offsets count from the start of the datagram, of which this packet may be a part.
        let offset = (self.header.offset() + from) as u16 >> 3;
        let more = if last {
            self.header.fragment & ipv4::MORE_FRAGMENTS
        } else {
            ipv4::MORE_FRAGMENTS
        };
        self.finish(out, len, offset | more);
        Some(piece)
    }

    fn finish(&self, packet: &mut [u8], len: usize, word: u16) {
        put_be16(packet, field::TOTAL_LEN, len as u16);
        put_be16(packet, field::FRAGMENT, word);
        let was_whole = self.header.offset() == 0 && !self.header.more();
        if let Some(id) = self.id.filter(|_| was_whole) {
            put_be16(packet, field::ID, id);
        }
        ipv4::reseal(packet);
    }
}
