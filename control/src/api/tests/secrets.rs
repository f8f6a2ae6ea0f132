//! What is secret in the configuration: administrators read it as it was given, nobody else reads it, and
//! nobody loses it.

use super::access::guarded_of;
use super::*;
use crate::config::secrets::HIDDEN;
use crate::security::Role;

const KEY: &str = "deadbeef0123456789abcdefdeadbeef0123456789abcdefdeadbeef01234567";
const NEXT: &str = "feedbeef0123456789abcdefdeadbeef0123456789abcdefdeadbeef01234567";

fn text() -> String {
    format!(
        "{WHOLE}\n[ha]\nnode = 1\npeer = 2\ndevice = \"net_memif9\"\nkey = \"{KEY}\" # ours\n\
         next_key = \"{NEXT}\"\n[[health_check]]\nname = \"cache\"\ntype = \"tcp\"\n\
         send = \"AUTH horse\"\nexpect = \"OK\"\n"
    )
}

const JSON: &str = "Accept: application/json\r\n";

#[test]
fn secrets_are_shown_to_administrators_alone_wherever_they_may_be_read() {
    let guarded = guarded_of(&text());
    let lab = &guarded.lab;
    let admin = &guarded.admin;
    let secret = |answer: &Response| {
        [KEY, NEXT, "horse", "mule"]
            .iter()
            .any(|it| answer.body.contains(it))
    };
    let ask = |token: &str, method: &str, path: &str, more: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{more}");
        lab.ask(method, path, &headers, body)
    };
    let as_given = ask(admin, "GET", "/api/v1/config", "", "");
    assert_eq!(as_given.body, text(), "to the byte");

    let (viewer, operator) = (guarded.token(Role::Viewer), guarded.token(Role::Operator));
    // Another secret, so that the history has one that is not in use.
    let body = json!({ "send": "AUTH mule" }).to_string();
    let check = "/api/v1/config/health_check/cache";
    let changed = ask(&operator, "PATCH", check, "", &body);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!(
        !secret(&changed) && changed.body.contains(HIDDEN),
        "{}",
        changed.body
    );
    let begun = ask(&viewer, "PUT", "/api/v1/candidate", "", "");
    assert_eq!(begun.status, 403);
    for token in [&viewer, &operator] {
        for (path, more) in [
            ("/api/v1/config", ""),
            ("/api/v1/config", JSON),
            ("/api/v1/config/ha", ""),
            ("/api/v1/config/health_check", ""),
            (check, ""),
            ("/api/v1/config/revisions/1", ""),
            ("/api/v1/config/revisions/1", JSON),
            ("/api/v1/config/revisions/1/diff", ""),
        ] {
            let answer = ask(token, "GET", path, more, "");
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            assert!(!secret(&answer), "{path}: {}", answer.body);
            assert!(answer.body.contains(HIDDEN), "{path}: {}", answer.body);
        }
    }
    let own = ask(&operator, "PUT", "/api/v1/candidate", "", "");
    assert_eq!(own.status, 201, "{}", own.body);
    let other = json!({ "send": "AUTH donkey" }).to_string();
    let path = format!("{check}?candidate=true");
    assert!(!secret(&ask(&operator, "PATCH", &path, "", &other)));
    for path in ["/api/v1/candidate", "/api/v1/candidate/diff"] {
        let answer = ask(&operator, "GET", path, "", "");
        assert!(
            !secret(&answer) && answer.body.contains(HIDDEN),
            "{}",
            answer.body
        );
    }
    for path in [
        "/api/v1/config/ha",
        check,
        "/api/v1/config/revisions/1/diff",
    ] {
        assert!(secret(&ask(admin, "GET", path, "", "")), "{path}");
    }
}

#[test]
fn who_sends_back_what_is_not_shown_keeps_it() {
    let guarded = guarded_of(&text());
    let lab = &guarded.lab;
    let operator = guarded.token(Role::Operator);
    let ask = |token: &str, method: &str, path: &str, more: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{more}");
        lab.ask(method, path, &headers, body)
    };
    let in_use = || ask(&guarded.admin, "GET", "/api/v1/config", "", "").body;
    // What was read, in both formats and by parts, is no change.
    for more in ["", JSON] {
        let read = ask(&operator, "GET", "/api/v1/config", more, "");
        let kind = more.replace("Accept", "Content-Type");
        let put = ask(&operator, "PUT", "/api/v1/config", &kind, &read.body);
        assert_eq!(put.json()["result"], "no_change", "{}", put.body);
    }
    for path in ["/api/v1/config/ha", "/api/v1/config/health_check/cache"] {
        let read = ask(&operator, "GET", path, "", "");
        let put = ask(&operator, "PUT", path, "", &read.body);
        assert_eq!(put.json()["result"], "no_change", "{path}: {}", put.body);
    }
    assert_eq!(in_use(), text());
    // Something else changes; the secrets stay.
    let read = ask(&operator, "GET", "/api/v1/config", "", "").body;
    let wider = read.replace("expect = \"OK\"", "expect = \"+OK\"");
    let put = ask(&operator, "PUT", "/api/v1/config", "", &wider);
    assert_eq!(put.json()["result"], "committed", "{}", put.body);
    assert_eq!(put.json()["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        in_use(),
        text().replace("expect = \"OK\"", "expect = \"+OK\"")
    );
    // By a candidate as well.
    ask(&operator, "PUT", "/api/v1/candidate", "", "");
    let candidate = ask(&operator, "GET", "/api/v1/candidate", "", "").body;
    let candidate = candidate.replace("expect = \"+OK\"", "expect = \"OK\"");
    ask(&operator, "PUT", "/api/v1/candidate", "", &candidate);
    let commit = ask(&operator, "POST", "/api/v1/candidate/commit", "", "");
    assert_eq!(commit.json()["result"], "committed", "{}", commit.body);
    assert_eq!(in_use(), text());
    // There is nothing that the mark could stand for.
    let new = json!({ "type": "tcp", "send": HIDDEN }).to_string();
    let path = "/api/v1/config/health_check/other";
    let refused = ask(&operator, "PUT", path, "", &new);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/send");
}
