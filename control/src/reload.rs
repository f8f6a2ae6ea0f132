//! What cannot change while the process runs: cores, memory, tables and devices.

use crate::compile::DeviceFacts;
use crate::config::{Config, ConfigError, Device, Finding, Path, Step, System};

/// What makes a start read the file.
const RESTART: &str = "put it into the file and restart Sluice, or leave it as it is";
/// The same where a start goes by the state directory.
const AT_RESTART: &str = "give at_restart=true and restart Sluice, or leave it as it is";

/// Whether a process that was started with `running` (and devices as in `facts`) can go on with
/// `new`. `lasting`: configurations are in a state directory, and a start goes by that.
///
/// # Errors
/// [`ConfigError`] names every key that would need a restart, and how that is done.
pub fn check(
    running: &Config,
    facts: &[DeviceFacts],
    new: &Config,
    lasting: bool,
) -> Result<(), ConfigError> {
    let mut findings = Vec::new();
    system(&running.system, &new.system, &mut findings);
    if running.api != new.api {
        let key = match () {
            () if running.api.listen != new.api.listen => "listen",
            () if running.api.auth != new.api.auth => "auth",
            () if running.api.tls != new.api.tls => "tls",
            () => "requests_per_second",
        };
        findings.push(finding(
            &["api", key],
            "the API listens already, and cannot follow".to_owned(),
        ));
    }
    if let (Some(old), Some(new)) = (&running.host, &new.host)
        && old.namespace != new.namespace
    {
        let found = format!(
            "is {} in the running process, {} here",
            old.namespace, new.namespace
        );
        findings.push(finding(&["host", "namespace"], found));
    }
    if running.ha != new.ha {
        findings.push(finding(
            &["ha"],
            "differs from what the process was started with".to_owned(),
        ));
    }
    devices(running, facts, new, &mut findings);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &mut findings {
        finding.remedy = if lasting { AT_RESTART } else { RESTART }.to_owned();
    }
    Err(new.source.locate(findings))
}

fn finding(keys: &[&str], found: String) -> Finding {
    Finding {
        path: keys.iter().map(|&key| Step::Key(key.to_owned())).collect(),
        found,
        remedy: String::new(),
    }
}

fn system(old: &System, new: &System, findings: &mut Vec<Finding>) {
    let mut differ = |key: &str, old: String, new: String| {
        if old != new {
            let found = format!("is {old} in the running process, {new} here");
            findings.push(finding(&["system", key], found));
        }
    };
    differ(
        "workers",
        format!("{:?}", old.workers),
        format!("{:?}", new.workers),
    );
    differ("idle", old.idle.to_string(), new.idle.to_string());
    differ(
        "sessions",
        old.sessions.to_string(),
        new.sessions.to_string(),
    );
    differ(
        "sessions_v6",
        old.sessions_v6.to_string(),
        new.sessions_v6.to_string(),
    );
    differ(
        "memory_mb",
        old.memory_mb.to_string(),
        new.memory_mb.to_string(),
    );
    differ(
        "packet_buffers",
        old.packet_buffers.to_string(),
        new.packet_buffers.to_string(),
    );
    differ(
        "eal_args",
        format!("{:?}", old.eal_args),
        format!("{:?}", new.eal_args),
    );
    differ(
        "file_prefix",
        old.file_prefix.to_string(),
        new.file_prefix.to_string(),
    );
    differ("harden", old.harden.to_string(), new.harden.to_string());
    let directory = |system: &System| match &system.script_directory {
        Some(path) => path.display().to_string(),
        None => "none".to_owned(),
    };
    differ("script_directory", directory(old), directory(new));
    differ(
        "script_user",
        old.script_user.clone(),
        new.script_user.clone(),
    );
}

fn devices(running: &Config, facts: &[DeviceFacts], new: &Config, findings: &mut Vec<Finding>) {
    let old = running.devices();
    let mut now = new.devices();
    // The order of ports is free.
    now.sort_by_key(|device| old.iter().position(|known| known.name == device.name));
    let names = |devices: &[Device]| -> Vec<String> {
        let names = devices.iter().map(|device| device.name.as_str().to_owned());
        names.collect()
    };
    if names(&old) != names(&now) {
        findings.push(finding(
            &["port"],
            format!(
                "the devices are {} in the running process, {} here",
                names(&old).join(" and "),
                names(&now).join(" and ")
            ),
        ));
        return;
    }
    for ((old, now), facts) in old.iter().zip(&now).zip(facts) {
        let changed = [
            ("queues", old.queues != now.queues),
            ("rss", old.rss != now.rss),
            ("rss_key", old.rss_key != now.rss_key),
            ("mac", old.mac != now.mac),
        ];
        for (key, _) in changed.into_iter().filter(|&(_, changed)| changed) {
            let path = of_device(new, now, key);
            findings.push(Finding {
                path,
                found: format!("differs from what {} was started with", now.name.as_str()),
                remedy: String::new(),
            });
        }
        if now.mtu > facts.mtu {
            findings.push(Finding {
                path: of_device(new, now, "mtu"),
                found: format!(
                    "{} is more than the {} that {} was started with",
                    now.mtu,
                    facts.mtu,
                    now.name.as_str()
                ),
                remedy: String::new(),
            });
        }
    }
}

/// The key of the port that says something of a device: the first that has it, or the first port.
fn of_device(config: &Config, device: &Device, key: &str) -> Path {
    let ports = config.ports.iter().enumerate();
    let mut ports: Vec<usize> = ports
        .filter(|(_, port)| port.device == device.name)
        .map(|(index, _)| index)
        .collect();
    let has = |&index: &usize| {
        let settings = &config.ports[index].settings;
        match key {
            "queues" => settings.queues.is_some(),
            "rss" => settings.rss.is_some(),
            "rss_key" => settings.rss_key.is_some(),
            "mac" => settings.mac.is_some(),
            _ => config.ports[index].mtu == device.mtu,
        }
    };
    ports.sort_by_key(|index| !has(index));
    let index = ports.first().copied().unwrap_or_default();
    Path::default().key("port").index(index).key(key)
}

#[cfg(test)]
mod tests;
