//! What routers say of packets that are made here, but by no socket: that they are too big for their path (RFC 1191, RFC 8201).
//!
//! The kernel takes such an error for one about nobody's packet, and learns nothing. So there is a socket of the protocol, whose packet
//! it might be: it sends none and reads none. The kernel keeps the MTU of the path for ten minutes, tells of it where it is asked for the
//! route, and puts the error where it is seen here. Whether the quoted packet was ever sent nobody knows: so there is a least MTU.

use super::HostError;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// Errors that are read before somebody else has his turn.
const READ_AT_ONCE: usize = 256;

/// A socket of a protocol in one version of IP.
#[derive(Debug)]
pub(super) struct PathErrors {
    socket: Socket,
}

impl PathErrors {
    /// About packets of a protocol (IANA's number), in IPv4 or IPv6. That takes CAP_NET_RAW.
    pub fn open(domain: Domain, protocol: u8) -> Result<Self, HostError> {
        let open = || -> io::Result<Socket> {
            let socket =
                Socket::new(domain, Type::RAW.cloexec().nonblocking(), Some(Protocol::from(i32::from(protocol))))?;
            if domain == Domain::IPV4 {
                setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
            } else {
                setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
            }
            // Packets of the protocol that come here are nothing to it; they would take the room that errors need.
            let take_nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
            socket.attach_filter(&[take_nothing])?;
            Ok(socket)
        };
        let socket = open().map_err(|error| HostError::refused("hear of packets that are too big", error))?;
        Ok(Self { socket })
    }

    /// Shows where packets were going that somebody has said something about.
    pub fn hear(&self, mut show: impl FnMut(IpAddr)) {
        self.socket.take_error().ok();
        let mut quote = [0; 64];
        for _ in 0..READ_AT_ONCE {
            let mut parts = [IoSliceMut::new(&mut quote)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            match recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, None, flags) {
                Ok(message) => message.address.as_ref().and_then(ip_of).into_iter().for_each(&mut show),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for PathErrors {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|address| address.ip().into());
    four.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}
