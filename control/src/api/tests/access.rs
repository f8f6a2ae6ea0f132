//! Users, roles, tokens, lockout, TLS, and what is written down of them.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::security::{Role, Run};
use crate::store::Directory;

pub(super) const ADMIN: &str = "a first long password";

/// A lab where callers have to be users, its directory, and the secret of the administrator.
pub(super) struct Guarded {
    pub(super) lab: Lab,
    pub(super) directory: tempfile::TempDir,
    pub(super) admin: String,
}

pub(super) fn open(place: &std::path::Path, tls: bool) -> Security {
    let config = Config::read(Source::toml(WHOLE)).expect("a configuration");
    let api = Api {
        auth: true,
        tls,
        requests_per_second: 1_000_000,
        ..config.api
    };
    let directory = Directory::open(place).expect("a directory");
    Security::open(&api, Some(&directory), "lab").expect("room")
}

fn first_password(place: &std::path::Path) -> String {
    let first = std::fs::read_to_string(place.join("initial-password")).expect("it is there");
    first.trim().to_owned()
}

pub(super) fn guarded() -> Guarded {
    guarded_of(WHOLE)
}

/// The same with another configuration in use.
pub(super) fn guarded_of(text: &str) -> Guarded {
    guarded_with(text, |_| {})
}

/// The same with other workers.
pub(super) fn guarded_with(text: &str, prepare: impl FnOnce(&mut [FakeWorker])) -> Guarded {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = lab_of(text, open(directory.path(), false), prepare);
    let first = first_password(directory.path());
    let login = lab.login("admin", &first);
    let change = json!({ "old": first, "new": ADMIN }).to_string();
    let changed = lab.with(&login, "PUT", "/api/v1/password", &change);
    assert_eq!(changed.status, 204, "{}", changed.body);
    let admin = lab.login("admin", ADMIN);
    Guarded {
        lab,
        directory,
        admin,
    }
}

impl Lab {
    pub(super) fn try_login(&self, user: &str, password: &str) -> Response {
        let body = json!({ "user": user, "password": password }).to_string();
        self.ask(
            "POST",
            "/api/v1/login",
            "Content-Type: application/json\r\n",
            &body,
        )
    }

    pub(super) fn login(&self, user: &str, password: &str) -> String {
        let login = self.try_login(user, password);
        assert_eq!(login.status, 200, "{}", login.body);
        login.json()["token"].as_str().expect("a secret").to_owned()
    }

    pub(super) fn with(&self, secret: &str, method: &str, path: &str, body: &str) -> Response {
        let headers =
            format!("Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n");
        self.ask(method, path, &headers, body)
    }
}

impl Guarded {
    pub(super) fn admin(&self, method: &str, path: &str, body: Value) -> Response {
        self.lab.with(&self.admin, method, path, &body.to_string())
    }

    pub(super) fn token(&self, role: Role) -> String {
        let body = json!({ "name": "test", "role": role, "seconds": 600 });
        let made = self.admin("POST", "/api/v1/tokens", body);
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["token"].as_str().expect("a secret").to_owned()
    }
}

#[test]
fn the_first_password_opens_nothing_but_its_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = lab_with(open(directory.path(), false));
    assert_eq!(lab.get("/api/v1/status").status, 401);
    let first = first_password(directory.path());
    let login = lab.login("admin", &first);
    let status = lab.with(&login, "GET", "/api/v1/status", "");
    assert_eq!(status.status, 403);
    assert_eq!(
        status.json()["type"],
        "urn:sluice:problem:password-change-required"
    );
    for (old, new, status) in [
        (first.as_str(), "short", 422),
        (first.as_str(), "my admin password", 422),
        (first.as_str(), first.as_str(), 422),
        ("not the password", ADMIN, 422),
        (first.as_str(), ADMIN, 204),
    ] {
        let body = json!({ "old": old, "new": new }).to_string();
        let changed = lab.with(&login, "PUT", "/api/v1/password", &body);
        assert_eq!(changed.status, status, "{new}: {}", changed.body);
    }
    let ended = lab.with(&login, "GET", "/api/v1/status", "");
    assert_eq!(ended.status, 401, "logins end with the password");
    let login = lab.login("admin", ADMIN);
    assert_eq!(lab.with(&login, "GET", "/api/v1/status", "").status, 200);
    assert!(!directory.path().join("initial-password").exists());
}

#[test]
fn every_operation_is_open_to_its_roles_and_to_nobody_else() {
    let guarded = guarded();
    let lab = &guarded.lab;
    let document = lab.get("/api/v1/openapi.json");
    assert_eq!(document.status, 200, "it has no secrets");
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    let secrets: Vec<String> = roles.iter().map(|&role| guarded.token(role)).collect();
    let (mut asked, mut streamed) = (0, 0);
    let document = document.json();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let admin = ["users", "tokens", "audit", "tls"]
            .iter()
            .any(|root| path.starts_with(&format!("/api/v1/{root}")));
        let own = ["whoami", "logout", "password"]
            .iter()
            .any(|end| path.ends_with(end));
        let tapped = ["captures", "support-bundle"]
            .iter()
            .any(|root| path.starts_with(&format!("/api/v1/{root}")));
        let real = path.replace("{number}", "99").replace(['{', '}'], "");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_ascii_uppercase();
            let needed = match method.as_str() {
                _ if own => Role::Viewer,
                _ if admin => Role::Admin,
                "GET" if !tapped => Role::Viewer,
                _ => Role::Operator,
            };
            // Who gets in by it has nothing to show yet.
            if path == "/api/v1/login" {
                continue;
            }
            let refused = lab.ask(&method, &real, "", "");
            assert_eq!(refused.status, 401, "{method} {path} without a token");
            assert!(refused.head.contains("www-authenticate: bearer"));
            let unknown = lab.with("sluice_00", &method, &real, "");
            assert_eq!(unknown.status, 401, "{method} {path}");
            for (&role, secret) in roles.iter().zip(&secrets) {
                asked += 1;
                // A stream has no end; its head says enough.
                if method == "GET" && path.ends_with("/stream") {
                    let stream = TcpStream::connect(lab.address).expect("it listens");
                    let request = format!("GET {real}");
                    let (status, _) = streams::begin(lab, stream, secret, &request, "");
                    assert_eq!(status, 200, "{path} as {role:?}, who may read all three");
                    streamed += 1;
                    continue;
                }
                // Nothing that is asked for is there or right, so nothing changes.
                let answer = lab.with(secret, &method, &real, "[0]");
                let allowed = ![401, 403].contains(&answer.status);
                // Passwords are changed by logins alone.
                let login = path.ends_with("/password");
                assert_eq!(
                    allowed,
                    role >= needed && !login,
                    "{method} {path} as {role:?}: {}",
                    answer.body
                );
                assert!(answer.status < 500, "{method} {path}: {}", answer.body);
            }
        }
    }
    assert!(asked > 300, "{asked}");
    assert_eq!(
        streamed, 9,
        "events, log lines and sessions, by three roles"
    );
}

#[test]
fn users_and_tokens_come_and_go_and_no_secret_is_ever_shown() {
    let guarded = guarded();
    let lab = &guarded.lab;
    let password = "another long password";
    let made = guarded.admin(
        "PUT",
        "/api/v1/users/olga",
        json!({ "role": "operator", "password": password }),
    );
    assert_eq!(made.status, 201, "{}", made.body);
    let wanted = json!({ "result": "created", "name": "olga", "role": "operator",
        "must_change_password": true });
    assert_eq!(made.json(), wanted);
    let without = guarded.admin("PUT", "/api/v1/users/ivan", json!({ "role": "viewer" }));
    assert_eq!(
        (without.status, &without.json()["errors"][0]["pointer"]),
        (422, &json!("/password"))
    );

    let login = lab.login("olga", password);
    let new = "a third long password";
    let change = json!({ "old": password, "new": new }).to_string();
    assert_eq!(
        lab.with(&login, "PUT", "/api/v1/password", &change).status,
        204
    );
    let login = lab.login("olga", new);
    let drain = "/api/v1/config/pool/web/server/web2?comment=maintenance";
    let drained = lab.with(&login, "PATCH", drain, "{\"state\":\"draining\"}");
    assert_eq!(drained.status, 200, "{}", drained.body);
    let revisions = lab
        .with(&login, "GET", "/api/v1/config/revisions", "")
        .json();
    assert_eq!(revisions["revisions"][0]["author"], "olga");

    let token = json!({ "name": "ci", "role": "admin", "seconds": 600, "user": "olga" });
    let token = guarded.admin("POST", "/api/v1/tokens", token).json();
    let secret = token["token"].as_str().expect("a secret");
    assert_eq!(
        lab.with(secret, "GET", "/api/v1/users", "").status,
        403,
        "olga is no administrator"
    );
    assert_eq!(lab.with(secret, "GET", "/api/v1/status", "").status, 200);
    let revoke = format!("/api/v1/tokens/{}", token["id"].as_str().expect("an id"));
    assert_eq!(guarded.admin("DELETE", &revoke, json!(null)).status, 204);
    assert_eq!(lab.with(secret, "GET", "/api/v1/status", "").status, 401);

    assert_eq!(
        guarded
            .admin("DELETE", "/api/v1/users/olga", json!(null))
            .status,
        204
    );
    assert_eq!(lab.with(&login, "GET", "/api/v1/status", "").status, 401);
    let last = guarded.admin("DELETE", "/api/v1/users/admin", json!(null));
    assert_eq!(last.status, 409, "{}", last.body);
    let demoted = guarded.admin("PUT", "/api/v1/users/admin", json!({ "role": "viewer" }));
    assert_eq!(demoted.status, 409, "{}", demoted.body);

    let audit = guarded.admin("GET", "/api/v1/audit?limit=1000", json!(null));
    let records = audit.json();
    let records = records["records"].as_array().expect("records");
    let find = |path: &str| records.iter().find(|record| record["path"] == path);
    let drained = find(drain).expect("every change is there");
    assert_eq!(
        (&drained["user"], &drained["status"]),
        (&json!("olga"), &json!(200))
    );
    assert_eq!(drained["client"], "127.0.0.1");
    for entry in std::fs::read_dir(guarded.directory.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        for hidden in [password, new, ADMIN, secret, &login] {
            assert!(!text.contains(hidden), "{} in {}", hidden, path.display());
        }
    }
    let shown = guarded.admin("GET", "/api/v1/users", json!(null)).body;
    assert!(
        !shown.contains("argon2") && !audit.body.contains("argon2"),
        "{shown}"
    );
}

#[test]
fn users_outlive_the_process_and_logins_do_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = {
        let security = open(directory.path(), false);
        let accounts = security.accounts.expect("users");
        let first = first_password(directory.path());
        let login = accounts.login("admin", &first).expect("the first password");
        assert!(accounts.identify(&login.secret).is_some());
        (first, login.secret)
    };
    let accounts = open(directory.path(), false).accounts.expect("users");
    assert_eq!(accounts.identify(&first.1), None);
    assert!(accounts.login("admin", &first.0).is_ok());
    assert!(accounts.login("admin", "wrong").is_err());
    assert!(accounts.login("nobody", &first.0).is_err());
}

#[test]
fn who_guesses_is_locked_out() {
    let guarded = guarded();
    let lab = &guarded.lab;
    for _ in 0..5 {
        assert_eq!(lab.try_login("admin", "a wrong password").status, 401);
    }
    let locked = lab.try_login("admin", ADMIN);
    assert_eq!(locked.status, 429, "even the right one");
    assert!(locked.head.contains("retry-after: "), "{}", locked.head);
}

/// Asks over TLS, trusting this certificate only.
fn ask_tls(address: SocketAddr, pem: &str, request: &str) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let name = ServerName::from(address.ip());
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        // The server closes without telling TLS so.
        let _ = stream.read_to_string(&mut answer).await;
        Ok(answer)
    })
}

#[test]
fn the_api_speaks_tls_with_a_certificate_that_can_be_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let security = open(directory.path(), true);
    let tls = security.tls.clone().expect("TLS");
    let lab = lab_with(security);
    let pem = tls.certificate().certificate;
    let request =
        "GET /api/v1/status HTTP/1.1\r\nHost: sluice.example.net\r\nConnection: close\r\n\r\n";
    let answer = ask_tls(lab.address, &pem, request).expect("a certificate for this address");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let mut plain = TcpStream::connect(lab.address).expect("it listens");
    plain.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "nothing without TLS");

    let names = vec!["127.0.0.1".to_owned()];
    let other = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (new, key) = (other.cert.pem(), other.signing_key.serialize_pem());
    tls.replace(&new, &key, Run::Real).expect("they fit");
    assert!(
        ask_tls(lab.address, &pem, request).is_err(),
        "the old one is not shown any more"
    );
    ask_tls(lab.address, &new, request).expect("the new one");
    drop((lab, tls));
    let reopened = open(directory.path(), true).tls.expect("TLS");
    assert_eq!(reopened.certificate().certificate.trim(), new.trim());
}

#[test]
fn without_users_nobody_is_asked_and_there_is_nothing_to_manage() {
    let lab = lab();
    let me = lab.get("/api/v1/whoami").json();
    assert_eq!(
        (&me["users"], &me["name"], &me["role"]),
        (&json!(false), &json!("local"), &json!("admin"))
    );
    assert_eq!(lab.get("/api/v1/users").status, 409);
    assert_eq!(lab.get("/api/v1/tls").status, 409);
    let patch = lab.ask(
        "PATCH",
        "/api/v1/config/tcp",
        "",
        "{\"strict_window\":false}",
    );
    assert_eq!(patch.status, 200, "{}", patch.body);
    let records = lab.get("/api/v1/audit").json();
    assert_eq!(records["records"][0]["user"], "local");
}

#[test]
fn events_are_listed_and_streamed() {
    let lab = lab();
    let mut stream = TcpStream::connect(lab.address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    let request =
        "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut seen = String::new();
    let mut until = |wanted: &str| {
        let mut piece = [0; 4096];
        while !seen.contains(wanted) {
            let read = stream.read(&mut piece).expect("it streams");
            assert!(read > 0, "{seen}");
            seen += &String::from_utf8_lossy(&piece[..read]);
        }
    };
    until("text/event-stream");
    let weight = "/api/v1/config/pool/web/server/web1?comment=more";
    let changed = lab.ask("PATCH", weight, "", "{\"weight\":4}");
    assert_eq!(changed.status, 200, "{}", changed.body);
    until("event: configuration.committed");
    until("\"revision\":2");
    let events = lab.get("/api/v1/events?limit=1").json();
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1));
    let last = lab.get("/api/v1/events").json();
    let kinds = last["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| &event["kind"]);
    assert!(
        kinds
            .into_iter()
            .any(|kind| kind == "configuration.committed"),
        "{last}"
    );
}
