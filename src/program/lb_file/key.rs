//! The secret of a fleet's rows: a file that is made where there is none.

use super::whole::{self, Existing};
use crate::{
    host::key_file::{self, Found, KeyFileError},
    lb::RowKey,
    rng::SipKey,
};
use std::{fmt::Write as _, io, path::Path};

/// Why there is no row key: one sentence that names the file.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[error("no row key: {0}")]
pub struct KeyError(String);

debug_as_display!(KeyError);

/// The row key that a file holds; `None` where there is no file.
///
/// # Errors
/// Where it cannot be read, is no regular file, holds no key, or may be read or written by others: who has the key can
/// choose the backend that he meets.
pub fn known_row_key(path: &Path) -> Result<Option<RowKey>, KeyError> {
    match key_file::read(path) {
        Ok(Found { key, readable: None }) => Ok(Some(RowKey::new(key))),
        Ok(Found { readable: Some(mode), .. }) => {
            let shown = path.display();
            Err(KeyError(format!("others may read {shown} (mode {mode:04o}): run `chmod 600 {shown}`")))
        }
        Err(KeyFileError::Missing(_)) => Ok(None),
        Err(KeyFileError::Bad(why)) => Err(KeyError(why)),
    }
}

/// The row key that a file holds. Where there is none, it is made, for its owner alone, and whole before it has its
/// name; of two who do that at a time both get the same.
///
/// # Errors
/// As [`known_row_key`], and where no file can be made.
pub fn row_key(path: &Path) -> Result<RowKey, KeyError> {
    if let Some(key) = known_row_key(path)? {
        return Ok(key);
    }
    let shown = path.display();
    make(path).map_err(|error| KeyError(format!("{shown} cannot be made: {error}")))?;
    known_row_key(path)?.ok_or_else(|| KeyError(format!("{shown} leads nowhere: remove it, or make what it leads to")))
}

fn make(path: &Path) -> io::Result<()> {
    let secret = SipKey::random().map_err(io::Error::other)?;
    let mut digits = String::with_capacity(33);
    for octet in secret.to_bytes() {
        write!(digits, "{octet:02x}").map_err(io::Error::other)?;
    }
    digits.push('\n');
    whole::put(path, digits.as_bytes(), Existing::Kept)
}
