//! The tools: what they find is shown, also where it is a fault.

use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;
use sluice_tests::servers::Nginx;

use crate::{CONSOLE, Console, VIP, configuration};

#[test]
fn somebody_who_looks_for_a_fault_finds_it() {
    let mut lab = Lab::gateway("tools");
    let client = lab.outside(10);
    let (one, two) = (lab.inside(11), lab.inside(12));
    // Nobody listens on the other one.
    let _nginx = Nginx::start(&one);
    let host = format!("[host]\nnamespace = \"{}-host\"\n", lab.appliance().name());
    let sluice = lab.start(&(host + &configuration([&one, &two])));
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    browser.await_text("connected");
    let mut console = Console { browser, sluice };
    console.view("Tools");

    console.browser.choose("Virtual server", "shop");
    console.browser.click("button", "Test");
    console.browser.await_text(", 1 failed,");
    let failed = "[...document.querySelectorAll('main tbody tr')]\
        .filter((row) => row.querySelector('.badge.bad')).map((row) => row.innerText.replace(/\\s+/g, ' '))";
    let failed = console.browser.eval(failed);
    let row = |at: usize| failed[at].as_str().unwrap_or_default().to_owned();
    assert!(row(0).starts_with("failed web/in12 connect "), "{failed}");
    assert!(
        row(0).ends_with(":80: Connection refused (os error 111)"),
        "{failed}"
    );
    console
        .browser
        .await_text("1 of 2 real servers are without fault");
    console.picture("tools");

    let address = one.address().to_string();
    console.browser.fill("textbox", "Ping what", &address);
    console.browser.fill("textbox", "How often", "2");
    console.browser.click("button", "Ping");
    console.browser.await_text("2 sent, 2 received, 0% lost");

    // Stopped, as somebody does who has seen enough; the keyboard goes on from there.
    console.browser.fill("textbox", "Ping what", "10.1.0.99");
    console.browser.fill("textbox", "How often", "100");
    console.browser.click("button", "Ping");
    console.browser.await_text("timeout");
    console.browser.click("button", "Stop");
    console.browser.await_text("Stopped.");
    console
        .browser
        .await_true("document.activeElement.textContent === 'Ping'");

    console.browser.fill("textbox", "Ping what", "nobody");
    console.browser.press("Enter", 13);
    console
        .browser
        .await_text("destination: invalid IP address");
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("422")), "{refused:?}");

    let far = client.address().to_string();
    console.browser.fill("textbox", "The way to", &far);
    console.browser.click("button", "Find the routers");
    console.browser.await_text("reached in 1 hop");

    console.browser.choose("Comes in by", "outside");
    console.browser.fill("textbox", "Source", &far);
    console.browser.fill("textbox", "Destination", VIP);
    console.browser.fill("textbox", "Destination port", "80");
    console.browser.click("button", "Trace");
    console
        .browser
        .await_text("the destination is virtual_server/shop");
    console.browser.await_text("forwarded");
    assert_eq!(console.browser.complaints(), Vec::<String>::new());
}
