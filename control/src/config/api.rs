//! `[api]`: where the REST API listens, and whom it lets in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::place::{Place, optional};
use super::raw::section;
use super::value::{number, word};

section! {
    /// `[api]`
    pub struct RawApi {
        /// Address and TCP port.
        listen: String,
        /// `users` or `none`.
        auth: String,
        /// Whether connections are under TLS.
        tls: bool,
        /// Requests per second from one client.
        requests_per_second: i64,
    }
}

/// Where the REST API listens, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// An address of this machine, and a TCP port.
    pub listen: SocketAddr,
    /// Whether callers have to be users. Only on loopback they need not.
    pub auth: bool,
    /// Whether connections are under TLS. Only on loopback they need not be.
    pub tls: bool,
    /// Requests per second from one client.
    pub requests_per_second: u32,
}

impl RawApi {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Api> {
        let listen = optional(self.listen.as_deref(), |text| {
            listen(text, &place.key("listen"))
        });
        let auth = optional(self.auth.as_deref(), |text| {
            let words = [("users", true), ("none", false)];
            word(text, &words, &place.key("auth"))
        });
        let requests_per_second = number::<u32>(
            self.requests_per_second.unwrap_or(500),
            1..=1_000_000,
            &place.key("requests_per_second"),
        );
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let (listen, auth) = (listen?.unwrap_or(default), auth?);
        let exposed = !listen.ip().is_loopback();
        if exposed && auth == Some(false) {
            return place.key("auth").wrong(
                format_args!("{listen} can be reached from other hosts, and nobody is to be asked"),
                "write auth = \"users\", or listen on a loopback address",
            );
        }
        if exposed && self.tls == Some(false) {
            return place.key("tls").wrong(
                format_args!(
                    "{listen} can be reached from other hosts, and passwords would be seen"
                ),
                "write tls = true, or listen on a loopback address",
            );
        }
        Some(Api {
            listen,
            auth: auth.unwrap_or(exposed),
            tls: self.tls.unwrap_or(exposed),
            requests_per_second: requests_per_second?,
        })
    }
}

fn listen(text: &str, place: &Place<'_>) -> Option<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return place.wrong(
            format_args!("{text:?} is not an address with port"),
            "write one like 127.0.0.1:8080, [::1]:8080 or 192.0.2.10:8443",
        );
    };
    let everywhere = match address.ip() {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    };
    if everywhere {
        return place.wrong(
            format_args!("{text:?} is not the address of one interface"),
            "write the management address of this machine",
        );
    }
    Some(address)
}
