//! `[[snat]]`: which sessions leave with another source.

use std::sync::Arc;

use ipnet::IpNet;

use super::ha::Sync;
use super::list::networks;
use super::names::{Name, SnatPoolIndex, ZoneIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::timeouts::{RawTimeouts, TimeoutOverrides};
use super::value::{Loose, Several, number, protocol};

section! {
    /// `[[snat]]`
    pub struct RawSnat {
        /// Its name.
        name: String,
        /// Zone of the opener.
        from: String,
        /// Zone that the session leaves by.
        to: String,
        /// Networks of the source.
        source: Several,
        /// Networks of the destination, after translation of it.
        destination: Several,
        /// IP protocol.
        protocol: Loose,
        /// The SNAT pool to translate to.
        pool: String,
        /// Translate to the address of the port that the session leaves by.
        masquerade: bool,
        /// Do not translate.
        keep: bool,
        /// Timeouts of its sessions.
        timeouts: RawTimeouts,
        /// Clamp the MSS of its SYNs to so many bytes.
        clamp_mss: i64,
        /// When the other appliance is told of its sessions: `async` or `none`.
        sync: String,
    }
}

/// What a source becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSource {
    /// Stays as it is.
    Keep,
    /// An address and port of this pool.
    Pool(SnatPoolIndex),
    /// The egress port's own address.
    Masquerade,
}

/// A SNAT rule; what is empty or `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snat {
    /// Its name.
    pub name: Name,
    /// Zone of the opener.
    pub from: Option<ZoneIndex>,
    /// Zone that the session leaves by.
    pub to: Option<ZoneIndex>,
    /// Networks of the source.
    pub source: Arc<[IpNet]>,
    /// Networks of the destination, after translation of it.
    pub destination: Arc<[IpNet]>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// What the source becomes.
    pub new_source: NewSource,
    /// Timeouts of its sessions.
    pub timeouts: TimeoutOverrides,
    /// Clamp the MSS of its SYNs to so many bytes.
    pub clamp_mss: Option<u16>,
    /// When the other appliance is told of its sessions.
    pub sync: Sync,
}

impl RawSnat {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Snat> {
        let name = place
            .required("name", &self.name, "\"internet\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let zone = |key, value: &Option<String>| {
            optional(value.as_deref(), |name| {
                place.names().zone(name, &place.key(key))
            })
        };
        let (from, to) = (zone("from", &self.from), zone("to", &self.to));
        let source = networks(self.source.as_ref(), &place.key("source"));
        let destination = networks(self.destination.as_ref(), &place.key("destination"));
        let protocol = optional(self.protocol.as_ref(), |item| {
            protocol(item, &place.key("protocol"))
        });
        let new_source = self.new_source(place);
        let timeouts = self.timeouts.clone().unwrap_or_default();
        let timeouts = timeouts.overrides(&place.key("timeouts"));
        let clamp_mss = clamp_mss(self.clamp_mss, place);
        let sync = Sync::of_service(self.sync.as_deref(), place);
        Some(Snat {
            name: name?,
            from: from?,
            to: to?,
            source: source?,
            destination: destination?,
            protocol: protocol?,
            new_source: new_source?,
            timeouts: timeouts?,
            clamp_mss: clamp_mss?,
            sync: sync?,
        })
    }

    fn new_source(&self, place: &Place<'_>) -> Option<NewSource> {
        let masquerade = self.masquerade == Some(true);
        let keep = self.keep == Some(true);
        match (&self.pool, masquerade, keep) {
            (Some(pool), false, false) => {
                let pool = place.names().snat_pool(pool, &place.key("pool"))?;
                Some(NewSource::Pool(pool))
            }
            (None, true, false) => Some(NewSource::Masquerade),
            (None, false, true) => Some(NewSource::Keep),
            (None, false, false) => place.wrong(
                "nothing says what the source becomes",
                "write pool = \"NAME\", masquerade = true or keep = true",
            ),
            _ => place.wrong(
                "more than one of `pool`, `masquerade` and `keep`",
                "write one of them",
            ),
        }
    }
}

/// A limit for the MSS of SYNs.
pub(super) fn clamp_mss(value: Option<i64>, place: &Place<'_>) -> Option<Option<u16>> {
    optional(value, |bytes| {
        number::<u16>(bytes, 536..=9560, &place.key("clamp_mss"))
    })
}
