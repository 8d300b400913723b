//! Network namespaces with a name, kept the way `ip netns` keeps them: as bind mounts in [`DIRECTORY`]. What is made
//! here, `ip netns` can list, enter and delete, and the other way round.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
            process::CommandExt,
        },
    },
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, statfs},
};
use serde::Serialize;

use super::HostError;

/// Where the named namespaces are: one file each, on which the namespace is mounted.
pub const DIRECTORY: &str = "/run/netns";

/// The right to add and delete names: one holder at a time on the machine, `ip netns add` included.
pub struct Registry {
    _lock: Flock<File>,
}

impl Registry {
    /// Waits for the right to change the names. Makes the directory first, where this is its first use since boot.
    ///
    /// # Errors
    /// If the directory cannot be made, mounted or locked: mostly for want of CAP_SYS_ADMIN.
    pub fn lock() -> Result<Self, HostError> {
        let failed = |error: io::Error| HostError::refused(format!("lock {DIRECTORY}"), error);
        DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY).map_err(failed)?;
        let directory = File::open(DIRECTORY).map_err(failed)?;
        let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        share_directory()?;
        Ok(Self { _lock: lock })
    }

    /// Makes a network namespace and gives it a name. Nothing is in it but a loopback interface that is down.
    ///
    /// # Errors
    /// [`HostError::NamespaceExists`], or the kernel's refusal; no name is left behind then.
    pub fn create(&self, name: &str) -> Result<(), HostError> {
        let path = path(name);
        let failed = |error| HostError::refused(format!("make the network namespace {name}"), error);
        match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(HostError::NamespaceExists { name: name.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        }
        // A thread of its own, because it cannot come back from the namespace it makes.
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            bind("/proc/thread-self/ns/net", &path)
        })
        .map_err(|errno| {
            let _ = fs::remove_file(&path);
            failed(errno.into())
        })
    }

    /// Takes the name away. The namespace itself goes when the last process in it has ended. Says whether there was
    /// such a name; one that a crash left without a namespace counts too.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn delete(&self, name: &str) -> Result<bool, HostError> {
        let path = path(name);
        let failed = |error| HostError::refused(format!("delete the network namespace {name}"), error);
        match umount2(&path, MntFlags::MNT_DETACH) {
            // EINVAL: nothing is mounted on it.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(Errno::ENOENT) => return Ok(false),
            Err(errno) => return Err(failed(errno.into())),
        }
        fs::remove_file(&path).map_err(failed)?;
        Ok(true)
    }
}

/// Makes the directory a shared mount of its own, so that names come and go in every mount namespace alike.
fn share_directory() -> Result<(), HostError> {
    let failed = |errno: Errno| HostError::refused(format!("share the mount {DIRECTORY}"), errno);
    let share = || mount(None::<&str>, DIRECTORY, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        // EINVAL: it is not a mount yet.
        Err(Errno::EINVAL) => {
            bind(DIRECTORY, Path::new(DIRECTORY)).map_err(failed)?;
            share().map_err(failed)
        }
        other => other.map_err(failed),
    }
}

fn bind(what: &str, onto: &Path) -> Result<(), Errno> {
    mount(Some(what), onto, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

/// The names there are, sorted; those that a crash left without a namespace included.
///
/// # Errors
/// If the directory is there but cannot be read.
pub fn list() -> Result<Vec<String>, HostError> {
    let unreadable = |error: io::Error| HostError::Unreadable { path: DIRECTORY.into(), why: error.to_string() };
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A named network namespace, held open: it cannot vanish while this lives, though its name can.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Opens the namespace `name`.
    ///
    /// # Errors
    /// [`HostError::NoSuchNamespace`], also for a name that a crash left without a namespace.
    pub fn open(name: &str) -> Result<Self, HostError> {
        let path = path(name);
        // A file on which no namespace is mounted is only a leftover, and opening it would succeed.
        let mounted = statfs(&path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC);
        if !mounted {
            return Err(HostError::NoSuchNamespace { name: name.to_owned() });
        }
        let file = File::open(&path)
            .map_err(|error| HostError::refused(format!("open the network namespace {name}"), error))?;
        Ok(Self { name: name.to_owned(), file })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into the namespace, for good, and lets it see a `/sys` that shows the namespace's own
    /// interfaces. The threads and processes it starts from now on inherit both; other threads are left where they are.
    ///
    /// # Errors
    /// The kernel's refusal, mostly for want of CAP_SYS_ADMIN. The thread may have been moved by half then: let it end.
    pub fn enter(&self) -> Result<(), HostError> {
        let failed = |errno: Errno| HostError::refused(format!("enter the network namespace {}", self.name), errno);
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(failed)?;
        // sysfs shows the network namespace it was mounted from. A private mount namespace lets this thread have its
        // own without changing what the rest of the machine sees; `slave` still lets mounts from outside come in.
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>).map_err(failed)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).map_err(failed)
    }

    /// Runs `work` on a thread of its own that has entered the namespace, and waits for its result. A panic in `work`
    /// goes on in the caller.
    ///
    /// # Errors
    /// Those of [`Namespace::enter`]; `work` is not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, HostError> {
        on_thread(|| self.enter().map(|()| work()))
    }

    /// Starts `command` inside the namespace.
    ///
    /// # Errors
    /// Those of [`Namespace::enter`], or that the program could not be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, HostError> {
        self.run(|| command.spawn())?.map_err(|error| cannot_start(command, error))
    }

    /// Runs `command` inside the namespace to its end, with the caller's input and output.
    ///
    /// # Errors
    /// As for [`Namespace::spawn`].
    pub fn status(&self, command: &mut Command) -> Result<ExitStatus, HostError> {
        self.run(|| command.status())?.map_err(|error| cannot_start(command, error))
    }

    /// Runs `command` inside the namespace to its end, and gathers its output.
    ///
    /// # Errors
    /// As for [`Namespace::spawn`].
    pub fn output(&self, command: &mut Command) -> Result<Output, HostError> {
        self.run(|| command.output())?.map_err(|error| cannot_start(command, error))
    }

    /// Becomes `command` inside the namespace: the calling process is replaced.
    ///
    /// # Errors
    /// Those of [`Namespace::enter`], or that the program could not be started; the process should end then, as its
    /// calling thread may have been moved.
    pub fn exec(&self, command: &mut Command) -> Result<Infallible, HostError> {
        self.enter()?;
        let error = command.exec();
        Err(cannot_start(command, error))
    }

    /// The processes that have a thread in this namespace, in the order of their numbers.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<Process>, HostError> {
        let unreadable =
            |path: &Path, error: io::Error| HostError::Unreadable { path: path.to_owned(), why: error.to_string() };
        let inode = self.file.metadata().map_err(|error| unreadable(&path(&self.name), error))?.ino();
        let proc = Path::new("/proc");
        let mut pids = BTreeSet::new();
        for entry in fs::read_dir(proc).map_err(|error| unreadable(proc, error))? {
            let entry = entry.map_err(|error| unreadable(proc, error))?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(pid) = pid.filter(|_| has_thread_in(&entry.path(), inode)) {
                pids.insert(pid);
            }
        }
        Ok(pids.into_iter().map(Process::describe).collect())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A process found in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What the kernel calls it: the first 15 bytes of the program's name.
    pub command: String,
}

impl Process {
    fn describe(pid: u32) -> Self {
        // It may have ended meanwhile.
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self { pid, command: command.trim_end().to_owned() }
    }
}

/// Threads, not only processes: a thread of this very program may have entered the namespace alone. What cannot be read
/// has ended meanwhile, or is not ours to look into.
fn has_thread_in(process: &Path, inode: u64) -> bool {
    let Ok(tasks) = fs::read_dir(process.join("task")) else {
        return false;
    };
    tasks.flatten().any(|task| fs::metadata(task.path().join("ns/net")).is_ok_and(|namespace| namespace.ino() == inode))
}

fn cannot_start(command: &Command, source: io::Error) -> HostError {
    HostError::CannotStart { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}
