//! `[api]`: where the REST API listens.

use std::net::{Ipv4Addr, SocketAddr};

use super::place::{Place, optional};
use super::raw::section;

section! {
    /// `[api]`
    pub struct RawApi {
        /// Address and TCP port.
        listen: String,
    }
}

/// Where the REST API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// A loopback address and a TCP port.
    pub listen: SocketAddr,
}

impl RawApi {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Api> {
        let listen = optional(self.listen.as_deref(), |text| {
            listen(text, &place.key("listen"))
        })?;
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Some(Api {
            listen: listen.unwrap_or(default),
        })
    }
}

fn listen(text: &str, place: &Place<'_>) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return place.wrong(
            format_args!("{text:?} is not an address with port"),
            "write one like 127.0.0.1:8080 or [::1]:8080",
        );
    };
    if !address.ip().is_loopback() {
        return place.wrong(
            format_args!(
                "{text:?} can be reached from other hosts, and the API asks nobody who they are"
            ),
            format_args!(
                "write 127.0.0.1:{}, and reach it by an SSH tunnel",
                address.port()
            ),
        );
    }
    Some(address)
}
