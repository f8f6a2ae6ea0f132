//! What a running Sluice cannot follow waits for the next start, and the console says so wherever one looks.

use serde_json::{Value, json};
use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;

use crate::login::{PASSWORD, first_login, start};
use crate::{CONSOLE, all_have_names, picture, view};

fn get(browser: &mut Browser, path: &str) -> Value {
    browser.eval(&format!(
        "import('/console/js/api.js').then((m) => m.get('{path}'))"
    ))
}

#[test]
fn what_waits_for_the_next_start_is_shown_and_can_be_discarded() {
    let lab = Lab::gateway("next");
    let (_appliance, first) = start(&lab, "", "");
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    first_login(&mut browser, "admin", &first, PASSWORD);
    let _ = browser.complaints();

    let mut system = get(&mut browser, "/config/system");
    system["sessions"] = json!(32_768);
    view(&mut browser, "Configuration");
    browser.click("tab", "Parts");
    browser.await_true("document.querySelector('main select')?.options.length > 20");
    browser.choose("Part", "system");
    browser.click("button", "Edit");
    browser.fill("textbox", "What it says (JSON)", &system.to_string());
    browser.click("button", "Check");
    browser.await_text("at_restart=true");
    let refused = browser.complaints();
    assert!(refused.iter().all(|one| one.contains("409")), "{refused:?}");
    browser.click("checkbox", "Not now: from the next start on");
    browser.fill("textbox", "Comment", "more room");
    browser.click("button", "Check");
    browser.await_text("It is right.");
    assert_eq!(get(&mut browser, "/status")["next"], Value::Null);
    browser.click("button", "Change");
    browser.await_text("It waits for the next start");
    let next = get(&mut browser, "/status")["next"].take();
    assert_eq!(
        (&next["author"], &next["comment"]),
        (&json!("admin"), &json!("more room"))
    );
    assert_ne!(get(&mut browser, "/config/system"), system, "not in use");

    view(&mut browser, "Overview");
    browser.await_text("by admin wait for it");
    view(&mut browser, "Configuration");
    browser.await_text("(more room) waits for the next start");
    browser.click("button", "Show what the next start changes");
    browser.await_text("system.sessions");
    all_have_names(&mut browser, "what waits");
    picture(&mut browser, "config-next");
    browser.click("tab", "History");
    browser.await_text("(more room) waits for the next start");
    browser.click("button", "Discard what waits");
    browser.click("button", "Discard it");
    browser.await_text("Nothing waits for the next start any more.");
    browser.await_true("!document.querySelector('main').innerText.includes('more room')");
    assert_eq!(get(&mut browser, "/status")["next"], Value::Null);
    view(&mut browser, "Overview");
    browser.await_text("Up for");
    browser.await_true("!document.querySelector('main').innerText.includes('wait for it')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
