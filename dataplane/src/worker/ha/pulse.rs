//! Whether other appliances live, and by which ways: greetings and heartbeats on the HA link and on a
//! data port, the *witness*.
//!
//! Worker 0 speaks for all, once a millisecond, and tells the others when something changes. Silence on
//! the HA link alone is a broken cable: records and corrected packets have no way then, and roles go by
//! the witness. Silence on both is taken for a dead node.

use sluice_ha::frame::{ETHERTYPE, Kind};
use sluice_ha::heartbeat::{Event as Beat, Path};
use sluice_ha::hello;
use sluice_wire::{MacAddr, ethernet};

use super::super::Worker;
use super::link::frame_to;
use super::voice::{Reach, Speaker, Voice, node};
use super::{ETHERNET, HELLO, Peer};
use crate::counters::DropReason;
use crate::handoff::{Message, PeerUp, Seat};
use crate::io::{DeviceId, Frame, Io};
use crate::mailbox::{Event, HaEvent};
use crate::published::WorkerCounter;
use crate::snapshot::PortId;
use crate::stack::ether;

/// Whom heartbeats on a data port are sent to: a locally administered group that nobody else is in.
const GROUP: MacAddr = MacAddr([0x03, 0x53, 0x4c, 0x48, 0x41, 0x01]);
impl<I: Io> Worker<I> {
    /// A greeting or a heartbeat, that begins at `at` in the frame. False if it was refused.
    pub(super) fn hear_control(
        &mut self,
        frame: &mut I::Frame,
        at: usize,
        kind: Kind,
        (seat, path): (Seat, Path),
    ) -> bool {
        let now = self.now;
        let Some((peer, voice)) = self.voice(seat) else {
            return false;
        };
        let sender = ether::sender(frame.bytes());
        let datagram = frame.bytes_mut().get_mut(at..).unwrap_or_default();
        let event = if kind == Kind::Hello {
            voice.association.handle(datagram, now)
        } else {
            let heard = voice.heartbeat.handle(path, datagram, now);
            heard.map(|()| None)
        };
        let Ok(event) = event else { return false };
        // A greeting may have been recorded, unless it answers to ours.
        let is_fresh = kind != Kind::Hello || matches!(event, Some(hello::Event::Session(_)));
        if path == Path::HaLink && is_fresh && sender.is_some() {
            peer.last_mac = sender;
        }
        let (node, known) = (peer.id, peer.last_mac);
        match event {
            Some(hello::Event::Session(session)) => {
                voice.heartbeat.associate(&session);
                voice.since = now;
                let by_link = path == Path::HaLink || voice.reach == Reach::Linked;
                if let Some(mac) = known.filter(|_| by_link) {
                    voice.reach = Reach::Linked;
                    let up = PeerUp {
                        session: *session,
                        mac,
                        yields: voice.yields,
                    };
                    if !session.same_config {
                        self.tell(Event::Ha(HaEvent::Differs { node }));
                    }
                    self.peer_linked(seat, &up);
                }
            }
            Some(hello::Event::NoCommonVersion { theirs }) => self.tell(Event::PeerVersion {
                node,
                oldest: theirs.0,
                newest: theirs.1,
            }),
            None => {}
        }
        true
    }

    /// Whether a frame that nobody else takes is a heartbeat on a data port. Then it is dealt with.
    #[cold]
    pub(in super::super) fn witness_frame(
        &mut self,
        device: DeviceId,
        frame: I::Frame,
    ) -> Result<(), I::Frame> {
        let Some((port, at)) = self.witness_port(device, &frame) else {
            return Err(frame);
        };
        if self.snapshot.groups.witness != Some(port) || self.ha.is_none() {
            return Err(frame);
        }
        if self.id == 0 {
            self.hear_witness(frame, at);
            return Ok(());
        }
        match self.rings.push(0, Message::HaWitness { frame, at }) {
            Ok(()) => self.counters.count(WorkerCounter::HandedOver),
            Err(_) => self.counters.drop(DropReason::HandoffFull),
        }
        Ok(())
    }

    fn witness_port(&self, device: DeviceId, frame: &I::Frame) -> Option<(PortId, usize)> {
        let bytes = frame.bytes();
        let ethertype =
            |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (vlan, at) = match ethertype(12)? {
            ETHERTYPE => (frame.meta().vlan_tci.map(|tci| tci & 0x0fff), 14),
            sluice_wire::proto::ETHERTYPE_VLAN if ethertype(16)? == ETHERTYPE => {
                (Some(ethertype(14)? & 0x0fff), 18)
            }
            _ => return None,
        };
        let device = self.snapshot.devices.get(usize::from(device.0))?;
        Some((device.port(vlan.filter(|&id| id != 0))?, at))
    }

    /// A heartbeat that came by a data port.
    pub(in super::super) fn hear_witness(&mut self, mut frame: I::Frame, at: usize) {
        let header = frame.bytes().get(at..).map(sluice_ha::frame::peek);
        let (Some(Ok(header)), Some(ha)) = (header, &self.ha) else {
            return self.counters.drop(DropReason::HaRefused);
        };
        if header.to != ha.parts.node {
            return self.drop_not_ours(&frame);
        }
        let is_control = header.lane == sluice_ha::frame::CONTROL_LANE;
        let seat = ha.seat_of(header.from).filter(|_| is_control);
        let heard = seat.is_some_and(|seat| {
            let by = (seat, Path::Witness);
            self.hear_control(&mut frame, at, header.kind, by)
        });
        if heard {
            self.counters.count(WorkerCounter::Consumed);
        } else {
            self.counters.drop(DropReason::HaRefused);
        }
    }

    /// Once a millisecond, on worker 0.
    pub(in super::super) fn ha_tick(&mut self) {
        if self.ha.as_ref().is_some_and(|ha| ha.speaker.is_some()) {
            for seat in self.seats() {
                self.follow_peer(seat);
            }
            self.follow_roles();
            self.probe_gateways();
            self.tunnel_tick();
            for seat in self.seats() {
                self.speak(seat);
            }
        }
    }

    /// Sends what is due.
    fn speak(&mut self, seat: Seat) {
        let now = self.now;
        let mut buffer = [0; HELLO];
        for path in Path::ALL {
            if path == Path::Witness && self.snapshot.groups.witness.is_none() {
                continue;
            }
            let Some((_, voice)) = self.voice(seat) else {
                return;
            };
            if let Some(len) = voice.heartbeat.poll_transmit(path, now, &mut buffer) {
                self.send_control(seat, path, &buffer[..len], false);
            }
        }
        let Some((_, voice)) = self.voice(seat) else {
            return;
        };
        if let Some(len) = voice.association.poll_transmit(now, &mut buffer) {
            let linked = voice.reach == Reach::Linked;
            self.send_control(seat, Path::HaLink, &buffer[..len], true);
            if !linked {
                self.send_control(seat, Path::Witness, &buffer[..len], true);
            }
        }
    }

    pub(super) fn speaker(&mut self) -> Option<&mut Speaker> {
        self.ha.as_mut()?.speaker.as_deref_mut()
    }

    /// Another node, and how worker 0 speaks with it.
    fn voice(&mut self, seat: Seat) -> Option<(&mut Peer, &mut Voice)> {
        let ha = self.ha.as_mut()?;
        let at = usize::from(seat.0);
        Some((
            ha.peers.get_mut(at)?,
            ha.speaker.as_mut()?.voices.get_mut(at)?,
        ))
    }

    fn send_control(&mut self, seat: Seat, path: Path, datagram: &[u8], hello: bool) {
        let Some(ha) = &self.ha else { return };
        let last = ha.peers.get(usize::from(seat.0));
        let last = last.and_then(|peer| peer.last_mac);
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        let device = match path {
            Path::HaLink => {
                // Until it has been heard its address is not known; greetings say nothing secret.
                let known = last.filter(|_| !hello);
                let to = known.unwrap_or(MacAddr::BROADCAST);
                let len = ETHERNET + datagram.len();
                if !frame.set_len(len) || !frame_to(&mut frame, to, ha.parts.mac, datagram.len()) {
                    return;
                }
                frame.bytes_mut()[ETHERNET..].copy_from_slice(datagram);
                return self.send_ha(frame, seat, true);
            }
            Path::Witness => {
                let port = self.snapshot.groups.witness;
                let port = port.and_then(|port| self.snapshot.ports.get(usize::from(port.0)));
                let Some(port) = port else { return };
                let len = datagram.len();
                match ether::compose(&mut frame, port, GROUP, ETHERTYPE, len) {
                    Some(place) => place.copy_from_slice(datagram),
                    None => return,
                }
                debug_assert!(frame.bytes().len() >= ethernet::header_len(port.vlan));
                port.device
            }
        };
        self.egress
            .push(&mut self.io, &self.rings, device, frame, true);
    }

    /// Tells the other workers and control how a node can be reached, if that has changed.
    fn follow_peer(&mut self, seat: Seat) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        let grace = ha.parts.heartbeat_ms * ha.parts.dead_after;
        let (Some(peer), Some(speaker)) =
            (ha.peers.get(usize::from(seat.0)), ha.speaker.as_deref_mut())
        else {
            return;
        };
        let (node, mac) = (peer.id, peer.last_mac);
        let has_moved = peer.link.as_ref().is_some_and(|link| Some(link.mac) != mac);
        let Speaker { voices, roles, .. } = speaker;
        let Some(voice) = voices.get_mut(usize::from(seat.0)) else {
            return;
        };
        let mut changed = arrayvec::ArrayVec::<Event, 8>::new();
        while let Some(beat) = voice.heartbeat.poll_event(now) {
            let (path, works) = match beat {
                Beat::PathUp(path) => (path, true),
                Beat::PathDown(path) => (path, false),
                Beat::Up | Beat::Down => continue,
            };
            let witness = path == Path::Witness;
            let _ = changed.try_push(Event::Ha(HaEvent::Path {
                node,
                witness,
                works,
            }));
        }
        // With new keys it has to be found out anew whether both directions work.
        let is_new = voice.reach == Reach::Linked && now.wrapping_sub(voice.since) < grace;
        let lives = voice.heartbeat.is_up();
        let linked = voice.heartbeat.works(Path::HaLink) || is_new;
        let reach = match (linked, lives) {
            (true, _) if !roles.is_leaving(node) => Reach::Linked,
            (_, true) => Reach::Lives,
            _ => Reach::Dead,
        };
        let yields = roles.yields(node);
        let same = (voice.reach, voice.yields) == (reach, yields);
        (voice.reach, voice.yields) = (reach, yields);
        let session = voice.association.session().copied();
        let up = session.zip(mac);
        let spread = voice.spread;
        for event in changed {
            self.tell(event);
        }
        match (reach, up) {
            _ if same && spread && !has_moved => {}
            (Reach::Linked, Some((session, mac))) => {
                let up = PeerUp {
                    session,
                    mac,
                    yields,
                };
                self.peer_linked(seat, &up);
            }
            // It cannot have been heard without either.
            (Reach::Linked, None) => {}
            (Reach::Lives | Reach::Dead, _) => {
                let lives = reach == Reach::Lives;
                let all = self.spread(|| Message::PeerDown { seat, lives });
                self.set_spread(seat, all);
                self.peer_down(seat, lives);
            }
        }
    }

    /// The HA link works.
    fn peer_linked(&mut self, seat: Seat, up: &PeerUp) {
        let all = self.spread(|| Message::PeerUp(Box::new(*up)));
        self.set_spread(seat, all);
        self.peer_up(up);
    }

    fn set_spread(&mut self, seat: Seat, all: bool) {
        if let Some((_, voice)) = self.voice(seat) {
            voice.spread = all;
        }
    }

    /// Tells control of nodes that are otherwise than they were.
    pub(super) fn tell_peer_states(&mut self) {
        for seat in self.seats() {
            let Some((peer, voice)) = self.voice(seat) else {
                return;
            };
            let (node, state) = (peer.id, peer.state());
            if std::mem::replace(&mut voice.told, state) != state {
                self.tell(Event::Ha(HaEvent::Peer { node, state }));
            }
        }
    }

    /// The zones of a new snapshot are told to the others, which name them when they hand packets over.
    pub(in super::super) fn tell_zones(&mut self) {
        let names = self.snapshot.shared_names.as_ref();
        let zones = names.map_or(Vec::new(), |names| names.zones().to_vec());
        let Some(ha) = &mut self.ha else { return };
        let config = ha.lane_config();
        let me = node(&ha.parts, ha.workers, &zones, &config);
        let voices = ha.speaker.as_mut().map(|speaker| &mut speaker.voices);
        for voice in voices.into_iter().flatten() {
            voice.association.set_node(me);
        }
    }
}
