//! Which cores are the workers', and which are left for everything else.

use std::collections::BTreeSet;

/// The machine's cores, divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    /// One worker thread on each, in the order of the configuration.
    pub workers: Vec<usize>,
    /// Where all other threads run: none of the workers', unless there is no other.
    pub control: Vec<usize>,
}

/// A list of cores that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// No worker.
    #[error("no core is given for workers; name one at least")]
    NoWorkers,
    /// A core twice.
    #[error("core {0} is given twice for workers; each worker needs its own")]
    Twice(usize),
    /// A core that is not there, or that this process may not use.
    #[error("there is no core {core} for this process; it may use {allowed}")]
    Absent {
        /// The core.
        core: usize,
        /// What would do, as ranges.
        allowed: String,
    },
    /// The kernel refused.
    #[error("cannot run on cores {cores}: {reason}")]
    Refused {
        /// What was asked for, as ranges.
        cores: String,
        /// The kernel's word.
        reason: String,
    },
}

impl Cores {
    /// Checks the workers' cores against those that this thread may use, and gives control the rest,
    /// or `control` if that is given. To be called before [`Eal::init`](crate::Eal::init), which
    /// narrows the calling thread to the control cores.
    ///
    /// # Errors
    /// If the list cannot be used.
    pub fn plan(workers: &[usize], control: Option<&[usize]>) -> Result<Self, CoreError> {
        Self::plan_among(workers, control, &allowed())
    }

    fn plan_among(
        workers: &[usize],
        control: Option<&[usize]>,
        allowed: &[usize],
    ) -> Result<Self, CoreError> {
        if workers.is_empty() {
            return Err(CoreError::NoWorkers);
        }
        for &core in workers.iter().chain(control.unwrap_or_default()) {
            if !allowed.contains(&core) {
                return Err(CoreError::Absent {
                    core,
                    allowed: ranges(allowed),
                });
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(&twice) = workers.iter().find(|&&core| !seen.insert(core)) {
            return Err(CoreError::Twice(twice));
        }
        let rest: Vec<_> = match control {
            Some(control) if !control.is_empty() => control.to_vec(),
            _ => allowed
                .iter()
                .copied()
                .filter(|core| !seen.contains(core))
                .collect(),
        };
        Ok(Self {
            workers: workers.to_vec(),
            control: if rest.is_empty() {
                allowed.to_vec()
            } else {
                rest
            },
        })
    }
}

/// The cores that the calling thread may use, ascending.
pub(crate) fn allowed() -> Vec<usize> {
    let mut cores: Vec<_> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    cores.sort_unstable();
    cores
}

/// Lets the calling thread, and the threads that it starts from now on, run on these cores only.
pub(crate) fn confine(cores: &[usize]) -> Result<(), CoreError> {
    let refused = |reason: String| CoreError::Refused {
        cores: ranges(cores),
        reason,
    };
    // SAFETY: a cpu_set_t is an array of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(refused("there is no such core".into()));
        }
        // SAFETY: the index was checked against the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: 0 means the calling thread, and `set` is as long as is said.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    if result == 0 {
        Ok(())
    } else {
        Err(refused(std::io::Error::last_os_error().to_string()))
    }
}

/// The NUMA node of a core, where the kernel says.
pub(crate) fn numa_node(core: usize) -> Option<u32> {
    let entries = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find_map(|name| name.strip_prefix("node")?.parse().ok())
}

/// `[0, 1, 2, 5]` as `0-2,5`.
pub(crate) fn ranges(cores: &[usize]) -> String {
    let sorted: BTreeSet<_> = cores.iter().copied().collect();
    let mut text = String::new();
    let mut open: Option<(usize, usize)> = None;
    let mut close = |open: Option<(usize, usize)>| {
        if let Some((first, last)) = open {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&first.to_string());
            if last > first {
                text.push_str(&format!("-{last}"));
            }
        }
    };
    for core in sorted {
        open = match open {
            Some((first, last)) if core == last + 1 => Some((first, core)),
            other => {
                close(other);
                Some((core, core))
            }
        };
    }
    close(open);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_gets_what_workers_leave() {
        let cores = Cores::plan_among(&[3, 1], None, &[0, 1, 2, 3]).unwrap();
        assert_eq!(cores.workers, [3, 1]);
        assert_eq!(cores.control, [0, 2]);
    }

    #[test]
    fn control_shares_where_workers_have_all() {
        let cores = Cores::plan_among(&[0, 1], None, &[0, 1]).unwrap();
        assert_eq!(cores.control, [0, 1]);
    }

    #[test]
    fn wrong_lists_are_refused_in_one_line() {
        let plan = |workers: &[usize]| {
            Cores::plan_among(workers, None, &[0, 1, 2, 5])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(plan(&[]), "no core is given for workers; name one at least");
        assert_eq!(
            plan(&[1, 1]),
            "core 1 is given twice for workers; each worker needs its own"
        );
        assert_eq!(
            plan(&[3]),
            "there is no core 3 for this process; it may use 0-2,5"
        );
    }
}
