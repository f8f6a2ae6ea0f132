//! From the login to a commit without a mouse, and never without seeing where one is.

use serde_json::json;
use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;

use crate::login::{PASSWORD, start};
use crate::{CONSOLE, configuration};

/// Whether what has the focus is marked, in sight, and under nothing else.
const SEEN: &str = "(() => { \
    const one = document.activeElement; \
    const style = getComputedStyle(one); \
    const box = one.getBoundingClientRect(); \
    const x = Math.max(0, box.left) + Math.min(box.width, innerWidth) / 2; \
    const y = Math.max(0, box.top) + Math.min(box.height, innerHeight - Math.max(0, box.top)) / 2; \
    const hit = document.elementFromPoint(x, y); \
    return one.matches(':focus-visible') && style.outlineStyle !== 'none' && \
        Number.parseFloat(style.outlineWidth) >= 2 && one.contains(hit); })()";

/// Goes on by Tab until the one of this role and name has the focus.
#[track_caller]
fn go_to(browser: &mut Browser, role: &str, name: &str) {
    // It may come only when its view has been read.
    browser.the(role, name);
    let mut passed = Vec::new();
    for _ in 0..150 {
        browser.press("Tab", 9);
        if browser.eval("document.activeElement === document.body") == true {
            continue;
        }
        let here = browser.focused();
        assert_eq!(browser.eval(SEEN), true, "{here:?} is not seen to have it");
        if here == (role.to_owned(), name.to_owned()) {
            return;
        }
        passed.push(here);
    }
    panic!("no way to {role} {name:?}: {passed:#?}");
}

/// Writes in place of what the focused field has.
#[track_caller]
fn write(browser: &mut Browser, text: &str) {
    browser.eval("document.activeElement.select()");
    browser.call("Input.insertText", json!({ "text": text }));
}

#[test]
fn an_operator_without_a_mouse_logs_in_drains_and_commits() {
    let mut lab = Lab::gateway("keys-only");
    let (one, two) = (lab.inside(11), lab.inside(12));
    let (_appliance, first) = start(&lab, "", &configuration([&one, &two]));
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    let browser = &mut browser;
    browser.open(CONSOLE);
    browser.the("textbox", "User");
    assert_eq!(browser.focused().1, "User", "one can begin to write");
    write(browser, "admin");
    go_to(browser, "textbox", "Password");
    write(browser, &first);
    go_to(browser, "button", "Log in");
    browser.press("Enter", 13);
    browser.the("textbox", "New password");
    assert_eq!(browser.focused().1, "New password");
    write(browser, PASSWORD);
    go_to(browser, "textbox", "The same again");
    write(browser, PASSWORD);
    browser.press("Enter", 13);
    browser.await_text("connected");
    let refused = browser.complaints();
    assert!(refused.iter().all(|one| one.contains("401")), "{refused:?}");

    go_to(browser, "link", "Virtual servers");
    browser.press("Enter", 13);
    browser.await_true("document.activeElement.tagName === 'H1'");
    go_to(browser, "button", "Drain web/in11");
    browser.press(" ", 32);
    // A question keeps the focus, and Escape gives it back.
    browser.await_true("document.activeElement.closest('dialog')");
    browser.press("Escape", 27);
    browser.await_true("document.querySelector('dialog') === null");
    assert_eq!(browser.focused().1, "Drain web/in11");
    browser.press("Enter", 13);
    browser.await_true("document.activeElement.closest('dialog')");
    go_to(browser, "button", "Drain");
    browser.press(" ", 32);
    browser.await_text("web/in11 is draining now.");
    browser.await_true("document.activeElement.getAttribute('aria-label') === 'Enable web/in11'");

    go_to(browser, "link", "Configuration");
    browser.press("Enter", 13);
    browser.await_true("document.activeElement.tagName === 'H1'");
    let tab = "document.querySelector('[role=tab][aria-selected=true]')";
    let first = browser.eval(&format!("{tab}.textContent"));
    go_to(browser, "tab", first.as_str().expect("a name"));
    for _ in 0..8 {
        if browser.focused().1 == "Edit" {
            break;
        }
        browser.press("ArrowRight", 39);
    }
    assert_eq!(browser.focused(), ("tab".to_owned(), "Edit".to_owned()));
    browser.await_true("document.querySelector('textarea.source')?.value.includes('weight = 1')");
    go_to(browser, "textbox", "Configuration (TOML)");
    let text = "document.activeElement.value.replace('weight = 1', 'weight = 5')";
    let text = browser.eval(text);
    write(browser, text.as_str().expect("a text"));
    go_to(browser, "textbox", "Comment");
    write(browser, "by keyboard");
    go_to(browser, "spinbutton", "Confirm within");
    write(browser, "0");
    go_to(browser, "button", "Check");
    browser.press(" ", 32);
    browser.await_text("It is right.");
    browser.await_true("document.activeElement.textContent === 'Check'");
    go_to(browser, "button", "Commit");
    browser.press("Enter", 13);
    browser.await_text("is in use.");
    // What came of it is where one goes on.
    browser.await_true(
        "document.activeElement.ariaLive === 'polite' && \
         document.activeElement.innerText.includes('is in use.')",
    );
    go_to(browser, "link", "Skip to content");
    browser.await_true("document.querySelector('textarea.source').value.includes('weight = 5')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
