//! Opening an AF_XDP socket: its memory, its rings, and why the kernel would not.

use super::{FRAME_SIZES, Require, XdpError, XdpMode};
use std::{
    ffi::CString,
    io,
    num::NonZeroU32,
    time::{Duration, Instant},
};
use xsk_rs::{
    CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem,
    config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags},
};

/// How long to wait for a queue that is taken: the kernel frees that of a closed socket a while later.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);

/// How large a queue's memory and rings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Frames in all. Default 4,096.
    pub frames: u32,
    /// Bytes of a frame, 2,048 or 4,096; the kernel keeps 256 of them. Default 2,048.
    pub frame_size: u32,
    /// Entries of each ring, a power of two. Default 2,048.
    pub ring_size: u32,
    /// Whether the memory is in huge pages, which must have been set aside (`vm.nr_hugepages`). Default false.
    pub huge_pages: bool,
    /// Bytes of the longest frame to be sent, where frames may take several chunks in either direction; the XDP program must have
    /// been loaded for [`fragments`](super::ProgramOptions::fragments) where its driver hands them over in pieces. Default `None`.
    pub longest: Option<u32>,
    /// How long to poll the driver after the last frame, before waiting for an interrupt. Default not at all.
    pub busy_poll: Option<Duration>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { frames: 4_096, frame_size: 2_048, ring_size: 2_048, huge_pages: false, longest: None, busy_poll: None }
    }
}

/// A socket that nothing has been done with, and all of its frames.
pub(super) struct Opened {
    pub rx: RxQueue,
    pub tx: TxQueue,
    pub fill: FillQueue,
    pub completion: CompQueue,
    pub umem: Umem,
    pub frames: Vec<FrameDesc>,
}

impl Opened {
    /// Opens a socket with memory of its own on queue number `queue` of `interface`. Waits for one that is taken.
    pub fn open(
        interface: &str,
        queue: u32,
        mode: XdpMode,
        require: Require,
        options: &QueueOptions,
    ) -> Result<Self, XdpError> {
        let deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            match Self::open_now(interface, queue, mode, require, options) {
                Err(XdpError::QueueBusy { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
    }

    fn open_now(
        interface: &str,
        queue: u32,
        mode: XdpMode,
        require: Require,
        options: &QueueOptions,
    ) -> Result<Self, XdpError> {
        let ring = ring_size(options)?;
        let (umem, frames) = create_umem(options, ring)?;
        let config = SocketConfig::builder()
            .rx_queue_size(ring)
            .tx_queue_size(ring)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .xdp_flags(match mode {
                XdpMode::Native => XdpFlags::XDP_FLAGS_DRV_MODE,
                XdpMode::Generic => XdpFlags::XDP_FLAGS_SKB_MODE,
            })
            .bind_flags(bind_flags(require, options))
            .build();
        let name = CString::new(interface).map_err(|error| XdpError::refused("name the interface", error))?;
        // SAFETY: the memory belongs to this socket alone and lives as long as its rings: both are in `Self`, and then in a queue.
        let opened = unsafe { Socket::new(config, &umem, &Interface::new(name), queue) };
        let (tx, rx, own_rings) = opened.map_err(|error| open_error(interface, queue, require, options, error))?;
        let (fill, completion) = own_rings.ok_or_else(|| {
            XdpError::refused("open the socket's rings", io::Error::other("fill and completion rings are missing"))
        })?;
        Ok(Self { rx, tx, fill, completion, umem, frames })
    }
}

/// Without a flag for zero copy or copying the kernel tries the former, then the latter.
fn bind_flags(require: Require, options: &QueueOptions) -> BindFlags {
    let mut flags = BindFlags::XDP_USE_NEED_WAKEUP;
    if require == Require::ZeroCopy {
        flags |= BindFlags::XDP_ZEROCOPY;
    }
    if options.longest.is_some() {
        flags |= BindFlags::XDP_USE_SG;
    }
    flags
}

fn ring_size(options: &QueueOptions) -> Result<QueueSize, XdpError> {
    let value = options.ring_size;
    let bad = |_| XdpError::BadOption { what: "the ring size", value, must: "a power of two" };
    QueueSize::new(value).map_err(bad)
}

fn create_umem(options: &QueueOptions, ring: QueueSize) -> Result<(Umem, Vec<FrameDesc>), XdpError> {
    let &QueueOptions { frames, frame_size, .. } = options;
    let bad_size = XdpError::BadOption { what: "the frame size", value: frame_size, must: "2048 or 4096 bytes" };
    if !FRAME_SIZES.contains(&frame_size) {
        return Err(bad_size);
    }
    let count = NonZeroU32::new(frames).filter(|_| frames >= 4);
    let count = count.ok_or(XdpError::BadOption { what: "the number of frames", value: frames, must: "at least 4" })?;
    let config = FrameSize::new(frame_size).ok().and_then(|size| {
        UmemConfig::builder().frame_size(size).fill_queue_size(ring).comp_queue_size(ring).build().ok()
    });
    let config = config.ok_or(bad_size)?;
    Umem::new(config, count, options.huge_pages).map_err(|error| {
        let source = os_error(&error);
        match source.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => XdpError::NoAfXdp,
            Some(libc::EPERM | libc::EACCES | libc::EMFILE | libc::ENFILE) => {
                XdpError::refused("register memory for AF_XDP", source)
            }
            // ENOBUFS says that it may not be locked, ENOMEM that there is none.
            _ => XdpError::NoMemory { frames, frame_size, source },
        }
    })
}

fn open_error(
    interface: &str,
    queue: u32,
    require: Require,
    options: &QueueOptions,
    error: impl std::error::Error,
) -> XdpError {
    let source = os_error(&error);
    let interface = interface.to_owned();
    match source.raw_os_error() {
        Some(libc::EBUSY) => XdpError::QueueBusy { interface, queue },
        Some(libc::EINVAL) if options.longest.is_some() => XdpError::NoMultiBuffer { interface, queue, source },
        Some(libc::EINVAL) => XdpError::NoSuchQueue { interface, queue, source },
        Some(libc::EOPNOTSUPP) if require == Require::ZeroCopy => XdpError::NoZeroCopy { interface, source },
        Some(libc::ENETDOWN) => XdpError::LinkDown { interface },
        Some(libc::EAFNOSUPPORT) => XdpError::NoAfXdp,
        _ => XdpError::refused(format!("open an AF_XDP socket on queue {queue} of {interface}"), source),
    }
}

/// The kernel's error behind one of xsk-rs'.
fn os_error(error: &dyn std::error::Error) -> io::Error {
    let behind = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match behind.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}
