//! The segment that a request begins with.

use super::{Response, append};

/// Bytes of a method at most; the longest that is registered has 17.
const METHOD: usize = 32;

/// What a client speaks, by the first bytes that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech<'a> {
    /// HTTP/1.
    Http {
        /// What is requested: path and query. `None` if the request line is not all there, or names
        /// something else (RFC 9112 section 3.2).
        target: Option<&'a [u8]>,
    },
    /// So far it may become HTTP.
    Unfinished,
    /// Not HTTP/1.
    Other,
}

impl<'a> Speech<'a> {
    /// Reads the first bytes of a connection.
    pub fn read(data: &'a [u8]) -> Self {
        let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
        let len = data
            .iter()
            .take(METHOD + 1)
            .take_while(|byte| is_method(byte))
            .count();
        let (method, rest) = data.split_at(len);
        match rest.split_first() {
            None if len <= METHOD => Self::Unfinished,
            // HTTP/2 without asking (RFC 9113 section 3.4).
            Some((b' ', _)) if method == b"PRI" => Self::Other,
            Some((b' ', rest)) if (1..=METHOD).contains(&len) => Self::Http {
                target: target(rest),
            },
            _ => Self::Other,
        }
    }
}

/// Path and query of a request line, behind its method.
fn target(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let (target, version) = line.split_at(end);
    (target.starts_with(b"/") && version.starts_with(b" HTTP/1.")).then_some(target)
}

/// Appends path and query of a request. What has no place in a URL (RFC 3986 section 2) is written by its
/// number. False, and nothing appended, where the whole would be longer than `room`.
pub(super) fn append_target(out: &mut Response, target: &[u8], room: usize) -> bool {
    let before = out.len();
    let begins = target.starts_with(b"/");
    let fits = begins && target.iter().all(|&byte| append_byte(out, byte, room));
    if !fits {
        out.truncate(before);
    }
    fits
}

fn append_byte(out: &mut Response, byte: u8, room: usize) -> bool {
    const MARKS: &[u8] = b"-._~!$&'()*+,;=:@/?%";
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || MARKS.contains(&byte) {
        return append(out, &[byte], room);
    }
    let digit = |value: u8| DIGITS[usize::from(value & 15)];
    append(out, &[b'%', digit(byte >> 4), digit(byte)], room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Speech<'_> {
        Speech::read(data.as_bytes())
    }

    fn http(target: Option<&str>) -> Speech<'_> {
        Speech::Http {
            target: target.map(str::as_bytes),
        }
    }

    #[test]
    fn requests_are_told_by_their_method() {
        let line = " /a?b=c HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        for method in [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "OPTIONS",
            "PATCH",
            "PROPFIND",
            "UPDATEREDIRECTREF",
            "VERSION-CONTROL",
            "M-SEARCH",
        ] {
            assert_eq!(
                read(&format!("{method}{line}")),
                http(Some("/a?b=c")),
                "{method}"
            );
        }
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), http(Some("/")));
    }

    #[test]
    fn a_path_that_is_not_all_there_or_is_none_is_not_told() {
        for data in [
            "GET ",
            "GET /a/b",
            "GET /a ",
            "GET /a HTTP/1",
            "GET /a HTTP/2.0\r\n",
            "GET /\r\n",
            "GET http://www.example.com/a HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "CONNECT www.example.com:443 HTTP/1.1\r\n",
            "GET  /a HTTP/1.1\r\n",
        ] {
            assert_eq!(read(data), http(None), "{data}");
        }
    }

    #[test]
    fn what_is_not_http_is_other_and_what_may_become_it_is_unfinished() {
        for data in ["G", "GET", "VERSION-"] {
            assert_eq!(read(data), Speech::Unfinished, "{data}");
        }
        for data in [
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
            "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            "get / HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            " / HTTP/1.1\r\n",
            "\r\nGET / HTTP/1.1\r\n",
            "PING\r\n",
            "\0",
        ] {
            assert_eq!(read(data), Speech::Other, "{data:?}");
        }
        assert_eq!(read(&"A".repeat(METHOD)), Speech::Unfinished);
        assert_eq!(read(&"A".repeat(METHOD + 1)), Speech::Other);
        assert_eq!(read(&(" ".repeat(2) + &"A".repeat(METHOD))), Speech::Other);
        assert_eq!(
            read(&("A".repeat(METHOD + 1) + " / HTTP/1.1")),
            Speech::Other
        );
    }

    #[test]
    fn what_has_no_place_in_a_url_is_written_by_its_number() {
        let appended = |target: &[u8], room| {
            let mut out = Response::new();
            let fits = append_target(&mut out, target, room);
            (fits, String::from_utf8(out.to_vec()).unwrap())
        };
        let clean = b"/a-b._~/%20!$&'()*+,;=:@?q=1&r=2";
        assert_eq!(
            appended(clean, 99),
            (true, String::from_utf8(clean.to_vec()).unwrap())
        );
        assert_eq!(
            appended(b"/\r\n\t\"<>#[]{}|\\^`\x7f\x80\xff\0", 99),
            (
                true,
                "/%0D%0A%09%22%3C%3E%23%5B%5D%7B%7D%7C%5C%5E%60%7F%80%FF%00".into()
            )
        );
        assert_eq!(appended(b"/<", 4), (true, "/%3C".into()));
        assert_eq!(appended(b"/<", 3), (false, String::new()));
        assert_eq!(appended(b"@evil.example.com", 99), (false, String::new()));
        assert_eq!(appended(b"", 99), (false, String::new()));
    }
}
