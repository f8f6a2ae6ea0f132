//! How long a session lives without packets, by protocol and state.

use sluice_wire::proto::{ICMP, ICMPV6, TCP, UDP};

use crate::session::state::NEW;

const SECOND: u32 = 1_000;
const MINUTE: u32 = 60 * SECOND;

/// One set of lifetimes, all in milliseconds since the session's last packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state (`tcp::state::State as usize`).
    pub tcp: [u32; 8],
    /// UDP of which only one direction was seen.
    pub udp_new: u32,
    /// UDP that was answered.
    pub udp_replied: u32,
    /// ICMP echo.
    pub icmp: u32,
    /// Any other protocol.
    pub other: u32,
    /// What the ends of a TCP session are told when its time is over.
    pub on_expiry: OnExpiry,
}

/// What the ends of a TCP session are told when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExpiry {
    /// Nothing.
    #[default]
    Silent,
    /// Each gets a reset.
    Reset,
    /// Before that they are probed: a session whose ends answer goes on, and else each gets a reset.
    Probe,
}

impl Default for Timeouts {
    /// What the RFCs on NAT ask for, and practice where they are silent.
    fn default() -> Self {
        // RFC 5382 REQ-5: partly open or closing, 4 minutes at least.
        let transitory = 4 * MINUTE;
        Self {
            tcp: [
                // SynSent
                transitory,
                // SynReceived
                transitory,
                // Established: RFC 5382 REQ-5, 2 hours 4 minutes at least, so that keepalives
                // (RFC 1122 4.2.3.6) come in time.
                124 * MINUTE,
                // FinWait and CloseWait: one side may still send for long, and with pauses, so more
                // than the minimum; yet a FIN that was not meant must not hold a session for hours.
                15 * MINUTE,
                15 * MINUTE,
                // Closing
                transitory,
                // TimeWait: unspecified by REQ-5; twice the segment lifetime that hosts reckon with.
                2 * MINUTE,
                // Closed by RST: unspecified by REQ-5; only stragglers can follow.
                10 * SECOND,
            ],
            // RFC 4787 REQ-5: 2 minutes at least, 5 recommended. Unanswered senders get the minimum,
            // so that a scan does not hold its sessions for long.
            udp_new: 2 * MINUTE,
            udp_replied: 5 * MINUTE,
            // RFC 5508 REQ-2: 60 seconds at least.
            icmp: MINUTE,
            other: 10 * MINUTE,
            on_expiry: OnExpiry::Silent,
        }
    }
}

impl Timeouts {
    /// The shortest of all, in milliseconds.
    pub fn shortest(&self) -> u32 {
        let other = [self.udp_new, self.udp_replied, self.icmp, self.other];
        self.tcp.iter().chain(&other).copied().min().unwrap_or(0)
    }

    /// The lifetime of a session of this IP protocol in this state (`tcp::state::State` for TCP,
    /// `session::state` otherwise), in milliseconds.
    #[inline]
    pub fn of(&self, proto: u8, state: u8) -> u32 {
        match proto {
            TCP => self.tcp[usize::from(state) & 7],
            UDP if state == NEW => self.udp_new,
            UDP => self.udp_replied,
            ICMP | ICMPV6 => self.icmp,
            _ => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::state::REPLIED;
    use crate::tcp::state::State;

    #[test]
    fn defaults_keep_what_the_rfcs_promise() {
        let defaults = Timeouts::default();
        let tcp = |state: State| defaults.of(TCP, state as u8);
        // RFC 5382 REQ-5.
        assert!(tcp(State::Established) >= (2 * 60 + 4) * 60_000);
        for transitory in [
            State::SynSent,
            State::SynReceived,
            State::FinWait,
            State::CloseWait,
            State::Closing,
        ] {
            assert!(tcp(transitory) >= 4 * 60_000, "{transitory:?}");
        }
        // Pitfall 3: nothing but an open connection lives for hours.
        for state in State::ALL.iter().filter(|&&s| s != State::Established) {
            assert!(tcp(*state) <= 15 * 60_000, "{state:?}");
        }
        // RFC 4787 REQ-5, RFC 5508 REQ-2.
        assert!(defaults.of(UDP, NEW) >= 2 * 60_000);
        assert!(defaults.of(UDP, REPLIED) >= 5 * 60_000);
        assert!(defaults.of(ICMP, NEW) >= 60_000 && defaults.of(ICMPV6, REPLIED) >= 60_000);
        assert_eq!(defaults.of(47, NEW), defaults.other);
        assert_eq!(defaults.shortest(), 10_000);
    }
}
