//! `session.udp_new_per_s` and `session.tcp_cps`: sessions opened per second by one worker on memif,
//! source NAT; beside them what testpmd, which opens nothing, forwards of the same traffic.

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::profile::Profile;
use crate::rig::{self, Rig};
use crate::rounds::{Better, Rounds, windows};
use crate::scenario;

/// Connections under way at a time.
const CONCURRENT: u32 = 1024;
/// Sessions to reach.
const REACH: f64 = 3e6;
/// The same for each packet that testpmd forwards: it forwarded 13.4 million on the machine that the
/// reach was set on, and machines differ.
const REACH_OF_MAC: f64 = 0.22;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let mut figures = udp(effort)?;
    figures.extend(tcp(effort)?);
    Ok(figures)
}

/// First packets only: flows come one after the other, each for the first time. A window of the
/// generator begins with the first flow, so each round has an appliance of its own, and a table that
/// one window cannot fill.
fn udp(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let sessions = scenario::LADDER[3];
    let config =
        |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], sessions, devices, scenario::LONG);
    let profile = Profile {
        random: false,
        warm_up: false,
        ..scenario::nat44_profile(sessions)
    };
    let beside = Rig::new()?;
    let mut testpmd = beside.testpmd(&profile)?;
    let mut rounds = Rounds::default();
    for _ in 0..effort.rounds {
        let rig = Rig::new()?;
        let measured = rig.sluice(config, &profile)?.measure()?;
        // Twice, for what is sent before the window.
        if 2 * measured.sent >= sessions as u64 {
            return Err(Failed("a window used up all flows".into()));
        }
        rounds.push(measured.received_pps, testpmd.measure()?.received_pps);
    }
    let name = "session.udp_new_per_s";
    Ok(vec![
        windows(name, Better::More, rounds.a()).reach(Reach::AtLeast(REACH)),
        rounds.ratio(
            format!("{name}.vs_mac"),
            Better::More,
            Reach::AtLeast(REACH_OF_MAC),
        ),
        windows(format!("{name}.mac_pps"), Better::More, rounds.b()),
    ])
}

/// Connections opened and closed by both ends, without data. They are remembered for a second after.
fn tcp(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let brief = "\n[timeouts]\ntcp_time_wait = \"1s\"\n";
    let config =
        |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], scenario::LADDER[3], devices, brief);
    let rig = Rig::new()?;
    let profile = scenario::tcp_profile(CONCURRENT);
    let mut sluice = rig.sluice(config, &profile)?;
    let mut testpmd = rig.testpmd(&profile)?;
    let mut rounds = Rounds::default();
    for _ in 0..effort.rounds {
        let (ours, mac) = (sluice.measure()?, testpmd.measure()?);
        let failed = ours.failed + mac.failed;
        if failed > 0 {
            return Err(Failed(format!("{failed} TCP connections failed")));
        }
        rounds.push(ours.cps, mac.cps);
    }
    let name = "session.tcp_cps";
    let mut ratio = rounds.ratio(format!("{name}.vs_mac"), Better::More, Reach::AtLeast(0.0));
    ratio.reach = None;
    Ok(vec![
        windows(name, Better::More, rounds.a()).reach(Reach::AtLeast(6e5)),
        ratio,
        windows(format!("{name}.mac_cps"), Better::More, rounds.b()),
    ])
}
