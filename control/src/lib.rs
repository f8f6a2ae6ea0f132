//! Sluice's control plane: configuration, controller, REST API.
//!
//! [`config`] reads and checks, [`compile`] makes snapshots for workers, [`controller`] executes
//! whatever is asked for, [`api`] asks it over HTTP, and [`service`] runs the two on a thread. It
//! sees neither DPDK nor packets: workers are reached through `sluice_dataplane::mailbox` and
//! `sluice_dataplane::published`, devices through [`controller::Devices`].

pub mod api;
pub mod capture;
pub mod clock;
pub mod compile;
pub mod config;
pub mod connectivity;
pub mod controller;
pub mod events;
pub mod health;
pub mod host;
pub mod logs;
pub mod metrics;
pub mod ping;
pub mod reload;
pub mod security;
pub mod service;
pub mod startup;
pub mod store;
pub mod trace;

#[cfg(test)]
mod testing;
