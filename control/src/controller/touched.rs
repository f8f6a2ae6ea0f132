//! Which live sessions a change of the configuration may concern, as far as that can be told before.

use std::collections::BTreeSet;

use super::Controller;
use super::change::{Touched, TouchedBy};
use super::stats::Reading;
use crate::config::RawConfig;
use crate::config::diff::{Difference, Op};
use crate::health::Verdict;

/// What changes of these concern.
#[derive(Debug, Default)]
struct Concerned {
    policy: bool,
    services: BTreeSet<String>,
    servers: BTreeSet<String>,
}

impl Controller {
    /// What a change may do to sessions that live now. `changes` are from the configuration in use.
    pub(super) fn touched(&self, changes: &[Difference]) -> Touched {
        let concerned = concerned(changes, &self.config.raw);
        let reading = Reading::of(&self.published);
        let services = concerned.services.iter().filter_map(|name| {
            let (kind, plain) = name.split_once('/')?;
            let id = self.registry.service_by_name(kind, plain)?;
            Some(TouchedBy {
                name: name.clone(),
                sessions: reading.service(id, &self.registry)?.sessions,
            })
        });
        let services: Vec<TouchedBy> = services.collect();
        let servers = concerned.servers.iter().filter_map(|name| {
            let id = self.registry.server_by_name(name)?;
            let server = self.snapshot.servers.get(usize::from(id.0))?.as_ref()?;
            Some(TouchedBy {
                name: name.clone(),
                sessions: reading.server(id, server, Verdict::Unknown).sessions,
            })
        });
        let servers: Vec<TouchedBy> = servers.collect();
        let live = reading.sessions();
        let named: u64 = services.iter().chain(&servers).map(|by| by.sessions).sum();
        Touched {
            sessions_at_most: if concerned.policy {
                live
            } else {
                named.min(live)
            },
            policy: concerned.policy,
            services,
            servers,
        }
    }
}

fn concerned(changes: &[Difference], old: &RawConfig) -> Concerned {
    let mut all = Concerned::default();
    for change in changes {
        let (section, item) = first(&change.path);
        match (section, item) {
            // A service that is new may take over what another one carries.
            ("virtual_server" | "forward" | "static_nat", Some(_)) if change.op == Op::Add => {
                all.policy = true;
            }
            ("virtual_server", Some(name)) => {
                // How the next session finds its server does not concern those that have one.
                let key = change.path.rsplit_once("].").map_or("", |(_, key)| key);
                let harmless = [
                    "scheduler",
                    "maglev_size",
                    "timeouts",
                    "persistence",
                    "clamp_mss",
                    "redirect",
                ];
                // Who stands in for the pool has no sessions before there is one.
                let stands_in = ["backup_pool", "sorry_server"].contains(&key);
                let harmless = harmless.iter().any(|harmless| key.starts_with(harmless));
                if !(harmless || stands_in && change.op == Op::Add) {
                    all.services.insert(format!("virtual_server/{name}"));
                }
            }
            ("forward", Some(name)) => drop(all.services.insert(format!("forward/{name}"))),
            ("static_nat", Some(name)) => drop(all.services.insert(format!("static/{name}"))),
            ("snat_pool", Some(name)) if change.op != Op::Add => users(old, name, &mut all),
            ("pool", Some(name)) => pool(old, name, change, &mut all),
            (
                "timeouts" | "tcp" | "icmp" | "alg" | "system" | "api" | "snat_pool" | "pool"
                | "health_check",
                _,
            ) => {}
            ("virtual_server" | "forward" | "static_nat", None) => {}
            _ => all.policy = true,
        }
    }
    all
}

/// `pool[web].server[web1].weight`: the section, and the name of the item in it.
fn first(path: &str) -> (&str, Option<&str>) {
    let end = path.find(['[', '.']).unwrap_or(path.len());
    let (section, rest) = path.split_at(end);
    let item = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    (section, item.map(|(name, _)| name))
}

/// Services that translate sources to this pool.
fn users(old: &RawConfig, pool: &str, all: &mut Concerned) {
    let named = |given: &Option<String>| given.as_deref() == Some(pool);
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    for vs in old.virtual_server.iter().filter(|vs| named(&vs.snat_pool)) {
        all.services
            .insert(format!("virtual_server/{}", text(&vs.name)));
    }
    for rule in old.snat.iter().filter(|rule| named(&rule.pool)) {
        all.services.insert(format!("snat/{}", text(&rule.name)));
    }
    for forward in old.forward.iter().filter(|forward| named(&forward.source)) {
        all.services
            .insert(format!("forward/{}", text(&forward.name)));
    }
}

fn pool(old: &RawConfig, pool: &str, change: &Difference, all: &mut Concerned) {
    let servers = old
        .pool
        .iter()
        .filter(|known| known.name.as_deref() == Some(pool));
    let servers = servers.flat_map(|pool| &pool.server);
    let mut every = servers.filter_map(|server| server.name.as_deref());
    let rest = change.path.split_once("].").map_or("", |(_, rest)| rest);
    match first(rest) {
        ("server", Some(name)) => {
            let key = rest.split_once("].").map_or("", |(_, key)| key);
            let goes = match key {
                "" => change.op == Op::Remove,
                "state" => change.new.as_ref().is_some_and(|state| state == "down"),
                // Who is found down by it, nobody knows before.
                "weight" | "priority" | "max_sessions" | "max_sessions_per_second" => false,
                "check_address" | "check_port" | "check_host" => false,
                key if key.starts_with("health_check") => false,
                _ => true,
            };
            if goes {
                all.servers.insert(format!("{pool}/{name}"));
            }
        }
        ("", _) if change.op == Op::Remove => {
            all.servers
                .extend(every.by_ref().map(|name| format!("{pool}/{name}")));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::config::diff::diff;
    use crate::testing::WHOLE;

    #[test]
    fn what_a_change_concerns_is_told_by_name() {
        let old = Source::toml(WHOLE).parse().expect("a configuration");
        let of = |from: &str, to: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let new = Source::toml(WHOLE.replace(from, to))
                .parse()
                .expect("a configuration");
            let all = concerned(&diff(&old, &new), &old);
            let names: Vec<String> = all.services.into_iter().chain(all.servers).collect();
            (all.policy, names.join(" "))
        };
        let nobody = (false, String::new());
        assert_eq!(of("weight = 3", "weight = 4"), nobody);
        assert_eq!(of("state = \"draining\"", "state = \"up\""), nobody);
        assert_eq!(
            of(
                "scheduler = \"maglev\"\nmaglev_size = 65537",
                "scheduler = \"source_hash\""
            ),
            nobody
        );
        assert_eq!(of("udp = \"5m\"", "udp = \"6m\""), nobody);
        assert_eq!(
            of("state = \"draining\"", "state = \"down\""),
            (false, "web/web1".into())
        );
        assert_eq!(
            of("\"10.0.0.12\"", "\"10.0.0.13\""),
            (false, "web/web2".into())
        );
        assert_eq!(
            of("mode = \"fullnat\"", "mode = \"dnat\""),
            (false, "virtual_server/web".into())
        );
        assert_eq!(
            of("internal = \"10.0.1.20\"", "internal = \"10.0.1.21\""),
            (false, "static/mail".into())
        );
        assert_eq!(
            of("parity = true", "parity = false"),
            (false, "snat/internet virtual_server/web".into())
        );
        assert_eq!(
            of("action = \"allow\"", "action = \"deny\""),
            (true, String::new())
        );
        assert_eq!(
            of("via = \"203.0.113.254\"", "via = \"203.0.113.253\""),
            (true, String::new())
        );
    }
}
