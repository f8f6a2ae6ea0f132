//! What a virtual server answers by itself when nobody else can: an HTTP response that leads elsewhere.
//!
//! There is no session, and no memory of the client: its request is looked at in the one segment that
//! it begins with, and the response fits into one. See `worker::http_redirect` for the way there.

use arrayvec::ArrayVec;

mod answer;
mod request;

pub use answer::{Answer, answer};
pub use request::Speech;

/// Bytes of a response at most: what the smallest MTU of IPv6 leaves to TCP (RFC 8200 section 5).
pub const LONGEST: usize = 1220;
/// Bytes of one without the request's path, at most: what every host takes (RFC 9293 section 3.7.1).
pub const LONGEST_BARE: usize = 536;

/// Responses with a request's path are as long as a multiple of this, bytes: the fewer lengths there are, the
/// fewer strays look like the acknowledgement of one.
const STEP: usize = 64;

/// The last header. A browser must not remember the redirect, whatever its status: servers come back.
const LAST: &[u8] = b"\r\nCache-Control: no-store";
const END: &[u8] = b"\r\n\r\n";
const TAIL: usize = LAST.len() + END.len();

/// A response.
pub type Response = ArrayVec<u8, LONGEST>;

/// Status codes that lead elsewhere (RFC 9110 section 15.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// 301: for good; what is not GET or HEAD may become GET.
    MovedPermanently,
    /// 302: for now; what is not GET or HEAD may become GET.
    #[default]
    Found,
    /// 307: for now, by the same method.
    TemporaryRedirect,
    /// 308: for good, by the same method.
    PermanentRedirect,
}

impl Status {
    /// Code and phrase, as they stand in a status line.
    const fn line(self) -> &'static str {
        match self {
            Self::MovedPermanently => "301 Moved Permanently",
            Self::Found => "302 Found",
            Self::TemporaryRedirect => "307 Temporary Redirect",
            Self::PermanentRedirect => "308 Permanent Redirect",
        }
    }
}

/// Where a virtual server's clients are sent, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRedirect {
    /// The response but for its end and, before that, the request's path.
    head: Box<[u8]>,
    append_path: bool,
    /// Zones of the virtual server's real servers, each once.
    pub zones: Box<[u8]>,
}

/// A response without a path would be longer than [`LONGEST_BARE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL has {by} bytes too many")]
pub struct TooLong {
    /// By how many bytes.
    pub by: usize,
}

impl HttpRedirect {
    /// To `url`, which has visible ASCII characters only and, where the path and query of requests are
    /// appended, neither query nor fragment.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn new(
        url: &str,
        status: Status,
        append_path: bool,
        zones: Box<[u8]>,
    ) -> Result<Self, TooLong> {
        // A path has its own.
        let url = match append_path {
            true => url.strip_suffix('/').unwrap_or(url),
            false => url,
        };
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {url}",
            status.line()
        );
        // Where the path is missing, a slash may take its place.
        let bare = head.len() + 1 + TAIL;
        match bare.checked_sub(LONGEST_BARE) {
            None | Some(0) => Ok(Self {
                head: head.into_bytes().into(),
                append_path,
                zones,
            }),
            Some(by) => Err(TooLong { by }),
        }
    }

    /// The response to a request, `room` bytes at most if that is [`LONGEST_BARE`] or more. The request's
    /// `target` is left out where it does not fit.
    pub fn response(&self, target: Option<&[u8]>, room: usize) -> Response {
        let mut out = Response::new();
        let room = room.min(LONGEST);
        let before = room - TAIL.min(room);
        append(&mut out, &self.head, before);
        let mut len = 0;
        if self.append_path {
            let there = target.is_some_and(|it| request::append_target(&mut out, it, before));
            let padded = (out.len() + TAIL).next_multiple_of(STEP);
            if there && padded <= room {
                len = padded;
            } else {
                out.truncate(self.head.len());
                append(&mut out, b"/", before);
            }
        }
        append(&mut out, LAST, LONGEST);
        // Spaces are not of the header's value (RFC 9110 section 5.5), and there are clients that take them for
        // part of a location.
        while out.len() + END.len() < len {
            append(&mut out, b" ", LONGEST);
        }
        append(&mut out, END, LONGEST);
        out
    }

    /// Whether a client that has got the whole response, or a FIN in its place, acknowledges so many
    /// numbers after the handshake's.
    pub fn ends_with(&self, acknowledged: u16) -> bool {
        // The last one is the FIN's.
        let Some(len) = usize::from(acknowledged).checked_sub(1) else {
            return false;
        };
        let bare = self.head.len() + usize::from(self.append_path) + TAIL;
        let with_path = self.append_path && len.is_multiple_of(STEP);
        len == 0 || len == bare || with_path && (bare..=LONGEST).contains(&len)
    }
}

/// Appends all of `bytes`, or nothing where the whole would be longer than `room`.
fn append(out: &mut Response, bytes: &[u8], room: usize) -> bool {
    out.len() + bytes.len() <= room && out.try_extend_from_slice(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redirect(url: &str, append_path: bool) -> HttpRedirect {
        HttpRedirect::new(url, Status::Found, append_path, [].into()).unwrap()
    }

    fn text(redirect: &HttpRedirect, target: Option<&str>, room: usize) -> String {
        let response = redirect.response(target.map(str::as_bytes), room);
        String::from_utf8(response.to_vec()).unwrap()
    }

    #[test]
    fn a_response_says_where_to_and_nothing_else() {
        let plain = redirect("https://status.example.com/down?from=web", false);
        let wanted = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n\
            Location: https://status.example.com/down?from=web\r\nCache-Control: no-store\r\n\r\n";
        assert_eq!(text(&plain, Some("/shop?item=7"), 1460), wanted);
        assert_eq!(text(&plain, None, 1460), wanted);
        for (status, line) in [
            (Status::MovedPermanently, "HTTP/1.1 301 Moved Permanently\r"),
            (
                Status::TemporaryRedirect,
                "HTTP/1.1 307 Temporary Redirect\r",
            ),
            (
                Status::PermanentRedirect,
                "HTTP/1.1 308 Permanent Redirect\r",
            ),
        ] {
            let made = HttpRedirect::new("http://a/", status, false, [].into()).unwrap();
            assert_eq!(
                text(&made, None, 1460).lines().next(),
                line.strip_suffix('\r')
            );
        }
    }

    fn location(redirect: &HttpRedirect, target: Option<&str>, room: usize) -> String {
        let response = text(redirect, target, room);
        let line = response
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        assert!(response.ends_with("\r\n\r\n"), "{response}");
        line.expect("a location").to_owned()
    }

    #[test]
    fn the_path_is_appended_where_it_fits_and_is_left_out_where_not() {
        for url in ["https://b.example.com", "https://b.example.com/"] {
            let to = redirect(url, true);
            let at = |target, room| location(&to, target, room);
            assert_eq!(at(Some("/a/b?c=d"), 1460), "https://b.example.com/a/b?c=d");
            assert_eq!(at(None, 1460), "https://b.example.com/");
            let long = format!("/{}", "x".repeat(900));
            assert_eq!(
                at(Some(&long), 1460),
                format!("https://b.example.com{long}")
            );
            assert_eq!(at(Some(&long), 900), "https://b.example.com/");
            assert_eq!(at(Some(&"/x".repeat(700)), 1460), "https://b.example.com/");
        }
        let deep = redirect("https://b.example.com/old/", true);
        assert_eq!(
            location(&deep, Some("/a"), 1460),
            "https://b.example.com/old/a"
        );
    }

    #[test]
    fn few_numbers_look_like_the_acknowledgement_of_a_response() {
        let looks = |append| {
            let to = redirect("https://b.example.com/", append);
            (0..=u16::MAX).filter(|&n| to.ends_with(n)).count()
        };
        // The FIN alone, and the response.
        assert_eq!(looks(false), 2);
        assert!(looks(true) <= 20, "{}", looks(true));
    }

    #[test]
    fn a_url_that_would_not_fit_everywhere_is_refused() {
        let url = |len: usize| format!("http://a/{}", "x".repeat(len - 9));
        let fits = (9..600).filter(|&len| {
            HttpRedirect::new(&url(len), Status::PermanentRedirect, true, [].into()).is_ok()
        });
        let longest = fits.max().unwrap();
        assert!(longest >= 400, "{longest}");
        let made = HttpRedirect::new(&url(longest), Status::PermanentRedirect, true, [].into());
        assert_eq!(made.unwrap().response(None, 1460).len(), LONGEST_BARE);
        let long = HttpRedirect::new(
            &url(longest + 3),
            Status::PermanentRedirect,
            true,
            [].into(),
        );
        assert_eq!(long, Err(TooLong { by: 3 }));
    }

    proptest! {
        /// Whatever a client sends: no header but ours, and no longer than there is room.
        #[test]
        fn no_request_can_write_headers(
            data in prop::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'/'), any::<u8>()], 0..1500),
            request in any::<bool>(),
            room in LONGEST_BARE..2000,
        ) {
            let mut data = data;
            if request {
                data.splice(0..0, *b"GET /");
                data.extend(b" HTTP/1.1\r\n\r\n");
            }
            let target = match Speech::read(&data) {
                Speech::Http { target } => target,
                Speech::Unfinished | Speech::Other => Some(&data[..]),
            };
            for append in [false, true] {
                let to = redirect("https://b.example.com/", append);
                let response = to.response(target, room);
                prop_assert!(response.len() <= room);
                let text = std::str::from_utf8(&response).unwrap();
                prop_assert_eq!(text.lines().count(), 6);
                prop_assert!(text.ends_with("\r\n\r\n"));
                prop_assert_eq!(text.matches(['\r', '\n']).count(), 12);
                let location = text.lines().nth(3).unwrap();
                prop_assert!(location.starts_with("Location: https://b.example.com/"));
                let mut value = location.bytes().skip(10);
                prop_assert!(value.all(|byte| byte.is_ascii_graphic()));
                prop_assert!(to.ends_with(response.len() as u16 + 1));
            }
        }
    }
}
