//! What a real server's state is: what the configuration says, and what is known of its health.
//!
//! Checks ([`Standings::set_active`]) and what the data plane sees ([`Standings::set_passive`]) are
//! two opinions. [`effective`] is the one place where they and the configuration become the
//! [`ServerState`] that workers go by; [`crate::compile::restate`] brings it into a snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_dataplane::snapshot::{ServerId, ServerState};
use utoipa::ToSchema;

/// What somebody holds of a real server's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthVerdict)]
pub enum Verdict {
    /// Nobody has looked yet, or nobody looks.
    #[default]
    Unknown,
    /// It does its work.
    Up,
    /// It does not.
    Down,
}

impl Verdict {
    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What becomes of the sessions of a server that checks found down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They go on, if they can.
    #[default]
    Keep,
    /// They end.
    End,
}

/// What is known of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What checks say.
    pub active: Verdict,
    /// What the data plane sees of its sessions.
    pub passive: Verdict,
}

/// What its pool and its checks say should follow from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// It gets no sessions before a check has found it up.
    pub wait: bool,
    /// What becomes of its sessions when it is down.
    pub on_down: OnDown,
}

/// The state that workers go by. A server takes new sessions if it is configured up **and** neither
/// checks nor the data plane found it down. What health takes from it are new sessions; those that it
/// has end only where checks found it down and the pool says so.
pub fn effective(configured: ServerState, standing: Standing, rules: Rules) -> ServerState {
    let unfit = match standing.active {
        Verdict::Down => true,
        Verdict::Unknown => rules.wait,
        Verdict::Up => false,
    };
    match configured {
        ServerState::Down => ServerState::Down,
        _ if standing.active == Verdict::Down && rules.on_down == OnDown::End => ServerState::Down,
        _ if unfit || standing.passive == Verdict::Down => ServerState::Draining,
        configured => configured,
    }
}

/// The standings of all servers; of those that it does not have nothing is known.
#[derive(Debug, Default)]
pub struct Standings {
    by_server: BTreeMap<ServerId, Standing>,
    changed: bool,
}

impl Standings {
    /// What is known of a server.
    pub fn get(&self, server: ServerId) -> Standing {
        self.by_server.get(&server).copied().unwrap_or_default()
    }

    /// What checks say of it now.
    pub fn set_active(&mut self, server: ServerId, active: Verdict) {
        let passive = self.get(server).passive;
        self.set(server, Standing { active, passive });
    }

    /// What the data plane sees of it now.
    pub fn set_passive(&mut self, server: ServerId, passive: Verdict) {
        let active = self.get(server).active;
        self.set(server, Standing { active, passive });
    }

    fn set(&mut self, server: ServerId, standing: Standing) {
        if standing != self.get(server) {
            self.by_server.insert(server, standing);
            self.changed = true;
        }
    }

    /// Whether something changed since [`Standings::taken_up`].
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// They are in the snapshot now.
    pub fn taken_up(&mut self) {
        self.changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_takes_sessions_only_if_all_agree() {
        use ServerState::{Down, Draining, Up};
        let (keep, end) = (OnDown::Keep, OnDown::End);
        let (unknown, up, down) = (Verdict::Unknown, Verdict::Up, Verdict::Down);
        for (configured, active, passive, wait, on_down, wanted) in [
            (Up, unknown, unknown, false, keep, Up),
            (Up, unknown, unknown, true, keep, Draining),
            (Up, unknown, unknown, true, end, Draining),
            (Up, up, unknown, true, end, Up),
            (Up, down, unknown, false, keep, Draining),
            (Up, down, unknown, false, end, Down),
            (Up, up, down, false, end, Draining),
            (Up, up, up, true, keep, Up),
            (Draining, up, up, false, keep, Draining),
            (Draining, down, up, false, end, Down),
            (Down, up, up, false, keep, Down),
            (Down, down, down, true, keep, Down),
        ] {
            let standing = Standing { active, passive };
            let found = effective(configured, standing, Rules { wait, on_down });
            assert_eq!(
                found, wanted,
                "{configured:?} {standing:?} {wait} {on_down:?}"
            );
        }
    }

    #[test]
    fn what_says_nothing_new_is_no_change() {
        let mut standings = Standings::default();
        let server = ServerId(3);
        standings.set_active(server, Verdict::Unknown);
        assert!(!standings.changed());
        standings.set_active(server, Verdict::Down);
        standings.set_passive(server, Verdict::Up);
        assert!(standings.changed());
        let wanted = Standing {
            active: Verdict::Down,
            passive: Verdict::Up,
        };
        assert_eq!(standings.get(server), wanted);
        standings.taken_up();
        standings.set_active(server, Verdict::Down);
        assert!(!standings.changed());
    }
}
