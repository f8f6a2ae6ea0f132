//! The replay window, as RFC 6479 does it: a ring of words, of which advancing clears whole ones.

const WORDS: u64 = 32;

/// Which counters were seen. Those further back than the window are taken for seen.
#[derive(Debug, Clone, Default)]
pub struct Window {
    highest: u64,
    words: [u64; WORDS as usize],
}

impl Window {
    /// How far a datagram may come late, counted in datagrams.
    pub const SIZE: u64 = (WORDS - 1) * 64;

    /// Whether `counter` was not seen. Counters begin with 1.
    #[inline]
    pub fn is_new(&self, counter: u64) -> bool {
        if counter > self.highest {
            return true;
        }
        counter != 0
            && self.highest - counter < Self::SIZE
            && self.words[(counter / 64 % WORDS) as usize] & 1 << (counter % 64) == 0
    }

    /// Notes that `counter` was seen. To be called for authentic datagrams only.
    #[inline]
    pub fn note(&mut self, counter: u64) {
        if counter > self.highest {
            let (from, to) = (self.highest / 64, counter / 64);
            for word in 1..=(to - from).min(WORDS) {
                self.words[((from + word) % WORDS) as usize] = 0;
            }
            self.highest = counter;
        }
        self.words[(counter / 64 % WORDS) as usize] |= 1 << (counter % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_new_once() {
        let mut window = Window::default();
        assert!(!window.is_new(0));
        for counter in [1, 2, 64, 63, 5000, 4999, 5000 - Window::SIZE + 1] {
            assert!(window.is_new(counter), "{counter}");
            window.note(counter);
            assert!(!window.is_new(counter), "{counter}");
        }
        assert!(!window.is_new(5000 - Window::SIZE), "too old to tell");
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(
            steps in prop::collection::vec((0..3000_u64, prop::bool::weighted(0.05)), 1..300),
        ) {
            let (mut window, mut seen) = (Window::default(), HashSet::new());
            let mut highest = 0_u64;
            for (step, jump) in steps {
                let counter = if jump {
                    highest + step * 3
                } else {
                    (highest + step % 130).saturating_sub(step % 2100)
                };
                let new = counter != 0
                    && (counter > highest || highest - counter < Window::SIZE)
                    && !seen.contains(&counter);
                prop_assert_eq!(window.is_new(counter), new);
                if new {
                    window.note(counter);
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
