//! DPDK's environment: started once, with errors that say what to do.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cores::{self, CoreError};
use crate::log::{self, LogLevel};

/// How to start DPDK.
#[derive(Debug, Clone, Default)]
pub struct EalConfig {
    /// Where the calling thread and the threads that DPDK starts for itself run from now on; all
    /// that the caller may use, if empty.
    pub control_cores: Vec<usize>,
    /// Where memory comes from.
    pub pages: Pages,
    /// MiB to take at once; more is taken as needed, as long as there are huge pages. `None` takes
    /// all as needed. Without huge pages this is all there is, 64 if `None`.
    pub memory_mib: Option<u32>,
    /// PCI devices that DPDK may touch (`0000:01:00.0`, with DPDK's arguments after a comma).
    pub pci: Vec<String>,
    /// What of DPDK's log goes to standard error.
    pub log: LogLevel,
    /// Distinguishes processes on one machine; `None` takes the process id.
    pub file_prefix: Option<String>,
    /// Serve DPDK's telemetry socket.
    pub telemetry: bool,
    /// Further arguments, as DPDK documents them.
    pub extra: Vec<String>,
}

/// Where DPDK takes its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// Huge pages without files: nothing is left behind, and no mount is needed.
    #[default]
    Huge,
    /// Huge pages in files of a mounted hugetlbfs: other DPDK processes, as `dpdk-dumpcap`, may attach.
    Shared,
    /// Ordinary memory: for small tests.
    Ordinary,
}

/// Proof that DPDK is initialised, which it stays for the life of the process.
#[derive(Debug, Clone, Copy)]
pub struct Eal {
    _only_init_makes_it: PhantomData<()>,
}

/// DPDK does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EalError {
    /// It has been started, or failed to, before.
    #[error("DPDK can be started only once in a process")]
    Again,
    /// An argument that C cannot take.
    #[error("the DPDK argument {0:?} has a zero byte in it")]
    ZeroByte(String),
    /// The cores are wrong.
    #[error(transparent)]
    Cores(#[from] CoreError),
    /// There are no huge pages at all.
    #[error(
        "no huge pages are free; reserve some, for example 2 GiB with: \
         echo 1024 > /proc/sys/vm/nr_hugepages"
    )]
    NoHugePages,
    /// There are too few.
    #[error(
        "{asked_mib} MiB of huge pages are asked for and {free_mib} MiB are free; reserve more in \
         /proc/sys/vm/nr_hugepages, or ask for less"
    )]
    TooFewHugePages {
        /// What was asked for.
        asked_mib: u64,
        /// What there is.
        free_mib: u64,
    },
    /// The kernel refused something.
    #[error("not enough rights to start DPDK: {0}; run as root")]
    Rights(String),
    /// Anything else.
    #[error("DPDK does not start: {0}")]
    Failed(String),
}

static STARTED: AtomicBool = AtomicBool::new(false);
static SHARES: AtomicBool = AtomicBool::new(false);

/// Whether other processes may attach.
pub(crate) fn shares() -> bool {
    SHARES.load(Ordering::Relaxed)
}

impl Eal {
    /// Starts DPDK, and confines the calling thread, with all that it starts from now on, to the
    /// control cores.
    ///
    /// # Errors
    /// If it does not start. A second call in one process always fails, as DPDK cannot be started
    /// again after a failure either; what can be checked beforehand is, and leaves another try.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        let arguments = arguments(config)?
            .into_iter()
            .map(|argument| {
                CString::new(argument.clone()).map_err(|_| EalError::ZeroByte(argument))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if config.pages != Pages::Ordinary {
            check_huge_pages(config.memory_mib)?;
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::Again);
        }
        SHARES.store(config.pages == Pages::Shared, Ordering::Relaxed);
        if !config.control_cores.is_empty() {
            cores::confine(&config.control_cores)?;
        }
        log::open(config.log);
        log::forget_errors();

        // DPDK reorders the array and keeps pointers into the strings.
        let strings: &'static [CString] = Vec::leak(arguments);
        let mut pointers: Vec<*mut c_char> = strings
            .iter()
            .map(|string| string.as_ptr().cast_mut())
            .chain([std::ptr::null_mut()])
            .collect();
        let count = c_int::try_from(strings.len()).unwrap_or(c_int::MAX);
        // SAFETY: `pointers` holds `count` terminated strings and a null pointer, as argv does, and
        // the strings live for ever. DPDK does not write to them (getopt permutes the array). No
        // other thread is in here: `STARTED` lets one through.
        let result = unsafe { dpdk_sys::rte_eal_init(count, pointers.as_mut_ptr()) };
        if result < 0 {
            // SAFETY: reads a variable of this thread.
            let code = unsafe { dpdk_sys::sluice_errno() };
            let reason = log::explain(code);
            return Err(
                if log::speaks_of_rights() || code == libc::EACCES || code == libc::EPERM {
                    EalError::Rights(reason)
                } else {
                    EalError::Failed(reason)
                },
            );
        }
        Ok(Self {
            _only_init_makes_it: PhantomData,
        })
    }
}

/// DPDK's version, such as `DPDK 22.11.11`.
pub fn version() -> &'static str {
    // SAFETY: returns a terminated string that lives for ever.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_version()) };
    text.to_str().unwrap_or("DPDK")
}

fn arguments(config: &EalConfig) -> Result<Vec<String>, EalError> {
    let allowed = cores::allowed();
    let control = if config.control_cores.is_empty() {
        &allowed
    } else {
        &config.control_cores
    };
    if let Some(&core) = control.iter().find(|core| !allowed.contains(core)) {
        return Err(CoreError::Absent {
            core,
            allowed: cores::ranges(&allowed),
        }
        .into());
    }
    // One lcore for the calling thread; workers register themselves.
    let mut arguments = vec![
        "sluice".to_owned(),
        format!("--lcores=0@({})", cores::ranges(control)),
        "--main-lcore=0".to_owned(),
        match &config.file_prefix {
            Some(prefix) => format!("--file-prefix={prefix}"),
            None => format!("--file-prefix=sluice-{}", std::process::id()),
        },
    ];
    match config.pages {
        Pages::Huge => arguments.push("--in-memory".to_owned()),
        // The files go with the process, which has them open.
        Pages::Shared => arguments.push("--proc-type=primary".to_owned()),
        Pages::Ordinary => arguments.extend(["--no-huge", "--no-shconf"].map(str::to_owned)),
    }
    if let Some(mib) = config.memory_mib {
        arguments.extend(["-m".to_owned(), mib.to_string()]);
    }
    if config.pci.is_empty() {
        // Virtual devices need no physical addresses, and finding them out takes time.
        arguments.extend(["--no-pci", "--iova-mode=va"].map(str::to_owned));
    }
    for device in &config.pci {
        arguments.extend(["-a".to_owned(), device.clone()]);
    }
    if !config.telemetry {
        arguments.push("--no-telemetry".to_owned());
    }
    arguments.extend(config.extra.iter().cloned());
    Ok(arguments)
}

/// What DPDK would say at length, in a line.
fn check_huge_pages(asked_mib: Option<u32>) -> Result<(), EalError> {
    let Some(free_mib) = free_huge_mib() else {
        // Without sysfs nothing can be said beforehand.
        return Ok(());
    };
    if free_mib == 0 {
        return Err(EalError::NoHugePages);
    }
    match asked_mib.map(u64::from) {
        Some(asked_mib) if asked_mib > free_mib => Err(EalError::TooFewHugePages {
            asked_mib,
            free_mib,
        }),
        _ => Ok(()),
    }
}

/// MiB of free huge pages, of all sizes.
fn free_huge_mib() -> Option<u64> {
    let mut kib = 0;
    for size in fs::read_dir("/sys/kernel/mm/hugepages").ok()? {
        let size = size.ok()?;
        let name = size.file_name().into_string().ok()?;
        let page_kib: u64 = name
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        let free = fs::read_to_string(size.path().join("free_hugepages")).ok()?;
        kib += page_kib * free.trim().parse::<u64>().ok()?;
    }
    Some(kib / 1024)
}
