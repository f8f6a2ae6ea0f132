//! Who gets in, over real TLS: passwords, tokens, certificates; and that no secret is written down.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::alone::Alone;

/// The administrator's, once it is changed.
pub(crate) const PASSWORD: &str = "a first long password";
const JSON: &str = "Content-Type: application/json\r\n";

/// Changes the first password, and makes a token for an administrator.
pub(crate) fn administrator(alone: &Alone) -> String {
    let first = std::fs::read_to_string(alone.state().join("initial-password"));
    let first = first.expect("a first password");
    let first = first.trim();
    let post = |method: &str, path: &str, token: &str, body: Value| {
        let headers = format!("{JSON}Authorization: Bearer {token}\r\n");
        let answer = alone.ask(method, path, &headers, &body.to_string());
        let answer = answer.expect("an answer");
        assert!(answer.status < 300, "{path}: {}", answer.text());
        serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
    };
    let log_in = |password: &str| {
        let body = json!({ "user": "admin", "password": password });
        let login = post("POST", "/api/v1/login", "none", body);
        login["token"].as_str().expect("a secret").to_owned()
    };
    let change = json!({ "old": first, "new": PASSWORD });
    post("PUT", "/api/v1/password", &log_in(first), change);
    let wanted = json!({ "name": "test", "role": "admin", "seconds": 3600 });
    let token = post("POST", "/api/v1/tokens", &log_in(PASSWORD), wanted);
    token["token"].as_str().expect("a secret").to_owned()
}

/// What curl says: status and body; `None` if there was no answer.
fn curl(alone: &Alone, arguments: &[&str], path: &str) -> Option<(u16, String)> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(format!("https://{}{path}", alone.api()))
        // Why there is no answer is for whoever reads why the test failed.
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("curl (package curl)");
    let said = String::from_utf8(output.stdout).expect("text");
    let (body, status) = said.rsplit_once('\n')?;
    let status = status.parse().ok().filter(|_| output.status.success())?;
    Some((status, body.to_owned()))
}

/// `openssl`, which makes certificates that nobody here wrote.
fn openssl(directory: &Path, command: &str) {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(directory)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
}

/// An authority, and certificates of two clients and a stranger.
fn certificates(directory: &Path) {
    let new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
    openssl(
        directory,
        &format!(
            "echo extendedKeyUsage=clientAuth >client.ext\n\
             {new} -x509 -days 2 -keyout ca.key -out ca.pem -subj /CN=authority\n\
             {new} -x509 -days 2 -keyout other.key -out other.pem -subj /CN=other\n\
             sign() {{ {new} -keyout $1.key -out $1.csr -subj /CN=$1\n\
             openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -days 2 \
             -extfile client.ext -out $1.pem; }}\n\
             sign olga ca; sign nobody ca; cp olga.key olga.keep; cp olga.pem olga.crt\n\
             sign olga other; mv olga.pem forged.pem; mv olga.key forged.key\n\
             mv olga.crt olga.pem; mv olga.keep olga.key\n\
             {new} -x509 -days 2 -keyout new.key -out new.pem -subj /CN=new \
             -addext subjectAltName=IP:127.0.0.1",
        ),
    );
}

/// A file with the certificate that the appliance shows, as its directory has it.
fn shown(alone: &Alone, directory: &Path) -> PathBuf {
    let pem = std::fs::read_to_string(alone.state().join("tls.pem")).expect("it is there");
    let (_, certificate) = pem.split_once("-----BEGIN CERT").expect("a certificate");
    let path = directory.join("shown.pem");
    std::fs::write(&path, format!("-----BEGIN CERT{certificate}")).expect("room");
    path
}

#[test]
fn certificates_of_clients_and_the_own_one_change_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    certificates(place);
    let mut alone = Alone::start(place, "auth = \"users\"\ntls = true");
    let trust = shown(&alone, place);
    let trust = trust.to_str().expect("a path");
    let first =
        std::fs::read_to_string(alone.state().join("initial-password")).expect("it is there");
    let log_in = |password: &str| {
        let body = json!({ "user": "admin", "password": password }).to_string();
        let arguments = ["--cacert", trust, "--json", &body];
        let (status, body) = curl(&alone, &arguments, "/api/v1/login").expect("an answer");
        assert_eq!(status, 200, "{body}");
        let login: Value = serde_json::from_str(&body).expect("JSON");
        format!(
            "Authorization: Bearer {}",
            login["token"].as_str().expect("a secret")
        )
    };
    let put = |header: &str, trust: &str, path: &str, body: Value| {
        let body = body.to_string();
        let arguments = [
            "--cacert", trust, "-H", header, "--json", &body, "-X", "PUT",
        ];
        let (status, said) = curl(&alone, &arguments, path).expect("an answer");
        assert!(status < 300, "{path}: {said}");
    };
    let change = json!({ "old": first.trim(), "new": PASSWORD });
    put(&log_in(first.trim()), trust, "/api/v1/password", change);
    let admin = log_in(PASSWORD);
    let olga = json!({ "role": "operator", "password": "another long password" });
    put(&admin, trust, "/api/v1/users/olga", olga);

    let file = |name: &str| place.join(name).display().to_string();
    let by = |trust: &str, name: &str, path: &str| {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        curl(
            &alone,
            &["--cacert", trust, "--cert", &certificate, "--key", &key],
            path,
        )
    };
    let status = |answer: Option<(u16, String)>| answer.map(|(status, _)| status);
    let whoami = "/api/v1/whoami";
    // Nobody asks for one yet.
    assert_eq!(status(by(trust, "olga", whoami)), Some(401));
    let authorities = std::fs::read_to_string(file("ca.pem")).expect("it is there");
    let clients = |required: bool| json!({ "authorities": authorities, "required": required });
    put(&admin, trust, "/api/v1/tls/clients", clients(false));
    let (code, me) = by(trust, "olga", whoami).expect("an answer");
    assert_eq!(code, 200, "{me}");
    let me: Value = serde_json::from_str(&me).expect("JSON");
    assert_eq!(
        (&me["name"], &me["role"]),
        (&json!("olga"), &json!("operator"))
    );
    assert_eq!(status(by(trust, "olga", "/api/v1/users")), Some(403));
    assert_eq!(
        status(by(trust, "nobody", whoami)),
        Some(401),
        "no such user"
    );
    assert_eq!(
        status(by(trust, "forged", whoami)),
        None,
        "another authority"
    );
    let token = ["--cacert", trust, "-H", &admin];
    assert_eq!(status(curl(&alone, &token, whoami)), Some(200));
    put(&admin, trust, "/api/v1/tls/clients", clients(true));
    assert_eq!(
        status(curl(&alone, &token, whoami)),
        None,
        "one is required"
    );
    assert_eq!(status(by(trust, "olga", whoami)), Some(200));

    // The appliance's own certificate, by someone with both.
    let (certificate, key) = (file("olga.pem"), file("olga.key"));
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("it is there");
    let body = json!({ "certificate": read("new.pem"), "key": read("new.key") }).to_string();
    let arguments = [
        "--cacert",
        trust,
        "--cert",
        &certificate,
        "--key",
        &key,
        "-H",
        &admin,
        "--json",
        &body,
        "-X",
        "PUT",
    ];
    let replaced = curl(&alone, &arguments, "/api/v1/tls").expect("an answer");
    assert_eq!(replaced.0, 200, "{}", replaced.1);
    assert!(!replaced.1.contains("PRIVATE"));
    assert_eq!(
        status(by(trust, "olga", whoami)),
        None,
        "the old one is not shown"
    );
    let new = file("new.pem");
    assert_eq!(status(by(&new, "olga", whoami)), Some(200));

    alone.kill();
    alone.start_again();
    let (certificate, key) = (file("olga.pem"), file("olga.key"));
    let arguments = ["--cacert", &new, "--cert", &certificate, "--key", &key];
    assert_eq!(
        status(curl(&alone, &arguments, whoami)),
        Some(200),
        "it is all kept"
    );
    assert_eq!(status(curl(&alone, &["--cacert", &new], whoami)), None);
    // Logins end with the process.
    let body = json!({ "user": "admin", "password": PASSWORD }).to_string();
    let login = [&arguments[..], &["--json", &body]].concat();
    let (code, login) = curl(&alone, &login, "/api/v1/login").expect("an answer");
    assert_eq!(code, 200, "{login}");
    let login: Value = serde_json::from_str(&login).expect("JSON");
    let admin = format!(
        "Authorization: Bearer {}",
        login["token"].as_str().expect("a secret")
    );
    // What is asked for is shown, and need not be asked for any more.
    let ask = |method: &'static str, path: &str| {
        let arguments = [&arguments[..], &["-H", &admin, "-X", method]].concat();
        let answer = curl(&alone, &arguments, path);
        let (code, said) = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
        (code, serde_json::from_str(&said).unwrap_or(Value::Null))
    };
    let (code, own) = ask("GET", "/api/v1/tls");
    assert_eq!((code, own["sha256"].is_string()), (200, true), "{own}");
    let (code, asked) = ask("GET", "/api/v1/tls/clients");
    assert_eq!(
        (code, &asked["clients"]["required"]),
        (200, &json!(true)),
        "{asked}"
    );
    assert!(matches!(ask("DELETE", "/api/v1/tls/clients").0, 200 | 204));
    let bare = ["--cacert", &new, "-H", &admin];
    assert_eq!(status(curl(&alone, &bare, whoami)), Some(200));
    let log = alone.log();
    for secret in [
        PASSWORD,
        "another long password",
        first.trim(),
        "PRIVATE",
        &admin[22..],
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
