//! `nat44.*` and `lb_*.*`: packets per second through one worker, against testpmd on the same rig.

use super::{Effort, Failed};
use crate::figure::{Figure, Reach};
use crate::profile::Profile;
use crate::rig::{self, Rig};
use crate::rounds::{Better, windows};
use crate::scenario::{self, Balanced};

/// A name, sessions, and the share of testpmd's packets that should get through.
type Step = (&'static str, usize, f64);

/// Source NAT, up FD.io's ladder but for its last step.
pub(super) fn nat44(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    const STEPS: [Step; 4] = [
        ("64k", scenario::LADDER[0], 0.80),
        ("256k", scenario::LADDER[1], 0.0),
        ("1m", scenario::LADDER[2], 0.60),
        ("4m", scenario::LADDER[3], 0.50),
    ];
    ladder(effort, &STEPS)
}

/// The last step, which takes 3 GiB of huge pages that a machine may not have: the others' figures
/// must not depend on it.
pub(super) fn nat44_16m(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    ladder(effort, &[("16m", scenario::LADDER[4], 0.45)])
}

fn ladder(effort: &Effort, steps: &[Step]) -> Result<Vec<Figure>, Failed> {
    let mut figures = vec![];
    for &(name, sessions, reach) in steps {
        let config = |devices: [&str; 2]| {
            scenario::nat44(&rig::CORES[..1], sessions, devices, scenario::LONG)
        };
        let profile = scenario::nat44_profile(sessions);
        let name = format!("nat44.flows_{name}");
        figures.extend(measure(effort, &name, reach, config, &profile)?);
    }
    Ok(figures)
}

/// A virtual server with 16 real servers: destination NAT, and both ways.
pub(super) fn lb(effort: &Effort) -> Result<Vec<Figure>, Failed> {
    let (few, many) = (scenario::LADDER[0], scenario::LADDER[2]);
    let steps = [
        ("lb_dnat.flows_64k", few, Balanced::Dnat, 0.80),
        ("lb_dnat.flows_1m", many, Balanced::Dnat, 0.60),
        ("lb_fullnat.flows_1m", many, Balanced::FullNat, 0.60),
    ];
    let mut figures = vec![];
    for (name, sessions, mode, reach) in steps {
        let config = |devices: [&str; 2]| {
            scenario::balancer(&rig::CORES[..1], sessions, devices, mode, scenario::LONG)
        };
        let profile = scenario::balancer_profile(sessions);
        figures.extend(measure(effort, name, reach, config, &profile)?);
    }
    Ok(figures)
}

fn measure(
    effort: &Effort,
    name: &str,
    reach: f64,
    config: impl FnOnce([&str; 2]) -> String,
    profile: &Profile,
) -> Result<Vec<Figure>, Failed> {
    let rig = Rig::new()?;
    let mut sluice = rig.sluice(config, profile)?;
    let mut testpmd = rig.testpmd(profile)?;
    let rounds = rig::alternate(effort.rounds, &mut sluice, &mut testpmd)?;
    let mpps = |values: &[f64]| values.iter().map(|pps| pps / 1e6).collect::<Vec<_>>();
    let of = |figure: &str| format!("{name}.{figure}");
    let mut ratio = rounds.ratio(of("vs_mac"), Better::More, Reach::AtLeast(reach));
    if reach == 0.0 {
        ratio.reach = None;
    }
    Ok(vec![
        ratio,
        windows(of("mpps"), Better::More, &mpps(rounds.a())),
        windows(of("mac_mpps"), Better::More, &mpps(rounds.b())),
    ])
}
