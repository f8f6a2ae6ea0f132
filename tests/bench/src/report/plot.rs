//! A picture: packets per second by the number of sessions.

use std::path::Path;

use plotters::prelude::*;

use crate::figure::Figure;
use crate::groups::Failed;
use crate::scenario::LADDER;

/// The names of the ladder's steps in figures.
const NAMES: [&str; LADDER.len()] = ["64k", "256k", "1m", "4m", "16m"];

/// Draws what there is of `nat44.flows_*`; nothing, if there is nothing.
pub(super) fn sessions(path: &Path, figures: &[Figure]) -> Result<(), Failed> {
    let line = |what: &str| -> Vec<(f64, f64)> {
        let point = |(name, sessions): (&str, usize)| {
            let name = format!("nat44.flows_{name}.{what}");
            let figure = figures.iter().find(|figure| figure.name == name)?;
            Some((sessions as f64, figure.value))
        };
        NAMES.into_iter().zip(LADDER).filter_map(point).collect()
    };
    let (ours, theirs) = (line("mpps"), line("mac_mpps"));
    if ours.is_empty() {
        return Ok(());
    }
    draw(path, &ours, &theirs).map_err(|why| Failed(why.to_string()))
}

fn draw(
    path: &Path,
    ours: &[(f64, f64)],
    theirs: &[(f64, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let top = ours
        .iter()
        .chain(theirs)
        .fold(1.0, |top: f64, point| top.max(point.1));
    let sessions = LADDER[0] as f64..LADDER[LADDER.len() - 1] as f64;
    let area = SVGBackend::new(path, (800, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Source NAT, 64-byte UDP, one worker", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(sessions.log_scale(), 0.0..top * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("sessions")
        .y_desc("million packets per second")
        .x_label_formatter(&|sessions| format!("{sessions:.0}"))
        .draw()?;
    for (name, line, colour) in [
        ("Sluice", ours, RGBColor(0, 90, 160)),
        ("testpmd, mac forwarding", theirs, RGBColor(150, 150, 150)),
    ] {
        let points = line.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sessions.svg");
        sessions(&path, &[]).unwrap();
        assert!(!path.exists());
        let figures = ["64k", "1m"].map(|name| {
            ["mpps", "mac_mpps"].map(|what| Figure::told(format!("nat44.flows_{name}.{what}"), 5.0))
        });
        sessions(&path, figures.as_flattened()).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        assert_eq!(svg.matches("<circle").count(), 4);
    }
}
