//! Sluice's data plane: what happens to a packet between one NIC queue and another.
//!
//! It is a function of (configuration snapshot, packet, now): no device, clock, thread or system
//! call is reached from here. Devices come in through the traits of [`io`], time as a number,
//! configuration as an immutable [`snapshot::Snapshot`], and all memory is taken at start.

pub mod alg;
pub mod capture;
pub mod cookie;
pub mod counters;
pub mod firewall;
pub mod groups;
pub mod handoff;
pub mod host;
pub mod http_redirect;
pub mod io;
pub mod lb;
pub mod load;
pub mod mailbox;
pub mod map;
pub mod nat;
pub mod networks;
pub mod path;
pub mod published;
pub mod rewrite;
pub mod services;
pub mod session;
pub mod shared_names;
pub mod snapshot;
pub mod stack;
pub mod steer;
pub mod tcp;
pub mod timeouts;
pub mod worker;
