//! The door: whom it lets through while others guess, tokens whose time is over, foreign pages.

use super::access::{ADMIN, guarded, open};
use super::*;
use crate::security::Role;

#[test]
fn who_is_known_comes_in_while_somebody_guesses_from_the_same_address() {
    let guarded = guarded();
    let lab = &guarded.lab;
    for _ in 0..6 {
        lab.try_login("admin", "a wrong password");
    }
    assert_eq!(lab.try_login("admin", ADMIN).status, 429);
    let known = lab.with(&guarded.admin, "GET", "/api/v1/status", "");
    assert_eq!(known.status, 200, "{}", known.body);
    // A login that opens the door is no way to guess the password behind it.
    let change = json!({ "old": ADMIN, "new": "another long password" }).to_string();
    let change = lab.with(&guarded.admin, "PUT", "/api/v1/password", &change);
    assert_eq!(change.status, 429, "{}", change.body);
}

#[test]
fn a_program_whose_token_is_dead_locks_nobody_out() {
    let guarded = guarded();
    let lab = &guarded.lab;
    for _ in 0..20 {
        let dead = lab.with("sluice_00", "GET", "/api/v1/status", "");
        assert_eq!(dead.status, 401, "{}", dead.body);
    }
    lab.login("admin", ADMIN);
}

#[test]
fn a_token_whose_time_is_over_opens_nothing() {
    let guarded = guarded();
    let secret = guarded.token(Role::Viewer);
    let status = "/api/v1/status";
    assert_eq!(guarded.lab.with(&secret, "GET", status, "").status, 200);
    let super::access::Guarded { lab, directory, .. } = guarded;
    drop(lab);
    // Nobody waits for a token to end: it began earlier.
    let path = directory.path().join("access.json");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    for token in state["tokens"]
        .as_object_mut()
        .expect("tokens")
        .values_mut()
    {
        token["expires"] = json!(crate::clock::unix_ms() - 1);
    }
    std::fs::write(&path, state.to_string()).expect("room");
    let lab = lab_with(open(directory.path(), false));
    assert_eq!(lab.with(&secret, "GET", status, "").status, 401);
    let login = lab.login("admin", ADMIN);
    let tokens = lab.with(&login, "GET", "/api/v1/tokens", "").json();
    assert_eq!(tokens["tokens"], json!([]));
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let lab = lab();
    let patch = |headers: &str| {
        let path = "/api/v1/config/pool/web/server/web1";
        lab.ask("PATCH", path, headers, "{\"weight\":9}").status
    };
    assert_eq!(patch("Origin: https://example.net\r\n"), 403);
    assert_eq!(patch("Sec-Fetch-Site: cross-site\r\n"), 403);
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 1);
    let read = lab.ask(
        "GET",
        "/api/v1/status",
        "Origin: https://example.net\r\n",
        "",
    );
    assert_eq!(read.status, 200);
    assert!(
        !read.head.contains("access-control-allow-origin"),
        "and its answer is not shown"
    );
    let own = format!(
        "Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n",
        lab.address
    );
    assert_eq!(patch(&own), 200);
}
