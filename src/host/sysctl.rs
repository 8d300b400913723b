//! Kernel settings below `/proc/sys`. Those under `net` are the network namespace's of the calling thread.

use std::{fs, io, path::PathBuf};

use super::HostError;

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key)
}

/// The setting `key` (such as `net/core/busy_poll`) without its line end, or `None` where this kernel does not have it.
///
/// # Errors
/// If the file is there but cannot be read.
pub fn read(key: &str) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::Unreadable { path: path(key), why: error.to_string() }),
    }
}

/// Sets `key` to `value`.
///
/// # Errors
/// If the kernel does not have the setting, or refuses the value.
pub fn write(key: &str, value: &str) -> Result<(), HostError> {
    fs::write(path(key), value).map_err(|error| HostError::refused(format!("set the sysctl {key} to {value}"), error))
}
