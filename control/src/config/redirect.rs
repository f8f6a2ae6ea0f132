//! `redirect = { .. }` of a virtual server: where clients are sent that nobody can serve.

use std::net::IpAddr;

use axum::http::Uri;
use axum::http::uri::Scheme;
use sluice_dataplane::http_redirect::Status;

use super::place::Place;
use super::raw::section;

/// Characters of a URL at most: the response fits every path with it.
const LONGEST: usize = 400;

section! {
    /// `redirect = { .. }`
    pub struct RawRedirect {
        /// Where to: an HTTP or HTTPS URL.
        url: String,
        /// 301, 302, 307 or 308.
        status: i64,
        /// Whether path and query of the request are appended to the URL.
        append_path: bool,
    }
}

/// What clients are answered over HTTP that nobody can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Where to: an absolute URL, of visible ASCII characters.
    pub url: String,
    /// By which status.
    pub status: Status,
    /// Path and query of the request are appended; the URL has neither query nor fragment then.
    pub append_path: bool,
}

impl RawRedirect {
    /// `vip`: address and ports of the virtual server.
    pub(super) fn check(
        &self,
        vip: (Option<IpAddr>, Option<(u16, u16)>),
        place: &Place<'_>,
    ) -> Option<Redirect> {
        let append_path = self.append_path.unwrap_or(false);
        let url = place
            .required("url", &self.url, "\"https://status.example.com/\"")
            .and_then(|text| url(text, append_path, vip, &place.key("url")));
        let status = status(self.status.unwrap_or(302), &place.key("status"));
        Some(Redirect {
            url: url?,
            status: status?,
            append_path,
        })
    }
}

fn status(code: i64, place: &Place<'_>) -> Option<Status> {
    Some(match code {
        301 => Status::MovedPermanently,
        302 => Status::Found,
        307 => Status::TemporaryRedirect,
        308 => Status::PermanentRedirect,
        _ => {
            return place.wrong(
                format_args!("{code} is no status that leads elsewhere"),
                "write 301, 302, 307 or 308",
            );
        }
    })
}

fn url(
    text: &str,
    append_path: bool,
    (vip, ports): (Option<IpAddr>, Option<(u16, u16)>),
    place: &Place<'_>,
) -> Option<String> {
    let wrong = |found: &str, remedy: &str| place.wrong(format_args!("{text:?} {found}"), remedy);
    let like = "write one like https://status.example.com/";
    if text.len() > LONGEST {
        return place.wrong(
            format_args!("{} characters", text.len()),
            format_args!("write a URL of {LONGEST} characters at most"),
        );
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "has characters that no URL has",
            "write what is not visible ASCII in percent-encoding",
        );
    }
    // What stands behind `#` is the browser's.
    let sent = text.split_once('#').map_or(text, |(sent, _)| sent);
    let parsed = sent.parse::<Uri>().ok();
    let Some((parsed, scheme)) = parsed.as_ref().and_then(|uri| Some((uri, uri.scheme()?))) else {
        return wrong("is not a URL", like);
    };
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return wrong("is not a URL of HTTP", like);
    }
    let host = parsed.host().unwrap_or_default();
    if host.is_empty()
        || parsed
            .authority()
            .is_some_and(|it| it.as_str().contains('@'))
    {
        return wrong("does not name a host alone", like);
    }
    if append_path && (sent.len() < text.len() || parsed.query().is_some()) {
        return wrong(
            "has a query or a fragment, behind which no path can be appended",
            "take it out, or write append_path = false",
        );
    }
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let default = if *scheme == Scheme::HTTP { 80 } else { 443 };
    let port = parsed.port_u16().unwrap_or(default);
    let is_served = ports.is_none_or(|(first, last)| (first..=last).contains(&port));
    if address.is_some() && address == vip && is_served {
        return wrong(
            "leads back to the virtual server",
            "write where else its clients find something",
        );
    }
    Some(text.to_owned())
}
