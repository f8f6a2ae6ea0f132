//! The API and the process from outside, on DPDK's null devices: no rights are needed.

mod access;
mod capture;
mod confined;
mod contract;
mod crash;
mod ctl;
mod log;
mod slow;
