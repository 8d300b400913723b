//! Which frames lead to backends, and the addresses that they are for.

use super::Balancing;
use crate::{
    balancer::BalancerError,
    lb::{Plan, Service, ServiceId},
    stack::{Cidr, InUse},
    xdp::{self, Steered},
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// The number of no service.
const NOBODY: u32 = u32::MAX;

/// An address that stands for no subnet: whoever is behind it is found by the frames that come from there.
pub(super) fn alone(address: IpAddr) -> Cidr {
    Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

pub(super) fn frames_of(service: &Service) -> xdp::Service {
    xdp::Service { local: SocketAddr::new(service.address, service.port), transport: service.transport }
}

impl Balancing {
    /// Takes addresses. Nothing for their services gets to the stack meanwhile, which would reset the flows of whoever had them before:
    /// it is dropped until they lead to backends.
    pub(super) fn add_all(&self, vips: &[IpAddr], plan: &Plan) -> Result<(), BalancerError> {
        let coming = || plan.services().filter(|it| !it.is_proxied() && vips.contains(&it.address));
        let steer = || {
            let mut programs = self.running.steering();
            programs.try_for_each(|it| {
                coming().try_for_each(|service| it.steer(frames_of(service), NOBODY, service.into()))
            })
        };
        let mut added = 0;
        let taken = steer().map_err(BalancerError::from).and_then(|()| {
            vips.iter().try_for_each(|&vip| {
                self.add(vip)?;
                added += 1;
                Ok(())
            })
        });
        if taken.is_err() {
            self.running
                .steering()
                .for_each(|programs| coming().for_each(|service| _ = programs.stop_balancing(frames_of(service))));
            vips[..added].iter().for_each(|&vip| self.remove(vip));
        }
        taken
    }

    fn add(&self, vip: IpAddr) -> Result<(), BalancerError> {
        let mut interfaces = self.running.interface_names();
        self.running.add_address(&interfaces.next().unwrap_or_default(), alone(vip))?;
        // It is the first interface's, and packets for it come by any.
        Ok(self.running.steering().skip(1).try_for_each(|programs| programs.serve_address(vip))?)
    }

    pub(super) fn remove(&self, vip: IpAddr) {
        self.running.steering().skip(1).for_each(|programs| _ = programs.forget_address(vip));
        if let Err(error) = self.running.remove_address(vip, InUse::Reset) {
            tracing::warn!(%vip, "the address of a service that is gone stays the stack's: {error}");
        }
    }

    /// The services that programs forward, as they know them.
    pub(super) fn services(&self) -> HashMap<xdp::Service, (ServiceId, Steered)> {
        let control = self.control();
        let forwarded = control.balancer.services().filter(|(_, service)| !service.is_proxied());
        forwarded.map(|(id, service)| (frames_of(service), (id, service.into()))).collect()
    }

    /// Has the programs balance what is not balanced any more, or otherwise, no longer.
    pub(super) fn unsteer<'p>(&self, before: &HashMap<xdp::Service, (ServiceId, Steered)>, plan: &'p Plan) {
        let named = |service: &'p Service| (frames_of(service), (service.name.as_str(), service.into()));
        let kept: HashMap<xdp::Service, (&str, Steered)> =
            plan.services().filter(|service| !service.is_proxied()).map(named).collect();
        let control = self.control();
        let name = |id: ServiceId| control.balancer.get(id).map(|service| service.name.as_str());
        let is_kept = |service: &xdp::Service, (id, steered): (ServiceId, Steered)| {
            kept.get(service).is_some_and(|&(its, like)| Some(its) == name(id) && like == steered)
        };
        for (&service, _) in before.iter().filter(|&(service, &is)| !is_kept(service, is)) {
            self.running.steering().for_each(|programs| _ = programs.stop_balancing(service));
        }
    }

    /// Has the programs balance what is to be balanced.
    pub(super) fn serve(
        &self,
        before: &HashMap<xdp::Service, (ServiceId, Steered)>,
        after: &HashMap<xdp::Service, (ServiceId, Steered)>,
    ) -> Result<(), BalancerError> {
        for (&service, &(id, steered)) in after {
            let is_known = before.get(&service) == Some(&(id, steered));
            for programs in self.running.steering() {
                let number = id.index() as u32;
                if !is_known || programs.get(service).is_none() {
                    programs.steer(service, number, steered)?;
                }
            }
        }
        Ok(())
    }
}
