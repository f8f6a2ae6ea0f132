//! Values that not everybody may read: keys, and what checks say to servers, which may be a login.
//!
//! Whoever may not see them finds [`HIDDEN`] in their place. Sent back, it means the value that is there: so
//! a configuration can be read, changed and written by somebody who never sees its secrets.

use serde_json::Value;

use super::diff::{Difference, key_of, value};
use super::edit::{Address, Part};
use super::place::Place;
use super::{Format, RawConfig, Source, text};

/// What stands where a secret is.
pub const HIDDEN: &str = "(not shown)";

/// Sections of the configuration, and their keys that are secret.
const SECRETS: [(&str, &[&str]); 2] = [
    ("ha", &["key", "next_key"]),
    ("health_check", &["send", "arguments"]),
];

fn keys_of(section: &str) -> &'static [&'static str] {
    let found = SECRETS.iter().find(|(name, _)| *name == section);
    found.map_or(&[], |(_, keys)| keys)
}

/// The same kind of value, without what it says.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => Value::Array(Vec::new()),
        Value::Array(_) => Value::Array(vec![HIDDEN.into()]),
        _ => HIDDEN.into(),
    }
}

fn is_hidden(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.len() == 1 && items[0] == HIDDEN,
        value => value == HIDDEN,
    }
}

/// Calls `each` with every secret that is in a section, or in a part of it.
fn each_in(value: &mut Value, keys: &[&str], each: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                match keys.contains(&key.as_str()) {
                    true => each(value),
                    false => each_in(value, keys, each),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_in(item, keys, each)),
        _ => {}
    }
}

fn each(whole: &mut Value, each: &mut impl FnMut(&mut Value)) {
    for (section, keys) in SECRETS {
        if let Some(section) = whole.get_mut(section) {
            each_in(section, keys, each);
        }
    }
}

/// Hides the secrets of a whole configuration.
pub fn hide(whole: &mut Value) {
    each(whole, &mut |secret| *secret = hidden(secret));
}

/// Hides the secrets of a part.
pub fn hide_part(address: &Address, part: &mut Value) {
    match address.0.first() {
        Some(Part::Key(section)) => {
            each_in(part, keys_of(section), &mut |secret| {
                *secret = hidden(secret)
            });
        }
        _ => hide(part),
    }
}

/// Hides the secrets of differences.
pub fn hide_differences(changes: &mut [Difference]) {
    for change in changes {
        let section = change.path.split(['.', '[']).next().unwrap_or_default();
        let keys = keys_of(section);
        let last = change.path.rsplit('.').next().unwrap_or_default();
        let is_secret = keys.contains(&last);
        for value in [&mut change.old, &mut change.new].into_iter().flatten() {
            match is_secret {
                true => *value = hidden(value),
                false => each_in(value, keys, &mut |secret| *secret = hidden(secret)),
            }
        }
    }
}

/// A configuration's TOML without its secrets. Comments stay, unless a secret is in them.
pub fn hide_text(toml: &str, config: &RawConfig) -> String {
    let mut whole = value(config);
    let mut secrets: Vec<String> = Vec::new();
    each(&mut whole, &mut |secret| {
        match &*secret {
            Value::Array(items) => secrets.extend(items.iter().filter_map(words)),
            one => secrets.extend(words(one)),
        }
        *secret = hidden(secret);
    });
    if secrets.is_empty() {
        return toml.to_owned();
    }
    // As it was, but for texts in place of texts.
    let Ok(config) = serde_json::from_value::<RawConfig>(whole) else {
        return String::new();
    };
    let with_comments = text::rewrite(toml, &config);
    let plain = toml::to_string_pretty(&config).unwrap_or_default();
    let count = |text: &str, secret: &str| text.matches(secret).count();
    let told = |secret: &String| count(&with_comments, secret) > count(&plain, secret);
    match secrets.iter().any(told) {
        true => plain,
        false => with_comments,
    }
}

fn words(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Puts the secrets of `known` where `new` has their mark, for the same item. Whether there was one.
fn reveal(new: &mut Value, known: &Value) -> bool {
    let mut revealed = false;
    for (section, keys) in SECRETS {
        let (Some(new), Some(known)) = (new.get_mut(section), known.get(section)) else {
            continue;
        };
        let mut both = |new: &mut Value, known: &Value| {
            for key in keys {
                if let Some(new) = new.get_mut(*key).filter(|value| is_hidden(value))
                    && let Some(known) = known.get(*key)
                {
                    *new = known.clone();
                    revealed = true;
                }
            }
        };
        match (new, known) {
            (Value::Array(new), Value::Array(known)) => {
                for item in new {
                    let name = key_of(item).map(str::to_owned);
                    let same = known.iter().find(|it| key_of(it) == name.as_deref());
                    if let Some(known) = same.filter(|_| name.is_some()) {
                        both(item, known);
                    }
                }
            }
            (new, known) => both(new, known),
        }
    }
    revealed
}

/// What somebody sent, with what is known in place of marks: `config` is what it replaces, `toml` its text.
/// What has no mark, or cannot be read, is given back as it is.
pub fn revealed(sent: Source, config: &RawConfig, toml: &str) -> Source {
    if !sent.text.contains(HIDDEN) {
        return sent;
    }
    let Ok(raw) = sent.parse() else {
        return sent;
    };
    let mut whole = value(&raw);
    if !reveal(&mut whole, &value(config)) {
        return sent;
    }
    if sent.format == Format::Json {
        return Source {
            text: whole.to_string(),
            ..sent
        };
    }
    if sent.text == hide_text(toml, config) {
        // To the byte, so that nothing counts as changed.
        return Source {
            text: toml.to_owned(),
            ..sent
        };
    }
    match serde_json::from_value::<RawConfig>(whole) {
        Ok(raw) => Source {
            text: text::rewrite(&sent.text, &raw),
            ..sent
        },
        Err(_) => sent,
    }
}

/// Refuses a mark for which there is no value.
pub(super) fn is_no_mark(text: &str, place: &Place<'_>) -> Option<()> {
    match text {
        HIDDEN => place.wrong(
            "the mark of a value that is not shown, and there is none that it could stand for",
            "write the value itself",
        ),
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::testing::WHOLE;

    const KEY: &str = "deadbeef0123456789abcdefdeadbeef0123456789abcdefdeadbeef01234567";

    fn with_secrets() -> String {
        format!(
            "{WHOLE}\n# kept\n[ha]\nnode = 1\npeer = 2\ndevice = \"net_memif9\"\nkey = '{KEY}' # behind\n\
             [[health_check]]\nname = \"cache\"\ntype = \"tcp\"\nsend = \"AUTH horse\"\n"
        )
    }

    fn raw(text: &str) -> RawConfig {
        Source::toml(text).parse().expect("a configuration")
    }

    #[test]
    fn what_is_hidden_can_be_sent_back() {
        let text = with_secrets();
        let shown = hide_text(&text, &raw(&text));
        assert!(!shown.contains(KEY) && !shown.contains("horse"), "{shown}");
        assert!(
            shown.contains("# kept") && shown.contains("# behind"),
            "{shown}"
        );
        assert_eq!(shown.matches(HIDDEN).count(), 2);
        let back = |sent: &str| revealed(Source::toml(sent), &raw(&text), &text);
        assert_eq!(back(&shown).text, text, "to the byte");
        let changed = back(&shown.replace("node = 1", "node = 3"));
        let changed = raw(&changed.text);
        let ha = changed.ha.expect("a section");
        assert_eq!((ha.node, ha.key.as_deref()), (Some(3), Some(KEY)));
        let mut whole = value(&raw(&text));
        hide(&mut whole);
        assert_eq!(whole["ha"]["key"], HIDDEN);
        let json = revealed(Source::json(whole.to_string()), &raw(&text), &text);
        assert_eq!(json.parse().expect("good"), raw(&text));
        // Without secrets there is nothing to do.
        assert_eq!(hide_text(WHOLE, &raw(WHOLE)), WHOLE);
    }

    #[test]
    fn a_mark_that_stands_for_nothing_is_refused() {
        let text = with_secrets();
        let shown = hide_text(&text, &raw(&text));
        let renamed = shown.replace("name = \"cache\"", "name = \"other\"");
        let sent = revealed(Source::toml(renamed), &raw(&text), &text);
        let why = Config::read(sent).expect_err("no value").to_string();
        assert!(
            why.contains("health_check[0].send: the mark of a value"),
            "{why}"
        );
        let why = Config::read(Source::toml(shown))
            .expect_err("no value")
            .to_string();
        assert!(why.contains("ha.key: the mark of a value"), "{why}");
    }

    #[test]
    fn a_comment_that_tells_a_secret_is_not_shown() {
        let text = format!("# the key is {KEY}\n{}", with_secrets());
        let shown = hide_text(&text, &raw(&text));
        assert!(!shown.contains(KEY), "{shown}");
        assert_eq!(shown.matches(HIDDEN).count(), 2);
    }

    #[test]
    fn differences_and_parts_have_no_secrets() {
        let (old, new) = (raw(WHOLE), raw(&with_secrets()));
        let mut other = new.clone();
        other.health_check[0].send = Some("AUTH mule".to_owned());
        other.health_check[0].arguments = Some(vec!["mule".to_owned()]);
        for (from, to) in [(&old, &new), (&new, &old), (&new, &other)] {
            let mut changes = crate::config::diff::diff(from, to);
            assert!(!changes.is_empty());
            hide_differences(&mut changes);
            let told = json!(changes).to_string();
            for secret in [KEY, "horse", "mule"] {
                assert!(!told.contains(secret), "{told}");
            }
            assert!(told.contains(HIDDEN), "{told}");
        }
        let address = Address(vec![
            Part::Key("health_check"),
            Part::Item("cache".to_owned()),
        ]);
        let mut part = json!({ "name": "cache", "send": "x", "arguments": ["a", "b"], "key": "k" });
        hide_part(&address, &mut part);
        let wanted = json!({ "name": "cache", "send": HIDDEN, "arguments": [HIDDEN], "key": "k" });
        assert_eq!(part, wanted);
    }

    /// A key whose name sounds like a secret is one, or is known to be none.
    #[test]
    fn no_secret_was_forgotten() {
        let harmless = [
            "log.syslog.key",
            "ha.key_file",
            "ha.next_key_file",
            "port.rss_key",
        ];
        let document = crate::api::document();
        let schemas = &document["components"]["schemas"];
        let mut seen = 0;
        let mut walk = vec![(String::new(), "RawConfig".to_owned())];
        while let Some((path, name)) = walk.pop() {
            let properties = schemas[&name]["properties"].as_object();
            for (key, schema) in properties.into_iter().flatten() {
                let path = match path.as_str() {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let text = schema.to_string();
                for part in text.split("#/components/schemas/").skip(1) {
                    let name = part.split('"').next().unwrap_or_default();
                    if name.starts_with("Raw") {
                        walk.push((path.clone(), name.to_owned()));
                    }
                }
                seen += 1;
                let sounds = ["key", "secret", "password", "token", "psk", "community"];
                let section = path.split('.').next().unwrap_or_default();
                if sounds.iter().any(|it| key.contains(it)) {
                    assert!(
                        keys_of(section).contains(&key.as_str()) || harmless.contains(&&*path),
                        "is {path} a secret?"
                    );
                }
            }
        }
        assert!(seen > 150, "{seen}");
    }
}
