//! docs/quickstart.md, as a newcomer follows it.

use std::collections::BTreeSet;

use sluice_tests::lab::Lab;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;

use crate::get;

/// The one block of TOML in the quickstart.
fn configuration() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/quickstart.md");
    let text = std::fs::read_to_string(path).expect("the quickstart");
    let mut blocks = text.split("```toml\n").skip(1);
    let block = blocks.next().and_then(|block| block.split("```").next());
    assert!(blocks.next().is_none(), "which block?");
    block.expect("a block of TOML").to_owned()
}

#[test]
fn the_quickstart_balances_two_servers_that_know_nothing_of_it() {
    let mut lab = Lab::new("quickstart");
    lab.network("lan");
    let gateway = &["192.168.1.1"];
    let client = lab.host("client", "lan", &["192.168.1.50/24"], gateway);
    let one = lab.host("one", "lan", &["192.168.1.11/24"], gateway);
    let two = lab.host("two", "lan", &["192.168.1.12/24"], gateway);
    let _nginx = [&one, &two].map(Nginx::start);
    // The machine that Sluice runs on, with its card `eth0`.
    let machine = lab.host("machine", "lan", &["192.168.1.5/24"], gateway);
    for line in [
        "ip link add sluice0 link eth0 type macvlan mode bridge",
        "sysctl -w net.ipv6.conf.sluice0.disable_ipv6=1",
        "ip link set sluice0 arp off up",
        "ethtool -K eth0 gro off lro off",
    ] {
        machine.sh(line);
    }
    let mut config = configuration();
    if sluice_tests::machine::free_huge_mb() < 384 {
        config = config.replacen("[system]\n", "[system]\neal_args = [\"--no-huge\"]\n", 1);
    }
    let _sluice = Sluice::start(machine.namespace(), lab.directory(), &config);
    let answers: BTreeSet<_> = (0..4)
        .map(|_| get(&client, "192.168.1.80", "/").expect("an answer").text())
        .collect();
    assert_eq!(answers, ["one\n".to_owned(), "two\n".to_owned()].into());
}
