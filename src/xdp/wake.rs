//! The two system calls of a socket at work: they wake the kernel for a ring.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Tells the kernel that the TX ring has frames: what xsk-rs' `wakeup` does, but with the error number kept.
pub(super) fn sender(socket: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: a null buffer of length zero is what AF_XDP expects; the descriptor is open as long as it is borrowed.
    let sent =
        unsafe { libc::sendto(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    match sent {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Lets the driver look into the fill ring, or be polled: for neither does anything have to be there.
pub(super) fn receiver(socket: BorrowedFd<'_>) {
    // SAFETY: a null buffer of length zero is what AF_XDP expects; the descriptor is open as long as it is borrowed. Whatever
    // stands in the way, such as an interface that is down, shows when frames are sent.
    unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            std::ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
}
