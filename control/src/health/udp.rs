//! UDP: a datagram is answered, and the answer has what it has to contain.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::{Failure, Reason, tcp};
use crate::config::Words;

/// Largest datagram that is read whole.
const MOST: usize = 9000;

/// The socket towards a target. It is kept from one answer to the next check: another port each time
/// would be another connection for the data plane to remember.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    socket: Option<UdpSocket>,
}

impl Datagrams {
    /// Sends a datagram, and reads others until `right` is content with one.
    ///
    /// # Errors
    /// Those of the socket, which the next check opens anew; and what `right` says of an answer.
    pub(super) async fn exchange(
        &mut self,
        address: SocketAddr,
        datagram: &[u8],
        mut right: impl FnMut(&[u8]) -> Answer,
    ) -> Result<(), Failure> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(address).await?,
        };
        drain(&mut socket);
        socket.send(datagram).await?;
        let mut buffer = vec![0; MOST];
        // Lost if the check runs out of time: an answer that comes too late for it must not be the
        // next one's.
        loop {
            let length = socket.recv(&mut buffer).await?;
            let said = match right(&buffer[..length]) {
                Answer::Right => Ok(()),
                Answer::Wrong(failure) => Err(failure),
                Answer::Another => continue,
            };
            self.socket = Some(socket);
            return said;
        }
    }
}

/// What a datagram is.
#[derive(Debug)]
pub(super) enum Answer {
    /// The right answer.
    Right,
    /// An answer, and not the right one.
    Wrong(Failure),
    /// No answer to this question: late, or a stranger's.
    Another,
}

async fn open(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Forgets what came too late for an earlier check, errors included.
fn drain(socket: &mut UdpSocket) {
    let mut buffer = [0; 1];
    while !matches!(socket.try_recv(&mut buffer),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    {}
    let _ = socket.take_error();
}

pub(super) async fn check(
    datagrams: &mut Datagrams,
    address: SocketAddr,
    words: &Words,
) -> Result<(), Failure> {
    let right = |answer: &[u8]| match tcp::contains(answer, &words.expect) {
        true => Answer::Right,
        false => Answer::Wrong(tcp::unexpected(answer)),
    };
    datagrams.exchange(address, &words.send, right).await
}

/// An answer that is no use.
pub(super) fn garbage(why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::Protocol, why)
}
