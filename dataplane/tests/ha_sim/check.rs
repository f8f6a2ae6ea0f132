//! What must hold, whatever happens.

use std::collections::HashMap;

use crate::node::Row;

/// No two sessions own one external port: whatever two owned sessions expect as a reply differs,
/// unless it is one session that both nodes think their own.
pub(crate) fn ports_are_owned_once(tables: &[Vec<Row>]) {
    let mut owned = HashMap::new();
    for row in tables.iter().flatten().filter(|row| !row.replica) {
        let reply = (
            row.reply.proto,
            row.reply.src,
            row.reply.sport,
            row.reply.dst,
            row.reply.dport,
        );
        let other = owned.insert(reply, row);
        assert!(
            other.is_none_or(|other| other.key() == row.key()),
            "two sessions own one port: {row:?} and {other:?}"
        );
    }
}

/// What each node owns the other has a copy of, and no more.
pub(crate) fn tables_are_equal(tables: &[Vec<Row>]) {
    for (own, other) in [(0, 1), (1, 0)] {
        let copies: HashMap<_, _> = tables[other]
            .iter()
            .filter(|row| row.replica)
            .map(|row| (row.key(), row))
            .collect();
        let owned: HashMap<_, _> = tables[own]
            .iter()
            .filter(|row| !row.replica)
            .map(|row| (row.key(), row))
            .collect();
        for (key, row) in &owned {
            let copy = copies.get(key);
            let copy = copy.unwrap_or_else(|| panic!("node {} was not told of {row:?}", other + 1));
            let same = (copy.reply, copy.state) == (row.reply, row.state);
            assert!(same, "node {} thinks {copy:?} of {row:?}", other + 1);
        }
        for (key, row) in &copies {
            assert!(
                owned.contains_key(key),
                "node {} has {row:?}, which node {} has not",
                other + 1,
                own + 1
            );
        }
        let count = tables[other].iter().filter(|row| row.replica).count();
        assert_eq!(count, copies.len(), "node {}: copies of copies", other + 1);
    }
}
