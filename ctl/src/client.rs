//! Requests and answers.

use std::fs;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::args::Target;

/// What need not be escaped within a segment of a path or a value of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
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
            Self::Output(_) => 1,
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

/// One appliance.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let read = |path: &std::path::Path| {
            let text = fs::read_to_string(path);
            text.map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
        };
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
        let token = match &target.token_file {
            Some(path) => Some(read(path)?),
            None => std::env::var(TOKEN).ok(),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(target.timeout)))
            .tls_config(tls.build())
            .build();
        Ok(Self {
            agent: agent.into(),
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
        json(&self.call(&Method::GET, path, query, "application/json", None)?)
    }

    /// Reads text of this media type, as it is.
    pub(crate) fn text(&self, path: &str, kind: &str) -> Result<String, Failure> {
        self.call(&Method::GET, path, &[], kind, None)
    }

    /// Has something done, and gives the answer, if there is one.
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Body>,
    ) -> Result<Value, Failure> {
        let answer = self.call(method, path, query, "application/json", body)?;
        match answer.is_empty() {
            true => Ok(Value::Null),
            false => json(&answer),
        }
    }

    fn call(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, String)],
        wanted: &str,
        body: Option<Body>,
    ) -> Result<String, Failure> {
        let mut uri = format!("{}/api/v1{path}", self.url);
        for (at, (key, value)) in query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            uri += &format!("{mark}{key}={}", escaped(value));
        }
        let failed = |why: String| Failure::Connection {
            url: self.url.clone(),
            why,
        };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&uri)
            .header(header::ACCEPT, wanted);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(body) = &body {
            request = request.header(header::CONTENT_TYPE, body.kind);
        }
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
            return Ok(text);
        }
        Err(Failure::Refused {
            status,
            text: problem(status, &text),
        })
    }
}

/// Within a path or a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
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
        let path = word(fault, "path").unwrap_or_default();
        let detail = word(fault, "detail").unwrap_or_default();
        said += &format!("\n  {path}: {detail}");
        if let Some(remedy) = word(fault, "remedy") {
            said += &format!("; {remedy}");
        }
    }
    said
}
