use std::{
    ffi::OsStr,
    net::{Ipv4Addr, Ipv6Addr},
    process::{Child, Command, ExitStatus, Output},
};

use super::{INTERFACE, LabError, LabName, Role};
use crate::host::{Link, netns::Namespace};

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
        SideCommand::inside(&self.namespace, program)
    }
}

/// A command inside one side of a lab. Set it up through [`SideCommand::with`], as any [`Command`].
#[derive(Debug)]
pub struct SideCommand<'side> {
    namespace: &'side Namespace,
    command: Command,
}

impl<'side> SideCommand<'side> {
    /// A command inside whatever namespace it is.
    pub fn inside(namespace: &'side Namespace, program: impl AsRef<OsStr>) -> Self {
        Self { namespace, command: Command::new(program) }
    }

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
        Ok(self.namespace.spawn(&mut self.command)?)
    }

    /// Runs it to its end, with the caller's input and output.
    ///
    /// # Errors
    /// As for [`SideCommand::spawn`].
    pub fn status(mut self) -> Result<ExitStatus, LabError> {
        Ok(self.namespace.status(&mut self.command)?)
    }

    /// Runs it to its end and gathers its output.
    ///
    /// # Errors
    /// As for [`SideCommand::spawn`].
    pub fn output(mut self) -> Result<Output, LabError> {
        Ok(self.namespace.output(&mut self.command)?)
    }
}
