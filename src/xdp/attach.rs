//! A program on an interface: native where that is possible, and never something less in silence.

use super::{Require, XdpError, XdpMode};
use libbpf_rs::libbpf_sys::{self, BPF_XDP, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// Attaches `program` in native mode, or where that is impossible, and `require` allows it, in generic mode. It stays until
/// the link that is returned is closed: by the caller, or by the kernel when the process ends.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    interface: &str,
    ifindex: u32,
    require: Require,
) -> Result<(OwnedFd, XdpMode), XdpError> {
    let native = match create_link(program, ifindex, XDP_FLAGS_DRV_MODE) {
        Ok(link) => return Ok((link, XdpMode::Native)),
        Err(error) => classify(interface, error)?,
    };
    if require != Require::Nothing {
        return Err(XdpError::NoNative { interface: interface.to_owned(), source: native });
    }
    match create_link(program, ifindex, XDP_FLAGS_SKB_MODE) {
        Ok(link) => Ok((link, XdpMode::Generic)),
        Err(error) => {
            let source = classify(interface, error)?;
            Err(XdpError::Attach { interface: interface.to_owned(), source })
        }
    }
}

/// One explicit mode: without a flag the kernel would fall back in silence.
fn create_link(program: BorrowedFd<'_>, ifindex: u32, mode: u32) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags: mode,
        ..Default::default()
    };
    // SAFETY: the descriptor is open, `options` is initialized, says its own size, and outlives the call.
    let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex as RawFd, BPF_XDP, &options) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: the kernel has just opened this descriptor for us and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Tells a refusal that ends the attempt from one after which another mode may be tried.
fn classify(interface: &str, error: io::Error) -> Result<io::Error, XdpError> {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            Err(XdpError::NotPermitted { what: format!("attach an XDP program to {interface}") })
        }
        Some(libc::EBUSY | libc::EEXIST) => Err(XdpError::Occupied { interface: interface.to_owned() }),
        _ => Ok(error),
    }
}
