//! Health checks: through the data plane, and what clients see of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_tests::lab::{Host, INSIDE, Lab, SYSTEM};
use sluice_tests::load::Load;
use sluice_tests::process::Process;
use sluice_tests::servers::{Nginx, await_listener};
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

use crate::kernel::namespace;
use crate::{VIP, get, pool, virtual_server};

/// What the checks of each server say, by the server's name and the check's; those that failed last,
/// with the reason why.
fn health(sluice: &Sluice) -> BTreeMap<(String, String), String> {
    let health = sluice.json("/api/v1/health");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let servers = health["servers"].as_array().expect("servers");
    let rows = servers.iter().flat_map(|server| {
        let checks = server["checks"].as_array().expect("checks");
        checks.iter().map(|check| {
            let key = (text(&server["name"]), text(&check["name"]));
            let said = [text(&check["health"]), text(&check["reason"])];
            (key, said.join(" ").trim().to_owned())
        })
    });
    rows.collect()
}

#[test]
fn a_server_that_dies_gets_no_more_sessions_and_one_that_comes_back_does() {
    let mut lab = Lab::gateway("health");
    let client = lab.outside(10);
    let web = [lab.inside(11), lab.inside(12)];
    let mut nginx = [&web[0], &web[1]].map(Nginx::start);
    // nginx tells whom it sees: the check finds it up only if that is the port's own address.
    let checks = format!(
        "[host]\nnamespace = \"{}\"\n\
         [[health_check]]\nname = \"page\"\ntype = \"http\"\npath = \"/from\"\nbody = \"{INSIDE} \"\n\
         interval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\nrise = 2\n\
         [[health_check]]\nname = \"ping\"\ntype = \"icmp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n",
        namespace(&lab)
    );
    let servers = pool(&[(&web[0], 1), (&web[1], 1)]);
    let servers = servers.replace(
        "name = \"web\"\n",
        "name = \"web\"\nhealth_check = [\"page\", \"ping\"]\n",
    );
    let sluice = lab.start(
        &(checks + &servers + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    let says = |server: &str, check: &str| {
        let key = (format!("web/{server}"), check.to_owned());
        health(&sluice).remove(&key).unwrap_or_default()
    };
    wait::expect("all checks to say up", || {
        let health = health(&sluice);
        health.len() == 4 && health.values().all(|health| health == "up")
    });
    let vip = SocketAddr::new(VIP.parse().expect("an address"), 80);
    let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(5));
    load.run_for(100);

    let epoch = sluice.epoch();
    nginx[0].process().signal(Signal::SIGTERM);
    wait::expect("in11 to be found down", || {
        says("in11", "page") == "down refused"
    });
    assert_eq!(says("in11", "ping"), "up", "the host lives");
    wait::expect("workers to know", || {
        let stats = sluice.json("/api/v1/stats");
        stats["servers"][0]["state"] == "down" && stats["servers"][0]["health"] == "down"
    });
    // What answered may have come by an older snapshot; from here on none may fail.
    load.run_for(20);
    for _ in 0..60 {
        let answer = get(&client, VIP, "/").expect("another server");
        assert_eq!((answer.status, answer.text().trim()), (200, "in12"));
    }
    assert_eq!(sluice.epoch(), epoch, "no session was judged anew");
    let events = sluice.json("/api/v1/events?after=0&limit=1000");
    let events = events["events"].as_array().expect("events").clone();
    let down = events.iter().find(|event| event["kind"] == "health.down");
    let down = down.expect("an event");
    assert_eq!(down["details"]["server"], "web/in11");
    assert_eq!(down["details"]["reason"], "refused");

    nginx[0] = Nginx::start(&web[0]);
    wait::expect("in11 to be found up", || says("in11", "page") == "up");
    wait::expect("in11 to get sessions", || {
        get(&client, VIP, "/").is_ok_and(|answer| answer.text().trim() == "in11")
    });
    let tally = load.finish();
    assert!(
        tally.answered_by("in11") > 0 && tally.answered_by("in12") > 0,
        "{tally:?}"
    );
}

/// TLS for www.example.com on port 443, and the file of its certificate.
fn tls(host: &Host) -> (Process, String) {
    let [key, certificate] = ["key.pem", "cert.pem"].map(|file| host.directory().join(file));
    let [key, certificate] = [key, certificate].map(|path| path.display().to_string());
    host.ok(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=www.example.com",
        "-addext",
        "subjectAltName=DNS:www.example.com",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]);
    let serve = ["openssl", "s_server", "-quiet", "-accept", "443"];
    let with = ["-cert", &certificate, "-key", &key];
    let mut process = Process::start(
        host.namespace(),
        host.directory(),
        "openssl",
        &[&serve[..], &with[..]].concat(),
    );
    await_listener(&mut process, 443);
    (process, certificate)
}

/// A script that succeeds as nobody, and if the server sees the port's own address.
fn script(directory: &Path) -> String {
    let scripts = directory.join("checks");
    std::fs::create_dir(&scripts).expect("cannot make a directory");
    let path = scripts.join("from");
    let text = format!(
        "#!/bin/sh\nset -e\n[ $(id -un) = nobody ]\n\
         curl -sf http://$SLUICE_ADDRESS:$SLUICE_PORT/from | grep -q '^{INSIDE} '\n"
    );
    std::fs::write(&path, text).expect("cannot write a script");
    // What runs it may not be ours.
    for path in [directory, &scripts, &path] {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, open).expect("it is ours");
    }
    scripts.display().to_string()
}

/// A connection that asks for the page, and asks again.
struct Kept(TcpStream);

impl Kept {
    fn open(client: &Host, port: u16) -> Self {
        let vip = SocketAddr::new(VIP.parse().expect("an address"), port);
        let stream = client.namespace().inside(|| TcpStream::connect(vip));
        let stream = stream.expect("a connection");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a timeout");
        let mut kept = Self(stream);
        assert!(kept.answers());
        kept
    }

    /// Whether the page comes; otherwise the connection was reset.
    fn answers(&mut self) -> bool {
        let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        let asked = self.0.write_all(request);
        while !answer.ends_with(b"in11\n") {
            match asked.is_ok().then(|| self.0.read(&mut buffer)) {
                Some(Ok(read @ 1..)) => answer.extend_from_slice(&buffer[..read]),
                Some(Err(why)) if why.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("neither an answer nor a reset: {why}")
                }
                _ => return false,
            }
        }
        true
    }
}

#[test]
fn bodies_names_and_scripts_are_checked_and_on_down_says_what_becomes_of_sessions() {
    let mut lab = Lab::gateway("sick");
    let client = lab.outside(10);
    let web = lab.inside(11);
    let nginx = Nginx::start(&web);
    let state = nginx.root().join("state");
    std::fs::write(&state, "well\n").expect("cannot write");
    let (_tls, certificate) = tls(&web);
    let scripts = script(lab.directory());
    lab.system(&format!("{SYSTEM}script_directory = \"{scripts}\"\n"));
    let address = web.address();
    let often = "interval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\nrise = 1\n";
    let slow = "interval = \"1s\"\ntimeout = \"1s\"\nfall = 2\n";
    let checks = format!(
        "[host]\nnamespace = \"{}\"\n[tcp]\nout_of_state = \"reset\"\n\
         [[health_check]]\nname = \"state\"\ntype = \"http\"\npath = \"/state\"\nbody = \"well\"\n{often}\
         [[health_check]]\nname = \"right\"\ntype = \"tls\"\nport = 443\nca_file = \"{certificate}\"\n\
         server_name = \"www.example.com\"\n{slow}\
         [[health_check]]\nname = \"wrong\"\ntype = \"tls\"\nport = 443\nca_file = \"{certificate}\"\n\
         server_name = \"www.example.org\"\n{slow}\
         [[health_check]]\nname = \"script\"\ntype = \"script\"\nscript = \"from\"\n{slow}",
        namespace(&lab)
    );
    let server = format!("server = [{{ name = \"in11\", address = \"{address}\", port = 80 }}]\n");
    let pools = format!(
        "[[pool]]\nname = \"web\"\nhealth_check = \"state\"\non_down = \"end\"\n{server}\
         [[pool]]\nname = \"kept\"\nhealth_check = \"state\"\n{server}\
         [[pool]]\nname = \"other\"\nhealth_check = [\"right\", \"wrong\", \"script\"]\n{server}"
    );
    let kept = format!(
        "[[virtual_server]]\nname = \"kept\"\naddress = \"{VIP}\"\nport = 81\npool = \"kept\"\n"
    );
    let sluice = lab.start(&(checks + &pools + &virtual_server("") + &kept));
    let says = |server: &str, check: &str| {
        let key = (server.to_owned(), check.to_owned());
        health(&sluice).remove(&key).unwrap_or_default()
    };
    for (server, check, said) in [
        ("web/in11", "state", "up"),
        ("kept/in11", "state", "up"),
        ("other/in11", "right", "up"),
        ("other/in11", "wrong", "down tls"),
        ("other/in11", "script", "up"),
    ] {
        wait::expect(&format!("{check} of {server} to be {said}"), || {
            says(server, check) == said
        });
    }
    let (mut ended, mut kept) = (Kept::open(&client, 80), Kept::open(&client, 81));

    std::fs::write(&state, "sick\n").expect("cannot write");
    wait::expect("it to be found sick", || {
        says("web/in11", "state") == "down content" && says("kept/in11", "state") == "down content"
    });
    wait::expect("its sessions to end", || {
        let stats = sluice.json("/api/v1/stats");
        let servers = stats["servers"].as_array().expect("servers").clone();
        let web = servers.iter().find(|it| it["name"] == "web/in11").cloned();
        web.is_some_and(|it| it["sessions"] == 0 && it["state"] == "down")
    });
    assert!(!ended.answers(), "on_down = end");
    assert!(kept.answers(), "on_down = keep");
    let url = format!("http://{VIP}/");
    let refused = client.run(&["curl", "-sS", "--max-time", "1", &url]);
    assert_eq!(refused.status.code(), Some(28), "{refused:?}");
    sluice.expect_dropped("no_real_server", 1);

    std::fs::write(&state, "well\n").expect("cannot write");
    wait::expect("new sessions", || get(&client, VIP, "/").is_ok());
    assert!(kept.answers(), "it never ended");
}

#[test]
fn a_server_that_falls_silent_is_found_by_its_connections_and_no_client_is_lost() {
    let mut lab = Lab::gateway("silent");
    let client = lab.outside(10);
    let web = [lab.inside(11), lab.inside(12)];
    let _nginx = web.each_ref().map(Nginx::start);
    let servers = pool(&[(&web[0], 1), (&web[1], 1)]).replace(
        "name = \"web\"\n",
        "name = \"web\"\npassive = { failures = 3, out = \"3s\" }\n",
    );
    let sluice = lab.start(&(servers + &virtual_server("scheduler = \"round_robin\"")));
    for _ in 0..4 {
        assert!(get(&client, VIP, "/").is_ok());
    }
    let passive = || {
        let health = sluice.json("/api/v1/health");
        health["servers"][0]["passive"].clone()
    };
    wait::expect("in11 to be looked at", || passive() == "up");

    lab.unplug(&web[0]);
    // Half of them go to the one that is silent, and ask again after a second; by the next time, two
    // seconds later, it is out.
    let asked: Vec<_> = std::thread::scope(|scope| {
        let asked = [(); 8].map(|()| scope.spawn(|| get(&client, VIP, "/")));
        asked.map(|asked| asked.join().expect("no panic")).into()
    });
    for answer in asked {
        let answer = answer.expect("an answer by the other server");
        assert_eq!(answer.text().trim(), "in12");
    }
    let events = sluice.json("/api/v1/events?after=0&limit=1000");
    let events = events["events"].as_array().expect("events").clone();
    let out = events.iter().find(|it| it["kind"] == "health.passive.down");
    assert_eq!(out.expect("an event")["details"]["server"], "web/in11");

    lab.plug_in(&web[0]);
    wait::expect("in11 to get sessions again", || {
        get(&client, VIP, "/").is_ok_and(|answer| answer.text().trim() == "in11")
    });
}
