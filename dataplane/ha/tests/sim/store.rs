//! A node's sessions, as far as this protocol is concerned.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use sluice_ha::bulk::{self, Next, Scope, Sweep};
use sluice_ha::digest::{Digest, Place};
use sluice_ha::record::{
    ChangeRecord, DeathRecord, Identity, Progress, Record, SessionRecord, Side, Stamp,
};
use sluice_wire::{Family, V4, key};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    /// The owner's worker, and so the lane.
    pub(crate) lane: usize,
    /// Stands for everything that changes.
    pub(crate) value: u32,
    mark: u16,
}

/// What was found at the other end of a lane.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) rounds: bulk::Receiver,
    pub(crate) copies: Digest,
}

#[derive(Debug)]
pub(crate) struct Store {
    me: u8,
    pub(crate) table: BTreeMap<u32, Entry>,
    pub(crate) own: Vec<Digest>,
    pub(crate) origins: Vec<Origin>,
    /// What is to be said, by lane.
    pub(crate) answers: Vec<(usize, Record)>,
    /// Buckets to ask for, by lane.
    pub(crate) requests: Vec<(usize, u16)>,
    /// Buckets that the peer asked for, by lane.
    pub(crate) asked: Vec<(usize, u16)>,
}

pub(crate) fn identity(number: u32) -> Identity<V4> {
    let address = |bytes: [u8; 4]| IpAddr::V4(Ipv4Addr::from(bytes));
    Identity {
        addrs: V4::pack(address(number.to_be_bytes()), address([192, 0, 2, 1])),
        ports: key::pack_ports(1, 2),
        proto: 6,
        zone: 7,
    }
}

fn number(identity: &Identity<V4>) -> u32 {
    match V4::unpack(identity.addrs).0 {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(_) => unreachable!("V4 unpacks to IPv4"),
    }
}

/// With `TRACE=number`, prints what happens to that session; 0 stands for rounds and digests.
fn trace(number: u32, what: impl FnOnce() -> String) {
    static TRACED: OnceLock<Option<u32>> = OnceLock::new();
    let traced = TRACED.get_or_init(|| std::env::var("TRACE").ok()?.parse().ok());
    if *traced == Some(number) {
        eprintln!("{}", what());
    }
}

fn place(number: u32) -> Place {
    Place::of(&identity(number))
}

fn progress(value: u32) -> Progress {
    let end = Side {
        end: value,
        ..Side::default()
    };
    Progress {
        state: 2,
        timeout_left: 1000,
        sides: [end; 2],
    }
}

pub(crate) fn session(number: u32, entry: &Entry) -> Record {
    let identity = identity(number);
    Record::Session4(SessionRecord {
        stamp: entry.stamp,
        identity,
        new_addrs: identity.addrs,
        new_ports: identity.ports,
        reply_zone: 8,
        service: 9,
        server: 0,
        flags: 0,
        age: 1,
        progress: progress(entry.value),
        shifts: [0; 2],
    })
}

pub(crate) fn change(number: u32, entry: &Entry) -> Record {
    Record::Change4(ChangeRecord {
        stamp: entry.stamp,
        identity: identity(number),
        progress: progress(entry.value),
    })
}

pub(crate) fn death(number: u32, entry: &Entry) -> Record {
    Record::Death4(DeathRecord {
        stamp: entry.stamp.next(),
        identity: identity(number),
    })
}

impl Store {
    pub(crate) fn new(me: u8, lanes: usize) -> Self {
        Self {
            me,
            table: BTreeMap::new(),
            own: vec![Digest::default(); lanes],
            origins: (0..lanes).map(|_| Origin::default()).collect(),
            answers: vec![],
            requests: vec![],
            asked: vec![],
        }
    }

    pub(crate) fn owns(&self, entry: &Entry) -> bool {
        entry.stamp.owner == self.me
    }

    fn digest(&mut self, entry: &Entry) -> &mut Digest {
        if self.owns(entry) {
            &mut self.own[entry.lane]
        } else {
            &mut self.origins[entry.lane].copies
        }
    }

    fn put(&mut self, number: u32, entry: Entry) {
        trace(number, || format!("node {} has {entry:?}", self.me));
        self.take(number);
        self.digest(&entry).add(place(number), entry.stamp);
        self.table.insert(number, entry);
    }

    fn take(&mut self, number: u32) -> Option<Entry> {
        let entry = self.table.remove(&number)?;
        trace(number, || format!("node {} drops {entry:?}", self.me));
        self.digest(&entry).remove(place(number), entry.stamp);
        Some(entry)
    }

    pub(crate) fn open(&mut self, number: u32, lane: usize) -> Record {
        let entry = Entry {
            stamp: Stamp {
                version: number.wrapping_mul(0x1234_5678),
                owner: self.me,
            },
            lane,
            value: 0,
            mark: 0,
        };
        self.put(number, entry);
        session(number, &entry)
    }

    /// Moves an own session on.
    pub(crate) fn touch(&mut self, number: u32) -> Option<(usize, Record)> {
        let mut entry = *self.table.get(&number).filter(|entry| self.owns(entry))?;
        entry.stamp = entry.stamp.next();
        entry.value += 1;
        self.put(number, entry);
        Some((entry.lane, change(number, &entry)))
    }

    /// Ends an own session.
    pub(crate) fn end(&mut self, number: u32) -> Option<(usize, Record)> {
        let entry = *self.table.get(&number).filter(|entry| self.owns(entry))?;
        self.take(number);
        Some((entry.lane, death(number, &entry)))
    }

    /// The peer is gone: everything of it is ours. Gives what is to be told.
    pub(crate) fn take_over(&mut self, workers: usize) -> Vec<(usize, Record)> {
        let copies = self.table.iter().filter(|(_, entry)| !self.owns(entry));
        let copies: Vec<_> = copies.map(|(number, entry)| (*number, *entry)).collect();
        let mut told = vec![];
        for (number, entry) in copies {
            let entry = Entry {
                stamp: entry.stamp.taken_over_by(self.me),
                lane: number as usize % workers,
                ..entry
            };
            self.put(number, entry);
            told.push((entry.lane, session(number, &entry)));
        }
        told
    }

    /// What a bulk sync of this lane finds at the cursor.
    pub(crate) fn next(&self, lane: usize, cursor: &mut u64) -> Next {
        let Some((&number, entry)) = self.table.range(*cursor as u32..).next() else {
            return Next::End;
        };
        *cursor = u64::from(number) + 1;
        if self.owns(entry) && entry.lane == lane {
            Next::Tell(session(number, entry))
        } else {
            Next::Nothing
        }
    }

    pub(crate) fn apply(&mut self, lane: usize, record: &Record) {
        let about = match record {
            Record::Session4(told) => number(&told.identity),
            Record::Change4(told) => number(&told.identity),
            Record::Death4(told) => number(&told.identity),
            _ => 0,
        };
        trace(about, || {
            format!("node {} lane {lane} hears {record:?}", self.me)
        });
        match record {
            Record::Session4(told) => {
                let value = told.progress.sides[0].end;
                self.learn(number(&told.identity), told.stamp, value, lane, true);
            }
            Record::Change4(told) => {
                let value = told.progress.sides[0].end;
                self.learn(number(&told.identity), told.stamp, value, lane, false);
            }
            Record::Death4(told) => {
                let number = number(&told.identity);
                let known = self.table.get(&number).copied();
                if let Some(known) = known.filter(|known| told.stamp.replaces(known.stamp)) {
                    self.take(number);
                    self.yielded(number, &known);
                }
            }
            Record::Digest { first, sums } => {
                let origin = &self.origins[lane];
                if origin.rounds.is_complete() {
                    let differing = origin.copies.differing(*first, sums);
                    self.requests.extend(differing.map(|bucket| (lane, bucket)));
                }
            }
            Record::RepairRequest { bucket } => self.asked.push((lane, *bucket)),
            other => {
                if let Some(sweep) = self.origins[lane].rounds.handle(other) {
                    self.sweep(lane, sweep);
                }
            }
        }
    }

    fn learn(&mut self, number: u32, stamp: Stamp, value: u32, lane: usize, whole: bool) {
        let known = self.table.get(&number).copied();
        let mark = match known {
            Some(known) if !stamp.replaces(known.stamp) => return,
            None if !whole => return,
            Some(known) if !whole => known.mark,
            _ => self.origins[lane].rounds.mark(),
        };
        if let Some(known) = known {
            self.yielded(number, &known);
        }
        let entry = Entry {
            stamp,
            lane,
            value,
            mark,
        };
        self.put(number, entry);
    }

    /// A session that was ours until the peer said something newer. What we said of it may still be
    /// under way, and arrive when the peer has ended it already: whatever it is, it is over.
    fn yielded(&mut self, number: u32, known: &Entry) {
        if self.owns(known) {
            let over = Record::Death4(DeathRecord {
                stamp: known.stamp,
                identity: identity(number),
            });
            self.answers.push((known.lane, over));
        }
    }

    fn sweep(&mut self, lane: usize, sweep: Sweep) {
        let gone = self.table.iter().filter(|(number, entry)| {
            !self.owns(entry)
                && entry.lane == lane
                && entry.mark != sweep.mark
                && match sweep.scope {
                    Scope::All => true,
                    Scope::Bucket(bucket) => place(**number).bucket() == bucket,
                }
        });
        let gone: Vec<_> = gone.map(|(number, _)| *number).collect();
        for number in gone {
            self.take(number);
        }
    }

    /// Loses or changes a copy, as a fault in the code or in memory would.
    pub(crate) fn spoil(&mut self, number: u32, forget: bool) {
        let Some(mut entry) = self.take(number) else {
            return;
        };
        if !forget {
            entry.stamp.version = entry.stamp.version.wrapping_sub(1);
            self.put(number, entry);
        }
    }
}
