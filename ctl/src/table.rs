//! Tables for people.

use std::io::{self, Write};

use serde_json::Value;

/// A column: its head, and whether it holds numbers.
pub(crate) type Column = (&'static str, bool);

/// Between two columns.
const GAP: &str = "  ";

/// Writes a table, numbers to the right.
pub(crate) fn table(
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let head = columns.iter().map(|&(head, _)| head.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |at: usize| {
        let cells = lines.iter().filter_map(|line| line.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(columns);
        let cells = cells.map(|((cell, &width), &(_, number))| match number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A value within a row.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A list within an answer.
pub(crate) fn list<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    answer[key].as_array().into_iter().flatten()
}

/// A number, 0 if there is none.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Milliseconds for people.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// A count in three digits or so: `12.3k`.
pub(crate) fn short(count: f64) -> String {
    let scales = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let scale = scales.iter().find(|&&(scale, _)| count >= scale);
    match scale {
        Some((scale, letter)) => format!("{:.1}{letter}", count / scale),
        None => format!("{count:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["web1", "5"], ["a", "12345"]].map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        table(&[("server", false), ("n", true)], rows, &mut out).expect("room");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "server      n\nweb1        5\na       12345\n");
    }

    #[test]
    fn durations_and_counts_are_short() {
        for (ms, text) in [
            (999, "0s"),
            (61_000, "1m01s"),
            (3_600_000, "1h00m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (count, text) in [(999.0, "999"), (1500.0, "1.5k"), (2.5e9, "2.5G")] {
            assert_eq!(short(count), text);
        }
    }
}
