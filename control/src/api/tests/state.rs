//! Sums over sessions, and the state of workers, drops, ports and logs.

use super::*;

#[test]
fn sessions_are_counted_grouped_and_streamed_by_the_same_conditions() {
    let lab = lab();
    let count = lab.get("/api/v1/sessions/count").json();
    assert_eq!(
        count,
        json!({ "sessions": 12, "replicas": 0, "protocols": { "tcp": 12 },
                "states": { "established": 12 }, "workers": [7, 5] })
    );
    let of = |query: &str| {
        let answer = lab.get(&format!("/api/v1/sessions/count?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.json()["sessions"].clone()
    };
    for (query, wanted) in [
        ("worker=1", 5),
        ("owner=this", 12),
        ("owner=peer", 0),
        ("older_than=3s", 12),
        ("older_than=4s", 0),
        ("younger_than=2s", 0),
        ("idle_for=1s&source_port=3", 1),
    ] {
        assert_eq!(of(query), json!(wanted), "{query}");
    }
    let top = lab.get("/api/v1/sessions/top?by=endpoint&order=sessions&worker=0");
    assert_eq!(
        top.json(),
        json!({ "groups": [{ "name": "203.0.113.80:80", "sessions": 7, "packets": 84, "bytes": 39900 }],
                "total": { "name": "", "sessions": 7, "packets": 84, "bytes": 39900 },
                "exact": true })
    );
    // By HTTP/1.0 the body is not cut into chunks.
    let stream = lab.raw("GET /api/v1/sessions/stream?port=80 HTTP/1.0\r\n\r\n");
    assert!(stream.head.contains("application/x-ndjson"));
    let lines: Vec<Value> = stream
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 12);
    let page = lab.get("/api/v1/sessions?limit=9&worker=1").json();
    assert_eq!(page["sessions"].as_array().map(Vec::len), Some(5));
    assert_eq!(page["next"], Value::Null);
    for (path, wanted) in [
        ("sessions/count?limit=3", "limit"),
        ("sessions/count?older_than=soon", "older_than=soon"),
        ("sessions/count?owner=me", "write this or peer"),
        ("sessions/count?worker=7", "there is no worker"),
        ("sessions/count?rule=nothing", "there is no firewall rule"),
        ("sessions/stream?service=nothing", "there is no service"),
        ("sessions/top?by=colour", "colour"),
        ("sessions/top?limit=0", "limit=0 is out of range"),
    ] {
        let refused = lab.get(&format!("/api/v1/{path}"));
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.body.contains(wanted), "{path}: {}", refused.body);
    }
    let ended = lab.ask("DELETE", "/api/v1/sessions?worker=1", "", "");
    assert_eq!(ended.json()["ended"], 5);
}

#[test]
fn every_drop_reason_has_a_sentence_and_ports_have_counters() {
    let lab = lab();
    let drops = lab.get("/api/v1/drops").json();
    for drop in drops["drops"].as_array().expect("a list") {
        let meaning = drop["meaning"].as_str().expect("a text");
        assert!(meaning.ends_with('.') && meaning.len() > 10, "{drop}");
        assert_eq!(drop["workers"], json!([0, 0]));
    }
    let ports = lab.get("/api/v1/ports").json();
    assert_eq!(ports["ports"][0]["counters"]["rx_frames"], 0);
    assert_eq!(ports["ports"][0]["nic"]["rx_missed"], 0);
    let workers = lab.get("/api/v1/workers").json();
    assert_eq!(workers["workers"][1]["core"], 1);
    let device = lab.get("/api/v1/devices/outside");
    assert_eq!(device.status, 200, "{}", device.body);
    assert_eq!(lab.get("/api/v1/devices/nothing").status, 404);
    let pools = lab.get("/api/v1/snat_pools").json();
    let pool = &pools["snat_pools"][0];
    assert_eq!(pool["name"], "internet");
    assert_eq!(pool["addresses"].as_array().map(Vec::len), Some(7));
    assert_eq!(lab.get("/api/v1/logs").json(), json!({ "lines": [] }));
    let servers = lab.get("/api/v1/logs/syslog").json();
    assert_eq!(servers, json!({ "servers": [] }));
}

#[test]
fn how_much_is_logged_is_told_set_and_goes_back_by_itself() {
    const LEVEL: &str = "/api/v1/logs/level";
    let lab = lab();
    let put = |body: Value| {
        let kind = "Content-Type: application/json\r\n";
        lab.ask("PUT", LEVEL, kind, &body.to_string())
    };
    let at_start = json!({ "directives": "info", "at_start": "info" });
    assert_eq!(lab.get(LEVEL).json(), at_start);
    let more = json!({ "directives": "warn,sluice_control::health=debug" });
    let set = put(more.clone());
    assert_eq!(set.status, 200, "{}", set.body);
    let wanted = json!({ "directives": more["directives"], "at_start": "info" });
    assert_eq!(
        (set.json(), lab.get(LEVEL).json()),
        (wanted.clone(), wanted.clone())
    );
    for (body, pointer) in [
        (json!({ "directives": "inof" }), "/directives"),
        (json!({ "directives": "" }), "/directives"),
        (json!({ "directives": "debug", "seconds": 0 }), "/seconds"),
        (
            json!({ "directives": "debug", "seconds": 86_401 }),
            "/seconds",
        ),
    ] {
        let refused = put(body.clone());
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        let fault = &refused.json()["errors"][0];
        assert_eq!(fault["pointer"], pointer);
        assert!(fault["remedy"].is_string(), "{fault}");
    }
    assert_eq!(put(json!({ "level": "debug" })).status, 422);
    assert_eq!(lab.get(LEVEL).json(), wanted, "as before");
    let short = put(json!({ "directives": "debug", "seconds": 1 })).json();
    assert_eq!(short["directives"], "debug");
    assert!(short["seconds_left"].is_u64(), "{short}");
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while lab.get(LEVEL).json() != at_start {
        assert!(std::time::Instant::now() < end, "{}", lab.get(LEVEL).body);
        std::thread::sleep(Duration::from_millis(20));
    }
    let events = lab.get("/api/v1/events").json();
    let events = events["events"].as_array().expect("a list");
    let told: Vec<_> = events
        .iter()
        .filter(|it| it["kind"] == "logs.level")
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0]["details"]["author"], "local");
}
