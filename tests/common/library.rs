//! What tests share that need no program and no lab.

#![allow(dead_code)] // each test uses some of it

#[path = "../../src/xdp/cases.rs"]
pub mod cases;
pub mod frames;
pub mod pair;

/// Says why a test cannot run here, in words that `scripts/skipped` counts. Under `CI=true`, where everything can, that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "SKIPPED under CI=true: {why}");
    println!("SKIPPED: {why}");
}

/// Whether the test runs as root; if not, it says that it is skipped.
pub fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("network namespaces and XDP need root");
    }
    is_root
}
