//! What the running process may still do.

use std::collections::BTreeMap;

use sluice_tests::alone::Alone;

/// `/proc/PID/task/TID/status` of every thread, by the thread's name.
fn threads(pid: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let tasks = tasks.map(|task| {
        let path = task.expect("a thread").path().join("status");
        let status = std::fs::read_to_string(path).expect("its status");
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        let lines = lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
        let lines: BTreeMap<_, _> = lines.collect();
        (lines["Name"].clone(), lines)
    });
    tasks.collect()
}

fn set(status: &BTreeMap<String, String>, key: &str) -> u64 {
    u64::from_str_radix(&status[key], 16).expect("a set")
}

#[test]
fn a_running_process_has_few_rights_and_its_workers_have_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut alone = Alone::start(directory.path(), "");
    let threads = threads(alone.pid());
    let workers = threads
        .iter()
        .filter(|(name, _)| name.starts_with("sluice-w"));
    assert_eq!(workers.count(), 2, "{threads:?}");
    // Trace others, load modules, change the clock, the root, owners or the user.
    let never: u64 = [0, 3, 6, 7, 8, 16, 18, 19, 22, 25, 27, 34]
        .iter()
        .map(|bit| 1 << bit)
        .sum();
    for (name, status) in &threads {
        assert_eq!(status["NoNewPrivs"], "1", "{name}");
        assert_eq!(status["Seccomp"], "2", "{name}");
        for key in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(set(status, key) & never, 0, "{name}: {key} {}", status[key]);
        }
        if name.starts_with("sluice-w") {
            assert_eq!(
                (set(status, "CapEff"), set(status, "CapPrm")),
                (0, 0),
                "{name}"
            );
            assert_eq!(status["Seccomp_filters"], "2", "{name}");
        }
    }
    alone.stop();
}
