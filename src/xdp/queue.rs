//! One AF_XDP socket with its memory and its four rings.

use super::{
    CopyMode, FRAME_SIZES, Frame, FrameAudit, QueueStatistics, Require, XdpError, XdpMode,
    busy_poll::BusyPoll,
    frame::{Extent, Owner, chunk_room},
    large::{CONTINUED, Large},
    pool::Pool,
    socket_options,
};
use crate::prefetch::prefetch;
use std::{
    ffi::CString,
    io,
    num::NonZeroU32,
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};
use xsk_rs::{
    CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem,
    config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags},
};

/// Wake-ups after which a flush leaves the rest to the next one.
const MAX_WAKE_UPS: u32 = 64;
/// How long [`Queue::close`] waits for the kernel to finish with frames under way.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// How long [`Queue::open`] waits for a queue that is taken: the kernel frees that of a closed socket a while later.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);
/// What of a packet is fetched in advance: Ethernet, IPv6 and TCP with options lie in two cache lines.
const HEADERS: usize = 128;

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

/// An AF_XDP socket on one queue of an interface, with memory of its own. It shares nothing with other queues.
#[derive(Debug)]
pub struct Queue {
    interface: String,
    id: u32,
    owner: Owner,
    copy_mode: CopyMode,
    /// Frames that may be on their way out at once, and as many that may be with the kernel to be received into: the others
    /// stay, so that neither starves the other.
    limit: u32,
    ring_size: u32,
    total: u32,
    free: Pool,
    /// To go onto the TX ring with the next flush.
    staged: Vec<FrameDesc>,
    /// Whether the last flush left frames on the TX ring.
    ring_pending: bool,
    /// Whether the last wish for a frame was refused, so that whoever had it waits for frames to come back.
    refused: bool,
    /// With the kernel, to be received into.
    in_fill: u32,
    /// With the kernel, to be sent.
    in_transmit: u32,
    held: u32,
    /// Room for a batch of descriptors coming in.
    scratch: Vec<FrameDesc>,
    /// Packets of several chunks, where there may be any.
    large: Option<Large>,
    /// Free frames that are spoken for, by frames that may go out in several chunks.
    reserved: u32,
    busy_poll: BusyPoll,
    /// Whether the interface was down when last tried.
    link_down: bool,
    statistics: QueueStatistics,
    // The rings go before the memory they speak of.
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    umem: Umem,
}

impl Queue {
    /// Opens a socket on queue number `queue` of `interface`. `mode` is where the program runs; zero copy is asked for and
    /// copying accepted, unless `require` says otherwise: [`Queue::copy_mode`] tells which it became.
    ///
    /// Waits half a second for a queue that is taken, as one is for a moment after the socket before was closed.
    ///
    /// # Errors
    /// The [`XdpError`] that says what stood in the way.
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
        // SAFETY: the memory belongs to this socket alone and lives as long as its rings: both are in `Self`.
        let opened = unsafe { Socket::new(config, &umem, &Interface::new(name), queue) };
        let (tx, rx, own_rings) = opened.map_err(|error| open_error(interface, queue, require, options, error))?;
        let (fill, completion) = own_rings.ok_or_else(|| {
            XdpError::refused("open the socket's rings", io::Error::other("fill and completion rings are missing"))
        })?;
        let socket = borrow(&rx);
        socket_options::raise_transmit_budget(socket, options.ring_size);
        socket_options::raise_send_buffer(socket, options.frames.saturating_mul(options.frame_size));
        let copy_mode = socket_options::copy_mode(socket)
            .map_err(|source| XdpError::refused("ask whether frames are copied", source))?;
        let busy_poll = BusyPoll::set_up(socket, options.busy_poll)
            .map_err(|source| XdpError::refused("set up busy polling, which takes Linux 5.11 or later", source))?;
        let large = options.longest.map(|longest| Large::new(longest, chunk_room(options.frame_size)));
        let mut queue = Self {
            interface: interface.to_owned(),
            id: queue,
            owner: Owner::new(),
            copy_mode,
            limit: options.ring_size.min(options.frames - options.frames / 4),
            ring_size: options.ring_size,
            total: options.frames,
            scratch: vec![FrameDesc::default(); options.ring_size as usize],
            large,
            reserved: 0,
            busy_poll,
            link_down: false,
            staged: Vec::with_capacity(options.ring_size as usize),
            free: Pool::new(frames),
            ring_pending: false,
            refused: false,
            in_fill: 0,
            in_transmit: 0,
            held: 0,
            statistics: QueueStatistics::default(),
            rx,
            tx,
            fill,
            completion,
            umem,
        };
        queue.refill();
        Ok(queue)
    }

    /// The queue's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether frames are copied, as the kernel says.
    pub fn copy_mode(&self) -> CopyMode {
        self.copy_mode
    }

    /// The socket, to be waited for.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.rx)
    }

    /// How long whoever has nothing to do should go on asking this queue, because asking polls its driver; `None` where it does
    /// not: where that was not wanted, has no effect, or where it is not known yet because no frame has come.
    pub fn busy_poll(&self) -> Option<Duration> {
        self.busy_poll.span()
    }

    // Receiving.

    /// Takes at most `max` received frames, appends them to `into`, and returns how many. Never blocks.
    pub fn receive(&mut self, into: &mut Vec<Frame>, max: usize) -> usize {
        // Filled before it is emptied, so that the kernel has frames to receive into while these are looked at.
        self.reap();
        self.refill();
        let max = max.min(self.scratch.len());
        let mut chunks = self.consume(max);
        if chunks == 0 && self.busy_poll.span().is_some() {
            self.wake_receiver();
            chunks = self.consume(max);
        }
        if chunks == 0 {
            return 0;
        }
        self.in_fill -= chunks as u32;
        let before = into.len();
        match self.large.is_some() {
            false => into.extend(self.scratch[..chunks].iter().map(|&chunk| self.owner.frame(chunk, Extent::Chunk))),
            true => (0..chunks).for_each(|index| into.extend(self.gather(self.scratch[index]))),
        }
        let received = into.len() - before;
        self.held += received as u32;
        self.statistics.received += received as u64;
        self.busy_poll.try_out(borrow(&self.rx), &self.interface, self.id);
        received
    }

    /// Takes at most `max` descriptors off the RX ring, and has the headers they speak of fetched.
    fn consume(&mut self, max: usize) -> usize {
        // SAFETY: the descriptors come from this socket's memory, which is the only one it has.
        let taken = unsafe { self.rx.consume(&mut self.scratch[..max]) };
        for descriptor in &self.scratch[..taken] {
            // SAFETY: as above; nothing is read.
            let packet = unsafe { self.umem.data(descriptor) }.contents();
            prefetch(&packet[..packet.len().min(HEADERS)]);
        }
        taken
    }

    /// The packet that a chunk is, or is the end of; `None` where there is more to come.
    fn gather(&mut self, chunk: FrameDesc) -> Option<Frame> {
        let is_last = !chunk.has_more_frames();
        let large = self.large.as_mut().filter(|large| large.is_gathering() || !is_last);
        let Some(large) = large else { return Some(self.owner.frame(chunk, Extent::Chunk)) };
        // SAFETY: the chunk was received into this socket's memory, and nobody writes to it before it is in the pool.
        let buffer = large.gather(unsafe { self.umem.data(&chunk) }.contents(), is_last);
        if buffer.is_none() {
            self.free.give_back(chunk);
        }
        buffer.map(|buffer| self.owner.frame(chunk, Extent::Gathered(buffer)))
    }

    fn refill(&mut self) {
        let wanted = (self.limit - self.in_fill).min(self.free.len() - self.reserved) as usize;
        if wanted == 0 {
            return;
        }
        let fill = &mut self.fill;
        let taken = self.free.offer(wanted, |frames| {
            // SAFETY: frames in the pool are of this socket's memory and nobody else's; those taken leave the pool.
            let taken = unsafe { fill.produce(frames) };
            // All or nothing: the ring had less room than we counted, which `audit` would reveal, where it is nothing.
            debug_assert!(taken == 0 || taken == frames.len(), "the fill ring takes all or nothing");
            taken > 0
        });
        self.in_fill += taken as u32;
        // In copy mode never; a driver that had no frame to receive into sleeps until it is told of new ones.
        if self.fill.needs_wakeup() {
            self.wake_receiver();
        }
    }

    fn wake_receiver(&mut self) {
        self.statistics.receive_wake_ups += 1;
        socket_options::wake_receiver(borrow(&self.rx));
    }

    /// What a received frame holds.
    ///
    /// # Panics
    /// Where the frame is another queue's, here and wherever else a [`Frame`] is given.
    pub fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        match (self.owner.extent(frame), &self.large) {
            (Extent::Gathered(buffer), Some(large)) => large.received(buffer),
            (Extent::Scattered(buffer), Some(large)) => large.to_send(buffer),
            // SAFETY: it is a frame of this memory, and ours as long as the `Frame` exists, so nobody writes to it while it is
            // borrowed.
            _ => unsafe { self.umem.data(self.owner.descriptor(frame)) }.contents(),
        }
    }

    /// Gives a frame back to the pool.
    pub fn release(&mut self, frame: Frame) {
        let descriptor = *self.owner.descriptor(&frame);
        self.held -= 1;
        self.free.give_back(descriptor);
        self.let_go(self.owner.extent(&frame));
    }

    /// Gives back what a frame had besides its own chunk.
    fn let_go(&mut self, extent: Extent) {
        let Some(large) = &mut self.large else { return };
        match extent {
            Extent::Chunk => {}
            Extent::Gathered(buffer) => large.done_receiving(buffer),
            Extent::Scattered(buffer) => {
                large.done_sending(buffer);
                self.reserved -= large.more_chunks;
            }
        }
    }

    // Sending.

    /// A free frame to build a packet in; `None` where as many are on their way out as may be, or none is free. A later
    /// [`Queue::flush`] brings some back.
    pub fn allocate(&mut self) -> Option<Frame> {
        let more = self.large.as_ref().map_or(0, |large| large.more_chunks);
        let under_way = self.staged.len() as u32 + self.in_transmit + self.reserved;
        let is_room = under_way + more < self.limit && self.free.len() > self.reserved + more;
        let descriptor = if is_room { self.free.take() } else { None };
        self.refused = descriptor.is_none();
        let Some(descriptor) = descriptor else {
            self.statistics.no_frames += 1;
            return None;
        };
        self.held += 1;
        self.reserved += more;
        let several = self.large.as_mut().filter(|_| more > 0);
        let extent = several.map_or(Extent::Chunk, |large| Extent::Scattered(large.take()));
        Some(self.owner.frame(descriptor, extent))
    }

    /// A frame's room to write in.
    pub fn buffer<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        if let Extent::Scattered(buffer) = self.owner.extent(frame) {
            return self.large.as_mut().map_or(&mut [], |large| large.to_send_mut(buffer));
        }
        let descriptor = self.owner.descriptor_mut(frame);
        set_length(&self.umem, descriptor, usize::MAX);
        // SAFETY: it is a frame of this memory, ours as long as the `Frame` exists, and borrowed mutably here.
        let contents: *mut [u8] = unsafe { self.umem.data_mut(descriptor) }.contents_mut();
        // SAFETY: xsk-rs ties the slice to its short-lived handle, but the bytes are the UMEM's, which `self` keeps, and
        // both `self` and the frame stay mutably borrowed as long as the result.
        unsafe { &mut *contents }
    }

    /// Sends the first `length` bytes of a frame from [`Queue::allocate`], with the next flush.
    pub fn transmit(&mut self, frame: Frame, length: usize) {
        match self.owner.extent(&frame) {
            Extent::Scattered(buffer) => self.scatter(*self.owner.descriptor(&frame), buffer, length),
            Extent::Chunk | Extent::Gathered(_) => {
                self.staged.push(*self.owner.descriptor(&frame));
                // Changed where it lies: to copy what has just been written would wait until the packet before it is in the cache.
                if let Some(descriptor) = self.staged.last_mut() {
                    descriptor.set_options(0);
                    set_length(&self.umem, descriptor, length);
                }
            }
        }
        self.held -= 1;
        self.let_go(self.owner.extent(&frame));
    }

    /// Stages the first `length` bytes of a buffer in as many chunks as they take: `chunk`, and others that were set aside.
    fn scatter(&mut self, mut chunk: FrameDesc, buffer: u32, length: usize) {
        let Some(large) = &self.large else { return };
        let packet = large.to_send(buffer);
        let mut rest = &packet[..length.min(packet.len())];
        loop {
            // SAFETY: the chunk is of this memory, in neither the pool nor a ring, and so ours alone.
            let mut data = unsafe { self.umem.data_mut(&mut chunk) };
            let room = data.cursor().buf_len();
            let (part, behind) = rest.split_at(rest.len().min(room));
            data.cursor().set_pos(part.len());
            data.contents_mut().copy_from_slice(part);
            let next = if behind.is_empty() { None } else { self.free.take() };
            debug_assert!(next.is_some() || behind.is_empty(), "allocate has set enough chunks aside");
            chunk.set_options(if next.is_some() { CONTINUED } else { 0 });
            self.staged.push(chunk);
            let Some(next) = next else { return };
            (chunk, rest) = (next, behind);
        }
    }

    /// Whether a flush, now or a little later, would bring things forward: something is staged or was left on the ring, or
    /// a frame was asked for in vain. Frames that the kernel has taken and not yet sent are no reason.
    pub fn wants_flush(&self) -> bool {
        !self.staged.is_empty() || self.ring_pending || self.refused
    }

    /// Hands everything staged to the kernel, with as few wake-ups as it takes, and brings back the frames that are sent.
    /// What the kernel does not take now stays on the ring for the next flush.
    ///
    /// # Errors
    /// [`XdpError::LinkDown`], or [`XdpError::Refused`]. Nothing is lost: frames stay where they are.
    pub fn flush(&mut self) -> Result<(), XdpError> {
        self.statistics.flushes += 1;
        self.reap();
        self.submit();
        let woken = self.wake_until_taken();
        self.reap();
        self.ring_pending = !self.transmit_ring_is_empty() && self.tx.needs_wakeup();
        let is_down = matches!(woken, Err(XdpError::LinkDown { .. }));
        self.statistics.link_downs += u64::from(is_down && !self.link_down);
        self.link_down = is_down;
        woken
    }

    /// Wakes the kernel until it has taken everything off the TX ring, or will take no more now. A driver that shares our memory
    /// takes frames in its own time, and says when it must be woken for that.
    fn wake_until_taken(&mut self) -> Result<(), XdpError> {
        for _ in 0..MAX_WAKE_UPS {
            if self.transmit_ring_is_empty() || !self.tx.needs_wakeup() {
                break;
            }
            self.statistics.wake_ups += 1;
            match socket_options::wake(borrow(&self.rx)) {
                Ok(()) if self.copy_mode == CopyMode::ZeroCopy => break,
                Ok(()) => {}
                Err(libc::EAGAIN) => self.statistics.again += 1,
                Err(libc::EBUSY) => self.statistics.busy += 1,
                Err(libc::ENOBUFS) => {
                    self.statistics.no_buffers += 1;
                    break;
                }
                Err(libc::ENETDOWN | libc::ENXIO) => {
                    return Err(XdpError::LinkDown { interface: self.interface.clone() });
                }
                Err(error) => {
                    return Err(XdpError::refused("send frames", io::Error::from_raw_os_error(error)));
                }
            }
            self.reap();
        }
        Ok(())
    }

    /// Whether the kernel has taken every frame off the TX ring.
    fn transmit_ring_is_empty(&mut self) -> bool {
        self.tx.nb_free_exact() == self.ring_size
    }

    /// Moves what is staged onto the TX ring. There is room: `allocate` counts what is on it.
    fn submit(&mut self) {
        // SAFETY: staged frames are of this socket's memory and are nobody else's; they leave the stage at once.
        let taken = unsafe { self.tx.produce(&self.staged) };
        self.staged.drain(..taken);
        self.in_transmit += taken as u32;
        self.statistics.transmitted += taken as u64;
    }

    /// Brings frames that have been sent back to the pool.
    fn reap(&mut self) {
        if self.in_transmit == 0 {
            return;
        }
        // SAFETY: the completion ring speaks of frames of this socket's memory that the kernel has done with.
        let completed = unsafe { self.completion.consume(&mut self.scratch) };
        self.scratch[..completed].iter().for_each(|&frame| self.free.give_back(frame));
        self.in_transmit -= completed as u32;
    }

    // Accounts.

    /// The kernel's counters and ours.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn statistics(&self) -> Result<QueueStatistics, XdpError> {
        let kernel = socket_options::statistics(borrow(&self.rx))
            .map_err(|source| XdpError::refused("read the socket's statistics", source))?;
        Ok(QueueStatistics {
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full,
            rx_fill_ring_empty: kernel.rx_fill_ring_empty_descs,
            rx_invalid_descriptors: kernel.rx_invalid_descs,
            tx_invalid_descriptors: kernel.tx_invalid_descs,
            tx_ring_empty: kernel.tx_ring_empty_descs,
            ..self.statistics
        })
    }

    /// Where the frames are.
    pub fn audit(&self) -> FrameAudit {
        FrameAudit {
            total: self.total,
            free: self.free.len(),
            fill: self.in_fill,
            transmit: self.in_transmit + self.staged.len() as u32,
            held: self.held,
        }
    }

    /// Waits a moment for frames on their way out, then closes the socket. A debug build proves here that no frame was lost.
    ///
    /// An interface that is down keeps the frames it has, which go with the memory.
    ///
    /// # Panics
    /// In a debug build, where a frame is unaccounted for.
    pub fn close(mut self) -> FrameAudit {
        // Whoever was refused a frame will not ask again.
        self.refused = false;
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while (self.wants_flush() || self.in_transmit > 0) && Instant::now() < deadline {
            if self.flush().is_err() {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let audit = self.audit();
        debug_assert!(audit.is_balanced(), "a frame of queue {} was lost: {audit:?}", self.id);
        audit
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

fn borrow(rx: &RxQueue) -> BorrowedFd<'_> {
    let descriptor = rx.fd().as_raw_fd();
    // SAFETY: the socket is open as long as its RX queue exists, and that is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
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

/// How many bytes of a chunk count, at most all.
fn set_length(umem: &Umem, descriptor: &mut FrameDesc, length: usize) {
    // SAFETY: whoever has a descriptor to change has the chunk, which is of this memory, to itself.
    let mut data = unsafe { umem.data_mut(descriptor) };
    let mut cursor = data.cursor();
    let room = cursor.buf_len();
    cursor.set_pos(length.min(room));
}
