//! Users, tokens, the audit log and certificates, by those who may; and what others are not offered.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::browser::Browser;
use sluice_tests::lab::Lab;

use crate::login::{PASSWORD, first_login, start};
use crate::{all_have_names, picture, view};

const CONSOLE: &str = "https://127.0.0.1:8080/";
const POOL: &str = "[[pool]]\nname = \"web\"\n\
    [[pool.server]]\nname = \"web1\"\naddress = \"10.1.0.11\"\nport = 80\n\
    [[virtual_server]]\nname = \"shop\"\naddress = \"203.0.113.80\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n";
const VERAS: [&str; 3] = [
    "the first of three",
    "the second of three",
    "the third of three",
];

/// What the API answers to whoever is logged in.
fn ask(browser: &mut Browser, call: &str) -> Value {
    browser.eval(&format!("import('/console/js/api.js').then((m) => {call})"))
}

/// The status that a token gets, and another one for what it may not.
fn status_with(browser: &mut Browser, secret: &str, method: &str, path: &str, body: &str) -> Value {
    browser.eval(&format!(
        "fetch('/api/v1{path}', {{ method: '{method}', body: {body} && JSON.stringify({body}), headers: {{ \
         Authorization: 'Bearer {secret}', 'Content-Type': 'application/json' }} }}).then((answer) => answer.status)"
    ))
}

/// What the browser itself reports of refusals.
#[track_caller]
pub(crate) fn refused(browser: &mut Browser, statuses: &[&str]) {
    let heard = browser.complaints();
    let expected = |one: &String| statuses.iter().any(|status| one.contains(status));
    assert!(heard.iter().all(expected), "{heard:?}");
}

#[test]
fn an_administrator_lets_others_in_and_sees_what_they_do() {
    let lab = Lab::gateway("admin");
    let (_appliance, first) = start(&lab, "tls = true\n", POOL);
    let mut browser = Browser::start(lab.appliance(), lab.directory());
    browser.call(
        "Security.setIgnoreCertificateErrors",
        json!({ "ignore": true }),
    );
    browser.open(CONSOLE);
    first_login(&mut browser, "admin", &first, PASSWORD);
    refused(&mut browser, &["401"]);

    view(&mut browser, "Administration");
    browser.await_text("You are admin, and your role is admin.");
    users(&mut browser);
    tokens(&mut browser);
    pages(&mut browser);
    certificates(&mut browser, lab.directory());
    support(&mut browser, lab.directory());
    roles(&mut browser);
    own_password(&mut browser);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn users(browser: &mut Browser) {
    browser.click("tab", "Users");
    browser.await_text("admin (you)");
    browser.click("button", "Add user");
    browser.fill("textbox", "Name", "vera");
    browser.choose("Role", "operator");
    browser.fill("textbox", "Password", VERAS[0]);
    browser.fill("textbox", "The same again", "another one");
    browser.press("Enter", 13);
    browser.await_text("The two are not the same");
    browser.fill("textbox", "Password", "short");
    browser.fill("textbox", "The same again", "short");
    browser.press("Enter", 13);
    browser.await_text("It cannot be so");
    refused(browser, &["422"]);
    all_have_names(browser, "a dialog");
    picture(browser, "admin-user");
    browser.fill("textbox", "Password", VERAS[0]);
    browser.fill("textbox", "The same again", VERAS[0]);
    browser.press("Enter", 13);
    browser.await_text("vera may log in now.");
    // Neither in the page nor in a field of it.
    let kept =
        "[...document.querySelectorAll('input')].some((one) => one.value.includes(' of three'))";
    assert_eq!(browser.eval(kept), false);
    let found = ask(browser, "m.get('/users/vera')");
    assert_eq!(
        (&found["role"], &found["must_change_password"]),
        (&json!("operator"), &json!(true))
    );
    // The same name again makes nobody's password another one.
    browser.click("button", "Add user");
    browser.fill("textbox", "Name", "vera");
    browser.fill("textbox", "Password", PASSWORD);
    browser.fill("textbox", "The same again", PASSWORD);
    browser.press("Enter", 13);
    browser.await_text("There is a user vera already");
    browser.press("Escape", 27);
    browser.await_true("document.querySelector('dialog') === null");
    // The keyboard goes on from where it was.
    browser.await_true("document.activeElement.textContent === 'Add user'");
    for scheme in ["dark", "light"] {
        browser.prefer(scheme);
        picture(browser, &format!("admin-users-{scheme}"));
    }
    // Who is the only one that may do this cannot be taken out.
    browser.click("button", "Delete admin");
    browser.click("button", "Delete");
    browser.await_text("this is the last administrator");
    refused(browser, &["409"]);
    browser.click("button", "Dismiss");
}

fn tokens(browser: &mut Browser) {
    browser.click("tab", "Tokens");
    browser.await_text("There is no token.");
    browser.click("button", "Make a token");
    browser.fill("textbox", "Name", "terraform");
    browser.choose("Role", "operator");
    browser.fill("spinbutton", "Days", "30");
    browser.click("button", "Make");
    browser.the("textbox", "Token");
    let secret = browser.eval("document.querySelector('input.secret').value");
    let secret = secret.as_str().expect("a secret").to_owned();
    picture(browser, "admin-token");
    browser.click("button", "Close");
    browser.await_true("document.querySelector('dialog') === null");
    let kept = format!(
        "document.documentElement.outerHTML.includes('{secret}') || \
         [...document.querySelectorAll('input')].some((one) => one.value === '{secret}')"
    );
    assert_eq!(browser.eval(&kept), false);
    assert_eq!(
        status_with(browser, &secret, "GET", "/whoami", "undefined"),
        200
    );
    // More than its role it may not, and the log says so.
    assert_eq!(
        status_with(browser, &secret, "DELETE", "/users/vera", "undefined"),
        403
    );
    refused(browser, &["403"]);

    browser.click("tab", "Audit log");
    browser.await_text("/api/v1/users/vera");
    browser.await_text("/api/v1/tokens");
    browser.fill("textbox", "What", "/api/v1/tokens");
    browser.press("Enter", 13);
    let rows = "[...document.querySelectorAll('main tbody tr')]";
    browser.await_true(&format!("{rows}.length === 1"));
    browser.await_true(&format!("{rows}[0].innerText.includes('done (201)')"));
    browser.click("button", "Clear");
    browser.choose("Outcome", "refused");
    browser.click("button", "Search");
    browser.await_true(&format!(
        "{rows}.some((row) => /terraform[^]*DELETE[^]*users\\/vera[^]*refused \\(403\\)/.test(row.innerText))"
    ));
    picture(browser, "admin-audit");

    browser.click("tab", "Tokens");
    browser.click("button", "Revoke token terraform of admin");
    browser.click("button", "Revoke");
    browser.await_text("Token terraform is revoked.");
    browser.await_text("There is no token.");
    assert_eq!(
        status_with(browser, &secret, "GET", "/whoami", "undefined"),
        401
    );
    refused(browser, &["401"]);
    browser.click("tab", "Audit log");
    browser.await_true(&format!(
        "{rows}.some((row) => /DELETE[^]*tokens[^]*done \\(204\\)/.test(row.innerText))"
    ));
}

/// More records than the API gives at once.
fn pages(browser: &mut Browser) {
    browser.eval(
        "(async () => { \
         const headers = { Authorization: `Bearer ${sessionStorage.getItem('sluice.token')}` }; \
         const ask = () => fetch('/api/v1/tokens/none', { method: 'DELETE', headers }); \
         for (let n = 0; n < 105; n += 1) await Promise.all(Array.from({ length: 10 }, ask)); })()",
    );
    refused(browser, &["404"]);
    browser.fill("textbox", "What", "/api/v1/tokens/none");
    browser.fill("textbox", "Who", "admin");
    browser.choose("Outcome", "failed");
    browser.fill("textbox", "Since", "soon");
    browser.click("button", "Search");
    browser.await_text("is not a time");
    refused(browser, &["400"]);
    browser.fill("textbox", "Since", "1h");
    browser.click("button", "Search");
    browser.await_text("100 of 1,000 or more records");
    for shown in 2..=9 {
        browser.click("button", "More");
        browser.await_text(&format!("{shown}00 of 1,000 or more records"));
    }
    browser.click("button", "More");
    browser.await_text("1,000 of 1,000 or more records");
    browser.click("button", "More");
    browser.await_text("1,050 of 1,050 records");
    assert_eq!(
        browser.eval("document.querySelectorAll('main tbody tr').length"),
        1050
    );
    browser.await_true(
        "[...document.querySelectorAll('main button')].find((one) => one.textContent === 'More').hidden",
    );
}

/// Chooses a file, as the browser's own dialog would.
fn choose_file(browser: &mut Browser, number: usize, file: &Path) {
    let expression = format!("document.querySelectorAll('input[type=file]')[{number}]");
    let input = browser.call("Runtime.evaluate", json!({ "expression": expression }));
    let to = json!({ "objectId": input["result"]["objectId"], "files": [file] });
    browser.call("DOM.setFileInputFiles", to);
}

/// What `openssl` says.
fn openssl(directory: &Path, command: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(directory)
        .output();
    let output = output.expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn certificates(browser: &mut Browser, directory: &Path) {
    openssl(
        directory,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch -days 90 \
         -keyout new.key -out new.pem -subj /O=Example/CN=console.test \
         -addext subjectAltName=DNS:console.test,IP:127.0.0.1",
    );
    browser.click("tab", "Certificates");
    browser.await_text("Clients are not asked for certificates.");
    all_have_names(browser, "certificates");
    // The key is missing.
    choose_file(browser, 0, &directory.join("new.pem"));
    browser.click("button", "Replace the certificate");
    browser.await_text("There is no private key");
    choose_file(browser, 0, &directory.join("new.pem"));
    choose_file(browser, 1, &directory.join("new.key"));
    browser.click("button", "Replace the certificate");
    browser.await_text("O=Example, CN=console.test");
    browser.click("button", "Use it");
    browser.await_text("The certificate was replaced.");
    browser.await_text("console.test, 127.0.0.1");
    let print = "openssl x509 -in new.pem -noout -fingerprint -sha256 | sed s/.*=//";
    browser.await_text(openssl(directory, print).trim());
    picture(browser, "admin-certificates");
    // What others read in it.
    let pem = std::fs::read_to_string(directory.join("new.pem")).expect("it is there");
    let call = format!("m.certificates({})[0].until.toISOString()", json!(pem));
    let until = browser.eval(&format!(
        "import('/console/js/x509.js').then((m) => {call})"
    ));
    let end = openssl(
        directory,
        "openssl x509 -in new.pem -noout -enddate -dateopt iso_8601 | sed 's/.*=//; s/ /T/; s/Z/.000Z/'",
    );
    assert_eq!(until, end.trim());
    // A request on a connection that meets the new one.
    assert_eq!(ask(browser, "m.get('/whoami')")["name"], "admin");
    clients(browser, directory);
}

/// Who vouches for clients, and who is not to be trusted any more.
fn clients(browser: &mut Browser, directory: &Path) {
    openssl(
        directory,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch -days 9 \
         -keyout ca.key -out ca.pem -subj /CN=authority\n\
         printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ncrlnumber=number\\n' >ca.cnf\n\
         : >index\necho 01 >number\n\
         openssl ca -config ca.cnf -gencrl -keyfile ca.key -cert ca.pem -crldays 9 -md sha256 \
         -out ca.crl",
    );
    let set = "Ask clients for certificates";
    choose_file(browser, 2, &directory.join("ca.pem"));
    choose_file(browser, 3, &directory.join("ca.pem"));
    browser.click("button", set);
    browser.await_text("There is no revocation list in this file");
    choose_file(browser, 3, &directory.join("ca.crl"));
    browser.click("button", set);
    browser.await_text("Revocation lists: 1");
    let list = std::fs::read_to_string(directory.join("ca.crl")).expect("it is there");
    let asked = ask(browser, "m.get('/tls/clients')");
    let crls = asked["clients"]["crls"].as_str().expect("a list");
    assert_eq!(crls.trim(), list.trim());
    // Without another file all of it stays.
    browser.click("button", set);
    browser.await_true("document.querySelectorAll('main button:disabled').length === 0");
    assert_eq!(ask(browser, "m.get('/tls/clients')"), asked);
    browser.click("button", "Ask for none");
    browser.click("button", "Ask for none");
    browser.await_text("Clients are not asked for certificates.");
}

fn support(browser: &mut Browser, directory: &Path) {
    let to = directory.join("downloads");
    let allow = json!({ "behavior": "allow", "downloadPath": to });
    browser.call("Page.setDownloadBehavior", allow);
    browser.click("tab", "Support bundle");
    browser.click("button", "Download support bundle");
    browser.await_text("The support bundle was made");
    sluice_tests::wait::expect("a file", || {
        let files = std::fs::read_dir(&to).into_iter().flatten().flatten();
        let mut whole = files.filter(|file| file.path().extension().is_some_and(|e| e == "gz"));
        whole.any(|file| {
            std::fs::read(file.path()).is_ok_and(|data| data.starts_with(&[0x1f, 0x8b]))
        })
    });
}

/// An operator whose role is taken away in the middle of it, and who is a viewer then.
fn roles(browser: &mut Browser) {
    let wanted =
        "m.request('POST', '/tokens', { body: { name: 'test', role: 'admin', seconds: 600 } })";
    let made = ask(
        browser,
        &format!("{wanted}.then((made) => made.data.token)"),
    );
    let admin = made.as_str().expect("a secret").to_owned();
    browser.click("button", "Log out admin");
    first_login(browser, "vera", VERAS[0], VERAS[1]);
    refused(browser, &["401"]);
    view(browser, "Virtual servers");
    browser.the("button", "Disable web/web1");
    let body = "{ role: 'viewer' }";
    let status = status_with(browser, &admin, "PUT", "/users/vera", body);
    assert_eq!(status, 200);
    let drain =
        "m.request('PATCH', '/config/pool/web/server/web1', { body: { state: 'draining' } })";
    let status = ask(browser, &format!("{drain}.catch((error) => error.status)"));
    assert_eq!(status, 403);
    refused(browser, &["403"]);
    // Buttons that are of no use any more go by themselves.
    browser.await_true("!document.querySelector('main').innerText.includes('Drain')");
    browser.await_text("web1");
    let names = |browser: &mut Browser| -> Vec<String> {
        let controls = browser.controls();
        controls.into_iter().map(|(_, name)| name).collect()
    };
    let seen = names(browser);
    for absent in [
        "Packets",
        "Tools",
        "Drain web/web1",
        "Change weight and state of web/web1",
    ] {
        assert!(
            !seen.iter().any(|name| name == absent),
            "{absent}: {seen:?}"
        );
    }
    picture(browser, "servers-viewer");
    view(browser, "Configuration");
    browser.await_text("[[virtual_server]]");
    let seen = names(browser);
    for absent in ["Edit", "Parts", "Candidate"] {
        assert!(
            !seen.iter().any(|name| name == absent),
            "{absent}: {seen:?}"
        );
    }
    browser.click("tab", "History");
    browser.await_text("in use");
    assert!(
        !names(browser)
            .iter()
            .any(|name| name.starts_with("Roll back"))
    );
    // By the address all the same.
    browser.eval("location.hash = '#/packets'");
    browser.await_text("This takes the role operator; yours is viewer.");
    view(browser, "Administration");
    let tabs =
        browser.eval("[...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent)");
    assert_eq!(tabs, json!(["Own account"]));
}

fn own_password(browser: &mut Browser) {
    browser.fill("textbox", "Password until now", "not the one");
    browser.fill("textbox", "New password", VERAS[2]);
    browser.fill("textbox", "The same again", VERAS[2]);
    browser.click("button", "Change password");
    browser.await_text("not the password");
    refused(browser, &["422"]);
    browser.fill("textbox", "Password until now", VERAS[1]);
    browser.click("button", "Change password");
    browser.await_text("Your password is another one now.");
    let kept = "[...document.querySelectorAll('input')].some((one) => one.value !== '')";
    assert_eq!(browser.eval(kept), false);
    // What was asked for by the login that has ended.
    refused(browser, &["401"]);
    picture(browser, "admin-account");
    browser.click("button", "Log out vera");
    browser.fill("textbox", "User", "vera");
    browser.fill("textbox", "Password", VERAS[2]);
    browser.press("Enter", 13);
    browser.await_text("connected");
    refused(browser, &["401"]);
}
