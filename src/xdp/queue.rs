//! One AF_XDP socket with its memory and its four rings.

use super::{
    CopyMode, Frame, FrameAudit, QueueOptions, QueueStatistics, Require, XdpError, XdpMode,
    busy_poll::BusyPoll,
    frame::{Extent, Owner, chunk_room},
    large::{CONTINUED, Large},
    ledger::Ledger,
    open::Opened,
    pool::Pool,
    socket_options, wake,
};
use crate::prefetch::prefetch;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue, Umem};

/// Wake-ups after which a flush leaves the rest to the next one.
const MAX_WAKE_UPS: u32 = 64;
/// How long [`Queue::close`] waits for the kernel to finish with frames under way.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// What of a packet is fetched in advance: Ethernet, IPv6 and TCP with options lie in two cache lines.
const HEADERS: usize = 128;

/// An AF_XDP socket on one queue of an interface, with memory of its own. It shares nothing with other queues.
#[derive(Debug)]
pub struct Queue {
    interface: String,
    id: u32,
    owner: Owner,
    copy_mode: CopyMode,
    ledger: Ledger,
    ring_size: u32,
    free: Pool,
    /// To go onto the TX ring with the next flush.
    staged: Vec<FrameDesc>,
    /// Whether the last flush left frames on the TX ring.
    ring_pending: bool,
    /// Room for a batch of descriptors coming in.
    scratch: Vec<FrameDesc>,
    /// Packets of several chunks, where there may be any.
    large: Option<Large>,
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
        let Opened { rx, tx, fill, completion, umem, frames } = Opened::open(interface, queue, mode, require, options)?;
        let socket = borrow(&rx);
        socket_options::raise_transmit_budget(socket, options.ring_size);
        socket_options::raise_send_buffer(socket, options.frames.saturating_mul(options.frame_size));
        let copy_mode = socket_options::copy_mode(socket)
            .map_err(|source| XdpError::refused("ask whether frames are copied", source))?;
        let busy_poll = BusyPoll::set_up(socket, options.busy_poll)
            .map_err(|source| XdpError::refused("set up busy polling, which takes Linux 5.11 or later", source))?;
        let large = options.longest.map(|longest| Large::new(longest, chunk_room(options.frame_size)));
        let more_chunks = large.as_ref().map_or(0, |large| large.more_chunks);
        let mut queue = Self {
            interface: interface.to_owned(),
            id: queue,
            owner: Owner::new(),
            copy_mode,
            ledger: Ledger::new(options.frames, options.ring_size, more_chunks),
            ring_size: options.ring_size,
            scratch: vec![FrameDesc::default(); options.ring_size as usize],
            large,
            busy_poll,
            link_down: false,
            staged: Vec::with_capacity(options.ring_size as usize),
            free: Pool::new(frames),
            ring_pending: false,
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
        let before = into.len();
        match self.large.is_some() {
            false => into.extend(self.scratch[..chunks].iter().map(|&chunk| self.owner.frame(chunk, Extent::Chunk))),
            true => (0..chunks).for_each(|index| into.extend(self.gather(self.scratch[index]))),
        }
        let received = into.len() - before;
        self.ledger.received(chunks as u32, received as u32);
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
        let wanted = self.ledger.wanted_in_fill() as usize;
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
        self.ledger.filled(taken as u32);
        // In copy mode never; a driver that had no frame to receive into sleeps until it is told of new ones.
        if self.fill.needs_wakeup() {
            self.wake_receiver();
        }
    }

    fn wake_receiver(&mut self) {
        self.statistics.receive_wake_ups += 1;
        wake::receiver(borrow(&self.rx));
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
        let (descriptor, extent) = (*self.owner.descriptor(&frame), self.owner.extent(&frame));
        self.free.give_back(descriptor);
        self.ledger.released(matches!(extent, Extent::Scattered(_)));
        self.give_buffer_back(extent);
    }

    /// Gives back the buffer of a packet that takes several chunks.
    fn give_buffer_back(&mut self, extent: Extent) {
        let Some(large) = &mut self.large else { return };
        match extent {
            Extent::Chunk => {}
            Extent::Gathered(buffer) => large.done_receiving(buffer),
            Extent::Scattered(buffer) => large.done_sending(buffer),
        }
    }

    // Sending.

    /// A free frame to build a packet in; `None` where as many are on their way out as may be, or none is free. A later
    /// [`Queue::flush`] brings some back.
    pub fn allocate(&mut self) -> Option<Frame> {
        let descriptor = if self.ledger.allocate() { self.free.take() } else { None };
        let Some(descriptor) = descriptor else {
            self.statistics.no_frames += 1;
            return None;
        };
        let several = self.large.as_mut().filter(|large| large.more_chunks > 0);
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
        let before = self.staged.len();
        match self.owner.extent(&frame) {
            Extent::Scattered(buffer) => self.scatter(*self.owner.descriptor(&frame), buffer, length),
            Extent::Chunk | Extent::Gathered(_) => {
                self.staged.push(*self.owner.descriptor(&frame));
                // Changed where it lies: copying what was just written would stall on store forwarding.
                if let Some(descriptor) = self.staged.last_mut() {
                    descriptor.set_options(0);
                    set_length(&self.umem, descriptor, length);
                }
            }
        }
        let extent = self.owner.extent(&frame);
        let chunks = (self.staged.len() - before) as u32;
        self.ledger.staged(chunks, matches!(extent, Extent::Scattered(_)));
        self.give_buffer_back(extent);
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
        self.ring_pending || self.ledger.wants_flush()
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
            match wake::sender(borrow(&self.rx)) {
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
        self.ledger.submitted(taken as u32);
        self.statistics.transmitted += taken as u64;
    }

    /// Brings frames that have been sent back to the pool.
    fn reap(&mut self) {
        if !self.ledger.is_sending() {
            return;
        }
        // SAFETY: the completion ring speaks of frames of this socket's memory that the kernel has done with.
        let completed = unsafe { self.completion.consume(&mut self.scratch) };
        self.scratch[..completed].iter().for_each(|&frame| self.free.give_back(frame));
        self.ledger.completed(completed as u32);
    }

    // Accounts.

    /// The kernel's counters and ours.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn statistics(&self) -> Result<QueueStatistics, XdpError> {
        let kernel = socket_options::statistics(borrow(&self.rx))
            .map_err(|source| XdpError::refused("read the socket's statistics", source))?;
        Ok(self.statistics.with_kernels(&kernel))
    }

    /// Where the frames are.
    pub fn audit(&self) -> FrameAudit {
        self.ledger.audit(self.free.len())
    }

    /// Waits a moment for frames on their way out, then closes the socket. A debug build proves here that no frame was lost.
    ///
    /// An interface that is down keeps the frames it has, which go with the memory.
    ///
    /// # Panics
    /// In a debug build, where a frame is unaccounted for.
    pub fn close(mut self) -> FrameAudit {
        // Whoever was refused a frame will not ask again.
        self.ledger.forget_refusal();
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while (self.wants_flush() || self.ledger.is_sending()) && Instant::now() < deadline {
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

fn borrow(rx: &RxQueue) -> BorrowedFd<'_> {
    let descriptor = rx.fd().as_raw_fd();
    // SAFETY: the socket is open as long as its RX queue exists, and that is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// How many bytes of a chunk count, at most all.
fn set_length(umem: &Umem, descriptor: &mut FrameDesc, length: usize) {
    // SAFETY: whoever has a descriptor to change has the chunk, which is of this memory, to itself.
    let mut data = unsafe { umem.data_mut(descriptor) };
    let mut cursor = data.cursor();
    let room = cursor.buf_len();
    cursor.set_pos(length.min(room));
}
