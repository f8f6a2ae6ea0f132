//! Rendezvous hashing (highest random weight, Thaler and Ravishankar 1998), weighted.
//!
//! Every pair of client and server draws a number, and the client goes to the server with the best.
//! A server that leaves moves its own clients only, one that comes takes its share evenly.

use super::{hash, share};
use crate::snapshot::{RealServer, ServerId};

/// The members that may take sessions, with what their draws need.
#[derive(Debug, Clone, Default)]
pub struct Rendezvous {
    members: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name: u64,
    weight: f64,
    server: ServerId,
}

impl Rendezvous {
    /// Those of `members` that may take sessions. Allocates: control's work.
    pub fn build(members: &[ServerId], servers: &[Option<RealServer>]) -> Self {
        Self::weighted(members, servers, |id| share(servers, id))
    }

    /// The same with other weights than the servers'; those of weight 0 are left out.
    pub fn weighted(
        members: &[ServerId],
        servers: &[Option<RealServer>],
        weight: impl Fn(ServerId) -> u16,
    ) -> Self {
        let entry = |&id: &ServerId| {
            let server = servers.get(usize::from(id.0))?.as_ref()?;
            let weight = weight(id);
            (weight > 0).then(|| Entry {
                name: hash::of_name(&server.name, 0),
                weight: f64::from(weight),
                server: id,
            })
        };
        Self {
            members: members.iter().filter_map(entry).collect(),
        }
    }

    /// The server for a client's hash, of those for which there is `room`; `None` when there is none.
    pub fn get(&self, client: u64, room: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        let mut best = None;
        for entry in self.members.iter().filter(|entry| room(entry.server)) {
            // -ln(u) / weight is exponential with that rate: the least of several is this server's
            // with a probability of its weight over all weights.
            let draw = neg_ln(hash::spread(client ^ entry.name)) / entry.weight;
            if best.is_none_or(|(least, _)| draw < least) {
                best = Some((draw, entry.server));
            }
        }
        best.map(|(_, server)| server)
    }
}

/// -ln(u), where u in (0, 1) is made of the upper 52 bits.
///
/// In basic operations only, which IEEE 754 rounds alike everywhere. A library's logarithm may
/// differ in its last bit from one machine to the next, and with it two appliances' choices.
fn neg_ln(bits: u64) -> f64 {
    // u = (k + 1/2) / 2^52 = mantissa * 2^exponent with the mantissa in [1, 2).
    let twice = (bits >> 12) * 2 + 1;
    let top = 63 - twice.leading_zeros();
    let mantissa = twice as f64 / (1_u64 << top) as f64;
    let exponent = f64::from(53 - top);
    // ln(m) = 2 artanh((m - 1) / (m + 1)), taken about 1 from both sides, so that a u close to 1
    // keeps its precision.
    let (mantissa, exponent) = if mantissa > std::f64::consts::SQRT_2 {
        (mantissa / 2.0, exponent - 1.0)
    } else {
        (mantissa, exponent)
    };
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
        .iter()
        .fold(0.0, |sum, odd| sum * s2 + 1.0 / odd);
    exponent * std::f64::consts::LN_2 - 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_at_both_ends() {
        for bits in [
            0,
            1 << 11,
            1 << 40,
            1 << 62,
            1 << 63,
            !0 << 20,
            !0 << 12,
            !0,
        ] {
            let u = ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
            let (ours, exact) = (neg_ln(bits), -u.ln());
            assert!(
                (ours - exact).abs() <= 1e-8 * exact,
                "{bits:x}: {ours} {exact}"
            );
            assert!(ours > 0.0, "{bits:x}");
        }
    }

    #[test]
    fn the_logarithm_falls_from_step_to_step() {
        let mut last = f64::INFINITY;
        for step in 0..100_000_u64 {
            let next = neg_ln(step * (u64::MAX / 100_000));
            assert!(next < last, "{step}");
            last = next;
        }
    }
}
