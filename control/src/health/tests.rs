//! Checks against programs that other people wrote, and against servers that hang, lie and reset.

mod kinds;
mod many;
mod programs;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::checker::within;
use super::probe::{Probe, Tools};
use super::*;
use crate::config::{Config, HealthCheck, Source};

/// A check with these keys.
fn health_check(keys: &str) -> Arc<HealthCheck> {
    let text = format!(
        "[system]\nworkers = [0]\nscript_directory = '/'\n\
         [[port]]\nname = 'p'\ndevice = 'net_null0'\nzone = 'z'\n[[health_check]]\nname = 'it'\n{keys}"
    );
    let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
    Arc::new(config.health_checks[0].clone())
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn target(keys: &str, address: SocketAddr) -> Target {
    Target {
        address,
        host: None,
        check: health_check(keys),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// `times` checks by one probe, one after the other.
fn checks(target: &Target, tools: &Arc<Tools>, times: usize) -> Vec<Result<(), Failure>> {
    runtime().block_on(async {
        let mut probe = Probe::new(Attempt::of(target), tools);
        let mut results = Vec::new();
        for _ in 0..times {
            results.push(within(target.check.timeout_ms, probe.check()).await);
        }
        results
    })
}

/// One check: fine, or the reason why not.
#[track_caller]
fn check(keys: &str, port: u16) -> Result<(), Reason> {
    let keys = format!("timeout = '2s'\ninterval = '2s'\n{keys}");
    let tools = Arc::new(Tools::default());
    let result = checks(&target(&keys, at(port)), &tools, 1).remove(0);
    result.map_err(|failure| {
        println!("{keys}: {failure}");
        failure.reason
    })
}

/// Waits for something that has to come.
#[track_caller]
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}
