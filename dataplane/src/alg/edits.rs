//! What rewriting a byte stream did to its sequence numbers.
//!
//! Numbers are the sender's up to here, and the receiver's from here on; they differ by how much all
//! edits before them added. What was put in place of what is kept, so that a repeated segment gets the
//! same bytes. An acknowledgement within an edit counts as one of the byte before it: the sender then
//! repeats all of it.

use arrayvec::ArrayVec;

use crate::tcp::after;

/// Longest text that is put in: `|2|`, an IPv6 address, `|65535|`.
pub const TEXT: usize = 56;
/// Edits of a direction that are kept.
const KEPT: usize = 4;

/// Text for an edit.
pub type Text = ArrayVec<u8, TEXT>;

/// Some bytes of the stream that were replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Their first sequence number, as the sender counts.
    pub at: u32,
    /// How many bytes were replaced.
    pub old: u8,
    /// By what.
    pub text: Text,
}

impl Edit {
    fn end(&self) -> u32 {
        self.at.wrapping_add(u32::from(self.old))
    }

    fn grows(&self) -> u32 {
        (self.text.len() as u32).wrapping_sub(u32::from(self.old))
    }
}

/// The edits of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    kept: ArrayVec<Edit, KEPT>,
    /// What all that are not kept added, modulo 2^32.
    before: u32,
}

impl Edits {
    /// Whether numbers are the same on both sides, and nothing needs to be repeated.
    pub fn is_none(&self) -> bool {
        self.kept.is_empty() && self.before == 0
    }

    /// As if so much had been added before all that is to come, modulo 2^32.
    pub fn shifted(by: u32) -> Self {
        Self {
            before: by,
            ..Self::default()
        }
    }

    /// What all edits together added, modulo 2^32.
    pub fn shift(&self) -> u32 {
        let kept = self.kept.iter().map(Edit::grows);
        kept.fold(self.before, u32::wrapping_add)
    }

    /// Those that are kept, oldest first.
    pub fn kept(&self) -> &[Edit] {
        &self.kept
    }

    /// Whether there is room for another edit, now that all before `acked` (the sender's number) has
    /// reached the receiver.
    pub fn has_room(&self, acked: u32) -> bool {
        !self.kept.is_full()
            || self
                .kept
                .first()
                .is_some_and(|edit| !after(edit.end(), acked))
    }

    /// Adds an edit of what comes after all others. Forgets the oldest if it must: ask
    /// [`Self::has_room`] before.
    pub fn push(&mut self, edit: Edit) {
        if self.kept.is_full()
            && let Some(oldest) = self.kept.pop_at(0)
        {
            self.before = self.before.wrapping_add(oldest.grows());
        }
        self.kept.push(edit);
    }

    /// The receiver's number for the sender's `seq`, at which a segment begins.
    pub fn out(&self, seq: u32) -> u32 {
        let mut added = self.before;
        for edit in &self.kept {
            if !after(seq, edit.at) {
                break;
            }
            if after(edit.end(), seq) {
                return edit.at.wrapping_add(added);
            }
            added = added.wrapping_add(edit.grows());
        }
        seq.wrapping_add(added)
    }

    /// Whether a segment of `len` bytes from the sender's `seq` on has a part of an edit only.
    pub fn cuts(&self, seq: u32, len: u16) -> bool {
        let end = seq.wrapping_add(u32::from(len));
        let parts = |edit: &Edit| {
            let overlaps = after(edit.end(), seq) && after(end, edit.at);
            overlaps && (after(seq, edit.at) || after(edit.end(), end))
        };
        self.kept.iter().any(parts)
    }

    /// The sender's number for what the receiver acknowledges.
    pub fn back(&self, ack: u32) -> u32 {
        self.find(ack).0
    }

    /// The same for the first byte of what it has behind a gap (RFC 2018).
    pub fn back_up(&self, left: u32) -> u32 {
        self.find(left).1
    }

    /// The sender's number: rounded down, and rounded up, where it lies within an edit.
    fn find(&self, number: u32) -> (u32, u32) {
        let mut added = self.before;
        for edit in &self.kept {
            let at = edit.at.wrapping_add(added);
            if !after(number, at) {
                break;
            }
            if after(at.wrapping_add(edit.text.len() as u32), number) {
                return (edit.at, edit.end());
            }
            added = added.wrapping_add(edit.grows());
        }
        let number = number.wrapping_sub(added);
        (number, number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(at: u32, old: u8, new: usize) -> Edit {
        Edit {
            at,
            old,
            text: std::iter::repeat_n(b'x', new).collect(),
        }
    }

    #[test]
    fn numbers_move_behind_an_edit_and_not_before_it() {
        for base in [1000_u32, u32::MAX - 10] {
            let n = |at: u32| base.wrapping_add(at);
            let mut edits = Edits::default();
            edits.push(edit(n(5), 10, 14));
            assert_eq!(edits.out(n(0)), n(0));
            assert_eq!(edits.out(n(5)), n(5));
            assert_eq!(edits.out(n(15)), n(19));
            assert_eq!(edits.back(n(5)), n(5));
            assert_eq!(edits.back(n(19)), n(15));
            // What is acknowledged in part the sender must repeat as a whole.
            assert_eq!(edits.back(n(17)), n(5));
            assert_eq!((edits.back_up(n(17)), edits.back_up(n(21))), (n(15), n(17)));
            assert!(!edits.cuts(n(0), 15) && !edits.cuts(n(15), 9) && !edits.cuts(n(0), 5));
            assert!(edits.cuts(n(0), 14) && edits.cuts(n(6), 20) && edits.cuts(n(7), 2));
        }
    }

    #[test]
    fn what_is_not_acknowledged_keeps_its_place() {
        let mut edits = Edits::default();
        for at in 0..4 {
            assert!(edits.has_room(0));
            edits.push(edit(at * 100, 10, 12));
        }
        assert!(!edits.has_room(9));
        assert!(edits.has_room(10));
        edits.push(edit(400, 10, 8));
        assert_eq!(edits.out(410), 410 + 8 - 2);
        assert_eq!(edits.out(110), 114, "the forgotten one still counts");
        assert_eq!(edits.back(416), 410);
    }

    proptest! {
        /// A stream that is cut anywhere and rewritten by segments is what it is rewritten as a
        /// whole, and acknowledgements come back as what they are of.
        #[test]
        fn numbers_agree_with_the_rewritten_stream(
            base in any::<u32>(),
            spans in prop::collection::vec((0_u32..20, 1_u8..20, 0_usize..20), 0..4),
        ) {
            let mut edits = Edits::default();
            let (mut sent, mut got) = (0_u32, 0_u32);
            // Pairs of numbers that mean the same place.
            let mut places = vec![(0, 0)];
            for (gap, old, new) in spans {
                sent += gap + 1;
                got += gap + 1;
                places.push((sent, got));
                edits.push(edit(base.wrapping_add(sent), old, new));
                sent += u32::from(old);
                got += new as u32;
                sent += 1;
                got += 1;
                places.push((sent, got));
            }
            for (sent, got) in places {
                let (sent, got) = (base.wrapping_add(sent), base.wrapping_add(got));
                prop_assert_eq!(edits.out(sent), got);
                prop_assert_eq!(edits.back(got), sent);
                prop_assert_eq!(edits.back_up(got), sent);
            }
        }
    }
}
