//! A socket beside the program: hears of what the kernel gets on an interface, and sends whole frames.

use super::{XdpError, socket_options};
use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A packet socket (packet(7)) for one protocol on one interface. What the XDP program takes never gets there; what it passes does,
/// without the kernel getting any less.
#[derive(Debug)]
pub struct LinkSocket {
    socket: OwnedFd,
}

/// One instruction of the filter: a code, where to go on when it holds and when it does not, and an operand.
pub type Instruction = (u16, u8, u8, u32);

impl LinkSocket {
    /// Hears frames of this EtherType on the interface with this index that `filter`, a program of classic BPF, lets through.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`] without CAP_NET_RAW, or [`XdpError::Refused`].
    pub fn open(index: u32, ether_type: u16, filter: &[Instruction]) -> Result<Self, XdpError> {
        let refused = || XdpError::refused("listen to the link", io::Error::last_os_error());
        // SAFETY: no memory is passed. Without a protocol it hears nothing before it is bound.
        let socket =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if socket < 0 {
            return Err(refused());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let mut program: Vec<_> =
            filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        socket_options::attach_filter(socket.as_fd(), &program)
            .map_err(|error| XdpError::refused("filter what is heard on the link", error))?;
        // SAFETY: all zeros is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ether_type.to_be();
        address.sll_ifindex = index as i32;
        // SAFETY: the address is as long as is said, and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 { Err(refused()) } else { Ok(Self { socket }) }
    }

    /// Sends a frame; one that the link does not take is lost, as on any link.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the frame is as long as is said, and outlives the call.
        let _ = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
    }

    /// The next frame that was heard, as far as `buffer` holds it; none where there is none yet.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        // SAFETY: the buffer is as long as is said, and outlives the call.
        let length = unsafe {
            libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        buffer.get(..usize::try_from(length).ok()?)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
