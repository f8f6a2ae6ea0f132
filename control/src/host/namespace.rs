//! The network namespace of the host interface, under the name that `ip netns` knows it by.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use sluice_dataplane::host::HOST_PORTS;

use super::HostError;

const DIRECTORY: &str = "/run/netns";

/// A named network namespace. Goes with the last clone, if it was made here.
#[derive(Debug, Clone)]
pub(super) struct Namespace(Arc<Named>);

#[derive(Debug)]
struct Named {
    path: PathBuf,
    made_here: bool,
}

impl Namespace {
    /// The one with this name; makes it if there is none.
    pub(super) fn open(name: &str) -> Result<Self, HostError> {
        let path = Path::new(DIRECTORY).join(name);
        let failed = |reason| HostError::Namespace {
            name: name.to_owned(),
            reason,
        };
        let made_here = match fs::metadata(&path) {
            Ok(_) => false,
            Err(_) => {
                make(&path).map_err(failed)?;
                true
            }
        };
        Ok(Self(Arc::new(Named { path, made_here })))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Moves the calling thread into it, for good, and sets it up.
    pub(super) fn enter(&self) -> Result<(), HostError> {
        enter(&self.0.path)?;
        settings();
        Ok(())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.made_here {
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// See [`super::enter`].
pub(super) fn enter(path: &Path) -> Result<(), HostError> {
    let entered = File::open(path)
        .and_then(|file| setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
    entered.map_err(|reason| HostError::Namespace {
        name: path.display().to_string(),
        reason,
    })
}

/// What `ip netns add` does: a new namespace, kept alive by a mount.
fn make(path: &Path) -> io::Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    // Namespaces of threads end with them, so that this one ends without a trace if mounting fails.
    let maker = {
        let path = path.to_owned();
        move || -> io::Result<()> {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)?;
            unshare(CloneFlags::CLONE_NEWNET)?;
            let none = None::<&str>;
            let own = "/proc/thread-self/ns/net";
            mount(Some(own), &path, none, MsFlags::MS_BIND, none)?;
            Ok(())
        }
    };
    let made = std::thread::Builder::new().spawn(maker)?.join();
    let made = made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes it panicked")));
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// Settings of the kernel for the calling thread's namespace. One that an older kernel lacks is no
/// reason not to start.
fn settings() {
    let (first, last) = HOST_PORTS;
    let settings = [
        ("ipv4/ip_local_port_range", format!("{first} {last}")),
        ("ipv4/ping_group_range", "0 2147483647".to_owned()),
        // Replies come by the port that the data plane took, whatever the kernel thinks.
        ("ipv4/conf/all/rp_filter", "0".to_owned()),
        ("ipv4/conf/default/rp_filter", "0".to_owned()),
        ("ipv4/ip_forward", "0".to_owned()),
        ("ipv6/conf/all/forwarding", "0".to_owned()),
        ("ipv6/conf/default/accept_dad", "0".to_owned()),
        ("ipv6/conf/default/accept_ra", "0".to_owned()),
        ("ipv6/conf/default/router_solicitations", "0".to_owned()),
        ("ipv6/conf/default/addr_gen_mode", "1".to_owned()),
    ];
    for (name, value) in settings {
        if let Err(reason) = fs::write(format!("/proc/sys/net/{name}"), &value) {
            tracing::debug!(name, value, %reason, "a setting of the host interface was not taken");
        }
    }
}
