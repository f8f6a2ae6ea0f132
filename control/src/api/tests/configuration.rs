//! The configuration over HTTP: read, replaced, edited, refused.

use super::*;

#[test]
fn the_configuration_is_read_and_replaced() {
    let lab = lab();
    let given = lab.get("/api/v1/config");
    assert_eq!((given.status, given.body.as_str()), (200, WHOLE));
    assert!(given.head.contains("content-type: application/toml"));
    let tag = given.tag();

    let as_json = lab.ask("GET", "/api/v1/config", "Accept: application/json\r\n", "");
    let mut config = as_json.json();
    config["pool"][0]["server"][0]["weight"] = json!(9);
    let changed = config.to_string();
    let put = format!("Content-Type: application/json\r\nIf-Match: {tag}\r\n");
    let answer = lab.ask("PUT", "/api/v1/config?comment=more", &put, &changed);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let path = "pool[web].server[web1].weight";
    let nobody = json!({ "sessions_at_most": 0, "policy": false, "services": [], "servers": [] });
    assert_eq!(
        answer.json(),
        json!({ "result": "committed", "revision": 2, "epoch": 2, "in_force": true,
                "changes": [{ "op": "change", "path": path, "old": 3, "new": 9 }],
                "touched": nobody })
    );
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 2);

    // What was given as JSON comes back so, or as the TOML of before with other values.
    let json = lab.ask("GET", "/api/v1/config", "Accept: application/json\r\n", "");
    assert_eq!(json.json(), config);
    let toml = lab.get("/api/v1/config").body;
    assert_eq!(toml, WHOLE.replace("weight = 3", "weight = 9"));
    let answer = lab.ask(
        "PUT",
        "/api/v1/config",
        "Content-Type: application/toml\r\n",
        &toml,
    );
    assert_eq!(answer.json()["result"], "no_change");
    assert_eq!(answer.tag(), json.tag());

    let stale = format!("If-Match: {tag}\r\n");
    let stale = lab.ask("PUT", "/api/v1/config", &stale, WHOLE);
    assert_eq!(stale.status, 412, "{}", stale.body);
    let known = format!("If-None-Match: {}\r\n", json.tag());
    assert_eq!(lab.ask("GET", "/api/v1/config", &known, "").status, 304);
    let revisions = lab.get("/api/v1/config/revisions").json();
    assert_eq!(
        (&revisions["running"], &revisions["lasting"]),
        (&json!(2), &json!(false))
    );
    let latest = &revisions["revisions"][0];
    assert_eq!(
        (&latest["author"], &latest["comment"]),
        (&json!("local"), &json!("more"))
    );
}

#[test]
fn a_server_is_drained_by_one_small_request_and_comes_back() {
    let lab = lab();
    let server = "/api/v1/config/pool/web/server/web2";
    let patch = "Content-Type: application/merge-patch+json\r\n";
    let drained = lab.ask("PATCH", server, patch, "{\"state\":\"draining\"}");
    assert_eq!(drained.status, 200, "{}", drained.body);
    assert_eq!(drained.json()["touched"]["sessions_at_most"], 0);
    let value = json!({ "name": "web2", "address": "10.0.0.12", "state": "draining" });
    let now = lab.get(server);
    assert_eq!((now.json(), now.tag()), (value.clone(), drained.tag()));
    let again = lab.ask("PUT", server, "", &value.to_string());
    assert_eq!(again.json()["result"], "no_change");
    let back = lab.ask("PATCH", server, patch, "{\"state\":null}");
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(lab.get("/api/v1/config").body, WHOLE);

    let wrong = lab.ask("PATCH", server, patch, "{\"weight\":-1}");
    assert_eq!(
        (wrong.status, &wrong.json()["errors"][0]["pointer"]),
        (422, &json!("/weight"))
    );
    assert_eq!(lab.get("/api/v1/config/pool/web/server/web9").status, 404);
    let route = lab.get("/api/v1/config/route/0.0.0.0%2F0").json();
    assert_eq!(route["via"], "203.0.113.254");
    let exists = lab.ask("PUT", server, "If-None-Match: *\r\n", &value.to_string());
    assert_eq!(exists.status, 412);
}

#[test]
fn a_hundred_editors_lose_no_change() {
    let lab = lab();
    let editors = 100;
    std::thread::scope(|scope| {
        for n in 0..editors {
            let lab = &lab;
            scope.spawn(move || {
                // Half of them read, change and write the whole, and try again if they were late.
                let path = format!("/api/v1/config/pool/web/server/s{n}");
                let server =
                    json!({ "name": format!("s{n}"), "address": format!("10.0.2.{}", n + 1) });
                // On a machine that is slow an answer comes too late (408), and what was asked for is
                // done all the same: who asks again finds it.
                let alone = n % 2 == 0;
                let mut late = alone;
                while late {
                    let made = lab.ask("PUT", &path, "", &server.to_string());
                    match made.status {
                        408 => {}
                        200..=202 => late = false,
                        other => panic!("{other}: {}", made.body),
                    }
                }
                if alone {
                    return;
                }
                loop {
                    let read = lab.get("/api/v1/config/pool/web");
                    if read.status == 408 {
                        continue;
                    }
                    let mut pool = read.json();
                    let servers = pool["server"].as_array_mut().expect("servers");
                    if servers.iter().any(|one| one["name"] == server["name"]) {
                        return;
                    }
                    servers.push(server.clone());
                    let only = format!("If-Match: {}\r\n", read.tag());
                    let put = lab.ask("PUT", "/api/v1/config/pool/web", &only, &pool.to_string());
                    match put.status {
                        408 | 412 => {}
                        200 | 202 => return,
                        other => panic!("{other}: {}", put.body),
                    }
                }
            });
        }
    });
    let pool = lab.get("/api/v1/config/pool/web").json();
    assert_eq!(pool["server"].as_array().map(Vec::len), Some(2 + editors));
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 1 + editors);
}

#[test]
fn a_wrong_configuration_is_refused_with_pointers() {
    let lab = lab();
    let wrong = WHOLE
        .replace("mtu = 1500", "mtu = 15")
        .replace("pool = \"web\"", "pool = \"wbe\"");
    let refused = lab.ask("PUT", "/api/v1/config", "", &wrong);
    assert_eq!(refused.status, 422);
    assert!(refused.head.contains("application/problem+json"));
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:sluice:problem:invalid-configuration");
    assert_eq!(
        problem["errors"],
        json!([
            { "pointer": "/port/0/mtu", "path": "port[0].mtu", "line": 20,
              "detail": "15 is out of range", "remedy": "write a number from 576 to 9600" },
            { "pointer": "/virtual_server/0/pool", "path": "virtual_server[0].pool", "line": 138,
              "detail": "there is no pool \"wbe\"", "remedy": "did you mean \"web\"?" },
        ])
    );
    let other_cores = WHOLE.replace("workers = [0, 1]", "workers = [1, 2]");
    let refused = lab.ask("PUT", "/api/v1/config", "", &other_cores);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/system/workers");

    let xml = lab.ask(
        "PUT",
        "/api/v1/config",
        "Content-Type: text/xml\r\n",
        "<a/>",
    );
    assert_eq!(xml.status, 415);
    assert_eq!(lab.get("/api/v1/status").json()["epoch"], 1);
}

#[test]
fn a_reload_does_what_put_does() {
    let lab = lab();
    let text = WHOLE.replace("weight = 3", "weight = 4");
    std::fs::write(lab.file.path(), &text).expect("room on the disk");
    let replaced = lab.service.reload().expect("a good configuration");
    assert_eq!((replaced.epoch, replaced.in_force), (2, true));
    assert_eq!(lab.get("/api/v1/config").body, text);

    std::fs::write(lab.file.path(), "[system]\n").expect("room on the disk");
    let refused = lab.service.reload();
    let Err(ActionError::Config(why)) = refused else {
        panic!("{refused:?}");
    };
    let start = format!(
        "{}: line 1: system: `workers` is missing",
        lab.file.path().display()
    );
    assert!(why.to_string().starts_with(&start), "{why}");
    assert_eq!(lab.get("/api/v1/config").body, text);
}
