//! DPDK's log: to standard error from a level on, and the latest errors kept, so that an error of
//! ours can say what DPDK found.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// How much of DPDK's log goes to standard error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    #[default]
    Error,
    /// Errors and warnings, of which a sound start has some (no pages of 1 GiB, for example).
    Warning,
    /// What a curious operator wants to see.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    /// The number that DPDK has for it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Error => dpdk_sys::RTE_LOG_ERR,
            Self::Warning => dpdk_sys::RTE_LOG_WARNING,
            Self::Info => dpdk_sys::RTE_LOG_INFO,
            Self::Debug => dpdk_sys::RTE_LOG_DEBUG,
        }
    }
}

/// Most lines kept for an error message.
const KEPT: usize = 4;

static PRINT_UP_TO: AtomicU32 = AtomicU32::new(0);
static LATEST_ERRORS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Takes over DPDK's log. To be called once, before DPDK says anything.
pub(crate) fn open(print: LogLevel) {
    PRINT_UP_TO.store(print.number(), Ordering::Relaxed);
    // SAFETY: `sink` has the signature that the shim declares, is `'static`, and does not unwind:
    // it neither indexes nor unwraps. On failure DPDK keeps logging to standard error by itself.
    unsafe { dpdk_sys::sluice_log_open(Some(sink)) };
}

extern "C" fn sink(level: c_int, text: *const c_char, len: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: stdio's write function is given `len` readable bytes for the length of the call.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    let level = u32::try_from(level).unwrap_or(dpdk_sys::RTE_LOG_ERR);
    if level <= PRINT_UP_TO.load(Ordering::Relaxed) {
        // Where standard error is closed there is nobody to tell.
        let _ = std::io::stderr().write_all(text);
    }
    if level <= dpdk_sys::RTE_LOG_ERR
        && let Ok(mut latest) = LATEST_ERRORS.lock()
    {
        let text = String::from_utf8_lossy(text);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if latest.len() == KEPT {
                latest.pop_front();
            }
            latest.push_back(line.to_owned());
        }
    }
}

/// Forgets earlier errors, so that [`explain`] speaks of what happens from here on.
pub(crate) fn forget_errors() {
    if let Ok(mut latest) = LATEST_ERRORS.lock() {
        latest.clear();
    }
}

/// The error `code` (positive, as in errno) in words, and what DPDK logged since
/// [`forget_errors`]: one line.
pub(crate) fn explain(code: c_int) -> String {
    let mut text = error_text(code);
    if let Ok(latest) = LATEST_ERRORS.lock()
        && !latest.is_empty()
    {
        let lines = latest.iter().map(String::as_str).collect::<Vec<_>>();
        text = format!("{text} (DPDK: {})", lines.join("; "));
    }
    text
}

/// Whether DPDK logged since [`forget_errors`] that the kernel refused it something.
pub(crate) fn speaks_of_rights() -> bool {
    LATEST_ERRORS.lock().is_ok_and(|latest| {
        latest.iter().any(|line| {
            line.contains("Operation not permitted") || line.contains("Permission denied")
        })
    })
}

/// The error `code` (positive, as in errno) in words.
pub(crate) fn error_text(code: c_int) -> String {
    // SAFETY: takes any number and returns a terminated string, static or of this thread, that
    // stays until this thread's next call.
    let text = unsafe { std::ffi::CStr::from_ptr(dpdk_sys::rte_strerror(code)) };
    text.to_string_lossy().into_owned()
}
