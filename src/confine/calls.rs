//! System calls, by seccomp filters.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule,
};

/// What nothing here ever does, and an intruder with root's rights would: other processes' memory,
/// kernel code, the clock, other kernels, other roots, other keys.
const DENIED: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_personality,
    libc::SYS_vhangup,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What moving packets takes: the system calls of the drivers that have a kernel below them
/// (af_packet, af_xdp, tap, memif, vhost), memory, sleeping, and ending.
const WORKER: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const REFUSED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// Filters all threads of the process, and those to come.
pub(super) fn deny() -> Result<(), Error> {
    seccompiler::apply_filter_all_threads(&denied()?)
}

/// Filters the calling thread.
pub(super) fn allow_worker() -> Result<(), Error> {
    let rules = WORKER.iter().map(|&call| (call, Vec::new())).collect();
    let filter = program(rules, REFUSED, SeccompAction::Allow)?;
    seccompiler::apply_filter(&filter)
}

fn denied() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        DENIED.iter().map(|&call| (call, Vec::new())).collect();
    // The host interface has a network namespace, and a mount that keeps it. Nothing else is mounted,
    // and no other kind of namespace is made or entered.
    let network = libc::CLONE_NEWNET as u64;
    for (call, argument, only) in [
        (libc::SYS_mount, 3, libc::MS_BIND),
        (libc::SYS_umount2, 1, libc::MNT_DETACH as u64),
        (libc::SYS_unshare, 0, network),
        (libc::SYS_setns, 1, network),
    ] {
        let length = SeccompCmpArgLen::Qword;
        let other = SeccompCondition::new(argument, length, SeccompCmpOp::Ne, only)?;
        rules.insert(call, vec![SeccompRule::new(vec![other])?]);
    }
    program(rules, SeccompAction::Allow, REFUSED)
}

fn program(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let here = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, here)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;

    use super::*;

    /// On a thread of its own, which alone is filtered.
    fn filtered<T: Send + 'static>(filter: BpfProgram, body: fn() -> T) -> T {
        let thread = std::thread::spawn(move || {
            seccompiler::apply_filter(&filter).expect("a kernel with seccomp");
            body()
        });
        thread.join().expect("it goes on after a refusal")
    }

    #[test]
    fn nothing_is_both_denied_and_needed() {
        assert!(WORKER.iter().all(|call| !DENIED.contains(call)));
    }

    #[test]
    fn a_worker_opens_no_file_and_no_connection_and_still_runs() {
        let rules = WORKER.iter().map(|&call| (call, Vec::new())).collect();
        let filter = program(rules, REFUSED, SeccompAction::Allow).expect("a filter");
        let (file, socket, started) = filtered(filter, || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            let much: Vec<u8> = vec![7; 1 << 20];
            assert_eq!(
                much.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
                7 << 20
            );
            (
                File::open("/dev/null").map(drop).map_err(|why| why.kind()),
                std::net::TcpListener::bind("127.0.0.1:0")
                    .map(drop)
                    .map_err(|why| why.kind()),
                std::process::Command::new("true").spawn().map(drop).is_ok(),
            )
        });
        assert_eq!(file, Err(ErrorKind::PermissionDenied));
        assert_eq!(socket, Err(ErrorKind::PermissionDenied));
        assert!(!started);
    }

    #[test]
    fn the_process_opens_files_and_connections_and_changes_no_root() {
        let (file, socket, root) = filtered(denied().expect("a filter"), || {
            (
                File::open("/dev/null").is_ok(),
                std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
                nix::unistd::chroot("/"),
            )
        });
        assert!(file && socket);
        assert_eq!(root, Err(nix::Error::EPERM));
    }
}
