//! Who listens, as far as it matters to a load balancer's backend: sockets of MPTCP (sock_diag(7)).

use super::{HostError, netlink::Netlink};
use netlink_packet_core::{DecodeError, NLM_F_DUMP, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `SOCK_DIAG_BY_FAMILY` of <linux/sock_diag.h>.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_REQ_PROTOCOL` of <linux/inet_diag.h>, for a protocol whose number is no octet.
const PROTOCOL: u16 = 3;
const MPTCP: u32 = 262;
/// A bit for each state of TCP.
const LISTEN: u32 = 1 << 10;
/// Of a question, without what is behind; all behind the states is to be 0.
const QUESTION_LEN: usize = 56;
/// Where an answer has the socket's own port and address.
const PORT_AT: usize = 4;
const ADDRESS_AT: usize = 8;

/// What is asked and what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message(Vec<u8>);

impl Message {
    /// Which MPTCP sockets of this family listen?
    fn question(family: i32) -> Self {
        let mut octets = vec![0; QUESTION_LEN];
        octets[0] = family as u8;
        octets[4..8].copy_from_slice(&LISTEN.to_ne_bytes());
        let attribute = [8, PROTOCOL].map(u16::to_ne_bytes).concat();
        octets.extend([attribute, MPTCP.to_ne_bytes().to_vec()].concat());
        Self(octets)
    }

    fn listener(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(*self.0.get(PORT_AT..)?.first_chunk()?);
        let octets: [u8; 16] = *self.0.get(ADDRESS_AT..)?.first_chunk()?;
        let address = match i32::from(*self.0.first()?) {
            libc::AF_INET => Ipv4Addr::from(*octets.first_chunk::<4>()?).into(),
            _ => IpAddr::from(Ipv6Addr::from(octets)).to_canonical(),
        };
        Some(SocketAddr::new(address, port))
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        BY_FAMILY
    }

    fn buffer_len(&self) -> usize {
        self.0.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.0.len()].copy_from_slice(&self.0);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(payload.to_vec()))
    }
}

/// The addresses and ports at which sockets of MPTCP listen in the network namespace of the calling thread; none where the kernel has no
/// MPTCP, or does not tell (CONFIG_MPTCP_DIAG).
///
/// # Errors
/// Where no netlink socket is to be had.
pub fn of_mptcp() -> Result<Vec<SocketAddr>, HostError> {
    let mut netlink = Netlink::open(NETLINK_SOCK_DIAG, "ask which sockets listen")?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        match netlink.ask("list the listeners of MPTCP", Message::question(family), NLM_F_DUMP) {
            Ok(answer) => found.extend(answer.messages.iter().filter_map(Message::listener)),
            Err(error) => tracing::debug!("{error}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::of_mptcp;
    use socket2::{Domain, Protocol, SockAddr, Socket, Type};
    use std::net::SocketAddr;

    #[test]
    fn listeners_of_mptcp_are_found_and_no_others() {
        let open = |address: &str, protocol: u32| {
            let address: SocketAddr = address.parse().unwrap();
            let protocol = Protocol::from(protocol as i32);
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
            socket.bind(&SockAddr::from(address))?;
            socket.listen(1)?;
            std::io::Result::Ok((socket.local_addr()?.as_socket().unwrap(), socket))
        };
        let Ok((multipath, _held)) = open("127.0.0.1:0", super::MPTCP) else {
            println!("SKIPPED: this kernel has no MPTCP");
            return;
        };
        let (other, _held) = open("[::1]:0", super::MPTCP).unwrap();
        let (plain, _held) = open("127.0.0.1:0", libc::IPPROTO_TCP as u32).unwrap();
        let found = of_mptcp().unwrap();
        assert!(found.contains(&multipath) && found.contains(&other), "{found:?}");
        assert!(!found.contains(&plain), "{found:?}");
    }
}
