//! Two appliances, and a console from which one of them is taken out of service and put back.

use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;
use sluice_tests::wait;

use crate::{CONSOLE, all_have_names, picture, view};

const SMALL: &str = "workers = [0, 1]\nidle = \"backoff\"\nsessions = 16384\nsessions_v6 = 1024\n\
                     memory_mb = 160\npacket_buffers = 8192\n";
const NAT: &str = "[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n\
                   [[snat_pool]]\nname = \"public\"\naddresses = [\"203.0.113.1\"]\n\
                   [[snat]]\nname = \"all\"\nfrom = \"inside\"\nto = \"outside\"\npool = \"public\"\n";

/// The gateway of hosts inside, which this node prefers to hold, or not.
fn rest(priority: u8) -> String {
    format!(
        "[[ha.group]]\nname = \"gateway\"\nnumber = 1\naddresses = [\"10.1.0.254\"]\n\
         priority = {priority}\npreempt_after = \"1s\"\n{NAT}"
    )
}

#[test]
fn a_node_is_handed_over_and_takes_part_again_by_its_console() {
    let mut lab = Lab::gateway("console-ha");
    lab.system(SMALL);
    let twin = lab.twin();
    let first = lab.start_first(&rest(150));
    let second = lab.start_second(&twin, &rest(100));
    let held =
        |by: &sluice_tests::sluice::Sluice| by.json("/api/v1/ha")["groups"][0]["held_here"] == true;
    wait::expect("the first node to be ready", || {
        first.json("/api/v1/ha")["ready"] == true
    });
    wait::expect("it to hold the group", || held(&first));

    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    browser.await_text("connected");
    view(&mut browser, "HA");
    browser.await_text("ready: nothing would be lost");
    browser.await_text("this node");
    all_have_names(&mut browser, "HA");
    picture(&mut browser, "ha");
    browser.click("button", "Hand over to other nodes");
    browser.await_text("away: it can be stopped");
    browser.await_text("node 2");
    assert!(held(&second) && !held(&first));
    picture(&mut browser, "ha-away");
    browser.click("button", "Take part again");
    browser.await_text("this node");
    wait::expect("the first node to have it again", || held(&first));
    browser.the("button", "Hand over to other nodes");
    // The other one is gone: there is nobody to hand over to.
    second.kill();
    browser.await_text("not ready");
    browser.await_true("document.querySelector('main button')?.disabled === true");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
