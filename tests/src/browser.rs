//! A real browser: Debian's Chromium without a window, driven over its DevTools protocol.
//!
//! The protocol comes over two pipes, not over a port, so it does not matter which network the
//! browser is in. Elements are found as a screen reader finds them, by role and name, and used as
//! people use them, by mouse and keyboard.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::netns::Namespace;
use crate::wait;

/// How long the browser may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

const ARGUMENTS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    // The tests are root, whom the browser's sandbox does not know; and nothing but ours is visited.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--force-prefers-reduced-motion",
    "--window-size=1400,1000",
];

/// A running browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    log: PathBuf,
    session: Option<String>,
    last: u64,
    complaints: Vec<String>,
}

/// An element of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element(i64);

impl Browser {
    /// Starts it in a network namespace. Its profile and log go to `directory`.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start(namespace: &Namespace, directory: &Path) -> Self {
        let log = directory.join("chromium.log");
        let profile = format!("--user-data-dir={}", directory.join("chromium").display());
        // The shell gives it the pipes where it wants them: it reads 3 and writes 4.
        let mut child = namespace
            .command("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >&2",
                "sh",
                "chromium",
            ])
            .args(ARGUMENTS)
            .arg(profile)
            .env("HOME", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("cannot make a log file"))
            .process_group(0)
            .spawn()
            .expect("cannot start chromium");
        let pipe = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            pipe,
            messages,
            log,
            session: None,
            last: 0,
            complaints: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let to = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", to);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "DOM", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// One command of the protocol, and its result.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters)
            .unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    #[track_caller]
    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.pipe.write_all(format!("{message}\0").as_bytes());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(mut message) = self.messages.recv_timeout(left) else {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{method}: the browser does not answer ({sent:?})\n{log}");
            };
            if message["id"] != json!(id) {
                self.listen(&message);
            } else if message["error"].is_null() {
                return Ok(message["result"].take());
            } else {
                return Err(message["error"].to_string());
            }
        }
    }

    /// Remembers what goes wrong in the page.
    fn listen(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                let details = &parameters["exceptionDetails"];
                self.complaints.push(details.to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"].to_string());
            }
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.complaints.push(parameters["args"].to_string());
            }
            _ => {}
        }
    }

    /// Exceptions, errors of the console and refusals of the security policy since the last time that
    /// this was asked.
    pub fn complaints(&mut self) -> Vec<String> {
        // What came before the answer to this has been heard.
        self.call("Runtime.evaluate", json!({ "expression": "0" }));
        std::mem::take(&mut self.complaints)
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// If the browser cannot.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// Has the page compute something; promises are waited for.
    ///
    /// # Panics
    /// If it throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression)
            .unwrap_or_else(|why| panic!("{expression}: {why}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true
        });
        let mut outcome = self.try_call("Runtime.evaluate", parameters)?;
        let thrown = &outcome["exceptionDetails"];
        if !thrown.is_null() {
            return Err(thrown["exception"]["description"].to_string());
        }
        Ok(outcome["result"]["value"].take())
    }

    /// Waits until something is true in the page. While it loads, what is asked for may not be there.
    ///
    /// # Panics
    /// If it never is; with the text of the page.
    #[track_caller]
    pub fn await_true(&mut self, expression: &str) {
        let holds = wait::until(wait::PATIENCE, || {
            match self.try_eval(&format!("Boolean({expression})"))? {
                Value::Bool(true) => Ok(()),
                _ => Err("it is false".to_owned()),
            }
        });
        if let Err(why) = holds {
            let text = self.text();
            panic!("in vain: {expression}: {why}\n{text}");
        }
    }

    /// What can be read on the page.
    fn text(&mut self) -> String {
        let text = self.try_eval("document.body.innerText");
        text.map_or_else(|why| why, |text| text.as_str().unwrap_or("").to_owned())
    }

    /// Waits until the page shows a text.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn await_text(&mut self, text: &str) {
        self.await_true(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ));
    }

    /// The elements that a screen reader would call so.
    fn find(&mut self, role: &str, name: &str) -> Vec<Element> {
        let root = self.call("DOM.getDocument", json!({ "depth": 0 }));
        let query = json!({
            "nodeId": root["root"]["nodeId"], "role": role, "accessibleName": name
        });
        // The document may be another one by now.
        let found = self.try_call("Accessibility.queryAXTree", query);
        let nodes = found
            .ok()
            .and_then(|mut found| match found["nodes"].take() {
                Value::Array(nodes) => Some(nodes),
                _ => None,
            });
        let nodes = nodes.into_iter().flatten();
        let shown = nodes.filter(|node| node["ignored"] != true);
        shown
            .filter_map(|node| node["backendDOMNodeId"].as_i64().map(Element))
            .collect()
    }

    /// The one element of this role and name, when it is there.
    ///
    /// # Panics
    /// If there never is exactly one.
    #[track_caller]
    pub fn the(&mut self, role: &str, name: &str) -> Element {
        let one = wait::until(wait::PATIENCE, || match self.find(role, name)[..] {
            [element] => Ok(element),
            ref other => Err(other.len()),
        });
        one.unwrap_or_else(|count| {
            let text = self.text();
            panic!("{count} elements are {role} {name:?}\n{text}");
        })
    }

    /// Role and name of what has the focus, as a screen reader has them.
    ///
    /// # Panics
    /// If the browser cannot say.
    #[track_caller]
    pub fn focused(&mut self) -> (String, String) {
        let asked = json!({ "expression": "document.activeElement" });
        let found = self.call("Runtime.evaluate", asked);
        let of = json!({ "objectId": found["result"]["objectId"], "fetchRelatives": false });
        let mut tree = self.call("Accessibility.getPartialAXTree", of);
        let mut told = |what: &str| match tree["nodes"][0][what]["value"].take() {
            serde_json::Value::String(text) => text,
            _ => String::new(),
        };
        (told("role"), told("name"))
    }

    /// Clicks the middle of an element.
    ///
    /// # Panics
    /// If it cannot be clicked.
    #[track_caller]
    pub fn click(&mut self, role: &str, name: &str) {
        let clicked = wait::until(wait::PATIENCE, || {
            let Element(node) = self.the(role, name);
            self.try_click(node)
        });
        clicked.unwrap_or_else(|why| panic!("click on {role} {name:?}: {why}"));
    }

    fn try_click(&mut self, node: i64) -> Result<(), String> {
        let of = json!({ "backendNodeId": node });
        self.try_call("DOM.scrollIntoViewIfNeeded", of.clone())?;
        let quads = self.try_call("DOM.getContentQuads", of)?;
        let quad: Vec<f64> = serde_json::from_value(quads["quads"][0].clone())
            .map_err(|_| "it is nowhere on the page".to_owned())?;
        let middle = |at: usize| (quad[at] + quad[at + 4]) / 2.0;
        self.uncovered(node, middle(0), middle(1))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": middle(0), "y": middle(1), "button": "left", "clickCount": 1
            });
            self.try_call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Whether a click there meets an element, or part of it, and nothing that lies above it.
    fn uncovered(&mut self, node: i64, x: f64, y: f64) -> Result<(), String> {
        let object = self.try_call("DOM.resolveNode", json!({ "backendNodeId": node }))?;
        let asked = json!({
            "objectId": object["object"]["objectId"],
            "functionDeclaration": "function (x, y) { \
                const hit = document.elementFromPoint(x, y); \
                return this.contains(hit) ? null : `covered by ${hit?.outerHTML.slice(0, 200)}`; }",
            "arguments": [{ "value": x }, { "value": y }],
            "returnByValue": true
        });
        let said = self.try_call("Runtime.callFunctionOn", asked)?;
        said["result"]["value"]
            .as_str()
            .map_or(Ok(()), |by| Err(by.to_owned()))
    }

    /// Replaces what stands in a field, by keyboard.
    ///
    /// # Panics
    /// If there is no such field.
    #[track_caller]
    pub fn fill(&mut self, role: &str, name: &str, text: &str) {
        let Element(node) = self.the(role, name);
        self.call("DOM.focus", json!({ "backendNodeId": node }));
        self.eval("document.activeElement.select()");
        if text.is_empty() {
            self.press("Delete", 46);
        } else {
            self.call("Input.insertText", json!({ "text": text }));
        }
    }

    /// Chooses an option of a list.
    ///
    /// # Panics
    /// If there is no such list.
    #[track_caller]
    pub fn choose(&mut self, name: &str, value: &str) {
        let Element(node) = self.the("combobox", name);
        self.call("DOM.focus", json!({ "backendNodeId": node }));
        let value = json!(value);
        self.eval(&format!(
            "document.activeElement.value = {value}; \
             document.activeElement.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ));
    }

    /// Presses a key, named as in the DOM, with its Windows key code.
    ///
    /// # Panics
    /// If the browser cannot.
    #[track_caller]
    pub fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Sets what the system is said to prefer: `light` or `dark`.
    ///
    /// # Panics
    /// If the browser cannot.
    pub fn prefer(&mut self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// Role and name of everything that can be operated, as a screen reader has it.
    ///
    /// # Panics
    /// If the browser cannot say.
    pub fn controls(&mut self) -> Vec<(String, String)> {
        const OPERATED: &[&str] = &[
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "spinbutton",
            "checkbox",
            "tab",
        ];
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree");
        let told = |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or("").to_owned();
        let shown = nodes.iter().filter(|node| node["ignored"] != true);
        shown
            .map(|node| (told(node, "role"), told(node, "name")))
            .filter(|(role, _)| OPERATED.contains(&role.as_str()))
            .collect()
    }

    /// Keeps a picture of the page, as PNG.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn screenshot(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = picture["data"].as_str().expect("a picture");
        let data = base64::prelude::BASE64_STANDARD.decode(data);
        std::fs::write(path, data.expect("a picture")).expect("cannot write a picture");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).expect("a pid");
        let group = nix::unistd::Pid::from_raw(group);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
