//! `session.udp_new_per_s` and `session.tcp_cps`: sessions opened per second by one worker on memif,
//! source NAT.

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::profile::Profile;
use crate::rig::{self, Rig};
use crate::rounds::{Better, windows};
use crate::scenario;

/// Connections under way at a time.
const CONCURRENT: u32 = 1024;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    Ok(vec![udp(effort)?, tcp(effort)?])
}

/// First packets only: flows come one after the other, each for the first time. A window of the
/// generator begins with the first flow, so each round has an appliance of its own, and a table that
/// one window cannot fill.
fn udp(effort: &Effort) -> Result<Figure, Failed> {
    let sessions = scenario::LADDER[3];
    let config =
        |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], sessions, devices, scenario::LONG);
    let profile = Profile {
        random: false,
        warm_up: false,
        ..scenario::nat44_profile(sessions)
    };
    let mut opened = vec![];
    for _ in 0..effort.rounds {
        let rig = Rig::new()?;
        let measured = rig.sluice(config, &profile)?.measure()?;
        // Twice, for what is sent before the window.
        if 2 * measured.sent >= sessions as u64 {
            return Err(Failed("a window used up all flows".into()));
        }
        opened.push(measured.received_pps);
    }
    let figure = windows("session.udp_new_per_s", Better::More, &opened);
    Ok(figure.reach(Reach::AtLeast(3e6)))
}

/// Connections opened and closed by both ends, without data. They are remembered for a second after.
fn tcp(effort: &Effort) -> Result<Figure, Failed> {
    let brief = "\n[timeouts]\ntcp_time_wait = \"1s\"\n";
    let config =
        |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], scenario::LADDER[3], devices, brief);
    let rig = Rig::new()?;
    let mut sluice = rig.sluice(config, &scenario::tcp_profile(CONCURRENT))?;
    let mut completed = vec![];
    for _ in 0..effort.rounds {
        let measured = sluice.measure()?;
        if measured.failed > 0 {
            return Err(Failed(format!(
                "{} TCP connections failed",
                measured.failed
            )));
        }
        completed.push(measured.cps);
    }
    let figure = windows("session.tcp_cps", Better::More, &completed);
    Ok(figure.reach(Reach::AtLeast(6e5)))
}
