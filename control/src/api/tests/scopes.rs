//! Tokens that are held to a scope, each area on its own, and none makes itself more than it is.

use std::collections::BTreeSet;

use super::access::{ADMIN, Guarded, guarded};
use super::*;
use crate::security::Grant;

impl Guarded {
    /// A token of an administrator with this scope, for ten minutes.
    fn scoped(&self, scope: &[&str]) -> String {
        let body = json!({ "name": "scoped", "role": "admin", "seconds": 600, "scope": scope });
        let made = self.admin("POST", "/api/v1/tokens", body);
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["token"].as_str().expect("a secret").to_owned()
    }
}

/// Where an operation belongs, written down once more: by the first word of its path.
fn belongs(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/api/v1/") else {
        return "metrics";
    };
    if rest.starts_with("tls/clients") {
        return "users";
    }
    match rest.split('/').next().unwrap_or_default() {
        "config" | "candidate" | "next" => "config",
        "health" | "tiers" => "health",
        "trace" | "ping" | "traceroute" | "tools" => "tools",
        "support-bundle" => "support",
        known @ ("sessions" | "ha" | "captures" | "events" | "logs" | "audit" | "tls"
        | "tokens" | "users") => known,
        "status" | "stats" | "workers" | "drops" | "ports" | "devices" | "snat_pools"
        | "neighbours" | "routes" => "state",
        other => panic!("{other}"),
    }
}

#[test]
fn a_scope_opens_its_area_and_no_other() {
    let guarded = guarded();
    let lab = &guarded.lab;
    let grants: Vec<String> = Grant::all().map(|grant| grant.to_string()).collect();
    let secrets: Vec<String> = grants.iter().map(|it| guarded.scoped(&[it])).collect();
    let document = lab.get("/api/v1/openapi.json").json();
    let mut opened = BTreeSet::new();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let own = ["login", "whoami", "logout", "password"];
        if own.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let real = path.replace("{number}", "99").replace(['{', '}'], "");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_ascii_uppercase();
            let needed = match method.as_str() {
                "GET" => "read",
                _ => "write",
            };
            for (grant, secret) in grants.iter().zip(&secrets) {
                let (area, access) = grant.split_once(':').expect("two words");
                let enough = access == "write" || needed == "read";
                let allowed = area == belongs(path) && enough;
                // Those that may go on for ever are asked elsewhere.
                if allowed && path.ends_with("/stream") {
                    continue;
                }
                // Nothing that is asked for is there or right, so nothing changes.
                let answer = lab.with(secret, &method, &real, "[0]");
                let let_in = ![401, 403].contains(&answer.status);
                assert_eq!(let_in, allowed, "{method} {path}, {grant}: {}", answer.body);
                if !let_in {
                    let problem = answer.json();
                    assert_eq!(problem["type"], "urn:sluice:problem:out-of-scope");
                } else {
                    opened.insert(grant.clone());
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 2000, "{asked}");
    for (grant, secret) in grants.iter().zip(&secrets) {
        let answer = lab.with(secret, "GET", "/metrics", "");
        if answer.status != 403 {
            assert!(grant.starts_with("metrics:"), "{grant}: {}", answer.status);
            opened.insert(grant.clone());
        }
    }
    // Of the tools there is nothing to read.
    let idle = grants.iter().filter(|grant| !opened.contains(*grant));
    assert_eq!(idle.collect::<Vec<_>>(), ["tools:read"]);
}

#[test]
fn scopes_are_shown_and_say_what_they_lack() {
    let guarded = guarded();
    let secret = guarded.scoped(&["sessions:read", "config:write", "sessions:write"]);
    let scope = json!(["config:write", "sessions:write"]);
    let listed = guarded.admin("GET", "/api/v1/tokens", json!(null)).json();
    assert_eq!(listed["tokens"][0]["scope"], scope);
    let me = guarded
        .lab
        .with(&secret, "GET", "/api/v1/whoami", "")
        .json();
    assert_eq!(
        (&me["name"], &me["token"]["name"], &me["token"]["scope"]),
        (&json!("admin"), &json!("scoped"), &scope)
    );
    let refused = guarded.lab.with(&secret, "GET", "/api/v1/health", "");
    assert_eq!(
        refused.json()["detail"],
        "this takes health:read, and the token's scope is config:write, sessions:write"
    );
    let mine = guarded.admin("GET", "/api/v1/whoami", json!(null)).json();
    assert_eq!(mine["token"], json!(null), "a login has all of the role");
    for (scope, pointer) in [
        (json!([]), "/scope"),
        (json!(["users:write"]), "/scope/0"),
        (json!(["everything"]), "/scope/0"),
    ] {
        let body = json!({ "name": "x", "role": "viewer", "seconds": 600, "scope": scope });
        let wrong = guarded.admin("POST", "/api/v1/tokens", body);
        assert_eq!(
            (wrong.status, &wrong.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{}",
            wrong.body
        );
    }
}

#[test]
fn no_token_makes_more_than_it_is() {
    let guarded = guarded();
    let lab = &guarded.lab;
    let user = json!({ "role": "operator", "password": "another long password" });
    assert_eq!(guarded.admin("PUT", "/api/v1/users/olga", user).status, 201);
    let secret = guarded.scoped(&["tokens:write", "sessions:read"]);
    let make = |secret: &str, change: Value| {
        let mut body = json!({ "name": "child", "role": "viewer", "seconds": 60,
            "scope": ["sessions:read"] });
        for (key, value) in change.as_object().expect("an object") {
            body[key] = value.clone();
        }
        lab.with(secret, "POST", "/api/v1/tokens", &body.to_string())
    };
    let made = make(&secret, json!({}));
    assert_eq!(made.status, 201, "{}", made.body);
    for (more, pointer) in [
        (json!({ "scope": ["sessions:write"] }), "/scope"),
        (
            json!({ "scope": ["sessions:read", "config:read"] }),
            "/scope",
        ),
        (json!({ "scope": null }), "/scope"),
        (json!({ "seconds": 86_400 }), "/seconds"),
        (json!({ "user": "olga" }), "/user"),
    ] {
        let refused = make(&secret, more.clone());
        assert_eq!(refused.status, 403, "{more}: {}", refused.body);
        let problem = refused.json();
        assert_eq!(problem["type"], "urn:sluice:problem:beyond-token");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    // Without a scope it has all of its role, for as long as it is good, and its user's password is not its own.
    let whole = guarded.token(crate::security::Role::Admin);
    assert_eq!(
        make(&whole, json!({ "scope": null, "user": "olga" })).status,
        201
    );
    assert_eq!(make(&whole, json!({ "seconds": 86_400 })).status, 403);
    let password = json!({ "role": "admin", "password": "quite another password" });
    for secret in [&whole, &secret] {
        let put = lab.with(secret, "PUT", "/api/v1/users/admin", &password.to_string());
        assert_eq!(put.status, 403, "{}", put.body);
        let change = json!({ "old": ADMIN, "new": "quite another password" }).to_string();
        let own = lab.with(secret, "PUT", "/api/v1/password", &change);
        assert_eq!(own.status, 403, "{}", own.body);
    }
    lab.login("admin", ADMIN);
}

#[test]
fn streams_are_held_to_the_scope_too() {
    let guarded = guarded();
    let (events, logs) = (
        guarded.scoped(&["events:read"]),
        guarded.scoped(&["logs:read"]),
    );
    let open = |secret: &str, path: &str| {
        let mut stream = TcpStream::connect(guarded.lab.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let head = format!("Host: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n");
        let request = format!("GET {path} HTTP/1.1\r\n{head}");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        String::from_utf8_lossy(&head).into_owned()
    };
    for (path, may, may_not) in [
        ("/api/v1/events/stream", &events, &logs),
        ("/api/v1/logs/stream", &logs, &events),
    ] {
        assert_eq!(open(may, path), "HTTP/1.1 200");
        assert_eq!(open(may_not, path), "HTTP/1.1 403");
    }
    assert_eq!(open(&events, "/api/v1/sessions/stream"), "HTTP/1.1 403");
}

/// As it was written before there were scopes.
#[test]
fn tokens_of_before_have_all_of_their_role() {
    let guarded = guarded();
    let secret = guarded.token(crate::security::Role::Operator);
    let Guarded { lab, directory, .. } = guarded;
    // It has the directory.
    drop(lab);
    let text = std::fs::read_to_string(directory.path().join("access.json"));
    let text = text.expect("it is there");
    assert!(!text.contains("scope"), "{text}");
    let accounts = super::access::open(directory.path(), false);
    let accounts = accounts.accounts.expect("users");
    let token = accounts.identify(&secret).and_then(|it| it.token);
    assert_eq!(token.map(|token| token.scope), Some(None));
}
