//! Identification values for fragmented datagrams whose source we changed.
//!
//! Two hosts behind one SNAT address may use the same identification towards the same receiver,
//! which would then mix their fragments (RFC 4787 section 11, RFC 6864 section 5.3). So all pieces
//! of such a datagram get a new value, which no worker of this node gives out again before all of
//! its own have been used.

/// One worker's values, for IPv4 (16 bits) or IPv6 (32 bits).
///
/// The range is divided among the workers. Each walks through its share in an order that its secret
/// decides, so that who sees some values cannot tell the next ones (RFC 7739 says what those are
/// good for). That order is a mixing of a counter, not a cipher.
#[derive(Debug, Clone)]
pub struct Idents {
    counter: u32,
    secret: u64,
    /// Values of this worker: those with `base` above so many bits.
    bits: u32,
    base: u32,
}

impl Idents {
    /// IPv4: 65,536 values, divided by the number of workers rounded up to a power of two.
    pub fn v4(worker: u16, workers: u16, secret: u64) -> Self {
        Self::new(16, worker, workers, secret)
    }

    /// IPv6: 2^32 values, divided in the same way.
    pub fn v6(worker: u16, workers: u16, secret: u64) -> Self {
        Self::new(32, worker, workers, secret)
    }

    fn new(width: u32, worker: u16, workers: u16, secret: u64) -> Self {
        let shares = u32::from(workers.max(worker.saturating_add(1))).next_power_of_two();
        let bits = width - shares.trailing_zeros().min(width - 1);
        Self {
            counter: (secret >> 32) as u32,
            secret,
            bits,
            base: u32::from(worker).checked_shl(bits).unwrap_or(0),
        }
    }

    /// The next value.
    pub fn draw(&mut self) -> u32 {
        self.counter = self.counter.wrapping_add(1);
        self.base | self.mix(self.counter & self.mask())
    }

    fn mask(&self) -> u32 {
        u32::MAX >> (32 - self.bits)
    }

    /// A permutation of the numbers of `bits` bits: each step can be undone.
    fn mix(&self, value: u32) -> u32 {
        let mut value = value;
        for round in 0..3 {
            let key = (self.secret >> (round * 20)) as u32;
            value = value.wrapping_add(key).wrapping_mul(key | 1) & self.mask();
            value ^= value >> (self.bits / 2).max(1);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_value_comes_twice_on_any_worker_before_all_are_used() {
        let mut seen = HashSet::new();
        for worker in 0..3 {
            let secret = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(worker) + 1);
            let mut idents = Idents::v4(worker, 3, secret);
            for _ in 0..1 << 14 {
                let id = idents.draw();
                assert!(id <= 0xffff && seen.insert(id), "worker {worker}: {id}");
            }
        }
    }

    #[test]
    fn one_worker_has_the_whole_range_and_the_order_is_its_own() {
        let mut idents = Idents::v4(0, 1, 0x0123_4567_89ab_cdef);
        let values: Vec<_> = (0..1 << 16).map(|_| idents.draw()).collect();
        assert_eq!(values.iter().collect::<HashSet<_>>().len(), 1 << 16);
        let steps: HashSet<_> = values
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        assert!(steps.len() > 100, "not a plain counter");
        let mut alone = Idents::v6(0, 1, 0x0123_4567_89ab_cdef);
        assert_ne!(alone.draw(), alone.draw());
        let mut wide = Idents::v6(1, 2, 0x0123_4567_89ab_cdef);
        assert!((0..1000).all(|_| wide.draw() >= 1 << 31));
    }
}
