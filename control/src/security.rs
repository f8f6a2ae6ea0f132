//! Who may ask what: users, tokens, roles, limits, certificate, audit log.
//!
//! On loopback nobody is asked, unless `[api] auth = "users"`; anywhere else there are users and TLS,
//! always. Passwords are at rest as argon2 hashes, tokens as SHA-256 of 256 random bits; neither is
//! ever shown again or logged.

mod accounts;
mod audit;
mod clients;
mod expiry;
mod limits;
mod secret;
mod tls;

use std::path::Path;
use std::sync::Arc;

pub use accounts::{
    Access, Accounts, Area, Bearer, Denied, Done, Grant, Identity, Login, MAX_PASSWORD,
    MIN_PASSWORD, NewToken, Refused, Role, Run, Scope, Token, User, WantedToken,
};
pub use audit::{Audit, Record, Search};
pub use clients::{Clients, names};
pub use limits::{Limits, Wait, network};
pub use tls::{Certificate, Tls, TlsError};

use crate::config::Api;
use crate::store::Directory;

/// Everything that stands at the door. Clones are the same.
#[derive(Debug, Clone)]
pub struct Security {
    /// Users and tokens; `None` where nobody is asked.
    pub accounts: Option<Arc<Accounts>>,
    /// The certificate; `None` without TLS.
    pub tls: Option<Arc<Tls>>,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// How much each client may ask.
    pub limits: Arc<Limits>,
}

/// Why the door cannot be guarded as it should.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Users and certificates need a place.
    #[error(
        "the API is to ask who somebody is, and there is no place to keep users; start with \
         --state-dir, or listen on a loopback address"
    )]
    NoState,
    /// The state directory refuses.
    #[error("the state directory cannot be used: {0}")]
    State(#[from] std::io::Error),
    /// A file in it is damaged.
    #[error("{file} in the state directory is damaged: {reason}")]
    Damaged {
        /// Which.
        file: &'static str,
        /// How.
        reason: String,
    },
    /// The certificate cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] TlsError),
}

impl Security {
    /// As the configuration wants it. `directory` is the state directory; `name` the node's.
    ///
    /// # Errors
    /// [`SecurityError`], above all if users are wanted and there is no state directory.
    pub fn open(
        api: &Api,
        directory: Option<&Directory>,
        name: &str,
    ) -> Result<Self, SecurityError> {
        let place = || directory.cloned().ok_or(SecurityError::NoState);
        let accounts = match api.auth {
            true => Some(Arc::new(Accounts::open(Box::new(place()?))?)),
            false => None,
        };
        let tls = match api.tls {
            true => {
                let names = vec![
                    api.listen.ip().to_string(),
                    name.to_owned(),
                    "localhost".into(),
                ];
                Some(Arc::new(Tls::open(Box::new(place()?), names)?))
            }
            false => None,
        };
        let path: Option<&Path> = directory.map(Directory::path);
        Ok(Self {
            accounts,
            tls,
            audit: Arc::new(Audit::open(path)?),
            limits: Arc::new(Limits::new(api.requests_per_second)),
        })
    }
}
