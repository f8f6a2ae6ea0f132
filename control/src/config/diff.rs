//! What differs between two configurations: value by value, with items of lists told by name.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::RawConfig;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// It is new.
    Add,
    /// It is gone.
    Remove,
    /// It is another one.
    Change,
    /// The items of a list have another order.
    Move,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// What became of the value.
    pub op: Op,
    /// Where, items of lists by name: `pool[web].server[web1].weight`.
    pub path: String,
    /// The value before; of `move` the names in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// The value after; of `move` the names in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// The differences, by key and in the order of lists.
pub fn diff(old: &RawConfig, new: &RawConfig) -> Vec<Difference> {
    let sections = old.sections_that_differ(new);
    let mut found = Vec::new();
    let [old, new] = [old, new].map(|it| value(&it.only(&sections)));
    values(String::new(), &old, &new, &mut found);
    found
}

/// A configuration as a tree of tables, lists and values.
pub fn value(config: &RawConfig) -> Value {
    // Plain structs of texts and numbers.
    serde_json::to_value(config).unwrap_or_default()
}

/// What tells items of a list apart: their name, or the network of a route.
pub fn key_of(item: &Value) -> Option<&str> {
    let key = item
        .get("name")
        .or_else(|| item.get("to").filter(|_| item.get("from").is_none()));
    key?.as_str()
}

fn values(path: String, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => tables(&path, old, new, found),
        (Value::Array(old_items), Value::Array(new_items)) => {
            match (keys(old_items), keys(new_items)) {
                (Some(old_keys), Some(new_keys)) => {
                    lists(&path, (old_items, &old_keys), (new_items, &new_keys), found);
                }
                _ => changed(path, old, new, found),
            }
        }
        _ => changed(path, old, new, found),
    }
}

fn changed(path: String, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    if old != new {
        found.push(Difference {
            op: Op::Change,
            path,
            old: Some(old.clone()),
            new: Some(new.clone()),
        });
    }
}

fn one(op: Op, path: String, value: &Value) -> Difference {
    let (old, new) = match op {
        Op::Remove => (Some(value.clone()), None),
        _ => (None, Some(value.clone())),
    };
    Difference { op, path, old, new }
}

fn tables(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let at = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    for (key, value) in old {
        match new.get(key) {
            Some(other) => values(at(key), value, other, found),
            // A list without items is not written, and stands for one that is.
            None if keys_of_list(value).is_some() => {
                values(at(key), value, &Value::Array(Vec::new()), found);
            }
            None => found.push(one(Op::Remove, at(key), value)),
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        match keys_of_list(value) {
            Some(_) => values(at(key), &Value::Array(Vec::new()), value, found),
            None => found.push(one(Op::Add, at(key), value)),
        }
    }
}

fn keys_of_list(value: &Value) -> Option<Vec<&str>> {
    keys(value.as_array()?)
}

/// The keys of all items, if each has one of its own.
fn keys(items: &[Value]) -> Option<Vec<&str>> {
    let keys: Vec<&str> = items.iter().map(key_of).collect::<Option<_>>()?;
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == keys.len()).then_some(keys)
}

type Keyed<'a> = (&'a [Value], &'a [&'a str]);

fn lists(path: &str, old: Keyed<'_>, new: Keyed<'_>, found: &mut Vec<Difference>) {
    let position = |(_, keys): Keyed<'_>| -> std::collections::HashMap<String, usize> {
        let keys = keys.iter().enumerate();
        keys.map(|(at, key)| ((*key).to_owned(), at)).collect()
    };
    let (in_old, in_new) = (position(old), position(new));
    for (item, key) in old.0.iter().zip(old.1) {
        let path = format!("{path}[{key}]");
        match in_new.get(*key) {
            Some(&at) => values(path, item, &new.0[at], found),
            None => found.push(one(Op::Remove, path, item)),
        }
    }
    for (item, key) in new.0.iter().zip(new.1) {
        if !in_old.contains_key(*key) {
            found.push(one(Op::Add, format!("{path}[{key}]"), item));
        }
    }
    let stayed = |keys: &[&str], other: &std::collections::HashMap<String, usize>| -> Vec<Value> {
        let keys = keys.iter().filter(|key| other.contains_key(**key));
        keys.map(|key| Value::from(*key)).collect()
    };
    let (before, after) = (stayed(old.1, &in_new), stayed(new.1, &in_old));
    if before != after {
        found.push(Difference {
            op: Op::Move,
            path: path.to_owned(),
            old: Some(Value::Array(before)),
            new: Some(Value::Array(after)),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Source;
    use crate::testing::WHOLE;

    fn raw(text: &str) -> RawConfig {
        Source::toml(text)
            .parse()
            .unwrap_or_else(|why| panic!("{why}"))
    }

    fn to(text: &str) -> Value {
        json!(diff(&raw(WHOLE), &raw(text)))
    }

    #[test]
    fn values_are_named_by_where_they_are() {
        assert_eq!(to(WHOLE), json!([]));
        assert_eq!(
            to(&WHOLE.replace("weight = 3", "weight = 4")),
            json!([{ "op": "change", "path": "pool[web].server[web1].weight", "old": 3, "new": 4 }])
        );
        assert_eq!(
            to(&WHOLE.replace("strict_window = true\n", "")),
            json!([{ "op": "remove", "path": "tcp.strict_window", "old": true }])
        );
        assert_eq!(
            to(&WHOLE.replace("via = \"203.0.113.254\"", "via = \"203.0.113.253\"")),
            json!([{ "op": "change", "path": "route[0.0.0.0/0].via",
                     "old": "203.0.113.254", "new": "203.0.113.253" }])
        );
    }

    #[test]
    fn items_that_come_and_go_do_not_touch_the_others() {
        let more = format!("{WHOLE}\n[[pool]]\nname = \"mail\"\n");
        assert_eq!(
            to(&more),
            json!([{ "op": "add", "path": "pool[mail]", "new": { "name": "mail" } }])
        );
        let back = json!(diff(&raw(&more), &raw(WHOLE)));
        assert_eq!(
            back,
            json!([{ "op": "remove", "path": "pool[mail]", "old": { "name": "mail" } }])
        );
        let (head, _) = WHOLE.split_once("[[static_nat]]").expect("it is there");
        let (_, tail) = WHOLE.split_once("[[forward]]").expect("it is there");
        let without = to(&format!("{head}[[forward]]{tail}"));
        assert_eq!(
            (&without[0]["op"], &without[0]["path"]),
            (&json!("remove"), &json!("static_nat[mail]"))
        );
    }

    #[test]
    fn order_matters_and_is_told() {
        let mut turned = raw(WHOLE);
        turned.snat.reverse();
        assert_eq!(
            json!(diff(&raw(WHOLE), &turned)),
            json!([{ "op": "move", "path": "snat", "old": ["not-to-dmz", "internet"],
                     "new": ["internet", "not-to-dmz"] }])
        );
    }
}
