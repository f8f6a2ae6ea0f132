//! What the manual and the examples say is what the program does.

use std::collections::BTreeSet;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/configuration.md");
const QUICKSTART: &str = include_str!("../../../../docs/quickstart.md");

fn keys(value: &toml::Value, into: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

#[test]
fn the_manual_has_every_key() {
    let mut all = BTreeSet::new();
    let whole: toml::Value = toml::from_str(WHOLE).expect("TOML");
    keys(&whole, &mut all);
    let health: toml::Value = toml::from_str(super::health::HEALTH).expect("TOML");
    keys(&health, &mut all);
    all.extend(["masquerade", "dsr", "backoff", "maglev", "tcp_closed"].map(str::to_owned));
    for key in all {
        let is_there = MANUAL.contains(&format!("`{key}`"))
            || MANUAL.contains(&format!("[{key}]"))
            || MANUAL.contains(&format!(".{key}]"))
            || MANUAL.contains(&format!("\"{key}\""));
        assert!(is_there, "{key}");
    }
}

#[test]
fn whole_configurations_in_the_quickstart_are_right() {
    let blocks = QUICKSTART.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks
        .filter(|block| block.starts_with("[system]"))
        .collect();
    assert!(!whole.is_empty());
    for text in whole {
        assert_eq!(problems(text), [""; 0], "{text}");
    }
}
