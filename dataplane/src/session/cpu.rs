//! The two things that only the processor can say: fetch this line early, and compare eight tags at
//! once. The only file outside `ffi/` with `unsafe` in it, because both are intrinsics that Rust
//! cannot call safely from a function without the matching `#[target_feature]`.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _MM_HINT_T0, _mm_cmpeq_epi16, _mm_loadl_epi64, _mm_loadu_si128, _mm_movemask_epi8,
    _mm_packs_epi16, _mm_prefetch, _mm_set1_epi16,
};

/// Asks for all cache lines of `value`; never waits, never fails.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_nth(std::ptr::from_ref(value), 0);
}

/// Asks for all cache lines of the value `n` places behind `first`, be there one or not.
#[inline(always)]
pub(crate) fn prefetch_nth<T>(first: *const T, n: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        let base = first.wrapping_add(n).cast::<i8>();
        let mut at = 0;
        while at < size_of::<T>() {
            // SAFETY: SSE is part of the x86_64 baseline, so the instruction exists. A prefetch
            // reads nothing that the program can see and cannot fault, whatever its address; the
            // address is computed with wrapping arithmetic, which asks nothing of it either.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(base.wrapping_add(at)) };
            at += 64;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (first, n);
}

/// Bit `i` of the answer says whether `words[i] == tag`, for all twelve words.
#[inline(always)]
pub(crate) fn matches(words: &[u16; 12], tag: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let (low, high) = (words.as_ptr(), words[8..].as_ptr());
        // SAFETY: SSE2 is part of the x86_64 baseline, so all the instructions exist. The first
        // load reads 16 bytes, words 0 to 7, and the second 8 bytes, words 8 to 11, all within
        // `words`; both are unaligned loads, and any bytes are valid integers.
        let mask = unsafe {
            let tags = _mm_set1_epi16(tag.cast_signed());
            let low = _mm_cmpeq_epi16(_mm_loadu_si128(low.cast()), tags);
            let high = _mm_cmpeq_epi16(_mm_loadl_epi64(high.cast()), tags);
            _mm_movemask_epi8(_mm_packs_epi16(low, high))
        };
        // The upper half of the second load is zero and matches tag 0: those bits are cut off.
        mask.cast_unsigned() & 0xfff
    }
    #[cfg(not(target_arch = "x86_64"))]
    matches_scalar(words, tag)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn matches_scalar(words: &[u16; 12], tag: u16) -> u32 {
    words
        .iter()
        .enumerate()
        .fold(0, |mask, (i, &word)| mask | u32::from(word == tag) << i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn simd_and_scalar_search_agree(
            words in prop::array::uniform12(0..4_u16),
            tag in 0..4_u16,
            high in prop::array::uniform12(any::<bool>()),
        ) {
            let mut words = words;
            for (word, high) in words.iter_mut().zip(high) {
                *word |= u16::from(high) << 15;
            }
            for tag in [tag, tag | 0x8000] {
                prop_assert_eq!(matches(&words, tag), matches_scalar(&words, tag));
            }
        }
    }
}
