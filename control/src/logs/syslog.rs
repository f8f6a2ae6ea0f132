//! A line as a syslog message (RFC 5424).

use std::fmt::Write;

use serde_json::Value;

use super::Line;

/// Bytes of a datagram at most: what every receiver should take (RFC 5426, section 3.2).
pub(super) const DATAGRAM: usize = 2048;

/// A message, without framing. `host` is the appliance's name.
pub(super) fn message(line: &Line, facility: u8, host: &str) -> String {
    let priority = u32::from(facility) * 8 + u32::from(line.level.severity());
    let process = std::process::id();
    // Names of Rust's modules are printable ASCII; 32 characters are what there is room for.
    let target = line.target.rsplit("::").next().unwrap_or_default();
    let target: String = target
        .chars()
        .filter(char::is_ascii_graphic)
        .take(32)
        .collect();
    let target = if target.is_empty() { "-" } else { &target };
    let mut text = format!(
        "<{priority}>1 {} {} sluice {process} {target} ",
        line.time,
        name(host, 255)
    );
    if line.fields.is_empty() {
        text.push('-');
    } else {
        // The number is the one for examples (RFC 5612): we have none of our own.
        text.push_str("[fields@32473");
        for (key, value) in &line.fields {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // Writing into a text cannot fail.
            let _ = write!(text, " {}=\"{}\"", name(key, 32), escaped(&value));
        }
        text.push(']');
    }
    text.push(' ');
    // A line break would be another message to some receivers.
    text.extend(
        line.message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c }),
    );
    text
}

/// Printable ASCII without what has a meaning of its own; `-` where nothing is left.
fn name(text: &str, most: usize) -> String {
    let good = |c: &char| c.is_ascii_graphic() && !"=]\"".contains(*c);
    let name: String = text.chars().filter(good).take(most).collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

/// A value of a parameter (section 6.3.3).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\"\\]".contains(c) {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

/// As a datagram: cut off where it is too long.
pub(super) fn datagram(message: &str) -> &[u8] {
    let end = (0..=DATAGRAM.min(message.len()))
        .rev()
        .find(|&at| message.is_char_boundary(at));
    &message.as_bytes()[..end.unwrap_or(0)]
}

/// Within a stream: octet counting (RFC 6587, section 3.4.1).
pub(super) fn framed(message: &str) -> Vec<u8> {
    format!("{} {message}", message.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logs::Level;

    fn line(message: &str, fields: Value) -> Line {
        let Value::Object(fields) = fields else {
            panic!("not an object");
        };
        Line {
            id: 1,
            time: "2025-06-15T15:06:40.123Z".to_owned(),
            level: Level::Warn,
            target: "sluice_control::controller".to_owned(),
            message: message.to_owned(),
            fields,
        }
    }

    #[test]
    fn a_message_is_what_the_rfc_says() {
        let process = std::process::id();
        let line = line("link is\ndown", json!({ "device": "a]b\"c\\d", "n": 5 }));
        assert_eq!(
            message(&line, 16, "lab a"),
            format!(
                "<132>1 2025-06-15T15:06:40.123Z laba sluice {process} controller \
                 [fields@32473 device=\"a\\]b\\\"c\\\\d\" n=\"5\"] link is down"
            )
        );
        assert_eq!(framed("äb"), "3 äb".as_bytes());
    }

    #[test]
    fn without_values_there_is_a_dash_and_datagrams_end_between_characters() {
        let plain = message(&line("up", json!({})), 3, "");
        assert!(plain.starts_with("<28>1 2025-06-15T15:06:40.123Z - sluice "));
        assert!(plain.ends_with(" controller - up"), "{plain}");
        let long = "ä".repeat(2000);
        let cut = datagram(&long);
        assert_eq!((cut.len(), std::str::from_utf8(cut).is_ok()), (2048, true));
        let odd = format!("x{long}");
        assert_eq!(datagram(&odd).len(), 2047);
    }
}
