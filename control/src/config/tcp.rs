//! `[tcp]`: segments that the session table does not explain.

use sluice_dataplane::snapshot::{OutOfState, TcpPolicy};

use super::place::{Place, optional};
use super::raw::section;
use super::value::word;

section! {
    /// `[tcp]`
    pub struct RawTcp {
        /// `drop`, `adopt` or `reset`.
        out_of_state: String,
        /// Drop segments outside the window.
        strict_window: bool,
    }
}

impl RawTcp {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<TcpPolicy> {
        let out_of_state = optional(self.out_of_state.as_deref(), |text| {
            let words = [
                ("drop", OutOfState::Drop),
                ("adopt", OutOfState::Adopt),
                ("reset", OutOfState::Reset),
            ];
            word(text, &words, &place.key("out_of_state"))
        })?;
        Some(TcpPolicy {
            out_of_state: out_of_state.unwrap_or_default(),
            strict_window: self.strict_window.unwrap_or(false),
        })
    }
}
