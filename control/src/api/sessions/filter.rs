//! Which sessions: the conditions of a query, beside whatever else a query says.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluice_dataplane::mailbox::TupleFilter;
use utoipa::IntoParams;

use super::super::Problem;
use super::super::query::network;
use crate::config::{duration_ms, protocol_number};
use crate::controller::SessionFilter;

/// Conditions on sessions. All must hold. Addresses may be networks (`10.0.0.0/8`), lengths of time are
/// written as in the configuration (`90s`, `2h`).
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Conditions {
    /// `tcp`, `udp`, `icmp`, ... or a number.
    protocol: Option<String>,
    /// A TCP state (`established`), or `new` or `replied` for other protocols.
    state: Option<String>,
    /// A virtual server's name, or `kind/name` of any service.
    service: Option<String>,
    /// A real server, `pool/name`.
    server: Option<String>,
    /// A firewall rule that lets it through today, whatever it is counted for.
    rule: Option<String>,
    /// The worker that has it.
    worker: Option<usize>,
    /// `this` node, or `peer`: copies of sessions that the other appliance owns.
    owner: Option<String>,
    /// Opened longer ago than this.
    older_than: Option<String>,
    /// Opened within this time.
    younger_than: Option<String>,
    /// Without a packet for this long.
    idle_for: Option<String>,
    /// Any of the four addresses.
    address: Option<String>,
    /// Any of the four ports.
    #[param(maximum = 65535)]
    port: Option<u16>,
    /// Source of the opener's packets, as they arrive.
    source: Option<String>,
    /// Its port.
    #[param(maximum = 65535)]
    source_port: Option<u16>,
    /// Destination of the opener's packets, as they arrive.
    destination: Option<String>,
    /// Its port.
    #[param(maximum = 65535)]
    destination_port: Option<u16>,
    /// Source of the packets that answer, as they arrive.
    reply_source: Option<String>,
    /// Its port.
    #[param(maximum = 65535)]
    reply_source_port: Option<u16>,
    /// Destination of the packets that answer, as they arrive.
    reply_destination: Option<String>,
    /// Its port.
    #[param(maximum = 65535)]
    reply_destination_port: Option<u16>,
}

/// The names of [`Conditions`].
const KEYS: [&str; 20] = [
    "protocol",
    "state",
    "service",
    "server",
    "rule",
    "worker",
    "owner",
    "older_than",
    "younger_than",
    "idle_for",
    "address",
    "port",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "reply_source",
    "reply_source_port",
    "reply_destination",
    "reply_destination_port",
];

/// A filter, and what else the query says.
#[derive(Debug)]
pub(in super::super) struct Filtered<T>(pub(super) SessionFilter, pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Filtered<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let (conditions, rest): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            KEYS.contains(&key)
        });
        let conditions: Conditions = read(&conditions)?;
        Ok(Self(conditions.filter()?, read(&rest)?))
    }
}

fn read<T: DeserializeOwned>(pairs: &[&str]) -> Result<T, Problem> {
    // They were part of a URI before.
    let uri: Uri = format!("/?{}", pairs.join("&"))
        .parse()
        .map_err(Problem::bad_request)?;
    let query = axum::extract::Query::try_from_uri(&uri);
    query
        .map(|axum::extract::Query(read)| read)
        .map_err(|why| Problem::bad_request(why.body_text()))
}

impl Conditions {
    fn filter(&self) -> Result<SessionFilter, Problem> {
        let proto = self.protocol.as_deref().map(|text| {
            let wrong = || {
                let found = format!("protocol={text} is not known");
                let remedy = "write tcp, udp, icmp, icmpv6, sctp, ... or a number from 0 to 255";
                Problem::bad_parameter("protocol", found, remedy)
            };
            protocol_number(text).ok_or_else(wrong)
        });
        let replica = match self.owner.as_deref() {
            None => None,
            Some("this") => Some(false),
            Some("peer") => Some(true),
            Some(other) => {
                let found = format!("owner={other} is not known");
                return Err(Problem::bad_parameter("owner", found, "write this or peer"));
            }
        };
        Ok(SessionFilter {
            proto: proto.transpose()?,
            state: self.state.clone(),
            service: self.service.clone(),
            server: self.server.clone(),
            rule: self.rule.clone(),
            worker: self.worker,
            replica,
            min_age_ms: time("older_than", self.older_than.as_deref())?,
            max_age_ms: time("younger_than", self.younger_than.as_deref())?,
            min_idle_ms: time("idle_for", self.idle_for.as_deref())?,
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

fn time(key: &str, text: Option<&str>) -> Result<Option<u32>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let ms = duration_ms(text).and_then(|ms| u32::try_from(ms).ok());
    ms.map(Some).ok_or_else(|| {
        let found = format!("{key}={text} is not a length of time up to 49d");
        Problem::bad_parameter(key, found, "write one like 90s or 2h")
    })
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::ParameterIn;

    use super::*;

    #[test]
    fn every_condition_is_known_by_its_name() {
        let parameters = Conditions::into_params(|| Some(ParameterIn::Query));
        let names: Vec<&str> = parameters.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, KEYS);
    }
}
