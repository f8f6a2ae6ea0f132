//! `latency.*`: how long packets take at half of the load that Sluice carries, against testpmd at
//! the same load.

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::profile::Profile;
use crate::rig::{self, Rig};
use crate::rounds::{Better, Rounds, windows};
use crate::scenario;

/// Windows that find out what Sluice carries.
const SOUNDINGS: usize = 3;

pub(super) fn run(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let sessions = scenario::LADDER[0];
    let config =
        |devices: [&str; 2]| scenario::nat44(&rig::CORES[..1], sessions, devices, scenario::LONG);
    let flat_out = scenario::nat44_profile(sessions);
    let most = {
        let rig = Rig::new()?;
        let mut sluice = rig.sluice(config, &flat_out)?;
        let mut most = vec![];
        for _ in 0..SOUNDINGS {
            most.push(sluice.measure()?.received_pps);
        }
        Better::More.best(&most)
    };
    let profile = Profile {
        rate: Some(most / 2.0),
        latency: true,
        ..flat_out
    };
    let rig = Rig::new()?;
    let mut sluice = rig.sluice(config, &profile)?;
    let mut testpmd = rig.testpmd(&profile)?;
    let mut taken: [Rounds; 3] = Default::default();
    for _ in 0..effort.rounds {
        let (ours, theirs) = (sluice.measure()?.latency, testpmd.measure()?.latency);
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return Err(Failed("no packet had a time stamp".into()));
        };
        taken[0].push(ours.p50, theirs.p50);
        taken[1].push(ours.p99, theirs.p99);
        taken[2].push(ours.p999, theirs.p999);
    }
    let mut figures = vec![Figure::told("latency.half_load_mpps", most / 2e6)];
    for (name, rounds) in ["p50", "p99", "p999"].into_iter().zip(&taken) {
        let name = format!("latency.{name}_us_at_half_load");
        let least = Better::Less.best(rounds.b());
        let ours = windows(&name, Better::Less, rounds.a());
        figures.push(ours.reach(Reach::AtMost(2.0 * least)));
        figures.push(windows(format!("{name}.testpmd"), Better::Less, rounds.b()));
        figures.push(rounds.ratio(
            format!("{name}.vs_testpmd"),
            Better::Less,
            Reach::AtMost(2.0),
        ));
    }
    Ok(figures)
}
