//! `/console/`: the web console, whose files are part of the binary.
//!
//! It is plain HTML, CSS and ES modules in `control/console`, and knows nothing but the API. A debug
//! build serves the files as they are on disk, where it finds them, so that editing needs no build.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::Problem;
use super::extract::Path;

macro_rules! files {
    ($($name:literal)+) => {
        /// Every file, by its path below `/console/`.
        const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../console/", $name))),)+
        ];
    };
}

files! {
    "index.html"
    "icon.svg"
    "css/base.css"
    "css/layout.css"
    "css/parts.css"
    "js/announce.js"
    "js/api.js"
    "js/chart.js"
    "js/counters.js"
    "js/dialog.js"
    "js/diff.js"
    "js/dom.js"
    "js/form.js"
    "js/format.js"
    "js/login.js"
    "js/main.js"
    "js/poll.js"
    "js/router.js"
    "js/save.js"
    "js/table.js"
    "js/tabs.js"
    "js/theme.js"
    "js/trial.js"
    "js/who.js"
    "js/x509.js"
    "js/views/admin.js"
    "js/views/admin-account.js"
    "js/views/admin-audit.js"
    "js/views/admin-certificates.js"
    "js/views/admin-support.js"
    "js/views/admin-tokens.js"
    "js/views/admin-users.js"
    "js/views/config.js"
    "js/views/config-candidate.js"
    "js/views/config-edit.js"
    "js/views/config-history.js"
    "js/views/config-next.js"
    "js/views/config-parts.js"
    "js/views/ha.js"
    "js/views/logs.js"
    "js/views/packets.js"
    "js/views/nat.js"
    "js/views/network.js"
    "js/views/overview.js"
    "js/views/server-edit.js"
    "js/views/servers.js"
    "js/views/sessions.js"
    "js/views/talkers.js"
    "js/views/tools.js"
}

/// What a browser may do for the console: run its own scripts and styles, and speak to this appliance.
/// Nothing inline, nothing from elsewhere, no frame around it, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Sent with every file.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // Kept by the browser, and asked about each time: after an update no old file meets a new one.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The console, and a way to it from `/`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let start = || async { Redirect::temporary("/console/") };
    let index = |headers| async { file(Path("index.html".to_owned()), headers).await };
    Router::new()
        .route("/", get(start))
        .route("/console", get(start))
        .route("/console/", get(index))
        .route("/console/{*path}", get(file))
}

async fn file(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let body = find(&path).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here")
            .detail(format!("the console has no file {path:?}"))
    })?;
    let tag = tag(&body);
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.is_some_and(|list| list.to_str().is_ok_and(|list| names(list, &tag)));
    let tag = [(header::ETAG, tag)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, HEADERS, tag).into_response());
    }
    let kind = [(header::CONTENT_TYPE, kind(&path))];
    Ok((HEADERS, tag, kind, body).into_response())
}

fn find(path: &str) -> Option<Bytes> {
    let (name, text) = FILES.iter().find(|(name, _)| *name == path)?;
    #[cfg(debug_assertions)]
    if let Ok(text) =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/console/").to_owned() + name)
    {
        return Some(text.into());
    }
    let _ = name;
    Some(Bytes::from_static(text.as_bytes()))
}

fn tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether `If-None-Match` names this tag (RFC 9110, section 13.1.2: weakly compared).
fn names(list: &str, tag: &str) -> bool {
    let mut listed = list.split(',').map(str::trim);
    listed.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn walk(directory: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).expect("below it");
                found.insert(name.display().to_string());
            }
        }
    }

    #[test]
    fn no_file_of_the_console_is_left_out_of_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut found = BTreeSet::new();
        walk(&root, &root, &mut found);
        let listed: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, found);
        assert!(
            FILES
                .iter()
                .all(|(name, _)| kind(name) != "application/octet-stream")
        );
    }

    /// What a policy without `unsafe-inline` would have the browser refuse, and what would leave the
    /// appliance.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for (name, text) in FILES {
            let plain = text.replace("http://www.w3.org/", "");
            for refused in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "eval(",
                "new Function",
            ] {
                assert!(!plain.contains(refused), "{name}: {refused}");
            }
            if name.ends_with(".html") {
                for refused in [" style=", "<style", " onclick=", " onload=", "<script>"] {
                    assert!(!text.contains(refused), "{name}: {refused}");
                }
            }
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(names("\"a\"", "\"a\""));
        assert!(names("\"b\", W/\"a\"", "\"a\""));
        assert!(names("*", "\"a\""));
        assert!(!names("\"b\"", "\"a\""));
        assert!(!names("", "\"a\""));
    }
}
