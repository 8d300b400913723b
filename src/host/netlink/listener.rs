//! What the kernel says unasked: a socket that belongs to some of its multicast groups.

use super::{HostError, messages, uninterrupted};
use netlink_packet_core::{NetlinkDeserializable, NetlinkMessage, NetlinkPayload};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// Longer than any message about a link, route or neighbour.
const LONGEST: usize = 64 * 1024;
/// What may wait to be read, where the kernel lets it be: some ten thousand messages.
const WAITING: usize = 8 << 20;
/// Datagrams that are read before somebody else has his turn.
const READ_AT_ONCE: usize = 4_096;

/// A socket that hears, and never waits.
pub(in crate::host) struct Listener {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Listener {
    /// Opens a socket that belongs to these groups, in the network namespace of the calling thread. `what` completes
    /// the sentence "could not ...".
    pub fn open(protocol: isize, groups: &[u32], what: &str) -> Result<Self, HostError> {
        let failed = |error| HostError::refused(what, error);
        let mut socket = Socket::new(protocol).map_err(failed)?;
        socket.set_non_blocking(true).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        // As in `Netlink::open`: nobody but the kernel is heard.
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        // Beyond the limit that there is for others (net.core.rmem_max), where this is permitted.
        if setsockopt(&socket, sockopt::RcvBufForce, &WAITING).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &WAITING).map_err(|errno| failed(errno.into()))?;
        }
        groups.iter().try_for_each(|&group| socket.add_membership(group)).map_err(failed)?;
        Ok(Self { socket, buffer: Vec::with_capacity(LONGEST) })
    }

    /// Shows what has been said so far, or as much as there may be at a time: messages, or `None` for one that is not
    /// understood. Whether something was lost for want of room, nobody knows what.
    pub fn hear<M: NetlinkDeserializable>(
        &mut self,
        what: &str,
        mut show: impl FnMut(Option<M>),
    ) -> Result<bool, HostError> {
        let mut is_lossy = false;
        for _ in 0..READ_AT_ONCE {
            self.buffer.clear();
            match uninterrupted(|| self.socket.recv(&mut self.buffer, 0)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_lossy),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    is_lossy = true;
                    continue;
                }
                Err(error) => return Err(HostError::refused(what, error)),
            }
            // What follows octets that are no message cannot be found.
            for message in messages(&self.buffer).map_while(Result::ok) {
                match NetlinkMessage::<M>::deserialize(message.1).map(|message| message.payload) {
                    Ok(NetlinkPayload::InnerMessage(message)) => show(Some(message)),
                    Ok(_) => {}
                    Err(_) => show(None),
                }
            }
        }
        Ok(is_lossy)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
