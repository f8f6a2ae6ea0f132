//! The generating core's loop: sends what is due, and takes in, answers and sends back what comes.

use sluice_dataplane::io::{DeviceId, Frame, Io, RxBurst, TxBurst};
use sluice_wire::{MacAddr, Sum, V4, ipv4, proto, tcp, udp};

use crate::flows::Order;
use crate::stamp::Stamp;
use crate::station::{ArpFrame, Heard, Station};
use crate::stream::{Check, Stream, StreamSpec};
use crate::template::{IP, L4, TUPLE};

/// Full bursts that one round takes from a port.
const BURSTS: usize = 4;

/// Frames at a port that belong to no stream, since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PortCounts {
    /// ARP requests answered.
    pub(crate) arp_answered: u64,
    /// Frames that no stream expects here.
    pub(crate) foreign: u64,
}

/// What is expected at a port.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The least that has to be looked at here.
    check: Check,
    /// The stream whose packets come here, or return here, where packets are not stamped.
    arrives: Option<(usize, Direction)>,
    /// Its protocol.
    proto: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Back,
}

/// What a received frame turns out to be.
enum Verdict {
    /// A packet of a stream.
    Of(usize, Direction),
    /// One that does not count as received: damaged, or of an earlier phase.
    Counted,
    /// None that a stream expects.
    Foreign,
}

/// Streams on ports.
pub(crate) struct Engine<I: Io> {
    io: I,
    hz: u64,
    /// What stands behind each port.
    pub(crate) stations: Vec<Station>,
    /// What sends.
    pub(crate) streams: Vec<Stream<I::Frame>>,
    /// What else came.
    pub(crate) ports: Vec<PortCounts>,
    plans: Vec<Plan>,
    /// Answers and reflected packets, by port.
    out: Vec<TxBurst<I::Frame>>,
    /// Frames that have been looked at.
    done: TxBurst<I::Frame>,
    phase: u8,
}

impl<I: Io> Engine<I> {
    /// All at rest. `hz` is the ticks per second of every `now`. Streams are on ports that there are,
    /// and of those that meet at a port without being alone there, all are stamped.
    pub(crate) fn new(io: I, hz: u64, stations: Vec<Station>, specs: Vec<StreamSpec>) -> Self {
        let plans = (0..stations.len())
            .map(|port| Plan::of(port, &specs))
            .collect();
        Self {
            io,
            hz,
            ports: vec![PortCounts::default(); stations.len()],
            plans,
            out: stations.iter().map(|_| TxBurst::new()).collect(),
            stations,
            streams: (0..)
                .zip(specs)
                .map(|(number, spec)| Stream::new(number, spec))
                .collect(),
            done: TxBurst::new(),
            phase: 0,
        }
    }

    /// Ticks per second.
    pub(crate) fn hz(&self) -> u64 {
        self.hz
    }

    /// Begins a phase, in which every stream sends in its own order at its own rate, without end.
    pub(crate) fn start(&mut self, now: u64) {
        self.phase = self.phase.wrapping_add(1);
        let clock = (now, self.hz);
        for stream in &mut self.streams {
            let (order, rate) = (stream.spec.order, stream.spec.rate);
            stream.start(self.phase, order, rate, None, clock);
        }
        self.address();
    }

    /// Begins a phase, in which the first `most` flows of every stream send one packet, at `rate`
    /// packets per second each.
    pub(crate) fn start_once(&mut self, now: u64, order: Order, most: u32, rate: f64) {
        self.phase = self.phase.wrapping_add(1);
        for stream in &mut self.streams {
            let flows = u64::from(stream.spec.space.flows().min(most));
            let clock = (now, self.hz);
            stream.start(self.phase, order, Some(rate), Some(flows), clock);
        }
        self.address();
    }

    /// Asks for the appliance's MAC addresses that are not known. True if there are none.
    pub(crate) fn resolve(&mut self) -> bool {
        let mut known = true;
        for (port, station) in self.stations.iter().enumerate() {
            if let Some(question) = station.question() {
                known = false;
                put(&mut self.io, &mut self.out[port], &question);
            }
        }
        known
    }

    /// Addresses every stream's frames.
    fn address(&mut self) {
        for stream in &mut self.streams {
            if let Some(station) = self.stations.get(stream.spec.from) {
                stream.set_macs(station.next_hop(), station.mac);
            }
        }
    }

    /// The first half of a round: sends what is due.
    #[inline]
    pub(crate) fn send(&mut self, now: u64) {
        for stream in &mut self.streams {
            stream.send(&mut self.io, now);
        }
    }

    /// The other half: takes in what has come by `now`, and hands answers on.
    #[inline]
    pub(crate) fn receive(&mut self, now: u64) {
        for port in 0..self.plans.len() {
            self.receive_on(port, now);
        }
        for (port, out) in self.out.iter_mut().enumerate() {
            if !out.is_empty() {
                self.io.tx(DeviceId(port as u16), out);
            }
        }
    }

    fn receive_on(&mut self, port: usize, now: u64) {
        let mut burst = RxBurst::new();
        for _ in 0..BURSTS {
            self.io.rx(DeviceId(port as u16), &mut burst);
            let full = burst.is_full();
            if !burst.is_empty() {
                self.take(port, &mut burst, now);
            }
            if !full {
                return;
            }
        }
    }

    /// Looks at received frames, each as closely as is asked for.
    #[inline]
    fn take(&mut self, port: usize, burst: &mut RxBurst<I::Frame>, now: u64) {
        let plan = self.plans[port];
        for mut frame in burst.drain(..) {
            let verdict = match (plan.check, plan.arrives) {
                (Check::Count, Some((number, direction))) if is_of(frame.bytes(), plan.proto) => {
                    Verdict::Of(number, direction)
                }
                (Check::Count, _) => Verdict::Foreign,
                (check, _) => self.judge(port, frame.bytes(), check, now),
            };
            let (number, direction) = match verdict {
                Verdict::Of(number, direction) => (number, direction),
                Verdict::Counted => {
                    self.done.push(frame);
                    continue;
                }
                Verdict::Foreign => {
                    self.other(port, frame);
                    continue;
                }
            };
            let stream = &mut self.streams[number];
            if direction == Direction::Back {
                stream.counts.returned += 1;
                self.done.push(frame);
                continue;
            }
            stream.counts.received += 1;
            let Some(into) = stream.spec.reflect else {
                self.done.push(frame);
                continue;
            };
            let out = &mut self.out[into];
            if out.is_full() {
                self.io.tx(DeviceId(into as u16), out);
            }
            if out.is_full() {
                stream.counts.reflect_refused += 1;
                self.done.push(frame);
                continue;
            }
            let station = &self.stations[into];
            turn_round(frame.bytes_mut(), station.next_hop(), station.mac);
            stream.counts.reflected += 1;
            out.push(frame);
        }
        self.io.free(&mut self.done);
    }

    /// Whose packet it is, by its stamp. A packet whose payload is damaged belongs to nobody, and is
    /// counted for the stream that is expected here.
    fn judge(&mut self, port: usize, bytes: &[u8], check: Check, now: u64) -> Verdict {
        let Some((proto, payload)) = payload(bytes) else {
            return Verdict::Foreign;
        };
        let stamp = Stamp::read(payload);
        let stream = stamp.map(|stamp| usize::from(stamp.stream));
        let Some((number, direction)) = self.expected(port, proto, stream) else {
            return Verdict::Foreign;
        };
        let stream = &mut self.streams[number];
        let tracker = match direction {
            Direction::Forward => &mut stream.forward,
            Direction::Back => &mut stream.back,
        };
        let Some(stamp) = stamp else {
            tracker.counts.corrupted += 1;
            return Verdict::Counted;
        };
        if check == Check::Full && !checksums_ok(bytes) {
            tracker.counts.bad_checksums += 1;
        }
        tracker.came(&stamp, now);
        if stamp.phase == self.phase {
            // Duplicates too: the tracker knows how many they are.
            Verdict::Of(number, direction)
        } else {
            Verdict::Counted
        }
    }

    /// The stream of that number, or any, whose packets come or return to a port.
    fn expected(
        &self,
        port: usize,
        proto: u8,
        number: Option<usize>,
    ) -> Option<(usize, Direction)> {
        self.streams
            .iter()
            .enumerate()
            .filter(|(at, stream)| {
                number.is_none_or(|number| number == *at) && stream.spec.protocol.number() == proto
            })
            .find_map(|(at, stream)| Some((at, direction(&stream.spec, port)?)))
    }

    /// ARP, and what nobody expects.
    #[cold]
    fn other(&mut self, port: usize, frame: I::Frame) {
        let moved = outside(
            &mut self.io,
            &mut self.stations[port],
            &mut self.ports[port],
            &mut self.out[port],
            frame.bytes(),
        );
        if moved {
            self.address();
        }
    }
}

/// Handles a frame that belongs to no stream or connection: ARP, and what nobody expects. True if
/// the appliance has another MAC address than before.
#[cold]
pub(crate) fn outside<I: Io>(
    io: &mut I,
    station: &mut Station,
    counts: &mut PortCounts,
    out: &mut TxBurst<I::Frame>,
    bytes: &[u8],
) -> bool {
    if ethertype(bytes) != proto::ETHERTYPE_ARP.to_be_bytes() {
        counts.foreign += 1;
        return false;
    }
    let before = station.gateway_mac;
    if let Heard::Answer(answer) = station.hear(bytes) {
        counts.arp_answered += 1;
        put(io, out, &answer);
    }
    station.gateway_mac != before
}

impl Plan {
    fn of(port: usize, specs: &[StreamSpec]) -> Self {
        let mut plan = Self {
            check: Check::Count,
            arrives: None,
            proto: 0,
        };
        for (number, spec) in specs.iter().enumerate() {
            if let Some(direction) = direction(spec, port) {
                plan.check = plan.check.max(spec.check);
                plan.arrives = Some((number, direction));
                plan.proto = spec.protocol.number();
            }
        }
        plan
    }
}

/// Which way a stream's packets go that are received at a port.
fn direction(spec: &StreamSpec, port: usize) -> Option<Direction> {
    if spec.to == port {
        Some(Direction::Forward)
    } else if spec.reflect.is_some() && spec.from == port {
        Some(Direction::Back)
    } else {
        None
    }
}

/// Sends a frame of ours as soon as possible; without a buffer or room not at all, as whoever asked
/// asks again.
pub(crate) fn put<I: Io>(io: &mut I, out: &mut TxBurst<I::Frame>, bytes: &ArpFrame) {
    if out.is_full() {
        return;
    }
    if let Some(mut frame) = io.alloc()
        && frame.set_len(bytes.len())
    {
        frame.bytes_mut().copy_from_slice(bytes);
        out.push(frame);
    }
}

#[inline]
fn ethertype(bytes: &[u8]) -> [u8; 2] {
    match bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, a, b, ..] => [*a, *b],
        _ => [0, 0],
    }
}

/// An IPv4 packet of this protocol.
#[inline]
fn is_of(bytes: &[u8], proto: u8) -> bool {
    ethertype(bytes) == proto::ETHERTYPE_IPV4.to_be_bytes()
        && bytes.get(IP + ipv4::field::PROTO) == Some(&proto)
}

/// Protocol and payload of an IPv4 packet without options.
#[inline]
pub(crate) fn payload(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let head: &[u8; L4 + udp::HEADER_LEN] = bytes.first_chunk()?;
    if ethertype(head) != proto::ETHERTYPE_IPV4.to_be_bytes() || head[IP] != 0x45 {
        return None;
    }
    let protocol = head[IP + ipv4::field::PROTO];
    let start = match protocol {
        proto::UDP => L4 + udp::HEADER_LEN,
        proto::TCP => L4 + usize::from(bytes.get(L4 + 12)? >> 4) * 4,
        _ => return None,
    };
    let end = IP + usize::from(u16::from_be_bytes([head[IP + 2], head[IP + 3]]));
    Some((protocol, bytes.get(start..end)?))
}

/// Whether the IPv4 header and the UDP datagram or TCP segment have correct checksums.
fn checksums_ok(bytes: &[u8]) -> bool {
    let Some(packet) = bytes.get(IP..) else {
        return false;
    };
    let Ok(header) = ipv4::parse(packet) else {
        return false;
    };
    let Some(segment) = packet.get(header.header_len..header.total_len) else {
        return false;
    };
    let l4 = match header.proto {
        proto::UDP => udp::checksum_ok::<V4>(header.addrs, segment),
        _ => Sum::ZERO
            .pseudo::<V4>(header.addrs, header.proto, segment.len() as u32)
            .bytes(segment)
            .is_valid(),
    };
    l4 && ipv4::checksum_ok(packet, header.header_len)
        && (header.proto != proto::TCP || tcp::Segment::parse(segment).is_some())
}

/// Makes a packet one from its receiver to its sender. Sums don't depend on the order of what is
/// summed, so checksums stay as they are.
#[inline]
fn turn_round(bytes: &mut [u8], dst: MacAddr, src: MacAddr) {
    sluice_wire::ethernet::put_macs(bytes, dst, src);
    if let Some(tuple) = bytes
        .get_mut(TUPLE..)
        .and_then(<[u8]>::first_chunk_mut::<12>)
    {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *tuple;
        *tuple = [e, f, g, h, a, b, c, d, k, l, i, j];
    }
}

#[cfg(test)]
mod tests;
