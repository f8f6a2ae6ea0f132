//! Sluice between hosts that nobody here wrote: Linux network stacks in namespaces, nginx, curl,
//! iperf3, ping, traceroute, scapy.
//!
//! A [`Lab`](lab::Lab) is a set of networks (bridges), hosts (namespaces) and one appliance (the
//! `sluice` binary in a namespace of its own, its ports on veth pairs). Everything that a lab makes
//! goes away with it, after a panic as well, and what a killed run left behind goes away at the
//! start of the next.
//!
//! ```no_run
//! let mut lab = sluice_tests::lab::Lab::gateway("example");
//! let client = lab.outside(10);
//! let sluice = lab.start("");
//! client.ok(&["ping", "-c", "1", sluice_tests::lab::OUTSIDE]);
//! // On drop: every frame is accounted for, and no packet buffer is missing.
//! ```

pub mod alone;
pub mod beat;
pub mod browser;
pub mod ftpd;
pub mod http;
pub mod lab;
pub mod load;
pub mod machine;
pub mod netns;
pub mod process;
pub mod servers;
pub mod show;
pub mod sluice;
pub mod stats;
pub mod steady;
pub mod wait;
pub mod wire;
