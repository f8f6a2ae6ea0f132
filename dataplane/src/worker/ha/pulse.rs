//! Whether the other appliance lives, and by which ways: greetings and heartbeats on the HA link and on
//! a data port, the *witness*.
//!
//! Worker 0 speaks for all, once a millisecond, and tells the others when something changes. Silence on
//! the HA link alone is a broken cable: records and corrected packets have no way then, and roles go by
//! the witness. Silence on both is taken for a dead node.

use sluice_ha::Association;
use sluice_ha::frame::{ETHERTYPE, Kind};
use sluice_ha::heartbeat::{Event as Beat, Heartbeat, Intervals, Path};
use sluice_ha::hello::{self, Node, Zones, capability};
use sluice_ha::roles::Roles;
use sluice_ha::seal::{Keyring, PreShared};
use sluice_ha::{LaneConfig, roles};
use sluice_wire::{MacAddr, ethernet};

use super::super::Worker;
use super::link::frame_to;
use super::probe::Probes;
use super::roles::{Announcer, slots};
use super::{ETHERNET, HELLO, HaParts};
use crate::counters::DropReason;
use crate::groups::{GroupId, GroupSet};
use crate::handoff::{Message, PeerUp};
use crate::io::{DeviceId, Frame, Io};
use crate::mailbox::{Event, HaEvent};
use crate::published::WorkerCounter;
use crate::snapshot::PortId;
use crate::stack::ether;

/// Whom heartbeats on a data port are sent to: a locally administered group that nobody else is in.
const GROUP: MacAddr = MacAddr([0x03, 0x53, 0x4c, 0x48, 0x41, 0x01]);
/// How long a node that hears nobody after its start waits for one that lives, milliseconds: links
/// take their time to come up.
const PATIENCE: u32 = 3000;

/// How far the peer can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reach {
    /// It is not heard at all.
    #[default]
    Dead,
    /// It is heard, but not by the HA link, or it is about to stop.
    Lives,
    /// By the HA link.
    Linked,
}

/// What worker 0 does for all.
pub(super) struct Speaker {
    pub(super) association: Association,
    pub(super) heartbeat: Heartbeat,
    /// When the session began.
    since: u32,
    /// When this node started.
    born: u32,
    /// The peer was heard since.
    met: bool,
    reach: Reach,
    pub(super) roles: Roles,
    /// This node has been told everything once, so it may hold groups.
    pub(super) ready: bool,
    /// Groups that this node holds; and when it let others go last, by their place.
    pub(super) held: GroupSet,
    pub(super) let_go: [Option<u32>; roles::MAX_GROUPS],
    /// Some workers have not been told which groups are held.
    pub(super) untold: bool,
    pub(super) announcer: Announcer,
    pub(super) probes: Probes,
    /// How the peer was when control was told of it last.
    pub(super) told: u64,
    /// A worker has not heard how the peer can be reached.
    spread: bool,
}

impl Speaker {
    pub(super) fn new(
        parts: &HaParts,
        workers: u16,
        zones: &[u32],
        config: &LaneConfig,
        now: u32,
    ) -> Self {
        let me = node(parts, workers, zones, config);
        let shared = |secret: [u8; 32]| PreShared {
            id: key_id(&secret),
            secret,
        };
        let keyring = Keyring::Sealed {
            current: shared(parts.key),
            also: parts.next_key.map(shared),
        };
        let dead = parts.heartbeat_ms * parts.dead_after;
        Self {
            association: Association::new(me, parts.peer, keyring, parts.seed),
            heartbeat: Heartbeat::new(Intervals {
                send: parts.heartbeat_ms,
                dead,
            }),
            since: now,
            born: now,
            met: false,
            reach: Reach::Dead,
            roles: Roles::new(&roles::Config {
                me: parts.node,
                groups: slots(&[]).to_vec(),
                dead,
                start: PATIENCE,
            }),
            ready: false,
            held: GroupSet::default(),
            let_go: [None; roles::MAX_GROUPS],
            untold: false,
            announcer: Announcer::default(),
            probes: Probes::new(now),
            told: 0,
            spread: true,
        }
    }

    /// Whether it is settled who is there, so that this node may take groups.
    pub(super) fn has_listened(&mut self, now: u32) -> bool {
        self.met |= self.heartbeat.is_up();
        self.met || now.wrapping_sub(self.born) >= PATIENCE
    }

    /// Groups that a node says it holds, as long as it is heard.
    pub(super) fn held_by(&self, node: u8) -> GroupSet {
        let mut set = GroupSet::default();
        for slot in 0..roles::MAX_GROUPS {
            let holds = self.heartbeat.is_up() && self.roles.peer_holds(node, slot);
            set.set(GroupId::of_slot(slot), holds);
        }
        set
    }

    /// Bits: 1 the HA link works, 2 the witness does.
    pub(super) fn paths(&self) -> u64 {
        let bit = |path, bit| if self.heartbeat.works(path) { bit } else { 0 };
        bit(Path::HaLink, 1) | bit(Path::Witness, 2)
    }
}

/// What this node says of itself.
pub(super) fn node(parts: &HaParts, workers: u16, zones: &[u32], config: &LaneConfig) -> Node {
    Node {
        id: parts.node,
        boot: parts.boot,
        workers: workers as u8,
        capabilities: capability::RECORDS
            | capability::CORRECTION
            | capability::ROLES
            | capability::INLINE,
        window: config.reorder,
        mtu: parts.mtu,
        config: 0,
        zones: Zones::new(zones.iter().copied()),
    }
}

/// The number that a key goes by on the wire: both nodes must find the same, whichever place it has in
/// their configuration. One of 255 pairs of keys has the same; then only the current one is used.
fn key_id(secret: &[u8; 32]) -> u8 {
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    (sluice_ha::name::hash32(&text) % 255) as u8 + 1
}

impl<I: Io> Worker<I> {
    /// A greeting or a heartbeat, that begins at `at` in the frame. False if it was refused.
    pub(super) fn hear_control(
        &mut self,
        frame: &mut I::Frame,
        at: usize,
        kind: Kind,
        path: Path,
    ) -> bool {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return false };
        let Some(speaker) = &mut ha.speaker else {
            return false;
        };
        let sender = ether::sender(frame.bytes());
        let datagram = frame.bytes_mut().get_mut(at..).unwrap_or_default();
        let event = if kind == Kind::Hello {
            speaker.association.handle(datagram, now)
        } else {
            let heard = speaker.heartbeat.handle(path, datagram, now);
            heard.map(|()| None)
        };
        let Ok(event) = event else { return false };
        if path == Path::HaLink && sender.is_some() {
            ha.last_mac = sender;
        }
        let known = ha.last_mac;
        match event {
            Some(hello::Event::Session(session)) => {
                speaker.heartbeat.associate(&session);
                speaker.since = now;
                let by_link = path == Path::HaLink || speaker.reach == Reach::Linked;
                if let Some(mac) = known.filter(|_| by_link) {
                    speaker.reach = Reach::Linked;
                    let session = *session;
                    self.peer_linked(&PeerUp { session, mac });
                }
            }
            Some(hello::Event::NoCommonVersion { theirs }) => self.tell(Event::PeerVersion {
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
        let Some(Ok(header)) = header else {
            return self.counters.drop(DropReason::HaRefused);
        };
        let is_control = header.lane == sluice_ha::frame::CONTROL_LANE;
        if is_control && self.hear_control(&mut frame, at, header.kind, Path::Witness) {
            self.counters.count(WorkerCounter::Consumed);
        } else {
            self.counters.drop(DropReason::HaRefused);
        }
    }

    /// Once a millisecond, on worker 0.
    pub(in super::super) fn ha_tick(&mut self) {
        if self.ha.as_ref().is_some_and(|ha| ha.speaker.is_some()) {
            self.follow_peer();
            self.follow_roles();
            self.probe_gateways();
            self.speak();
        }
    }

    /// Sends what is due.
    fn speak(&mut self) {
        let now = self.now;
        let mut buffer = [0; HELLO];
        for path in Path::ALL {
            if path == Path::Witness && self.snapshot.groups.witness.is_none() {
                continue;
            }
            let Some(speaker) = self.speaker() else {
                return;
            };
            if let Some(len) = speaker.heartbeat.poll_transmit(path, now, &mut buffer) {
                self.send_control(path, &buffer[..len], false);
            }
        }
        let Some(speaker) = self.speaker() else {
            return;
        };
        if let Some(len) = speaker.association.poll_transmit(now, &mut buffer) {
            let linked = speaker.reach == Reach::Linked;
            self.send_control(Path::HaLink, &buffer[..len], true);
            if !linked {
                self.send_control(Path::Witness, &buffer[..len], true);
            }
        }
    }

    pub(super) fn speaker(&mut self) -> Option<&mut Speaker> {
        self.ha.as_mut()?.speaker.as_deref_mut()
    }

    fn send_control(&mut self, path: Path, datagram: &[u8], hello: bool) {
        let Some(ha) = &self.ha else { return };
        let Some(mut frame) = self.io.alloc() else {
            return;
        };
        let device = match path {
            Path::HaLink => {
                // Until it has been heard its address is not known; greetings say nothing secret.
                let known = ha.last_mac.filter(|_| !hello);
                let to = known.unwrap_or(MacAddr::BROADCAST);
                let len = ETHERNET + datagram.len();
                if !frame.set_len(len) || !frame_to(&mut frame, to, ha.parts.mac, datagram.len()) {
                    return;
                }
                frame.bytes_mut()[ETHERNET..].copy_from_slice(datagram);
                ha.parts.device
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

    /// Tells the other workers and control how the peer can be reached, if that has changed.
    fn follow_peer(&mut self) {
        let now = self.now;
        let Some(ha) = &mut self.ha else { return };
        let grace = ha.parts.heartbeat_ms * ha.parts.dead_after;
        let peer = ha.parts.peer;
        let Some(speaker) = &mut ha.speaker else {
            return;
        };
        let mut changed = arrayvec::ArrayVec::<Event, 8>::new();
        while let Some(beat) = speaker.heartbeat.poll_event(now) {
            let (path, works) = match beat {
                Beat::PathUp(path) => (path, true),
                Beat::PathDown(path) => (path, false),
                Beat::Up | Beat::Down => continue,
            };
            let witness = path == Path::Witness;
            let _ = changed.try_push(Event::Ha(HaEvent::Path { witness, works }));
        }
        // With new keys it has to be found out anew whether both directions work.
        let is_new = speaker.reach == Reach::Linked && now.wrapping_sub(speaker.since) < grace;
        let lives = speaker.heartbeat.is_up();
        let linked = speaker.heartbeat.works(Path::HaLink) || is_new;
        let reach = match (linked, lives) {
            (true, _) if !speaker.roles.is_leaving(peer) => Reach::Linked,
            (_, true) => Reach::Lives,
            _ => Reach::Dead,
        };
        let before = std::mem::replace(&mut speaker.reach, reach);
        let session = speaker.association.session().copied();
        let up = session.zip(ha.last_mac);
        for event in changed {
            self.tell(event);
        }
        let spread = self.speaker().is_none_or(|speaker| speaker.spread);
        match (reach, up) {
            _ if reach == before && spread => {}
            (Reach::Linked, Some((session, mac))) => self.peer_linked(&PeerUp { session, mac }),
            // It cannot have been heard without either.
            (Reach::Linked, None) => {}
            (Reach::Lives | Reach::Dead, _) => {
                let lives = reach == Reach::Lives;
                let all = self.spread(|| Message::PeerDown { lives });
                self.set_spread(all);
                self.peer_down(lives);
            }
        }
    }

    /// The HA link works.
    fn peer_linked(&mut self, up: &PeerUp) {
        let all = self.spread(|| Message::PeerUp(Box::new(*up)));
        self.set_spread(all);
        self.peer_up(up);
    }

    fn set_spread(&mut self, all: bool) {
        if let Some(speaker) = self.speaker() {
            speaker.spread = all;
        }
    }

    /// Tells control if the peer is otherwise than it was.
    pub(super) fn tell_peer_state(&mut self) {
        let state = self.ha.as_ref().map_or(0, |ha| ha.state());
        let Some(speaker) = self.speaker() else {
            return;
        };
        if std::mem::replace(&mut speaker.told, state) != state {
            self.tell(Event::Ha(HaEvent::Peer(state)));
        }
    }

    /// The zones of a new snapshot are told to the peer, which names them when it hands packets over.
    pub(in super::super) fn tell_zones(&mut self) {
        let names = self.snapshot.shared_names.as_ref();
        let zones = names.map_or(Vec::new(), |names| names.zones().to_vec());
        let Some(ha) = &mut self.ha else { return };
        let config = ha.lane_config();
        let me = node(&ha.parts, ha.workers, &zones, &config);
        if let Some(speaker) = &mut ha.speaker {
            speaker.association.set_node(me);
        }
    }
}
