//! The contenders: servers that a flood is sent at, each of which answers SYNs in a way of its own.

mod error;
mod kernel;
pub(super) mod nft;
pub(super) mod nginx;
pub(super) mod serving;
pub(super) mod settings;
mod synproxy;
#[cfg(test)]
mod tests;

pub use self::error::ContenderError;

use self::{kernel::Kernel, settings::Settings, synproxy::Synproxy};
use crate::{
    app::Http,
    bpf::Reflector,
    host::{cores::Cores, memory},
    lab::{INTERFACE, Lab, PREFIX_V4, PREFIX_V6, Role, STACK},
    runtime::{Cookies, RunReport, Running},
    server::Server,
    xdp::Require,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The port of every contender.
const PORT: u16 = 80;

/// One that is compared with the others under a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contender {
    /// This crate's server, which answers SYNs in its XDP program.
    Xskip,
    /// This crate's server, which answers SYNs in its worker.
    XskipUserspace,
    /// A server on the kernel's sockets, with the kernel's SYN cookies.
    Kernel,
    /// A server on the kernel's sockets, behind the SYN proxy of nftables.
    NftSynproxy,
    /// An XDP program that answers every SYN by a SYN-ACK that means nothing.
    XdpTx,
}

impl Contender {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 5] = [Self::Xskip, Self::XskipUserspace, Self::Kernel, Self::NftSynproxy, Self::XdpTx];

    /// Those of scenarios with connections, in the order of a report.
    pub const COMPARED: [Self; 2] = [Self::Xskip, Self::Kernel];

    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Xskip => "xskip",
            Self::XskipUserspace => "xskip-userspace",
            Self::Kernel => "kernel",
            Self::NftSynproxy => "nft-synproxy",
            Self::XdpTx => "xdp-tx",
        }
    }

    /// What it is, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::Xskip => "xskip answers every SYN in its XDP program, by a SYN-ACK with a cookie.",
            Self::XskipUserspace => "xskip answers every SYN in its worker in user space, by a SYN-ACK with a cookie.",
            Self::Kernel => {
                "A server on kernel sockets keeps 4,096 handshakes in mind, and answers by SYN cookies beyond that."
            }
            Self::NftSynproxy => {
                "The same server stands behind the SYN proxy of nftables, which completes handshakes before it hears of them."
            }
            Self::XdpTx => {
                "An XDP program turns every SYN into a meaningless SYN-ACK: the limit of this machine, and no server."
            }
        }
    }

    /// Whether it serves clients, or only answers SYNs.
    pub fn serves_clients(self) -> bool {
        self != Self::XdpTx
    }

    /// Starts it on the server's side of a lab, with its thread pinned to `core`.
    ///
    /// # Errors
    /// [`ContenderError`] says what stands in the way; it is [`ContenderError::Unavailable`] where this machine lacks what
    /// the contender is made of. Nothing is left behind then.
    pub fn start(self, lab: &Lab, core: usize) -> Result<RunningContender, ContenderError> {
        Cores::read()?.require(core)?;
        let (stack, kernel) = (STACK, Role::Server.addresses());
        let (targets, works) = match self {
            Self::Xskip => (stack, Works::Stack(Box::new(start_stack(lab, core, Cookies::Always)?))),
            Self::XskipUserspace => (stack, Works::Stack(Box::new(start_stack(lab, core, Cookies::Worker)?))),
            Self::Kernel => (kernel, Works::Kernel(start_kernel(lab, core, None)?)),
            Self::NftSynproxy => {
                let proxy = Synproxy::install(lab.server(), PORT)?;
                (kernel, Works::Kernel(start_kernel(lab, core, Some(proxy))?))
            }
            Self::XdpTx => (kernel, Works::Reflector(start_reflector(lab)?)),
        };
        Ok(RunningContender { targets: sockets(targets), works })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no contender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no contender: name {names}", names = Contender::ALL.map(Contender::name).join(", "))]
pub struct UnknownContender(String);

impl FromStr for Contender {
    type Err = UnknownContender;

    fn from_str(text: &str) -> Result<Self, UnknownContender> {
        Self::ALL
            .into_iter()
            .find(|contender| contender.name() == text)
            .ok_or_else(|| UnknownContender(text.to_owned()))
    }
}

/// A contender at work. Dropping it ends it, and undoes what was set up for it.
#[derive(Debug)]
pub struct RunningContender {
    targets: Vec<SocketAddr>,
    works: Works,
}

#[derive(Debug)]
enum Works {
    Stack(Box<Running>),
    Kernel(Tuned),
    Reflector(#[expect(dead_code, reason = "attached for as long as it is there")] Reflector),
}

/// The kernel's server and what is set up for it, in the order of their ends: the proxy holds clients off before the server
/// goes, and the settings are the last.
#[derive(Debug)]
struct Tuned {
    proxy: Option<Synproxy>,
    server: Kernel,
    settings: Settings,
}

impl RunningContender {
    /// Where it is reached: over IPv4, then over IPv6.
    pub fn targets(&self) -> Vec<SocketAddr> {
        self.targets.clone()
    }

    /// Its workers, to be looked at, where it is this crate's server.
    pub fn running(&self) -> Option<&Running> {
        match &self.works {
            Works::Stack(running) => Some(running),
            Works::Kernel(_) | Works::Reflector(_) => None,
        }
    }

    /// The resident memory of the server's process, which is this one, KiB. What the kernel remembers is not in it. `None`
    /// where there is no server, or the kernel does not tell.
    pub fn resident_kib(&self) -> Option<u64> {
        match self.works {
            Works::Stack(_) | Works::Kernel(_) => memory::resident("self").map(|bytes| bytes / 1_024),
            Works::Reflector(_) => None,
        }
    }

    /// Ends it, and says what it did, where it is this crate's server.
    ///
    /// # Errors
    /// Where it had to give up before, or panicked.
    pub fn stop(self) -> Result<Option<RunReport>, ContenderError> {
        match self.works {
            Works::Stack(running) => Ok(Some(running.stop()?)),
            Works::Kernel(Tuned { proxy, server, settings }) => {
                drop(proxy);
                let ended = server.stop();
                drop(settings);
                ended.map(|()| None)
            }
            Works::Reflector(_) => Ok(None),
        }
    }
}

fn start_stack(lab: &Lab, core: usize, cookies: Cookies) -> Result<Running, ContenderError> {
    let (v4, v6) = STACK;
    let server = Server::on(INTERFACE)
        .address(format!("{v4}/{PREFIX_V4}").parse()?)
        .address(format!("{v6}/{PREFIX_V6}").parse()?)
        .port(PORT)
        .cores([core])
        .cookies(cookies);
    Ok(lab.server().run(|| server.start(Http::default))??)
}

fn start_kernel(lab: &Lab, core: usize, proxy: Option<Synproxy>) -> Result<Tuned, ContenderError> {
    let mut settings = Settings::of(lab.server().namespace())?;
    settings.write(&kernel::TUNING)?;
    if proxy.is_some() {
        settings.write(&synproxy::TUNING).map_err(|error| synproxy::unavailable(error.to_string()))?;
    }
    let addresses = sockets(Role::Server.addresses());
    let server = lab.server().run(|| Kernel::start(&addresses, kernel::Service::Page, core))??;
    Ok(Tuned { proxy, server, settings })
}

fn start_reflector(lab: &Lab) -> Result<Reflector, ContenderError> {
    let link = lab.server().link()?;
    // The same verb as that of the server's guard here.
    let mut reflector = Reflector::load(link.is_veth())?;
    // Inside: it is there that the index means this interface.
    let mode = lab.server().run(|| reflector.attach(&link.name, link.index, Require::Nothing))??;
    tracing::info!("{}: the reflector runs in {mode} mode", link.name);
    Ok(reflector)
}

fn sockets((v4, v6): (Ipv4Addr, Ipv6Addr)) -> Vec<SocketAddr> {
    [IpAddr::V4(v4), IpAddr::V6(v6)].map(|address| SocketAddr::new(address, PORT)).to_vec()
}
