//! Multicast groups that the NIC must let in.

use super::HostError;
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

/// Membership in the solicited-node groups of addresses that the kernel does not have (RFC 4291 §2.7.1): the kernel tells the
/// NIC's filter, and switches that snoop by MLD (RFC 3810), so that neighbour solicitations arrive. It lasts until this value is
/// dropped, and survives the loss of all privileges.
#[derive(Debug)]
pub struct SolicitedNodes {
    _socket: Option<Socket>,
}

impl SolicitedNodes {
    /// Joins the groups of the IPv6 addresses among these, on the interface with this index. Without any it does nothing.
    ///
    /// # Errors
    /// [`HostError::Refused`], as where the interface has IPv6 switched off, or where these are more than the kernel keeps for a
    /// socket (`net.core.optmem_max`).
    pub fn join(index: u32, addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, HostError> {
        let groups: BTreeSet<_> = addresses.into_iter().filter_map(solicited_node).collect();
        if groups.is_empty() {
            return Ok(Self { _socket: None });
        }
        let refused = |error| HostError::refused("join the multicast groups of our IPv6 addresses".to_owned(), error);
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).map_err(refused)?;
        for group in &groups {
            socket.join_multicast_v6(group, index).map_err(refused)?;
        }
        Ok(Self { _socket: Some(socket) })
    }
}

/// ff02::1:ff00:0/104 with the last 24 bits of the address.
fn solicited_node(address: IpAddr) -> Option<Ipv6Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [.., high, low] = address.segments();
    Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_takes_the_last_three_octets() {
        let group = |text: &str| solicited_node(text.parse().unwrap()).map(|group| group.to_string());
        assert_eq!(group("2001:2::1").as_deref(), Some("ff02::1:ff00:1"));
        assert_eq!(group("4037::1:800:200e:8c6c").as_deref(), Some("ff02::1:ff0e:8c6c")); // RFC 4291's own example
        assert_eq!(group("198.18.0.1"), None);
    }
}
