//! Lengths of time: `"30s"`, `"2h4m"`, `"1h 30m"`, `"500ms"`.

use sluice_dataplane::session::table::MAX_TIMEOUT;

use super::place::Place;

const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// The longest: session tables tell times apart for some 12 days.
const LONGEST_MS: u64 = 12 * 86_400_000;
const _: () = assert!(LONGEST_MS <= MAX_TIMEOUT as u64);
const SHORTEST_MS: u64 = 100;

/// Milliseconds of a length of time from 100 ms to 12 days.
pub(super) fn milliseconds(text: &str, place: &Place<'_>) -> Option<u32> {
    let Some(ms) = parse(text) else {
        return place.wrong(
            format_args!("{text:?} is not a length of time"),
            "write one like \"30s\", \"5m\" or \"2h4m\" (units: ms, s, m, h, d)",
        );
    };
    match u32::try_from(ms) {
        Ok(short) if (SHORTEST_MS..=LONGEST_MS).contains(&ms) => Some(short),
        _ => place.wrong(
            format_args!("{text:?} is out of range"),
            "write a length of time from \"100ms\" to \"12d\"",
        ),
    }
}

/// Milliseconds of any length of time.
pub fn parse(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        rest = tail.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_lengths() {
        for (text, ms) in [
            ("30s", Some(30_000)),
            ("2h4m", Some(7_440_000)),
            ("1h 30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1d", Some(86_400_000)),
            ("90 s", Some(90_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("3w", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse(text), ms, "{text:?}");
        }
    }
}
