//! Hosts on both sides: clients that ask, servers that answer, and what both know to be theirs.
//!
//! Every packet says whose it is: the number of the connection is in TCP's initial sequence number and
//! in all data. So a host that gets what is another's notices.

use std::collections::HashMap;
use std::net::IpAddr;

use sluice_dataplane::tcp::{ACK, FIN, RST, SYN};
use sluice_wire::proto;

use crate::node::Row;
use crate::rng::Rng;
use crate::segment::{End, Segment};
use crate::story::{Policy, VIP};
use crate::world::packet::{Spec, tcp, udp};
use crate::world::{INSIDE, OUTSIDE, PortId};

/// How long a client waits before it repeats itself.
const REPEAT_MS: u64 = 150;
/// The same for what opens a connection (RFC 6298: a second).
const REPEAT_SYN_MS: u64 = 1000;
const DATA: u32 = 8;
const SERVERS_ISN: u32 = 0x5000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Opening,
    Open,
    Closing,
    Over,
    /// Nobody was left who knew of it.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) proto: u8,
    pub(crate) stage: Stage,
    pub(crate) me: End,
    pub(crate) server: End,
    /// Questions that were answered.
    pub(crate) answered: u32,
    /// Of how many in all.
    questions: u32,
    /// A question is open.
    asking: bool,
    /// When it does something next.
    next: u64,
    /// When it was answered last.
    pub(crate) heard: u64,
    /// Its session was opened by a node that could not know which ports it had given away in its
    /// former life.
    pub(crate) blind: bool,
    /// A packet that opened it left by the node that opened it, and not by the one that had been told.
    pub(crate) exposed: bool,
    /// Its owner died in the middle of the handshake, and not all others had heard of it: whoever had not
    /// opens it anew.
    pub(crate) unheard: bool,
}

/// What could not be known when a packet left an appliance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    /// A moment ago the nodes could not hear each other, and each had to decide by itself.
    pub(crate) apart: bool,
    /// The node was cut off before it was told what its peer has.
    pub(crate) blind: bool,
    /// The node, lately, had to send first packets directly.
    pub(crate) exposed: bool,
}

pub(crate) struct Hosts {
    pub(crate) clients: Vec<Client>,
    policy: Policy,
    /// Whose a tuple is that a server hears of: real server, and where the packets come from.
    known: HashMap<(u8, End, End), u32>,
    /// The real server that a connection was given to.
    real: HashMap<u32, IpAddr>,
    by_end: HashMap<(u8, End), usize>,
    rng: Rng,
}

/// A packet on its way into the appliances.
pub(crate) struct Sending {
    pub(crate) port: PortId,
    pub(crate) frame: Vec<u8>,
}

impl Hosts {
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        Self {
            clients: vec![],
            policy,
            known: HashMap::new(),
            real: HashMap::new(),
            by_end: HashMap::new(),
            rng: Rng::new(seed),
        }
    }

    fn client_port(&self) -> PortId {
        if self.policy.balances() {
            OUTSIDE
        } else {
            INSIDE
        }
    }

    /// One more client, which begins now.
    pub(crate) fn add(&mut self, now: u64) {
        let id = self.clients.len() as u32 + 1;
        let host = self.rng.below(4) as u8;
        let (me, server): (String, _) = match self.policy.balances() {
            true => (format!("198.51.100.{}", 10 + host), (VIP, 80)),
            false => (format!("10.0.0.{}", 2 + host), ("198.51.100.9", 80)),
        };
        let me = (me.parse().expect("an address"), 20_000 + id as u16);
        let server = (server.0.parse().expect("an address"), server.1);
        let proto = self.rng.pick(&[proto::TCP, proto::TCP, proto::UDP]);
        self.by_end.insert((proto, me), self.clients.len());
        self.clients.push(Client {
            id,
            proto,
            stage: if proto == proto::TCP {
                Stage::Opening
            } else {
                Stage::Open
            },
            me,
            server,
            answered: 0,
            questions: self.rng.pick(&[1, 3, 10, u32::MAX]),
            asking: proto == proto::UDP,
            next: now,
            heard: now,
            blind: false,
            exposed: false,
            unheard: false,
        });
    }

    /// Clients do what is due.
    pub(crate) fn step(&mut self, now: u64) -> Vec<Sending> {
        let port = self.client_port();
        let mut out = vec![];
        for client in &mut self.clients {
            if now < client.next || matches!(client.stage, Stage::Over | Stage::Lost) {
                continue;
            }
            client.next = match client.stage {
                Stage::Opening => now + REPEAT_SYN_MS,
                _ => now + REPEAT_MS,
            };
            if client.stage == Stage::Open && !client.asking {
                if client.answered >= client.questions {
                    client.stage = Stage::Closing;
                    if client.proto == proto::UDP {
                        client.stage = Stage::Over;
                        continue;
                    }
                }
                client.asking = client.stage == Stage::Open;
            }
            let frame = client.says().to(port);
            out.push(Sending { port, frame });
        }
        out
    }

    /// A frame leaves an appliance by a port: the host there takes it, and may answer.
    pub(crate) fn hear(
        &mut self,
        by: PortId,
        segment: &Segment,
        now: u64,
        doubt: Doubt,
    ) -> Vec<Sending> {
        if by == self.client_port() {
            self.hear_client(by, segment, now)
        } else {
            self.hear_server(by, segment, doubt)
        }
    }

    fn hear_client(&mut self, port: PortId, segment: &Segment, now: u64) -> Vec<Sending> {
        let at = self.by_end.get(&(segment.proto, segment.dst));
        let &at = at.unwrap_or_else(|| panic!("nobody is there for {segment:?}"));
        if let Some(other) = self.meant_for(segment).filter(|&other| other != at)
            && self.share_a_port([at, other])
        {
            return vec![];
        }
        let client = &mut self.clients[at];
        assert_eq!(
            segment.src, client.server,
            "from somebody else: {segment:?}"
        );
        if segment.flags & RST != 0 {
            assert!(
                matches!(client.stage, Stage::Lost | Stage::Over | Stage::Closing),
                "reset: {client:?}"
            );
            return vec![];
        }
        if segment.flags & SYN != 0 {
            assert_eq!(
                segment.ack,
                isn(client.id) + 1,
                "another's {segment:?} for {client:?}"
            );
        } else if let Some((id, _)) = content(&segment.data) {
            assert_eq!(id, client.id, "another's {segment:?} for {client:?}");
        }
        let mut acknowledge = false;
        match client.stage {
            Stage::Opening if segment.flags & SYN != 0 => {
                client.stage = Stage::Open;
                client.heard = now;
                client.next = now;
                acknowledge = true;
            }
            Stage::Open if client.asking => {
                if let Some((_, number)) = content(&segment.data)
                    && number == client.answered
                {
                    client.answered += 1;
                    client.asking = false;
                    client.heard = now;
                    client.next = now + u64::from(self.rng.pick(&[1, 30, 400_u32]));
                }
            }
            Stage::Closing if segment.flags & FIN != 0 => {
                client.stage = Stage::Over;
                acknowledge = true;
            }
            _ => {}
        }
        if !acknowledge {
            return vec![];
        }
        let (seq, ack) = (segment.ack, segment.seq.wrapping_add(1));
        let spec = spec(client.me, client.server, ACK, seq, ack, &[]);
        vec![Sending {
            port,
            frame: spec.to(port),
        }]
    }

    /// The client that a packet answers.
    fn meant_for(&self, segment: &Segment) -> Option<usize> {
        let id = match segment.flags {
            flags if flags & RST != 0 => return None,
            flags if flags & SYN != 0 => segment.ack.wrapping_sub(1) / 0x1000,
            _ => content(&segment.data)?.0,
        };
        (id as usize).checked_sub(1)
    }

    /// Whether it may be that two clients' sessions have one external port. Then they are lost.
    fn share_a_port(&mut self, clients: [usize; 2]) -> bool {
        let may = clients.iter().any(|&at| self.clients[at].blind);
        for at in clients.into_iter().filter(|_| may) {
            if self.clients[at].lives() {
                self.clients[at].stage = Stage::Lost;
            }
        }
        may
    }

    /// Two sessions have one external port. Fails unless one was opened blindly.
    pub(crate) fn clash(&mut self, rows: [&Row; 2]) {
        let clients = rows.map(|row| {
            let end = (row.original.src, row.original.sport);
            self.by_end[&(row.original.proto, end)]
        });
        let may = self.share_a_port(clients);
        assert!(may, "two sessions own one port: {rows:?}");
    }

    fn hear_server(&mut self, port: PortId, segment: &Segment, doubt: Doubt) -> Vec<Sending> {
        let whose = (segment.proto, segment.dst, segment.src);
        let said = match segment.flags {
            flags if flags & RST != 0 => return vec![],
            flags if flags & SYN != 0 => Some((segment.seq / 0x1000, 0)),
            _ => content(&segment.data),
        };
        let opens = segment.proto == proto::UDP || segment.flags & SYN != 0;
        if let Some((id, _)) = said {
            if opens {
                self.known.insert(whose, id);
            }
            let known = self.known.get(&whose);
            let other = known.map_or(id, |&other| other);
            if other != id && self.share_a_port([id, other].map(|id| id as usize - 1)) {
                return vec![];
            }
            let known = self.known.get(&whose);
            assert_eq!(known, Some(&id), "sent to somebody else's: {segment:?}");
            let real = *self.real.entry(id).or_insert(segment.dst.0);
            let client = &mut self.clients[id as usize - 1];
            client.blind |= opens && doubt.blind;
            client.exposed |= opens && doubt.exposed;
            if segment.proto == proto::TCP && real != segment.dst.0 {
                if opens && (doubt.apart || client.unheard) {
                    // Opened by both nodes, each by itself: no client can make sense of that.
                    client.stage = Stage::Lost;
                }
                assert_eq!(
                    client.stage,
                    Stage::Lost,
                    "to another server than {real}: {segment:?}"
                );
            }
        }
        let (flags, data): (u8, &[u8]) = match (segment.proto, segment.flags) {
            (proto::UDP, _) => (0, &segment.data),
            (_, flags) if flags & SYN != 0 => (SYN | ACK, &[]),
            (_, flags) if flags & FIN != 0 => (FIN | ACK, &[]),
            _ if !segment.data.is_empty() => (ACK, &segment.data),
            _ => return vec![],
        };
        let length = segment.data.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        let ack = segment.seq.wrapping_add(length);
        let seq = if flags & SYN != 0 {
            SERVERS_ISN
        } else {
            segment.ack
        };
        let answer = if segment.proto == proto::UDP {
            datagram(segment.dst, segment.src, data)
        } else {
            spec(segment.dst, segment.src, flags, seq, ack, data)
        };
        vec![Sending {
            port,
            frame: answer.to(port),
        }]
    }
}

impl Client {
    /// What it says now, for the first time or again.
    fn says(&self) -> Spec {
        let (isn, sent) = (isn(self.id), self.answered * DATA);
        let (seq, ack) = (isn + 1 + sent, SERVERS_ISN + 1 + sent);
        let mut data = vec![];
        data.extend(self.id.to_be_bytes());
        data.extend(self.answered.to_be_bytes());
        match (self.proto, self.stage) {
            (proto::UDP, _) => datagram(self.me, self.server, &data),
            (_, Stage::Opening) => spec(self.me, self.server, SYN, isn, 0, &[]),
            (_, Stage::Open) => spec(self.me, self.server, ACK, seq, ack, &data),
            _ => spec(self.me, self.server, FIN | ACK, seq, ack, &[]),
        }
    }

    /// Whether it is to go on for ever.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Open | Stage::Closing)
    }
}

fn isn(id: u32) -> u32 {
    id * 0x1000
}

fn content(data: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?));
    Some((word(0)?, word(4)?))
}

fn datagram(from: End, to: End, data: &[u8]) -> Spec {
    udp(&from.0.to_string(), from.1, &to.0.to_string(), to.1, data)
}

fn spec(from: End, to: End, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Spec {
    let mut spec = tcp(
        &from.0.to_string(),
        from.1,
        &to.0.to_string(),
        to.1,
        flags,
        seq,
        ack,
    );
    spec.body.extend(data);
    spec.summed(16)
}
