//! Callgrind, run and read.

use crate::meter::{COUNTED, WRITTEN_DOWN};
use std::{collections::BTreeMap, fs, io, path::Path, process::Command};

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub enum CallgrindError {
    /// It is not installed, or what it should write to cannot be written.
    #[error("valgrind cannot be run: {0}; install the package valgrind")]
    Run(#[source] io::Error),
    /// The program did not end well.
    #[error("valgrind ended with {status}: {said}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote.
        said: String,
    },
    /// It wrote something else than it should.
    #[error("callgrind's file {0} for \"{1}\" has no line \"totals: N\"; this works with valgrind 3.19")]
    Unreadable(String, String),
}

/// The instructions of each path, for one of what it is made of.
///
/// # Errors
/// Where valgrind is not there, or does not do what is expected of it.
pub fn count() -> Result<BTreeMap<String, f64>, CallgrindError> {
    let folder = tempfile::tempdir().map_err(CallgrindError::Run)?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--compress-strings=no"])
        .arg(format!("--toggle-collect=*{COUNTED}*"))
        .arg(format!("--dump-after=*{WRITTEN_DOWN}*"))
        .arg(format!("--callgrind-out-file={}", folder.path().join("out").display()))
        .arg(std::env::current_exe().map_err(CallgrindError::Run)?)
        .arg("--walk")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .map_err(CallgrindError::Run)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(CallgrindError::Failed { status: output.status, said });
    }
    let walked = String::from_utf8_lossy(&output.stdout).into_owned();
    walked.lines().enumerate().map(|(index, line)| path(folder.path(), index + 1, line)).collect()
}

/// The name of a path, and its instructions per item. The program has said how many items; the file says how many instructions.
fn path(folder: &Path, number: usize, line: &str) -> Result<(String, f64), CallgrindError> {
    let unreadable = |file: &str| CallgrindError::Unreadable(file.to_owned(), line.to_owned());
    let file = format!("out.{number}");
    let text = fs::read_to_string(folder.join(&file)).map_err(|_| unreadable(&file))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or_else(|| unreadable(&file))?;
    let total: f64 = totals.trim().parse().map_err(|_| unreadable(&file))?;
    let (items, name) = line.split_once(' ').ok_or_else(|| unreadable(&file))?;
    let items: f64 = items.parse().map_err(|_| unreadable(&file))?;
    Ok((name.to_owned(), (total / items * 10.0).round() / 10.0))
}
