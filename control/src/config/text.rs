//! Changing a TOML text no more than a change of its values asks for: comments and order stay.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::diff::{key_of, value};
use super::{RawConfig, RawSystem, Source};

mod split;
use split::Piece;

/// `text` with the values of `config`. Where that cannot be had, a text without comments.
pub fn rewrite(text: &str, config: &RawConfig) -> String {
    // Serialising plain structs of texts and numbers cannot fail.
    edited(text, config).unwrap_or_else(|| toml::to_string_pretty(config).unwrap_or_default())
}

/// The same of a text that says `known`: sections that are the same in both are not even read, where the text
/// is such that it can be cut into sections.
pub fn revise(text: &str, known: &RawConfig, config: &RawConfig) -> String {
    let sections = known.sections_that_differ(config);
    if sections.is_empty() {
        return text.to_owned();
    }
    let [known, new] = [known, config].map(|it| it.only(&sections));
    let revised = revised(text, &known, &new, &sections).unwrap_or_else(|| rewrite(text, config));
    debug_assert_eq!(Source::toml(revised.as_str()).parse().as_ref(), Ok(config));
    revised
}

/// `known` and `new` have no other sections than these.
fn revised(text: &str, known: &RawConfig, new: &RawConfig, sections: &[&str]) -> Option<String> {
    let pieces = split::pieces(text)?;
    let is_concerned = |piece: &Piece<'_>| sections.contains(&piece.section);
    let concerned = pieces.iter().filter(|it| is_concerned(it));
    let old: String = concerned.clone().map(|piece| piece.text).collect();
    // Cut in a wrong place it would say something else.
    if Source::toml(old.as_str()).parse().as_ref() != Ok(known) {
        return None;
    }
    let edited = edited(&old, new)?;
    let fresh = match edited.trim() {
        "" => Vec::new(),
        _ => split::pieces(&edited)?,
    };
    let headers = concerned.clone().map(|piece| piece.header);
    if headers.eq(fresh.iter().map(|piece| piece.header)) {
        // Each where it was.
        let mut fresh = fresh.iter();
        let texts = pieces.iter().map(|piece| match is_concerned(piece) {
            true => fresh.next().map_or("", |piece| piece.text),
            false => piece.text,
        });
        return Some(texts.collect());
    }
    let Some(first) = pieces.iter().position(is_concerned) else {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{end}\n{edited}"));
    };
    // All of them, if no others are in between.
    let (head, rest) = pieces.split_at(first);
    let (old, tail) = rest.split_at(concerned.count());
    let whole = |pieces: &[Piece<'_>]| pieces.iter().map(|it| it.text).collect::<String>();
    let together = old.iter().all(is_concerned);
    together.then(|| whole(head) + &edited + &whole(tail))
}

/// `None` if the outcome would not say what `config` does.
fn edited(text: &str, config: &RawConfig) -> Option<String> {
    let mut document = text.parse::<DocumentMut>().ok()?;
    if let Json::Object(mut new) = value(config) {
        let sections = document.as_table_mut();
        // Written as a tree though there is nothing in it.
        if config.system == RawSystem::default() && !sections.contains_key("system") {
            new.remove("system");
        }
        table(sections, &new);
    }
    let edited = document.to_string();
    let means_it = Source::toml(edited.as_str()).parse().as_ref() == Ok(config);
    means_it.then_some(edited)
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
            if json(old).as_ref() == Some(new) {
            } else if let (Value::Array(old), Json::Array(new)) = (&mut *old, new) {
                array(old, new);
            } else {
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
    let known: Vec<Table> = std::mem::take(old).into_iter().collect();
    let names = known.iter().enumerate().rev();
    // Of several of one name the first.
    let names: HashMap<String, usize> = names
        .filter_map(|(place, table)| Some((name(table)?, place)))
        .collect();
    let mut taken = vec![false; known.len()];
    let places: Vec<Option<usize>> = new
        .iter()
        .map(|item| {
            let place = match key_of(item) {
                Some(key) => names.get(key).copied(),
                // Without a name: one that is the same keeps its comments.
                None => known.iter().zip(&taken).position(|(table, taken)| {
                    !taken && values(table).as_ref() == item.as_object()
                }),
            }?;
            taken[place] = true;
            Some(place)
        })
        .collect();
    let in_order = places.iter().flatten().is_sorted();
    let mut known: Vec<Option<Table>> = known.into_iter().map(Some).collect();
    for (item, place) in new.iter().zip(places) {
        let Json::Object(item) = item else { continue };
        let mut one = match place {
            // A name that comes twice is wrong, and found to be so elsewhere.
            Some(place) => known[place].take().unwrap_or_default(),
            None => Table::new(),
        };
        table(&mut one, item);
        if !in_order {
            one.set_position(None);
        }
        old.push(one);
    }
}

/// Where in an array there is something, first things first.
type Places = HashMap<String, VecDeque<usize>>;

/// Items that stay keep their comments, and a line of their own where they have one.
fn array(old: &mut Array, new: &[Json]) {
    let known: Vec<(Option<Json>, Value)> = old.iter().map(|it| (json(it), it.clone())).collect();
    let mut taken = vec![false; known.len()];
    let before = |at: usize| {
        let decor = known.get(at).map(|(_, value)| value.decor().prefix());
        let prefix = decor.flatten().and_then(|prefix| prefix.as_str());
        // Not the comments of others.
        prefix.map(|it| match it.rfind('\n') {
            Some(line) => it[line..].to_owned(),
            None => " ".to_owned(),
        })
    };
    let usual = before(known.len().saturating_sub(1)).unwrap_or_else(|| " ".to_owned());
    // By hash: there may be thousands.
    let (mut same, mut named) = (Places::new(), Places::new());
    for (at, (value, _)) in known.iter().enumerate() {
        let Some(value) = value else { continue };
        same.entry(value.to_string()).or_default().push_back(at);
        if let Some(key) = key_of(value) {
            named.entry(key.to_owned()).or_default().push_back(at);
        }
    }
    old.clear();
    for item in new {
        let first = |places: Option<&mut VecDeque<usize>>| {
            let places = places?;
            while places.front().is_some_and(|&at| taken[at]) {
                places.pop_front();
            }
            places.pop_front()
        };
        let place =
            first(same.get_mut(&item.to_string())).or_else(|| first(named.get_mut(key_of(item)?)));
        let mut value = match place {
            None => fresh(item).decorated(usual.as_str(), ""),
            Some(at) => {
                taken[at] = true;
                known[at].1.clone()
            }
        };
        if let (Value::InlineTable(old), Json::Object(new)) = (&mut value, item) {
            table(old, new);
        }
        if old.is_empty() && value.decor().prefix().and_then(|it| it.as_str()) == Some(" ") {
            value.decor_mut().set_prefix("");
        }
        old.push_formatted(value);
    }
}

/// Of a table that has nothing but values.
fn values(table: &Table) -> Option<Map<String, Json>> {
    let values = table.iter().map(|(key, item)| {
        let value = item.as_value().and_then(json)?;
        Some((key.to_owned(), value))
    });
    values.collect()
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
        assert_eq!(revise(&text, &raw(WHOLE), &raw(WHOLE)), text);
    }

    #[test]
    fn knowing_what_a_text_says_makes_no_difference() {
        let text = commented();
        let mut new = raw(&WHOLE.replace("weight = 3", "weight = 4"));
        new.virtual_server[0].timeouts = None;
        new.route.remove(0);
        let wanted = rewrite(&text, &new);
        assert_eq!(revise(&text, &raw(WHOLE), &new), wanted);
        assert_eq!(raw(&wanted), new);
    }

    /// WHOLE with its tables in another order: every second one first.
    fn mixed() -> String {
        let text = commented();
        let pieces = split::pieces(&text).expect("pieces");
        // Tables of an item stay behind it.
        let starts = |piece: &Piece<'_>| !piece.header.contains('.');
        let mut items: Vec<String> = Vec::new();
        for piece in &pieces {
            match items.last_mut() {
                Some(item) if !starts(piece) => *item += piece.text,
                _ => items.push(piece.text.to_owned()),
            }
        }
        let every_second = |from: usize| items.iter().skip(from).step_by(2).cloned();
        every_second(0).chain(every_second(1)).collect()
    }

    #[test]
    fn any_section_may_come_go_or_change_in_any_order_of_sections() {
        for text in [commented(), mixed()] {
            let known = raw(&text);
            for section in RawConfig::SECTIONS {
                let gone = known.with(&[section], RawConfig::default());
                let without = revise(&text, &known, &gone);
                assert_eq!(raw(&without), gone, "without {section}: {without}");
                let back = revise(&without, &gone, &known);
                assert_eq!(raw(&back), known, "with {section} again: {back}");
                // Comments of all the others.
                let head = format!("[{section}]");
                let heads = |text: &str| text.lines().filter(|line| line.contains(&head)).count();
                assert!(heads(&back) >= usize::from(heads(&text) > 0), "{back}");
            }
            let mut new = known.clone();
            new.pool[0].server[0].weight = Some(77);
            new.timeouts.icmp = None;
            assert_eq!(revise(&text, &known, &new), rewrite(&text, &new));
        }
    }

    #[test]
    fn where_a_text_cannot_be_cut_it_is_read_as_a_whole() {
        let known = raw(WHOLE);
        let mut new = known.clone();
        new.pool[0].server[0].weight = Some(77);
        let quoted = commented().replace("[[pool]]", "[[\"pool\"]]");
        assert_eq!(split::pieces(&quoted), None);
        assert_eq!(revise(&quoted, &known, &new), rewrite(&quoted, &new));
        assert!(revise(&quoted, &known, &new).matches("# behind").count() > 100);
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
    fn items_without_a_name_keep_their_comments() {
        let (head, tail) = WHOLE.split_once("allow = [{ from").expect("it is there");
        let (_, tail) = tail.split_once('\n').expect("more lines");
        let ssh = "# ssh\n[[host.allow]]\nprotocol = \"tcp\" # behind\nports = 22";
        let text = format!("{head}{ssh}\n{tail}");
        let mut config = raw(&text);
        assert_eq!(rewrite(&text, &config), text);
        let host = config.host.as_mut().expect("it is there");
        host.allow.insert(0, Default::default());
        let new = rewrite(&text, &config);
        assert!(new.contains("# ssh") && new.contains("# behind"), "{new}");
        assert_eq!(raw(&new), config);
    }

    #[test]
    fn items_of_an_array_that_come_and_go_leave_the_lines_and_comments_of_the_others() {
        let (head, tail) = WHOLE
            .split_once("networks = [\"192.0.2.0/25\"")
            .expect("it is there");
        let (_, tail) = tail.split_once('\n').expect("more lines");
        let list = "networks = [ # bad ones\n    # spam\n    \"192.0.2.1\",\n    # scans\n    \
                    \"192.0.2.2\",\n    \"192.0.2.3\",\n]";
        let text = format!("{head}{list}\n{tail}");
        let mut config = raw(&text);
        assert_eq!(rewrite(&text, &config), text);
        let mut of = |networks: &[&str]| {
            let all = serde_json::to_string(networks).expect("JSON");
            config.list[0].networks = serde_json::from_str(&all).expect("a list");
            let new = rewrite(&text, &config);
            assert_eq!(raw(&new), config, "{new}");
            new
        };
        let more = of(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
        let added = list.replace("192.0.2.3\",", "192.0.2.3\",\n    \"192.0.2.4\",");
        assert!(more.contains(&added), "{more}");
        let less = of(&["192.0.2.1", "192.0.2.3"]);
        let gone = list.replace("    # scans\n    \"192.0.2.2\",\n", "");
        assert!(less.contains(&gone), "{less}");
        // What is in one line stays so, and keys of what changes in it keep their order.
        let mut config = raw(WHOLE);
        let syslog = config.log.syslog.last_mut().expect("it is there");
        syslog.level = Some("info".to_owned());
        let new = rewrite(WHOLE, &config);
        assert_eq!(
            new,
            WHOLE.replace("level = \"warn\", ca", "level = \"info\", ca")
        );
        config.firewall.open.as_mut().expect("pairs").remove(0);
        let new = rewrite(WHOLE, &config);
        assert!(
            new.contains("open = [{ from = \"inside\", to = \"dmz\" }]"),
            "{new}"
        );
    }

    #[test]
    fn a_text_that_is_none_is_written_anew() {
        assert_eq!(raw(&rewrite("= no TOML", &raw(WHOLE))), raw(WHOLE));
    }
}
