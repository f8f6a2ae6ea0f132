//! Echo requests, and who answers them: the host itself, or an ICMP error by the socket's error queue.

use std::io;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::cmsg_space;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::Socket;

use super::{Answer, NAP, ProbeView, rounded};
use crate::health::icmp::{self, LENGTH};

/// Who reports an error (`ee_origin`): another host by ICMP, or by ICMPv6.
const BY_ICMP: u8 = 2;
const BY_ICMP6: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const TIME_EXCEEDED_V6: u8 = 3;

/// A socket towards a host.
pub(super) struct Echo {
    socket: Socket,
    host: IpAddr,
}

/// An echo request that was sent.
pub(super) struct Asked {
    pub(super) sequence: u16,
    pub(super) hop: Option<u32>,
    request: [u8; LENGTH],
    pub(super) begun: Instant,
}

impl Asked {
    #[cfg(test)]
    pub(super) fn new(sequence: u16, hop: Option<u32>, begun: Instant) -> Self {
        Self {
            sequence,
            hop,
            request: [0; LENGTH],
            begun,
        }
    }

    pub(super) fn view(&self, answer: Answer) -> ProbeView {
        ProbeView::new(self.sequence, self.hop, answer)
    }

    fn ms(&self) -> Option<f64> {
        Some(rounded(self.begun.elapsed().as_secs_f64() * 1000.0))
    }
}

/// An ICMP error about an echo request of ours.
struct Fault {
    /// Of the request that it is about.
    sequence: u16,
    from: Option<IpAddr>,
    /// Type, code, and what a "too big" says: an MTU.
    kind: u8,
    code: u8,
    info: u32,
    errno: u32,
    remote: bool,
}

impl Echo {
    pub(super) fn open(host: IpAddr) -> io::Result<Self> {
        let socket = icmp::socket(host)?;
        match host {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(Self { socket, host })
    }

    /// Sends one.
    ///
    /// # Errors
    /// What became of it, if it cannot be sent.
    pub(super) fn send(&mut self, sequence: u16, hop: Option<u32>) -> Result<Asked, ProbeView> {
        let not_sent = |why: io::Error| ProbeView::new(sequence, hop, Answer::NotSent).because(why);
        if let Some(hop) = hop {
            let set = match self.host {
                IpAddr::V4(_) => self.socket.set_ttl_v4(hop),
                IpAddr::V6(_) => self.socket.set_unicast_hops_v6(hop),
            };
            set.map_err(not_sent)?;
        }
        // An error about one that was sent before is in the queue as well, and no fault of this one.
        let _ = self.socket.take_error();
        let request = icmp::request(self.host, sequence);
        let begun = Instant::now();
        self.socket.send(&request).map_err(not_sent)?;
        Ok(Asked {
            sequence,
            hop,
            request,
            begun,
        })
    }

    /// Waits for a moment, not beyond `until`; then calls `found` with what became of those among `asked`
    /// of which something is known now.
    pub(super) fn listen<'a>(
        &mut self,
        asked: impl Iterator<Item = &'a Asked> + Clone,
        until: Instant,
        found: &mut dyn FnMut(ProbeView),
    ) {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a wait of no time would spin.
        let nap = left.min(NAP).as_millis() as u16 + 1;
        let mut of = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut of, nap);
        while let Some(fault) = self.fault() {
            if let Some(one) = asked.clone().find(|one| one.sequence == fault.sequence) {
                found(ProbeView {
                    from: fault.from,
                    rtt_ms: one.ms().filter(|_| fault.remote),
                    reason: Some(fault.reason(self.host)),
                    ..one.view(fault.answer(self.host))
                });
            }
        }
        let mut buffer = [0; 2 * LENGTH];
        // Reading fails where nothing is there, and once for each error that was in the queue.
        while let Ok(length) = io::Read::read(&mut &self.socket, &mut buffer) {
            let message = &buffer[..length];
            let answered = |one: &&Asked| icmp::answers(self.host, &one.request, message);
            if let Some(one) = asked.clone().find(answered) {
                found(ProbeView {
                    from: Some(self.host),
                    rtt_ms: one.ms(),
                    ..one.view(Answer::Reply)
                });
            }
        }
    }

    /// Takes an error out of the queue.
    fn fault(&self) -> Option<Fault> {
        let mut quoted = [0; 2 * LENGTH];
        let mut control = cmsg_space!(sock_extended_err, sockaddr_in6);
        let mut into = [IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let descriptor = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(descriptor, &mut into, Some(&mut control), flags);
        let message = message.ok()?;
        let mut found = None;
        for control in message.cmsgs().ok()? {
            let (error, from) = match control {
                ControlMessageOwned::Ipv4RecvErr(error, from) => {
                    let from = from.map(|from| Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)));
                    (error, from.map(IpAddr::V4))
                }
                ControlMessageOwned::Ipv6RecvErr(error, from) => {
                    let from = from.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr));
                    (error, from.map(IpAddr::V6))
                }
                _ => continue,
            };
            let remote = matches!(error.ee_origin, BY_ICMP | BY_ICMP6);
            found = Some((error, from.filter(|_| remote), remote));
        }
        let (error, from, remote) = found?;
        Some(Fault {
            sequence: u16::from_be_bytes([quoted[6], quoted[7]]),
            from,
            kind: error.ee_type,
            code: error.ee_code,
            info: error.ee_info,
            errno: error.ee_errno,
            remote,
        })
    }
}

impl Fault {
    fn answer(&self, host: IpAddr) -> Answer {
        match (host, self.kind) {
            _ if !self.remote => Answer::NotSent,
            (IpAddr::V4(_), TIME_EXCEEDED) | (IpAddr::V6(_), TIME_EXCEEDED_V6) => {
                Answer::TimeExceeded
            }
            _ => Answer::Unreachable,
        }
    }

    fn reason(&self, host: IpAddr) -> String {
        if !self.remote {
            return io::Error::from_raw_os_error(self.errno as i32).to_string();
        }
        named(host, self.kind, self.code, self.info)
    }
}

/// What an ICMP error says: RFC 792, RFC 1812 and RFC 4443 have the codes.
pub(super) fn named(host: IpAddr, kind: u8, code: u8, info: u32) -> String {
    let text = match (host, kind, code) {
        (IpAddr::V4(_), 3, 0) | (IpAddr::V6(_), 1, 0) => "network unreachable",
        (IpAddr::V4(_), 3, 1) | (IpAddr::V6(_), 1, 3) => "host unreachable",
        (IpAddr::V4(_), 3, 2) => "protocol unreachable",
        (IpAddr::V4(_), 3, 3) | (IpAddr::V6(_), 1, 4) => "port unreachable",
        (IpAddr::V4(_), 3, 4) | (IpAddr::V6(_), 2, _) => return format!("too big, MTU {info}"),
        (IpAddr::V4(_), 3, 5) => "source route failed",
        (IpAddr::V4(_), 3, 9 | 10 | 13) | (IpAddr::V6(_), 1, 1) => "administratively prohibited",
        (IpAddr::V6(_), 1, 2) => "beyond the scope of the source address",
        (IpAddr::V6(_), 1, 5) => "the source address is not allowed",
        (IpAddr::V6(_), 1, 6) => "the route is a reject route",
        (IpAddr::V4(_), 11, 0) | (IpAddr::V6(_), 3, 0) => "TTL used up",
        (IpAddr::V4(_), 11, _) | (IpAddr::V6(_), 3, _) => "fragments did not come together in time",
        (IpAddr::V4(_), 12, _) | (IpAddr::V6(_), 4, _) => "parameter problem",
        _ => return format!("ICMP type {kind}, code {code}"),
    };
    text.to_owned()
}
