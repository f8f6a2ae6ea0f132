//! Requests and answers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, Response, header};
use ureq::tls::{ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::args::Target;

/// What need not be escaped within a segment of a path or a value of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What Prometheus reads; the one path that is not below `/api/v1`.
pub(crate) const METRICS: &str = "/metrics";
/// Items of a page, where there are many to be read.
const PAGE: usize = 1000;
/// Where a token may be, besides a file.
const TOKEN: &str = "SLUICE_TOKEN";

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The appliance said no.
    #[error("{text}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its problem details, for people.
        text: String,
    },
    /// It was not understood, or did not answer.
    #[error("{url}: {why}")]
    Connection {
        /// Who was asked.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// What was typed cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// It was done, and the result is not what one hopes for.
    #[error("{0}")]
    Negative(String),
    /// Nothing can be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// Exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused { status, .. } => match status {
                401 | 403 | 429 => 6,
                404 => 4,
                409 | 412 => 5,
                400..500 => 3,
                _ => 1,
            },
            Self::Connection { .. } => 7,
            Self::Usage(_) => 2,
            Self::Negative(_) | Self::Output(_) => 1,
        }
    }
}

/// A body, and what it is.
pub(crate) struct Body {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl Body {
    pub(crate) fn json(value: &Value) -> Self {
        Self {
            kind: "application/json",
            text: value.to_string(),
        }
    }
}

/// What must be so for a change to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    /// It still is what had this `ETag`.
    Is(&'a str),
    /// It is not there.
    Absent,
}

/// A request, but for method and body.
struct Asked<'a> {
    path: &'a str,
    query: &'a [(&'a str, String)],
    /// Media type of the answer.
    wanted: &'a str,
    condition: Option<Condition<'a>>,
}

/// One appliance.
pub(crate) struct Client {
    agent: Agent,
    /// Does not mind how long a body takes.
    endless: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &target.ca {
            let text = read(path)?;
            let items = parse_pem(text.as_bytes()).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<_> = items.collect();
            if certificates.is_empty() {
                let path = path.display();
                return Err(Failure::Usage(format!("{path}: no certificate in there")));
            }
            tls = tls.root_certs(RootCerts::from(certificates));
        }
        if let Some(path) = &target.identity {
            tls = tls.client_cert(Some(identity(path)?));
        }
        let token = match &target.token_file {
            Some(path) => Some(read(path)?),
            None => std::env::var(TOKEN).ok(),
        };
        let tls = tls.build();
        let timeout = Some(Duration::from_secs(target.timeout));
        let common = || {
            let builder = Agent::config_builder().http_status_as_error(false);
            builder.tls_config(tls.clone())
        };
        let endless = common()
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .build();
        Ok(Self {
            agent: common().timeout_global(timeout).build().into(),
            endless: endless.into(),
            url: target.url.trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()),
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Reads JSON.
    pub(crate) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let asked = Asked {
            path,
            query,
            wanted: "application/json",
            condition: None,
        };
        json(&self.call(&Method::GET, &asked, None)?.0)
    }

    /// Reads a list that comes in pages, whole: the last page, with the items of all.
    pub(crate) fn pages(
        &self,
        path: &str,
        query: &[(&'static str, String)],
        key: &str,
    ) -> Result<Value, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query)?;
            if let Some(more) = page[key].as_array_mut() {
                items.append(more);
            }
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                page[key] = Value::Array(items);
                return Ok(page);
            }
        }
    }

    /// Reads text of this media type, as it is.
    pub(crate) fn text(&self, path: &str, kind: &str) -> Result<String, Failure> {
        let asked = Asked {
            path,
            query: &[],
            wanted: kind,
            condition: None,
        };
        Ok(self.call(&Method::GET, &asked, None)?.0)
    }

    /// The `ETag` of what is there; empty if it has none.
    pub(crate) fn tag(&self, path: &str, query: &[(&str, String)]) -> Result<String, Failure> {
        let asked = Asked {
            path,
            query,
            wanted: "*/*",
            condition: None,
        };
        Ok(self.call(&Method::GET, &asked, None)?.1)
    }

    /// Has something done, and gives the answer, if there is one.
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Body>,
    ) -> Result<Value, Failure> {
        self.send_if(method, (path, query), None, body)
    }

    /// The same, if a condition holds.
    pub(crate) fn send_if(
        &self,
        method: &Method,
        (path, query): (&str, &[(&str, String)]),
        condition: Option<Condition<'_>>,
        body: Option<Body>,
    ) -> Result<Value, Failure> {
        let asked = Asked {
            path,
            query,
            wanted: "application/json",
            condition,
        };
        let (answer, _) = self.call(method, &asked, body)?;
        match answer.is_empty() {
            true => Ok(Value::Null),
            false => json(&answer),
        }
    }

    /// Reads text that comes for as long as it takes.
    pub(crate) fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        kind: &str,
    ) -> Result<impl BufRead + use<>, Failure> {
        let asked = Asked {
            path,
            query,
            wanted: kind,
            condition: None,
        };
        let request = self.request(&Method::GET, &asked, None);
        let request = request.body(()).map_err(|why| self.failed(&why))?;
        self.endless(self.endless.run(request))
    }

    /// The same, of what a body asks for.
    pub(crate) fn stream_of(
        &self,
        path: &str,
        body: Body,
        kind: &str,
    ) -> Result<impl BufRead + use<>, Failure> {
        let asked = Asked {
            path,
            query: &[],
            wanted: kind,
            condition: None,
        };
        let request = self.request(&Method::POST, &asked, Some(body.kind));
        let request = request.body(body.text).map_err(|why| self.failed(&why))?;
        self.endless(self.endless.run(request))
    }

    fn endless(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<impl BufRead + use<>, Failure> {
        let mut answer = answer.map_err(|why| self.failed(&why))?;
        let status = answer.status().as_u16();
        if status < 400 {
            return Ok(BufReader::new(answer.into_body().into_reader()));
        }
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|why| self.failed(&why))?;
        Err(Failure::Refused {
            status,
            text: problem(status, &text),
        })
    }

    /// A request without its body. Paths are below `/api/v1`, but for that of the metrics.
    fn request(
        &self,
        method: &Method,
        asked: &Asked<'_>,
        kind: Option<&str>,
    ) -> ureq::http::request::Builder {
        let Asked {
            path,
            query,
            wanted,
            condition,
        } = *asked;
        let root = if path == METRICS { "" } else { "/api/v1" };
        let mut uri = format!("{}{root}{path}", self.url);
        for (at, (key, value)) in query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            uri += &format!("{mark}{key}={}", escaped(value));
        }
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&uri)
            .header(header::ACCEPT, wanted);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        match condition {
            None => request,
            Some(Condition::Is(tag)) => request.header(header::IF_MATCH, quoted(tag)),
            Some(Condition::Absent) => request.header(header::IF_NONE_MATCH, "*"),
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::Connection {
            url: self.url.clone(),
            why: why.to_string(),
        }
    }

    /// The answer, and its `ETag`.
    fn call(
        &self,
        method: &Method,
        asked: &Asked<'_>,
        body: Option<Body>,
    ) -> Result<(String, String), Failure> {
        let failed = |why: String| self.failed(&why);
        let kind = body.as_ref().map(|body| body.kind);
        let request = self.request(method, asked, kind);
        let answer = match body {
            None if matches!(*method, Method::GET | Method::DELETE) => {
                let request = request.body(()).map_err(|why| failed(why.to_string()))?;
                self.agent.run(request)
            }
            body => {
                let text = body.map(|body| body.text).unwrap_or_default();
                let request = request.body(text).map_err(|why| failed(why.to_string()))?;
                self.agent.run(request)
            }
        };
        let mut answer = answer.map_err(|why| failed(why.to_string()))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|why| failed(why.to_string()))?;
        if status < 400 {
            let tag = answer.headers().get(header::ETAG);
            let tag = tag.and_then(|tag| tag.to_str().ok()).unwrap_or_default();
            return Ok((text, tag.to_owned()));
        }
        Err(Failure::Refused {
            status,
            text: problem(status, &text),
        })
    }
}

/// A certificate, those that vouch for it, and its key.
fn identity(path: &Path) -> Result<ClientCert, Failure> {
    let text = read(path)?;
    let (mut chain, mut key) = (Vec::new(), None);
    for item in parse_pem(text.as_bytes()).flatten() {
        match item {
            PemItem::Certificate(certificate) => chain.push(certificate),
            PemItem::PrivateKey(found) => key = Some(found),
            _ => {}
        }
    }
    match key {
        Some(key) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
        _ => {
            let path = path.display();
            let why = format!("{path}: it takes a certificate and its key, both in there");
            Err(Failure::Usage(why))
        }
    }
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path);
    text.map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
}

/// Within a path or a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// An `ETag` as a header has it; `*` stands for any.
fn quoted(tag: &str) -> String {
    match tag.starts_with('"') || tag == "*" {
        true => tag.to_owned(),
        false => format!("\"{tag}\""),
    }
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|why| Failure::Refused {
        status: 502,
        text: format!("the answer is not JSON ({why}); is this the API of Sluice?"),
    })
}

/// Problem details (RFC 9457) for people.
fn problem(status: u16, text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else {
        return format!("HTTP status {status}");
    };
    let word = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let mut said = word(&problem, "title").unwrap_or_else(|| format!("HTTP status {status}"));
    let faults = problem["errors"].as_array().filter(|it| !it.is_empty());
    // The detail of a problem with a list of faults is that list once more.
    if let Some(detail) = word(&problem, "detail").filter(|_| faults.is_none()) {
        said += &format!(": {detail}");
    }
    for fault in faults.into_iter().flatten() {
        let detail = word(fault, "detail").unwrap_or_default();
        // What is wrong with a query names its parameter itself, and is nowhere in the configuration.
        said += &match word(fault, "path").filter(|path| !path.is_empty()) {
            Some(path) => format!("\n  {path}: {detail}"),
            None => format!("\n  {detail}"),
        };
        if let Some(remedy) = word(fault, "remedy") {
            said += &format!("; {remedy}");
        }
    }
    said
}
