//! DPDK, made safe.
//!
//! What the data plane asks for in [`sluice_dataplane::io`] is implemented here over mbufs, NIC
//! queues and huge pages. To start:
//!
//! 1. [`Cores::plan`] divides the machine's cores into workers' and control's;
//! 2. [`Eal::init`] starts DPDK, once per process;
//! 3. [`Device::probe`] finds each device, [`Pool::create`] takes packet buffers for it, and
//!    [`Device::start`] gives a [`Port`] (the control side) and its queues;
//! 4. each worker's queues go into a [`WorkerIo`], which is moved into a thread by
//!    [`thread::spawn`].
//!
//! # Why this is safe
//!
//! - **DPDK is initialised.** Whatever calls into it starts from an [`Eal`], which only
//!   [`Eal::init`] makes. It is never cleaned up: tables given out as `&'static mut` and frames in
//!   flight lie in its memory, so that memory stays for the life of the process and the kernel takes
//!   it back. For the same reason a [`Pool`] is never freed.
//! - **A queue is polled by one thread.** [`RxQueue`] and [`TxQueue`] are made once per queue, by
//!   [`Device::start`], are neither `Clone` nor `Sync`, and are polled through `&mut self`. They may
//!   be moved to another thread.
//! - **A port outlives its queues.** Each queue holds on to its port; the port is stopped and closed
//!   when the [`Port`] and all its queues are gone, never while one may be polled.
//! - **A frame has one owner.** An [`Mbuf`] is a pointer that nobody else has: the device gave it up
//!   at reception, or the pool at allocation. Transmission moves it into the device, dropping it
//!   gives it to its pool. Neither leaves a pointer behind.
//! - **Frame bytes are initialised.** Huge pages come zeroed from the kernel, so that even bytes
//!   that no device wrote have some value.
//!
//! # What drivers get wrong
//!
//! Safety ends where a driver breaks its own promises. Known of DPDK 22.11:
//!
//! - `net_memif` unmaps its ring from DPDK's interrupt thread when the peer disconnects, without
//!   waiting for a thread that is in the middle of a burst. The process can die of it, as any DPDK
//!   application can; keep memif peers alive for as long as the port. It also sets its counters back
//!   to 0 then. Its server can send only after the client has received once, as that lends it buffers.
//! - `net_af_packet` cuts frames longer than its `framesz` less 66 bytes (2,048 if not given), and
//!   frames that a local kernel left the checksum of to an offload arrive without one: turn `tx`
//!   offloads off at the sender (`ethtool -K eth0 tx off`). `framesz` less 32 bytes must fit into the
//!   pool's buffers. VLAN tags are always taken out.
//! - `net_ring` keeps its ring, and the frames in it, when it is closed.
#![allow(unsafe_code)]

mod cores;
mod device;
mod eal;
mod hash;
mod io;
mod link;
mod log;
mod mbuf;
mod memory;
mod pool;
mod port;
mod queue;
mod rss;
mod spec;
mod stats;
pub mod thread;
mod time;
mod tools;

pub use cores::{CoreError, Cores};
pub use device::{Device, DeviceError, DeviceInfo};
pub use eal::{Eal, EalConfig, EalError, Pages, version};
pub use hash::{HashError, RteHash};
pub use io::WorkerIo;
pub use link::Link;
pub use log::LogLevel;
pub use mbuf::{Mbuf, free_bulk};
pub use memory::HugeMemory;
pub use pool::{Pool, PoolConfig, PoolError};
pub use port::{Port, PortConfig, PortError, Started};
pub use queue::{RxQueue, TxQueue};
pub use rss::{HashedFields, Rss, RssConfig, RssMode};
pub use spec::{DeviceSpec, SpecError};
pub use stats::NicStats;
pub use time::Clock;
pub use tools::{Command, Numbers, ToolError, serve_pdump, serve_telemetry};
