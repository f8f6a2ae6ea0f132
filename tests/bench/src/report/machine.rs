//! What it was measured on.

use std::fs;
use std::process::Command;

/// A few lines: processor, memory, kernel, DPDK and commit.
pub(super) fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let virtual_machine = if cpus.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    format!(
        "{model}, {cores} cores, {} GiB{virtual_machine}; Linux {}; {}; commit {}\n",
        memory.div_ceil(1 << 20),
        kernel.trim(),
        sluice_dpdk::version(),
        commit().unwrap_or_else(|| "unknown".into())
    )
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
