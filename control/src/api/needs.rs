//! What a request needs: a role, and of a token what its scope must have. The one place that says so.
//!
//! It follows from method and path, so that a new resource is closed to those who may not use it, and to
//! every token with a scope, without anybody having thought of that.

use axum::http::{Method, StatusCode};

use super::Problem;
use crate::security::{Access, Area, Grant, Identity, Role};

/// For administrators alone.
const ADMIN: [&str; 4] = [
    "/api/v1/users",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/api/v1/tls",
];
/// For operators also to read: what is in there is other people's.
const OPERATOR: [&str; 2] = ["/api/v1/captures", "/api/v1/support-bundle"];
/// Of the caller's own account: for everybody who has one.
const OWN: [&str; 3] = ["/api/v1/whoami", "/api/v1/password", "/api/v1/logout"];

/// Which area what is below a path belongs to; the first that fits.
const AREAS: [(&str, Area); 30] = [
    ("/metrics", Area::Metrics),
    ("/api/v1/config", Area::Config),
    ("/api/v1/candidate", Area::Config),
    ("/api/v1/next", Area::Config),
    ("/api/v1/sessions", Area::Sessions),
    ("/api/v1/health", Area::Health),
    ("/api/v1/tiers", Area::Health),
    ("/api/v1/status", Area::State),
    ("/api/v1/stats", Area::State),
    ("/api/v1/workers", Area::State),
    ("/api/v1/drops", Area::State),
    ("/api/v1/ports", Area::State),
    ("/api/v1/devices", Area::State),
    ("/api/v1/snat_pools", Area::State),
    ("/api/v1/neighbours", Area::State),
    ("/api/v1/routes", Area::State),
    ("/api/v1/ha", Area::Ha),
    ("/api/v1/captures", Area::Captures),
    ("/api/v1/trace", Area::Tools),
    ("/api/v1/traceroute", Area::Tools),
    ("/api/v1/ping", Area::Tools),
    ("/api/v1/tools", Area::Tools),
    ("/api/v1/events", Area::Events),
    ("/api/v1/logs", Area::Logs),
    ("/api/v1/support-bundle", Area::Support),
    ("/api/v1/audit", Area::Audit),
    // Whose certificates count says who is an administrator.
    ("/api/v1/tls/clients", Area::Users),
    ("/api/v1/tls", Area::Tls),
    ("/api/v1/tokens", Area::Tokens),
    ("/api/v1/users", Area::Users),
];

/// What a request needs of whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    role: Role,
    token: OfToken,
}

/// What it needs if it comes with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfToken {
    /// Nothing: it is about the token itself.
    Nothing,
    /// This in its scope, if it has one.
    Grant(Grant),
    /// It must not have a scope.
    NoScope,
    /// It must be a login, or a certificate.
    NoToken,
}

pub(super) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

pub(super) fn below(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| {
        let rest = path.strip_prefix(root);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether it is about the caller's own account.
pub(super) fn is_own(path: &str) -> bool {
    below(path, &OWN)
}

impl Needs {
    /// Of a request.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let role = match method {
            _ if is_own(path) => Role::Viewer,
            _ if below(path, &ADMIN) => Role::Admin,
            _ if below(path, &OPERATOR) => Role::Operator,
            method if reads(method) => Role::Viewer,
            _ => Role::Operator,
        };
        let token = match area(path) {
            _ if below(path, &["/api/v1/password"]) => OfToken::NoToken,
            _ if is_own(path) => OfToken::Nothing,
            None => OfToken::NoScope,
            Some(area) => {
                let access = match reads(method) {
                    true => Access::Read,
                    false => Access::Write,
                };
                OfToken::Grant(Grant { area, access })
            }
        };
        Self { role, token }
    }

    /// Whether this one may.
    ///
    /// # Errors
    /// 403, and what is lacking.
    pub(super) fn check(self, identity: &Identity) -> Result<(), Box<Problem>> {
        let forbidden = |kind, title, detail: String| {
            let problem = Problem::new(StatusCode::FORBIDDEN, kind, title);
            Err(Box::new(problem.detail(detail)))
        };
        if identity.role < self.role {
            let (needed, role) = (self.role, identity.role);
            let detail = format!("this takes {needed:?}, and you are {role:?}").to_lowercase();
            return forbidden("forbidden", "Your role does not allow it", detail);
        }
        let Some(token) = &identity.token else {
            return Ok(());
        };
        let title = "The token does not allow it";
        match (self.token, &token.scope) {
            (OfToken::Nothing, _) | (OfToken::Grant(_) | OfToken::NoScope, None) => Ok(()),
            (OfToken::Grant(grant), Some(scope)) if scope.allows(grant) => Ok(()),
            (OfToken::Grant(grant), Some(scope)) => {
                let detail = format!("this takes {grant}, and the token's scope is {scope}");
                forbidden("out-of-scope", title, detail)
            }
            (OfToken::NoScope, Some(scope)) => {
                let detail = format!("this is in no scope, and the token's is {scope}");
                forbidden("out-of-scope", title, detail)
            }
            (OfToken::NoToken, _) => {
                let detail = "no token changes a password; log in".to_owned();
                forbidden("out-of-scope", title, detail)
            }
        }
    }
}

fn area(path: &str) -> Option<Area> {
    let known = AREAS.iter().find(|(root, _)| below(path, &[root]));
    known.map(|&(_, area)| area)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not known to be in an area is closed to scopes: so whoever adds a resource says here where it
    /// belongs.
    #[test]
    fn every_resource_belongs_to_an_area() {
        let document = crate::api::document();
        let paths = document["paths"].as_object().expect("paths");
        let of_everybody = ["login", "logout", "whoami", "password"];
        for path in paths.keys() {
            let own = of_everybody.iter().any(|end| path.ends_with(end));
            assert_eq!(area(path).is_none(), own, "{path}");
        }
        assert!(paths.len() > 80, "{}", paths.len());
    }

    #[test]
    fn names_that_begin_alike_are_not_below_one_another() {
        assert_eq!(area("/api/v1/traceroute"), Some(Area::Tools));
        assert_eq!(area("/api/v1/healthy"), None);
        assert_eq!(area("/api/v1"), None);
        assert_eq!(area("/api/v1/tls/clients"), Some(Area::Users));
        assert_eq!(area("/api/v1/tls/clientsx"), Some(Area::Tls));
    }
}
