use super::*;
use crate::io::memory::VecFrame;
use crate::stack::testing;

fn cut(frame: &[u8], mtu: u16, id: Option<u16>) -> Result<Vec<Vec<u8>>, Refusal> {
    let room = frame.len();
    let alloc = || Some(VecFrame::new(&[], room));
    match split(VecFrame::new(frame, room), 14, mtu, id, alloc) {
        Ok(pieces) => Ok(pieces.iter().map(|piece| piece.bytes().to_vec()).collect()),
        Err((same, refusal)) => {
            assert_eq!(same.bytes(), frame, "given back as it was");
            Err(refusal)
        }
    }
}

fn word(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[20], frame[21]])
}

/// Checks each piece's header and gives back the payload put together.
fn joined(pieces: &[Vec<u8>], mtu: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    let base = usize::from(word(&pieces[0]) & 0x1fff) * 8;
    for piece in pieces {
        let packet = &piece[14..];
        let header = ipv4::parse(packet).unwrap();
        assert!(ipv4::checksum_ok(packet, header.header_len));
        assert_eq!(header.total_len, packet.len());
        assert!(packet.len() <= mtu);
        assert_eq!(header.offset() - base, payload.len());
        payload.extend(&packet[header.header_len..]);
    }
    payload
}

#[test]
fn a_datagram_is_cut_at_multiples_of_eight() {
    // 20 + 8 + 40 bytes over a link of 50: 24 bytes of payload a piece.
    let data: Vec<u8> = (0..40).collect();
    let frame = testing::udp_v4(&data);
    let pieces = cut(&frame, 50, None).unwrap();
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [58, 58]);
    let mut first = frame[..34 + 24].to_vec();
    first[16..18].copy_from_slice(&[0, 44]);
    first[20..22].copy_from_slice(&[0x20, 0]);
    testing::reseal(&mut first, 14);
    let mut last = [&frame[..34], &frame[34 + 24..]].concat();
    last[16..18].copy_from_slice(&[0, 44]);
    last[20..22].copy_from_slice(&[0, 3]);
    testing::reseal(&mut last, 14);
    assert_eq!(pieces, [first, last]);
}

#[test]
fn what_fits_and_what_must_not_be_cut_stays_whole() {
    let mut frame = testing::udp_v4(&[7; 100]);
    assert_eq!(cut(&frame, 128, None), Ok(vec![frame.clone()]));
    frame[20] = 0x40;
    testing::reseal(&mut frame, 14);
    assert_eq!(cut(&frame, 128, None), Ok(vec![frame.clone()]));
    assert_eq!(cut(&frame, 127, None), Err(Refusal::DontFragment));
    assert_eq!(
        cut(&testing::udp_v6(&[7; 100]), 100, None),
        Err(Refusal::DontFragment)
    );
}

#[test]
fn a_fragment_is_cut_further_and_stays_in_its_place() {
    let mut middle = testing::udp_v4(&[7; 92]);
    middle[20..22].copy_from_slice(&(0x2000_u16 | 185).to_be_bytes());
    testing::reseal(&mut middle, 14);
    let pieces = cut(&middle, 68, Some(0xbeef)).unwrap();
    let words: Vec<_> = pieces.iter().map(|piece| word(piece)).collect();
    assert_eq!(
        words,
        [0x2000 | 185, 0x2000 | 191, 0x2000 | 197],
        "more follows behind each"
    );
    assert_eq!(joined(&pieces, 68), middle[34..]);
    assert!(
        pieces.iter().all(|piece| piece[18..20] == [0x12, 0x34]),
        "keeps its id"
    );
    middle[20] &= !0x20;
    testing::reseal(&mut middle, 14);
    let pieces = cut(&middle, 68, None).unwrap();
    assert_eq!(word(pieces.last().unwrap()), 197, "the last of all");
}

#[test]
fn a_translated_datagram_gets_its_new_identification_in_every_piece() {
    let pieces = cut(&testing::udp_v4(&[7; 200]), 100, Some(0xbeef)).unwrap();
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|piece| piece[18..20] == [0xbe, 0xef]));
    assert_eq!(joined(&pieces, 100).len(), 208);
}

#[test]
fn options_are_copied_as_their_copy_bit_says() {
    // Pitfall 9. Record route (7, not copied) of 7 bytes, then router alert (148, copied), an end.
    let options = [7, 7, 4, 1, 2, 3, 4, 148, 4, 0, 0, 0];
    let frame = testing::udp_v4_options(&[7; 100], &options);
    let pieces = cut(&frame, 80, None).unwrap();
    assert_eq!(pieces[0][34..46], options);
    for piece in &pieces[1..] {
        assert_eq!((piece[14], &piece[34..38]), (0x46, &[148, 4, 0, 0][..]));
    }
    assert_eq!(joined(&pieces, 80), frame[46..]);
}

#[test]
fn ethernet_padding_is_no_payload() {
    let frame = testing::udp_v4(&[7; 64]);
    let mut padded = frame.clone();
    padded.extend([0xee; 9]);
    assert_eq!(joined(&cut(&padded, 60, None).unwrap(), 60), frame[34..]);
}

#[test]
fn pieces_are_bounded_in_number_and_size() {
    let frame = testing::udp_v4(&[7; 1472]);
    assert_eq!(cut(&frame, 68, None).unwrap().len(), 31);
    assert_eq!(cut(&frame, 52, None), Err(Refusal::TooMany));
    for mtu in [0, 19, 20, 27] {
        assert_eq!(cut(&frame, mtu, None), Err(Refusal::TooMany), "{mtu}");
    }
}

#[test]
fn without_buffers_nothing_is_sent_and_nothing_is_lost() {
    let frame = testing::udp_v4(&[7; 1000]);
    let mut left = 2;
    let alloc = || {
        left -= 1;
        (left >= 0).then(|| VecFrame::new(&[], 2000))
    };
    let (same, why) = split(VecFrame::new(&frame, 2000), 14, 300, None, alloc).unwrap_err();
    assert_eq!((same.bytes(), why), (&frame[..], Refusal::NoBuffer));
}
