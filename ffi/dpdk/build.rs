//! Lets this crate's tests and examples find a libdpdk outside the system's folders, and passes its
//! folders on to dependents.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rpath = env::var("DEP_DPDK_RPATH").unwrap_or_default();
    for path in rpath.split(':').filter(|path| !path.is_empty()) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{path}");
    }
    // For the binary's build script, as DEP_SLUICE_DPDK_RPATH.
    println!("cargo::metadata=rpath={rpath}");
}
