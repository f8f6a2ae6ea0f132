//! What many rules, and one configuration after the other, have in common.

use std::sync::Arc;

use super::*;

fn rules() -> String {
    let rule = |n: u8, source: &str| {
        format!("[[firewall.rule]]\nname = \"shared-{n}\"\naction = \"deny\"\nsource = {source}\n")
    };
    WHOLE.to_owned()
        + "\n[[list]]\nname = \"some\"\nnetworks = [\"192.0.2.0/25\", \"198.51.100.0/24\"]\n"
        + &rule(1, "\"@some\"")
        + &rule(2, "[\"@some\"]")
        + &rule(3, "[\"@some\", \"10.9.0.0/16\"]")
        + &rule(4, "[\"@some\", \"10.9.0.0/16\"]")
        + &rule(5, "[\"10.9.0.0/16\", \"@some\"]")
}

#[test]
fn rules_that_name_the_same_lists_share_their_networks() {
    let config = read(&rules());
    let of = |n: u8| {
        let name = format!("shared-{n}");
        let mut rules = config.firewall.rules.iter();
        let rule = rules.find(|rule| rule.name.as_str() == name);
        &rule.expect("it is there").source
    };
    let list = config.lists.iter().find(|it| it.name.as_str() == "some");
    let list = &list.expect("it is there").networks;
    assert_eq!(of(1), list);
    assert!(Arc::ptr_eq(of(1), of(2)), "a copy for each rule");
    let more = [
        net("192.0.2.0/25"),
        net("198.51.100.0/24"),
        net("10.9.0.0/16"),
    ];
    assert_eq!(**of(3), more);
    assert!(Arc::ptr_eq(of(3), of(4)), "a copy for each rule");
    assert_eq!(**of(5), [more[2], more[0], more[1]]);
    // And what is looked up says what the lists say.
    let firewall = compiled(&rules()).firewall;
    let rules = firewall.rules().iter().rev().take(5).rev();
    let holds = |address: &str| -> Vec<bool> {
        let rules = rules.clone();
        rules.map(|rule| rule.source.holds(ip(address))).collect()
    };
    assert_eq!(holds("192.0.2.1"), [true; 5]);
    assert_eq!(holds("192.0.2.200"), [false; 5]);
    assert_eq!(holds("10.9.1.1"), [false, false, true, true, true]);
}

fn table(snapshot: &Snapshot) -> &[u16] {
    let tiers = snapshot.virtual_servers.iter().flat_map(|vs| &vs.tiers);
    let mut tables = tiers.filter_map(|tier| match &tier.scheduler {
        Scheduler::Maglev(table) => Some(table.slots()),
        _ => None,
    });
    tables.next().expect("one has a table")
}

#[test]
fn a_table_is_made_anew_only_where_it_changes() {
    let text = WHOLE.replace("state = \"draining\"", "state = \"up\"");
    let config = read(&text);
    let mut registry = Registry::new(layout(&config));
    let first = compile(&config, &facts(&config), &mut registry, (1, None)).expect("it compiles");
    let mut next = |epoch: u32, text: &str, before: &Snapshot| {
        let config = read(text);
        let known = (epoch, Some(before));
        compile(&config, &facts(&config), &mut registry, known).expect("it compiles")
    };
    let timeouts = text.replace("udp = \"5m\"", "udp = \"6m\"");
    assert_ne!(timeouts, text);
    let second = next(2, &timeouts, &first);
    assert_eq!(
        table(&second).as_ptr(),
        table(&first).as_ptr(),
        "it is the same"
    );
    for change in [
        text.replace("weight = 3", "weight = 4"),
        text.replace("maglev_size = 65537", "maglev_size = 65539"),
        text.replace("state = \"up\"", "state = \"down\""),
        text.replace("name = \"web2\"", "name = \"web3\""),
    ] {
        assert_ne!(change, text);
        let changed = next(3, &change, &second);
        assert_ne!(table(&changed), table(&second), "it is another");
        assert_eq!(
            table(&changed),
            table(&compiled(&change)),
            "as if made anew"
        );
    }
}
