//! Compiles the XDP programs and generates their skeletons.

use libbpf_cargo::SkeletonBuilder;
use std::{env, ffi::OsString, path::PathBuf, process::Command};

/// The programs, each with a skeleton of its own.
const PROGRAMS: [&str; 4] = ["steer", "flood", "reflect", "relay"];

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!(
            "clang is needed to compile the XDP program: install it with `apt-get install clang llvm libelf-dev`"
        );
        std::process::exit(1);
    }
    for program in PROGRAMS {
        build(program);
    }
}

/// Compiles `bpf/PROGRAM.bpf.c` into `PROGRAM.skel.rs`.
fn build(program: &str) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let built = SkeletonBuilder::new()
        .source(format!("bpf/{program}.bpf.c"))
        .clang_args(clang_args())
        .build_and_generate(out.join(format!("{program}.skel.rs")));
    if let Err(error) = built {
        eprintln!("the XDP program {program} did not compile: {error:#}");
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
