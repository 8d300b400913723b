//! What a lab is made of: namespaces and interfaces, told from those of others.

use super::{INTERFACE, LabName, Role};
use crate::host::{
    HostError, Link,
    ethtool::{self, Ethtool},
    netns::Namespace,
};

/// Interfaces that some kernels put into each new network namespace by themselves.
pub(super) const AUTOMATIC: [&str; 10] =
    ["lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/// Whether a link is one that only a lab has.
pub(super) fn is_ours(link: &Link, role: Role) -> bool {
    link.is_veth() && link.name == INTERFACE && link.mac == role.mac()
}

/// One side's namespace, if there is one.
pub(super) fn side_namespace(name: &LabName, role: Role) -> Result<Option<Namespace>, HostError> {
    named_namespace(&name.namespace(role))
}

/// The namespace of that name, if there is one; a name alone is none.
pub(super) fn named_namespace(name: &str) -> Result<Option<Namespace>, HostError> {
    match Namespace::open(name) {
        Ok(namespace) => Ok(Some(namespace)),
        Err(HostError::NoSuchNamespace { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// GRO makes an end run NAPI, without which frames redirected or sent by XDP on the other end are refused here.
pub(super) fn set_offloads(interface: &str) -> Result<(), HostError> {
    Ethtool::open()?.set_features(&Link::find(interface)?, ethtool::plain_wire())?;
    Ok(())
}
