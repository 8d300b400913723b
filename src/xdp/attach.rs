//! What is done alike with every XDP program that is loaded: to attach it, and to try it on a frame.

use super::{LeftLink, Pins, Queue, Require, XdpError, XdpMode, pins, refusal};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle,
    libbpf_sys::{self, BPF_XDP, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::Duration,
};

/// `BPF_F_TEST_XDP_LIVE_FRAMES`: what the program decides about a frame really happens.
const LIVE_FRAMES: u32 = 1 << 1;

/// A loaded program. Once attached, it stays so until this value is dropped or the process dies, however it dies: the
/// attachment is a `bpf_link`, which the kernel closes with the process unless it is pinned.
#[derive(Debug)]
pub struct Loaded {
    program: OwnedFd,
    link: Option<OwnedFd>,
}

impl Loaded {
    /// Keeps a program beyond the skeleton that it was loaded with.
    pub fn keep(program: BorrowedFd<'_>) -> Result<Self, XdpError> {
        let program = program.try_clone_to_owned();
        Ok(Self { program: program.map_err(|source| XdpError::refused("keep the XDP program", source))?, link: None })
    }

    /// Attaches it: in native mode, or where that is impossible, and `require` allows it, in generic mode.
    pub fn attach(&mut self, interface: &str, ifindex: u32, require: Require) -> Result<XdpMode, XdpError> {
        let native = match self.create_link(ifindex, XDP_FLAGS_DRV_MODE) {
            Ok(link) => {
                self.link = Some(link);
                return Ok(XdpMode::Native);
            }
            Err(error) => classify(interface, error)?,
        };
        if require != Require::Nothing {
            return Err(XdpError::NoNative { interface: interface.to_owned(), source: native });
        }
        match self.create_link(ifindex, XDP_FLAGS_SKB_MODE) {
            Ok(link) => {
                self.link = Some(link);
                Ok(XdpMode::Generic)
            }
            Err(error) => {
                let source = classify(interface, error)?;
                Err(XdpError::Attach { interface: interface.to_owned(), source })
            }
        }
    }

    /// Takes the place of the program that is attached by this link, between one frame and the next.
    pub fn replace(&mut self, left: LeftLink) -> Result<(), XdpError> {
        let (link, program) = (left.link.as_raw_fd(), self.program.as_raw_fd());
        // SAFETY: both descriptors are open, and there are no options.
        let result = unsafe { libbpf_sys::bpf_link_update(link, program, ptr::null()) };
        if result < 0 {
            let source = io::Error::from_raw_os_error(-result);
            return Err(XdpError::refused(
                "exchange the XDP program that is attached, which `xskip lb detach` takes away",
                source,
            ));
        }
        self.link = Some(left.link);
        Ok(())
    }

    /// Has it stay attached when the process ends, for as long as it is pinned.
    pub fn pin(&self, pins: &Pins, interface: &str) -> Result<(), XdpError> {
        match &self.link {
            Some(link) => pins.pin(link.as_fd(), &pins::link_name(interface)),
            None => Ok(()),
        }
    }

    /// One explicit mode: without a flag the kernel would fall back in silence.
    fn create_link(&self, ifindex: u32, mode: u32) -> io::Result<OwnedFd> {
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags: mode,
            ..Default::default()
        };
        let program = self.program.as_raw_fd();
        // SAFETY: both descriptors are open, `options` is initialized, says its own size, and outlives the call.
        let link = unsafe { libbpf_sys::bpf_link_create(program, ifindex as RawFd, BPF_XDP, &options) };
        if link < 0 {
            return Err(io::Error::from_raw_os_error(-link));
        }
        // SAFETY: the kernel has just opened this descriptor for us and nobody else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(link) })
    }

    /// Runs it once on `frame`; returns the action and the frame as the program left it.
    pub fn test_run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), XdpError> {
        let (action, output, _) = self.test_runs(frame, 1)?;
        Ok((action, output))
    }

    /// Runs it so many times, at least once, each on what the one before has left of `frame`; returns what the last one did, and the
    /// time of one.
    pub fn test_runs(&self, frame: &[u8], count: u32) -> Result<(u32, Vec<u8>, Duration), XdpError> {
        let mut output = vec![0; frame.len() + 256];
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: frame.len() as u32,
            data_out: output.as_mut_ptr().cast(),
            data_size_out: output.len() as u32,
            repeat: count.try_into().unwrap_or(i32::MAX),
            ..Default::default()
        };
        // SAFETY: the pointers in `options` lead to buffers of the lengths beside them, which outlive the call.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.program.as_raw_fd(), &mut options) };
        if result < 0 {
            return Err(XdpError::refused("run the XDP program on a frame", io::Error::from_raw_os_error(-result)));
        }
        output.truncate(options.data_size_out as usize);
        Ok((options.retval, output, Duration::from_nanos(options.duration.into())))
    }
}

impl Loaded {
    /// Runs it `count` times on `frame`, as if received on this queue of the interface with this index, and lets what it decides about
    /// the frame really happen. The kernel hands on `batch` frames at once.
    ///
    /// # Errors
    /// The kernel's: one before 5.18 has no live frames.
    pub fn run_live(&self, ifindex: u32, queue: u32, frame: &[u8], count: i32, batch: u32) -> io::Result<()> {
        let length = frame.len() as u32;
        let context = libbpf_sys::xdp_md {
            data_end: length,
            ingress_ifindex: ifindex,
            rx_queue_index: queue,
            ..Default::default()
        };
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: length,
            ctx_in: (&raw const context).cast(),
            ctx_size_in: size_of_val(&context) as u32,
            repeat: count,
            flags: LIVE_FRAMES,
            batch_size: batch,
            ..Default::default()
        };
        // SAFETY: the pointers in `options` lead to values of the sizes beside them, which outlive the call.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.program.as_raw_fd(), &mut options) };
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
    }
}

impl AsFd for Loaded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// Puts a queue's socket into a program's map, so that the queue's frames come to it.
pub fn register_socket(queues: &MapHandle, queue: &Queue) -> Result<(), XdpError> {
    let socket = queue.as_fd().as_raw_fd();
    queues
        .update(&queue.id().to_ne_bytes(), &socket.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| refusal::refused(format!("hand queue {} to its socket", queue.id()), &error))
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
