//! Raw bindings to the system's libdpdk, made by bindgen when this is built, and to `shim.c` for
//! what DPDK has as static inline functions only.
//!
//! Nothing here is safe to call without DPDK's own documentation at hand; `sluice-dpdk` is the crate
//! to use.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_code,
    unreachable_pub,
    clippy::all
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
