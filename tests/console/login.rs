//! Logging in, where the appliance asks for users.

use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;
use sluice_tests::process::Process;
use sluice_tests::sluice::binary;
use sluice_tests::wait;

use crate::CONSOLE;

pub(crate) const PASSWORD: &str = "a longer password";

/// An appliance that asks for users, with what else its `[api]` says; and the first password.
pub(crate) fn start(lab: &Lab, api: &str, rest: &str) -> (Process, String) {
    let directory = lab.directory();
    let state = directory.join("state");
    std::fs::create_dir(&state).expect("cannot make a directory");
    let api = format!("[api]\nauth = \"users\"\n{api}");
    let config = lab.config(rest).replace("[api]\n", &api);
    let file = directory.join("sluice.toml");
    std::fs::write(&file, config).expect("cannot write the configuration");
    let command = [
        binary().display().to_string(),
        "run".to_owned(),
        "--state-dir".to_owned(),
        state.display().to_string(),
        file.display().to_string(),
    ];
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let appliance = Process::start(lab.appliance(), directory, "sluice", &command);
    wait::expect("the API to listen", || appliance.log().contains("API on"));
    let first = std::fs::read_to_string(state.join("initial-password")).expect("a password");
    (appliance, first.trim().to_owned())
}

/// Logs in by a password that is to be changed, and changes it.
pub(crate) fn first_login(browser: &mut Browser, user: &str, first: &str, password: &str) {
    browser.fill("textbox", "User", user);
    browser.fill("textbox", "Password", first);
    browser.press("Enter", 13);
    browser.fill("textbox", "New password", password);
    browser.fill("textbox", "The same again", password);
    browser.press("Enter", 13);
    browser.await_text("connected");
}

#[test]
fn nobody_sees_anything_before_they_have_logged_in() {
    let lab = Lab::gateway("login");
    let (_appliance, first) = start(&lab, "", "");
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    browser.fill("textbox", "User", "admin");
    browser.fill("textbox", "Password", "not the password");
    browser.press("Enter", 13);
    browser.await_text("user or password are wrong");
    browser.fill("textbox", "Password", &first);
    browser.press("Enter", 13);
    // The first password is good for nothing but another one.
    browser.fill("textbox", "New password", PASSWORD);
    browser.fill("textbox", "The same again", "another password");
    browser.press("Enter", 13);
    browser.await_text("The two are not the same");
    browser.fill("textbox", "The same again", PASSWORD);
    browser.press("Enter", 13);
    browser.await_text("connected");
    browser.await_text("Up for");
    let refused = browser.complaints();
    assert!(refused.iter().all(|one| one.contains("401")), "{refused:?}");
    // The page again, in the same tab: still logged in.
    browser.open("about:blank");
    browser.open(CONSOLE);
    browser.await_text("connected");
    assert_eq!(
        browser.eval("localStorage.getItem('sluice.token')"),
        serde_json::Value::Null
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.click("button", "Log out admin");
    browser.the("textbox", "User");
    assert_eq!(
        browser.eval("sessionStorage.getItem('sluice.token')"),
        serde_json::Value::Null
    );
}
