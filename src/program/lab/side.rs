use std::{
    ffi::OsStr,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Child, Command, ExitStatus, Output},
    str::FromStr,
};

use serde::Serialize;

use super::{INTERFACE, LabError, LabName, PREFIX_V4, PREFIX_V6, benchmarking_v6};
use crate::host::{Link, netns::Namespace};

/// One of the two sides of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Where the server runs.
    Server,
    /// Where the client runs.
    Client,
}

impl Role {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];

    /// The addresses of the kernel on this side; their prefix lengths are [`PREFIX_V4`] and [`PREFIX_V6`].
    pub fn addresses(self) -> (Ipv4Addr, Ipv6Addr) {
        match self {
            Self::Server => (Ipv4Addr::new(198, 18, 0, 254), benchmarking_v6(0xfe)),
            Self::Client => (Ipv4Addr::new(198, 18, 0, 2), benchmarking_v6(0x2)),
        }
    }

    /// The Ethernet address of the interface on this side: locally administered, and the same in every lab, so that one
    /// capture reads like another. It is also the mark by which a lab is told from somebody else's namespaces.
    pub fn mac(self) -> [u8; 6] {
        let last = match self {
            Self::Server => 0x01,
            Self::Client => 0x02,
        };
        [0x02, b'x', b's', b'k', 0x00, last]
    }

    /// The index of the interface on this side, beyond those that a new namespace may have in use.
    pub(super) fn interface_index(self) -> u32 {
        match self {
            Self::Server => 101,
            Self::Client => 102,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            other => Err(format!("{other:?} is not a side of a lab: name `server` or `client`")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// One side of a lab that is up.
#[derive(Debug)]
pub struct Side {
    role: Role,
    namespace: Namespace,
}

impl Side {
    pub(super) fn open(name: &LabName, role: Role) -> Result<Self, LabError> {
        Ok(Self { role, namespace: Namespace::open(&name.namespace(role))? })
    }

    /// Which side it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The addresses of its kernel.
    pub fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        self.role.addresses()
    }

    /// Its interface, as it is now.
    ///
    /// # Errors
    /// If it is gone, or the kernel's refusal.
    pub fn link(&self) -> Result<Link, LabError> {
        Ok(self.namespace.run(|| Link::find(INTERFACE))??)
    }

    /// Runs `work` on a thread inside, and waits for its result. Threads that it starts are inside too.
    ///
    /// # Errors
    /// If the thread could not enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        Ok(self.namespace.run(work)?)
    }

    /// A command that, started by its own methods, runs inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> SideCommand<'_> {
        SideCommand { side: self, command: Command::new(program) }
    }
}

/// The addresses that a kernel on a side has, with their prefix lengths.
pub(super) fn kernel_addresses(role: Role) -> [(IpAddr, u8); 2] {
    let (v4, v6) = role.addresses();
    [(v4.into(), PREFIX_V4), (v6.into(), PREFIX_V6)]
}

/// A command inside one side of a lab. Set it up through [`SideCommand::with`], as any [`Command`].
#[derive(Debug)]
pub struct SideCommand<'side> {
    side: &'side Side,
    command: Command,
}

impl SideCommand<'_> {
    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Does to the command whatever else is to be done, such as redirecting its output.
    pub fn with(mut self, set_up: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        set_up(&mut self.command);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If the namespace could not be entered, or the program not started.
    pub fn spawn(mut self) -> Result<Child, LabError> {
        Ok(self.side.namespace.spawn(&mut self.command)?)
    }

    /// Runs it to its end, with the caller's input and output.
    ///
    /// # Errors
    /// As for [`SideCommand::spawn`].
    pub fn status(mut self) -> Result<ExitStatus, LabError> {
        Ok(self.side.namespace.status(&mut self.command)?)
    }

    /// Runs it to its end and gathers its output.
    ///
    /// # Errors
    /// As for [`SideCommand::spawn`].
    pub fn output(mut self) -> Result<Output, LabError> {
        Ok(self.side.namespace.output(&mut self.command)?)
    }
}
