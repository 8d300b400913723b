//! A balancer at work, whoever makes it: a process or rules of the kernel, that go by a list of backends.

mod haproxy;
mod nft;
mod nginx_stream;
mod redirect;
#[cfg(test)]
mod tests;
mod xskip;

use super::{
    contender::LbContender,
    ground::{Answers, BACK, DATAGRAMS, Ground, PORT, SOURCE, VIP, backend},
};
use crate::{
    bench::{
        BenchError, account,
        contender::{
            ContenderError,
            nginx::{self, TUNING},
            settings::Settings,
        },
        process::{Process, ProcessError},
        turns::Named,
    },
    bpf::PassOn,
    host::{HostError, Link},
    lab::{LabError, SideCommand},
    lb::Mode,
};
use nix::unistd::Pid;
use std::{
    fs, iter,
    net::IpAddr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A proxy opens as many connections as come: it has all ports, and uses them again.
const PORTS: [(&str, &str); 2] = [("net/ipv4/ip_local_port_range", "1024 65535"), ("net/ipv4/tcp_tw_reuse", "1")];

/// Clients that a proxy has room for at a time, at most.
const CLIENTS: u64 = 16_384;
/// Pipes that HAProxy may splice by, each of two descriptors.
const PIPES: u64 = 512;
/// Descriptors of a proxy that are no client's and no pipe's.
const OTHERS: u64 = 128;

/// Clients that any proxy has room for here: each takes two descriptors, of which a process may have only so many.
pub(super) fn room() -> Result<u32, ContenderError> {
    let spare = nginx::descriptors()?.saturating_sub(2 * PIPES + OTHERS);
    Ok((spare / 2).clamp(1, CLIENTS) as u32)
}

/// A backend in a balancer's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its number, from 1.
    pub number: u8,
    /// How much of it there is.
    pub weight: u32,
    /// Whether it keeps what it has and gets nothing new.
    pub drains: bool,
}

impl Member {
    /// So many that serve alike.
    pub fn all(count: u8) -> Vec<Self> {
        (1..=count).map(|number| Self { number, weight: 100, drains: false }).collect()
    }

    fn takes_new(&self) -> bool {
        !self.drains && self.weight > 0
    }
}

/// What is to balance.
#[derive(Clone, Copy, Debug)]
pub(super) struct BalanceOptions<'a> {
    pub contender: LbContender,
    /// How this crate's sends packets on.
    pub mode: Mode,
    /// The core that is its own, where it is a process.
    pub core: usize,
    /// The program of this crate.
    pub program: &'a Path,
    /// Whether packets leave by another link than they come by, to backends that nobody checks.
    pub is_flood: bool,
    /// The secret by which this crate's answers SYNs in its backends' names, if it is to do so.
    pub cookie_master: Option<&'a Path>,
}

impl BalanceOptions<'_> {
    /// Whom backends answer.
    pub fn answers(&self) -> Answers {
        match self.contender {
            LbContender::NftDnat | LbContender::Redirect => Answers::ByBalancer,
            _ => Answers::Direct,
        }
    }
}

/// A balancer at work. Dropping it ends it.
pub(crate) struct Balancing<'a> {
    ground: &'a Ground,
    options: BalanceOptions<'a>,
    works: Works,
    folder: TempDir,
    /// Put back, with the namespace alive, when all else has ended.
    _settings: Settings,
}

enum Works {
    Process(Process),
    /// The kernel's rules go with their namespace.
    Rules,
    /// A program goes when it is dropped.
    Program(#[expect(dead_code, reason = "kept attached")] PassOn),
    Nobody,
}

impl<'a> Balancing<'a> {
    /// This crate's, before so many backends, with its worker on a core; with a secret that backends have, it answers SYNs in their
    /// names.
    pub fn of_xskip(
        ground: &'a Ground,
        program: &'a Path,
        core: usize,
        backends: u8,
        cookie_master: Option<&'a Path>,
    ) -> Result<Self, BenchError> {
        let (contender, mode) = (LbContender::Xskip, Mode::Dsr);
        let options = BalanceOptions { contender, mode, core, program, is_flood: false, cookie_master };
        Self::start(ground, options, &Member::all(backends))
    }

    /// Starts it in the balancer's namespace, and waits until it serves.
    pub(super) fn start(
        ground: &'a Ground,
        options: BalanceOptions<'a>,
        members: &[Member],
    ) -> Result<Self, BenchError> {
        let folder = tempfile::Builder::new().prefix("xskip-bench-").tempdir();
        let folder = folder.map_err(|error| ContenderError::system("make a folder for a balancer", error))?;
        let mut settings = Settings::of(ground.host("balancer"))?;
        settings.write(&TUNING)?;
        settings.write(&PORTS)?;
        let mut it = Self { ground, options, works: Works::Nobody, folder, _settings: settings };
        match options.contender {
            LbContender::Xskip => it.start_xskip(members)?,
            LbContender::Haproxy => it.start_haproxy(members)?,
            LbContender::NginxStream => it.start_nginx(members)?,
            LbContender::NftDnat => it.start_nft(members)?,
            // Frames of a flood leave by another link, which is not for whoever serves clients.
            LbContender::Redirect if !options.is_flood => it.start_redirect(members)?,
            LbContender::Redirect | LbContender::Direct => {}
        }
        Ok(it)
    }

    /// Goes on by another list.
    pub(super) fn apply(&mut self, members: &[Member]) -> Result<(), BenchError> {
        match self.options.contender {
            LbContender::Xskip => self.reload_xskip(members),
            LbContender::Haproxy => self.reload_haproxy(members),
            LbContender::NginxStream => self.reload_nginx(members),
            LbContender::NftDnat => self.apply_nft(members),
            LbContender::Redirect | LbContender::Direct => Ok(()),
        }
    }

    /// Ends it; it must have been there until now.
    pub fn stop(self) -> Result<(), BenchError> {
        if let Works::Process(mut process) = self.works {
            process.check()?;
            process.stop()?;
        }
        Ok(())
    }

    /// Its processes: whoever is at work, and who looks after that. None where it is rules of the kernel.
    pub(super) fn processes(&self) -> Vec<Pid> {
        match &self.works {
            Works::Process(process) => iter::once(process.id()).chain(account::children(process.id(), "")).collect(),
            Works::Rules | Works::Program(_) | Works::Nobody => Vec::new(),
        }
    }

    fn process(&mut self) -> Result<&mut Process, BenchError> {
        match &mut self.works {
            Works::Process(process) => Ok(process),
            Works::Rules | Works::Program(_) | Works::Nobody => unreachable!("only processes are spoken to"),
        }
    }

    /// Writes a file for it, whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, BenchError> {
        let (path, draft) = (self.folder.path().join(name), self.folder.path().join(format!("{name}.new")));
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|error| ContenderError::system(format!("write {}", path.display()), error))?;
        Ok(path)
    }

    /// Gives the service's address to the balancer's kernel, which xskip does without.
    fn take_address(&self) -> Result<(), BenchError> {
        let give = || Link::find("lo")?.add_address(IpAddr::V4(VIP), 32);
        Ok(self.ground.host("balancer").run(give)??)
    }

    /// Starts a program of others; who lacks it is told what to install.
    fn start_other(&self, name: &'static str, command: SideCommand<'_>, package: &str) -> Result<Process, BenchError> {
        match Process::start(name, command, "") {
            Err(ProcessError::Start(LabError::Host(HostError::CannotStart { source, .. }))) => {
                let remedy = format!("install it, as by `apt install {package}`, or name the contenders without it");
                Err(self.unavailable(format!("{name} did not start ({source}): {remedy}")))
            }
            other => Ok(other?),
        }
    }

    fn unavailable(&self, reason: String) -> BenchError {
        ContenderError::Unavailable { name: self.options.contender.name(), reason }.into()
    }
}
