//! Packets: captured while there is traffic, kept as a file, and forgotten again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::browser::Browser;
use sluice_tests::http::request_1_0;
use sluice_tests::lab::Lab;
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::API;
use sluice_tests::wait;

use crate::administration::refused;
use crate::{CONSOLE, Console, VIP, configuration};

/// The number that the page shows of the only capture.
fn packets(browser: &mut Browser) -> u64 {
    let shown = browser.eval(
        "document.querySelector('main tbody tr').cells[3].innerText.replaceAll(/[^0-9]/g, '')",
    );
    let shown = shown.as_str().expect("a text");
    shown
        .parse()
        .unwrap_or_else(|why| panic!("{why}: {shown:?}"))
}

#[test]
fn packets_are_captured_kept_and_forgotten() {
    let mut lab = Lab::gateway("packets");
    let client = lab.outside(10);
    let (one, two) = (lab.inside(11), lab.inside(12));
    let _nginx = [&one, &two].map(Nginx::start);
    let sluice = lab.start(&configuration([&one, &two]));
    let vip: SocketAddr = format!("{VIP}:80").parse().expect("an address");
    let load = Load::start(client.namespace(), 1, vip, "/", Duration::from_millis(50));
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    let downloads = lab.directory().join("downloads");
    let allow = json!({ "behavior": "allow", "downloadPath": downloads });
    browser.call("Page.setDownloadBehavior", allow);
    browser.open(CONSOLE);
    browser.await_text("connected");
    let mut console = Console { browser, sluice };
    console.view("Packets");
    console.browser.await_text("Nothing was captured.");

    wrong(&mut console);
    let filter = format!("tcp port 80 and host {VIP}");
    let id = start(&mut console, &filter);
    let file = downloads.join(format!("sluice-{id}.pcapng"));
    stop_and_keep(&mut console, &lab, &file, id);
    forget(&mut console, id);
    let load = load.finish();
    assert_eq!(load.failures, Vec::<String>::new(), "it breaks nothing");
    assert_eq!(console.browser.complaints(), Vec::<String>::new());
}

/// What cannot be captured is said, and nothing is begun.
fn wrong(console: &mut Console) {
    console.browser.fill("textbox", "Filter", "tcp prt 80");
    console.browser.press("Enter", 13);
    console.browser.await_text("This cannot be captured");
    refused(&mut console.browser, &["422"]);
    console.picture("packets-wrong");
    console.browser.fill("textbox", "Filter", "");
    console.browser.fill("textbox", "Seconds", "0");
    console.browser.click("button", "Capture");
    console.browser.await_text("it is out of range");
    refused(&mut console.browser, &["422"]);
    let captures = console.sluice.json("/api/v1/captures");
    assert_eq!(captures, json!({ "captures": [] }));
}

/// Captures by a filter and at one port, and sees more and more packets.
fn start(console: &mut Console, filter: &str) -> u64 {
    let browser = &mut console.browser;
    browser.fill("textbox", "Filter", filter);
    browser.choose("Port", "outside");
    browser.fill("textbox", "Seconds", "600");
    browser.click("button", "Capture");
    browser.await_text("Capturing.");
    browser.await_text("running");
    assert!(
        !browser
            .eval("document.querySelector('main').innerText")
            .as_str()
            .expect("a text")
            .contains("out of range"),
        "what was wrong before is not any more"
    );
    wait::expect("packets to be counted", || packets(browser) > 0);
    let before = packets(browser);
    wait::expect("more packets", || packets(browser) > before);
    console.picture("packets");
    let captures = console.sluice.json("/api/v1/captures");
    let capture = &captures["captures"][0];
    let spec = &capture["spec"];
    assert_eq!(
        (&spec["filter"], &spec["ports"], &spec["seconds"]),
        (&json!(filter), &json!(["outside"]), &json!(600))
    );
    capture["id"].as_u64().expect("a number")
}

/// Ends it; what the browser keeps is what the API gives, and others can read it.
fn stop_and_keep(console: &mut Console, lab: &Lab, file: &Path, id: u64) {
    let browser = &mut console.browser;
    browser.click("button", &format!("Stop capture {id}"));
    browser.await_text("The capture was stopped.");
    browser.await_text("over: stopped");
    // To its end: what is on its way when it is stopped still comes in.
    let path = format!("/api/v1/captures/{id}");
    let whole = format!("{path}/packets?follow=true");
    let given = lab.appliance().inside(|| request_1_0(API, &whole));
    let given = given.expect("packets");
    assert_eq!(given.status, 200);
    let counted = console.sluice.json(&path)["packets"].take();
    let counted = counted.as_u64().expect("a number");
    wait::expect("the page to show all of them", || {
        packets(browser) == counted
    });
    browser.click("button", &format!("Download capture {id}"));
    wait::expect("the file", || {
        std::fs::read(file).is_ok_and(|kept| kept == given.body)
    });
    let read = Command::new("tshark")
        .args(["-n", "-T", "fields", "-e", "ip.addr", "-r"])
        .arg(file)
        .output()
        .expect("tshark");
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8(read.stdout).expect("addresses");
    assert_eq!(text.lines().count() as u64, counted, "{text}");
    assert!(text.lines().all(|line| line.contains(VIP)), "{text}");
    console.picture("packets-over");
}

fn forget(console: &mut Console, id: u64) {
    let browser = &mut console.browser;
    let button = format!("Delete capture {id}");
    // Nothing happens before it is confirmed.
    browser.click("button", &button);
    browser.click("button", "Cancel");
    let listed = |console: &Console| -> Value {
        let mut captures = console.sluice.json("/api/v1/captures");
        captures["captures"].take()
    };
    assert_eq!(listed(console)[0]["id"], id);
    let browser = &mut console.browser;
    browser.click("button", &button);
    browser.click("button", "Delete");
    browser.await_text("The capture was deleted.");
    browser.await_text("Nothing was captured.");
    assert_eq!(listed(console), json!([]));
}
