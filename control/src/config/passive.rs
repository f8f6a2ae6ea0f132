//! `passive = { .. }` of a pool: when servers are taken out for what their connections show.

use super::duration::milliseconds;
use super::place::{Place, optional};
use super::raw::section;
use super::value::number;
use crate::health::Passive;

section! {
    /// `passive = { .. }`
    pub struct RawPassive {
        /// Connections that failed within the window, at least.
        failures: i64,
        /// Of all connections within the window so many percent, at least.
        percent: i64,
        /// How far back connections count.
        window: String,
        /// How long a server is out at first.
        out: String,
        /// Servers of the pool that are out at a time, at most, in percent.
        most_out: i64,
    }
}

impl RawPassive {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Passive> {
        let failures = number::<u32>(
            self.failures.unwrap_or(5),
            1..=1_000_000,
            &place.key("failures"),
        );
        let percent = number::<u8>(self.percent.unwrap_or(50), 1..=100, &place.key("percent"));
        let window = optional(self.window.as_deref(), |text| {
            milliseconds(text, &place.key("window"))
        });
        let out = optional(self.out.as_deref(), |text| {
            milliseconds(text, &place.key("out"))
        });
        let most_out = number::<u8>(self.most_out.unwrap_or(50), 1..=100, &place.key("most_out"));
        Some(Passive {
            failures: failures?,
            percent: percent?,
            window_ms: window?.unwrap_or(10_000),
            out_ms: out?.unwrap_or(30_000),
            most_out: most_out?,
        })
    }
}
