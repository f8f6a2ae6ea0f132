//! Why a check failed.

use std::fmt;
use std::io;

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a check failed, in one word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As API and metrics have it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// No answer in time.
    Timeout = "timeout",
    /// Nobody listens there.
    Refused = "refused",
    /// The network says that there is no such host or network.
    Unreachable = "unreachable",
    /// The connection was reset or closed too early.
    Closed = "closed",
    /// The TLS handshake failed, or the certificate is wrong.
    Tls = "tls",
    /// What came is not what the protocol has.
    Protocol = "protocol",
    /// The answer says that the service does not work: a status of HTTP, DNS or gRPC.
    Status = "status",
    /// The answer does not have what it has to contain.
    Content = "content",
    /// The script did not end with 0.
    Script = "script",
    /// The check could not be made here. It says nothing of the server.
    Local = "local",
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In one word.
    pub reason: Reason,
    /// For people.
    pub detail: String,
}

/// Longest text of a server's that is passed on, in bytes.
const LONGEST: usize = 200;

impl Failure {
    /// With a text that is cut and cleaned: much of it comes from servers.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        let plain = detail.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut length = 0;
        let cut = plain.take_while(|c| {
            length += c.len_utf8();
            length <= LONGEST
        });
        Self {
            reason,
            detail: cut.collect(),
        }
    }

    /// A check that took too long.
    pub fn timeout(ms: u32) -> Self {
        Self::new(Reason::Timeout, format_args!("no answer within {ms} ms"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Errors of the system that speak of this machine, and not of the server.
const LOCAL: &[i32] = &[
    nix::libc::EMFILE,
    nix::libc::ENFILE,
    nix::libc::ENOBUFS,
    nix::libc::ENOMEM,
    nix::libc::EADDRNOTAVAIL,
    nix::libc::EADDRINUSE,
    nix::libc::EACCES,
    nix::libc::EPERM,
];

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let ours = error
            .raw_os_error()
            .is_some_and(|code| LOCAL.contains(&code));
        let reason = match error.kind() {
            _ if ours => Reason::Local,
            Kind::ConnectionRefused => Reason::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Reason::Unreachable
            }
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => Reason::Closed,
            Kind::TimedOut => Reason::Timeout,
            _ => Reason::Protocol,
        };
        Self::new(reason, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_is_cut_and_cleaned() {
        let failure = Failure::new(
            Reason::Content,
            format_args!("a\nb\x1b[2J{}", "é".repeat(200)),
        );
        assert!(failure.detail.starts_with("a b [2Jéé"));
        assert!(failure.detail.len() <= LONGEST && failure.detail.len() > LONGEST - 4);
    }

    #[test]
    fn a_lack_of_sockets_is_no_fault_of_the_server() {
        let of = |code| Failure::from(io::Error::from_raw_os_error(code)).reason;
        assert_eq!(of(nix::libc::EMFILE), Reason::Local);
        assert_eq!(of(nix::libc::ECONNREFUSED), Reason::Refused);
        assert_eq!(of(nix::libc::EHOSTUNREACH), Reason::Unreachable);
        assert_eq!(of(nix::libc::ECONNRESET), Reason::Closed);
    }
}
