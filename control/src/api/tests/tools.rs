//! Captures and traces: what is asked for, and what comes back.

use super::*;

impl Lab {
    fn post(&self, path: &str, body: &Value) -> Response {
        let kind = "Content-Type: application/json\r\n";
        self.ask("POST", path, kind, &body.to_string())
    }

    /// Bytes of a body, its chunks put together.
    fn bytes(&self, path: &str) -> Vec<u8> {
        self.bytes_of(&format!("GET {path}"), "")
    }

    fn bytes_of(&self, request: &str, body: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a timeout");
        // HTTP/1.0: a body without chunks.
        let request = format!(
            "{request} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        answer.split_off(head.expect("a head") + 4)
    }
}

/// A section header of pcapng, and its end.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

#[test]
fn a_capture_begins_is_read_and_ends() {
    let lab = lab();
    let made = lab.post(
        "/api/v1/captures",
        &json!({ "filter": "udp port 53", "seconds": 3600 }),
    );
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(made.head.contains("location: /api/v1/captures/1"));
    let made = made.json();
    assert_eq!(
        (&made["running"], &made["spec"]["snaplen"]),
        (&json!(true), &json!(65_535))
    );
    let file = lab.bytes("/api/v1/captures/1/packets");
    assert_eq!(file[..4], SECTION);
    let text = String::from_utf8_lossy(&file).into_owned();
    assert!(
        text.contains("inside") && text.contains("udp port 53"),
        "{text}"
    );
    let listed = lab.get("/api/v1/captures").json();
    assert_eq!(listed["captures"][0]["id"], 1);
    let stopped = lab.ask("POST", "/api/v1/captures/1/stop", "", "");
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    // To the end, which comes when the workers have given their taps back.
    assert_eq!(lab.bytes("/api/v1/captures/1/packets?follow=true"), file);
    let view = lab.get("/api/v1/captures/1").json();
    assert_eq!(
        (&view["running"], &view["over"]),
        (&json!(false), &json!("stopped"))
    );
    assert_eq!(lab.ask("DELETE", "/api/v1/captures/1", "", "").status, 204);
    for path in [
        "/api/v1/captures/1",
        "/api/v1/captures/1/packets",
        "/api/v1/captures/9",
    ] {
        assert_eq!(lab.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_capture_that_is_read_as_it_comes_ends_in_time_and_is_gone() {
    let lab = lab();
    let file = lab.bytes_of("POST /api/v1/captures/stream", r#"{"seconds":1}"#);
    assert_eq!(file[..4], SECTION);
    let mut left = lab.get("/api/v1/captures/1").status;
    for _ in 0..100 {
        if left == 404 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
        left = lab.get("/api/v1/captures/1").status;
    }
    panic!("it is still there: {left}");
}

#[test]
fn what_cannot_be_captured_is_refused_with_a_pointer() {
    let lab = lab();
    for (body, pointer) in [
        (json!({ "filter": "udp prot 53" }), "/filter"),
        (json!({ "snaplen": 1 }), "/snaplen"),
        (json!({ "max_bytes": 1 }), "/max_bytes"),
        (json!({ "seconds": 0 }), "/seconds"),
        (json!({ "packets_per_second": 0 }), "/packets_per_second"),
    ] {
        let answer = lab.post("/api/v1/captures", &body);
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
    }
    let unknown = lab.post("/api/v1/captures", &json!({ "ports": ["nowhere"] }));
    assert_eq!(
        (unknown.status, &unknown.json()["errors"][0]["pointer"]),
        (422, &json!("/ports/0"))
    );
    assert_eq!(
        lab.post("/api/v1/captures", &json!({ "port": "inside" }))
            .status,
        422
    );
    for _ in 0..crate::capture::KEPT {
        assert_eq!(lab.post("/api/v1/captures", &json!({})).status, 201);
    }
    assert_eq!(lab.post("/api/v1/captures", &json!({})).status, 409);
    assert_eq!(lab.ask("DELETE", "/api/v1/captures/2", "", "").status, 204);
    assert_eq!(lab.post("/api/v1/captures", &json!({})).status, 201);
}

#[test]
fn a_trace_goes_to_the_worker_and_comes_back() {
    let lab = lab();
    let packet = json!({
        "port": "inside", "source": "10.0.0.7", "destination": "198.51.100.9",
        "destination_port": 80,
    });
    let answer = lab.post("/api/v1/trace", &packet);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.json()["verdict"],
        "consumed",
        "as the worker of the tests says"
    );
    for (key, value) in [
        ("port", json!("nowhere")),
        ("destination", json!("2001:db8::1")),
        ("flags", json!("Q")),
        ("frame", json!("xyz")),
    ] {
        let mut wrong = packet.clone();
        wrong[key] = value;
        let answer = lab.post("/api/v1/trace", &wrong);
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.body);
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{key}"));
    }
}

/// Whatever the configuration hides, and whatever only the disk of the appliance has, is not in it.
#[test]
fn the_support_bundle_has_what_helps_and_no_secret() {
    const KEY: &str = "deadbeef0123456789abcdefdeadbeef0123456789abcdefdeadbeef01234567";
    const NEXT: &str = "feedbeef0123456789abcdefdeadbeef0123456789abcdefdeadbeef01234567";
    const LOGIN: &str = "AUTH correct horse battery staple";
    let ha = format!(
        "\n# {KEY} is the key\n[ha]\nnode = 1\npeer = 2\ndevice = \"net_memif9\"\nkey = \"{KEY}\"\n\
         next_key = \"{NEXT}\"\n[[health_check]]\nname = \"cache\"\ntype = \"tcp\"\nsend = \"{LOGIN}\"\n\
         expect = \"OK\"\n"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::read(Source::toml(WHOLE)).expect("a configuration");
    let api = Api {
        auth: true,
        tls: true,
        requests_per_second: 1_000_000,
        ..config.api
    };
    let place = crate::store::Directory::open(directory.path()).expect("a directory");
    let security = Security::open(&api, Some(&place), "lab").expect("room");
    let open = Security {
        accounts: None,
        tls: None,
        ..security
    };
    let lab = lab_of(&(WHOLE.to_owned() + &ha), open, |_| {});
    let packed = lab.bytes("/api/v1/support-bundle");
    let plain = flate2::read::GzDecoder::new(&packed[..]);
    let mut archive = tar::Archive::new(plain);
    let mut all = String::new();
    let mut names = Vec::new();
    for member in archive.entries().expect("an archive") {
        let mut member = member.expect("a member");
        names.push(member.path().expect("a name").display().to_string());
        member.read_to_string(&mut all).expect("text");
    }
    for name in [
        "configuration.json",
        "stats.json",
        "events.json",
        "sessions.json",
        "health.json",
        "workers.json",
        "metrics.txt",
        "machine/meminfo",
    ] {
        assert!(
            names.contains(&format!("sluice-support/{name}")),
            "{name} in {names:?}"
        );
    }
    assert!(
        all.contains("sluice-a") && all.contains("\"peer\": 2"),
        "the rest is there"
    );
    assert!(all.contains("HugePages_Total"));
    assert!(all.contains("sluice_build_info{") && all.contains("\"busy_share\""));
    let mut secrets = vec![KEY.to_owned(), NEXT.to_owned(), LOGIN.to_owned()];
    for file in std::fs::read_dir(directory.path()).expect("it is there") {
        let path = file.expect("a file").path();
        if path.is_file() {
            let text =
                String::from_utf8_lossy(&std::fs::read(&path).expect("readable")).into_owned();
            let lines = text.lines().map(str::trim).filter(|line| line.len() > 20);
            secrets.extend(lines.map(str::to_owned));
        }
    }
    assert!(
        secrets.len() > 3,
        "the first password, its hash, the certificate's key"
    );
    for secret in secrets {
        assert!(!all.contains(&secret), "{secret} is in the bundle");
    }
}
