//! Files that are whole or not there, and their owner's alone.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replaced,
    Kept,
}

/// Puts a file with these octets there, for good.
pub(super) fn put(path: &Path, octets: &[u8], existing: Existing) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Such a file is its owner's alone from the beginning.
    let mut file: NamedTempFile = tempfile::Builder::new().prefix(".xskip-lb-").tempfile_in(folder)?;
    file.write_all(octets)?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Replaced => drop(file.persist(path)?),
        Existing::Kept => match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
            _ => {}
        },
    }
    // Or its name may be gone after a power cut.
    fs::File::open(folder)?.sync_all()
}
