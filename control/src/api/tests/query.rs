//! What a query may say, and what is said of one that says something else.

use super::*;

#[test]
fn a_parameter_that_nobody_knows_is_refused_by_every_operation() {
    let lab = lab();
    let document = lab.get("/api/v1/openapi.json").json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let real = path.replace("{number}", "1").replace("{id}", "1");
        let real = real.replace(['{', '}'], "");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_ascii_uppercase();
            let answer = lab.ask(&method, &format!("{real}?dry_rum=true"), "", "{}");
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.body);
            let fault = &answer.json()["errors"][0];
            assert_eq!(fault["parameter"], "dry_rum", "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 150, "{asked}");
    for path in ["/metrics", "/api/v1/openapi.json"] {
        assert_eq!(lab.get(&format!("{path}?x=1")).status, 400, "{path}");
    }
    let head =
        lab.raw("HEAD /api/v1/status?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(head.status, 400);
    let level = "/api/v1/logs/level";
    let before = lab.get(level).json();
    let kind = "Content-Type: application/json\r\n";
    let body = "{\"directives\":\"debug\"}";
    let tried = lab.ask("PUT", &format!("{level}?dry_run=true"), kind, body);
    assert_eq!((tried.status, lab.get(level).json()), (400, before));
}

#[test]
fn what_is_wrong_with_a_query_is_told_by_parameter_and_with_what_would_do() {
    let lab = lab();
    for (path, parameter, detail, remedy) in [
        (
            "events?after=x",
            "after",
            "after=x is no number",
            "write a whole number",
        ),
        (
            "events?limit=0",
            "limit",
            "limit=0 is out of range",
            "from 1 to 1000",
        ),
        (
            "events?limit=1&limit=2",
            "limit",
            "limit is given twice",
            "once",
        ),
        (
            "events?after=99999999999999999999999",
            "after",
            "out of range",
            "whole number",
        ),
        (
            "logs?level=loud",
            "level",
            "level=loud is not known",
            "debug or trace",
        ),
        (
            "health?health=ill",
            "health",
            "not known",
            "unknown, up or down",
        ),
        (
            "health?pool=wbe",
            "pool",
            "there is no pool",
            "did you mean \"web\"?",
        ),
        (
            "tiers?virtual_server=foo",
            "virtual_server",
            "there is no virtual server",
            "web",
        ),
        (
            "sessions?state=foo",
            "state",
            "there is no state",
            "time_wait",
        ),
        (
            "sessions?state=foo",
            "state",
            "there is no state",
            "or replied",
        ),
        (
            "sessions?state=established1",
            "state",
            "",
            "did you mean \"established\"?",
        ),
        (
            "sessions?service=nothing",
            "service",
            "there is no service",
            "forward/ssh",
        ),
        (
            "sessions?server=web/web9",
            "server",
            "there is no real server",
            "web/web",
        ),
        (
            "sessions?port=70000",
            "port",
            "out of range",
            "from 0 to 65535",
        ),
        (
            "sessions?owner=me",
            "owner",
            "owner=me is not known",
            "this or peer",
        ),
        (
            "sessions?address=10.0.0.300",
            "address",
            "10.0.0.300",
            "10.0.0.0/8",
        ),
        (
            "sessions?worker=7",
            "worker",
            "there is no worker",
            "0 or 1",
        ),
        (
            "sessions?limti=7",
            "limti",
            "no parameter `limti`",
            "did you mean `limit`?",
        ),
        (
            "sessions/top?by=colour",
            "by",
            "by=colour is not known",
            "source",
        ),
        (
            "config/tcp?candidate=yes",
            "candidate",
            "neither true nor false",
            "true or false",
        ),
        ("status?x=1", "x", "no parameter `x`", "takes none"),
    ] {
        let answer = lab.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        let problem = answer.json();
        let fault = &problem["errors"][0];
        assert_eq!(fault["parameter"], parameter, "{path}: {problem}");
        for (key, wanted) in [("detail", detail), ("remedy", remedy)] {
            let said = fault[key].as_str().unwrap_or_default();
            assert!(said.contains(wanted), "{path}: {key}: {problem}");
        }
        assert!(fault.get("path").is_none(), "it is in no configuration");
    }
    let both = lab.get("/api/v1/sessions?limit=0&colour=red").json();
    assert_eq!(both["errors"].as_array().map(Vec::len), Some(2), "{both}");
    for good in [
        "sessions?limit=1&state=established&port=80",
        "sessions/top?by=server&order=packets",
        "events?after=0&limit=1000",
        "logs?level=warn",
        "health?health=unknown&pool=web",
        "tiers?virtual_server=web",
        "config/tcp?candidate=false",
    ] {
        let answer = lab.get(&format!("/api/v1/{good}"));
        assert_eq!(answer.status, 200, "{good}: {}", answer.body);
    }
}
