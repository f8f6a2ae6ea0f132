//! `/api/v1/sessions`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use ipnet::IpNet;
use serde::Deserialize;
use sluice_dataplane::mailbox::TupleFilter;
use utoipa::IntoParams;

use super::Problem;
use super::extract::Query;
use super::problem::mismatch;
use crate::config::protocol_number;
use crate::controller::{
    Action, Ended, Handle, Outcome, SessionCursor, SessionFilter, SessionList, SessionQuery,
};

/// Sessions on a page, unless asked otherwise.
const PAGE: usize = 100;
/// Sessions on a page at most.
const MAX_PAGE: usize = 1000;

/// The query. All conditions must hold. Addresses may be networks (`10.0.0.0/8`).
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Sessions on the page, 1 to 1000; 100 by default.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// `tcp`, `udp`, `icmp`, ... or a number.
    protocol: Option<String>,
    /// A TCP state (`established`), or `new` or `replied` for other protocols.
    state: Option<String>,
    /// A virtual server's name, or `kind/name` of any service.
    service: Option<String>,
    /// A real server, `pool/name`.
    server: Option<String>,
    /// Any of the four addresses.
    address: Option<String>,
    /// Any of the four ports.
    port: Option<u16>,
    /// Source of the opener's packets, as they arrive.
    source: Option<String>,
    /// Its port.
    source_port: Option<u16>,
    /// Destination of the opener's packets, as they arrive.
    destination: Option<String>,
    /// Its port.
    destination_port: Option<u16>,
    /// Source of the packets that answer, as they arrive.
    reply_source: Option<String>,
    /// Its port.
    reply_source_port: Option<u16>,
    /// Destination of the packets that answer, as they arrive.
    reply_destination: Option<String>,
    /// Its port.
    reply_destination_port: Option<u16>,
    /// `DELETE` without any condition wants it in so many words: `all=true`.
    all: bool,
    /// `DELETE`: tell both ends of TCP sessions by a reset.
    reset: bool,
}

/// A page of sessions
///
/// Every session that lives while the pages are read is on exactly one of them.
#[utoipa::path(get, path = "/sessions", tag = "state", operation_id = "listSessions",
    params(Parameters), responses((status = 200, body = SessionList)))]
pub(super) async fn list(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<SessionList>, Problem> {
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let why = format!("limit={limit} is out of range; write a number from 1 to {MAX_PAGE}");
        return Err(Problem::bad_request(why));
    }
    let from = match &asked.cursor {
        None => SessionCursor::default(),
        Some(text) => text.parse().map_err(|()| {
            Problem::bad_request(format!("cursor={text} is not one that was given out"))
        })?,
    };
    let filter = asked.filter()?;
    let query = SessionQuery {
        filter,
        limit,
        from,
    };
    match handle.call(Action::ListSessions(query)).await? {
        Outcome::Sessions(list) => Ok(Json(list)),
        _ => Err(mismatch()),
    }
}

/// End the sessions that match
#[utoipa::path(delete, path = "/sessions", tag = "state", operation_id = "endSessions",
    params(Parameters), responses((status = 200, body = Ended)))]
pub(super) async fn end(
    State(handle): State<Handle>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Ended>, Problem> {
    if asked.limit.is_some() || asked.cursor.is_some() {
        let why = "limit and cursor mean nothing here: all sessions that match are ended";
        return Err(Problem::bad_request(why));
    }
    let filter = asked.filter()?;
    if filter.is_empty() && !asked.all {
        let why = "without a condition this ends all sessions; write all=true if that is meant";
        return Err(Problem::bad_request(why));
    }
    let reset = asked.reset;
    match handle.call(Action::EndSessions { filter, reset }).await? {
        Outcome::Ended(ended) => Ok(Json(ended)),
        _ => Err(mismatch()),
    }
}

impl Parameters {
    fn filter(&self) -> Result<SessionFilter, Problem> {
        let proto = self.protocol.as_deref().map(|text| {
            protocol_number(text)
                .ok_or_else(|| Problem::bad_request(format!("protocol={text} is not known")))
        });
        Ok(SessionFilter {
            proto: proto.transpose()?,
            state: self.state.clone(),
            service: self.service.clone(),
            server: self.server.clone(),
            address: network("address", self.address.as_deref())?,
            port: self.port,
            original: TupleFilter {
                src: network("source", self.source.as_deref())?,
                dst: network("destination", self.destination.as_deref())?,
                sport: self.source_port,
                dport: self.destination_port,
            },
            reply: TupleFilter {
                src: network("reply_source", self.reply_source.as_deref())?,
                dst: network("reply_destination", self.reply_destination.as_deref())?,
                sport: self.reply_source_port,
                dport: self.reply_destination_port,
            },
        })
    }
}

fn network(key: &str, text: Option<&str>) -> Result<Option<IpNet>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) => Ok(Some(network)),
        Err(_) => Err(Problem::bad_request(format!(
            "{key}={text} is not an address or network"
        ))),
    }
}
