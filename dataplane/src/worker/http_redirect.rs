//! Clients of a virtual server whose sessions nobody can take, and that redirects them
//! ([`crate::http_redirect`]).
//!
//! A SYN is answered by a cookie ([`crate::cookie`]). Whatever acknowledges one belongs to a connection
//! that has no session and needs none, also when servers are there again meanwhile. So it is looked at
//! before anything else is made of a packet without a session.

use sluice_wire::parse::{Kind, Parsed};
use sluice_wire::tcp::{self, flag};
use sluice_wire::{MacAddr, Sum, Tuple, V4, V6, proto};

use super::Worker;
use super::burst::Packet;
use super::open::{Denial, may_be_forwarded};
use super::plan;
use super::tally::Fate;
use crate::cookie::Told;
use crate::counters::DropReason;
use crate::handoff::Corrected;
use crate::http_redirect::{Answer, HttpRedirect, Speech, answer};
use crate::io::{Frame, Io};
use crate::published::WorkerCounter;
use crate::services::Target;
use crate::snapshot::{Local, Port, PortId, ServerId, ServiceId, VirtualServer};
use crate::stack::neighbour::Reach;
use crate::stack::segment::{Bare, Full};
use crate::stack::{ether, reply, reset};

/// The largest segment that clients are asked for, bytes: what Ethernet has room for over IPv4. Their first
/// one has the request line, and the others go unread.
const LARGEST: u16 = 1460;
/// Headers of IP and TCP, bytes.
const HEADERS_V4: u16 = 40;
const HEADERS_V6: u16 = 60;

/// A segment of a connection that was accepted by a cookie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    /// Index into the snapshot.
    virtual_server: u16,
    segment: tcp::Segment,
    told: Told,
}

impl<I: Io> Worker<I> {
    /// Whether a packet without a session belongs to a connection that was accepted by a cookie. Where
    /// that is not certain, other appliances are asked first.
    pub(super) fn redirected(
        &self,
        parsed: &Parsed,
        bytes: &[u8],
        tuple: &Tuple,
        corrected: Corrected,
    ) -> Option<Talk> {
        const KIND: u8 = flag::SYN | flag::ACK;
        let follows = self.redirects
            && parsed.kind == Kind::Session
            && tuple.proto == proto::TCP
            && parsed.tcp_flags & KIND == flag::ACK
            && parsed.ttl > 1;
        if !follows {
            return None;
        }
        let services = &self.snapshot.services;
        let Target::VirtualServer(index) = services.find(tuple.dst, tuple.proto, tuple.dport)?
        else {
            return None;
        };
        let (_, redirect) = self.redirect(index)?;
        let segment = parsed.tcp(bytes)?;
        let numbers = (segment.seq, segment.ack);
        let ends = |acknowledged| redirect.ends_with(acknowledged);
        let told = self.cookies.read(tuple, numbers, self.now, ends)?;
        (told.is_certain() || self.is_judged_here(corrected)).then_some(Talk {
            virtual_server: index,
            segment,
            told,
        })
    }

    /// Answers a SYN that no server can take.
    #[cold]
    pub(super) fn accept(&mut self, packet: Packet<I::Frame>, tuple: &Tuple, index: u16) {
        let (parsed, bytes) = (&packet.parsed, packet.frame.bytes());
        if let Err(denial) = self.judge_redirect(parsed, bytes, tuple, index, packet.port) {
            return self.deny(packet, denial);
        }
        let Some(((vs, _), segment)) = self.redirect(index).zip(parsed.tcp(bytes)) else {
            return self.reject(packet, DropReason::Internal);
        };
        let Some(port) = plan::port(&self.snapshot, packet.port) else {
            return self.reject(packet, DropReason::Internal);
        };
        let mss = largest(port, vs, parsed.v6);
        let bare = Bare {
            seq: self.cookies.make(tuple, segment.seq, self.now),
            ack: segment.seq.wrapping_add(1),
            flags: flag::SYN | flag::ACK,
            // Room for the segment that is read, so that no more is on its way.
            window: mss,
            ..Bare::default()
        };
        let syn = Full {
            mss: Some(mss),
            ..Full::from(bare)
        };
        if self.answer_segment(packet, syn) {
            self.counters.count(WorkerCounter::HttpRedirectSyns);
        }
    }

    /// Answers a segment of a connection that was accepted by a cookie.
    #[cold]
    pub(super) fn talk(&mut self, packet: Packet<I::Frame>, tuple: &Tuple, talk: &Talk) {
        let (parsed, bytes) = (&packet.parsed, packet.frame.bytes());
        let answer = match self.judge_talk(parsed, bytes, tuple, talk, packet.port) {
            Ok(answer) => answer,
            Err(denial) => return self.deny(packet, denial),
        };
        let segment = &talk.segment;
        let Some((vs, redirect)) = self.redirect(talk.virtual_server) else {
            return self.reject(packet, DropReason::Internal);
        };
        let Some(port) = plan::port(&self.snapshot, packet.port) else {
            return self.reject(packet, DropReason::Internal);
        };
        let service = vs.service;
        let bare = |flags| Bare {
            seq: segment.ack,
            ack: segment.end(),
            flags: flag::ACK | flags,
            window: largest(port, vs, parsed.v6),
            ..Bare::default()
        };
        match answer {
            Answer::Silence => {
                self.counters.count(WorkerCounter::Consumed);
            }
            Answer::Close => {
                let close = bare(flag::FIN);
                self.answer_segment(packet, close.into());
            }
            Answer::Acknowledge => {
                let acknowledgement = bare(0);
                self.answer_segment(packet, acknowledgement.into());
            }
            Answer::Reset => {
                if self.answer_segment(packet, reset::to_segment(segment).into()) {
                    self.counters.count(WorkerCounter::HttpRedirectResets);
                }
            }
            Answer::Response => {
                let headers = if parsed.v6 { HEADERS_V6 } else { HEADERS_V4 };
                let room = usize::from(port.mtu.saturating_sub(headers));
                let target = match Speech::read(data(parsed, bytes, segment)) {
                    Speech::Http { target } => target,
                    Speech::Unfinished | Speech::Other => None,
                };
                let response = redirect.response(target, room);
                let full = Full {
                    bare: bare(flag::PSH | flag::FIN),
                    mss: None,
                    data: &response,
                    // The client's path may be narrower than what is known here. Numbers of
                    // connections differ, and what is sent again is the same.
                    fragmentable: Some(segment.ack as u16),
                };
                if self.answer_segment(packet, full) {
                    self.counters.count(WorkerCounter::HttpRedirects);
                    self.tally
                        .session(service, ServerId::NONE, Fate::HttpRedirected);
                }
            }
        }
    }

    /// What a segment of such a connection is answered by.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn judge_talk(
        &mut self,
        parsed: &Parsed,
        bytes: &[u8],
        tuple: &Tuple,
        talk: &Talk,
        port: PortId,
    ) -> Result<Answer, Denial> {
        self.judge_redirect(parsed, bytes, tuple, talk.virtual_server, port)?;
        let data = data(parsed, bytes, &talk.segment);
        Ok(answer(&talk.told, &talk.segment, data))
    }

    /// Whether a segment to a virtual server that redirects may be answered.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn judge_redirect(
        &mut self,
        parsed: &Parsed,
        bytes: &[u8],
        tuple: &Tuple,
        index: u16,
        port: PortId,
    ) -> Result<(), Denial> {
        if !is_intact(parsed, bytes) {
            return Err(DropReason::BadTcpChecksum.into());
        }
        let opener = *self.lately.about(&self.snapshot, tuple.src);
        if let Some(Local::Own(_)) = opener.local {
            return Err(DropReason::MartianSource.into());
        }
        if !may_be_forwarded(tuple) {
            return Err(DropReason::NoRoute.into());
        }
        let zone = self.zone(port).ok_or(DropReason::Internal)?;
        if opener.way?.zone != zone {
            return Err(DropReason::Spoofed.into());
        }
        let (_, redirect) = self.redirect(index).ok_or(DropReason::Internal)?;
        // Who may speak to none of the servers is not spoken to in their stead.
        let firewall = &self.snapshot.firewall;
        let denied = |&to: &u8| {
            let decision = firewall.decide(zone, to, tuple);
            let by_rule = decision.service != ServiceId::NONE;
            (!decision.allow && by_rule).then_some(decision.service)
        };
        let mut denials = redirect.zones.iter().map(denied);
        match denials.next().flatten() {
            Some(rule) if denials.all(|denied| denied.is_some()) => Err(Denial {
                reason: DropReason::Denied,
                rule: Some(rule),
            }),
            _ => Ok(()),
        }
    }

    fn deny(&mut self, packet: Packet<I::Frame>, denial: Denial) {
        if let Some(rule) = denial.rule {
            self.tally.session(rule, ServerId::NONE, Fate::Refused);
        }
        self.refuse(packet, denial.reason);
    }

    /// A virtual server that redirects, and where to.
    fn redirect(&self, index: u16) -> Option<(&VirtualServer, &HttpRedirect)> {
        let vs = self.snapshot.virtual_servers.get(usize::from(index))?;
        Some((vs, vs.redirect.as_deref()?))
    }

    /// Answers a segment by another, in its frame. False if that could not be, and the frame was dropped.
    fn answer_segment(&mut self, packet: Packet<I::Frame>, segment: Full<'_>) -> bool {
        let to = match packet.corrected.is() {
            true => self.station_behind(&packet),
            false => ether::sender(packet.frame.bytes()),
        };
        let Some(to) = to else {
            self.reject(packet, DropReason::NeighbourUnresolved);
            return false;
        };
        let Packet {
            mut frame,
            parsed,
            port: id,
            ..
        } = packet;
        let Some(port) = plan::port(&self.snapshot, id) else {
            self.drop(frame, id, DropReason::Internal);
            return false;
        };
        let device = port.device;
        if !reply::in_place(&mut frame, &parsed, port, to, segment) {
            self.drop(frame, id, DropReason::NoBuffer);
            return false;
        }
        self.counters.count(WorkerCounter::Consumed);
        self.originate(frame, device);
        true
    }

    /// The station by which a packet of the peer's has come. One that is not known is asked for, so that it is
    /// when the packet is repeated.
    fn station_behind(&mut self, packet: &Packet<I::Frame>) -> Option<MacAddr> {
        let (bytes, parsed) = (packet.frame.bytes(), &packet.parsed);
        let source = match parsed.v6 {
            true => parsed.key_v6(bytes, 0).tuple::<V6>().src,
            false => parsed.key_v4(bytes, 0).tuple::<V4>().src,
        };
        let way = plan::way(&self.snapshot, source).ok()?;
        let neighbours = &mut self.neighbours;
        let id = neighbours.resolve(way.hop.port, way.neighbour, self.now);
        let id = id.ok()?;
        let reach = neighbours.used(id, self.now);
        neighbours.release(id);
        match reach {
            Reach::At(mac) => Some(mac),
            // Nobody refers to it, so no timer asks.
            Reach::Wait => {
                self.solicit(way.hop.port, way.neighbour, None);
                None
            }
            Reach::Unreachable => None,
        }
    }
}

/// Whether a packet that no server can take may be answered by a cookie.
pub(super) fn may_be_redirected<T>(vs: &VirtualServer, packet: &Packet<T>) -> bool {
    const KIND: u8 = flag::SYN | flag::ACK | flag::RST | flag::FIN;
    vs.redirect.is_some()
        && !packet.hosted
        && packet.parsed.kind == Kind::Session
        && packet.parsed.proto == proto::TCP
        && packet.parsed.tcp_flags & KIND == flag::SYN
}

/// The largest segment that a client is asked for.
fn largest(port: &Port, vs: &VirtualServer, v6: bool) -> u16 {
    let (headers, most) = match v6 {
        true => (HEADERS_V6, LARGEST - (HEADERS_V6 - HEADERS_V4)),
        false => (HEADERS_V4, LARGEST),
    };
    let fits = port.mtu.saturating_sub(headers).min(most);
    vs.clamp_mss.map_or(fits, |limit| fits.min(limit))
}

/// A segment's data.
fn data<'a>(parsed: &Parsed, bytes: &'a [u8], segment: &tcp::Segment) -> &'a [u8] {
    let at = usize::from(segment.header_len);
    parsed.transport(bytes).get(at..).unwrap_or_default()
}

/// Whether a segment's checksum is right: who answers it is its receiver (RFC 9293 section 3.1).
fn is_intact(parsed: &Parsed, bytes: &[u8]) -> bool {
    let segment = parsed.transport(bytes);
    let len = segment.len() as u32;
    let pseudo = match parsed.v6 {
        true => Sum::ZERO.pseudo::<V6>(parsed.key_v6(bytes, 0).addrs, proto::TCP, len),
        false => Sum::ZERO.pseudo::<V4>(parsed.key_v4(bytes, 0).addrs, proto::TCP, len),
    };
    pseudo.bytes(segment).is_valid()
}
