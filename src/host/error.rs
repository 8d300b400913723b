use std::{io, path::PathBuf};

use thiserror::Error;

/// What can go wrong when the kernel is asked or told something.
#[derive(Error)]
pub enum HostError {
    /// No link of that name in the network namespace of the calling thread.
    #[error("there is no interface {name} here, only {known}: name one of these, or enter the namespace that has it")]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },

    /// No network namespace of that name.
    #[error(
        "there is no network namespace {name} in {}: `ip netns list` shows those there are",
        super::netns::DIRECTORY
    )]
    NoSuchNamespace {
        /// The name asked for.
        name: String,
    },

    /// A network namespace of that name is there already.
    #[error(
        "the network namespace {name} exists already: choose another name, or delete it with `ip netns delete {name}`"
    )]
    NamespaceExists {
        /// The name asked for.
        name: String,
    },

    /// The kernel refused for want of rights.
    #[error("not permitted to {what}: run as root, or with the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN")]
    NotPermitted {
        /// What was tried.
        what: String,
    },

    /// No descriptor left.
    #[error("no file descriptor was left to {what}: raise the limit with `ulimit -n 4096`")]
    NoDescriptors {
        /// What was tried.
        what: String,
    },

    /// The kernel refused for another reason.
    #[error("could not {what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// A core that is there, but not for this process.
    #[error(
        "core {core} is not for this process: taskset, a cpuset or a container leaves it {allowed}; choose among these, or start it with more"
    )]
    ForbiddenCore {
        /// The core asked for.
        core: usize,
        /// Those that it may use.
        allowed: String,
    },

    /// A program that could not be started.
    #[error("could not start {program}: {source}; is it installed, and its name spelled right?")]
    CannotStart {
        /// The program, as it was named.
        program: String,
        /// What the kernel says.
        source: io::Error,
    },

    /// Another user that the process may not become.
    #[error(
        "cannot go on as {user}: {source}; that takes root, or CAP_SETUID and CAP_SETGID: or be started as {user}, with `setpriv --ambient-caps`"
    )]
    CannotBecome {
        /// The user.
        user: super::confinement::User,
        /// The kernel's answer.
        source: io::Error,
    },

    /// A netlink reply that makes no sense to this program.
    #[error(
        "could not {what}: the kernel's reply was not understood ({why}); please report it with the kernel's version"
    )]
    Reply {
        /// What was tried.
        what: String,
        /// What was wrong with the reply.
        why: String,
    },

    /// An offload that has to be changed, but is fixed by the driver or missing from the kernel.
    #[error("the feature {feature} of {interface} cannot be turned {}: the driver keeps it fixed, so use another interface", if *.on {"on"} else {"off"})]
    FixedFeature {
        /// The interface.
        interface: String,
        /// The kernel's name of the feature, as `ethtool -k` shows it.
        feature: String,
        /// What was wanted of it.
        on: bool,
    },

    /// A file below `/proc` or `/sys` could not be read, or does not hold what it should.
    #[error("could not read {}: {why}; is the file system mounted?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        why: String,
    },

    /// A core that the machine does not have, or not switched on.
    #[error("core {core} does not exist: the cores online are {online}, choose among these")]
    NoSuchCore {
        /// The core asked for.
        core: usize,
        /// The cores there are, as a list of ranges.
        online: String,
    },
}

debug_as_display!(HostError);

impl HostError {
    /// The error for a refused attempt to do `what`, told apart by the kernel's error number.
    #[doc(hidden)]
    pub fn refused(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (what, source) = (what.into(), source.into());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what },
            _ if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Self::NoDescriptors { what },
            _ => Self::Refused { what, source },
        }
    }

    /// The kernel's error number behind this error, if there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
