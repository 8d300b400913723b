//! What a file may say, and what is said about the rest.

mod good;
mod host;
mod keys;
mod large;
mod overrides;
mod wrong;

use super::{Faults, File};
use std::path::Path;

/// A file with which nothing is wrong.
const GOOD: &str = r#"interface = "eth0"

[[service]]
name = "web"
address = "198.18.0.80:443"
mode = "dsr"

[service.check]
kind = "http"
path = "/healthz"

[[service.backend]]
name = "web-1"
address = "198.18.0.11"

[[service.backend]]
name = "web-2"
address = "198.18.0.12:443"
weight = 50
"#;

fn read(text: &str) -> Result<File, Faults> {
    File::from_text("lb.toml", text, Path::new("/etc/xskip"))
}

#[track_caller]
fn good(text: &str) -> File {
    read(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The good file, with something else in place of a part of it.
#[track_caller]
fn changed(was: &str, is: &str) -> String {
    assert!(GOOD.contains(was), "{was:?} is in the good file");
    GOOD.replacen(was, is, 1)
}
