//! Frames on their way out: staged per device, handed over once per poll.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::capture::{Tap, Taps};
use crate::handoff::{Message, Rings};
use crate::io::{DeviceId, Frame, Io, TX_BURST, TxBurst};
use crate::snapshot::{PortId, Snapshot};

/// Frames staged for one device, and which of them were made here rather than received.
#[derive(Debug)]
struct Stage<F> {
    frames: TxBurst<F>,
    /// Bit i: frame i was made here. Sized by [`TX_BURST`].
    originated: u128,
    /// The device took nothing the last time.
    stalled: bool,
    /// The worker that has a transmit queue on the device, where this one has none.
    via: Option<u16>,
    /// The device is the HA link: received frames that go there are redirected, not forwarded.
    redirects: bool,
    /// So many of the first frames were captured when they were offered to the device before.
    captured: usize,
}

const _: () = assert!(TX_BURST <= 128);

/// What became of staged frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sent {
    /// Received frames that a device took.
    pub forwarded: u64,
    /// Received frames that the device of the HA link took.
    pub redirected: u64,
    /// Frames made here that a device took.
    pub originated: u64,
    /// Received frames that a device did not take.
    pub forwarded_lost: u64,
    /// Frames made here that a device did not take.
    pub originated_lost: u64,
    /// Received frames for the host's kernel that there was no room for until it is given the next.
    pub host_lost: u64,
    /// Received frames that another worker was given to send.
    pub passed: u64,
}

/// A frame for the host's kernel.
#[derive(Debug)]
pub(super) struct Hosted<F> {
    pub(super) frame: F,
    /// The kernel gets it by the interface of this port.
    pub(super) port: PortId,
    pub(super) originated: bool,
}

/// The stages of all devices.
#[derive(Debug)]
pub(super) struct Egress<F> {
    stages: Vec<Stage<F>>,
    /// For the host's kernel.
    hosted: ArrayVec<Hosted<F>, TX_BURST>,
    /// Since [`Egress::take_sent`] was called last.
    sent: Sent,
    /// Packets that are captured, on their way in as well as out.
    pub(super) taps: Taps,
}

impl<F: Frame> Egress<F> {
    /// A stage for each device. `via` names, where this worker has no transmit queue, the one that
    /// has.
    pub(super) fn new(via: impl IntoIterator<Item = Option<u16>>) -> Self {
        let stage = |via| Stage {
            frames: TxBurst::new(),
            originated: 0,
            stalled: false,
            via,
            redirects: false,
            captured: 0,
        };
        Self {
            stages: via.into_iter().map(stage).collect(),
            hosted: ArrayVec::new(),
            sent: Sent::default(),
            taps: Taps::default(),
        }
    }

    /// Begins to capture; gives the tap back if there are too many.
    pub(super) fn watch(
        &mut self,
        tap: Box<Tap>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(), Box<Tap>> {
        if !self.taps.are_there() {
            // What waits in a stage now has not been seen by anybody.
            self.stages.iter_mut().for_each(|stage| stage.captured = 0);
        }
        self.taps.add(tap, snapshot)
    }

    /// Frames that are staged for the other appliance.
    pub(super) fn redirecting(&self) -> usize {
        let stages = self.stages.iter().filter(|stage| stage.redirects);
        stages.map(|stage| stage.frames.len()).sum()
    }

    /// Frames that are staged for the host's kernel.
    pub(super) fn for_host(&self) -> u64 {
        self.hosted.len() as u64
    }

    /// Received frames that leave by `device` go to the other appliance.
    #[must_use]
    pub(super) fn redirecting_by(mut self, device: Option<DeviceId>) -> Self {
        if let Some(stage) = device.and_then(|id| self.stages.get_mut(usize::from(id.0))) {
            stage.redirects = true;
        }
        self
    }

    /// Stages a frame. A stage that is full is handed to its device first; if the device takes
    /// nothing, the frame is lost, and counted so.
    #[inline(always)]
    pub(super) fn push<I: Io<Frame = F>>(
        &mut self,
        io: &mut I,
        rings: &Rings<F>,
        to: DeviceId,
        frame: F,
        originated: bool,
    ) {
        let Some(stage) = self.stages.get_mut(usize::from(to.0)) else {
            return self.push_to_host(to, frame, originated);
        };
        let at = stage.frames.len();
        match stage.frames.try_push(frame) {
            Ok(()) => stage.originated |= u128::from(originated) << at,
            Err(full) => {
                let (sent, taps) = (&mut self.sent, &mut self.taps);
                stage.push_after(io, rings, to, full.element(), originated, (sent, taps))
            }
        }
    }

    #[cold]
    fn push_to_host(&mut self, to: DeviceId, frame: F, originated: bool) {
        let Some(port) = to.host_port() else {
            return self.sent.lose(originated);
        };
        let hosted = Hosted {
            frame,
            port,
            originated,
        };
        match self.hosted.try_push(hosted) {
            Err(_) if !originated => self.sent.host_lost += 1,
            Err(_) => self.sent.originated_lost += 1,
            Ok(()) => {}
        }
    }

    /// The oldest frames for the host's kernel.
    pub(super) fn take_hosted(&mut self) -> Option<ArrayVec<Hosted<F>, TX_BURST>> {
        (!self.hosted.is_empty()).then(|| std::mem::take(&mut self.hosted))
    }

    /// Hands all stages to their devices. What a device does not take stays for one more flush;
    /// what it does not take then is lost, so that nothing grows stale behind a dead link.
    pub(super) fn flush<I: Io<Frame = F>>(&mut self, io: &mut I, rings: &Rings<F>) {
        for (index, stage) in self.stages.iter_mut().enumerate() {
            if stage.frames.is_empty() {
                continue;
            }
            let taken = {
                let books = (&mut self.sent, &mut self.taps);
                stage.hand_over(io, rings, DeviceId(index as u16), books)
            };
            if taken == 0 && stage.stalled {
                let made_here = u64::from(stage.originated.count_ones());
                self.sent.originated_lost += made_here;
                self.sent.forwarded_lost += stage.frames.len() as u64 - made_here;
                stage.frames.clear();
                stage.originated = 0;
                stage.captured = 0;
            }
            stage.stalled = taken == 0 && !stage.frames.is_empty();
        }
    }

    /// What became of frames since the last call.
    pub(super) fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Received frames that are staged now.
    pub(super) fn held(&self) -> u64 {
        let received = |s: &Stage<F>| s.frames.len() as u64 - u64::from(s.originated.count_ones());
        let hosted = self.hosted.iter().filter(|hosted| !hosted.originated);
        self.stages.iter().map(received).sum::<u64>() + hosted.count() as u64
    }
}

impl Sent {
    fn lose(&mut self, originated: bool) {
        if originated {
            self.originated_lost += 1;
        } else {
            self.forwarded_lost += 1;
        }
    }
}

impl<F: Frame> Stage<F> {
    /// Stages a frame after making room.
    #[inline(never)]
    fn push_after<I: Io<Frame = F>>(
        &mut self,
        io: &mut I,
        rings: &Rings<F>,
        to: DeviceId,
        frame: F,
        originated: bool,
        (sent, taps): (&mut Sent, &mut Taps),
    ) {
        self.hand_over(io, rings, to, (&mut *sent, taps));
        let at = self.frames.len();
        match self.frames.try_push(frame) {
            Ok(()) => self.originated |= u128::from(originated) << at,
            Err(_) => sent.lose(originated),
        }
    }

    /// How many frames the device took.
    fn hand_over<I: Io<Frame = F>>(
        &mut self,
        io: &mut I,
        rings: &Rings<F>,
        device: DeviceId,
        (sent, taps): (&mut Sent, &mut Taps),
    ) -> usize {
        if let Some(via) = self.via {
            return self.hand_on(rings, via, device, sent);
        }
        if taps.are_there() {
            self.capture(io.wall_ns(), device, taps);
        }
        let before = self.frames.len();
        io.tx(device, &mut self.frames);
        let taken = before - self.frames.len();
        let (gone, rest) = if taken >= TX_BURST {
            (self.originated, 0)
        } else {
            (
                self.originated & ((1 << taken) - 1),
                self.originated >> taken,
            )
        };
        let made_here = u64::from(gone.count_ones());
        sent.originated += made_here;
        let received = taken as u64 - made_here;
        if self.redirects {
            sent.redirected += received;
        } else {
            sent.forwarded += received;
        }
        self.originated = rest;
        self.captured = self.captured.saturating_sub(taken);
        taken
    }

    /// Shows the taps what the device is about to be offered for the first time.
    #[cold]
    fn capture(&mut self, at_ns: u64, device: DeviceId, taps: &mut Taps) {
        for (at, frame) in self.frames.iter().enumerate().skip(self.captured) {
            let originated = self.originated >> at & 1 == 1;
            taps.sent(at_ns, (device, self.redirects), frame, originated);
        }
        self.captured = self.frames.len();
    }

    /// Gives all frames to the worker that can send them; what its ring does not take is lost.
    #[cold]
    fn hand_on(&mut self, rings: &Rings<F>, via: u16, device: DeviceId, sent: &mut Sent) -> usize {
        let count = self.frames.len();
        for (at, frame) in self.frames.drain(..).enumerate() {
            let originated = self.originated >> at & 1 == 1;
            match rings.push(
                via,
                Message::Transmit {
                    frame,
                    device,
                    originated,
                },
            ) {
                Ok(()) if originated => {}
                Ok(()) => sent.passed += 1,
                Err(_) => sent.lose(originated),
            }
        }
        self.originated = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Frame;
    use crate::io::memory::{MemoryIo, VecFrame};

    const TO: DeviceId = DeviceId(0);

    fn staged(io: &mut MemoryIo, frames: usize) -> Egress<VecFrame> {
        let mut egress = Egress::new([None]);
        let rings = &Rings::mesh(1)[0];
        for i in 0..frames {
            egress.push(io, rings, TO, VecFrame::new(&[i as u8; 60], 60), i % 2 == 1);
        }
        egress
    }

    #[test]
    fn what_the_device_takes_is_counted_by_origin() {
        let mut io = MemoryIo::new(1);
        let mut egress = staged(&mut io, 5);
        assert_eq!(egress.held(), 3);
        egress.flush(&mut io, &Rings::mesh(1)[0]);
        assert_eq!(
            egress.take_sent(),
            Sent {
                forwarded: 3,
                originated: 2,
                ..Sent::default()
            }
        );
        assert_eq!(egress.held(), 0);
    }

    #[test]
    fn what_it_refuses_stays_in_order_for_one_more_flush_and_is_then_lost() {
        let mut io = MemoryIo::new(1);
        io.tx_room = 3;
        let mut egress = staged(&mut io, 6);
        egress.flush(&mut io, &Rings::mesh(1)[0]);
        assert_eq!(
            egress.take_sent(),
            Sent {
                forwarded: 2,
                originated: 1,
                ..Sent::default()
            }
        );
        io.tx_room = 4;
        egress.flush(&mut io, &Rings::mesh(1)[0]);
        assert_eq!(io.tx[0][3].bytes()[0], 3, "the oldest first");
        egress.take_sent();
        egress.flush(&mut io, &Rings::mesh(1)[0]);
        assert_eq!(egress.held(), 1, "stalled once: kept");
        egress.flush(&mut io, &Rings::mesh(1)[0]);
        let lost = Sent {
            forwarded_lost: 1,
            originated_lost: 1,
            ..Sent::default()
        };
        assert_eq!((egress.take_sent(), egress.held()), (lost, 0));
    }

    #[test]
    fn without_a_queue_frames_go_to_the_worker_that_has_one() {
        let mut io = MemoryIo::new(0);
        let rings = Rings::mesh(2);
        let mut egress = Egress::new([Some(1)]);
        for originated in [false, true] {
            egress.push(
                &mut io,
                &rings[0],
                TO,
                VecFrame::new(&[7; 60], 60),
                originated,
            );
        }
        egress.flush(&mut io, &rings[0]);
        assert_eq!(
            egress.take_sent(),
            Sent {
                passed: 1,
                ..Sent::default()
            }
        );
        for expected in [false, true] {
            let Some(Message::Transmit { originated, .. }) = rings[1].pop() else {
                panic!()
            };
            assert_eq!(originated, expected);
        }
    }

    #[test]
    fn what_the_kernel_is_not_given_in_time_is_lost_by_its_own_name() {
        let mut io = MemoryIo::new(1);
        let rings = &Rings::mesh(1)[0];
        let mut egress = Egress::new([None]);
        let to = DeviceId::host(PortId(3));
        for i in 0..TX_BURST + 5 {
            egress.push(&mut io, rings, to, VecFrame::new(&[7; 60], 60), i % 2 == 1);
        }
        let lost = Sent {
            host_lost: 3,
            originated_lost: 2,
            ..Sent::default()
        };
        assert_eq!(egress.take_sent(), lost);
        assert_eq!(egress.for_host(), TX_BURST as u64);
        let taken = egress.take_hosted().expect("they are for the kernel");
        assert!(taken.iter().all(|hosted| hosted.port == PortId(3)));
        // There is room again.
        egress.push(&mut io, rings, to, VecFrame::new(&[7; 60], 60), false);
        assert_eq!((egress.take_sent(), egress.held()), (Sent::default(), 1));
        // What is no device at all is no matter of the kernel.
        let nowhere = DeviceId(9);
        egress.push(&mut io, rings, nowhere, VecFrame::new(&[7; 60], 60), false);
        assert_eq!(egress.take_sent().forwarded_lost, 1);
    }

    #[test]
    fn a_full_stage_makes_room_by_handing_over() {
        let mut io = MemoryIo::new(1);
        let egress = staged(&mut io, TX_BURST + 1);
        assert_eq!(io.tx[0].len(), TX_BURST);
        assert_eq!(egress.held(), 1);
    }
}
