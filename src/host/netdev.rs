//! What an interface can do for XDP, by the netdev family of generic netlink (Linux 6.3 and later). Numbers are those of
//! `linux/netdev.h`.

use super::{
    HostError, Link,
    genl::{Connection, Message, attribute, attributes},
};
use netlink_packet_core::DecodeError;

/// `NETDEV_CMD_DEV_GET`, and `NETDEV_A_DEV_IFINDEX` and `_XDP_FEATURES` of `NETDEV_A_DEV_*`.
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;

/// `NETDEV_XDP_ACT_NDO_XMIT`: XDP programs may redirect frames to the interface. The kernel looks at the same bit before it lets one
/// go. Of a veth it is set while the peer runs NAPI, for an XDP program or for GRO: without, nobody would take the frames there.
const ACT_NDO_XMIT: u64 = 1 << 2;

/// A connection to the kernel's netdev family, for the network namespace of the thread that opened it.
pub struct Netdev {
    connection: Connection,
}

impl Netdev {
    /// Opens the connection; none where this kernel has no such family.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open() -> Result<Option<Self>, HostError> {
        match Connection::open("netdev") {
            Ok(connection) => Ok(Some(Self { connection })),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether frames that an XDP program redirects to the interface leave by it, at this moment.
    ///
    /// # Errors
    /// The kernel's refusal, or a reply that makes no sense.
    pub fn takes_redirects(&mut self, link: &Link) -> Result<bool, HostError> {
        let what = format!("ask what {} can do for XDP", link.name);
        let question = Message::new(DEV_GET, attribute(DEV_IFINDEX, &link.index.to_ne_bytes()));
        let reply = self.connection.request(&what, question)?;
        let features = parse_features(&reply).map_err(|error| HostError::Reply { what, why: error.to_string() })?;
        Ok(features & ACT_NDO_XMIT != 0)
    }
}

fn parse_features(reply: &[u8]) -> Result<u64, DecodeError> {
    for attribute in attributes(reply) {
        let (kind, value) = attribute?;
        if kind == DEV_XDP_FEATURES {
            let bytes =
                value.try_into().map_err(|_| DecodeError::from(format!("features of {} bytes", value.len())))?;
            return Ok(u64::from_ne_bytes(bytes));
        }
    }
    Err(DecodeError::from("no XDP features"))
}

#[cfg(test)]
mod tests;
