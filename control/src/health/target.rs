//! What is checked: one check of one real server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, HealthCheck};

/// Names a check of a real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `pool/name` of the server.
    pub server: String,
    /// Name of the check.
    pub check: String,
}

/// What is checked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where, and 0 for checks that have no port.
    pub address: SocketAddr,
    /// The host to name instead of the check's.
    pub host: Option<String>,
    /// How.
    pub check: Arc<HealthCheck>,
}

/// Everything to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// By name.
    pub all: BTreeMap<Key, Target>,
}

impl Targets {
    /// What a configuration has checked.
    pub fn of(config: &Config) -> Self {
        let mut all = BTreeMap::new();
        let checks: BTreeMap<&str, Arc<HealthCheck>> = config
            .health_checks
            .iter()
            .map(|check| (check.name.as_str(), Arc::new(check.clone())))
            .collect();
        for pool in &config.pools {
            for server in &pool.servers {
                let ip: IpAddr = server.check_address.unwrap_or(server.address);
                for check in config.checks(pool, server) {
                    // Scripts are told what there is.
                    let port = config.check_port(pool, server, check).unwrap_or_default();
                    let key = Key {
                        server: pool.full_name(server),
                        check: check.name.to_string(),
                    };
                    let target = Target {
                        address: SocketAddr::new(ip, port),
                        host: server.check_host.clone(),
                        check: Arc::clone(&checks[check.name.as_str()]),
                    };
                    all.insert(key, target);
                }
            }
        }
        Self { all }
    }
}
