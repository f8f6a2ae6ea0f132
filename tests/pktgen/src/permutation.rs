//! A random-looking order of 0..n that needs no table.

/// A bijection of 0..n onto itself.
///
/// Rounds of an odd multiplication and a shift mix the next power of two bijectively; what falls
/// outside of 0..n is mixed again until it does not ("cycle walking"), twice on average at worst.
/// It is no cipher: it is there so that neither a prefetcher nor the order in which a table was
/// filled helps who looks the numbers up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permutation {
    len: u32,
    mask: u32,
    shift: u32,
}

/// Odd factors, and what is added (splitmix64 and xxHash have these primes).
const ROUNDS: [(u32, u32); 3] = [
    (0x9e37_79b1, 0x85eb_ca77),
    (0xc2b2_ae3d, 0x27d4_eb2f),
    (0x1656_67b1, 0x1b87_3593),
];

impl Permutation {
    /// Of 0..len, which is not empty.
    pub(crate) fn new(len: u32) -> Self {
        let bits = u32::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            len: len.max(1),
            mask: u32::MAX.checked_shr(u32::BITS - bits).unwrap_or(0),
            shift: bits.div_ceil(2).max(1),
        }
    }

    /// The number at this place of the order.
    #[inline]
    pub(crate) fn at(&self, place: u32) -> u32 {
        let mut number = self.mix(place);
        while number >= self.len {
            number = self.mix(number);
        }
        number
    }

    #[inline]
    fn mix(&self, mut x: u32) -> u32 {
        for (factor, add) in ROUNDS {
            x = x.wrapping_mul(factor).wrapping_add(add) & self.mask;
            x ^= x >> self.shift;
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_exactly_once() {
        for len in (1..=300).chain([1000, 4096, 4097, 64_512, 1_032_192]) {
            let order = Permutation::new(len);
            let mut seen = vec![false; len as usize];
            for place in 0..len {
                let number = order.at(place) as usize;
                assert!(
                    !std::mem::replace(&mut seen[number], true),
                    "{number} of {len}"
                );
            }
            assert!(seen.iter().all(|seen| *seen), "{len}");
        }
    }

    #[test]
    fn neighbours_in_the_order_are_far_apart() {
        let len = 1 << 20;
        let order = Permutation::new(len);
        let near = (1..len)
            .filter(|&place| order.at(place).abs_diff(order.at(place - 1)) < 64)
            .count();
        // By chance it would be 128 of a million.
        assert!(near < 1000, "{near}");
        let mut strides: Vec<u32> = (1..4096)
            .map(|place| order.at(place).wrapping_sub(order.at(place - 1)))
            .collect();
        strides.sort_unstable();
        strides.dedup();
        assert!(strides.len() > 3000, "{} strides", strides.len());
    }
}
