//! How the program is attached to an interface, and found there.

use super::BackendError;
use crate::{
    bpf::{AttachedBackend, BackendProgram, BackendSettings},
    host::{
        Link,
        clsact::{Clsact, Filter},
    },
    xdp::{
        programs::listen,
        tc::{self, Ingress},
    },
};
use libbpf_rs::{TC_EGRESS, TC_INGRESS, TcHook};
use serde::Serialize;
use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    str::FromStr,
};
use thiserror::Error;

/// Where the kernel runs a program on what an interface has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A list of programs (Linux 6.6).
    Tcx,
    /// Filters of the qdisc of that name, which run behind those of tcx.
    Clsact,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// A word that is none of the hooks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no hook: write tcx or clsact")]
pub struct HookError(String);

impl FromStr for Hook {
    type Err = HookError;

    fn from_str(text: &str) -> Result<Self, HookError> {
        [Self::Tcx, Self::Clsact]
            .into_iter()
            .find(|hook| hook.to_string() == text)
            .ok_or_else(|| HookError(text.to_owned()))
    }
}

/// How often a list is read again that has changed before it could be changed.
const ATTEMPTS: usize = 8;

/// A program of ours that is attached.
pub(super) struct Found {
    pub hook: Hook,
    pub backend: AttachedBackend,
    /// By which it is attached, unless that is tcx.
    filter: Option<Filter>,
}

impl Found {
    /// All that are attached to an interface, in the order in which they run: one, unless two were attached at once.
    pub fn all(link: &Link) -> Result<Vec<Self>, BackendError> {
        let open = |id| AttachedBackend::open(id).map_err(|error| BackendError::refused("look at tc programs", error));
        let mut found = Vec::new();
        for id in read(link)?.unwrap_or_default().programs {
            found.extend(open(id)?.map(|backend| Self { hook: Hook::Tcx, backend, filter: None }));
        }
        for filter in Clsact::read(link)?.unwrap_or_default().ingress {
            let Some(backend) = filter.program.map(open).transpose()?.flatten() else { continue };
            found.push(Self { hook: Hook::Clsact, backend, filter: Some(filter) });
        }
        Ok(found)
    }

    /// Detaches it, and removes the qdisc that was made for it, unless somebody else has come to use that.
    pub fn detach(self, link: &Link) -> Result<(), BackendError> {
        listen();
        let refused = |error| BackendError::refused("detach the tc program", error);
        let Some(filter) = self.filter else {
            return match tc::detach(link.index, self.backend.as_fd()) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(refused(error)),
                _ => Ok(()),
            };
        };
        let made_clsact = self.made_clsact();
        let mut hook = clsact(link, self.backend.as_fd());
        hook.handle(filter.handle).priority(filter.priority);
        hook.detach().map_err(|error| refused(io::Error::other(error.to_string())))?;
        if made_clsact {
            unmake_clsact(link, self.backend.as_fd())?;
        }
        Ok(())
    }

    fn made_clsact(&self) -> bool {
        self.backend.settings().ok().flatten().is_some_and(|settings| settings.made_clsact)
    }
}

/// The programs that tcx runs; none where the kernel has no tcx.
fn read(link: &Link) -> Result<Option<Ingress>, BackendError> {
    Ingress::read(link.index).map_err(|error| BackendError::refused("list the tc programs", error))
}

/// The hook that was asked for, or the best there is.
pub(super) fn choose(link: &Link, wanted: Option<Hook>) -> Result<Hook, BackendError> {
    match (wanted, read(link)?.is_some()) {
        (Some(Hook::Clsact), _) | (None, false) => Ok(Hook::Clsact),
        (_, true) => Ok(Hook::Tcx),
        (Some(Hook::Tcx), false) => Err(BackendError::NoTcx),
    }
}

/// Whether the qdisc is there for our sake, once the program is attached by it: because it is not there yet, or was made for the one
/// before.
pub(super) fn would_make_clsact(link: &Link, found: &[Found]) -> Result<bool, BackendError> {
    Ok(Clsact::read(link)?.is_none() || found.iter().any(Found::made_clsact))
}

/// Attaches the program in the place of what is there of ours, or in front of all others. Where two hooks are concerned, the new one
/// is there before the old one goes: what it has taken out of a tunnel the old one passes.
pub(super) fn attach(
    link: &Link,
    hook: Hook,
    program: &BackendProgram,
    settings: &BackendSettings,
    found: Vec<Found>,
) -> Result<(), BackendError> {
    listen();
    let (same, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.hook == hook);
    let mut same = same.into_iter();
    let instead = same.next();
    match hook {
        Hook::Tcx => attach_by_tcx(link, program, instead)?,
        Hook::Clsact => attach_by_clsact(link, program, settings, instead.as_ref())?,
    }
    same.chain(other).try_for_each(|found| found.detach(link))
}

fn attach_by_tcx(link: &Link, program: &BackendProgram, mut instead: Option<Found>) -> Result<(), BackendError> {
    for _ in 0..ATTEMPTS {
        let list = read(link)?.ok_or(BackendError::NoTcx)?;
        match list.attach(link.index, program.as_fd(), instead.as_ref().map(|found| found.backend.as_fd())) {
            Ok(()) => return Ok(()),
            // Somebody else was faster: perhaps another of us.
            Err(error) if [Some(libc::ESTALE), Some(libc::ENOENT)].contains(&error.raw_os_error()) => {
                instead = Found::all(link)?.into_iter().find(|found| found.hook == Hook::Tcx);
            }
            Err(source) => {
                return Err(BackendError::Attach { interface: link.name.clone(), hook: Hook::Tcx, source });
            }
        }
    }
    Err(BackendError::Contended { interface: link.name.clone() })
}

fn attach_by_clsact(
    link: &Link,
    program: &BackendProgram,
    settings: &BackendSettings,
    instead: Option<&Found>,
) -> Result<(), BackendError> {
    let failed = |error: libbpf_rs::Error| BackendError::Attach {
        interface: link.name.clone(),
        hook: Hook::Clsact,
        source: io::Error::other(error.to_string()),
    };
    let mut hook = clsact(link, program.as_fd());
    // The kernel stops sending while a qdisc comes or goes, and drops what was to be sent in that moment.
    if Clsact::read(link)?.is_none() {
        hook.create().map_err(failed)?;
    }
    // Without a priority the kernel gives it one in front of all others.
    if let Some(filter) = instead.and_then(|found| found.filter) {
        hook.handle(filter.handle).priority(filter.priority).replace(true);
    }
    hook.attach().map(drop).map_err(|error| {
        if settings.made_clsact && instead.is_none() {
            unmake_clsact(link, program.as_fd()).ok();
        }
        failed(error)
    })
}

fn clsact(link: &Link, program: BorrowedFd<'_>) -> TcHook {
    let mut hook = TcHook::new(program);
    hook.ifindex(link.index as i32).attach_point(TC_INGRESS);
    hook
}

/// Removes the qdisc, if nobody uses it.
fn unmake_clsact(link: &Link, program: BorrowedFd<'_>) -> Result<(), BackendError> {
    if Clsact::read(link)?.is_none_or(|clsact| !clsact.is_empty()) {
        return Ok(());
    }
    let mut hook = clsact(link, program);
    hook.attach_point(TC_INGRESS | TC_EGRESS);
    hook.destroy()
        .map_err(|error| BackendError::refused("remove the qdisc clsact", io::Error::other(error.to_string())))
}

/// How many other programs and filters run on what the interface receives.
pub(super) fn others(link: &Link) -> Result<usize, BackendError> {
    let tcx = read(link)?.unwrap_or_default().programs.len();
    let filters = Clsact::read(link)?.unwrap_or_default().ingress.len();
    Ok((tcx + filters).saturating_sub(Found::all(link)?.len()))
}
