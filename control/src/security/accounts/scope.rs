//! What a token may ask for, beside its role: areas of the API, each to read or to write.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! areas {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// A part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Area {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Area {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in a scope.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

areas! {
    /// The configuration: in use, candidate, history, what waits for the next start.
    Config = "config",
    /// Sessions.
    Sessions = "sessions",
    /// Health and tiers of real servers.
    Health = "health",
    /// Status, counters, workers, ports, neighbours, routes, NAT pools.
    State = "state",
    /// Metrics for Prometheus.
    Metrics = "metrics",
    /// Other appliances.
    Ha = "ha",
    /// Packet captures.
    Captures = "captures",
    /// Traces, pings, traceroutes, connectivity tests.
    Tools = "tools",
    /// Events.
    Events = "events",
    /// Logs, and how much is logged.
    Logs = "logs",
    /// The support bundle.
    Support = "support",
    /// The audit log.
    Audit = "audit",
    /// The certificate of the API.
    Tls = "tls",
    /// Tokens.
    Tokens = "tokens",
    /// Users, and who vouches for them. To read at most: whoever makes users makes themselves anything.
    Users = "users",
}

/// What is done in an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Nothing is changed.
    Read,
    /// Something may be; reading is part of it.
    Write,
}

impl Access {
    /// Its name in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One area, and what may be done there: `sessions:write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// Where.
    pub area: Area,
    /// What.
    pub access: Access,
}

impl Grant {
    /// All that can be granted.
    pub fn all() -> impl Iterator<Item = Self> {
        let areas = Area::ALL.iter();
        let both = areas
            .flat_map(|&area| [Access::Read, Access::Write].map(|access| Self { area, access }));
        both.filter(|grant| grant.area != Area::Users || grant.access == Access::Read)
    }

    fn covers(self, other: Self) -> bool {
        self.area == other.area && self.access >= other.access
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area.as_str(), self.access.as_str())
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::all().find(|grant| grant.to_string() == text);
        known.ok_or_else(|| format!("{text:?} can be in no scope"))
    }
}

impl TryFrom<String> for Grant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl PartialSchema for Grant {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "An area of the API, and what may be done there; `write` includes `read`.",
            ))
            .enum_values(Some(Self::all().map(|grant| grant.to_string())))
            .into()
    }
}

impl ToSchema for Grant {}

/// Areas that a token is held to. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Scope(Vec<Grant>);

impl Scope {
    /// Of these, each once, in order. `None` of none.
    pub fn new(mut grants: Vec<Grant>) -> Option<Self> {
        let all = grants.clone();
        grants.retain(|&grant| {
            let more = |&other: &Grant| other != grant && other.covers(grant);
            !all.iter().any(more)
        });
        grants.sort_unstable();
        grants.dedup();
        (!grants.is_empty()).then_some(Self(grants))
    }

    /// Whether this may be done.
    pub fn allows(&self, wanted: Grant) -> bool {
        self.0.iter().any(|grant| grant.covers(wanted))
    }

    /// The first thing that it allows and `other` does not.
    pub fn beyond(&self, other: &Self) -> Option<Grant> {
        self.0.iter().copied().find(|&grant| !other.allows(grant))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, grant) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{grant}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        let grants = text.split(' ').map(|grant| grant.parse().expect("a grant"));
        Scope::new(grants.collect()).expect("some")
    }

    #[test]
    fn writing_includes_reading_and_nothing_next_to_it() {
        let some = scope("sessions:write health:read sessions:read health:read");
        assert_eq!(some.to_string(), "sessions:write, health:read");
        let allows = |text: &str| some.allows(text.parse().expect("a grant"));
        assert!(allows("sessions:read") && allows("sessions:write") && allows("health:read"));
        assert!(!allows("health:write") && !allows("config:read"));
        assert_eq!(scope("health:read").beyond(&some), None);
        assert_eq!(some.beyond(&some), None);
        let wider = scope("sessions:read health:write");
        assert_eq!(wider.beyond(&some), "health:write".parse().ok());
        assert_eq!(Scope::new(vec![]), None);
    }

    #[test]
    fn nobody_is_granted_to_make_users() {
        assert!("users:read".parse::<Grant>().is_ok());
        for text in [
            "users:write",
            "user:read",
            "config",
            "config:",
            "*:read",
            "Config:read",
        ] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
        for grant in Grant::all() {
            assert_eq!(grant.to_string().parse(), Ok(grant));
        }
    }
}
