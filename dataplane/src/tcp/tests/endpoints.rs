//! Two hosts exchange data across a network that loses, reorders and duplicates, and the tracker
//! watches from the middle.

use std::collections::VecDeque;

use super::*;

/// Sends `to_send` bytes with go-back-N, and receives in order or not.
#[derive(Debug)]
struct Host {
    /// First byte not acknowledged, next one to send, end of all.
    acked: u32,
    next: u32,
    end: u32,
    /// Next byte expected, and segments beyond it.
    expected: u32,
    early: Vec<(u32, u32)>,
    /// Room for received data, and what the peer's window allows.
    buffer: u32,
    allowed: u32,
    scale: u8,
    peer_scale: u8,
    fin: bool,
    peer_fin: bool,
}

impl Host {
    fn window(&self) -> u16 {
        u16::try_from(self.buffer >> self.scale).unwrap_or(u16::MAX)
    }

    fn send(&mut self, size: u16, out: &mut Vec<Segment>) {
        let left = self.end.wrapping_sub(self.next);
        let room = self.allowed.wrapping_sub(self.next).cast_signed().max(0) as u32;
        let len = u32::from(size).min(left).min(room);
        // The FIN counts one, as the last byte of all.
        let fin = len > 0 && len == left;
        let flags = if fin { FIN | ACK } else { ACK };
        out.push(Segment {
            seq: self.next,
            ack: self.expected,
            window: self.window(),
            data_len: (len - u32::from(fin)) as u16,
            flags,
            wscale: None,
        });
        self.next = self.next.wrapping_add(len);
        self.fin |= fin;
    }

    fn receive(&mut self, segment: &Segment) {
        if window::after(segment.ack, self.acked) {
            self.acked = segment.ack;
        }
        let allowed = segment
            .ack
            .wrapping_add(u32::from(segment.window) << self.peer_scale);
        if window::after(allowed, self.allowed) {
            self.allowed = allowed;
        }
        if window::after(self.acked, self.next) {
            self.next = self.acked;
        }
        self.early.push((segment.seq, segment.end()));
        while let Some(&(_, end)) = self.early.iter().find(|&&(seq, end)| {
            !window::after(seq, self.expected) && window::after(end, self.expected)
        }) {
            self.expected = end;
        }
        let expected = self.expected;
        self.early.retain(|&(_, end)| window::after(end, expected));
        self.peer_fin |= segment.flags & FIN != 0;
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Lost,
    LostLater,
    Doubled,
    Late,
    Fine,
}

/// What happens to the next segment, and how long it may be.
fn fate(random: &mut u64) -> (Fate, u16) {
    *random = random
        .wrapping_mul(0x5851_f42d_4c95_7f2d)
        .wrapping_add(0x1405_7b7e_f767_814f);
    let fate = match random.to_be_bytes()[0] & 15 {
        0 => Fate::Lost,
        1 => Fate::LostLater,
        2 => Fate::Doubled,
        3 | 4 => Fate::Late,
        _ => Fate::Fine,
    };
    (fate, 1 + (*random >> 32) as u16 % 1_460)
}

proptest! {
    /// Nothing that an honest host sends is ever called out of window, and the end is seen.
    #[test]
    fn honest_hosts_are_never_out_of_window(
        isns in any::<[u32; 2]>(),
        sizes in [1..200_000_u32, 1..200_000_u32],
        buffers in [1_000..500_000_u32, 1_000..500_000_u32],
        scales in prop::option::of([0..15_u8, 0..15_u8]),
        mut random in any::<u64>(),
    ) {
        let shift = scales.unwrap_or([0, 0]);
        // No window is zero for ever.
        let buffers = [0, 1].map(|i| buffers[i].max(1 << shift[i]));
        let mut hosts: [Host; 2] = std::array::from_fn(|i| Host {
            acked: isns[i].wrapping_add(1),
            next: isns[i].wrapping_add(1),
            end: isns[i].wrapping_add(1 + sizes[i]),
            expected: isns[1 - i].wrapping_add(1),
            early: Vec::new(),
            buffer: buffers[i],
            allowed: isns[i].wrapping_add(1 + buffers[1 - i].min(65_535)),
            scale: shift[i],
            peer_scale: shift[1 - i],
            fin: false,
            peer_fin: false,
        });
        let syn = |i: usize, flags| Segment {
            seq: isns[i],
            ack: if flags & ACK != 0 { isns[1 - i].wrapping_add(1) } else { 0 },
            window: buffers[i].min(65_535) as u16,
            data_len: 0,
            flags,
            wscale: scales.map(|s| s[i]),
        };
        let mut tracked = Tracked::open(syn(0, SYN));
        prop_assert_eq!(tracked.step(Reply, syn(1, SYN | ACK)), Moved);
        let first = Segment { seq: hosts[0].next, ack: hosts[0].expected, ..syn(0, ACK) };
        let first = Segment { window: hosts[0].window(), wscale: None, ..first };
        prop_assert_eq!(tracked.step(Original, first), Moved);

        // On their way to each host, behind us: (segment, lost there).
        let mut wires: [VecDeque<(Segment, bool)>; 2] = Default::default();
        for round in 0..40_000 {
            let done = hosts.iter().all(|h| h.acked == h.end);
            if done && wires.iter().all(VecDeque::is_empty) {
                break;
            }
            let i = round % 2;
            let (fate, size) = fate(&mut random);
            let mut out = Vec::new();
            // Now and then all is quiet, and what was not acknowledged is sent again.
            if round % 32 < 2 || hosts[i].acked == hosts[i].end {
                hosts[i].next = hosts[i].acked;
            }
            hosts[i].send(size, &mut out);
            for segment in out {
                let times = if matches!(fate, Fate::Doubled) { 2 } else { 1 };
                if matches!(fate, Fate::Lost) {
                    continue;
                }
                for _ in 0..times {
                    let direction = if i == 0 { Original } else { Reply };
                    let verdict = tracked.step(direction, segment);
                    prop_assert!(
                        matches!(verdict, Pass | Moved),
                        "{:?}: {:?} {:?}", verdict, segment, hosts
                    );
                    wires[1 - i].push_back((segment, matches!(fate, Fate::LostLater)));
                }
                let wire = &mut wires[1 - i];
                if matches!(fate, Fate::Late) && wire.len() > 1 {
                    wire.swap(0, 1);
                }
            }
            // Segments arrive in groups, so that some are always in flight.
            if wires[i].len() > usize::from(size % 8) {
                for (segment, lost) in wires[i].drain(..) {
                    if !lost {
                        hosts[i].receive(&segment);
                    }
                }
            }
        }
        prop_assert!(hosts.iter().all(|h| h.acked == h.end && h.peer_fin), "{hosts:?}");
        prop_assert!(matches!(tracked.state(), TimeWait | Closing));
    }
}
