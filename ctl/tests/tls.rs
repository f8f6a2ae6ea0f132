//! The command line towards a real API: under TLS, with users, tokens and roles, and its exit codes.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use sluice_control::api;
use sluice_control::compile::DeviceFacts;
use sluice_control::config::{Config, Source};
use sluice_control::controller::{Controller, NoDevices};
use sluice_control::security::Security;
use sluice_control::service::Service;
use sluice_control::store::Directory;
use sluice_ctl::Ctl;

const CONFIG: &str = r#"
[system]
workers = [0]
[api]
listen = "127.0.0.1:8443"
auth = "users"
tls = true
[[port]]
name = "outside"
zone = "outside"
device = "net_null0"
addresses = ["203.0.113.1/24"]
[[port]]
name = "inside"
zone = "inside"
device = "net_null1"
addresses = ["10.0.0.1/24"]
[[pool]]
name = "web"
[[pool.server]]
name = "web1"
address = "10.0.0.11"
port = 80
[[virtual_server]]
name = "web"
address = "203.0.113.80"
port = 80
protocol = "tcp"
pool = "web"
"#;

/// An API on a loopback port, without workers.
struct Lab {
    service: Option<Service>,
    url: String,
    place: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let config = Config::read(Source::toml(CONFIG)).unwrap_or_else(|why| panic!("{why}"));
        let directory = Directory::open(&place.path().join("state")).expect("a directory");
        let name = config.system.name.to_string();
        let security = Security::open(&config.api, Some(&directory), &name).expect("good");
        let mac = "02:00:00:00:00:01".parse().expect("a MAC address");
        let devices = config.devices();
        let facts = devices
            .iter()
            .map(|device| DeviceFacts::software(mac, device.mtu, 1, device))
            .collect();
        let made = Controller::new(config, facts, Box::new(NoDevices), "1.2.3");
        let (controller, _) = made.unwrap_or_else(|why| panic!("{why}"));
        let listener = api::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("its address"));
        let file = place.path().join("sluice.toml");
        let service = Service::start(controller, listener, security, &file).expect("a thread");
        Self {
            service: Some(service),
            url,
            place,
        }
    }

    fn file(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.place.path().join(name), text).expect("room");
        self.file(name)
    }

    fn parse(&self, token: Option<&str>, command: &str) -> Ctl {
        let ca = self.file("state/tls.pem");
        let mut words = vec!["sluicectl", "--url", &self.url, "--ca", &ca];
        words.extend(token.iter().flat_map(|token| ["--token-file", token]));
        words.extend(command.split(' '));
        Ctl::try_parse_from(words).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// Exit code, and what was printed.
    fn run(&self, token: Option<&str>, command: &str) -> (u8, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = sluice_ctl::run(&self.parse(token, command), &mut out, &mut err);
        let said = String::from_utf8([out, err].concat()).expect("text");
        (code, said)
    }

    /// What was printed, by a command that must succeed.
    #[track_caller]
    fn ok(&self, token: Option<&str>, command: &str) -> String {
        let (code, said) = self.run(token, command);
        assert_eq!(code, 0, "{command}: {said}");
        said
    }
}

/// Takes what a thread prints.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

#[test]
fn users_tokens_and_roles_decide_under_tls_and_exit_codes_say_why_not() {
    let mut lab = Lab::start();
    let password = "a much longer password";
    let first = lab.file("state/initial-password");
    let mine = lab.write("mine", password);
    // Nobody comes in without a token, and the first password opens nothing but another one.
    assert_eq!(lab.run(None, "show status").0, 6);
    let login = lab.ok(None, &format!("login admin --password-file {first}"));
    let login = lab.write("login", &login);
    assert_eq!(lab.run(Some(&login), "show status").0, 6);
    lab.ok(
        Some(&login),
        &format!("password --old-file {first} --new-file {mine}"),
    );
    let admin = lab.ok(None, &format!("login admin --password-file {mine}"));
    let admin = lab.write("admin", &admin);
    assert!(lab.ok(Some(&admin), "show status").contains("Sluice 1.2.3"));

    // A viewer sees, and changes nothing.
    let token = lab.ok(Some(&admin), "token make look --role viewer --days 1");
    let viewer = lab.write("viewer", &token);
    let shown = lab.ok(Some(&viewer), "show drops --all");
    assert!(shown.contains("The policy between the zones, or a firewall rule, says no."));
    assert_eq!(lab.run(Some(&viewer), "drain web/web1").0, 6);
    assert_eq!(lab.run(Some(&viewer), "show users").0, 6);
    let olgas = lab.write("olga", "a password of her own");
    lab.ok(
        Some(&admin),
        &format!("user put olga --role operator --password-file {olgas}"),
    );
    let users = lab.ok(Some(&admin), "show users");
    let mut lines = users.lines().map(str::split_whitespace);
    assert!(
        lines.any(|line| line.take(2).eq(["olga", "operator"])),
        "{users}"
    );
    assert!(lab.ok(Some(&viewer), "show whoami").contains("name: admin"));

    // What is wrong, missing or in the way has a code of its own.
    let made = lab.ok(Some(&admin), "token make work --role operator");
    let operator = lab.write("operator", &made);
    let set = "set pool/web/server/web1 weight=3 --dry-run";
    assert!(lab.ok(Some(&operator), set).starts_with("valid"));
    for (command, code, text) in [
        (
            "set pool/web/server/web1 wieght=3 --dry-run",
            3,
            "did you mean `weight`?",
        ),
        ("show config pool/wbe", 4, "no such part"),
        ("show device nothing", 4, "nothing"),
        ("sessions count --service nothing", 3, "nothing"),
        ("confirm", 5, "No commit waits"),
        ("show users", 6, "admin"),
    ] {
        let (found, said) = lab.run(Some(&operator), command);
        assert_eq!(found, code, "{command}: {said}");
        assert!(said.contains(text), "{command}: {said}");
    }
    let tokens = lab.ok(Some(&admin), "--json show tokens");
    let tokens: serde_json::Value = serde_json::from_str(&tokens).expect("JSON");
    let tokens = tokens.as_array().expect("a list");
    let work = tokens.iter().find(|token| token["name"] == "work");
    let id = work.and_then(|token| token["id"].as_str()).expect("an id");
    lab.ok(Some(&admin), &format!("token revoke {id}"));
    assert_eq!(lab.run(Some(&operator), "show status").0, 6);
    // Who is not trusted is not spoken to.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("another");
    let other = lab.write("other.pem", &other.cert.pem());
    let words = [
        "sluicectl",
        "--url",
        &lab.url,
        "--ca",
        &other,
        "show",
        "status",
    ];
    let asked = Ctl::try_parse_from(words).expect("good");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(sluice_ctl::run(&asked, &mut out, &mut err), 7);

    // A certificate stands for the user that it names, where the appliance asks for it.
    let made = rcgen::generate_simple_self_signed(["olga".to_owned()]).expect("a certificate");
    let authority = lab.write("authority.pem", &made.cert.pem());
    let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let identity = lab.write("identity.pem", &both);
    lab.ok(Some(&admin), &format!("certificate ask {authority}"));
    let shown = lab.ok(None, &format!("--identity {identity} show whoami"));
    assert!(shown.contains("name: olga"), "{shown}");
    assert!(
        lab.ok(Some(&admin), "show client-certificates")
            .contains("authorities")
    );
    lab.ok(Some(&admin), "certificate ignore");
    let without = lab.run(None, &format!("--identity {identity} show whoami"));
    assert_eq!(without.0, 6, "{}", without.1);

    // What is watched comes as it happens, and ends with the appliance.
    let watched = Shared::default();
    let (asked, mut out) = (lab.parse(Some(&viewer), "watch events"), watched.clone());
    let watcher = std::thread::spawn(move || {
        let mut err = Vec::new();
        sluice_ctl::run(&asked, &mut out, &mut err)
    });
    let end = Instant::now() + Duration::from_secs(30);
    while !watched.text().contains("configuration.committed") {
        assert!(Instant::now() < end, "{}", watched.text());
        // There are no workers to take it up, which is an answer after some seconds.
        lab.ok(Some(&admin), "put list/office networks=192.0.2.0/24");
        lab.ok(Some(&admin), "delete list/office");
    }
    lab.service.take();
    let ended = watcher.join().expect("no panic");
    assert!([0, 1].contains(&ended), "{ended}: {}", watched.text());
}
