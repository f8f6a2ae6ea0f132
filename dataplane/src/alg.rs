//! Application-level gateways: protocols whose control connection names the endpoints of further
//! sessions. What is here knows nothing of sessions or workers: [`ftp`] reads lines, [`edits`] keeps
//! count of what rewriting them did to sequence numbers, [`splice`] changes a segment.
//!
//! What a worker does with it is in `worker::alg`.

pub mod edits;
pub mod ftp;
pub mod splice;

/// Which connections are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlgPolicy {
    /// TCP ports, as clients address them, on which servers speak FTP; sorted. Empty: none is watched.
    pub ftp: Vec<u16>,
}

impl AlgPolicy {
    /// Whether connections to this TCP port are FTP's.
    #[inline]
    pub fn is_ftp(&self, port: u16) -> bool {
        self.ftp.binary_search(&port).is_ok()
    }
}
