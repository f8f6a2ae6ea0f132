//! What must hold, whatever happens.

use std::collections::HashMap;

use crate::node::Row;

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

/// What each node owns the other has a copy of, and no more. A clash has no room at the other node.
pub(crate) fn tables_are_equal(tables: &[Vec<Row>]) {
    let clashes = clashes(tables);
    let clash = |row: &Row| {
        clashes
            .iter()
            .flatten()
            .any(|other| other.key() == row.key())
    };
    for (own, other) in [(0, 1), (1, 0)] {
        let copies: HashMap<_, _> = tables[other]
            .iter()
            .filter(|row| row.replica && !clash(row))
            .map(|row| (row.key(), row))
            .collect();
        let owned: HashMap<_, _> = tables[own]
            .iter()
            .filter(|row| !row.replica && !clash(row))
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
        let count = tables[other]
            .iter()
            .filter(|row| row.replica && !clash(row))
            .count();
        assert_eq!(count, copies.len(), "node {}: copies of copies", other + 1);
    }
}
