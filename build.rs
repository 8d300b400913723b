//! Compiles the XDP program and generates its skeleton.

use libbpf_cargo::SkeletonBuilder;
use std::{env, ffi::OsString, path::PathBuf, process::Command};

/// Nobody reads the skeleton, and a toolchain of rustup's minimal profile has no rustfmt: one that is not found is done without.
const NO_RUSTFMT: &str = "/nonexistent/rustfmt";

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    // Build scripts of crates that use this one find it in DEP_XSKIP_BPF_HEADERS.
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    println!("cargo::metadata=HEADERS={}", here.join("bpf").display());
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!(
            "clang is needed to compile the XDP program: install it with `apt-get install clang llvm libelf-dev`"
        );
        std::process::exit(1);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let built = SkeletonBuilder::new()
        .source("bpf/steer.bpf.c")
        .clang_args(clang_args())
        .rustfmt(NO_RUSTFMT)
        .build_and_generate(out.join("steer.skel.rs"));
    if let Err(error) = built {
        eprintln!("the XDP program steer did not compile: {error:#}");
        eprintln!("if a header is missing, install it with `apt-get install linux-libc-dev libc6-dev`");
        std::process::exit(1);
    }
}

/// Debian keeps <asm/types.h> in a directory named after the architecture, where clang's BPF target does not look.
fn clang_args() -> Vec<OsString> {
    let target = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target's architecture");
    let multiarch = PathBuf::from(format!("/usr/include/{target}-linux-gnu"));
    let mut args: Vec<OsString> = ["-Wall", "-Wextra", "-Werror"].map(OsString::from).to_vec();
    if multiarch.is_dir() {
        args.push("-idirafter".into());
        args.push(multiarch.into());
    }
    args
}
