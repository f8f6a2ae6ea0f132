//! Scripts: a program of the operator's ends with 0.
//!
//! No shell sees its arguments: the program is a file in a directory that the configuration file names and the API cannot
//! change, and gets its arguments as they are. It runs as a user of its own, in the network namespace
//! of the checks, with nothing of this process's environment, and is killed with all that it started.

use std::net::SocketAddr;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::checker::unprepared;
use super::probe::Tools;
use super::{Failure, Reason};

/// Bytes of what it writes to its standard error that are passed on.
const MOST: u64 = 200;

/// A group of processes that is killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

pub(super) async fn check(
    address: SocketAddr,
    name: &str,
    arguments: &[String],
    tools: &Tools,
) -> Result<(), Failure> {
    let Some((directory, user)) = &tools.scripts else {
        return Err(unprepared("scripts are off"));
    };
    let _turn = tools.script_permits.acquire().await.map_err(unprepared)?;
    let mut command = Command::new(directory.join(name));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SLUICE_ADDRESS", address.ip().to_string())
        .env("SLUICE_PORT", address.port().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        let found = User::from_name(user).map_err(unprepared)?;
        let found = found.ok_or_else(|| unprepared(format_args!("there is no user {user:?}")))?;
        command.uid(found.uid.as_raw()).gid(found.gid.as_raw());
    }
    let mut child = command
        .spawn()
        .map_err(|why| unprepared(format_args!("{name}: {why}")))?;
    let _group = Group(child.id().map(|id| Pid::from_raw(id as i32)));
    let said = said(&mut child).await;
    let status = child.wait().await.map_err(unprepared)?;
    if status.success() {
        return Ok(());
    }
    let detail = match said.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {said}"),
    };
    Err(Failure::new(Reason::Script, detail))
}

/// The beginning of what it has to complain about.
async fn said(child: &mut Child) -> String {
    let Some(errors) = child.stderr.take() else {
        return String::new();
    };
    let mut text = Vec::new();
    let mut errors = errors.take(MOST);
    let _ = errors.read_to_end(&mut text).await;
    // The rest goes nowhere, and does not hold it up.
    let mut rest = errors.into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).trim().to_owned()
}
