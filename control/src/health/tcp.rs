//! TCP: a connection is taken; what is sent brings what is expected.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Failure, Reason};
use crate::config::Words;

/// Bytes that are read in search of what is expected.
const MOST: usize = 16_384;

/// Connects. The connection will end with a reset: nothing of it stays behind, here, in the server or
/// in the data plane, of what would be one connection a second and server.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    Ok(socket.connect(address).await?)
}

pub(super) async fn check(address: SocketAddr, words: &Words) -> Result<(), Failure> {
    let mut stream = connect(address).await?;
    stream.write_all(&words.send).await?;
    if words.expect.is_empty() {
        return Ok(());
    }
    find(&mut stream, &words.expect).await
}

/// Reads until the bytes have come.
async fn find(stream: &mut (impl AsyncRead + Unpin), wanted: &[u8]) -> Result<(), Failure> {
    let mut read = Vec::new();
    let mut part = [0; 2048];
    loop {
        let length = stream.read(&mut part).await?;
        read.extend_from_slice(&part[..length]);
        if contains(&read, wanted) {
            return Ok(());
        }
        if length == 0 || read.len() > MOST {
            return Err(unexpected(&read));
        }
    }
}

pub(super) fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}

/// The answer was another one.
pub(super) fn unexpected(read: &[u8]) -> Failure {
    let shown = String::from_utf8_lossy(&read[..read.len().min(64)]);
    let detail = match read.len() {
        0 => "it sent nothing, and was to send something".to_owned(),
        length => format!("not in the answer of {length} bytes, which begins {shown:?}"),
    };
    Failure::new(Reason::Content, detail)
}
