//! The few socket options that neither xsk-rs nor the standard library wraps.

use super::CopyMode;
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `XDP_MAX_TX_SKB_BUDGET`, Linux 6.17 and later: frames that one `sendto` takes in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// `SO_BUSY_POLL`, `SO_INCOMING_NAPI_ID`, `SO_PREFER_BUSY_POLL` and `SO_BUSY_POLL_BUDGET` of asm-generic/socket.h, which every
/// architecture that has AF_XDP drivers uses.
const SO_BUSY_POLL: libc::c_int = 46;
const SO_INCOMING_NAPI_ID: libc::c_int = 56;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

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

/// Lets whoever waits for this socket run the driver's receive path, for at most `micros` microseconds and `budget` frames at
/// once, and asks the driver to leave its interrupts off meanwhile (Linux 5.11 and later).
pub(super) fn prefer_busy_poll(socket: BorrowedFd<'_>, micros: u32, budget: u32) -> io::Result<()> {
    set_int(socket, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
    set_int(socket, libc::SOL_SOCKET, SO_BUSY_POLL, micros)?;
    set_int(socket, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, budget)
}

/// The NAPI instance from which the last frame came; 0 where none did, or where there is none.
pub(super) fn incoming_napi_id(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut id: libc::c_uint = 0;
    get(socket, libc::SOL_SOCKET, SO_INCOMING_NAPI_ID, &mut id)?;
    Ok(id)
}

/// What the kernel made of the wish for zero copy.
pub(super) fn copy_mode(socket: BorrowedFd<'_>) -> io::Result<CopyMode> {
    let mut options = libc::xdp_options { flags: 0 };
    get(socket, libc::SOL_XDP, libc::XDP_OPTIONS, &mut options)?;
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
    get(socket, libc::SOL_XDP, libc::XDP_STATISTICS, &mut statistics)?;
    Ok(statistics)
}

/// Lets only those frames into a socket that a program of classic BPF lets through.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &libc::sock_fprog) -> io::Result<()> {
    let length = mem::size_of_val(program) as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `program` outlives the call, and `length` is its size; the kernel copies the instructions that it points to.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *program).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_int(socket: BorrowedFd<'_>, level: i32, name: i32, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` outlives the call, and `length` is its size.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get<T: Copy>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &mut T) -> io::Result<()> {
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is `length` bytes of plain integers, which the kernel may overwrite with any others.
    let got = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut *value).cast(), &mut length) };
    if got == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
