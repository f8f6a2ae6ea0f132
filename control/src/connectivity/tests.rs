use std::collections::BTreeMap;

use super::plan::Client;
use super::run::told;
use super::*;
use crate::config::{Config, Source};
use crate::controller::{Action, ActionError, Outcome};
use crate::testing::{WHOLE, controller};
use crate::trace::{StepView, TraceView};

/// What a test of `query` would do.
fn plan(text: &str, query: &str) -> Result<Plan, ActionError> {
    let (mut controller, _workers) = controller(text);
    let query = serde_json::from_str(query).expect("a query");
    let (answer, mut outcome) = tokio::sync::oneshot::channel();
    let action = Action::PlanConnectivity(Box::new(query));
    controller.submit(action, answer, std::time::Instant::now());
    match outcome.try_recv().expect("it is answered at once")? {
        Outcome::Connectivity(plan) => Ok(*plan),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_has_each_server_once_and_a_client_of_each_zone() {
    let config = Config::read(Source::toml(WHOLE)).expect("a configuration");
    let all = plan(WHOLE, "{}").expect("a plan");
    let names: Vec<&str> = all.servers.iter().map(|it| it.name.as_str()).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    let wanted: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    assert_eq!(names.len(), wanted + config.sorry_servers().count());
    assert_eq!(all.services.len(), config.virtual_servers.len());
    assert!(all.prober.is_none(), "the tests have no host interface");
    let web = all.services.iter().find(|it| it.name == "web");
    let web = web.expect("it is there");
    let clients: Vec<(&str, bool)> = web
        .clients
        .iter()
        .map(|(zone, client)| (zone.as_str(), client.is_ok()))
        .collect();
    assert_eq!(
        clients,
        [("outside", true), ("inside", true), ("dmz", true)]
    );
    let outside = web.clients[0].1.as_ref().expect("a client");
    assert_eq!(outside.address.to_string(), "203.0.113.254", "the router");
    let inside = web.clients[1].1.as_ref().expect("a client");
    assert_eq!(inside.port, "inside");
    let taken = |address| {
        config
            .pools
            .iter()
            .flat_map(|pool| &pool.servers)
            .any(|it| it.address == address)
    };
    assert!(!taken(inside.address), "{}", inside.address);
}

#[test]
fn what_is_asked_for_and_is_not_there_is_named() {
    let without_default = WHOLE.replace("::/0", "2001:db8:9::/48");
    for (query, pointer) in [
        (r#"{"virtual_server":"wbe"}"#, "/virtual_server"),
        (r#"{"pool":"wbe"}"#, "/pool"),
        (r#"{"zone":"wbe"}"#, "/zone"),
        (r#"{"timeout_ms":1}"#, "/timeout_ms"),
        (r#"{"client":"2001:db8:ffff::1"}"#, "/client"),
        (r#"{"client":"203.0.113.9","zone":"inside"}"#, "/zone"),
    ] {
        match plan(&without_default, query) {
            Err(ActionError::Body { pointer: found, .. }) => assert_eq!(found, pointer),
            other => panic!("{query}: {other:?}"),
        }
    }
    let one = plan(WHOLE, r#"{"virtual_server":"web"}"#).expect("a plan");
    assert_eq!(one.services.len(), 1);
    let pool = plan(WHOLE, r#"{"pool":"web"}"#).expect("a plan");
    assert!(pool.services.is_empty() && !pool.servers.is_empty());
}

#[test]
fn a_pool_of_which_no_server_was_tried_is_not_judged() {
    let all = plan(WHOLE, r#"{"virtual_server":"web"}"#).expect("a plan");
    let web = &all.services[0];
    assert!(web.members.len() > 1, "{:?}", web.members);
    assert_eq!(web.pool(&BTreeMap::new()).verdict, Verdict::Skipped);
    let names: Vec<&str> = web.members.iter().map(String::as_str).collect();
    let judged = |good: &[bool]| {
        let reached = names.iter().copied().zip(good.iter().copied());
        web.pool(&reached.collect()).verdict
    };
    let all_good = vec![true; names.len()];
    assert_eq!(judged(&all_good), Verdict::Ok);
    assert_eq!(judged(&all_good[1..]), Verdict::Warning);
    assert_eq!(judged(&[false]), Verdict::Failed);
}

#[test]
fn a_client_that_is_redirected_is_served_and_warned_of() {
    let step = |stage| StepView {
        worker: 0,
        stage,
        text: String::new(),
        name: None,
    };
    let view = TraceView {
        verdict: "consumed",
        text: String::new(),
        reason: None,
        port: None,
        leaves: None,
        steps: vec![step("service"), step("last_resort")],
    };
    let client = Client {
        port: "outside".to_owned(),
        address: [198, 51, 100, 1].into(),
    };
    let (steps, served) = told(&view, &client);
    assert!(served);
    let verdicts: Vec<_> = steps.iter().map(|it| (it.step, it.verdict)).collect();
    let wanted = [
        ("service", Verdict::Ok),
        ("last_resort", Verdict::Warning),
        ("client", Verdict::Ok),
    ];
    assert_eq!(verdicts, wanted);
}
