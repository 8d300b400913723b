//! Packet sockets (packet(7)): whole frames in and out of an interface, with what a virtio header says of their checksums.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `PACKET_IGNORE_OUTGOING` of <linux/if_packet.h>.
const IGNORE_OUTGOING: i32 = 23;
/// `struct virtio_net_hdr`, and where it says from which octet of the frame on there is something to be summed up.
pub const VIRTIO_LEN: usize = 10;
const CHECKSUM_STARTS: usize = 6;
/// How long to wait for a frame before looking whether to go on, in microseconds.
const TURN: i64 = 50_000;

/// A socket on one interface of the calling thread's network namespace, which hears what comes in there.
pub struct PacketSocket {
    socket: OwnedFd,
    has_virtio: bool,
}

/// What stands before a frame: how its checksum is to be finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Virtio(pub [u8; VIRTIO_LEN]);

impl Virtio {
    fn word(self, at: usize) -> u16 {
        u16::from_ne_bytes([self.0[at], self.0[at + 1]])
    }

    /// As little as may be of the frame is to lie in one piece: what is larger than a page has the rest elsewhere.
    pub fn in_pieces() -> Self {
        let mut this = Self::default();
        this.0[2..4].copy_from_slice(&14u16.to_ne_bytes());
        this
    }

    /// Whether the frame's checksum is to be finished: `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
    pub fn is_unfinished(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// What is to be said of its checksum once so many octets more are in front.
    pub fn behind(self, octets: u16) -> Self {
        let mut moved = self;
        let starts = self.word(CHECKSUM_STARTS) + octets;
        if self.is_unfinished() {
            moved.0[CHECKSUM_STARTS..CHECKSUM_STARTS + 2].copy_from_slice(&starts.to_ne_bytes());
        }
        moved
    }
}

impl PacketSocket {
    /// Opens one; with `has_virtio`, frames come and go as the kernel has them, with partial checksums.
    pub fn open(index: u32, has_virtio: bool) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check(socket as isize)?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let this = Self { socket, has_virtio };
        this.set(libc::SOL_PACKET, IGNORE_OUTGOING, &1i32)?;
        this.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &i32::from(has_virtio))?;
        this.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &libc::timeval { tv_sec: 0, tv_usec: TURN })?;
        this.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(32 << 20))?;
        // SAFETY: all zeros is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        let length = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is as long as is said, and outlives the call.
        check(unsafe { libc::bind(this.socket.as_raw_fd(), (&raw const address).cast(), length) } as isize)?;
        Ok(this)
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let length = mem::size_of::<T>() as libc::socklen_t;
        // SAFETY: the value is as long as is said, and outlives the call.
        let set = unsafe {
            libc::setsockopt(self.socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
        };
        check(set as isize).map(drop)
    }

    /// The next frame, or none where a while has gone by without one.
    pub fn receive(&self) -> io::Result<Option<(Virtio, Vec<u8>)>> {
        let mut buffer = vec![0u8; 1 << 17];
        // SAFETY: the buffer is as long as is said, and outlives the call.
        let length = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let length = match check(length) {
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {
                return Ok(None);
            }
            length => length?,
        };
        buffer.truncate(length);
        let mut virtio = Virtio::default();
        if self.has_virtio {
            virtio.0.copy_from_slice(&buffer[..VIRTIO_LEN]);
            buffer.drain(..VIRTIO_LEN);
        }
        Ok(Some((virtio, buffer)))
    }

    /// Sends a frame.
    pub fn send(&self, virtio: Virtio, frame: &[u8]) -> io::Result<()> {
        let whole = if self.has_virtio { [&virtio.0, frame].concat() } else { frame.to_vec() };
        // SAFETY: the frame is as long as is said, and outlives the call.
        check(unsafe { libc::send(self.socket.as_raw_fd(), whole.as_ptr().cast(), whole.len(), 0) }).map(drop)
    }
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
