//! Making a lab, and unmaking it.

use std::{
    net::IpAddr,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use super::{
    FLOODS, INTERFACE, LabError, LabName, LabOptions, Removed, Role, between,
    parts::{is_ours, set_offloads, side_namespace},
    role::kernel_addresses,
};
use crate::host::{
    HostError, Link,
    link::{VethEnd, create_veth},
    netns::{Namespace, Registry},
    sysctl,
};

/// How long the two ends may take to find each other; they need a few milliseconds.
const CARRIER_WAIT: Duration = Duration::from_secs(3);

/// Takes away what was made so far, unless it is told to keep it.
pub(super) struct Scaffold<'a> {
    registry: &'a Registry,
    name: &'a LabName,
    keep: bool,
}

impl<'a> Scaffold<'a> {
    pub(super) fn new(registry: &'a Registry, name: &'a LabName) -> Self {
        Self { registry, name, keep: false }
    }

    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Scaffold<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove(self.registry, self.name) {
            tracing::warn!("leftovers of the lab {} were not removed: {error}", self.name);
        }
    }
}

/// Makes a lab where there is none. `checkpoint` is asked between the steps whether to go on.
pub(super) fn make(
    registry: &Registry,
    options: &LabOptions,
    checkpoint: impl Fn() -> Result<(), LabError>,
) -> Result<(), LabError> {
    for role in Role::BOTH {
        checkpoint()?;
        registry.create(&options.name.namespace(role))?;
    }
    if options.impair.is_some() {
        checkpoint()?;
        registry.create(&options.name.relay_namespace())?;
    }
    checkpoint()?;
    join(options)?;
    checkpoint()?;
    configure(&options.name, options.impair.is_some())?;
    checkpoint()
}

/// Joins the two namespaces. A pair is made inside them in one step: no interface ever shows up anywhere else.
fn join(options: &LabOptions) -> Result<(), LabError> {
    let client = Namespace::open(&options.name.namespace(Role::Client))?;
    let server = Namespace::open(&options.name.namespace(Role::Server))?;
    if let Some(impairment) = &options.impair {
        return between::join(options, impairment, &client, &server);
    }
    let end = |role: Role| VethEnd { name: INTERFACE, index: role.interface_index(), mac: role.mac() };
    server.run(|| create_veth(end(Role::Server), end(Role::Client), client.as_fd(), options.queues, options.mtu))??;
    Ok(())
}

/// Sets addresses and offloads on both sides, and waits until the link is up. What is set already stays.
pub(super) fn configure(name: &LabName, is_impaired: bool) -> Result<(), LabError> {
    let namespaces = [
        (Role::Server, Namespace::open(&name.namespace(Role::Server))?),
        (Role::Client, Namespace::open(&name.namespace(Role::Client))?),
    ];
    // Both ends' offloads before either end is up: it is then that the kernel notes whether the other end runs NAPI, and so
    // whether frames may be redirected to it.
    for (_, namespace) in &namespaces {
        namespace.run(|| set_offloads(INTERFACE))??;
    }
    if is_impaired {
        between::configure(name)?;
    }
    for (role, namespace) in &namespaces {
        namespace.run(|| bring_up(*role))??;
    }
    let deadline = Instant::now() + CARRIER_WAIT;
    for (_, namespace) in &namespaces {
        namespace.run(|| wait_for_carrier(INTERFACE, deadline))??;
    }
    Ok(())
}

fn bring_up(role: Role) -> Result<(), HostError> {
    Link::find("lo")?.set_up()?;
    let link = Link::find(INTERFACE)?;
    let has_ipv6 = quieten_ipv6()?;
    link.set_up()?;
    for (address, prefix) in kernel_addresses(role) {
        if address.is_ipv4() || has_ipv6 {
            link.add_address(address, prefix)?;
        }
    }
    if role == Role::Server {
        let (v4, v6) = Role::Client.addresses();
        let gateways: [IpAddr; 2] = [v4.into(), v6.into()];
        for (prefix, gateway) in FLOODS.into_iter().zip(gateways) {
            if gateway.is_ipv4() || has_ipv6 {
                link.add_route(prefix, gateway)?;
            }
        }
    }
    Ok(())
}

/// Lets the link-local address be used at once too, and keeps unasked-for messages off the link. Says whether the kernel
/// has IPv6 at all.
fn quieten_ipv6() -> Result<bool, HostError> {
    let key = |name: &str| format!("net/ipv6/conf/{INTERFACE}/{name}");
    if sysctl::read(&key("disable_ipv6"))?.is_none() {
        tracing::warn!("this kernel runs without IPv6: the lab has IPv4 addresses only");
        return Ok(false);
    }
    for name in ["disable_ipv6", "accept_dad", "accept_ra", "router_solicitations"] {
        sysctl::write(&key(name), "0")?;
    }
    Ok(true)
}

fn wait_for_carrier(interface: &str, deadline: Instant) -> Result<(), HostError> {
    while !Link::find(interface)?.running {
        if Instant::now() > deadline {
            let why = format!("no carrier within {} s", CARRIER_WAIT.as_secs());
            return Err(HostError::refused(format!("bring {interface} up"), std::io::Error::other(why)));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Removes whatever there is of a lab that [`super::status::inspect`] found to be ours.
pub(super) fn remove(registry: &Registry, name: &LabName) -> Result<Removed, LabError> {
    let mut removed = Removed::default();
    between::remove(registry, name, &mut removed)?;
    for role in Role::BOTH {
        if let Some(namespace) = side_namespace(name, role)? {
            // First the link: processes may keep the namespace alive for longer than its name.
            namespace.run(|| remove_link(role))??;
            removed.processes.extend(namespace.processes()?);
        }
        let namespace = name.namespace(role);
        if registry.delete(&namespace)? {
            removed.namespaces.push(namespace);
        }
    }
    Ok(removed)
}

fn remove_link(role: Role) -> Result<(), HostError> {
    match Link::list()?.into_iter().find(|link| is_ours(link, role)) {
        Some(link) => link.delete(),
        None => Ok(()),
    }
}
