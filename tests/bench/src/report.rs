//! The report: for programs, for people, and as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::figure::Figure;
use crate::groups::Failed;

mod machine;
mod plot;

/// Writes `report.json`, `report.txt` and, if there is something to draw, `sessions.svg` to `out`.
pub(crate) fn write(out: &Path, figures: &[Figure]) -> Result<(), Failed> {
    fs::create_dir_all(out)?;
    let mut json = serde_json::to_vec_pretty(&flat(figures))?;
    json.push(b'\n');
    fs::write(out.join("report.json"), json)?;
    fs::write(out.join("report.txt"), text(figures))?;
    plot::sessions(&out.join("sessions.svg"), figures)
}

/// Every number by its name; medians as `<figure>.median`.
fn flat(figures: &[Figure]) -> BTreeMap<String, f64> {
    let mut flat = BTreeMap::new();
    for figure in figures {
        flat.insert(figure.name.clone(), figure.value);
        if let Some(median) = figure.median {
            flat.insert(format!("{}.median", figure.name), median);
        }
    }
    flat
}

fn text(figures: &[Figure]) -> String {
    let mut text = machine::description();
    text.push('\n');
    let _ = writeln!(
        text,
        "  {:44} {:>12} {:>12} {:>9}",
        "figure", "value", "median", "reach"
    );
    let (held, told): (Vec<_>, Vec<_>) = figures.iter().partition(|figure| figure.reach.is_some());
    text.push_str(&lines(held));
    text.push('\n');
    text.push_str(&lines(told));
    text
}

/// A line for each figure.
pub(crate) fn lines<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> String {
    let mut text = String::new();
    for figure in figures {
        let median = figure.median.map(number).unwrap_or_default();
        let _ = write!(
            text,
            "  {:44} {:>12} {median:>12}",
            figure.name,
            number(figure.value)
        );
        if let Some(reach) = figure.reach {
            let verdict = if reach.met(figure.value) { "yes" } else { "NO" };
            let _ = write!(text, " {:>9} {verdict}", reach.to_string());
        }
        text.push('\n');
    }
    text
}

/// Four digits are more than can be measured.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.1}"),
        large if large >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Reach;

    #[test]
    fn medians_stand_beside_their_figures() {
        let figures = [
            Figure::told("a", 0.5)
                .median(0.4)
                .reach(Reach::AtLeast(0.8)),
            Figure::told("b", 12345.6),
        ];
        let flat = flat(&figures);
        let flat: Vec<_> = flat
            .iter()
            .map(|(name, &value)| (name.as_str(), value))
            .collect();
        assert_eq!(flat, [("a", 0.5), ("a.median", 0.4), ("b", 12345.6)]);
        let lines = lines(&figures);
        assert!(lines.contains(">= 0.8 NO"), "{lines}");
        assert!(lines.contains("12346"), "{lines}");
    }
}
