//! The devices of a node: inside, outside, and the link to the other one, all in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sluice_dataplane::io::{DeviceId, Frame, Io, RxBurst, RxMeta, TxBurst};

use super::LINK;
use crate::packets::arp_answer;

const HEADROOM: usize = 128;
const BUFFER: usize = 2048;

type Buffer = Box<[u8; BUFFER]>;

thread_local! {
    /// Buffers that nobody uses: both nodes', as frames go from one to the other.
    static POOL: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// A frame in a buffer that goes back to the pool.
pub(crate) struct Large {
    /// `None` while it is dropped.
    bytes: Option<Buffer>,
    start: usize,
    len: usize,
}

impl Drop for Large {
    #[inline]
    fn drop(&mut self) {
        if let Some(buffer) = self.bytes.take() {
            POOL.with_borrow_mut(|pool| pool.push(buffer));
        }
    }
}

impl Large {
    #[inline]
    fn take() -> Self {
        let buffer = POOL.with_borrow_mut(Vec::pop);
        Self {
            bytes: Some(buffer.unwrap_or_else(|| Box::new([0; BUFFER]))),
            start: HEADROOM,
            len: 0,
        }
    }

    fn hold(&mut self, frame: &[u8]) {
        (self.start, self.len) = (HEADROOM, frame.len());
        self.bytes_mut().copy_from_slice(frame);
    }
}

impl Frame for Large {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let bytes = self.bytes.as_ref().expect("a frame that lives");
        &bytes[self.start..self.start + self.len]
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes.as_mut().expect("a frame that lives");
        &mut bytes[self.start..self.start + self.len]
    }
    #[inline]
    fn meta(&self) -> RxMeta {
        RxMeta::default()
    }
    fn grow_front(&mut self, n: usize) -> bool {
        let grown = self.start.checked_sub(n);
        if let Some(start) = grown {
            (self.start, self.len) = (start, self.len + n);
        }
        grown.is_some()
    }
    fn cut_front(&mut self, n: usize) {
        let n = n.min(self.len);
        (self.start, self.len) = (self.start + n, self.len - n);
    }
    fn set_len(&mut self, len: usize) -> bool {
        let fits = self.start + len <= BUFFER;
        if fits {
            self.len = len;
        }
        fits
    }
}

/// Frames on their way to one node, and when they arrive.
pub(super) type Wire = Rc<RefCell<VecDeque<(u32, Large)>>>;

/// One node's devices.
pub(crate) struct Ports {
    waiting: [VecDeque<Large>; 2],
    sent: [VecDeque<Large>; 2],
    from_peer: Wire,
    to_peer: Wire,
    pub(super) now: u32,
    /// Of the link, milliseconds.
    pub(super) delay: u32,
}

impl Ports {
    pub(super) fn new([from_peer, to_peer]: [&Wire; 2], now: u32) -> Self {
        Self {
            waiting: Default::default(),
            sent: Default::default(),
            from_peer: Rc::clone(from_peer),
            to_peer: Rc::clone(to_peer),
            now,
            delay: 0,
        }
    }

    /// A frame comes in by a device.
    pub(crate) fn offer(&mut self, device: usize, frame: &[u8]) {
        let mut buffer = Large::take();
        buffer.hold(frame);
        self.waiting[device].push_back(buffer);
    }

    /// Frames that wait at the devices, those of the link among them.
    pub(crate) fn waiting(&self) -> usize {
        let link = self.from_peer.borrow().len();
        self.waiting.iter().map(VecDeque::len).sum::<usize>() + link
    }

    /// Takes what was sent by a device.
    pub(crate) fn drain(&mut self, device: usize, mut visit: impl FnMut(&[u8])) {
        for frame in self.sent[device].drain(..) {
            visit(frame.bytes());
        }
    }
}

impl Io for Ports {
    type Frame = Large;

    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Large>) {
        let device = usize::from(device.0);
        if device == LINK {
            let mut wire = self.from_peer.borrow_mut();
            let due = |(when, _): &(u32, Large)| when.wrapping_sub(self.now).cast_signed() <= 0;
            while burst.remaining_capacity() > 0 && wire.front().is_some_and(due) {
                burst.extend(wire.pop_front().map(|(_, frame)| frame));
            }
        } else if let Some(waiting) = self.waiting.get_mut(device) {
            let count = waiting.len().min(burst.remaining_capacity());
            burst.extend(waiting.drain(..count));
        }
    }

    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<Large>) {
        let device = usize::from(device.0);
        for mut frame in burst.drain(..) {
            if device == LINK {
                let when = self.now.wrapping_add(self.delay);
                self.to_peer.borrow_mut().push_back((when, frame));
            } else if let Some(answer) = arp_answer(frame.bytes()) {
                frame.hold(&answer);
                self.waiting[device].push_back(frame);
            } else {
                self.sent[device].push_back(frame);
            }
        }
    }

    fn can_tx(&self, _device: DeviceId) -> bool {
        true
    }

    fn alloc(&mut self) -> Option<Large> {
        Some(Large::take())
    }

    fn free(&mut self, frames: &mut TxBurst<Large>) {
        frames.clear();
    }
}
