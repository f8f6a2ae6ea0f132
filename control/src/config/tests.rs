//! What is wrong is said with its place; what is right comes back as it was.

mod docs;
mod errors;
mod ha;
mod ha_tunnel;
mod health;
mod round_trips;

use super::*;

/// A configuration that uses every section once.
const WHOLE: &str = include_str!("tests/whole.toml");

fn problems(text: &str) -> Vec<String> {
    match Config::read(Source::toml(text)) {
        Ok(_) => Vec::new(),
        Err(why) => why.problems.iter().map(ToString::to_string).collect(),
    }
}
