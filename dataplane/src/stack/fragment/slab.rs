//! Frames in a fixed number of places, chained into queues.

use super::{Datagram, Released};
use crate::counters::DropReason;

/// No place.
const NIL: u16 = u16::MAX;

/// A queue of frames within a [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chain {
    head: u16,
    tail: u16,
    /// Frames in it.
    pub(super) len: u16,
}

impl Chain {
    /// No frames.
    pub(super) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        len: 0,
    };
}

#[derive(Debug)]
struct Place<F> {
    frame: Option<F>,
    cookie: u32,
    fate: Result<Datagram, DropReason>,
    next: u16,
}

/// The places.
#[derive(Debug)]
pub(super) struct Slab<F> {
    places: Vec<Place<F>>,
    free: Chain,
}

impl<F> Slab<F> {
    pub(super) fn new(capacity: u16) -> Self {
        let capacity = capacity.min(NIL - 1);
        let place = |at| Place {
            frame: None,
            cookie: 0,
            fate: Err(DropReason::Internal),
            next: if at + 1 < capacity { at + 1 } else { NIL },
        };
        Self {
            places: (0..capacity).map(place).collect(),
            free: Chain {
                head: if capacity > 0 { 0 } else { NIL },
                tail: capacity.wrapping_sub(1),
                len: capacity,
            },
        }
    }

    /// Frames in it.
    pub(super) fn len(&self) -> usize {
        self.places.len() - usize::from(self.free.len)
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.len == 0
    }

    /// Appends a frame; if the slab is full, which the caller has ruled out, it is lost.
    pub(super) fn push(&mut self, chain: &mut Chain, frame: F, cookie: u32) {
        let at = self.free.head;
        let Some(place) = self.places.get_mut(usize::from(at)) else {
            return;
        };
        self.free.head = place.next;
        self.free.len -= 1;
        place.frame = Some(frame);
        place.cookie = cookie;
        place.next = NIL;
        let one = Chain {
            head: at,
            tail: at,
            len: 1,
        };
        self.append(chain, one);
    }

    /// Moves a whole queue behind another, and says what is to become of its frames.
    pub(super) fn decide(
        &mut self,
        chain: Chain,
        fate: Result<Datagram, DropReason>,
        to: &mut Chain,
    ) {
        let mut at = chain.head;
        while let Some(place) = self.places.get_mut(usize::from(at)) {
            place.fate = fate;
            at = place.next;
        }
        self.append(to, chain);
    }

    /// Takes the oldest frame.
    pub(super) fn pop(&mut self, chain: &mut Chain) -> Option<Released<F>> {
        let at = chain.head;
        let place = self.places.get_mut(usize::from(at))?;
        chain.head = place.next;
        chain.len -= 1;
        if chain.head == NIL {
            chain.tail = NIL;
        }
        place.next = NIL;
        let released = place.frame.take().map(|frame| Released {
            frame,
            cookie: place.cookie,
            fate: place.fate,
        });
        let one = Chain {
            head: at,
            tail: at,
            len: 1,
        };
        let mut free = self.free;
        self.append(&mut free, one);
        self.free = free;
        released
    }

    fn append(&mut self, to: &mut Chain, chain: Chain) {
        if chain.len == 0 {
            return;
        }
        match self.places.get_mut(usize::from(to.tail)) {
            Some(last) if to.len > 0 => last.next = chain.head,
            _ => to.head = chain.head,
        }
        to.tail = chain.tail;
        to.len += chain.len;
    }
}
