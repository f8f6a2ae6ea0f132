//! What is written down of who did what.

use super::access::{Guarded, guarded};
use super::*;
use crate::security::Search;

impl Guarded {
    /// The latest record of a path; waits for it.
    fn record(&self, path: &str) -> Value {
        for _ in 0..600 {
            let audit = "/api/v1/audit?limit=1000";
            let audit = self.lab.with(&self.admin, "GET", audit, "").json();
            let mut records = audit["records"].as_array().expect("records").iter();
            if let Some(record) = records.find(|record| record["path"] == path) {
                return record.clone();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no record of {path}");
    }
}

#[test]
fn who_hangs_up_is_written_down_all_the_same() {
    let guarded = guarded();
    let lab = &guarded.lab;
    let path = "/api/v1/users/mallory";
    let body = json!({ "role": "admin", "password": "another long password" }).to_string();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        lab.address,
        guarded.admin,
        body.len()
    );
    let mut stream = TcpStream::connect(lab.address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    // The password is not hashed yet.
    drop(stream);
    let record = guarded.record(path);
    assert_eq!(record["user"], "admin");
    assert_eq!(record["status"], 201, "it is done to its end");
    assert_eq!(lab.with(&guarded.admin, "GET", path, "").status, 200);
}

/// What is written of the latest records, latest first: user, method, path, status.
fn told(security: &Security, count: usize) -> Vec<(String, String, String, u16)> {
    let records = security.audit.find(&Search::default(), count).0.into_iter();
    let told = records.map(|record| (record.user, record.method, record.path, record.status));
    told.collect()
}

fn line(user: &str, method: &str, path: &str, status: u16) -> (String, String, String, u16) {
    (user.to_owned(), method.to_owned(), path.to_owned(), status)
}

#[test]
fn what_is_refused_before_the_door_is_written_down_too() {
    let security = security();
    let lab = lab_with(security.clone());
    let foreign = "Origin: https://example.net\r\n";
    let weight = "/api/v1/config/pool/web/server/web1";
    let refused = lab.ask("PATCH", weight, foreign, "{\"weight\":9}");
    assert_eq!(refused.status, 403);
    let config = "GET /api/v1/config HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n\r\n";
    assert_eq!(lab.raw(config).status, 421);
    let wanted = [
        line("", "GET", "/api/v1/config", 421),
        line("", "PATCH", weight, 403),
    ];
    assert_eq!(told(&security, 9), wanted);
}

#[test]
fn who_asks_too_often_is_written_down_once_a_minute() {
    let security = Security {
        limits: std::sync::Arc::new(crate::security::Limits::new(1)),
        ..security()
    };
    let lab = lab_with(security.clone());
    let refused = (0..20).filter(|_| lab.get("/api/v1/status").status == 429);
    assert!(refused.count() > 1);
    let wanted = [line("", "GET", "/api/v1/status", 429)];
    assert_eq!(told(&security, 9), wanted);
}

#[test]
fn a_login_is_one_record_with_its_user() {
    let directory = tempfile::tempdir().expect("a directory");
    let security = super::access::open(directory.path(), false);
    let lab = lab_with(security.clone());
    let path = "/api/v1/login";
    assert_eq!(lab.try_login("my password, mistyped", "x").status, 401);
    assert_eq!(lab.try_login("admin", "x").status, 401);
    let first = std::fs::read_to_string(directory.path().join("initial-password"));
    lab.login("admin", first.expect("it is there").trim());
    let wanted = [
        line("admin", "POST", path, 200),
        line("admin", "POST", path, 401),
        line("", "POST", path, 401),
    ];
    assert_eq!(told(&security, 9), wanted);
}

#[test]
fn what_changes_nothing_is_told_from_what_does() {
    let guarded = guarded();
    let dry = |path: &str, body: Value| {
        let path = format!("{path}?dry_run=true");
        let answer = guarded
            .lab
            .with(&guarded.admin, "PUT", &path, &body.to_string());
        assert!(answer.status < 300, "{}", answer.body);
        guarded.record(&path)["dry_run"].clone()
    };
    let server = json!({ "name": "web1", "address": "10.0.0.11", "port": 8080, "weight": 2 });
    let weight = "/api/v1/config/pool/web/server/web1";
    assert_eq!(dry(weight, server), true);
    let user = json!({ "role": "admin", "password": "another long password" });
    assert_eq!(dry("/api/v1/users/olga", user), true);
}

#[test]
fn a_signal_is_written_down() {
    let security = security();
    let lab = lab_with(security.clone());
    let path = lab.file.path().display().to_string();
    lab.service.reload().expect("a good configuration");
    std::fs::write(lab.file.path(), "nonsense").expect("room");
    lab.service.reload().expect_err("a bad one");
    let wanted = [
        line("SIGHUP", "RELOAD", &path, 422),
        line("SIGHUP", "RELOAD", &path, 200),
    ];
    assert_eq!(told(&security, 9), wanted);
}

#[test]
fn who_has_nothing_to_show_hides_no_change() {
    let guarded = guarded();
    let user = json!({ "role": "viewer", "password": "another long password" });
    let path = "/api/v1/users/mallory";
    let made = guarded
        .lab
        .with(&guarded.admin, "PUT", path, &user.to_string());
    assert_eq!(made.status, 201, "{}", made.body);
    let long = format!("/api/v1/config/{}", "x".repeat(50_000));
    for _ in 0..400 {
        assert_eq!(guarded.lab.ask("PUT", &long, "", "").status, 401);
    }
    let directory = guarded.directory.path();
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |file| file.len());
    assert!(size("refused.log") < 400 * 600, "{}", size("refused.log"));
    assert_eq!(size("audit.log.1"), 0);
    let text = std::fs::read_to_string(directory.join("audit.log")).expect("it is there");
    assert!(text.contains(path) && !text.contains("xxx"), "{text}");
    assert_eq!(guarded.record(path)["status"], 201);
}

#[test]
fn the_log_is_read_in_pages_and_by_conditions() {
    let guarded = guarded();
    let user = json!({ "role": "viewer", "password": "another long password" });
    let admin = |method: &str, path: &str, body: &Value| {
        let body = body.to_string();
        guarded.lab.with(&guarded.admin, method, path, &body)
    };
    for name in ["olga", "ivan"] {
        let made = admin("PUT", &format!("/api/v1/users/{name}"), &user);
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let secret = guarded.token(crate::security::Role::Operator);
    let path = "/api/v1/config/tcp";
    let patched = guarded
        .lab
        .with(&secret, "PATCH", path, "{\"strict_window\":false}");
    assert_eq!(patched.status, 200, "{}", patched.body);
    assert_eq!(guarded.lab.ask("DELETE", path, "", "").status, 401);

    let page = |query: &str| {
        let page = admin("GET", &format!("/api/v1/audit?{query}"), &Value::Null);
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        let page = page.json();
        let records = page["records"].as_array().expect("records").clone();
        let ids = records.iter().map(|record| record["id"].as_u64());
        let ids: Vec<u64> = ids.map(|id| id.expect("a number")).collect();
        (ids, page["next"].as_u64())
    };
    let (all, next) = page("");
    assert_eq!((all.first(), next), (Some(&(all.len() as u64)), None));
    // In pages it is the same, from either end.
    for (first, key) in [("limit=2", "before"), ("limit=2&after=0", "after")] {
        let (mut seen, mut next) = page(first);
        while let Some(cursor) = next {
            let (more, after) = page(&format!("limit=2&{key}={cursor}"));
            seen.extend(more);
            next = after;
        }
        if key == "after" {
            seen.reverse();
        }
        assert_eq!(seen, all, "{key}");
    }
    let count = |query: &str| page(query).0.len();
    assert_eq!(count("path=/api/v1/users/"), 2);
    assert_eq!(count("path=/api/v1/users/olga&method=put"), 1);
    assert_eq!(count("path=/api/v1/config&method=delete"), 1);
    assert_eq!(count("user=admin/test"), 1);
    assert_eq!(count("user=adm"), 0);
    assert_eq!(count("user="), 1, "who has nothing to show");
    assert_eq!(count("user=admin"), all.len() - 1, "tokens too");
    assert_eq!(count("since=1h"), all.len());
    assert_eq!(count("since=2001-01-01T00:00:00Z"), all.len());
    assert_eq!(count("since=2999-01-01T00:00:00%2B02:00"), 0);
    for wrong in ["since=yesterday", "limit=0", "after=x", "colour=red"] {
        let refused = admin("GET", &format!("/api/v1/audit?{wrong}"), &Value::Null);
        assert_eq!(refused.status, 400, "{wrong}");
    }
}
