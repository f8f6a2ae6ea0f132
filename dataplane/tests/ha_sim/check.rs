//! What must hold, whatever happens.

use std::collections::HashMap;

use crate::node::{Node, Row};

/// Sessions that own one external port: what two of them expect as a reply is the same, and they are
/// not one session that both nodes think their own. There should be none.
pub(crate) fn clashes(tables: &[Vec<Row>]) -> Vec<[&Row; 2]> {
    let mut owned = HashMap::new();
    let mut clashes = vec![];
    for row in tables.iter().flatten().filter(|row| !row.replica) {
        let reply = (
            row.reply.proto,
            row.reply.src,
            row.reply.sport,
            row.reply.dst,
            row.reply.dport,
        );
        if let Some(other) = owned
            .insert(reply, row)
            .filter(|other| other.key() != row.key())
        {
            clashes.push([other, row]);
        }
    }
    clashes
}

/// What each node owns all others have a copy of, and no more. A clash has no room at other nodes.
pub(crate) fn tables_are_equal(tables: &[Vec<Row>]) {
    let clashes = clashes(tables);
    let clash = |row: &Row| {
        clashes
            .iter()
            .flatten()
            .any(|other| other.key() == row.key())
    };
    let mut owned = HashMap::new();
    for (at, table) in tables.iter().enumerate() {
        for row in table.iter().filter(|row| !row.replica && !clash(row)) {
            let before = owned.insert(row.key(), (at, row));
            assert!(before.is_none(), "two have it: {row:?}, {before:?}");
        }
    }
    for (at, table) in tables.iter().enumerate() {
        let copies = table.iter().filter(|row| row.replica && !clash(row));
        let count = copies.clone().count();
        let copies: HashMap<_, _> = copies.map(|row| (row.key(), row)).collect();
        assert_eq!(count, copies.len(), "node {}: copies of copies", at + 1);
        for (key, (owner, row)) in owned.iter().filter(|(_, (owner, _))| *owner != at) {
            let copy = copies.get(key);
            let copy = copy.unwrap_or_else(|| {
                let there = table.iter().find(|other| other.reply == row.reply);
                panic!(
                    "node {} was not told of {row:?} by {}, but has {there:?}",
                    at + 1,
                    owner + 1
                )
            });
            let same = (copy.reply, copy.state) == (row.reply, row.state);
            assert!(same, "node {} thinks {copy:?} of {row:?}", at + 1);
        }
        for (key, row) in &copies {
            let is_others = owned.get(key).is_some_and(|(owner, _)| *owner != at);
            assert!(is_others, "node {} has {row:?}, which nobody has", at + 1);
        }
    }
}

/// Of what each node owns one other has a copy; all others know whose it is, by both tuples, and of
/// nothing else.
pub(crate) fn one_has_the_copy(tables: &[Vec<Row>], nodes: &[Option<Node>]) {
    let clashes = clashes(tables);
    let clash = |row: &Row| {
        let clashing = clashes.iter().flatten();
        clashing.into_iter().any(|other| other.key() == row.key())
    };
    let mut owned = HashMap::new();
    for (at, table) in tables.iter().enumerate() {
        for row in table.iter().filter(|row| !row.replica) {
            let before = owned.insert(row.key(), (at, row));
            assert!(before.is_none(), "two have it: {row:?}, {before:?}");
        }
    }
    let mut unknown = vec![0; nodes.len()];
    for (key, &(owner, row)) in owned.iter().filter(|(_, (_, row))| !clash(row)) {
        let copy_of = |table: &Vec<Row>| table.iter().find(|copy| copy.key() == *key).cloned();
        let copies: Vec<_> = tables.iter().map(copy_of).enumerate().collect();
        let copies = copies.iter().filter(|(at, _)| *at != owner);
        let held = copies.clone().filter_map(|(_, copy)| copy.as_ref());
        let held: Vec<_> = held.collect();
        assert_eq!(held.len(), 1, "copies of {row:?} of node {}", owner + 1);
        let same = (held[0].reply, held[0].state) == (row.reply, row.state);
        assert!(same, "{:?} of {row:?}", held[0]);
        for (at, _) in copies.filter(|(_, copy)| copy.is_none()) {
            unknown[*at] += 2;
            let node = nodes[*at].as_ref().expect("all live");
            for tuple in [&row.original, &row.reply] {
                let known = node.pointed_at(tuple);
                assert_eq!(known, [owner as u8 + 1], "node {} of {tuple:?}", at + 1);
            }
        }
    }
    for (at, table) in tables.iter().enumerate() {
        for copy in table.iter().filter(|row| row.replica && !clash(row)) {
            let is_others = owned
                .get(&copy.key())
                .is_some_and(|(owner, _)| *owner != at);
            assert!(is_others, "node {} has {copy:?}, which nobody has", at + 1);
        }
        let node = nodes[at].as_ref().expect("all live");
        if clashes.is_empty() {
            assert_eq!(node.pointers(), unknown[at], "pointers of node {}", at + 1);
        }
    }
}
