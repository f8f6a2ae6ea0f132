//! Virtual servers that redirect their clients when nobody can serve them, as kernels, curl, a browser's
//! TLS and Python's HTTP library meet them.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluice_tests::lab::{Host, Lab, OUTSIDE};
use sluice_tests::servers::Nginx;

use crate::{VIP, VIP6, get, pool, virtual_server};

/// The virtual servers `web` and `web6`, which redirect to this host.
fn redirecting(to: &Host) -> String {
    let redirect = format!(
        "redirect = {{ url = \"http://{}/\", append_path = true }}\n",
        to.address()
    );
    let v6 = format!(
        "[[virtual_server]]\nname = \"web6\"\naddress = \"{VIP6}\"\nport = 80\npool = \"web6\"\n\
         redirect = {{ url = \"http://status.example.com/down\", status = 307 }}\n\
         [[pool]]\nname = \"web6\"\nserver = []\n"
    );
    virtual_server(&redirect) + &v6
}

/// What curl met: the status, and where it was sent.
fn curl(from: &Host, url: &str) -> String {
    let format = "%{http_code} %{redirect_url}";
    let command = [
        "curl",
        "-s",
        "--max-time",
        "5",
        "-o",
        "/dev/null",
        "-w",
        format,
        url,
    ];
    from.ok(&command)
}

#[test]
fn clients_are_sent_elsewhere_while_there_is_no_server_and_served_once_there_is() {
    let mut lab = Lab::gateway("redirect");
    let client = lab.outside(10);
    let (web, status) = (lab.inside(11), lab.outside(20));
    let _nginx = [&web, &status].map(Nginx::start);
    let mut sluice = lab.start(&(pool(&[(&web, 1)]) + &redirecting(&status)));
    assert_eq!(curl(&client, &format!("http://{VIP}/")), "200 ");
    sluice.reload_and_wait("state = \"up\"", "state = \"draining\"");

    let seen = client.sh(&format!(
        "curl -sv --max-time 5 'http://{VIP}/a/b?c=d' 2>&1"
    ));
    let location = format!("http://{}/a/b?c=d", status.address());
    assert!(seen.contains("< HTTP/1.1 302 Found"), "{seen}");
    assert!(seen.contains(&format!("< Location: {location}")), "{seen}");
    assert!(seen.contains("Closing connection"), "{seen}");
    for _ in 0..100 {
        let met = curl(&client, &format!("http://{VIP}/a/b?c=d"));
        assert_eq!(met, format!("302 {location}"));
    }
    let v6 = curl(&client, &format!("http://[{VIP6}]/a"));
    assert_eq!(v6, "307 http://status.example.com/down");
    let followed = client.ok(&["curl", "-sL", "--max-time", "5", &format!("http://{VIP}/")]);
    assert_eq!(followed.trim(), status.name());
    let head = client.ok(&["curl", "-sI", "--max-time", "5", &format!("http://{VIP}/x")]);
    assert!(head.starts_with("HTTP/1.1 302 Found"), "{head}");

    // TLS: at once, and not by waiting.
    let begun = Instant::now();
    let tls = client.run(&[
        "curl",
        "-sk",
        "--max-time",
        "5",
        &format!("https://{VIP}:80/"),
    ]);
    assert!(
        [35, 56].contains(&tls.status.code().unwrap_or(0)),
        "{tls:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // Who was sent nothing gets nothing.
    for data in [&[][..], &["GET / HTTP/1.1\r\n\r\n"]] {
        let arguments = [&["eth0", OUTSIDE, VIP, "80"], data].concat();
        assert_eq!(client.python("tcp_stray.py", &arguments).trim(), "silence");
    }

    let tiers = sluice.json("/api/v1/tiers");
    for of in tiers["virtual_servers"].as_array().expect("both") {
        assert_eq!(of["taker"], "redirect", "{tiers}");
    }
    let total = sluice.stats().total();
    let stats = sluice.json("/api/v1/stats");
    let redirects = stats["services"][0]["http_redirects"].as_u64();
    assert_eq!(redirects, Some(103), "{}", stats["services"]);
    assert_eq!(
        stats["total"]["http_redirect_resets"], 1,
        "{}",
        stats["total"]
    );
    // Hosts say to groups what they like.
    let of_clients = total.drops() - total.dropped.get("multicast").unwrap_or(&0);
    assert!(of_clients < 10, "{total:#?}");
    clients_of_all_kinds(&client, &status, || {
        sluice.reload_and_wait("state = \"draining\"", "state = \"up\"");
    });
    assert_eq!(get(&client, VIP, "/").expect("a server").status, 200);
}

/// Runs the clients of the script; `then` while some of them wait.
fn clients_of_all_kinds(client: &Host, status: &Host, then: impl FnOnce()) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/redirect_clients.py");
    let location = format!("http://{}/page", status.address());
    let mut running = client
        .namespace()
        .command("timeout")
        .args(["60", "/usr/bin/python3", "-B", script, VIP, &location])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    let mut said = BufReader::new(running.stdout.take().expect("its output")).lines();
    let mut told = Vec::new();
    for line in said.by_ref() {
        let line = line.expect("a line");
        if line == "ready" {
            break;
        }
        told.push(line);
    }
    let wanted = [
        "post 302",
        "put 302",
        "half closed",
        "in pieces",
        "nothing asked",
        "other reset",
    ];
    assert_eq!(told, wanted);
    then();
    let mut go = running.stdin.take().expect("its input");
    writeln!(go).expect("it listens");
    let last = said.next().and_then(Result::ok);
    assert_eq!(last.as_deref(), Some("after all 20"));
    assert!(running.wait().expect("it ends").success());
}

#[test]
fn nobody_hangs_while_servers_come_and_go() {
    let mut lab = Lab::gateway("redirect-flap");
    let client = lab.outside(10);
    let (web, status) = (lab.inside(11), lab.outside(20));
    let _nginx = Nginx::start(&web);
    let mut sluice = lab.start(&(pool(&[(&web, 1)]) + &redirecting(&status)));
    let script = format!(
        "for i in $(seq 300); do curl -s --max-time 5 -o /dev/null -w '%{{http_code}}\\n' \
         http://{VIP}/; done | sort | uniq -c"
    );
    let met = std::thread::scope(|scope| {
        let load = scope.spawn(|| client.sh(&script));
        let states = ["up", "draining", "up"].map(|state| format!("state = \"{state}\""));
        for _ in 0..4 {
            for pair in states.windows(2) {
                sluice.reload_and_wait(&pair[0], &pair[1]);
            }
        }
        load.join().expect("the load")
    });
    let codes: Vec<_> = met.split_whitespace().skip(1).step_by(2).collect();
    assert!(
        codes.iter().all(|code| ["200", "302"].contains(code)),
        "{met}"
    );
    assert!(met.contains("200"), "{met}");
}
