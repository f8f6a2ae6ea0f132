//! Changes of a part of a configuration: one item of a list, or a section.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::diff::{key_of, value};
use super::{Path, RawConfig, Source};

/// One step to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The value of a key.
    Key(&'static str),
    /// The item of a list that has this name; of routes, to this network, however it is spelled; of
    /// networks, this one.
    Item(String),
    /// The item at this place of a list whose items have no names, from 0.
    Index(usize),
}

/// The way to a part: `pool`, item `web`, `server`, item `web1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub Vec<Part>);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if n == 0 => f.write_str(key)?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Item(name) => write!(f, "[{name}]")?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What to do with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Make it this value, whether or not it was there.
    Put(Value),
    /// Change what this names, and take out what is `null` (JSON Merge Patch, RFC 7396).
    Merge(Value),
    /// Take it out.
    Delete,
}

/// Where in its list an item goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Position {
    /// Where it is; a new one at the end.
    #[default]
    Keep,
    /// In front of all others.
    First,
    /// Behind all others.
    Last,
    /// Just before the one of this name.
    Before(String),
    /// Just behind the one of this name.
    After(String),
}

/// A change of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which part.
    pub address: Address,
    /// What to do with it.
    pub operation: Operation,
    /// Where it goes in its list.
    pub position: Position,
}

/// Why a part cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such part.
    #[error("there is no {0}")]
    Missing(String),
    /// The body cannot be what it is to be.
    #[error("{found}; {remedy}")]
    Body {
        /// JSON pointer (RFC 6901) into the body.
        pointer: String,
        /// What was found.
        found: String,
        /// What would do.
        remedy: String,
    },
}

/// The section of a change with it made, and where the part is, if it is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// A configuration of the changed section and no other as JSON, not checked.
    pub source: Source,
    /// The section; none if the part is the whole.
    pub section: Option<&'static str>,
    /// Where the part is.
    pub path: Option<Path>,
    /// Whether it was not there before.
    pub created: bool,
}

impl Edited {
    /// The whole of which [`source`](Self::source) is a section; `read` is what that says.
    pub fn over(&self, base: &RawConfig, read: RawConfig) -> RawConfig {
        match self.section {
            Some(section) => base.with(&[section], read),
            None => read,
        }
    }
}

/// The value of a part.
pub fn get(config: &RawConfig, address: &Address) -> Option<Value> {
    find(&tree(config, address), address)
}

/// As much of a configuration as a tree as there is to a part.
fn tree(config: &RawConfig, address: &Address) -> Value {
    match section(address) {
        Some(section) => value(&config.only(&[section])),
        None => value(config),
    }
}

fn section(address: &Address) -> Option<&'static str> {
    match address.0.first() {
        Some(Part::Key(key)) => Some(key),
        _ => None,
    }
}

/// The value of a part of a configuration as a tree.
fn find(whole: &Value, address: &Address) -> Option<Value> {
    let mut at = whole;
    for (n, part) in address.0.iter().enumerate() {
        at = match part {
            Part::Key(key) => match at.get(key) {
                Some(value) => value,
                // A list or table that is empty is not written.
                None if n + 1 == address.0.len() => return empty(address),
                None => return None,
            },
            // A list of one may be written without brackets.
            Part::Item(name) if at.is_string() => Some(at).filter(|item| is_named(item, name))?,
            Part::Item(name) => at.as_array()?.iter().find(|item| is_named(item, name))?,
            Part::Index(index) => at.as_array()?.get(*index)?,
        };
    }
    Some(at.clone())
}

/// The name of an item of a list; some are nothing but that.
fn name_of(item: &Value) -> Option<&str> {
    item.as_str().or_else(|| key_of(item))
}

/// Whether an item of a list is the one of this name. Networks are the same however they are spelled.
fn is_named(item: &Value, name: &str) -> bool {
    let network = |text: &str| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address)
    };
    name_of(item).is_some_and(|key| {
        key == name || network(key).is_some_and(|key| network(name) == Some(key))
    })
}

/// What a section is when nothing is written: all that end with a key are lists, but for these. Of some
/// it says something that they are not there.
fn empty(address: &Address) -> Option<Value> {
    const TABLES: [&str; 8] = [
        "system", "api", "log", "firewall", "timeouts", "tcp", "icmp", "alg",
    ];
    const SWITCHES: [&str; 2] = ["ha", "host"];
    match address.0.as_slice() {
        [Part::Key(key)] if SWITCHES.contains(key) => None,
        // Without it sessions may be opened from inside to outside.
        [Part::Key("firewall"), Part::Key("open")] => None,
        [Part::Key(key)] if TABLES.contains(key) => Some(Value::Object(Map::new())),
        _ => Some(Value::Array(Vec::new())),
    }
}

/// Changes a part.
///
/// # Errors
/// [`EditError`]; whether the outcome is a good configuration is another question.
pub fn apply(config: &RawConfig, edit: &Edit) -> Result<Edited, EditError> {
    let mut whole = tree(config, &edit.address);
    let before = find(&whole, &edit.address);
    let new = match &edit.operation {
        Operation::Put(new) => Some(new.clone()),
        Operation::Merge(patch) => {
            let mut new = before.clone().ok_or_else(|| missing(&edit.address))?;
            merge(&mut new, patch);
            Some(new)
        }
        Operation::Delete if before.is_none() => return Err(missing(&edit.address)),
        Operation::Delete => None,
    };
    let path = set(&mut whole, &edit.address, new, &edit.position)?;
    Ok(Edited {
        source: Source::json(whole.to_string()),
        section: section(&edit.address),
        path,
        created: before.is_none(),
    })
}

fn missing(address: &Address) -> EditError {
    EditError::Missing(address.to_string())
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            _ => merge(target.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn set(
    whole: &mut Value,
    address: &Address,
    new: Option<Value>,
    position: &Position,
) -> Result<Option<Path>, EditError> {
    let Some((last, way)) = address.0.split_last() else {
        *whole = new.unwrap_or_else(|| Value::Object(Map::new()));
        return Ok(Some(Path::default()));
    };
    let mut path = Path::default();
    let mut at = whole;
    for (n, part) in way.iter().enumerate() {
        match part {
            Part::Key(key) => {
                let list = matches!(address.0.get(n + 1), Some(Part::Item(_) | Part::Index(_)));
                let fresh = if list {
                    Value::Array(Vec::new())
                } else {
                    Value::Object(Map::new())
                };
                let table = at.as_object_mut().ok_or_else(|| missing(address))?;
                at = table.entry(*key).or_insert(fresh);
                if list && at.is_string() {
                    *at = Value::Array(vec![at.take()]);
                }
                path = path.key(key);
            }
            Part::Item(name) => {
                let items = at.as_array_mut().ok_or_else(|| missing(address))?;
                let index = items.iter().position(|item| is_named(item, name));
                let index = index.ok_or_else(|| missing(&Address(way[..=n].to_vec())))?;
                at = &mut items[index];
                path = path.index(index);
            }
            Part::Index(index) => {
                let items = at.as_array_mut().ok_or_else(|| missing(address))?;
                let gone = || missing(&Address(way[..=n].to_vec()));
                at = items.get_mut(*index).ok_or_else(gone)?;
                path = path.index(*index);
            }
        }
    }
    match last {
        Part::Key(key) => {
            let table = at.as_object_mut().ok_or_else(|| missing(address))?;
            match new {
                Some(new) => drop(table.insert((*key).to_owned(), new)),
                None => drop(table.remove(*key)),
            }
            Ok(Some(path.key(key)))
        }
        Part::Item(name) => {
            let key = match way.last() {
                Some(Part::Key("route")) => Some("to"),
                Some(Part::Key("networks")) => None,
                _ => Some("name"),
            };
            let items = at.as_array_mut().ok_or_else(|| missing(address))?;
            let known = items.iter().find(|item| is_named(item, name));
            let known = known.and_then(name_of).unwrap_or(name).to_owned();
            let new = new.map(|new| named(new, key, &known)).transpose()?;
            let index = place(items, name, new, position)?;
            Ok(index.map(|index| path.index(index)))
        }
        Part::Index(index) => {
            let items = at.as_array_mut().ok_or_else(|| missing(address))?;
            let there = *index < items.len();
            match new {
                Some(new) if there => items[*index] = new,
                // The next place is that of a new one.
                Some(new) if *index == items.len() => items.push(new),
                None if there => {
                    items.remove(*index);
                    return Ok(None);
                }
                _ => return Err(missing(address)),
            }
            Ok(Some(path.index(*index)))
        }
    }
}

/// An item has the name that its address says; one that is there already keeps the spelling of it.
fn named(mut item: Value, key: Option<&str>, name: &str) -> Result<Value, EditError> {
    let wrong = |pointer: String, found: String, remedy: String| EditError::Body {
        pointer,
        found,
        remedy,
    };
    let Some(key) = key else {
        // The address says it all.
        let nothing = item.is_null() || item.as_object().is_some_and(Map::is_empty);
        if nothing || (item.is_string() && is_named(&item, name)) {
            return Ok(Value::from(name));
        }
        let found = format!("{item}, and the address says {name:?}");
        return Err(wrong(String::new(), found, format!("write {name:?}")));
    };
    let Value::Object(table) = &mut item else {
        let found = "not an object".to_owned();
        return Err(wrong(String::new(), found, "send a JSON object".to_owned()));
    };
    let there = table.get(key).cloned();
    match there {
        None => {
            table.insert(key.to_owned(), Value::from(name));
        }
        Some(_) if is_named(&item, name) => {}
        Some(given) => {
            return Err(wrong(
                format!("/{key}"),
                format!("{given}, and the address says {name:?}"),
                format!("write {name:?}, or leave `{key}` out"),
            ));
        }
    }
    Ok(item)
}

fn place(
    items: &mut Vec<Value>,
    name: &str,
    new: Option<Value>,
    position: &Position,
) -> Result<Option<usize>, EditError> {
    let find = |items: &[Value], name: &str| items.iter().position(|x| is_named(x, name));
    let old = find(items, name);
    if let Some(index) = old {
        items.remove(index);
    }
    let Some(new) = new else { return Ok(None) };
    let other = |items: &[Value], other: &str| {
        let missing = || EditError::Missing(format!("{other} to put {name} beside"));
        find(items, other).ok_or_else(missing)
    };
    let index = match position {
        Position::Keep => old.unwrap_or(items.len()),
        Position::First => 0,
        Position::Last => items.len(),
        Position::Before(next) => other(items, next)?,
        Position::After(previous) => other(items, previous)? + 1,
    };
    items.insert(index, new);
    Ok(Some(index))
}
