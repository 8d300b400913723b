//! Where control sockets are, unless somebody says otherwise.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The folder of sockets, each by the name of its server's first interface.
pub const FOLDER: &str = "/run/xskip";

/// How many names are told at most.
const TOLD: usize = 8;

/// Why it is not known which server is meant.
#[derive(Error)]
#[non_exhaustive]
pub enum FindError {
    /// There is none.
    #[error("no server has its control socket in {}: start one by `xskip serve`, or say where it is by --control", .folder.display())]
    None {
        /// Where was looked.
        folder: PathBuf,
    },
    /// There are several.
    #[error("{} servers run: say which one by --control, of {}", .found.len(), named(.found))]
    Several {
        /// Their sockets.
        found: Vec<PathBuf>,
    },
    /// The sockets are another user's.
    #[error("the control socket {} is for its owner alone: be that user, or root", .path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
}

debug_as_display!(FindError);

fn named(found: &[PathBuf]) -> String {
    let names: Vec<_> = found.iter().take(TOLD).map(|path| path.display().to_string()).collect();
    let more = if found.len() > TOLD { ", and others" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// Where the socket of a server on this interface, its first one, is unless told otherwise.
pub fn default_path(interface: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{interface}.sock"))
}

/// Makes the folder of sockets, where there is none.
///
/// # Errors
/// What the kernel says.
pub fn make_folder() -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(FOLDER) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The only socket in a folder that somebody lives behind. Those that were left behind count for nothing.
///
/// # Errors
/// [`FindError`], where there is none, or more than one.
pub fn find(folder: &Path) -> Result<PathBuf, FindError> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut sockets: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "sock")).collect();
    sockets.sort();
    let mut denied = None;
    let mut is_alive = |path: &PathBuf| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => {
            if error.kind() == io::ErrorKind::PermissionDenied {
                denied = Some(path.clone());
            }
            false
        }
    };
    let mut found: Vec<_> = sockets.into_iter().filter(|path| is_alive(path)).collect();
    match (found.len(), denied) {
        (0, Some(path)) => Err(FindError::NotPermitted { path }),
        (0, None) => Err(FindError::None { folder: folder.to_owned() }),
        (1, _) => Ok(found.remove(0)),
        _ => Err(FindError::Several { found }),
    }
}
