//! What workers are told of other appliances, and what they have in common with them.

use std::time::SystemTime;

use sluice_control::compile::DeviceFacts;
use sluice_control::config::{Config, Copies, HaTunnel, Sync};
use sluice_dataplane::cookie::Cookies;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::worker::HaParts;

/// `None` where the configuration names no other appliance. `facts` are those of
/// [`Config::devices`], of which the HA link's is the last.
///
/// # Errors
/// If the kernel has no random numbers.
pub(crate) fn parts(config: &Config, facts: &[DeviceFacts]) -> std::io::Result<Option<HaParts>> {
    let (Some(ha), Some(link)) = (&config.ha, facts.last()) else {
        return Ok(None);
    };
    let [boot, seed @ ..] = crate::random::words::<5>()?;
    let mut bytes = [0; 32];
    for (into, word) in bytes.chunks_exact_mut(8).zip(seed) {
        into.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(Some(HaParts {
        node: ha.node,
        peers: ha.peers.clone(),
        shares: ha.shares,
        device: DeviceId(facts.len() as u16 - 1),
        mac: link.mac,
        mtu: link
            .mtu
            .saturating_sub(ha.tunnel.as_ref().map_or(0, HaTunnel::overhead)),
        tunnel: ha.tunnel.as_ref().map(HaTunnel::parts),
        key: ha.key.0,
        next_key: ha.next_key.as_ref().map(|key| key.0),
        boot,
        seed: bytes,
        peer_workers: ha
            .peer_workers
            .unwrap_or(config.system.workers.len() as u16),
        sync: ha.sync == Sync::Async,
        inline_budget_ms: ha.inline_budget_ms,
        backup: ha.copies == Copies::Backup,
        heartbeat_ms: ha.heartbeat_ms,
        dead_after: ha.dead_after,
    }))
}

/// What connections without a session are known by: the same on both appliances, if there are two. To be
/// called when the workers' clock starts.
///
/// # Errors
/// If the kernel has no random numbers.
pub(crate) fn cookies(config: &Config) -> std::io::Result<Cookies> {
    let Some(ha) = &config.ha else {
        return Ok(Cookies::new(crate::random::words()?));
    };
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = since_1970.map_or(0, |time| time.as_millis() as u32);
    let other = ha.next_key.as_ref().map(|key| &key.0);
    Ok(Cookies::shared(&ha.key.0, other, clock))
}
