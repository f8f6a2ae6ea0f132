//! Reading and writing at an offset that may lie outside the slice.
//!
//! `be` is host order from network order; `ne` is wire order, the bytes as they stand.

/// The `N` bytes at `at`, or `None` if the slice ends before them.
#[inline]
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// One byte.
#[inline]
pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Two bytes, host order.
#[inline]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Four bytes, host order.
#[inline]
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Two bytes, wire order.
#[inline]
pub fn ne16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

/// Four bytes, wire order.
#[inline]
pub fn ne32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// Eight bytes, wire order.
#[inline]
pub fn ne64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

/// Overwrites `N` bytes at `at`. False, with nothing written, if the slice ends before them.
#[inline]
pub fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> bool {
    match bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        Some(place) => {
            *place = value;
            true
        }
        None => false,
    }
}

/// Overwrites two bytes with a host-order value.
#[inline]
pub fn put_be16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    put(bytes, at, value.to_be_bytes())
}

/// Overwrites four bytes with a host-order value.
#[inline]
pub fn put_be32(bytes: &mut [u8], at: usize, value: u32) -> bool {
    put(bytes, at, value.to_be_bytes())
}

/// Overwrites two bytes with a wire-order value.
#[inline]
pub fn put_ne16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    put(bytes, at, value.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_outside_the_slice_read_nothing_and_write_nothing() {
        let mut bytes = [1, 2, 3, 4];
        assert_eq!(be16(&bytes, 2), Some(0x0304));
        for at in [3, 4, 5, usize::MAX] {
            assert_eq!(be16(&bytes, at), None);
            assert!(!put_be16(&mut bytes, at, 0xffff));
        }
        assert_eq!(bytes, [1, 2, 3, 4]);
    }
}
