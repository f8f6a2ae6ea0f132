//! What an FTP control connection says of data connections (RFC 959, RFC 2428).
//!
//! Lines are read where they begin, and only whole: one that comes in several segments is passed over,
//! because what has left cannot be changed any more. A reply counts only if the client asked for it, and
//! never within a reply of many lines, where a server may put what others wrote. A connection whose
//! client speaks first, or does not speak FTP, is read no further: that is how a browser is made to say
//! `PORT` for somebody else ("NAT slipstreaming"). So is one that goes on under TLS (RFC 4217) or GSSAPI.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;

/// Endpoints found in one segment at most; what comes after is passed over.
pub const MOST: usize = 2;
/// Bytes of a line that is read at most.
const LINE: usize = 512;

/// How an endpoint is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `PORT h1,h2,h3,h4,p1,p2`
    Port,
    /// `EPRT |af|address|port|`
    Eprt,
    /// `227 Entering Passive Mode (h1,h2,h3,h4,p1,p2).`
    Pasv,
    /// `229 Entering Extended Passive Mode (|||port|)`
    Epsv,
}

/// An endpoint that a line names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where it begins in the bytes that were read. Of [`Form::Epsv`] the digits of the port, of the
    /// others all of the endpoint.
    pub at: usize,
    /// How many bytes it is long.
    pub len: usize,
    /// How it is written.
    pub form: Form,
    /// Its address; `None` of [`Form::Epsv`], which means the server's own.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
}

/// What is found in a segment.
pub type Finds = ArrayVec<Found, MOST>;

/// What the client asked last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Asked {
    #[default]
    Nothing,
    Pasv,
    Epsv,
}

/// What is known of a control connection's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// The next byte of the client is in the middle of a line.
    client_mid: bool,
    /// The same of the server.
    server_mid: bool,
    /// The code of the reply of many lines that the server is in, 0 if in none.
    many: u16,
    asked: Asked,
    /// The client asked for TLS or GSSAPI.
    auth: bool,
    /// The server has said that it is ready.
    greeted: bool,
    blind: bool,
}

impl Talk {
    /// Goes on where another node has read: both are between two lines.
    pub fn resumed() -> Self {
        Self {
            greeted: true,
            ..Self::default()
        }
    }

    /// Whether nothing is read any more.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Reads no further.
    pub fn go_blind(&mut self) {
        self.blind = true;
    }

    /// Some bytes of the client or of the server were not seen.
    pub fn missed(&mut self, of_client: bool) {
        if of_client {
            self.client_mid = true;
        } else {
            (self.server_mid, self.many) = (true, 0);
        }
    }

    /// Reads the client's next bytes.
    pub fn client(&mut self, data: &[u8]) -> Finds {
        let mut finds = Finds::new();
        // Who serves FTP speaks first.
        self.blind |= !self.greeted && !data.is_empty();
        if self.blind {
            return finds;
        }
        let mut lines = Lines::new(data, self.client_mid);
        for (at, line) in lines.by_ref() {
            self.command(at, line, &mut finds);
            if self.blind {
                return Finds::new();
            }
        }
        self.client_mid = lines.ends_mid();
        finds
    }

    /// Reads the server's next bytes.
    pub fn server(&mut self, data: &[u8]) -> Finds {
        let mut finds = Finds::new();
        if self.blind {
            return finds;
        }
        let mut lines = Lines::new(data, self.server_mid);
        for (at, line) in lines.by_ref() {
            self.reply(at, line, &mut finds);
            if self.blind {
                return Finds::new();
            }
        }
        self.server_mid = lines.ends_mid();
        finds
    }

    fn command(&mut self, at: usize, line: &[u8], finds: &mut Finds) {
        // Telnet's interrupt and synch before ABOR (RFC 959 4.1.3), and empty lines.
        if line.is_empty() || line[0] >= 0xf0 {
            return;
        }
        let letters = line.iter().take_while(|byte| byte.is_ascii_alphabetic());
        let len = letters.count();
        let (verb, rest) = line.split_at(len);
        let is = |word: &str| verb.eq_ignore_ascii_case(word.as_bytes());
        let http = ["GET", "PUT", "HEAD", "POST"].into_iter().any(is);
        if !(3..=4).contains(&len) || !matches!(rest.first(), None | Some(b' ')) || http {
            self.blind = true;
            return;
        }
        let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
        let argument = rest[spaces..].trim_ascii_end();
        let at = at + len + spaces;
        if is("PORT") || is("EPRT") {
            self.asked = Asked::Nothing;
            let (form, endpoint) = match is("PORT") {
                true => (Form::Port, whole(numbers(argument), argument)),
                false => (Form::Eprt, extended(argument)),
            };
            note(finds, (at, argument.len()), form, endpoint);
        } else if is("PASV") {
            self.asked = Asked::Pasv;
        } else if is("EPSV") {
            let all = argument.eq_ignore_ascii_case(b"ALL");
            self.asked = if all { self.asked } else { Asked::Epsv };
        } else if is("AUTH") {
            self.auth = true;
        }
    }

    fn reply(&mut self, at: usize, line: &[u8], finds: &mut Finds) {
        let code = code(line);
        let last = !matches!(line.get(3), Some(b'-'));
        if self.many != 0 {
            if code != Some(self.many) || !last {
                return;
            }
            self.many = 0;
        } else if !last {
            self.many = code.unwrap_or(0);
        }
        if !self.greeted {
            match code {
                Some(220) => self.greeted = true,
                Some(120 | 400..=599) => {}
                _ => self.blind = true,
            }
            return;
        }
        let Some(code) = code.filter(|_| last && self.many == 0) else {
            return;
        };
        match (code, self.asked) {
            (227, Asked::Pasv) => {
                self.asked = Asked::Nothing;
                let from = line.iter().skip(4).position(u8::is_ascii_digit);
                let from = from.map_or(line.len(), |from| from + 4);
                let found = numbers(&line[from..]);
                let len = found.map_or(0, |(_, _, len)| len);
                let endpoint = found.map(|(address, port, _)| (Some(address), port));
                note(finds, (at + from, len), Form::Pasv, endpoint);
            }
            (229, Asked::Epsv) => {
                self.asked = Asked::Nothing;
                if let Some((from, len, port)) = extended_port(line) {
                    note(finds, (at + from, len), Form::Epsv, Some((None, port)));
                }
            }
            (234 | 235 | 334, _) if self.auth => self.blind = true,
            (400..=599, _) => self.auth = false,
            _ => {}
        }
    }
}

type Endpoint = (Option<IpAddr>, u16);

fn note(finds: &mut Finds, (at, len): (usize, usize), form: Form, endpoint: Option<Endpoint>) {
    if let Some((address, port)) = endpoint {
        let found = Found {
            at,
            len,
            form,
            address,
            port,
        };
        // More than fit are passed over.
        let _ = finds.try_push(found);
    }
}

/// The code that a line begins with.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.first_chunk::<3>()?;
    let ends = matches!(line.get(3), None | Some(b' ' | b'-'));
    let number = digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u16::from(digit - b'0'))
    })?;
    (ends && (100..600).contains(&number)).then_some(number)
}

/// A decimal number of at most `digits` digits, and what follows it.
fn number(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(len);
    let value = number.iter().fold(0_u32, |value, digit| {
        value.saturating_mul(10) + u32::from(digit - b'0')
    });
    ((1..=digits).contains(&len)).then_some((value, rest))
}

/// `h1,h2,h3,h4,p1,p2`, and how long it is.
fn numbers(text: &[u8]) -> Option<(IpAddr, u16, usize)> {
    let (mut values, mut rest) = ([0_u8; 6], text);
    for (at, value) in values.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        let (read, after) = number(rest, 3)?;
        (*value, rest) = (u8::try_from(read).ok()?, after);
    }
    let [a, b, c, d, high, low] = values;
    let port = u16::from_be_bytes([high, low]);
    let address = Ipv4Addr::new(a, b, c, d).into();
    Some((address, port, text.len() - rest.len()))
}

fn whole(found: Option<(IpAddr, u16, usize)>, text: &[u8]) -> Option<Endpoint> {
    let (address, port, len) = found?;
    (len == text.len()).then_some((Some(address), port))
}

/// `<d>af<d>address<d>port<d>` (RFC 2428 2).
fn extended(text: &[u8]) -> Option<Endpoint> {
    let (&mark, rest) = text.split_first()?;
    if !(33..=126).contains(&mark) || mark.is_ascii_digit() {
        return None;
    }
    let mut parts = rest.split(|&byte| byte == mark);
    let (family, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next() != Some(&[]) || parts.next().is_some() {
        return None;
    }
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    let named: &[u8] = if address.is_ipv4() { b"1" } else { b"2" };
    let (port, after) = number(port, 5)?;
    let port = u16::try_from(port).ok()?;
    (family == named && after.is_empty()).then_some((Some(address), port))
}

/// The port in `(<d><d><d>port<d>)`: where its digits are, how many, and its value.
fn extended_port(line: &[u8]) -> Option<(usize, usize, u16)> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let &[mark, second, third, ref rest @ ..] = line.get(open + 1..)? else {
        return None;
    };
    let (port, after) = number(rest, 5)?;
    let port = u16::try_from(port).ok()?;
    let same = mark == second && mark == third && (33..=126).contains(&mark);
    let closed = after.starts_with(&[mark, b')']);
    (same && closed).then_some((open + 4, rest.len() - after.len(), port))
}

/// The whole lines of some bytes, without what ends them, and where they begin.
struct Lines<'a> {
    data: &'a [u8],
    at: usize,
    mid: bool,
}

impl<'a> Lines<'a> {
    /// `mid`: the bytes begin in the middle of a line.
    fn new(data: &'a [u8], mid: bool) -> Self {
        Self { data, at: 0, mid }
    }

    /// Whether what follows is in the middle of a line.
    fn ends_mid(&self) -> bool {
        self.mid
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let from = self.at;
            let rest = self.data.get(from..).filter(|rest| !rest.is_empty())?;
            let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
                (self.at, self.mid) = (self.data.len(), true);
                return None;
            };
            self.at = from + len + 1;
            if std::mem::take(&mut self.mid) || len > LINE {
                continue;
            }
            let line = &rest[..len];
            return Some((from, line.strip_suffix(b"\r").unwrap_or(line)));
        }
    }
}

#[cfg(test)]
mod tests;
