//! Entries in places of their own, all allocated at start.

/// Entries whose places stay the same while they live.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Box<[Option<T>]>,
    /// The empty places; the last is used next.
    free: Vec<u32>,
    /// Places below were used.
    used: u32,
}

impl<T> Slab<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX - 1);
        Self {
            places: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
            used: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// How many places were ever used: positions are less.
    pub(super) fn places(&self) -> u32 {
        self.used
    }

    pub(super) fn get(&self, position: u32) -> Option<&T> {
        self.places.get(position as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, position: u32) -> Option<&mut T> {
        self.places.get_mut(position as usize)?.as_mut()
    }

    /// Where it was put; `None` if full.
    pub(super) fn insert(&mut self, entry: T) -> Option<u32> {
        let position = self.free.pop()?;
        *self.places.get_mut(position as usize)? = Some(entry);
        self.used = self.used.max(position + 1);
        Some(position)
    }

    /// Empties a place; nothing happens if it is.
    pub(super) fn remove(&mut self, position: u32) {
        if let Some(place) = self.places.get_mut(position as usize)
            && place.take().is_some()
        {
            self.free.push(position);
        }
    }
}
