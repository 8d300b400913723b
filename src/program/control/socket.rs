//! The socket: its owner's alone, and one process's at a time.

use super::Role;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket},
        stat::{Mode, fchmod},
    },
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Why there is no control socket.
#[derive(Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Another process has it.
    #[error("a {} runs at {path} already: stop that one, or give this one another `{}`", .role.name, .role.setting)]
    Taken {
        /// What it is for.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{path} is there and no socket of a {}'s: remove it, or give another `{}`", .role.name, .role.setting)]
    InTheWay {
        /// What it was to be for.
        role: &'static Role,
        /// What is there.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("the control socket {path} cannot be made: {source}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(ControlError);

/// The socket, and what tells others that somebody lives behind it. Both go when this is dropped; what a process leaves that was
/// killed, the next one replaces.
///
/// Who has given up the right to change files leaves both behind; they are then as those of a process that was killed.
#[derive(Debug)]
pub struct Control {
    pub(super) listener: UnixListener,
    pub(super) role: &'static Role,
    path: PathBuf,
    /// Device and inode of the socket.
    identity: (u64, u64),
    _lock: Lock,
}

impl Control {
    /// Makes the socket, where nobody has it.
    ///
    /// # Errors
    /// [`ControlError`] says what to do.
    pub fn take(role: &'static Role, path: &Path) -> Result<Self, ControlError> {
        let system = |source| ControlError::System { path: path.to_owned(), source };
        let lock =
            Lock::take(path).map_err(system)?.ok_or_else(|| ControlError::Taken { role, path: path.to_owned() })?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::InTheWay { role, path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(system)?
                }
                // Nobody's who would have the lock.
                _ => return Err(ControlError::InTheWay { role, path: path.to_owned() }),
            },
        }
        let listener = open(path).map_err(|errno| system(errno.into()))?;
        let found = fs::symlink_metadata(path).map_err(system)?;
        Ok(Self { listener, role, path: path.to_owned(), identity: identity(&found), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A socket that is its owner's alone from the moment that it has a name: it has the mode that its inode had before.
fn open(path: &Path) -> Result<UnixListener, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

impl Drop for Control {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A file beside the socket that its owner has locked as long as it lives: a socket alone does not tell, between two looks, whether
/// it is somebody's.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Lock {
    /// `None` where somebody has it.
    fn take(control: &Path) -> io::Result<Option<Self>> {
        let mut path = control.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
            let file = match Flock::lock(options.open(&path)?, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(errno.into()),
            };
            // Whoever had it may have removed it in the meantime.
            let ours = identity(&file.metadata()?);
            if fs::symlink_metadata(&path).is_ok_and(|found| identity(&found) == ours) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
