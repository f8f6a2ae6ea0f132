//! Changes of single parts: weights, rules, and a candidate that gathers some before they are used.

use serde_json::{Value, json};
use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;
use sluice_tests::wait;

use crate::{CONSOLE, Console, all_have_names, configuration};

fn weight(console: &Console) -> Value {
    let server = "/api/v1/config/pool/web/server/in11";
    console.sluice.json(server)["weight"].take()
}

fn rules(console: &Console) -> Vec<String> {
    let found = console.sluice.json("/api/v1/config/firewall/rule");
    let rules = found.as_array().expect("rules").iter();
    let name = |rule: &Value| rule["name"].as_str().unwrap_or_default().to_owned();
    rules.map(name).collect()
}

#[test]
fn parts_are_changed_at_once_or_in_a_candidate() {
    let mut lab = Lab::gateway("changes");
    let (one, two) = (lab.inside(11), lab.inside(12));
    let sluice = lab.start(&configuration([&one, &two]));
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    browser.await_text("connected");
    let mut console = Console { browser, sluice };
    change_weight(&mut console);
    change_rules(&mut console);
    change_networks(&mut console);
    candidate(&mut console);
    // Where nobody is asked there is nobody to administrate.
    console.view("Administration");
    console.browser.await_text("Nobody is asked who they are");
    console.browser.click("tab", "Certificates");
    console.browser.await_text("The API is not under TLS");
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("409")), "{refused:?}");
}

fn change_weight(console: &mut Console) {
    console.view("Virtual servers");
    let change = "Change weight and state of web/in11";
    console.browser.click("button", change);
    console.browser.fill("spinbutton", "Weight", "1001");
    console
        .browser
        .eval("document.querySelector('dialog form').noValidate = true");
    console.browser.click("button", "Change");
    console
        .browser
        .await_text("The configuration would be wrong");
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("422")), "{refused:?}");
    all_have_names(&mut console.browser, "a dialog");
    console.picture("server-change");
    console.browser.fill("spinbutton", "Weight", "7");
    console.browser.click("button", "Check");
    console.browser.await_text("It is right.");
    assert_eq!(weight(console), 1, "a check changes nothing");
    console.browser.choose("State", "draining");
    console.browser.click("button", "Change");
    console.browser.await_text("web/in11: Revision");
    assert_eq!(weight(console), 7);
    assert_eq!(console.server("web/in11")["state"], "draining");
    assert!(console.configuration().contains("# kept"), "comments stay");
    let history = console.sluice.json("/api/v1/config/revisions");
    let comment = &history["revisions"][0]["comment"];
    assert_eq!(comment, "console: web/in11 weight 7 state draining");
    // The view is made again for another configuration.
    console
        .browser
        .await_true("/draining\\s+7/.test(document.querySelector('main tbody tr').innerText)");
    // Only what is another one is sent.
    console.browser.click("button", change);
    console.browser.choose("State", "up");
    console.browser.click("button", "Change");
    console
        .browser
        .await_true("document.querySelector('dialog') === null");
    assert_eq!(console.server("web/in11")["state"], "up");
    assert_eq!(weight(console), 7);
}

fn change_rules(console: &mut Console) {
    console.view("Configuration");
    console.browser.click("tab", "Parts");
    console
        .browser
        .await_true("document.querySelector('main select')?.options.length > 20");
    console.browser.choose("Part", "firewall / rule");
    for (name, position) in [("ssh", "last"), ("block", "before:ssh")] {
        console.browser.click("button", "Add");
        console.browser.fill("textbox", "Name", name);
        let says = "What it says (JSON)";
        console
            .browser
            .fill("textbox", says, "{ \"from\": \"outside\"");
        console.browser.choose("Position", position);
        console.browser.click("button", "Add");
        console.browser.await_text("This is no JSON");
        let whole = json!({ "from": "outside", "action": "deny", "source": "198.51.100.0/24" });
        console.browser.fill("textbox", says, &whole.to_string());
        console.browser.click("button", "Add");
        console
            .browser
            .await_true("document.querySelector('dialog') === null");
        console.browser.the("button", &format!("Edit {name}"));
    }
    assert_eq!(rules(console), ["block", "ssh"]);
    all_have_names(&mut console.browser, "parts");
    console.picture("config-parts");
    // Somebody else is faster.
    console.browser.click("button", "Edit block");
    console.browser.the("textbox", "What it says (JSON)");
    let path = "/api/v1/config/firewall/rule/block";
    let other = br#"{"from":"outside","action":"allow","source":"198.51.100.9/32"}"#;
    assert_eq!(
        console.sluice.put(path, other).expect("an answer").status,
        200
    );
    console.browser.choose("Position", "last");
    console.browser.click("button", "Change");
    console.browser.await_text("It is not what you think it is");
    console.browser.click("button", "Cancel");
    let _ = console.browser.complaints();
    console.browser.click("button", "Edit block");
    console.browser.choose("Position", "last");
    console.browser.click("button", "Change");
    console
        .browser
        .await_true("document.querySelector('dialog') === null");
    assert_eq!(rules(console), ["ssh", "block"]);
    console.browser.click("button", "Delete ssh");
    console.browser.click("button", "Delete");
    console
        .browser
        .await_true("document.querySelector('dialog') === null");
    assert_eq!(rules(console), ["block"]);
    // What had the focus is gone with the rule.
    console
        .browser
        .await_true("document.activeElement.tagName === 'SELECT'");
}

/// One network of a list comes and goes, and nobody touches the others.
fn change_networks(console: &mut Console) {
    let closed = "document.querySelector('dialog') === null";
    console.browser.choose("Part", "list");
    console.browser.click("button", "Add");
    console.browser.fill("textbox", "Name", "bad");
    let says = r#"{"networks":["192.0.2.0/24"]}"#;
    console.browser.fill("textbox", "What it says (JSON)", says);
    console.browser.click("button", "Add");
    console.browser.await_true(closed);
    console.browser.await_true(
        "[...document.querySelectorAll('main select')][0].innerText.includes('bad / networks')",
    );
    console.browser.choose("Part", "list / bad / networks");
    console.browser.click("button", "Add");
    console.browser.fill("textbox", "Name", "198.51.100.7");
    console.browser.click("button", "Add");
    console.browser.await_true(closed);
    console.browser.click("button", "Delete 192.0.2.0/24");
    console.browser.click("button", "Delete");
    console.browser.await_true(closed);
    let bad = console.sluice.json("/api/v1/config/list/bad");
    assert_eq!(bad["networks"], json!(["198.51.100.7"]));
    console.browser.choose("Part", "list");
    console.browser.click("button", "Delete bad");
    console.browser.click("button", "Delete");
    console.browser.await_true(closed);
}

fn candidate(console: &mut Console) {
    let before = console.configuration();
    console.browser.click("tab", "Candidate");
    console.browser.click("button", "Begin a candidate");
    console.browser.await_text("Nothing yet.");
    // There was none before.
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("404")), "{refused:?}");
    console.view("Virtual servers");
    console
        .browser
        .click("button", "Change weight and state of web/in11");
    console.browser.fill("spinbutton", "Weight", "9");
    console
        .browser
        .click("checkbox", "Only in my candidate, to be committed later");
    console.browser.click("button", "Change");
    console.browser.await_text("Your candidate says so");
    assert_eq!(console.configuration(), before);
    console.view("Configuration");
    console.browser.click("tab", "Candidate");
    console
        .browser
        .await_true("document.querySelector('.diff .add')?.textContent.includes('weight = 9')");
    console.browser.await_text("pool[web].server[in11].weight");
    console.picture("config-candidate");
    // What is written in the page is the appliance's after it is saved.
    let text = "document.querySelector('textarea.source').value";
    let text = console
        .browser
        .eval(&format!("{text}.replace('# kept', '# changed')"));
    let text = text.as_str().expect("a text").to_owned();
    console
        .browser
        .fill("textbox", "Your candidate (TOML)", &text);
    let disabled = "[...document.querySelectorAll('main button')].find((one) => one.textContent === 'Commit').disabled";
    assert_eq!(console.browser.eval(disabled), true);
    console.browser.click("button", "Save");
    console.browser.await_text("The candidate was saved.");
    console.browser.click("button", "Check");
    console.browser.await_text("It is right.");
    assert_eq!(console.configuration(), before);
    console.browser.fill("textbox", "Comment", "two at once");
    console.browser.fill("spinbutton", "Confirm within", "0");
    console.browser.click("button", "Commit");
    console.browser.await_text("You have no candidate.");
    assert_eq!(weight(console), 9);
    assert!(console.configuration().contains("# changed"));
    let history = console.sluice.json("/api/v1/config/revisions");
    assert_eq!(history["revisions"][0]["comment"], "two at once");
    // Outrun by somebody else, and discarded.
    let before = console.configuration();
    console.browser.click("button", "Begin a candidate");
    console.browser.await_text("Nothing yet.");
    let text = before.replace("weight = 9", "weight = 11");
    console
        .browser
        .fill("textbox", "Your candidate (TOML)", &text);
    console.browser.click("button", "Save");
    console
        .browser
        .await_true("document.querySelector('.diff .add')?.textContent.includes('weight = 11')");
    let other = before.replace("# changed", "# faster");
    let put = console.sluice.put("/api/v1/config", other.as_bytes());
    assert_eq!(put.expect("an answer").status, 200);
    console.browser.click("button", "Commit");
    console
        .browser
        .await_text("The configuration was changed since the candidate was begun");
    let refused = console.browser.complaints();
    assert!(
        refused
            .iter()
            .all(|one| ["404", "409"].iter().any(|s| one.contains(s))),
        "{refused:?}"
    );
    console.browser.click("button", "Discard");
    console.browser.click("button", "Discard it");
    console.browser.await_text("You have no candidate.");
    // From the editor, and in place of another one only if that is meant.
    for number in ["12", "13"] {
        let text = other.replace("weight = 9", &format!("weight = {number}"));
        console.browser.click("tab", "Edit");
        console.browser.await_text("None.");
        console
            .browser
            .fill("textbox", "Configuration (TOML)", &text);
        console.browser.click("button", "To my candidate");
        if number == "13" {
            console.browser.click("button", "Replace");
        }
        console.browser.await_text("The text is your candidate now");
        wait::expect("the candidate to say so", || {
            let found = console.sluice.get("/api/v1/candidate").expect("an answer");
            found.text().contains(&format!("weight = {number}"))
        });
        console.browser.click("tab", "Candidate");
        console.browser.await_text("pool[web].server[in11].weight");
    }
    let refused = console.browser.complaints();
    let known = |one: &String| ["404", "412"].iter().any(|status| one.contains(status));
    assert!(refused.iter().all(known), "{refused:?}");
    assert_eq!(console.configuration(), other);
}
