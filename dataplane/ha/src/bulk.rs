//! Bulk sync: telling everything to a node that lacks some, while traffic and changes go on.
//!
//! What is told goes into the same stream as the changes, from the worker that makes them. So each
//! session is told as it is at that moment, later changes come later, and a session that ends before
//! its turn is not told at all. Nothing can be overwritten by something older, and nothing comes back
//! to life.
//!
//! What the receiver has and was *not* told of between begin and end no longer exists. It marks each
//! session that it is told of with the number of the round ([`Receiver::mark`]), and at the end sweeps
//! those of this lane that bear another mark.
//!
//! The same serves to repair single buckets of the [`crate::digest`].

use crate::digest::{BUCKETS, Place};
use crate::lane::Lane;
use crate::record::Record;

/// Each bucket takes a walk through the whole table. Where more than these are wanted at once, it is
/// less work to tell everything.
const SINGLE_BUCKETS: u32 = 4;

/// What the next session of the table is; see [`Sender::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A session, by [`Record::Session4`] or [`Record::Session6`], or whose it is, by
    /// [`Record::Pointer4`] or [`Record::Pointer6`]; or a mapping or client, which is
    /// told in whole rounds only.
    Tell(Record),
    /// Nothing at this position.
    Nothing,
    /// The table ends here.
    End,
}

/// What is told: everything, or the sessions of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The sessions of one bucket of the digest.
    Bucket(u16),
}

impl Scope {
    /// Whether the session at this place is to be told.
    pub fn has(self, place: Place) -> bool {
        match self {
            Self::All => true,
            Self::Bucket(bucket) => place.bucket() == bucket,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Round {
    scope: Scope,
    begun: bool,
    cursor: u64,
    told: u64,
}

/// Tells what one worker has.
#[derive(Debug, Default)]
pub struct Sender {
    number: u16,
    round: Option<Round>,
    /// Buckets to be told, one bit each.
    wanted: [u64; BUCKETS / 64],
}

impl Sender {
    /// Tells everything, from the start: the lane has opened.
    pub fn start(&mut self) {
        self.wanted = [0; BUCKETS / 64];
        self.begin(Scope::All);
    }

    /// Tells the sessions of one bucket: the peer asked for it. Whole rounds come first, and make
    /// this needless.
    pub fn repair(&mut self, bucket: u16) {
        if !matches!(&self.round, Some(round) if round.scope == Scope::All)
            && let Some(word) = self.wanted.get_mut(usize::from(bucket) / 64)
        {
            *word |= 1 << (bucket % 64);
        }
    }

    fn begin(&mut self, scope: Scope) {
        // 0 is for lanes on which there is nothing to tell.
        self.number = self.number.wrapping_add(1).max(1);
        self.round = Some(Round {
            scope,
            begun: false,
            cursor: 0,
            told: 0,
        });
    }

    /// Whether everything was told that has to be.
    pub fn is_done(&self) -> bool {
        self.round.is_none() && self.wanted == [0; BUCKETS / 64]
    }

    fn next_wanted(&mut self) -> Option<u16> {
        let at = self.wanted.iter().position(|&word| word != 0)?;
        let bit = self.wanted[at].trailing_zeros();
        self.wanted[at] &= self.wanted[at] - 1;
        Some(at as u16 * 64 + bit as u16)
    }

    /// Goes on, for at most `budget` positions of the table and as long as the lane has room. `next`
    /// says what is at the cursor, which starts at 0 and means what the caller likes, and moves it
    /// on. It is told what is to be told, and may leave out what is not. Gives the number of
    /// sessions told.
    ///
    /// A lane that closes ends the round; call [`Self::start`] when it opens.
    pub fn poll(
        &mut self,
        lane: &mut Lane,
        budget: u32,
        mut next: impl FnMut(&mut u64, Scope) -> Next,
    ) -> u32 {
        let mut told = 0;
        if self.round.is_none() {
            let wanted = self
                .wanted
                .iter()
                .map(|word| word.count_ones())
                .sum::<u32>();
            if wanted > SINGLE_BUCKETS {
                self.start();
            } else {
                match self.next_wanted() {
                    Some(bucket) => self.begin(Scope::Bucket(bucket)),
                    None => return 0,
                }
            }
        }
        let number = self.number;
        let Some(round) = &mut self.round else {
            return 0;
        };
        if !lane.is_open() {
            self.round = None;
            self.wanted = [0; BUCKETS / 64];
            return 0;
        }
        if !round.begun {
            if !lane.has_room() || lane.push(&begin(round.scope, number)).is_err() {
                return 0;
            }
            round.begun = true;
        }
        for _ in 0..budget {
            if !lane.has_room() {
                return told;
            }
            match next(&mut round.cursor, round.scope) {
                Next::Nothing => {}
                Next::Tell(record) => {
                    if is_within(round.scope, &record) {
                        // Fails only if the lane closes; the next call will see that.
                        if lane.push(&record).is_err() {
                            return told;
                        }
                        round.told += 1;
                        told += 1;
                    }
                }
                Next::End => {
                    if lane.push(&end(round.scope, number, round.told)).is_ok() {
                        self.round = None;
                    }
                    return told;
                }
            }
        }
        told
    }
}

fn is_within(scope: Scope, record: &Record) -> bool {
    match record {
        Record::Session4(session) => scope.has(Place::of(&session.identity)),
        Record::Session6(session) => scope.has(Place::of(&session.identity)),
        Record::Pointer4(pointer) => scope.has(Place::of(&pointer.identity)),
        Record::Pointer6(pointer) => scope.has(Place::of(&pointer.identity)),
        _ => scope == Scope::All,
    }
}

fn begin(scope: Scope, round: u16) -> Record {
    match scope {
        Scope::All => Record::BulkBegin { round },
        Scope::Bucket(bucket) => Record::RepairBegin { bucket, round },
    }
}

fn end(scope: Scope, round: u16, sessions: u64) -> Record {
    match scope {
        Scope::All => Record::BulkEnd { round, sessions },
        Scope::Bucket(bucket) => Record::RepairEnd { bucket, round },
    }
}

/// What to do at the end of a round: remove the sessions of this lane that are within the scope, and
/// whose mark is not this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// Which sessions.
    pub scope: Scope,
    /// The mark of those that stay.
    pub mark: u16,
}

/// Follows the rounds of one lane's sender.
#[derive(Debug, Default)]
pub struct Receiver {
    mark: u16,
    under_way: Option<Scope>,
    complete: bool,
}

impl Receiver {
    /// The mark for each session that a [`Record::Session4`] or [`Record::Session6`] of this lane
    /// tells of, in a round or not.
    pub fn mark(&self) -> u16 {
        self.mark
    }

    /// Whether everything was told since the peer last began its stream.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The peer begins its stream anew ([`crate::lane::Event::PeerRestarted`]): a round that was
    /// under way will not end.
    pub fn restart(&mut self) {
        self.under_way = None;
        self.complete = false;
    }

    /// Takes a record; those that are not about rounds change nothing.
    pub fn handle(&mut self, record: &Record) -> Option<Sweep> {
        let (round, scope, ends) = match *record {
            Record::BulkBegin { round } => (round, Scope::All, false),
            Record::RepairBegin { bucket, round } => (round, Scope::Bucket(bucket), false),
            Record::BulkEnd { round, .. } => (round, Scope::All, true),
            Record::RepairEnd { bucket, round } => (round, Scope::Bucket(bucket), true),
            _ => return None,
        };
        if !ends {
            self.mark = round;
            self.under_way = Some(scope);
            return None;
        }
        if self.under_way.take() != Some(scope) || self.mark != round {
            return None;
        }
        self.complete |= scope == Scope::All;
        Some(Sweep {
            scope,
            mark: self.mark,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_round_that_was_seen_from_the_start_ends_in_a_sweep() {
        let mut receiver = Receiver::default();
        let sessions = 0;
        let end = |round| Record::BulkEnd { round, sessions };
        assert_eq!(receiver.handle(&end(1)), None);
        assert_eq!(receiver.handle(&Record::BulkBegin { round: 2 }), None);
        assert_eq!(receiver.mark(), 2);
        receiver.restart();
        assert_eq!(receiver.handle(&end(2)), None);
        assert!(!receiver.is_complete());
        assert_eq!(receiver.handle(&Record::BulkBegin { round: 3 }), None);
        assert_eq!(receiver.handle(&end(2)), None, "of another round");
        assert_eq!(receiver.handle(&Record::BulkBegin { round: 4 }), None);
        let sweep = Sweep {
            scope: Scope::All,
            mark: 4,
        };
        assert_eq!(receiver.handle(&end(4)), Some(sweep));
        assert!(receiver.is_complete());
        assert_eq!(receiver.handle(&end(4)), None, "once");
    }

    #[test]
    fn a_repair_sweeps_its_bucket_only_and_completes_nothing() {
        let mut receiver = Receiver::default();
        let (bucket, round) = (9, 1);
        receiver.handle(&Record::RepairBegin { bucket, round });
        let sweep = Sweep {
            scope: Scope::Bucket(9),
            mark: 1,
        };
        let swept = receiver.handle(&Record::RepairEnd { bucket, round });
        assert_eq!(swept, Some(sweep));
        assert!(!receiver.is_complete());
    }
}
