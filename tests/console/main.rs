//! The console, in a browser, before an appliance that real hosts send traffic through.
//!
//! Pictures of every view are kept in `target/console/`.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::browser::Browser;
use sluice_tests::lab::{Host, Lab};
use sluice_tests::load::Load;
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

mod administration;
mod by_keyboard;
mod changes;
mod ha;
mod login;
mod modules;
mod next;
mod packets;
mod tools;

const VIP: &str = "203.0.113.80";
const CONSOLE: &str = "http://127.0.0.1:8080/";

/// What the appliance is to do; `# kept` shows whether comments survive.
fn configuration(servers: [&Host; 2]) -> String {
    let servers: String = servers
        .iter()
        .map(|host| {
            format!(
                "[[pool.server]]\nname = \"{}\"\naddress = \"{}\"\nport = 80\nweight = 1\n",
                host.name(),
                host.address()
            )
        })
        .collect();
    format!(
        "# kept\n[firewall]\nopen = [{{ from = \"inside\", to = \"outside\" }}]\n\
         [[snat_pool]]\nname = \"public\"\naddresses = [\"203.0.113.1\"]\n\
         [[snat]]\nname = \"all\"\nfrom = \"inside\"\nto = \"outside\"\npool = \"public\"\n\
         [[pool]]\nname = \"web\"\n{servers}\
         [[virtual_server]]\nname = \"shop\"\naddress = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\n\
         pool = \"web\"\n"
    )
}

struct Console {
    browser: Browser,
    sluice: Sluice,
}

impl Console {
    /// Goes to a view by its link, as people do, and sees to what holds for all of them.
    #[track_caller]
    fn view(&mut self, title: &str) {
        view(&mut self.browser, title);
    }

    #[track_caller]
    fn picture(&mut self, name: &str) {
        picture(&mut self.browser, name);
    }

    /// What the API says of a real server.
    fn server(&self, name: &str) -> Value {
        let mut stats = self.sluice.json("/api/v1/stats");
        let servers = stats["servers"].as_array_mut().expect("servers");
        let one = servers.iter_mut().find(|one| one["name"] == name);
        one.expect("it is there").take()
    }

    fn configuration(&self) -> String {
        self.sluice.get("/api/v1/config").expect("an answer").text()
    }
}

#[track_caller]
fn view(browser: &mut Browser, title: &str) {
    browser.click("link", title);
    browser.await_true(&format!(
        "document.activeElement.tagName === 'H1' && \
         document.activeElement.textContent === {}",
        json!(title)
    ));
    assert_eq!(browser.eval("document.querySelectorAll('h1').length"), 1);
    assert_eq!(
        browser.eval("document.querySelectorAll('[aria-current=page]').length"),
        1
    );
    all_have_names(browser, title);
}

/// A screen reader can say what everything is that can be operated.
#[track_caller]
fn all_have_names(browser: &mut Browser, of: &str) {
    let controls = browser.controls();
    let nameless = controls.iter().find(|(_, name)| name.is_empty());
    assert_eq!(nameless, None, "{of}: {controls:?}");
}

#[track_caller]
fn picture(browser: &mut Browser, name: &str) {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    let directory = target.join("console");
    std::fs::create_dir_all(&directory).expect("cannot make a directory");
    // The tests are root; whoever built them wants to be able to remove it.
    let owner = std::fs::metadata(&target).expect("it is there");
    std::os::unix::fs::chown(&directory, Some(owner.uid()), Some(owner.gid())).expect("root may");
    browser.screenshot(&directory.join(format!("{name}.png")));
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{name}: {complaints:#?}");
}

#[test]
fn an_operator_finds_their_way_from_graphs_to_rollback() {
    let mut lab = Lab::gateway("console");
    let client = lab.outside(10);
    let (one, two) = (lab.inside(11), lab.inside(12));
    let _nginx = [&one, &two].map(Nginx::start);
    let sluice = lab.start(&configuration([&one, &two]));
    let vip: SocketAddr = format!("{VIP}:80").parse().expect("an address");
    let load = Load::start(client.namespace(), 2, vip, "/", Duration::from_millis(30));
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.open(CONSOLE);
    let mut console = Console { browser, sluice };

    overview(&mut console);
    drain(&mut console, &load);
    let load = load.finish();
    assert_eq!(
        load.failures,
        Vec::<String>::new(),
        "draining breaks nothing"
    );
    sessions(&mut console, &client, vip);
    console.view("NAT");
    console.browser.await_text("203.0.113.1");
    console.picture("nat");
    console.view("Network");
    console.browser.await_text("198.51.100.10");
    console.picture("network");
    events_and_logs(&mut console);
    wrong_configuration(&mut console);
    trial(&mut console);
    commit_and_roll_back(&mut console);
    keyboard(&mut console);
    modules::check(&mut console.browser);
    assert_eq!(console.browser.complaints(), Vec::<String>::new());
}

fn overview(console: &mut Console) {
    let browser = &mut console.browser;
    browser.await_text("connected");
    browser.await_text("lab · ");
    // Two readings make a rate, and a rate a line.
    browser.await_true("document.querySelectorAll('polyline.chart-line').length >= 6");
    browser.await_true(
        "[...document.querySelectorAll('.tile')].some((tile) => \
         tile.innerText.startsWith('New sessions') && Number.parseFloat(tile.querySelector('dd').innerText) > 0)",
    );
    browser.await_true(
        "/received [1-9].*forwarded [1-9]/.test(document.querySelector('figure svg').ariaLabel)",
    );
    // Who has most is asked for by itself, and leads to their sessions.
    console
        .browser
        .await_true("document.querySelector('main td a')?.textContent === '198.51.100.10'");
    console.browser.choose("Of", "server");
    console
        .browser
        .await_true("document.querySelector('main td a')?.textContent.startsWith('web/in1')");
    // A line takes two points; pictures begin at the top.
    console.browser.await_true(
        "document.querySelector('polyline.chart-line').getAttribute('points').split(' ').length > 4",
    );
    console
        .browser
        .eval("document.activeElement.blur(), scrollTo(0, 0)");
    for scheme in ["dark", "light"] {
        console.browser.prefer(scheme);
        console.picture(&format!("overview-{scheme}"));
    }
    // The button outdoes what the system prefers, and survives the page.
    let page = "getComputedStyle(document.body).backgroundColor";
    let light = console.browser.eval(page);
    console
        .browser
        .click("button", "Theme: auto. Change to light");
    console
        .browser
        .click("button", "Theme: light. Change to dark");
    assert_ne!(console.browser.eval(page), light);
    console.browser.open(CONSOLE);
    console.browser.await_text("connected");
    assert_ne!(console.browser.eval(page), light);
    console
        .browser
        .click("button", "Theme: dark. Change to auto");
    assert_eq!(console.browser.eval(page), light);
}

fn drain(console: &mut Console, load: &Load) {
    console.view("Virtual servers");
    console.browser.await_text("203.0.113.80:80");
    console.browser.await_text("New sessions go to: pool");
    console.picture("servers");
    console.browser.click("button", "Drain web/in11");
    // Nothing happens before it is confirmed.
    console.browser.click("button", "Cancel");
    assert_eq!(console.server("web/in11")["state"], "up");
    console.browser.click("button", "Drain web/in11");
    console.browser.click("button", "Drain");
    console.browser.await_text("web/in11 is draining now.");
    assert_eq!(console.server("web/in11")["state"], "draining");
    assert!(console.configuration().contains("# kept"), "comments stay");
    // A session that a worker opened before may be published after.
    let opened = || console.server("web/in11")["sessions_opened"].clone();
    wait::expect("new sessions to go elsewhere", || {
        let before = opened();
        load.run_for(20);
        opened() == before
    });
    console.picture("servers-draining");
    console.browser.click("button", "Enable web/in11");
    console.browser.click("button", "Enable");
    console.browser.await_text("web/in11 is up now.");
    assert_eq!(console.server("web/in11")["state"], "up");
}

fn sessions(console: &mut Console, client: &Host, vip: SocketAddr) {
    let idle = client
        .namespace()
        .inside(|| TcpStream::connect(vip).expect("a session"));
    let port = idle.local_addr().expect("its address").port().to_string();
    let listed = |console: &Console| {
        let found = console
            .sluice
            .json(&format!("/api/v1/sessions?source_port={port}"));
        found["sessions"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(listed(console), 1);
    console.view("Sessions");
    console.picture("sessions");
    console.browser.fill("textbox", "Any address", "10.300.0.0");
    console.browser.press("Enter", 13);
    console.browser.await_text("is not an address or network");
    // The browser itself reports that the API refused.
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("400")), "{refused:?}");
    console.browser.click("button", "Clear");
    console.browser.fill("textbox", "Any port", &port);
    console.browser.choose("Protocol", "tcp");
    console.browser.click("button", "Search");
    console
        .browser
        .await_true("document.querySelectorAll('main tbody tr').length === 1");
    console
        .browser
        .await_true("location.hash.includes('port=') && location.hash.includes('protocol=tcp')");
    console.browser.await_text("1 session");
    console.picture("sessions-found");
    let name = format!("End tcp session {}:{port} → {vip}", client.address());
    console.browser.click("button", &name);
    console.browser.click("button", "End");
    console.browser.await_text("1 session ended.");
    console.browser.await_text("No session matches.");
    assert_eq!(listed(console), 0);
}

fn events_and_logs(console: &mut Console) {
    console.view("Events and logs");
    console.browser.await_text("configuration.committed");
    console.browser.await_text("comment=");
    console.picture("logs");
    console.browser.choose("Level", "error");
    console.browser.await_text("No line is as bad as that.");
    console.browser.fill("textbox", "What is logged", "inof");
    console.browser.click("button", "Set");
    console.browser.await_text("is no level; write error");
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("422")), "{refused:?}");
    console
        .browser
        .fill("textbox", "What is logged", "info,sluice_control=debug");
    console
        .browser
        .fill("textbox", "For how many seconds", "600");
    console.browser.click("button", "Set");
    console.browser.await_text(
        "Logged is info,sluice_control=debug; at the start it was info. It is info again in",
    );
}

/// Opens the editor, and puts its text through a function of the page.
#[track_caller]
fn edit(console: &mut Console, change: &str) {
    console.view("Configuration");
    console.browser.click("tab", "Edit");
    let source = "document.querySelector('textarea.source')";
    console
        .browser
        .await_true(&format!("{source}?.value.includes('virtual_server')"));
    let changed = console
        .browser
        .eval(&format!("((text) => {change})({source}.value)"));
    let changed = changed.as_str().expect("a text").to_owned();
    console
        .browser
        .fill("textbox", "Configuration (TOML)", &changed);
}

fn wrong_configuration(console: &mut Console) {
    console.view("Configuration");
    console.browser.await_text("[[virtual_server]]");
    console.picture("config");
    edit(
        console,
        "text.replace('protocol = \"tcp\"', 'protocol = \"tpc\"')",
    );
    console
        .browser
        .await_true("document.querySelector('.diff .add')?.textContent.includes('tpc')");
    console.browser.click("button", "Check");
    console.browser.await_text("virtual_server[0].protocol");
    console
        .browser
        .await_true("getSelection().toString().includes('tpc')");
    let refused = console.browser.complaints();
    assert!(refused.iter().all(|one| one.contains("422")), "{refused:?}");
    console.picture("config-wrong");
    console.browser.click("button", "Discard");
    console.browser.await_text("None.");
}

/// A commit that is not confirmed goes away.
fn trial(console: &mut Console) {
    let before = console.configuration();
    edit(console, "text.replace('weight = 1', 'weight = 3')");
    console.browser.click("button", "Check");
    console.browser.await_text("It is right.");
    console.browser.await_text("pool[web].server[in11].weight");
    assert_eq!(console.configuration(), before, "a check changes nothing");
    console.picture("config-checked");
    console.browser.fill("textbox", "Comment", "more for in11");
    console.browser.click("button", "Commit");
    console.browser.await_text("is on trial (more for in11)");
    assert!(console.configuration().contains("weight = 3"));
    console.picture("config-trial");
    console.browser.click("button", "Undo now");
    console
        .browser
        .await_true("document.getElementById('trial').hidden");
    assert_eq!(console.configuration(), before);
}

fn commit_and_roll_back(console: &mut Console) {
    let before = console.configuration();
    edit(console, "text.replace('weight = 1', 'weight = 5')");
    console.browser.fill("textbox", "Comment", "for good");
    console.browser.fill("spinbutton", "Confirm within", "0");
    console.browser.click("button", "Commit");
    console.browser.await_text("is in use.");
    assert!(console.configuration().contains("weight = 5"));
    console.browser.click("tab", "History");
    console.browser.await_text("for good");
    let history = console.sluice.json("/api/v1/config/revisions");
    let earlier = &history["revisions"][1]["number"];
    console
        .browser
        .click("button", &format!("Compare revision {earlier}"));
    console
        .browser
        .await_true("document.querySelector('.diff .del')?.textContent.includes('weight = 5')");
    console.picture("config-history");
    console
        .browser
        .click("button", &format!("Roll back to revision {earlier}"));
    console.browser.click("button", "Roll back");
    console.browser.await_text("is on trial");
    console.browser.click("button", "Confirm");
    console
        .browser
        .await_true("document.getElementById('trial').hidden");
    assert_eq!(console.configuration(), before);
}

/// The first thing that Tab reaches leads past the navigation.
fn keyboard(console: &mut Console) {
    // Another part of the same address would not be a new page.
    console.browser.open("about:blank");
    console.browser.open(&format!("{CONSOLE}console/#/network"));
    console.browser.await_text("connected");
    console.browser.press("Tab", 9);
    assert_eq!(console.browser.eval("document.activeElement.id"), "skip");
    console.browser.press("Enter", 13);
    assert_eq!(console.browser.eval("document.activeElement.id"), "main");
    assert_eq!(console.browser.eval("location.hash"), "#/network");
}
