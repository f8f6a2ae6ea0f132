//! The packets of control connections.

use sluice_wire::parse::Kind;
use sluice_wire::{Key, Tuple, proto, tcp as wire};

use super::super::burst::Packet;
use super::super::tables::PerFamily;
use super::super::{Worker, hit};
use super::{Parent, Side, WATCHED, Watch};
use crate::alg::edits::{Edit, Edits};
use crate::alg::ftp::{Finds, MOST, Talk};
use crate::alg::splice::{self, Piece};
use crate::counters::DropReason;
use crate::handoff::AnyKey;
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::rewrite;
use crate::session::flow::flags;
use crate::session::table::{Direction, FlowRef, SessionId};
use crate::tcp::{self, state::State};

use arrayvec::ArrayVec;

/// How far an acknowledgement may be ahead of what was seen to be believed: some of it went elsewhere.
const UNSEEN: u32 = 1 << 16;
/// Pieces that a segment is changed in at most: all edits that are kept, and new ones.
const PIECES: usize = 4 + MOST;

/// What is to be done to a segment.
struct Plan {
    key: AnyKey,
    edits: [Edits; 2],
}

impl<I: Io> Worker<I> {
    /// A session was opened: watches it if it is a control connection's.
    pub(in super::super) fn watch_if<F: PerFamily>(&mut self, id: SessionId, tuple: &Tuple) {
        if tuple.proto != proto::TCP || !self.snapshot.alg.is_ftp(tuple.dport) {
            return;
        }
        let table = F::table_mut(&mut self.tables);
        let Some((session, cold)) = table.session(id).zip(table.cold(id)) else {
            return;
        };
        let [original, reply] = &session.flows;
        // Of direct server return half is not seen, and of a connection taken up in the middle too little.
        let whole = original.flags & flags::TCP_KNOWN != 0 && reply.flags & flags::TCP_KNOWN == 0;
        if original.flags & flags::ONE_WAY != 0 || !whole {
            return;
        }
        let key = F::any(original.key());
        let watch = Watch {
            parent: Parent {
                arrives: original.arrives(),
                leaves: original.leaves(),
                zones: (original.zone, reply.zone),
                server: cold.server,
                mapped: cold.extra != 0,
            },
            talk: Talk::default(),
            sides: [Side::default(), Side::default()],
            epoch: self.snapshot.epoch,
            expects: None,
        };
        if !self.alg.begin(key, watch, self.now) {
            return self.counters.count(WorkerCounter::AlgRefused);
        }
        self.set_epochs::<F>(id, WATCHED);
    }

    fn set_epochs<F: PerFamily>(&mut self, id: SessionId, epoch: u32) {
        let table = F::table_mut(&mut self.tables);
        if let Some((original, reply)) = table.pair_mut(id.flow(Direction::Original)) {
            (original.epoch, reply.epoch) = (epoch, epoch);
        }
    }

    /// A packet met a watched session.
    #[cold]
    pub(in super::super) fn meet_watched<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let (id, now) = (at.session(), self.now);
        let Some(session) = F::table(&self.tables).session(id) else {
            return self.reject(packet, DropReason::Internal);
        };
        let key = F::any(session.flows[0].key());
        let today = self.snapshot.epoch;
        let checked = self.alg.watch(&key, now).map(|watch| watch.epoch);
        if checked != Some(today) && !self.renew::<F>(id) {
            self.end_session::<F>(id);
            return self.find_anew::<F>(packet);
        }
        if checked.is_none() {
            return self.hit::<F>(packet, at);
        }
        self.hit_if::<F, true>(packet, at);
    }

    /// State, lines, numbers, accounting, rewrite, next hop of a control connection's packet.
    #[inline(never)]
    pub(in super::super) fn proceed_watched<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
    ) {
        let parsed = packet.parsed;
        if parsed.kind != Kind::Session || packet.datagram.is_some() {
            return self.reject(packet, DropReason::AlgUnreadable);
        }
        let Some(mut segment) = hit::segment(packet.frame.bytes(), &parsed) else {
            return self.reject(packet, DropReason::BadL4Header);
        };
        let direction = at.direction() as usize;
        let original = at.session().flow(Direction::Original);
        let key = F::table(&self.tables).flow(original).map(|flow| flow.key());
        let Some(key) = key.map(|key: Key<F::Addrs>| F::any(key)) else {
            return self.reject(packet, DropReason::Internal);
        };
        let Some(watch) = self.alg.watch(&key, self.now) else {
            return self.reject(packet, DropReason::Internal);
        };
        let blind = watch.talk.is_blind();
        let (mine, theirs) = (&watch.sides[direction], &watch.sides[1 - direction]);
        let edited = !mine.edits.is_none() || !theirs.edits.is_none();
        let (syn, has_ack) = (segment.flags & tcp::SYN != 0, segment.flags & tcp::ACK != 0);
        if (edited || segment.data_len > 0)
            && !splice::is_intact::<F>(packet.frame.bytes(), &parsed)
        {
            return self.reject(packet, DropReason::BadTcpChecksum);
        }
        if has_ack {
            segment.ack = theirs.edits.back(segment.ack);
        }
        let moves = segment.data_len > 0 || segment.flags & tcp::FIN != 0;
        let next = mine.next.unwrap_or(segment.seq);
        let early = !mine.resumed && tcp::after(segment.seq, next);
        // Another node may have changed what comes again here, and only that one knew how.
        let stale = mine.resumed && tcp::after(next, segment.seq);
        let cuts = segment.data_len > 0 && mine.edits.cuts(segment.seq, segment.data_len);
        let stale = stale && segment.data_len > 0;
        if !syn && (!blind && moves && early || cuts || stale) {
            return self.reject(packet, DropReason::AlgUnreadable);
        }
        let Some((this, other)) = F::table_mut(&mut self.tables).pair_mut(at) else {
            return self.reject(packet, DropReason::Internal);
        };
        let (moved, fits) = match tcp::step(this, other, at.direction(), &segment, self.now) {
            tcp::Verdict::Pass => (false, true),
            tcp::Verdict::Moved => (true, true),
            tcp::Verdict::OutOfWindow => {
                self.counters.count(WorkerCounter::TcpOutOfWindow);
                if self.snapshot.tcp.strict_window {
                    return self.reject(packet, DropReason::TcpOutOfWindow);
                }
                (false, false)
            }
            tcp::Verdict::Invalid => return self.reject(packet, DropReason::TcpInvalid),
            tcp::Verdict::Reopen => return self.reopen::<F>(packet, at),
        };
        let acked = this.tcp_acked;
        let opening = matches!(
            State::from_u8(this.state),
            State::SynSent | State::SynReceived
        );
        if let Some(watch) = self.alg.watch(&key, self.now) {
            watch.follow(direction, &segment, has_ack, fits && opening);
        }
        if fits
            && segment.data_len > 0
            && !syn
            && let Err(reason) = self.read::<F>(&packet, (at, &key), &segment, acked)
        {
            return self.reject(packet, reason);
        }
        self.leave_watched::<F>(packet, at, &key, &segment, moved);
    }

    /// Reads what is new in a segment, and notes what is to be put in place of it.
    fn read<F: PerFamily>(
        &mut self,
        packet: &Packet<I::Frame>,
        (at, key): (FlowRef, &AnyKey),
        segment: &tcp::Segment,
        acked: u32,
    ) -> Result<(), DropReason> {
        let direction = at.direction() as usize;
        let now = self.now;
        let Some(watch) = self.alg.watch(key, now) else {
            return Err(DropReason::Internal);
        };
        let (parent, mut talk) = (watch.parent, watch.talk);
        let side = &watch.sides[direction];
        let next = match side.next {
            _ if talk.is_blind() => return Ok(()),
            _ if side.resumed => segment.seq,
            Some(next) => next,
            None => return Ok(()),
        };
        let end = segment.seq.wrapping_add(u32::from(segment.data_len));
        if !tcp::after(end, next) {
            return Ok(());
        }
        let mut edits = side.edits.clone();
        let old = next.wrapping_sub(segment.seq) as usize;
        let data = packet.parsed.transport(packet.frame.bytes());
        let header = data.len() - usize::from(segment.data_len);
        let new = data.get(header + old..).unwrap_or_default();
        let finds: Finds = match direction {
            0 => talk.client(new),
            _ => talk.server(new),
        };
        let mtu = F::table(&self.tables)
            .flow(at)
            .and_then(|flow| self.paths.get(flow.path))
            .map_or(0, |path| path.mtu);
        let mut room = usize::from(mtu.saturating_sub(packet.parsed.ip_len()));
        for found in &finds {
            let start = next.wrapping_add(found.at as u32);
            let Ok(len) = u8::try_from(found.len) else {
                continue;
            };
            // The longest text must fit, as the endpoint is announced before it is known.
            let longest = crate::alg::edits::TEXT.saturating_sub(found.len);
            if !edits.has_room(acked) || room < longest {
                self.counters.count(WorkerCounter::AlgRefused);
                continue;
            }
            match self.announced::<F>(key, &parent, found)? {
                None => self.counters.count(WorkerCounter::AlgRefused),
                Some(text) => {
                    if new.get(found.at..found.at + found.len) != Some(&text[..]) {
                        self.counters.count(WorkerCounter::AlgRewritten);
                        room = room.saturating_sub(text.len().saturating_sub(found.len));
                        edits.push(Edit {
                            at: start,
                            old: len,
                            text,
                        });
                    }
                }
            }
        }
        if let Some(watch) = self.alg.watch(key, now) {
            watch.talk = talk;
            let side = &mut watch.sides[direction];
            let changed = side.edits != edits;
            (side.next, side.resumed, side.edits) = (Some(end), false, edits);
            if changed {
                self.tell_birth::<F>(at.session());
            }
        }
        Ok(())
    }

    /// Changes a segment as was found out, and sends it on.
    fn leave_watched<F: PerFamily>(
        &mut self,
        packet: Packet<I::Frame>,
        at: FlowRef,
        key: &AnyKey,
        segment: &tcp::Segment,
        moved: bool,
    ) {
        let direction = at.direction() as usize;
        let table = F::table_mut(&mut self.tables);
        let (Some(flow), Some(watch)) = (table.flow_mut(at), self.alg.watch(key, self.now)) else {
            return self.reject(packet, DropReason::Internal);
        };
        let edits = [0, 1].map(|side: usize| watch.sides[side].edits.clone());
        let done = watch.talk.is_blind() && edits.iter().all(Edits::is_none);
        flow.count(packet.parsed.ip_len(), self.now);
        let syn = segment.flags & tcp::SYN != 0;
        let Some(path) = self.paths.get_mut(flow.path) else {
            return self.reject(packet, DropReason::Internal);
        };
        if syn {
            path.packets = path.packets.wrapping_add(1);
            path.bytes += u64::from(packet.parsed.ip_len());
            return self.rewrite_specially::<F>(packet, at, moved);
        }
        let path = *path;
        let (flow, plan) = (*flow, Plan { key: *key, edits });
        let Packet {
            mut frame,
            mut parsed,
            port,
            ..
        } = packet;
        if let Err(reason) = plan.apply::<F, I>(&mut frame, &mut parsed, direction, segment) {
            return self.drop(frame, port, reason);
        }
        if parsed.ip_len() > path.mtu {
            return self.drop(frame, port, DropReason::TooBig);
        }
        let length = u64::from(parsed.ip_len());
        if let Some(path) = self.paths.get_mut(flow.path) {
            path.packets = path.packets.wrapping_add(1);
            path.bytes += length;
        }
        rewrite::apply(&flow, frame.bytes_mut(), &parsed);
        if moved {
            self.moved::<F>(at.session());
        }
        self.send(frame, &path, parsed.l3, parsed.v6);
        if done {
            self.unwatch::<F>(at.session(), &plan.key);
        }
    }

    /// Nothing of a session is read any more, and its numbers are what they were: it is like any other.
    fn unwatch<F: PerFamily>(&mut self, id: SessionId, key: &AnyKey) {
        let hash = self.alg.hash(key);
        let watch = self.alg.watches.remove(hash, key);
        if let Some(expected) = watch.as_ref().and_then(|watch| watch.expects) {
            self.expect_no_more(&expected);
        }
        let epoch = watch.map_or(self.snapshot.epoch, |watch| watch.epoch);
        self.set_epochs::<F>(id, epoch);
    }
}

impl Watch {
    /// Takes a segment's numbers into account.
    fn follow(&mut self, direction: usize, segment: &tcp::Segment, has_ack: bool, opens: bool) {
        if segment.flags & tcp::SYN != 0 {
            if opens {
                let first = segment.seq.wrapping_add(1);
                let side = &mut self.sides[direction];
                (side.next, side.resumed) = (Some(first), false);
                // With data, which nobody sends to an FTP server.
                if segment.data_len > 0 {
                    self.talk.go_blind();
                }
            }
            return;
        }
        let other = &mut self.sides[1 - direction];
        if let Some(next) = other.next.filter(|_| has_ack && !other.resumed) {
            let ahead = segment.ack.wrapping_sub(next);
            // One more is the FIN.
            if (2..UNSEEN).contains(&ahead) {
                other.next = Some(segment.ack);
                self.talk.missed(direction == 1);
            }
        }
    }
}

impl Plan {
    fn apply<F: PerFamily, I: Io>(
        &self,
        frame: &mut I::Frame,
        parsed: &mut sluice_wire::Parsed,
        direction: usize,
        segment: &tcp::Segment,
    ) -> Result<(), DropReason> {
        let (mine, theirs) = (&self.edits[direction], &self.edits[1 - direction]);
        if mine.is_none() && theirs.is_none() {
            return Ok(());
        }
        let mut pieces = ArrayVec::<Piece<'_>, PIECES>::new();
        for edit in mine.kept() {
            let at = edit.at.wrapping_sub(segment.seq);
            if at < u32::from(segment.data_len) {
                let piece = Piece {
                    at: at as usize,
                    old: usize::from(edit.old),
                    new: &edit.text,
                };
                pieces.try_push(piece).map_err(|_| DropReason::Internal)?;
            }
        }
        if !pieces.is_empty() {
            let data = usize::from(parsed.end - segment.data_len);
            if !splice::splice(frame, parsed, data, &pieces) {
                return Err(DropReason::NoBuffer);
            }
        }
        let acks = segment.flags & wire::flag::ACK != 0;
        let theirs = (acks && !theirs.is_none()).then_some(theirs);
        let seq = mine.out(segment.seq);
        splice::renumber::<F>(frame.bytes_mut(), parsed, seq, theirs);
        Ok(())
    }
}
