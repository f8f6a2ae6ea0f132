//! What DPDK's own tools find in a running process: commands on its telemetry socket, and packets for
//! `dpdk-dumpcap`.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::OnceLock;

use crate::{Eal, log};

/// A command of the telemetry socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its path, `/sluice/stats`.
    pub path: &'static str,
    /// What it gives, in a line.
    pub help: &'static str,
}

/// Names (letters, digits, `_`) and numbers.
pub type Numbers = Vec<(&'static str, u64)>;

/// Answers commands, from DPDK's threads.
type Source = Box<dyn Fn(&str) -> Numbers + Send + Sync>;

static SOURCE: OnceLock<Source> = OnceLock::new();

/// A tool cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ToolError {
    /// What cannot be had.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// Has `source` answer these commands of the telemetry socket, for the life of the process. It gets
/// the command's path.
///
/// # Errors
/// [`ToolError`] if DPDK takes no such command, or this was done before.
pub fn serve_telemetry(
    _: Eal,
    commands: &[Command],
    source: impl Fn(&str) -> Numbers + Send + Sync + 'static,
) -> Result<(), ToolError> {
    let failed = |why: String| ToolError {
        what: "telemetry",
        why,
    };
    SOURCE
        .set(Box::new(source))
        .map_err(|_| failed("it is served already".to_owned()))?;
    for command in commands {
        let text = |text: &str| CString::new(text).map_err(|why| failed(why.to_string()));
        let (path, help) = (text(command.path)?, text(command.help)?);
        // SAFETY: both texts are terminated, and copied by DPDK. `answer` is called from DPDK's
        // threads and touches nothing but `SOURCE`, which is set and may be shared.
        let result = unsafe {
            dpdk_sys::sluice_telemetry_register(path.as_ptr(), help.as_ptr(), Some(answer))
        };
        if result != 0 {
            return Err(failed(log::explain(-result)));
        }
    }
    Ok(())
}

/// Fills the answer to a command.
extern "C" fn answer(command: *const c_char, into: *mut c_void) {
    let Some(source) = SOURCE.get().filter(|_| !command.is_null()) else {
        return;
    };
    // SAFETY: DPDK gives a terminated string that lives as long as this call.
    let command = unsafe { CStr::from_ptr(command) };
    for (name, number) in source(&command.to_string_lossy()) {
        let Ok(name) = CString::new(name) else {
            continue;
        };
        // SAFETY: `into` is the answer that DPDK made for this call and started as a dictionary;
        // the name is terminated, and copied.
        unsafe { dpdk_sys::sluice_telemetry_add(into, name.as_ptr(), number) };
    }
}

/// Lets `dpdk-dumpcap` and `dpdk-pdump` attach to the process. They are other processes and share its
/// memory, so it must have been started with that: not on anonymous pages.
///
/// # Errors
/// [`ToolError`] if DPDK refuses.
pub fn serve_pdump(_: Eal) -> Result<(), ToolError> {
    // SAFETY: the environment is initialised, which an `Eal` proves.
    let result = unsafe { dpdk_sys::rte_pdump_init() };
    match result {
        0 => Ok(()),
        error => Err(ToolError {
            what: "packet dump",
            why: log::explain(-error),
        }),
    }
}
