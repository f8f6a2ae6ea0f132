//! Finds libdpdk, binds what `allowed.rs` names of it, and compiles `shim.c`.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

mod allowed {
    include!("allowed.rs");
}

/// The oldest DPDK whose API this is written against.
const OLDEST: &str = "22.11";
/// Where distributions keep their libraries: no rpath is wanted for these.
const SYSTEM_LIBS: [&str; 3] = ["/usr/lib", "/lib", "/usr/lib64"];

fn main() {
    for file in ["build.rs", "allowed.rs", "shim.h", "shim.c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    if let Err(why) = build() {
        // A build script's only way to tell a person something is its standard error.
        eprintln!("\nerror: {why}\n");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let dpdk = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .probe("libdpdk")
        .map_err(|why| {
            format!(
                "libdpdk {OLDEST} or newer was not found by pkg-config. Install its development \
                 files (Debian, Ubuntu: `apt install libdpdk-dev pkg-config`), or set \
                 PKG_CONFIG_PATH to the folder of its libdpdk.pc.\n\n{why}"
            )
        })?;
    let flags = compiler_flags()?;
    compile_shim(&flags);
    bind(&flags)?;

    let libraries = dpdk
        .link_paths
        .iter()
        .filter(|path| !SYSTEM_LIBS.iter().any(|system| path.starts_with(system)))
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>();
    // For the build scripts of dependents, as DEP_DPDK_RPATH and DEP_DPDK_VERSION.
    println!("cargo::metadata=rpath={}", libraries.join(":"));
    println!("cargo::metadata=version={}", dpdk.version);
    Ok(())
}

/// What DPDK's headers want to be compiled with: `-include rte_config.h`, `-march=...`, paths. The
/// `pkg-config` crate keeps only paths and defines.
fn compiler_flags() -> Result<Vec<String>, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(&program)
        .args(["--cflags", "libdpdk"])
        .output()
        .map_err(|why| format!("{program} does not run: {why}"))?;
    if !output.status.success() {
        return Err(format!(
            "`{program} --cflags libdpdk` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .map(str::to_owned)
        .collect())
}

fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).warnings(true);
    // DPDK's headers are written for a compiler that is told less.
    build.flag("-Wno-unused-parameter").flag("-std=gnu11");
    for flag in flags {
        build.flag(flag);
    }
    build.compile("dpdk_shim");
}

fn bind(flags: &[String]) -> Result<(), String> {
    clang_sys::load().map_err(|why| {
        format!(
            "libclang, with which DPDK's headers are read, was not found. Install it (Debian, \
             Ubuntu: `apt install libclang-dev`), or set LIBCLANG_PATH to its folder.\n\n{why}"
        )
    })?;
    let mut builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(flags)
        .generate_comments(false)
        .layout_tests(false)
        .derive_default(true)
        .prepend_enum_name(false)
        .merge_extern_blocks(true);
    for name in allowed::FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in allowed::CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in allowed::OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = builder
        .generate()
        .map_err(|why| format!("DPDK's headers could not be read: {why}"))?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|why| why.to_string())?);
    fs::write(out.join("bindings.rs"), bindings.to_string()).map_err(|why| why.to_string())
}
