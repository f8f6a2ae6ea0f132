//! `sluice ctl`: the command line of the API, by this program's name.
//!
//! It becomes `sluicectl` and has no part of it: what carries packets needs neither an HTTP client nor a
//! terminal, and what asks the API needs nothing that this program was given.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PROGRAM: &str = "sluicectl";
/// As a shell has it for a program that is not there.
const MISSING: u8 = 127;

/// Becomes it, with these arguments; returns only where that is impossible, having said why.
pub(crate) fn become_it(arguments: &[OsString]) -> ExitCode {
    let own = std::env::current_exe();
    let program = beside(own.as_deref().ok());
    let why = Command::new(&program).args(arguments).exec();
    eprintln!("{}", refusal(&program, &why));
    ExitCode::from(MISSING)
}

/// The one that was installed with this program; where there is none, the one of the search path.
fn beside(own: Option<&Path>) -> PathBuf {
    let near = own.map(|own| own.with_file_name(PROGRAM));
    let near = near.filter(|near| near.is_file());
    near.unwrap_or_else(|| PROGRAM.into())
}

fn refusal(program: &Path, why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no {PROGRAM} beside sluice, nor in the search path; `make build` makes it"
        ),
        _ => format!("cannot run {}: {why}", program.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_beside_is_taken_before_that_of_the_search_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("sluice");
        assert_eq!(beside(Some(&own)), Path::new(PROGRAM), "there is none");
        assert_eq!(beside(None), Path::new(PROGRAM));
        let near = directory.path().join(PROGRAM);
        std::fs::write(&near, "").expect("room");
        assert_eq!(beside(Some(&own)), near);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |kind: io::ErrorKind| refusal(Path::new("/opt/sluicectl"), &kind.into());
        assert!(said(io::ErrorKind::NotFound).contains("make build"));
        assert!(
            said(io::ErrorKind::PermissionDenied).contains("/opt/sluicectl: permission denied")
        );
    }
}
