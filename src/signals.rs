//! SIGTERM, SIGINT and SIGHUP.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Stop, in good order.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The signals that the process answers to, from now on.
pub(crate) struct Requests(Signals);

impl Requests {
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map(Self)
    }

    /// Waits for the next one.
    pub(crate) fn next(&mut self) -> Request {
        match self.0.forever().next() {
            Some(SIGHUP) => Request::Reload,
            _ => Request::Stop,
        }
    }
}
