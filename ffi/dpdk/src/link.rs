//! The state of a port's link.

use std::ffi::c_char;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A link, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// Its speed, where the device knows.
    pub mbps: Option<u32>,
    /// Both ways at once.
    pub full_duplex: bool,
}

impl Link {
    const DOWN: Self = Self {
        up: false,
        mbps: None,
        full_duplex: false,
    };

    /// Asks the device, and the kernel where the device is one of its interfaces (`interface` is
    /// its index, 0 if it is none): drivers such as af_packet's always say that it is up.
    pub(crate) fn now(port: u16, interface: u32) -> Self {
        let mut link = dpdk_sys::sluice_link {
            mbps: 0,
            up: 0,
            full_duplex: 0,
        };
        // SAFETY: writes to `link` only; any port number is checked.
        if unsafe { dpdk_sys::sluice_link_get(port, &mut link) } != 0 {
            return Self::DOWN;
        }
        Self {
            up: link.up != 0 && (interface == 0 || is_running(interface).unwrap_or(true)),
            mbps: (link.mbps != 0 && link.mbps != u32::MAX).then_some(link.mbps),
            full_duplex: link.full_duplex != 0,
        }
    }
}

/// Whether the kernel's interface is up and has a carrier; `None` if it does not say.
fn is_running(interface: u32) -> Option<bool> {
    // SAFETY: an ifreq is made of integers and unions of them, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name: *mut c_char = request.ifr_name.as_mut_ptr();
    // SAFETY: `name` has IF_NAMESIZE bytes, which is what this writes at most.
    if unsafe { libc::if_indextoname(interface, name) }.is_null() {
        // It is gone.
        return Some(false);
    }
    // SAFETY: takes numbers only.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return None;
    }
    // SAFETY: just opened, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: SIOCGIFFLAGS reads the name in `request` and writes its flags.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request) } != 0 {
        return None;
    }
    // SAFETY: after SIOCGIFFLAGS the flags are what the union holds.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Some(flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0)
}
