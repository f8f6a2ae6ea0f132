//! `[timeouts]`, and the `timeouts` tables of services and rules.

use sluice_dataplane::tcp::state::State;
use sluice_dataplane::timeouts::{OnExpiry, Timeouts};

use super::duration::milliseconds;
use super::place::{Place, optional};
use super::raw::section;
use super::value::word;

section! {
    /// `[timeouts]`, or `timeouts = { .. }` of a service or rule.
    pub struct RawTimeouts {
        /// Every TCP state but established, where it is not given by itself.
        tcp_transitory: String,
        /// A SYN, not answered.
        tcp_syn_sent: String,
        /// SYNs of both sides.
        tcp_syn_received: String,
        /// Open.
        tcp_established: String,
        /// The opener sent FIN.
        tcp_fin_wait: String,
        /// The other side sent FIN.
        tcp_close_wait: String,
        /// Both sent FIN, and not both were acknowledged.
        tcp_closing: String,
        /// Both sent FIN, and both were acknowledged.
        tcp_time_wait: String,
        /// Reset.
        tcp_closed: String,
        /// UDP that was answered.
        udp: String,
        /// UDP of which only one direction was seen.
        udp_unreplied: String,
        /// ICMP echo.
        icmp: String,
        /// Any other protocol.
        other: String,
        /// `silent`, `reset` or `probe`: what the ends of a TCP session are told when it expires.
        on_expiry: String,
    }
}

/// What a service or rule changes of the timeouts; in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// By TCP state, as in [`Timeouts::tcp`].
    pub tcp: [Option<u32>; 8],
    /// UDP of which only one direction was seen.
    pub udp_unreplied: Option<u32>,
    /// UDP that was answered.
    pub udp: Option<u32>,
    /// ICMP echo.
    pub icmp: Option<u32>,
    /// Any other protocol.
    pub other: Option<u32>,
    /// What the ends of a TCP session are told when it expires.
    pub on_expiry: Option<OnExpiry>,
}

impl TimeoutOverrides {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `base` with the changes made.
    pub fn over(&self, base: &Timeouts) -> Timeouts {
        let mut tcp = base.tcp;
        for (value, change) in tcp.iter_mut().zip(self.tcp) {
            *value = change.unwrap_or(*value);
        }
        Timeouts {
            tcp,
            udp_new: self.udp_unreplied.unwrap_or(base.udp_new),
            udp_replied: self.udp.unwrap_or(base.udp_replied),
            icmp: self.icmp.unwrap_or(base.icmp),
            other: self.other.unwrap_or(base.other),
            on_expiry: self.on_expiry.unwrap_or(base.on_expiry),
        }
    }
}

/// Shortest time, in milliseconds, that leaves room for probes.
const SHORTEST_PROBED: u32 = 10_000;

impl RawTimeouts {
    pub(super) fn overrides(&self, place: &Place<'_>) -> Option<TimeoutOverrides> {
        let time = |key: &str, text: &Option<String>| {
            optional(text.as_deref(), |text| milliseconds(text, &place.key(key)))
        };
        let transitory = time("tcp_transitory", &self.tcp_transitory);
        // In the order of `tcp::state::State`.
        let tcp = [
            time("tcp_syn_sent", &self.tcp_syn_sent),
            time("tcp_syn_received", &self.tcp_syn_received),
            time("tcp_established", &self.tcp_established),
            time("tcp_fin_wait", &self.tcp_fin_wait),
            time("tcp_close_wait", &self.tcp_close_wait),
            time("tcp_closing", &self.tcp_closing),
            time("tcp_time_wait", &self.tcp_time_wait),
            time("tcp_closed", &self.tcp_closed),
        ];
        let udp_unreplied = time("udp_unreplied", &self.udp_unreplied);
        let udp = time("udp", &self.udp);
        let icmp = time("icmp", &self.icmp);
        let other = time("other", &self.other);
        let on_expiry = optional(self.on_expiry.as_deref(), |text| {
            let words = [
                ("silent", OnExpiry::Silent),
                ("reset", OnExpiry::Reset),
                ("probe", OnExpiry::Probe),
            ];
            word(text, &words, &place.key("on_expiry"))
        });
        let transitory = transitory?;
        let mut states = [None; 8];
        for (state, (value, own)) in states.iter_mut().zip(tcp).enumerate() {
            let inherits = state != State::Established as usize && state != State::Closed as usize;
            *value = own?.or(transitory.filter(|_| inherits));
        }
        let open = states[State::Established as usize];
        if on_expiry == Some(Some(OnExpiry::Probe)) && open.is_some_and(|ms| ms < SHORTEST_PROBED) {
            return place.key("on_expiry").wrong(
                "too little time to probe in",
                "write tcp_established = \"10s\" or more, or on_expiry = \"reset\"",
            );
        }
        Some(TimeoutOverrides {
            tcp: states,
            udp_unreplied: udp_unreplied?,
            udp: udp?,
            icmp: icmp?,
            other: other?,
            on_expiry: on_expiry?,
        })
    }
}
