//! A backend of a load balancer: packets that come in a tunnel are taken out of it in front of the kernel, so that its unmodified
//! servers get the client's packet for a virtual address and answer the client themselves.
//!
//! The program is attached to an interface and outlives the process that attached it: by tcx (Linux 6.6 and later), or by a filter of
//! the qdisc `clsact`. Neither takes a process, a file or a mount to hold it, so that it stays where a mount namespace goes, as that of
//! `ip netns exec` does, and goes with its interface. It is found again by its name, among the programs of the interface.

mod checks;
mod error;
mod handover;
mod hook;
mod status;

pub use self::{
    checks::Advice,
    error::BackendError,
    handover::FORMER_GOOD,
    hook::{Hook, HookError},
    status::{Settings, Status},
};
pub use crate::{
    bpf::BackendTallies,
    prefix::{Prefix, PrefixError},
};

use self::hook::Found;
use crate::{
    bpf::{BackendProgram, BackendSettings, MAX_BACKEND_ADDRESSES, MAX_BACKEND_SENDERS},
    host::{Link, rights::Rights},
};
use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Virtual addresses stand here, where no neighbour is answered for them.
const LOOPBACK: &str = "lo";

/// What is to be taken out of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The interface that packets come in by.
    pub interface: String,
    /// The outer destinations; none for the interface's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The outer sources; none for anybody.
    pub senders: Vec<Prefix>,
    /// The inner destinations; none for the addresses of `lo` that are no loopback's.
    pub vips: Vec<IpAddr>,
    /// How it is attached; none for the best that the kernel has.
    pub hook: Option<Hook>,
    /// The file with the secret of the balancers that answer SYNs; none where no handshake is to be taken over.
    pub cookie_master: Option<PathBuf>,
}

/// What was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// How.
    pub hook: Hook,
    /// Whether another of its kind was in its place.
    pub replaced: bool,
    /// What it takes.
    pub settings: Settings,
    /// What may be in the way.
    pub advice: Vec<Advice>,
}

/// Attaches the program. Where it is attached already, the new one takes its place between two packets, and counts anew.
///
/// # Errors
/// [`BackendError`] says what is in the way; nothing has changed then.
pub fn attach(options: &Options) -> Result<Attached, BackendError> {
    let link = Link::find(&options.interface)?;
    if link.mac == [0; 6] {
        return Err(BackendError::NotEthernet { interface: link.name });
    }
    check_rights("attach a tc program")?;
    let mut settings = resolve(options, &link)?;
    let found = Found::all(&link)?;
    let mut advice = Vec::new();
    if let Some(path) = &options.cookie_master {
        handover::require()?;
        let (key, caution) = handover::read_master(path)?;
        let before = found.first().and_then(|found| found.backend.settings().ok().flatten());
        (settings.master, settings.former_master) = handover::masters(key, before.as_ref(), now());
        advice.extend(caution);
    }
    let hook = hook::choose(&link, options.hook)?;
    settings.made_clsact = hook == Hook::Clsact && hook::would_make_clsact(&link, &found)?;
    let program = BackendProgram::load(&settings)?;
    let replaced = !found.is_empty();
    advice.extend(checks::examine(&link, &settings)?);
    hook::attach(&link, hook, &program, &settings, found)?;
    Ok(Attached { hook, replaced, settings: Settings::from(&settings), advice })
}

/// Detaches the program, however it is attached, and takes away what was made for it.
///
/// # Errors
/// [`BackendError::NotAttached`] where there is none of ours; others' programs are left alone.
pub fn detach(interface: &str) -> Result<(), BackendError> {
    let link = Link::find(interface)?;
    check_rights("detach a tc program")?;
    let found = Found::all(&link)?;
    if found.is_empty() {
        return Err(BackendError::NotAttached { interface: link.name });
    }
    found.into_iter().try_for_each(|found| found.detach(&link))
}

/// What is attached, and what it has done so far; none where nothing is.
///
/// # Errors
/// [`BackendError::NotPermitted`], or what the kernel refused.
pub fn status(interface: &str) -> Result<Option<Status>, BackendError> {
    let link = Link::find(interface)?;
    check_rights("look at tc programs")?;
    // The first one has taken what those behind it would take.
    let Some(found) = Found::all(&link)?.into_iter().next() else { return Ok(None) };
    let others = hook::others(&link)?;
    Status::read(link.name, &found, others).map(Some)
}

fn check_rights(what: &str) -> Result<(), BackendError> {
    let rights = Rights::read()?;
    match rights.net_admin && rights.sys_admin {
        true => Ok(()),
        false => Err(BackendError::NotPermitted { what: what.to_owned() }),
    }
}

/// Fills in what was not said.
fn resolve(options: &Options, link: &Link) -> Result<BackendSettings, BackendError> {
    let mut vips = options.vips.clone();
    if let Some(&address) = vips.iter().find(|&&address| !is_reachable(address)) {
        return Err(BackendError::BadVip { address });
    }
    if vips.is_empty() {
        let all = Link::find(LOOPBACK)?.addresses.into_iter().map(|(address, _)| address);
        vips = all.filter(|&address| is_reachable(address)).collect();
    }
    if vips.is_empty() {
        return Err(BackendError::NoVip);
    }
    let mut tunnel_ends = options.addresses.clone();
    if tunnel_ends.is_empty() {
        let own = link.addresses.iter().map(|&(address, _)| address);
        tunnel_ends = own.filter(|address| is_reachable(*address) && !vips.contains(address)).collect();
    }
    if tunnel_ends.is_empty() {
        return Err(BackendError::NoAddress { interface: link.name.clone() });
    }
    let too_many = |what, count: usize, most| match count > most {
        true => Err(BackendError::TooMany { what, count, most }),
        false => Ok(()),
    };
    too_many("addresses", tunnel_ends.len() + vips.len(), MAX_BACKEND_ADDRESSES)?;
    too_many("senders", options.senders.len(), MAX_BACKEND_SENDERS)?;
    Ok(BackendSettings {
        tunnel_ends,
        senders: options.senders.iter().map(|prefix| (prefix.address(), prefix.length())).collect(),
        vips,
        attached_at: now().as_secs(),
        ..BackendSettings::default()
    })
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whether another host can reach an address beyond its link: loopback and link-local ones are for nobody behind a tunnel.
fn is_reachable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.to_ipv4_mapped().is_some(),
    };
    !is_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}
