//! A virtual server without servers that redirects its clients, and a client of it.

use std::sync::Arc;

use sluice_dataplane::http_redirect::{HttpRedirect, Status};
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, RealServer, Scheduler, ServerId, ServerState, ServiceId, SessionLimits, Tier,
    TierKind, VirtualServer,
};
use sluice_wire::proto;
use sluice_wire::tcp::Segment;
use sluice_wire::tcp::flag::{ACK, FIN, PSH, SYN};

use super::packet::{Spec, segment};
use super::{INSIDE_ZONE, OUTSIDE, Setup, ip};

pub const VIP: &str = "192.0.2.100";
pub const VIP6: &str = "2001:db8:b::100";
pub const CLIENT: &str = "203.0.113.9";
pub const CLIENT6: &str = "2001:db8:c::9";
pub const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
pub const RESPONSE: &[u8] = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n\
    Location: https://status.example.com/a?b=c\r\nCache-Control: no-store\
    \x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\
    \x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\
    \x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\r\n\r\n";

/// 192.0.2.100:80 and [2001:db8:b::100]:80, with a server inside each that is in this state, and a
/// redirect to https://status.example.com that takes the path along.
pub fn setup(state: ServerState) -> Setup {
    let redirect = |append| {
        let url = "https://status.example.com/";
        HttpRedirect::new(url, Status::Found, append, [INSIDE_ZONE].into()).unwrap()
    };
    let virtual_server = |number: u16| VirtualServer {
        service: ServiceId(number),
        name: format!("web{number}"),
        ports: Some((80, 80)),
        mode: LbMode::Dnat,
        tiers: vec![Tier {
            kind: TierKind::Pool,
            members: vec![ServerId(number)],
            scheduler: Scheduler::RoundRobin,
        }],
        redirect: Some(Arc::new(redirect(true))),
        persistence: None,
        snat_pool: None,
        timeouts: 0,
        clamp_mss: None,
    };
    let server = |host: &str| {
        Some(RealServer {
            name: format!("web/{host}"),
            address: ip(host),
            port: Some(8080),
            weight: 1,
            state,
            limits: SessionLimits::default(),
        })
    };
    let define = |address, index| Definition {
        address: ip(address),
        proto: Some(proto::TCP),
        ports: Some((80, 80)),
        target: Target::VirtualServer(index),
    };
    Setup {
        virtual_servers: vec![virtual_server(1), virtual_server(2)],
        servers: vec![None, server("10.0.0.11"), server("2001:db8:a::11")],
        services: vec![define(VIP, 0), define(VIP6, 1)],
        local: vec![(ip(VIP), Local::Vip), (ip(VIP6), Local::Vip)],
        ..Setup::default()
    }
}

/// A connection as its client sees it.
#[derive(Clone)]
pub struct Client {
    here: &'static str,
    there: &'static str,
    pub port: u16,
    /// Next number that it sends, and next that it expects.
    pub seq: u32,
    pub ack: u32,
}

impl Client {
    pub fn new(v6: bool, port: u16, isn: u32) -> Self {
        let (here, there) = if v6 { (CLIENT6, VIP6) } else { (CLIENT, VIP) };
        Self {
            here,
            there,
            port,
            seq: isn,
            ack: 0,
        }
    }

    /// A segment with its numbers, as it arrives.
    pub fn says(&self, flags: u8, data: &[u8]) -> Vec<u8> {
        self.spec(flags, data).to(OUTSIDE)
    }

    pub fn spec(&self, flags: u8, data: &[u8]) -> Spec {
        let ends = [(self.here, self.port), (self.there, 80)];
        segment(ends, flags, (self.seq, self.ack), data)
    }

    /// A segment that it is to get, but for its options, as it is sent.
    pub fn gets(&self, flags: u8, window: u16, data: &[u8]) -> Spec {
        let ends = [(self.there, 80), (self.here, self.port)];
        let mut spec = segment(ends, flags, (self.ack, self.seq), data).fragment(0x4000);
        spec.id = 0;
        spec.body[14..16].copy_from_slice(&window.to_be_bytes());
        spec.summed(16)
    }

    /// Takes the answer to its SYN.
    pub fn connected(&mut self, frame: &[u8]) {
        let answer = read(frame);
        self.seq = self.seq.wrapping_add(1);
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, self.seq));
        self.ack = answer.seq.wrapping_add(1);
    }

    /// The response that it is to get to a request of `len` bytes.
    pub fn response(&self, len: usize, window: u16) -> Vec<u8> {
        let mut after = self.clone();
        after.seq = after.seq.wrapping_add(len as u32);
        let mut spec = after.gets(ACK | PSH | FIN, window, RESPONSE).fragment(0);
        spec.id = self.ack as u16;
        spec.from(OUTSIDE)
    }

    /// It has sent `len` bytes, and got the response.
    pub fn answered(&mut self, len: usize) {
        self.seq = self.seq.wrapping_add(len as u32);
        self.ack = self.ack.wrapping_add(RESPONSE.len() as u32 + 1);
    }
}

/// What a segment's header says.
pub fn read(frame: &[u8]) -> Segment {
    let parsed = sluice_wire::parse(frame, None, false).expect("a good packet");
    parsed.tcp(frame).expect("of TCP")
}
