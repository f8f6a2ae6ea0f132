//! The configuration as it is written, before any value is looked at.

use serde::{Deserialize, Serialize};

use super::alg::RawAlg;
use super::api::RawApi;
use super::firewall::RawFirewall;
use super::forward::RawForward;
use super::ha::RawHa;
use super::health_check::RawHealthCheck;
use super::host::RawHost;
use super::icmp::RawIcmp;
use super::list::RawList;
use super::log::RawLog;
use super::pool::RawPool;
use super::port::RawPort;
use super::route::RawRoute;
use super::snat::RawSnat;
use super::snat_pool::RawSnatPool;
use super::static_nat::RawStaticNat;
use super::system::RawSystem;
use super::tcp::RawTcp;
use super::timeouts::RawTimeouts;
use super::virtual_server::RawVirtualServer;

/// A section: every key may be absent, and what is absent is not written back.
macro_rules! section {
    ($(#[$about:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }
    };
}
pub(super) use section;

/// The whole configuration as it is written. Key by key in `docs/configuration.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct RawConfig {
    /// `[system]`
    #[serde(default)]
    pub system: RawSystem,
    /// `[api]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub api: RawApi,
    /// `[log]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: RawLog,
    /// `[ha]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<RawHa>,
    /// `[[port]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port: Vec<RawPort>,
    /// `[[route]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RawRoute>,
    /// `[[list]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<RawList>,
    /// `[firewall]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub firewall: RawFirewall,
    /// `[timeouts]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawTimeouts,
    /// `[tcp]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub tcp: RawTcp,
    /// `[icmp]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub icmp: RawIcmp,
    /// `[alg]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub alg: RawAlg,
    /// `[host]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<RawHost>,
    /// `[[snat_pool]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snat_pool: Vec<RawSnatPool>,
    /// `[[snat]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snat: Vec<RawSnat>,
    /// `[[static_nat]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_nat: Vec<RawStaticNat>,
    /// `[[forward]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<RawForward>,
    /// `[[health_check]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check: Vec<RawHealthCheck>,
    /// `[[pool]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pool: Vec<RawPool>,
    /// `[[virtual_server]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_server: Vec<RawVirtualServer>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What goes section by section. Every section has to be named, or it does not compile.
macro_rules! by_section {
    ($($field:ident),+ $(,)?) => {
        impl RawConfig {
            /// Keys of all sections.
            pub const SECTIONS: &[&str] = &[$(stringify!($field)),+];

            /// Keys of the sections in which the two differ.
            pub fn sections_that_differ(&self, other: &Self) -> Vec<&'static str> {
                let Self { $($field),+ } = self;
                let differ = [$((stringify!($field), *$field != other.$field)),+];
                let differ = differ.into_iter().filter(|(_, differs)| *differs);
                differ.map(|(key, _)| key).collect()
            }

            /// These sections, and the others as if they were not written.
            #[must_use]
            pub fn only(&self, sections: &[&str]) -> Self {
                Self {
                    $($field: match sections.contains(&stringify!($field)) {
                        true => self.$field.clone(),
                        false => Default::default(),
                    }),+
                }
            }

            /// This one with these sections of another.
            #[must_use]
            pub fn with(&self, sections: &[&str], other: Self) -> Self {
                Self {
                    $($field: match sections.contains(&stringify!($field)) {
                        true => other.$field,
                        false => self.$field.clone(),
                    }),+
                }
            }
        }
    };
}

by_section!(
    system,
    api,
    log,
    ha,
    port,
    route,
    list,
    firewall,
    timeouts,
    tcp,
    icmp,
    alg,
    host,
    snat_pool,
    snat,
    static_nat,
    forward,
    health_check,
    pool,
    virtual_server,
);
