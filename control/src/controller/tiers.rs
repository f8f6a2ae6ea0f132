//! Which real servers new sessions of a virtual server go to, and why not to those before them.

use serde::Serialize;
use sluice_dataplane::lb;
use sluice_dataplane::snapshot::{ServerId, TierKind, VirtualServer};

use super::Controller;
use super::health::state_name;

/// A virtual server, and the order in which its real servers are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tiers {
    /// Its name.
    pub virtual_server: String,
    /// The tier that new sessions go to, counted from 0; absent if nobody takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<usize>,
    /// Why no tier before that takes them; empty if the first does.
    pub why: String,
    /// In the order in which they are tried.
    pub tiers: Vec<TierView>,
}

/// Real servers that are chosen among before the next ones are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TierView {
    /// `pool`, `backup` or `sorry`.
    pub kind: &'static str,
    /// Whether new sessions go there.
    pub in_use: bool,
    /// Servers that are up, and of a weight above 0.
    pub serving: usize,
    /// Of them those that have as many sessions as they may.
    pub full: usize,
    /// All, in the order of the configuration.
    pub servers: Vec<TierServer>,
}

/// A real server of a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TierServer {
    /// `pool/name`, or `sorry:NAME` of the virtual server.
    pub name: String,
    /// What workers go by: `up`, `draining` or `down`.
    pub state: &'static str,
    /// Sessions now, of all virtual servers; those included that are closed and not forgotten yet, which
    /// do not count for its limit.
    pub sessions: u64,
    /// Sessions that it has at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Sessions that it gets per second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions_per_second: Option<u32>,
}

impl Controller {
    /// Of all virtual servers, in the order of the configuration.
    pub(super) fn tiers(&self) -> Vec<Tiers> {
        let all = self.snapshot.virtual_servers.iter();
        all.map(|vs| self.tiers_of(vs)).collect()
    }

    fn tiers_of(&self, vs: &VirtualServer) -> Tiers {
        let mut tiers: Vec<TierView> = vs
            .tiers
            .iter()
            .map(|tier| {
                let views = tier.members.iter().map(|&id| self.tier_server(id));
                let views: Vec<(bool, TierServer)> = views.flatten().collect();
                let serving = views.iter().filter(|(serves, _)| *serves);
                let full = serving.clone().filter(|(_, server)| {
                    let most = server.max_sessions.map(u64::from);
                    most.is_some_and(|most| server.sessions >= most)
                });
                TierView {
                    kind: match tier.kind {
                        TierKind::Pool => "pool",
                        TierKind::Backup => "backup",
                        TierKind::Sorry => "sorry",
                    },
                    in_use: false,
                    serving: serving.clone().count(),
                    full: full.count(),
                    servers: views.into_iter().map(|(_, server)| server).collect(),
                }
            })
            .collect();
        let in_use = tiers.iter().position(|tier| tier.full < tier.serving);
        let before = tiers.iter().take(in_use.unwrap_or(tiers.len()));
        let why = before.map(|tier| match tier.serving {
            0 => format!(
                "{}: none of {} takes sessions",
                tier.kind,
                tier.servers.len()
            ),
            serving => format!("{}: all {serving} that take sessions are full", tier.kind),
        });
        let why = why.collect::<Vec<_>>().join("; ");
        if let Some(tier) = in_use.and_then(|at| tiers.get_mut(at)) {
            tier.in_use = true;
        }
        Tiers {
            virtual_server: vs.name.clone(),
            in_use,
            why,
            tiers,
        }
    }

    /// A server, and whether it takes sessions, limits apart.
    fn tier_server(&self, id: ServerId) -> Option<(bool, TierServer)> {
        let servers = &self.snapshot.servers;
        let server = servers.get(usize::from(id.0))?.as_ref()?;
        let view = TierServer {
            name: server.name.clone(),
            state: state_name(server.state),
            sessions: self.published.sessions_of(id),
            max_sessions: server.limits.open.map(Into::into),
            max_sessions_per_second: server.limits.per_second.map(Into::into),
        };
        Some((lb::share(servers, id) > 0, view))
    }
}
