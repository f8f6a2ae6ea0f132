//! Which bytes of a datagram have been seen.

use super::ArrayVec;

/// Most separate runs of bytes. In order, or in reverse, there is one; 45 pieces shuffled have
/// about a dozen at the worst moment.
const RUNS: usize = 24;

/// Why a piece does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// All its bytes have been seen.
    Duplicate,
    /// Some of its bytes have been seen and some have not, or it contradicts the datagram's end.
    Overlap,
    /// Too many gaps already.
    TooScattered,
}

/// Runs of bytes that were seen, and where the datagram ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// (start, end), ascending, with gaps between them.
    runs: ArrayVec<(u16, u16), RUNS>,
    /// Length of the datagram, once its last piece was seen.
    total: Option<u16>,
}

impl Coverage {
    /// Nothing seen.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// All seen.
    pub(super) fn is_complete(&self) -> bool {
        self.total
            .is_some_and(|total| self.runs.as_slice() == [(0, total)])
    }

    /// Adds a piece, or refuses it and stays as it is.
    pub(super) fn add(&mut self, start: u16, len: u16, more: bool) -> Result<(), Refused> {
        let end = start.checked_add(len).ok_or(Refused::Overlap)?;
        // The first run that does not end before the piece starts: all that touch come from there.
        let from = self.runs.partition_point(|run| run.1 < start);
        let duplicate = self.runs[from..]
            .first()
            .is_some_and(|run| run.0 <= start && end <= run.1);
        let seen_to = self.runs.last().map_or(0, |run| run.1);
        let ends_wrong = if more {
            self.total.is_some_and(|total| end > total)
        } else {
            self.total.is_some_and(|total| end != total) || seen_to > end
        };
        // A piece that was not the last before and now claims to be is not the same piece.
        if ends_wrong || (duplicate && !more && self.total.is_none()) {
            return Err(Refused::Overlap);
        }
        if duplicate {
            return Err(Refused::Duplicate);
        }
        let to = from + self.runs[from..].partition_point(|run| run.0 <= end);
        let mut merged = (start, end);
        match &self.runs[from..to] {
            [] if self.runs.is_full() => return Err(Refused::TooScattered),
            [] => {}
            [run] if run.1 == start => merged.0 = run.0,
            [run] if run.0 == end => merged.1 = run.1,
            [before, after] if before.1 == start && after.0 == end => merged = (before.0, after.1),
            _ => return Err(Refused::Overlap),
        }
        self.runs.drain(from..to);
        self.runs.insert(from, merged);
        if !more {
            self.total = Some(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coverage(pieces: &[(u16, u16, bool)]) -> Coverage {
        let mut coverage = Coverage::default();
        for &(start, len, more) in pieces {
            coverage.add(start, len, more).unwrap();
        }
        coverage
    }

    #[test]
    fn pieces_join_in_any_order() {
        for order in [
            [0, 1, 2],
            [2, 1, 0],
            [1, 0, 2],
            [0, 2, 1],
            [2, 0, 1],
            [1, 2, 0],
        ] {
            let pieces = [(0, 8, true), (8, 16, true), (24, 3, false)];
            let seen = coverage(&order.map(|nth: usize| pieces[nth]));
            assert!(seen.is_complete(), "{order:?}");
        }
        assert!(!coverage(&[(0, 8, true), (16, 8, false)]).is_complete());
        assert!(!coverage(&[(0, 8, true), (8, 8, true)]).is_complete());
    }

    #[test]
    fn what_was_seen_is_a_duplicate_and_what_half_was_an_overlap() {
        let mut seen = coverage(&[(8, 16, true), (32, 8, true)]);
        for (start, len) in [(8, 16), (8, 8), (16, 8), (32, 8)] {
            assert_eq!(seen.add(start, len, true), Err(Refused::Duplicate));
        }
        for (start, len) in [(0, 16), (16, 16), (0, 64), (24, 16), (16, 24)] {
            assert_eq!(seen.add(start, len, true), Err(Refused::Overlap));
        }
    }

    #[test]
    fn the_end_of_a_datagram_does_not_move() {
        let mut seen = coverage(&[(16, 8, true)]);
        assert_eq!(seen.add(8, 8, false), Err(Refused::Overlap), "seen beyond");
        assert_eq!(
            seen.add(16, 8, false),
            Err(Refused::Overlap),
            "was not the last"
        );
        seen.add(24, 8, false).unwrap();
        assert_eq!(seen.add(24, 8, false), Err(Refused::Duplicate));
        assert_eq!(
            seen.add(32, 8, true),
            Err(Refused::Overlap),
            "beyond the end"
        );
        assert_eq!(
            seen.add(32, 8, false),
            Err(Refused::Overlap),
            "a second end"
        );
        assert_eq!(
            seen.add(24, 4, false),
            Err(Refused::Overlap),
            "an earlier end"
        );
    }

    #[test]
    fn too_many_gaps_are_refused_and_closing_one_is_not() {
        let mut seen = Coverage::default();
        for nth in 0..RUNS as u16 {
            seen.add(nth * 16, 8, true).unwrap();
        }
        assert_eq!(seen.add(1600, 8, true), Err(Refused::TooScattered));
        seen.add(8, 8, true).unwrap();
        seen.add(1600, 8, true).unwrap();
    }

    proptest! {
        /// Against one flag per eight bytes.
        #[test]
        fn coverage_is_a_set_of_bytes(
            pieces in prop::collection::vec((0u16..40, 1u16..6, prop::bool::weighted(0.95)), 1..60)
        ) {
            let mut seen = Coverage::default();
            let mut model = [false; 64];
            let mut total = None;
            for (start, len, more) in pieces {
                let range = usize::from(start)..usize::from(start + len);
                let new = !model[range.clone()].iter().any(|seen| *seen);
                let old = model[range.clone()].iter().all(|seen| *seen);
                let end = range.end;
                match seen.add(start * 8, len * 8, more) {
                    Ok(()) => {
                        prop_assert!(new && total.is_none_or(|total| end <= total));
                        model[range].fill(true);
                        if !more {
                            prop_assert!(total.is_none() && !model[end..].contains(&true));
                            total = Some(end);
                        }
                    }
                    Err(Refused::Duplicate) => prop_assert!(old),
                    Err(Refused::Overlap) => {
                        let beyond = model[end..].contains(&true);
                        let moves = total.is_some_and(|t| if more { end > t } else { end != t });
                        prop_assert!(!new || (!more && beyond) || moves);
                    }
                    Err(Refused::TooScattered) => prop_assert!(false, "never so few"),
                }
                let complete = total.is_some_and(|total| !model[..total].contains(&false));
                prop_assert_eq!(seen.is_complete(), complete);
            }
        }
    }
}
