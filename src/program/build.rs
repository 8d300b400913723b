//! Compiles the programs for backends, labs and benchmarks, and generates their skeletons.

use libbpf_cargo::SkeletonBuilder;
use std::{env, ffi::OsString, path::PathBuf, process};

/// The programs, each with a skeleton of its own.
const PROGRAMS: [&str; 6] = ["adopt", "backend", "flood", "redirect", "reflect", "relay"];

/// Nobody reads the skeleton, and a toolchain of rustup's minimal profile has no rustfmt: one that is not found is done without.
const NO_RUSTFMT: &str = "/nonexistent/rustfmt";

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    // The crate `xskip` says where its headers are, and has made sure of clang.
    let headers = PathBuf::from(env::var_os("DEP_XSKIP_BPF_HEADERS").expect("the build script of xskip says it"));
    println!("cargo:rerun-if-changed={}", headers.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for program in PROGRAMS {
        let built = SkeletonBuilder::new()
            .source(format!("bpf/{program}.bpf.c"))
            .clang_args(clang_args(headers.clone()))
            .rustfmt(NO_RUSTFMT)
            .build_and_generate(out.join(format!("{program}.skel.rs")));
        if let Err(error) = built {
            eprintln!("the XDP program {program} did not compile: {error:#}");
            process::exit(1);
        }
    }
}

/// Debian keeps <asm/types.h> in a directory named after the architecture, where clang's BPF target does not look.
fn clang_args(headers: PathBuf) -> Vec<OsString> {
    let target = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target's architecture");
    let multiarch = PathBuf::from(format!("/usr/include/{target}-linux-gnu"));
    let mut args: Vec<OsString> = ["-Wall", "-Wextra", "-Werror", "-I"].map(OsString::from).to_vec();
    args.push(headers.into());
    if multiarch.is_dir() {
        args.push("-idirafter".into());
        args.push(multiarch.into());
    }
    args
}
