//! A TCP connection through an appliance, both ends of it: each keeps its own sequence numbers, and every
//! segment must arrive at the number that is next there, intact.

use sluice_dataplane::alg::splice;
use sluice_wire::parse::parse;
use sluice_wire::tcp::Segment;
use sluice_wire::tcp::flag::{ACK, PSH, SYN};
use sluice_wire::{Tuple, V4, V6};

use super::packet::segment;
use super::pair::Pair;
use super::{PortId, World, ip};

/// What frames go through.
pub trait Way {
    /// A frame comes in by a port; gives what leaves by the other one.
    fn pass(&mut self, port: PortId, frame: &[u8]) -> Vec<u8>;
    /// The next frame comes to another worker.
    fn turn(&mut self);
}

impl Way for World {
    fn pass(&mut self, port: PortId, frame: &[u8]) -> Vec<u8> {
        self.through(port, frame)
    }

    fn turn(&mut self) {
        self.arrive_at += 1;
    }
}

/// One node of several, by which packets come and leave.
pub struct By<'a>(pub &'a mut Pair, pub u8);

impl Way for By<'_> {
    fn pass(&mut self, port: PortId, frame: &[u8]) -> Vec<u8> {
        let other = PortId(1 - port.0);
        self.0.through((self.1, port), frame, (self.1, other))
    }

    fn turn(&mut self) {}
}

/// A segment as it arrived somewhere.
pub struct Got {
    pub tuple: Tuple,
    pub seq: u32,
    pub ack: u32,
    pub data: String,
}

/// Reads a frame; it must be intact.
pub fn read(frame: &[u8]) -> Got {
    let parsed = parse(frame, None, false).expect("a packet");
    let (tuple, intact) = if parsed.v6 {
        let tuple = parsed.key::<V6>(frame, 0).tuple::<V6>();
        (tuple, splice::is_intact::<V6>(frame, &parsed))
    } else {
        let tuple = parsed.key::<V4>(frame, 0).tuple::<V4>();
        (tuple, splice::is_intact::<V4>(frame, &parsed))
    };
    assert!(intact, "a wrong checksum");
    let bytes = parsed.transport(frame);
    let segment = Segment::parse(bytes).expect("a segment");
    let data = &bytes[usize::from(segment.header_len)..];
    Got {
        tuple,
        seq: segment.seq,
        ack: segment.ack,
        data: String::from_utf8_lossy(data).into_owned(),
    }
}

/// One end of a connection.
#[derive(Clone)]
pub struct End {
    pub at: PortId,
    pub own: (String, u16),
    pub peer: (String, u16),
    /// The next number that it sends, and the next that it expects.
    pub send: u32,
    pub want: u32,
}

impl End {
    pub fn new(at: PortId, own: (&str, u16), peer: (&str, u16), send: u32) -> Self {
        let named = |(address, port): (&str, u16)| (address.to_owned(), port);
        Self {
            at,
            own: named(own),
            peer: named(peer),
            send,
            want: 0,
        }
    }

    pub fn frame(&self, flags: u8, seq: u32, data: &str) -> Vec<u8> {
        let ends = [
            (self.own.0.as_str(), self.own.1),
            (self.peer.0.as_str(), self.peer.1),
        ];
        let ack = if flags & ACK == 0 { 0 } else { self.want };
        segment(ends, flags, (seq, ack), data.as_bytes()).to(self.at)
    }
}

/// A connection through the appliance.
pub struct Connection {
    pub client: End,
    pub server: End,
}

impl Connection {
    /// Opens it. The server must be reached at `server`.
    pub fn open(world: &mut impl Way, client: End, server: (&str, u16)) -> Self {
        let mut client = client;
        let start = client.send;
        let out = world.pass(client.at, &client.frame(SYN, start, ""));
        world.turn();
        let out = read(&out);
        assert_eq!((out.tuple.dst, out.tuple.dport), (ip(server.0), server.1));
        let seen = (out.tuple.src.to_string(), out.tuple.sport);
        let mut server = End::new(PortId(1 - client.at.0), server, (&seen.0, seen.1), 9000);
        (client.send, server.want) = (start + 1, out.seq + 1);
        let back = world.pass(server.at, &server.frame(SYN | ACK, 9000, ""));
        world.turn();
        let back = read(&back);
        assert_eq!(
            (back.tuple.src, back.ack),
            (ip(&client.peer.0), client.send)
        );
        (server.send, client.want) = (9001, back.seq + 1);
        world.pass(client.at, &client.frame(ACK, client.send, ""));
        world.turn();
        Self { client, server }
    }

    pub fn ends(&mut self, by_client: bool) -> (&mut End, &mut End) {
        match by_client {
            true => (&mut self.client, &mut self.server),
            false => (&mut self.server, &mut self.client),
        }
    }

    /// One end says something; gives what the other one hears, and acknowledges.
    pub fn say(&mut self, world: &mut impl Way, by_client: bool, text: &str) -> String {
        let (from, to) = self.ends(by_client);
        let frame = from.frame(ACK | PSH, from.send, text);
        from.send += text.len() as u32;
        let got = read(&world.pass(from.at, &frame));
        world.turn();
        assert_eq!((got.seq, got.ack), (to.want, to.send), "{text}");
        assert_eq!(got.tuple.src, ip(&to.peer.0));
        to.want += got.data.len() as u32;
        let heard = read(&world.pass(to.at, &to.frame(ACK, to.send, "")));
        world.turn();
        assert_eq!((heard.seq, heard.ack), (from.want, from.send), "{text}");
        got.data
    }

    pub fn client(&mut self, world: &mut impl Way, text: &str) -> String {
        self.say(world, true, text)
    }

    pub fn server(&mut self, world: &mut impl Way, text: &str) -> String {
        self.say(world, false, text)
    }

    /// The server greets and the client logs in.
    pub fn log_in(mut self, world: &mut impl Way) -> Self {
        self.server(world, "220 ready\r\n");
        assert_eq!(self.client(world, "USER me\r\n"), "USER me\r\n");
        self.server(world, "230 welcome\r\n");
        self
    }
}
