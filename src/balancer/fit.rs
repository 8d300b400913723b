//! Services that are right by themselves, and not for the programs, or for what these run on.

use super::BalancerError;
use crate::{
    lb::{Mode, Plan, Service, Source, SynProxy},
    runtime::{CookieSecret, Running},
    xdp::{self, ServeError, XdpMode},
};
use std::{collections::HashSet, net::IpAddr};

/// Whether the programs have room for all services and what stands for fragments, for their addresses, from which nobody sends, and for
/// those that packets come from in mode `nat`, with both their protocols.
pub(super) fn check_room(plan: &Plan, sources: usize) -> Result<(), ServeError> {
    let vips: HashSet<IpAddr> = plan.services().map(|service| service.address).collect();
    let services: usize = plan.services().map(|service| 1 + usize::from(service.is_by_address())).sum();
    if 2 * vips.len() + 4 * sources + services > xdp::MAX_SERVICES { Err(ServeError::TooManyServices) } else { Ok(()) }
}

/// Whether there is a secret that backends can have as well, where any service needs one.
pub(super) fn check_cookies(secret: &CookieSecret, plan: &Plan) -> Result<(), BalancerError> {
    let CookieSecret::Random(_) = secret else { return Ok(()) };
    plan.services().find(|service| service.syn_proxy != SynProxy::Off).map_or(Ok(()), |service| {
        let service = service.name.clone();
        Err(BalancerError::NoCookieMaster { service })
    })
}

/// Whether frames are single packets with whole checksums on all interfaces, where any service is one of tunnels or rewritten.
pub(super) fn check_modes<'a>(
    running: &Running,
    mut services: impl Iterator<Item = &'a Service>,
) -> Result<(), BalancerError> {
    let Some(setup) = running.setups().iter().find(|setup| setup.mode == XdpMode::Generic) else { return Ok(()) };
    services.find(|service| !matches!(service.mode, Mode::Dsr | Mode::Proxy)).map_or(Ok(()), |service| {
        Err(BalancerError::GenericMode { service: service.name.clone(), interface: setup.interface.clone() })
    })
}

/// Whether there is what brings back what backends send to clients, where any service needs that.
pub(super) fn check_splices<'a>(
    running: &Running,
    mut services: impl Iterator<Item = &'a Service>,
) -> Result<(), BalancerError> {
    let needs_it = |service: &&Service| service.is_proxied() && service.proxied.source == Source::Client;
    services.find(needs_it).filter(|_| !running.is_spliced()).map_or(Ok(()), |service| {
        let service = service.name.clone();
        Err(BalancerError::NoSplices { service })
    })
}
