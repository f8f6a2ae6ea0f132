//! Changing a TOML text no more than a change of its values asks for: comments and order stay.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::diff::{key_of, value};
use super::{RawConfig, Source};

/// `text` with the values of `config`. Where that cannot be had, a text without comments.
pub fn rewrite(text: &str, config: &RawConfig) -> String {
    let edited = text.parse::<DocumentMut>().ok().map(|mut document| {
        if let Json::Object(new) = value(config) {
            table(document.as_table_mut(), &new);
        }
        document.to_string()
    });
    let means_it = |text: &String| Source::toml(text.as_str()).parse().as_ref() == Ok(config);
    // Serialising plain structs of texts and numbers cannot fail.
    let plain = || toml::to_string_pretty(config).unwrap_or_default();
    edited.filter(means_it).unwrap_or_else(plain)
}

fn table(old: &mut dyn TableLike, new: &Map<String, Json>) {
    let gone: Vec<String> = old
        .iter()
        .filter(|(key, _)| !new.contains_key(*key))
        .map(|(key, _)| key.to_owned())
        .collect();
    for key in gone {
        old.remove(&key);
    }
    for (key, new) in new {
        match old.get_mut(key) {
            Some(old) => item(old, new),
            None => drop(old.insert(key, fresh_item(new))),
        }
    }
}

fn item(old: &mut Item, new: &Json) {
    if let Json::Object(new) = new
        && let Some(old) = old.as_table_like_mut()
    {
        return table(old, new);
    }
    match (&mut *old, new) {
        (Item::ArrayOfTables(tables), Json::Array(items)) => list(tables, items),
        (Item::Value(old), new) => {
            if json(old).as_ref() != Some(new) {
                let mut fresh = fresh(new);
                // A comment behind the value is part of its decoration.
                *fresh.decor_mut() = old.decor().clone();
                *old = fresh;
            }
        }
        _ => *old = fresh_item(new),
    }
}

fn list(old: &mut ArrayOfTables, new: &[Json]) {
    let name = |table: &Table| {
        let key = table.get("name").or_else(|| table.get("to"));
        key.and_then(Item::as_str).map(str::to_owned)
    };
    let known: Vec<(Option<String>, Table)> = old
        .iter()
        .map(|table| (name(table), table.clone()))
        .collect();
    let places: Vec<Option<usize>> = new
        .iter()
        .map(|item| {
            let key = key_of(item)?;
            known
                .iter()
                .position(|(name, _)| name.as_deref() == Some(key))
        })
        .collect();
    let in_order = places.iter().flatten().is_sorted();
    old.clear();
    for (item, place) in new.iter().zip(places) {
        let Json::Object(item) = item else { continue };
        let mut one = match place {
            Some(place) => known[place].1.clone(),
            None => Table::new(),
        };
        table(&mut one, item);
        if !in_order {
            one.set_position(None);
        }
        old.push(one);
    }
}

fn fresh_item(new: &Json) -> Item {
    match new {
        Json::Object(new) => {
            let mut fresh = Table::new();
            table(&mut fresh, new);
            Item::Table(fresh)
        }
        Json::Array(items) if !items.is_empty() && items.iter().all(|x| key_of(x).is_some()) => {
            let mut tables = ArrayOfTables::new();
            list(&mut tables, items);
            Item::ArrayOfTables(tables)
        }
        _ => Item::Value(fresh(new)),
    }
}

fn fresh(new: &Json) -> Value {
    match new {
        Json::Bool(value) => (*value).into(),
        Json::Number(value) => match value.as_i64() {
            Some(whole) => whole.into(),
            None => value.as_f64().unwrap_or_default().into(),
        },
        Json::String(value) => value.as_str().into(),
        Json::Array(items) => items.iter().map(fresh).collect::<Array>().into(),
        Json::Object(table) => {
            let pairs = table
                .iter()
                .map(|(key, value)| (key.as_str(), fresh(value)));
            pairs.collect::<InlineTable>().into()
        }
        Json::Null => "".into(),
    }
}

fn json(value: &Value) -> Option<Json> {
    match value {
        Value::String(text) => Some(text.value().as_str().into()),
        Value::Integer(number) => Some((*number.value()).into()),
        Value::Float(number) => Some((*number.value()).into()),
        Value::Boolean(value) => Some((*value.value()).into()),
        Value::Datetime(_) => None,
        Value::Array(items) => items
            .iter()
            .map(json)
            .collect::<Option<Vec<_>>>()
            .map(Json::from),
        Value::InlineTable(table) => {
            let pairs = table
                .iter()
                .map(|(key, value)| Some((key.to_owned(), json(value)?)));
            pairs.collect::<Option<Map<_, _>>>().map(Json::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::WHOLE;

    fn raw(text: &str) -> RawConfig {
        Source::toml(text)
            .parse()
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// WHOLE with a comment before every line and one behind it.
    fn commented() -> String {
        let lines = WHOLE.lines().enumerate();
        let lines = lines.map(|(n, line)| match line {
            "" => "\n".to_owned(),
            line => format!("# before {n}\n{line} # behind {n}\n"),
        });
        lines.collect()
    }

    #[test]
    fn what_does_not_change_stays_to_the_byte() {
        let text = commented();
        assert_eq!(rewrite(&text, &raw(WHOLE)), text);
    }

    #[test]
    fn only_the_line_that_changes_changes() {
        let text = commented();
        let wanted = text.replace("weight = 3", "weight = 4");
        let new = rewrite(&text, &raw(&WHOLE.replace("weight = 3", "weight = 4")));
        assert_eq!(new, wanted);
    }

    #[test]
    fn items_that_come_and_go_leave_the_comments_of_the_others() {
        let mut config = raw(WHOLE);
        let server = config.pool[0].server.remove(0);
        config.virtual_server[0].timeouts = None;
        config.route.insert(1, config.route[0].clone());
        config.route[1].to = Some("192.0.2.0/24".to_owned());
        config.snat.reverse();
        let new = rewrite(&commented(), &config);
        assert_eq!(raw(&new), config);
        assert!(
            !new.contains("weight = 3") && new.contains("name = \"web2\" # behind"),
            "{new}"
        );
        assert!(new.matches("# behind").count() > 100, "{new}");
        config.pool[0].server.push(server);
        assert_eq!(raw(&rewrite(&new, &config)), config);
    }

    #[test]
    fn a_text_that_is_none_is_written_anew() {
        assert_eq!(raw(&rewrite("= no TOML", &raw(WHOLE))), raw(WHOLE));
    }
}
