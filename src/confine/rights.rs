//! Capabilities.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// What the start needs, all of the process in all of its life: devices, huge pages, memory for
/// AF_XDP and its programs, I/O ports of old NICs, files of others.
pub(super) const PROCESS: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_NET_BIND_SERVICE,
];

/// What control needs once all is started: interfaces, addresses and routes of the host interface;
/// echo requests; the namespace of the host interface, which a commit may ask for at any time; an
/// AF_XDP program that is taken off its device at the end; a state directory of somebody else.
pub(super) const CONTROL: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What running scripts needs: another user, the network namespace of the host interface, and to end
/// what another user runs. The scripts themselves have none.
pub(super) const SCRIPTS: &[Capability] = &[
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
    Capability::CAP_SYS_ADMIN,
];

/// Gives up all capabilities of the calling thread but these, for good. Those that it does not have
/// it does not get.
pub(super) fn keep(kept: &[Capability]) -> Result<(), CapsError> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    // The bounding set is what a program that is started could get; changing it takes a right.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    let has = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = has.intersection(&kept).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_keeps_nothing_that_the_process_gave_up() {
        assert!(CONTROL.iter().all(|one| PROCESS.contains(one)));
    }

    #[test]
    fn what_was_given_up_is_gone_for_the_thread_and_those_it_starts() {
        let thread = std::thread::spawn(|| {
            keep(&[Capability::CAP_NET_RAW]).expect("giving up takes no right");
            let started = std::thread::spawn(|| {
                [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable].map(|set| {
                    let left = caps::read(None, set).expect("a set");
                    left.into_iter().all(|one| one == Capability::CAP_NET_RAW)
                })
            });
            assert_eq!(started.join().expect("a thread"), [true; 3]);
            keep(&[]).expect("less is always possible");
            let none = caps::read(None, CapSet::Permitted).expect("a set");
            assert!(none.is_empty(), "{none:?}");
        });
        thread.join().expect("a thread");
    }
}
