//! `[icmp]`: ICMP and ICMPv6 errors that Sluice itself sends.

use super::place::Place;
use super::raw::section;
use super::value::number;

section! {
    /// `[icmp]`
    pub struct RawIcmp {
        /// Errors that each worker sends per second at most.
        errors_per_second: i64,
    }
}

/// ICMP errors that Sluice itself sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Errors that each worker sends per second at most.
    pub errors_per_second: u32,
}

impl RawIcmp {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Icmp> {
        Some(Icmp {
            errors_per_second: number(
                self.errors_per_second.unwrap_or(1000),
                0..=1_000_000,
                &place.key("errors_per_second"),
            )?,
        })
    }
}
