//! The console's files, as a browser asks for them.

use super::lab;

#[test]
fn the_console_is_found_from_the_bare_address() {
    let lab = lab();
    for path in ["/", "/console"] {
        let start = lab.get(path);
        assert_eq!(start.status, 307, "{path}");
        assert!(start.head.contains("location: /console/"), "{}", start.head);
    }
    let index = lab.get("/console/");
    assert_eq!(index.status, 200);
    assert!(
        index
            .head
            .contains("content-type: text/html; charset=utf-8")
    );
    assert!(index.body.contains("<main id=\"main\""), "{}", index.body);
    assert_eq!(lab.get("/console/index.html").body, index.body);
}

#[test]
fn every_file_has_its_type_and_may_do_nothing_but_speak_to_us() {
    let lab = lab();
    for (path, kind) in [
        ("/console/js/main.js", "text/javascript; charset=utf-8"),
        ("/console/css/base.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
        ("/console/", "text/html; charset=utf-8"),
    ] {
        let file = lab.get(path);
        assert_eq!(file.status, 200, "{path}");
        for header in [
            &*format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
        ] {
            assert!(
                file.head.contains(header),
                "{path}: {header}: {}",
                file.head
            );
        }
        assert!(!file.head.contains("unsafe"), "{}", file.head);
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let lab = lab();
    let file = lab.get("/console/js/main.js");
    let known = format!("If-None-Match: {}\r\n", file.tag());
    let again = lab.ask("GET", "/console/js/main.js", &known, "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.tag(), file.tag());
    assert!(again.head.contains("content-security-policy:"));
    let other = lab.ask("GET", "/console/js/api.js", &known, "");
    assert_eq!(other.status, 200);
}

#[test]
fn what_the_console_does_not_have_is_a_problem() {
    let lab = lab();
    for path in [
        "/console/js/nothing.js",
        "/console/../Cargo.toml",
        "/console/%2e%2e/Cargo.toml",
        "/console/js/..%2f..%2f..%2fCargo.toml",
        "/console/js",
    ] {
        let missing = lab.get(path);
        assert_eq!(missing.status, 404, "{path}");
        assert!(missing.head.contains("application/problem+json"));
    }
    assert_eq!(lab.ask("PUT", "/console/js/main.js", "", "").status, 405);
}
