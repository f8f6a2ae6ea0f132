//! Two devices in memory that cost next to nothing: what is measured is the worker.
//!
//! A frame is copied from one template and given the addresses, ports and checksums of its flow,
//! which are read one after the other from a list. So the source's own misses are few, whatever the
//! number of flows, and their order is whatever the list's is.

use std::net::Ipv4Addr;

use sluice_dataplane::io::{DeviceId, Frame, Io, RX_BURST, RxBurst, RxMeta, TxBurst};
use sluice_wire::checksum::Sum;
use sluice_wire::{MacAddr, proto};

use crate::scenario::{FRAME, Tuple};

/// Headroom, as DPDK's.
const HEADROOM: usize = 128;
/// A frame without FCS.
const LEN: usize = FRAME - 4;
/// Buffers of one source: what a worker can have under way, and room. One that is dropped does not
/// come back, and is made anew; measurements see to it that none is.
const BUFFERS: usize = 1024;
/// The two ports' MAC addresses.
pub(crate) const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
/// The neighbours', all of them.
const NEIGHBOUR: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// What distinguishes a flow's frames, as it stands on the wire.
#[derive(Debug, Clone, Copy)]
struct Edit {
    addresses: [u8; 8],
    ports: [u8; 4],
    ip_sum: [u8; 2],
    udp_sum: [u8; 2],
}

/// A frame in a buffer that goes back to its source: a pointer, as an mbuf is, to a head and bytes.
pub(crate) struct Buffer(Box<Inner>);

struct Inner {
    start: usize,
    len: usize,
    bytes: Bytes,
}

#[repr(align(64))]
struct Bytes([u8; 256]);

impl Buffer {
    fn new() -> Self {
        Self(Box::new(Inner {
            start: HEADROOM,
            len: 0,
            bytes: Bytes([0; 256]),
        }))
    }

    fn reset(&mut self, len: usize) {
        (self.0.start, self.0.len) = (HEADROOM, len);
    }
}

impl Frame for Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let Inner { start, len, bytes } = &*self.0;
        &bytes.0[*start..*start + *len]
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let Inner { start, len, bytes } = &mut *self.0;
        &mut bytes.0[*start..*start + *len]
    }
    #[inline]
    fn meta(&self) -> RxMeta {
        RxMeta::default()
    }
    fn grow_front(&mut self, n: usize) -> bool {
        let grown = self.0.start.checked_sub(n);
        if let Some(start) = grown {
            (self.0.start, self.0.len) = (start, self.0.len + n);
        }
        grown.is_some()
    }
    fn cut_front(&mut self, n: usize) {
        let n = n.min(self.0.len);
        (self.0.start, self.0.len) = (self.0.start + n, self.0.len - n);
    }
    fn set_len(&mut self, len: usize) -> bool {
        let fits = self.0.start + len <= self.0.bytes.0.len();
        if fits {
            self.0.len = len;
        }
        fits
    }
}

/// Gives frames of listed flows, again and again, and swallows what is sent.
pub(crate) struct Source {
    devices: [Device; 2],
    free: Vec<Buffer>,
    /// Tuples that left by each device, while they are wanted.
    seen: Option<[Vec<Tuple>; 2]>,
}

/// What comes in by a device.
struct Device {
    template: [u8; LEN],
    flows: Vec<Edit>,
    at: usize,
    left: usize,
    answers: Vec<[u8; 42]>,
}

impl Source {
    /// Flows by the device that they come in by.
    pub(crate) fn new(flows: [Vec<Tuple>; 2]) -> Self {
        let [inside, outside] = flows;
        Self {
            devices: [Device::new(MACS[0], inside), Device::new(MACS[1], outside)],
            free: (0..BUFFERS).map(|_| Buffer::new()).collect(),
            seen: None,
        }
    }

    /// Has `count` more frames come in by a device, going on in its list.
    pub(crate) fn offer(&mut self, device: usize, count: usize) {
        self.devices[device].left += count;
    }

    /// Frames that have not come in yet.
    pub(crate) fn left(&self) -> usize {
        self.devices.iter().map(|device| device.left).sum()
    }

    /// Flows in a device's list.
    pub(crate) fn flows(&self, device: usize) -> usize {
        self.devices[device].flows.len()
    }

    /// Begins a device's list anew, or another one.
    pub(crate) fn rewind(&mut self, device: usize, flows: Option<Vec<Tuple>>) {
        let device = &mut self.devices[device];
        device.at = 0;
        if let Some(flows) = flows {
            device.flows = flows.iter().map(Edit::new).collect();
        }
    }

    /// From now on, writes down what leaves.
    pub(crate) fn watch(&mut self) {
        self.seen = Some([vec![], vec![]]);
    }

    /// What left by each device since [`watch`](Self::watch).
    pub(crate) fn seen(&mut self) -> [Vec<Tuple>; 2] {
        self.seen.take().unwrap_or_default()
    }
}

impl Device {
    fn new(mac: MacAddr, flows: Vec<Tuple>) -> Self {
        let mut template = [0; LEN];
        template[..6].copy_from_slice(&mac.0);
        template[6..12].copy_from_slice(&NEIGHBOUR.0);
        template[12..14].copy_from_slice(&[8, 0]);
        template[14..24].copy_from_slice(&[
            0x45,
            0,
            0,
            (LEN - 14) as u8,
            0,
            1,
            0,
            0,
            64,
            proto::UDP,
        ]);
        template[38..40].copy_from_slice(&((LEN - 34) as u16).to_be_bytes());
        Self {
            template,
            flows: flows.iter().map(Edit::new).collect(),
            at: 0,
            left: 0,
            answers: vec![],
        }
    }
}

impl Edit {
    fn new(tuple: &Tuple) -> Self {
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&tuple.src.octets());
        addresses[4..].copy_from_slice(&tuple.dst.octets());
        let mut ports = [0; 4];
        ports[..2].copy_from_slice(&tuple.sport.to_be_bytes());
        ports[2..].copy_from_slice(&tuple.dport.to_be_bytes());
        let empty = Device::new(MACS[0], vec![]).template;
        let udp_len = (LEN - 34) as u16;
        let pseudo = Sum::default()
            .bytes(&addresses)
            .be16(proto::UDP.into())
            .be16(udp_len);
        Self {
            addresses,
            ports,
            ip_sum: Sum::default()
                .bytes(&empty[14..34])
                .bytes(&addresses)
                .checksum()
                .to_ne_bytes(),
            udp_sum: pseudo
                .bytes(&ports)
                .be16(udp_len)
                .checksum_udp()
                .to_ne_bytes(),
        }
    }
}

impl Io for Source {
    type Frame = Buffer;

    #[inline]
    fn rx(&mut self, device: DeviceId, burst: &mut RxBurst<Buffer>) {
        let Some(device) = self.devices.get_mut(usize::from(device.0)) else {
            return;
        };
        for answer in device.answers.drain(..) {
            let mut buffer = self.free.pop().unwrap_or_else(Buffer::new);
            buffer.reset(answer.len());
            buffer.bytes_mut().copy_from_slice(&answer);
            burst.push(buffer);
        }
        let room = RX_BURST - burst.len();
        for _ in 0..room.min(device.left) {
            let mut buffer = self.free.pop().unwrap_or_else(Buffer::new);
            buffer.reset(LEN);
            let flow = &device.flows[device.at];
            let frame = &mut buffer.0.bytes.0[HEADROOM..HEADROOM + LEN];
            frame.copy_from_slice(&device.template);
            frame[24..26].copy_from_slice(&flow.ip_sum);
            frame[26..34].copy_from_slice(&flow.addresses);
            frame[34..38].copy_from_slice(&flow.ports);
            frame[40..42].copy_from_slice(&flow.udp_sum);
            device.at += 1;
            if device.at == device.flows.len() {
                device.at = 0;
            }
            device.left -= 1;
            burst.push(buffer);
        }
    }

    #[inline]
    fn tx(&mut self, device: DeviceId, burst: &mut TxBurst<Buffer>) {
        for buffer in burst.drain(..) {
            let bytes = buffer.bytes();
            if let [8, 6] = bytes[12..14] {
                let answer = arp_answer(bytes);
                self.devices[usize::from(device.0)].answers.extend(answer);
            } else if let Some(seen) = &mut self.seen {
                seen[usize::from(device.0)].push(tuple_of(bytes));
            }
            self.free.push(buffer);
        }
    }

    fn can_tx(&self, _device: DeviceId) -> bool {
        true
    }

    fn alloc(&mut self) -> Option<Buffer> {
        let mut buffer = self.free.pop()?;
        buffer.reset(0);
        Some(buffer)
    }
}

/// Addresses and ports of a UDP packet.
fn tuple_of(frame: &[u8]) -> Tuple {
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Tuple {
        src: address(26),
        dst: address(30),
        sport: port(34),
        dport: port(36),
    }
}

/// What a neighbour says to an ARP request; nothing to anything else.
pub(crate) fn arp_answer(frame: &[u8]) -> Option<[u8; 42]> {
    let mut answer: [u8; 42] = frame.get(..42)?.try_into().ok()?;
    if frame[20..22] != [0, 1] || frame[28..32] == frame[38..42] {
        return None;
    }
    answer[..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&NEIGHBOUR.0);
    answer[21] = 2;
    answer[22..28].copy_from_slice(&NEIGHBOUR.0);
    answer[28..32].copy_from_slice(&frame[38..42]);
    answer[32..42].copy_from_slice(&frame[22..32]);
    Some(answer)
}
