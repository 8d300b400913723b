//! The few socket options that neither xsk-rs nor the standard library wraps.

use super::CopyMode;
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `XDP_MAX_TX_SKB_BUDGET`, Linux 6.17 and later: frames that one `sendto` takes in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Lets one wake-up take `frames` frames where the kernel knows how; older ones take 32, and are asked more often.
pub(super) fn raise_transmit_budget(socket: BorrowedFd<'_>, frames: u32) {
    set_int(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames).ok();
}

/// Lets `bytes` be under way at once: in copy mode the kernel charges frames to the send buffer.
pub(super) fn raise_send_buffer(socket: BorrowedFd<'_>, bytes: u32) {
    if set_int(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        set_int(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes).ok();
    }
}

/// What the kernel made of the wish for zero copy.
pub(super) fn copy_mode(socket: BorrowedFd<'_>) -> io::Result<CopyMode> {
    let mut options = libc::xdp_options { flags: 0 };
    get(socket, libc::XDP_OPTIONS, &mut options)?;
    Ok(if options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0 { CopyMode::ZeroCopy } else { CopyMode::Copy })
}

/// The kernel's own counters of a socket.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    let mut statistics = libc::xdp_statistics {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: 0,
        rx_fill_ring_empty_descs: 0,
        tx_ring_empty_descs: 0,
    };
    get(socket, libc::XDP_STATISTICS, &mut statistics)?;
    Ok(statistics)
}

/// Tells the kernel that the TX ring has frames: what xsk-rs' `wakeup` does, but with the error number kept.
pub(super) fn wake(socket: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: a null buffer of length zero is what AF_XDP expects; the descriptor is open as long as it is borrowed.
    let sent =
        unsafe { libc::sendto(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    match sent {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn set_int(socket: BorrowedFd<'_>, level: i32, name: i32, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` outlives the call, and `length` is its size.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get<T: Copy>(socket: BorrowedFd<'_>, name: i32, value: &mut T) -> io::Result<()> {
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is `length` bytes of plain integers, which the kernel may overwrite with any others.
    let got =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, (&raw mut *value).cast(), &mut length) };
    if got == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
