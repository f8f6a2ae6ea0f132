//! Users that are put again, under conditions, and on trial.

use super::access::guarded;
use super::*;

const OLGA: &str = "/api/v1/users/olga";
const PASSWORD: &str = "another long password";

#[test]
fn a_trial_of_a_change_of_accounts_changes_nothing() {
    let guarded = guarded();
    let olga = json!({ "role": "operator", "password": PASSWORD });
    let trial = format!("{OLGA}?dry_run=true");
    let tried = guarded.admin("PUT", &trial, olga.clone());
    assert_eq!(
        (tried.status, &tried.json()["result"]),
        (200, &json!("valid"))
    );
    assert_eq!(guarded.admin("GET", OLGA, json!(null)).status, 404);
    let wrong = guarded.admin("PUT", &trial, json!({ "role": "operator" }));
    assert_eq!(wrong.status, 422, "it is checked: {}", wrong.body);

    assert_eq!(guarded.admin("PUT", OLGA, olga).status, 201);
    let login = guarded.lab.login("olga", PASSWORD);
    let tried = guarded.admin("DELETE", &trial, json!(null));
    assert_eq!(
        (tried.status, tried.json()),
        (200, json!({ "result": "valid" }))
    );
    let tried = guarded.admin(
        "PUT",
        &trial,
        json!({ "role": "viewer", "password": "quite a new one" }),
    );
    assert_eq!(tried.json()["role"], "viewer", "as it would be");
    assert_eq!(
        guarded.admin("GET", OLGA, json!(null)).json()["role"],
        "operator"
    );
    assert_eq!(
        guarded.lab.with(&login, "GET", "/api/v1/whoami", "").status,
        200,
        "her login goes on"
    );
    let last = guarded.admin("DELETE", "/api/v1/users/admin?dry_run=true", json!(null));
    assert_eq!(last.status, 409, "{}", last.body);

    let token = json!({ "name": "ci", "role": "viewer", "seconds": 600, "user": "olga" });
    let tried = guarded.admin("POST", "/api/v1/tokens?dry_run=true", token.clone());
    assert_eq!(
        (tried.status, tried.json()),
        (200, json!({ "result": "valid" }))
    );
    assert_eq!(
        guarded.admin("GET", "/api/v1/tokens", json!(null)).json(),
        json!({ "tokens": [] })
    );
    let made = guarded.admin("POST", "/api/v1/tokens", token).json();
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().expect("an id"));
    let tried = guarded.admin("DELETE", &format!("{path}?dry_run=true"), json!(null));
    assert_eq!(tried.status, 200, "{}", tried.body);
    assert_eq!(
        guarded.admin("DELETE", &path, json!(null)).status,
        204,
        "it was there"
    );
}

#[test]
fn the_same_user_again_is_no_change_and_no_new_password() {
    let guarded = guarded();
    let olga = json!({ "role": "operator", "password": PASSWORD });
    let made = guarded.admin("PUT", OLGA, olga.clone());
    assert_eq!(
        (made.status, &made.json()["result"]),
        (201, &json!("created"))
    );
    let login = guarded.lab.login("olga", PASSWORD);
    let (own, new) = ("/api/v1/password", "a third long password");
    let change = json!({ "old": PASSWORD, "new": new }).to_string();
    assert_eq!(guarded.lab.with(&login, "PUT", own, &change).status, 204);
    let login = guarded.lab.login("olga", new);
    let now = json!({ "role": "operator", "password": new });
    for same in [now, json!({ "role": "operator" })] {
        let again = guarded.admin("PUT", OLGA, same);
        let wanted = json!({ "result": "no_change", "name": "olga", "role": "operator",
            "must_change_password": false });
        assert_eq!((again.status, again.json()), (200, wanted));
    }
    let status = guarded.lab.with(&login, "GET", "/api/v1/status", "");
    assert_eq!(status.status, 200, "her login goes on");
    let other = guarded.admin("PUT", OLGA, olga).json();
    assert_eq!(
        (&other["result"], &other["must_change_password"]),
        (&json!("changed"), &json!(true))
    );
    let status = guarded.lab.with(&login, "GET", "/api/v1/status", "");
    assert_eq!(status.status, 401, "another password ends it");
}

#[test]
fn users_are_changed_under_the_conditions_of_the_headers() {
    let guarded = guarded();
    let olga = json!({ "role": "operator", "password": PASSWORD });
    let with = |method: &str, condition: &str, body: &Value| {
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n{condition}\r\n",
            guarded.admin
        );
        guarded.lab.ask(method, OLGA, &headers, &body.to_string())
    };
    let none = "If-None-Match: *";
    assert_eq!(
        with("PUT", "If-Match: *", &olga).status,
        412,
        "she is not there"
    );
    assert_eq!(with("PUT", none, &olga).status, 201);
    let there = with("PUT", none, &olga);
    assert_eq!(
        (there.status, &there.json()["type"]),
        (412, &json!("urn:sluice:problem:changed-meanwhile"))
    );
    let tag = guarded.admin("GET", OLGA, json!(null)).tag();
    let known = with("GET", &format!("If-None-Match: {tag}"), &json!(null));
    assert_eq!(known.status, 304);
    let viewer = json!({ "role": "viewer" });
    let changed = with("PUT", &format!("If-Match: {tag}"), &viewer);
    assert_eq!(changed.status, 200, "{}", changed.body);
    let new = changed.tag();
    assert_ne!(new, tag);
    assert_eq!(
        with("DELETE", &format!("If-Match: {tag}"), &json!(null)).status,
        412
    );
    assert_eq!(
        with("DELETE", &format!("If-Match: {new}"), &json!(null)).status,
        204
    );
}
