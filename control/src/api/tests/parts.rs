//! Parts of the configuration: how they are named, and what is said where they are not.

use super::*;

const NET: &str = "/api/v1/config/route/2001:db8:77::%2F48";

#[test]
fn a_route_is_found_however_its_network_is_spelled_and_comes_back_as_given() {
    let lab = lab();
    let port = json!({ "port": "inside" });
    let given = "/api/v1/config/route/2001:DB8:77::%2F48";
    let made = lab.ask("PUT", given, "", &port.to_string());
    assert_eq!(made.status, 201, "{}", made.body);
    let read = lab.get(NET);
    assert_eq!(read.status, 200, "{}", read.body);
    let wanted = json!({ "to": "2001:DB8:77::/48", "port": "inside" });
    assert_eq!(read.json(), wanted);
    for same in [
        port,
        json!({ "to": "2001:db8:77:0::/48", "port": "inside" }),
    ] {
        let again = lab.ask("PUT", NET, "", &same.to_string());
        assert_eq!(again.status, 200, "{same}: {}", again.body);
    }
    let count = || {
        let routes = lab.get("/api/v1/config/route").json();
        let routes = routes.as_array().cloned().unwrap_or_default();
        let to = |route: &&Value| {
            route["to"]
                .as_str()
                .is_some_and(|to| to.starts_with("2001"))
        };
        routes.iter().filter(to).count()
    };
    assert_eq!(count(), 1);
    let other = json!({ "to": "2001:db8:78::/48", "port": "inside" });
    assert_eq!(lab.ask("PUT", NET, "", &other.to_string()).status, 422);
    let gone = lab.ask("DELETE", "/api/v1/config/route/2001:0db8:77::%2F48", "", "");
    assert_eq!((gone.status, count()), (200, 0), "{}", gone.body);
}

#[test]
fn items_without_names_are_changed_by_their_places() {
    let lab = lab();
    let host = "/api/v1/config/host";
    assert_eq!(lab.ask("DELETE", host, "", "").status, 200);
    let none = lab.ask("DELETE", host, "", "");
    assert_eq!(none.status, 404, "there is none");
    assert_eq!(lab.ask("PUT", host, "", "{}").status, 201);
    let rule = |port: u16| json!({ "from": "inside", "protocol": "tcp", "ports": port });
    for (place, port, status) in [(0, 22, 201), (1, 179, 201), (0, 23, 200), (3, 24, 404)] {
        let path = format!("{host}/allow/{place}");
        let put = lab.ask("PUT", &path, "", &rule(port).to_string());
        assert_eq!(put.status, status, "{path}: {}", put.body);
    }
    assert_eq!(
        lab.get(&format!("{host}/allow")).json(),
        json!([rule(23), rule(179)])
    );
    let wrong = lab.ask("PATCH", &format!("{host}/allow/1"), "", "{\"ports\":70000}");
    assert_eq!(
        (wrong.status, &wrong.json()["errors"][0]["pointer"]),
        (422, &json!("/ports"))
    );
    let tag = lab.get(&format!("{host}/allow/0")).tag();
    let only = format!("If-Match: {tag}\r\n");
    assert_eq!(
        lab.ask("DELETE", &format!("{host}/allow/1"), &only, "")
            .status,
        412
    );
    assert_eq!(
        lab.ask("DELETE", &format!("{host}/allow/0"), &only, "")
            .status,
        200
    );
    assert_eq!(lab.get(&format!("{host}/allow")).json(), json!([rule(179)]));
    let none = lab.get(&format!("{host}/allow/first"));
    assert_eq!(none.status, 404, "{}", none.body);
    assert!(none.body.contains("places, from 0"), "{}", none.body);
    assert_eq!(lab.ask("DELETE", host, "", "").status, 200);
    assert_eq!(lab.get(host).status, 404);

    let open = "/api/v1/config/firewall/open";
    let before = lab.get(open).json();
    let before = before.as_array().expect("pairs");
    let pair = json!({ "from": "outside", "to": "inside" });
    let path = format!("{open}/{}", before.len());
    assert_eq!(lab.ask("PUT", &path, "", &pair.to_string()).status, 201);
    assert_eq!(lab.get(&path).json(), pair);
    assert_eq!(lab.ask("DELETE", &path, "", "").status, 200);
    assert_eq!(lab.get(open).json().as_array(), Some(before));
    let lost = lab.get("/api/v1/config/ha/track/0");
    assert_eq!(lost.status, 404, "{}", lost.body);
}

#[test]
fn networks_of_a_list_come_and_go_one_by_one() {
    let lab = lab();
    let list = "/api/v1/config/list/office";
    let networks = || lab.get(list).json()["networks"].take();
    let before = networks();
    let one = format!("{list}/networks/198.51.100.0%2F24");
    for (method, path, body, status) in [
        ("GET", &one, "", 404),
        ("PUT", &one, "{}", 201),
        ("PUT", &one, "\"198.51.100.0/24\"", 200),
        ("PUT", &one, "\"198.51.101.0/24\"", 422),
        ("PUT", &one, "[]", 422),
        ("PUT", &format!("{list}/networks/nowhere"), "{}", 422),
        ("PUT", &format!("{list}/networks/198.51.100.7"), "{}", 201),
        (
            "DELETE",
            &format!("{list}/networks/198.51.100.7%2F32"),
            "",
            200,
        ),
        (
            "PUT",
            &"/api/v1/config/list/nope/networks/10.0.0.1".to_owned(),
            "{}",
            404,
        ),
        ("GET", &one, "", 200),
    ] {
        let answer = lab.ask(method, path, "", body);
        assert_eq!(
            answer.status, status,
            "{method} {path} {body}: {}",
            answer.body
        );
    }
    assert_eq!(lab.get(&one).json(), "198.51.100.0/24");
    let last = networks().as_array().and_then(|all| all.last().cloned());
    assert_eq!(last, Some(json!("198.51.100.0/24")));
    let stale = lab.ask("DELETE", &one, "If-Match: \"0\"\r\n", "");
    assert_eq!(stale.status, 412);
    assert_eq!(lab.ask("DELETE", &one, "", "").status, 200);
    assert_eq!(lab.ask("DELETE", &one, "", "").status, 404);
    assert_eq!(networks(), before);
    // A list of one, without brackets.
    let single = json!({ "networks": "192.0.2.7" }).to_string();
    assert_eq!(lab.ask("PUT", list, "", &single).status, 200);
    assert_eq!(
        lab.get(&format!("{list}/networks/192.0.2.7%2F32")).json(),
        "192.0.2.7"
    );
    let other = format!("{list}/networks/192.0.2.8");
    assert_eq!(lab.ask("PUT", &other, "", "{}").status, 201);
    assert_eq!(networks(), json!(["192.0.2.7", "192.0.2.8"]));
}

#[test]
fn what_needs_a_restart_points_into_the_body_that_was_sent() {
    let lab = lab();
    let workers = json!({ "workers": [1, 2] });
    for (method, path, body, pointer) in [
        (
            "PATCH",
            "/api/v1/config/system",
            workers.clone(),
            "/workers",
        ),
        (
            "PATCH",
            "/api/v1/config",
            json!({ "system": workers }),
            "/system/workers",
        ),
    ] {
        let refused = lab.ask(method, path, "", &body.to_string());
        assert_eq!(refused.status, 409, "{}", refused.body);
        let fault = &refused.json()["errors"][0];
        assert_eq!(fault["pointer"], pointer, "{path}");
        assert_eq!(fault.get("line"), None, "nobody sent lines: {fault}");
        let remedy = fault["remedy"].as_str().unwrap_or_default();
        assert!(remedy.contains("restart Sluice"), "{remedy}");
    }
    let toml = WHOLE.replace("workers = [0, 1]", "workers = [1, 2]");
    let refused = lab.ask("PUT", "/api/v1/config", "", &toml).json();
    assert_eq!(refused["errors"][0]["line"], 3, "{refused}");
}

#[test]
fn what_is_not_there_is_named() {
    let lab = lab();
    for (method, path, status, wanted) in [
        (
            "GET",
            "/api/v1/sesions",
            404,
            "there is no /api/v1/sesions; did you mean /api/v1/sessions?",
        ),
        ("GET", "/api/v2", 404, "there is no /api/v2"),
        (
            "DELETE",
            "/api/v1/config/tcp",
            405,
            "/api/v1/config/tcp takes GET, PATCH, PUT, and not DELETE",
        ),
        ("POST", "/metrics", 405, "/metrics takes GET, and not POST"),
        (
            "GET",
            "/api/v1/devices/nope",
            404,
            "there is no device or port \"nope\"; there are outside",
        ),
        (
            "GET",
            "/api/v1/config/pool/nope",
            404,
            "there is no pool[nope]",
        ),
    ] {
        let answer = lab.ask(method, path, "", "");
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(detail.starts_with(wanted), "{path}: {detail}");
        assert!(
            status != 405 || answer.head.contains("allow: get"),
            "{}",
            answer.head
        );
    }
}

#[test]
fn the_status_has_the_revision_and_what_is_to_be_confirmed() {
    let lab = lab();
    let status = || lab.get("/api/v1/status").json();
    assert_eq!(
        (&status()["revision"], status().get("confirmation")),
        (&json!(1), None)
    );
    let trial = "/api/v1/config/pool/web/server/web1?confirm_seconds=600&comment=more";
    let tried = lab.ask("PATCH", trial, "", "{\"weight\":4}");
    assert_eq!(tried.status, 200, "{}", tried.body);
    let now = status();
    assert_eq!(
        (&now["revision"], &now["latest_epoch"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(now["confirmation"]["author"], "local");
    let left = now["confirmation"]["left_ms"]
        .as_u64()
        .expect("milliseconds");
    assert!((1..=600_000).contains(&left), "{now}");
    assert_eq!(lab.ask("POST", "/api/v1/config/revert", "", "").status, 200);
    let back = status();
    assert_eq!(
        (&back["revision"], &back["epoch"]),
        (&json!(1), &json!(3)),
        "epochs go on"
    );
    assert_eq!(back.get("confirmation"), None);
}
