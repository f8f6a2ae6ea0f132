//! `/api/v1/config/...`: sections of the configuration, and single items of its lists.
//!
//! A path is that of the TOML, with names in place of indexes: `pool/web/server/web1`. All of them are
//! rows of one table, from which the routes and their documentation are made.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::Value;

use super::caller::Caller;
use super::config::{change, essence, text, text_of, unknown_format};
use super::extract::{Path, Query};
use super::problem::mismatch;
use super::terms::{Asked, etag, has, not_modified};
use super::{Api, Problem};
use crate::config::edit::{Address, Edit, Operation, Part};
use crate::config::secrets::hide_part;
use crate::controller::{Action, ActionError, Handle, Outcome, PartOf, What, Which};

/// One kind of part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Below `/api/v1/config`. In braces: the name of an item.
    pub(super) path: &'static str,
    /// Its schema.
    pub(super) schema: &'static str,
    /// What it is, with its article.
    pub(super) what: &'static str,
}

const fn kind(path: &'static str, schema: &'static str, what: &'static str) -> Kind {
    Kind { path, schema, what }
}

/// All of them. A path that does not end in braces is a whole list or table.
pub(super) const KINDS: &[Kind] = &[
    kind("/system", "RawSystem", "the section `system`"),
    kind("/timeouts", "RawTimeouts", "the section `timeouts`"),
    kind("/tcp", "RawTcp", "the section `tcp`"),
    kind("/icmp", "RawIcmp", "the section `icmp`"),
    kind("/alg", "RawAlg", "the section `alg`"),
    kind("/log", "RawLog", "the section `log`"),
    kind("/log/syslog", "[RawSyslog]", "all syslog servers"),
    kind("/log/syslog/{name}", "RawSyslog", "a syslog server"),
    kind("/api", "RawApi", "the section `api`"),
    kind("/host", "RawHost", "the section `host`"),
    kind(
        "/host/allow",
        "[RawAllow]",
        "all that strangers may open towards the host",
    ),
    kind(
        "/host/allow/{index}",
        "RawAllow",
        "what strangers may open towards the host, by its place",
    ),
    kind("/ha", "RawHa", "the section `ha`"),
    kind("/ha/track", "[RawHaTrack]", "all that is tracked"),
    kind(
        "/ha/track/{index}",
        "RawHaTrack",
        "what is tracked, by its place",
    ),
    kind(
        "/ha/group",
        "[RawHaGroup]",
        "all groups of virtual addresses",
    ),
    kind(
        "/ha/group/{name}",
        "RawHaGroup",
        "a group of virtual addresses",
    ),
    kind("/list", "[RawList]", "all lists of networks"),
    kind("/list/{name}", "RawList", "a list of networks"),
    kind(
        "/list/{name}/networks/{network}",
        "Loose",
        "a network of a list (`10.0.0.0%2F8`)",
    ),
    kind("/firewall", "RawFirewall", "the section `firewall`"),
    kind(
        "/firewall/open",
        "[RawOpen]",
        "all pairs of zones between which any session may be opened",
    ),
    kind(
        "/firewall/open/{index}",
        "RawOpen",
        "a pair of zones between which any session may be opened, by its place",
    ),
    kind(
        "/firewall/rule",
        "[RawRule]",
        "all firewall rules, first match first",
    ),
    kind("/firewall/rule/{name}", "RawRule", "a firewall rule"),
    kind("/port", "[RawPort]", "all ports"),
    kind("/port/{name}", "RawPort", "a port"),
    kind("/route", "[RawRoute]", "all static routes"),
    kind(
        "/route/{to}",
        "RawRoute",
        "the static route to a network (`10.0.0.0%2F8`)",
    ),
    kind("/snat_pool", "[RawSnatPool]", "all SNAT pools"),
    kind("/snat_pool/{name}", "RawSnatPool", "a SNAT pool"),
    kind("/snat", "[RawSnat]", "all SNAT rules, first match first"),
    kind("/snat/{name}", "RawSnat", "a SNAT rule"),
    kind("/static_nat", "[RawStaticNat]", "all static translations"),
    kind("/static_nat/{name}", "RawStaticNat", "a static translation"),
    kind("/forward", "[RawForward]", "all port forwards"),
    kind("/forward/{name}", "RawForward", "a port forward"),
    kind("/health_check", "[RawHealthCheck]", "all health checks"),
    kind(
        "/health_check/{name}",
        "RawHealthCheck",
        "a way to check real servers",
    ),
    kind("/pool", "[RawPool]", "all pools of real servers"),
    kind("/pool/{pool}", "RawPool", "a pool of real servers"),
    kind(
        "/pool/{pool}/server",
        "[RawServer]",
        "all real servers of a pool",
    ),
    kind("/pool/{pool}/server/{name}", "RawServer", "a real server"),
    kind(
        "/virtual_server",
        "[RawVirtualServer]",
        "all virtual servers",
    ),
    kind(
        "/virtual_server/{name}",
        "RawVirtualServer",
        "a virtual server",
    ),
];

impl Kind {
    /// Whether it can be taken out: an item of a list, or a section of which it says something that it
    /// is not there.
    pub(super) fn can_go(&self) -> bool {
        self.path.ends_with('}') || ["/host", "/ha"].contains(&self.path)
    }

    fn address(&self, names: &HashMap<String, String>) -> Result<Address, Problem> {
        let parts = self.path.split('/').skip(1).map(|part| {
            let variable = part.strip_prefix('{');
            let Some(variable) = variable.and_then(|part| part.strip_suffix('}')) else {
                return Ok(Part::Key(part));
            };
            let given = names.get(variable).cloned().unwrap_or_default();
            if variable != INDEX {
                return Ok(Part::Item(given));
            }
            let index = given.parse().map(Part::Index);
            index.map_err(|_| {
                let part = format!("{} {given:?}; its items have places, from 0", self.path);
                ActionError::NoPart(part.replace("/{index}", "").replace('/', ".")[1..].to_owned())
                    .into()
            })
        });
        parts.collect::<Result<_, Problem>>().map(Address)
    }
}

/// The variable of a path that is a place in a list.
pub(super) const INDEX: &str = "index";

type Names = Path<HashMap<String, String>>;

/// The routes of all kinds.
pub(super) fn routes() -> Router<Api> {
    let mut router = Router::new();
    for kind in KINDS {
        let one = get(move |handle, Path(names): Names, query, caller, headers| {
            read(kind.address(&names), handle, query, caller, headers)
        })
        .put(move |handle, Path(names): Names, asked, headers, body| {
            edit(
                kind.address(&names),
                Wish::Put,
                handle,
                asked,
                headers,
                body,
            )
        })
        .patch(move |handle, Path(names): Names, asked, headers, body| {
            edit(
                kind.address(&names),
                Wish::Patch,
                handle,
                asked,
                headers,
                body,
            )
        });
        let one = match kind.can_go() {
            true => one.delete(move |handle, Path(names): Names, asked, headers, body| {
                edit(
                    kind.address(&names),
                    Wish::Delete,
                    handle,
                    asked,
                    headers,
                    body,
                )
            }),
            false => one,
        };
        router = router.route(&format!("/config{}", kind.path), one);
    }
    router
}

/// What is done with a part.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Put,
    Patch,
    Delete,
}

/// Where a part is read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct From {
    /// In the caller's candidate.
    candidate: bool,
}

async fn read(
    address: Result<Address, Problem>,
    State(handle): State<Handle>,
    Query(from): Query<From>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address?;
    let (secrets, about) = (caller.sees_secrets(), address.clone());
    let which = match from.candidate {
        true => Which::Candidate(caller.name),
        false => Which::Running,
    };
    let part = PartOf { which, address };
    let Outcome::Part(mut part) = handle.call(Action::ReadPart(part)).await? else {
        return Err(mismatch());
    };
    if has(&headers, &part.tag) {
        return Ok(not_modified(&part.tag));
    }
    if !secrets {
        hide_part(&about, &mut part.value);
    }
    Ok((etag(&part.tag), Json(part.value)).into_response())
}

async fn edit(
    address: Result<Address, Problem>,
    wish: Wish,
    State(handle): State<Handle>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let operation = match wish {
        Wish::Put => Operation::Put(value(&headers, body, false)?),
        Wish::Patch => Operation::Merge(value(&headers, body, true)?),
        Wish::Delete => Operation::Delete,
    };
    let edit = Edit {
        address: address?,
        operation,
        position: asked.position.clone(),
    };
    change(&handle, What::Edit(edit), asked).await
}

/// A value that was sent, as JSON or as a merge patch.
pub(super) fn value(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    patch: bool,
) -> Result<Value, Problem> {
    match text_of(headers, header::CONTENT_TYPE).map(essence) {
        Some("application/merge-patch+json") if patch => {}
        // What `curl -d` says unless told otherwise.
        None | Some("application/json" | "application/x-www-form-urlencoded") => {}
        Some(other) => {
            let known = match patch {
                true => "application/merge-patch+json or application/json",
                false => "application/json",
            };
            return Err(unknown_format(other, known));
        }
    }
    let text = text(body)?;
    serde_json::from_str(&text)
        .map_err(|why| Problem::bad_request(format!("the body is not JSON: {why}")))
}
