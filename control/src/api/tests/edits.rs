//! Every kind of part is made, changed and taken out by single requests: under conditions, on trial, and as a
//! dry run that does nothing.

use super::*;

const HA: &str = include_str!("../../../../examples/ha.toml");

/// Path below `/api/v1/config`, body of a new one, a change of it, and what the change leaves.
type Edit = (&'static str, Value, Value);

fn edits() -> Vec<Edit> {
    vec![
        (
            "pool/mail",
            json!({ "server": [{ "name": "m1", "address": "10.0.0.21", "port": 25 }] }),
            json!({ "on_down": "end" }),
        ),
        (
            "pool/web/server/web3",
            json!({ "address": "10.0.0.13", "port": 8080 }),
            json!({ "weight": 7 }),
        ),
        (
            "pool/web/server/web3",
            json!({ "address": "10.0.0.13" }),
            json!({ "state": "draining" }),
        ),
        (
            "pool/web/server/web3",
            json!({ "address": "10.0.0.13" }),
            json!({ "state": "down" }),
        ),
        (
            "virtual_server/mail",
            json!({ "address": "203.0.113.81", "port": 25, "protocol": "tcp", "pool": "web" }),
            json!({ "scheduler": "least_connections" }),
        ),
        (
            "snat_pool/spare",
            json!({ "addresses": ["203.0.113.40"] }),
            json!({ "ports": "2048-65535" }),
        ),
        (
            "snat/guests",
            json!({ "from": "dmz", "to": "outside", "pool": "internet" }),
            json!({ "source": "10.0.1.0/24" }),
        ),
        (
            "static_nat/dns",
            json!({ "external": "203.0.113.21", "internal": "10.0.1.21" }),
            json!({ "open_from": ["outside"] }),
        ),
        (
            "forward/web",
            json!({ "address": "203.0.113.1", "protocol": "tcp", "port": 8443, "to": "10.0.1.6:443" }),
            json!({ "source": "masquerade" }),
        ),
        (
            "firewall/rule/block",
            json!({ "from": "outside", "action": "deny", "source": "198.51.100.9" }),
            json!({ "protocol": "udp" }),
        ),
        (
            "list/bad",
            json!({ "networks": ["198.51.100.0/24"] }),
            json!({ "networks": ["198.51.100.0/24", "203.0.113.7"] }),
        ),
        (
            "route/192.0.2.0%2F24",
            json!({ "via": "203.0.113.253" }),
            json!({ "via": "203.0.113.252" }),
        ),
        (
            "port/guests",
            json!({ "device": "0000:03:00.0", "vlan": 102, "zone": "guests", "addresses": ["10.0.2.1/24"] }),
            json!({ "clamp_mss": true }),
        ),
        (
            "health_check/alive",
            json!({ "type": "icmp" }),
            json!({ "interval": "3s" }),
        ),
        (
            "log/syslog/third",
            json!({ "server": "192.0.2.6:514" }),
            json!({ "level": "error" }),
        ),
    ]
}

/// One editor's way with a part.
struct Editor<'a> {
    lab: &'a Lab,
    path: String,
}

impl Editor<'_> {
    #[track_caller]
    fn ask(&self, method: &str, query: &str, headers: &str, body: &Value) -> (u16, Value) {
        let path = format!("{}{query}", self.path);
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self.lab.ask(method, &path, headers, &body);
        let status = answer.status;
        (
            status,
            serde_json::from_str(&answer.body).unwrap_or_default(),
        )
    }

    /// A change that must be answered so.
    #[track_caller]
    fn must(&self, call: (&str, &str, &str), body: &Value, wanted: (u16, &str)) {
        let (method, query, headers) = call;
        let (status, answer) = self.ask(method, query, headers, body);
        let result = answer["result"].as_str().unwrap_or_default();
        let path = &self.path;
        assert_eq!((status, result), wanted, "{method} {path}{query}: {answer}");
    }

    fn value(&self) -> Option<Value> {
        let (status, value) = self.ask("GET", "", "", &Value::Null);
        (status == 200).then_some(value)
    }

    fn only_if(&self) -> String {
        format!("If-Match: {}\r\n", self.lab.get(&self.path).tag())
    }

    fn goes_through(&self, new: &Value, change: &Value) {
        const STALE: &str = "If-Match: \"0000000000000000\"\r\n";
        const ABSENT: &str = "If-None-Match: *\r\n";
        let nothing = &Value::Null;
        self.must(("PUT", "?dry_run=true", ""), new, (200, "valid"));
        assert_eq!(self.value(), None, "{}: a dry run does nothing", self.path);
        self.must(("PUT", "", STALE), new, (412, ""));
        self.must(("PUT", "", ABSENT), new, (201, "committed"));
        self.must(("PUT", "", ABSENT), new, (412, ""));
        self.must(("PUT", "", ""), new, (200, "no_change"));
        let made = self.value().expect("it is there");
        for (key, value) in new.as_object().expect("keys") {
            assert_eq!(made.get(key), Some(value), "{}: as it was given", self.path);
        }

        self.must(("PATCH", "", STALE), change, (412, ""));
        self.must(("PATCH", "?dry_run=true", ""), change, (200, "valid"));
        assert_eq!(self.value().as_ref(), Some(&made));
        let tag = self.only_if();
        let trial = "?confirm_seconds=600";
        self.must(("PATCH", trial, &tag), change, (200, "trial"));
        assert_ne!(self.value().as_ref(), Some(&made), "{}", self.path);
        let back = self.lab.ask("POST", "/api/v1/config/revert", "", "");
        assert_eq!(back.status, 200, "{}", back.body);
        assert_eq!(self.value().as_ref(), Some(&made), "{}", self.path);
        self.must(("PATCH", "", &tag), change, (200, "committed"));
        let changed = self.value().expect("it is there");
        for (key, value) in change.as_object().expect("keys") {
            assert_eq!(changed.get(key), Some(value), "{}", self.path);
        }

        self.must(("DELETE", "", &tag), nothing, (412, ""));
        self.must(("DELETE", "?dry_run=true", ""), nothing, (200, "valid"));
        assert_eq!(self.value(), Some(changed.clone()));
        self.must(("DELETE", trial, ""), nothing, (200, "trial"));
        assert_eq!(self.value(), None);
        let back = self.lab.ask("POST", "/api/v1/config/revert", "", "");
        assert_eq!(back.status, 200, "{}", back.body);
        let tag = self.only_if();
        self.must(("DELETE", "", &tag), nothing, (200, "committed"));
        assert_eq!(self.value(), None);
        self.must(("DELETE", "", ""), nothing, (404, ""));
    }
}

#[test]
fn every_kind_of_part_is_made_changed_and_taken_out_under_conditions_and_on_trial() {
    let lab = lab();
    let whole = || {
        lab.ask("GET", "/api/v1/config", "Accept: application/json\r\n", "")
            .json()
    };
    let before = whole();
    for (path, new, change) in edits() {
        let path = format!("/api/v1/config/{path}");
        Editor { lab: &lab, path }.goes_through(&new, &change);
    }
    assert_eq!(whole(), before, "nothing is left");

    let pair = lab_of(HA, security(), |_| ());
    let path = "/api/v1/config/ha/group/gateway".to_owned();
    let group = json!({ "number": 1, "addresses": ["198.51.100.1-198.51.100.14"] });
    Editor { lab: &pair, path }.goes_through(&group, &json!({ "priority": 150 }));
}

#[test]
fn what_others_need_is_not_taken_out_and_they_are_named() {
    let lab = lab();
    let rule = json!({ "from": "outside", "action": "deny", "source": "@office" });
    let block = "/api/v1/config/firewall/rule/block";
    assert_eq!(lab.ask("PUT", block, "", &rule.to_string()).status, 201);
    for (path, user) in [
        ("list/office", "firewall.rule"),
        ("pool/web", "virtual_server"),
        ("snat_pool/internet", "snat"),
    ] {
        let path = format!("/api/v1/config/{path}");
        let refused = lab.ask("DELETE", &path, "", "");
        assert_eq!(refused.status, 422, "{path}: {}", refused.body);
        let errors = refused.json();
        let places = errors["errors"].as_array().expect("faults");
        let named = |fault: &Value| {
            let place = fault["path"].as_str().unwrap_or_default();
            place.starts_with(user)
        };
        assert!(places.iter().any(named), "{path}: {errors}");
        assert_eq!(lab.get(&path).status, 200, "it stays");
    }
}
