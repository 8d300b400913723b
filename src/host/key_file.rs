//! Files with a secret of 128 bits, as 32 hexadecimal digits.

#[cfg(test)]
mod tests;

use crate::rng::SipKey;
use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// The largest file that is taken for one with a key.
const MOST: u64 = 64;

/// What a file held.
#[derive(Clone, Debug)]
pub struct Found {
    /// The key.
    pub key: SipKey,
    /// The file's mode, where others may read it.
    pub readable: Option<u32>,
}

/// Why a file has no key to give: one sentence that names the file, and none that tells a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file.
    #[error("{0} cannot be read: there is no such file")]
    Missing(String),
    /// Anything else.
    #[error("{0}")]
    Bad(String),
}

/// The secret that a file holds. Links are followed: Kubernetes, for one, changes secrets by them. Never waits for a
/// FIFO's writer, and reads no more than a key takes.
///
/// # Errors
/// Where it cannot be read, is no regular file, may be written by others, or holds no key.
pub fn read(path: &Path) -> Result<Found, KeyFileError> {
    let shown = path.display();
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(shown.to_string()),
        _ => KeyFileError::Bad(format!("{shown} cannot be read: {error}")),
    };
    let bad = |what: String| Err(KeyFileError::Bad(what));
    // Without O_NONBLOCK, to open a FIFO is to wait for whoever writes to it.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unread)?;
    // Asked of what was opened, not of a name that may lead elsewhere by now.
    let about = file.metadata().map_err(unread)?;
    if !about.is_file() {
        return bad(format!("{shown} is no regular file: put the key into one"));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return bad(format!("others may write to {shown} (mode {mode:04o}): run `chmod 600 {shown}`"));
    }
    let mut octets = Vec::new();
    file.take(MOST + 1).read_to_end(&mut octets).map_err(unread)?;
    let make = "`head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'` makes one";
    let text = std::str::from_utf8(&octets).ok().filter(|text| text.len() as u64 <= MOST);
    let Some(key) = text.and_then(|text| SipKey::from_hex(text.trim())) else {
        return bad(format!("{shown} must hold 32 hexadecimal digits, and nothing else: {make}"));
    };
    if key.to_bytes() == [0; 16] {
        return bad(format!("{shown} holds nothing but zeros, which anybody may guess: {make}"));
    }
    Ok(Found { key, readable: (mode & 0o044 != 0).then_some(mode) })
}
