//! Lists in pages.

use std::net::Ipv4Addr;

use sluice_dataplane::mailbox::NeighbourRow;
use sluice_dataplane::snapshot::PortId;

use super::*;

/// All items of a list by pages of this size, and how many pages there were.
fn walk(lab: &Lab, path: &str, key: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut all, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = lab.get(&format!("{path}{mark}limit={limit}{cursor}"));
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let page = page.json();
        let items = page[key].as_array().expect("a list");
        assert!(items.len() <= limit, "{path}: {page}");
        all.extend(items.iter().cloned());
        pages += 1;
        let Some(next) = page["next"].as_str() else {
            return (all, pages);
        };
        let next = next.replace('/', "%2F").replace(':', "%3A");
        cursor = format!("&cursor={next}");
    }
}

/// Neighbours, routes, servers, ports and pools enough for several pages.
fn full() -> Lab {
    let mut text = WHOLE.to_owned();
    for n in 0..120 {
        text += &format!(
            "[[port]]\nname = \"p{n}\"\ndevice = \"0000:03:00.0\"\nvlan = {}\nzone = \"inside\"\n",
            200 + n
        );
        text += &format!("[[snat_pool]]\nname = \"p{n}\"\naddresses = [\"198.51.100.{n}\"]\n");
    }
    for n in 0..250 {
        text += &format!("[[route]]\nto = \"192.0.2.{n}/32\"\nvia = \"203.0.113.254\"\n");
        let (name, last) = (format!("s{n}"), n + 2);
        text += &format!(
            "[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"one\"\naddress = \"10.0.0.{last}\"\n"
        );
        text += &format!(
            "[[virtual_server]]\nname = \"{name}\"\naddress = \"203.0.113.80\"\nport = {}\nprotocol = \"tcp\"\npool = \"{name}\"\n",
            1000 + n
        );
    }
    lab_of(&text, security(), |workers| {
        for (at, worker) in workers.iter_mut().enumerate() {
            worker.neighbours = (0..150)
                .map(|n| NeighbourRow {
                    port: PortId(1),
                    address: Ipv4Addr::new(10, 0, at as u8, n).into(),
                    mac: None,
                    state: "resolving",
                    age_ms: 5,
                })
                .collect();
        }
    })
}

#[test]
fn lists_come_in_pages_that_have_everything_once() {
    let lab = full();
    for (path, key, count, unique) in [
        ("/api/v1/neighbours", "neighbours", 300, "address"),
        ("/api/v1/routes", "routes", 257, "to"),
        ("/api/v1/health", "servers", 252, "name"),
        ("/api/v1/health?health=unknown", "servers", 252, "name"),
        ("/api/v1/tiers", "virtual_servers", 251, "virtual_server"),
        ("/api/v1/ports", "ports", 123, "name"),
        ("/api/v1/snat_pools", "snat_pools", 121, "name"),
        (
            "/api/v1/neighbours?port=inside",
            "neighbours",
            300,
            "address",
        ),
        ("/api/v1/routes?port=outside", "routes", 254, "to"),
    ] {
        let first = lab.get(path).json();
        assert_eq!(first[key].as_array().map(Vec::len), Some(100), "{path}");
        assert!(first["next"].is_string(), "{path}");
        for (limit, pages) in [(40, count / 40 + 1), (1000, 1)] {
            let (all, read) = walk(&lab, path, key, limit);
            assert_eq!((all.len(), read), (count, pages), "{path}");
            let names: std::collections::HashSet<&str> = all
                .iter()
                .filter_map(|item| item[unique].as_str())
                .collect();
            assert_eq!(names.len(), count, "{path}: each of them once");
        }
        let wrong = lab.get(&format!(
            "{path}{}cursor=%C3%A4",
            if path.contains('?') { '&' } else { '?' }
        ));
        assert_eq!(wrong.status, 400, "{path}: {}", wrong.body);
        assert_eq!(wrong.json()["errors"][0]["parameter"], "cursor");
    }
    let (none, _) = walk(&lab, "/api/v1/health?health=down", "servers", 10);
    assert_eq!(none, [] as [Value; 0]);
}

#[test]
fn users_and_tokens_come_in_pages() {
    let guarded = super::access::guarded();
    for name in ["eve", "bob", "ann", "dan"] {
        let user = json!({ "role": "viewer", "password": "a long enough password" });
        let made = guarded.admin("PUT", &format!("/api/v1/users/{name}"), user);
        assert_eq!(made.status, 201, "{}", made.body);
        let token = json!({ "name": name, "role": "viewer", "seconds": 3600 });
        assert_eq!(guarded.admin("POST", "/api/v1/tokens", token).status, 201);
    }
    let read = |path: &str| guarded.admin("GET", path, json!(null));
    for (path, key, unique) in [
        ("/api/v1/users", "users", "name"),
        ("/api/v1/tokens", "tokens", "id"),
    ] {
        let whole = read(path).json();
        assert_eq!(whole.get("next"), None, "{path}");
        let whole = whole[key].as_array().expect("a list").clone();
        let (mut all, mut cursor) = (Vec::new(), String::new());
        while let page = read(&format!("{path}?limit=2{cursor}")).json()
            && let Some(next) = page["next"].as_str()
        {
            let items = page[key].as_array().expect("a list");
            assert_eq!(
                (items.len(), &items[1][unique]),
                (2, &json!(next)),
                "{path}"
            );
            all.extend(items.iter().cloned());
            cursor = format!("&cursor={next}");
        }
        let last = read(&format!("{path}?limit=2{cursor}")).json();
        all.extend(last[key].as_array().expect("a list").iter().cloned());
        assert_eq!(all, whole, "{path}");
        assert!(all.len() >= 4, "{path}: {whole:?}");
        let wrong = read(&format!("{path}?cursor=%C3%A4"));
        assert_eq!(wrong.status, 400, "{path}: {}", wrong.body);
    }
    // Whoever was last on a page may be gone before the next one is asked for.
    guarded.admin("DELETE", "/api/v1/users/bob", json!(null));
    let rest = read("/api/v1/users?cursor=bob").json();
    let names: Vec<_> = rest["users"].as_array().expect("a list").iter().collect();
    assert_eq!(names[0]["name"], "dan", "{rest}");
}

#[test]
fn neighbours_and_routes_are_found_by_port_address_state_and_router() {
    let text = format!("{WHOLE}[[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.0.0.77\"\n");
    let lab = lab_of(&text, security(), |workers| {
        let states = ["reachable", "stale", "resolving", "failed", "static"];
        let row = |(n, state): (u8, &'static str)| NeighbourRow {
            port: PortId(u16::from(n % 2)),
            address: Ipv4Addr::new(10, 0, n, 1).into(),
            mac: None,
            state,
            age_ms: 5,
        };
        workers[0].neighbours = (0..).zip(states).map(row).collect();
    });
    let count = |path: &str, key: &str| {
        let answer = lab.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()[key].as_array().map(Vec::len)
    };
    for (query, found) in [
        ("", 5),
        ("?port=inside", 2),
        ("?port=dmz", 0),
        ("?state=reachable", 1),
        ("?state=stale", 1),
        ("?state=resolving", 1),
        ("?state=failed", 1),
        ("?state=static", 1),
        ("?address=10.0.3.1", 1),
        ("?address=10.0.2.0/23", 2),
        ("?address=10.0.2.0/23&state=failed", 1),
        ("?address=10.0.2.0/23&state=stale", 0),
        ("?address=2001:db8::/32", 0),
    ] {
        let path = format!("neighbours{query}");
        assert_eq!(count(&path, "neighbours"), Some(found), "{path}");
    }
    let routes = |query: &str| {
        let answer = lab.get(&format!("/api/v1/routes?{query}")).json();
        let routes = answer["routes"].as_array().expect("a list").iter();
        let routes: Vec<String> = routes
            .map(|route| route["to"].as_str().expect("a network").to_owned())
            .collect();
        routes.join(" ")
    };
    assert_eq!(routes("port=dmz"), "10.0.1.0/24");
    assert_eq!(routes("via=10.0.0.77"), "192.0.2.0/24");
    assert_eq!(routes("via=10.0.0.0/8"), "192.0.2.0/24");
    assert_eq!(routes("to=192.0.2.9"), "0.0.0.0/0 192.0.2.0/24");
    assert_eq!(
        routes("to=10.0.0.0/15"),
        "0.0.0.0/0 10.0.0.0/24 10.0.1.0/24"
    );
    assert_eq!(routes("to=192.0.2.0/24&port=outside"), "0.0.0.0/0");
    for (query, parameter) in [
        ("neighbours?port=insid", "port"),
        ("neighbours?address=ten", "address"),
        ("neighbours?state=gone", "state"),
        ("routes?port=", "port"),
        ("routes?to=10.0.0.0%2F99", "to"),
        ("routes?via=router", "via"),
    ] {
        let refused = lab.get(&format!("/api/v1/{query}"));
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        assert_eq!(
            refused.json()["errors"][0]["parameter"],
            parameter,
            "{query}"
        );
    }
}

#[test]
fn a_route_that_goes_between_two_pages_hides_no_other() {
    let lab = full();
    let first = lab.get("/api/v1/routes?limit=5").json();
    let next = first["next"].as_str().expect("there are more").to_owned();
    let (all, _) = walk(&lab, "/api/v1/routes", "routes", 1000);
    let last = all[4]["to"].as_str().expect("a network");
    assert_eq!(last, next, "{first}");
    // The last of the page, and one that is on it, are gone.
    let gone = next.replace('/', "%2F");
    for to in [gone.as_str(), "192.0.2.0%2F32"] {
        let out = lab.ask("DELETE", &format!("/api/v1/config/route/{to}"), "", "");
        assert_eq!(out.status, 200, "{}", out.body);
    }
    let second = lab
        .get(&format!("/api/v1/routes?limit=1&cursor={gone}"))
        .json();
    assert_eq!(second["routes"][0], all[5]);
}
