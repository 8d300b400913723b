//! What a worker may be sent: frames of its flows that reached others, commands, and a ring of the bell. What it shows hangs here too.

use super::{
    command::{Command, MAX_COMMANDS},
    snapshot::Published,
};
use crate::{
    stack::{Glimpse, Incoming},
    wire::InterfaceId,
};
use crossbeam::queue::ArrayQueue;
use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    fmt, iter,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Frames that may wait at one worker.
const MAX_FRAMES: usize = 4_096;
/// Parcels that may wait at one worker: a worker with little to do sends small ones.
const MAX_PARCELS: usize = 1_024;
/// Empty parcels that are kept for the next frames.
const MAX_EMPTIES: usize = 64;
/// What a parcel has room for from the beginning; memory that is never touched is never backed.
const USUAL_FRAMES: usize = 64;
const USUAL_FRAME: usize = 2_048;

/// Frames of one interface for one worker, one behind the other, in memory that goes back and forth.
#[derive(Debug, Default)]
pub struct Parcel {
    pub(super) interface: InterfaceId,
    bytes: Vec<u8>,
    /// Where each frame ends, and the flow that it was seen to belong to.
    frames: Vec<(usize, Option<Glimpse>)>,
}

impl Parcel {
    /// Room for a batch of frames of the usual size, so that it does not grow bit by bit.
    fn roomy() -> Self {
        Self {
            interface: InterfaceId::default(),
            bytes: Vec::with_capacity(USUAL_FRAMES * USUAL_FRAME),
            frames: Vec::with_capacity(USUAL_FRAMES),
        }
    }

    pub(super) fn push(&mut self, Incoming { frame, glimpse }: Incoming<'_>) {
        self.bytes.extend_from_slice(frame);
        self.frames.push((self.bytes.len(), glimpse));
    }

    /// Whether it came from a mailbox, and is no blank.
    pub(super) fn has_memory(&self) -> bool {
        self.bytes.capacity() > 0
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The interface they came in by.
    pub fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// The frames, in the order in which they came, each with what its first worker saw of it.
    pub fn frames(&self) -> impl Iterator<Item = Incoming<'_>> {
        let starts = iter::once(0).chain(self.frames.iter().map(|&(end, _)| end));
        starts.zip(&self.frames).map(|(start, &(end, glimpse))| Incoming { frame: &self.bytes[start..end], glimpse })
    }
}

/// Everything of a worker that others may touch: frames from other workers, commands, what it shows of itself, and a bell to wake it.
pub struct Mailbox {
    parcels: ArrayQueue<Parcel>,
    /// Frames in them.
    waiting: AtomicUsize,
    /// Empty parcels on their way back to whoever fills them.
    empties: ArrayQueue<Parcel>,
    commands: ArrayQueue<Command>,
    /// Whether the worker has ended: nobody carries out commands any more.
    closed: AtomicBool,
    /// Whether the worker has no connections any more, and will have none.
    through: AtomicBool,
    /// Whether somebody wants the worker's application to have a turn.
    wanted: AtomicBool,
    published: Published,
    asleep: AtomicBool,
    bell: EventFd,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parcels, commands) = (self.parcels.len(), self.commands.len());
        f.debug_struct("Mailbox").field("parcels", &parcels).field("commands", &commands).finish_non_exhaustive()
    }
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// Where the kernel has no file descriptor left for the bell.
    pub fn new() -> Result<Self, Errno> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self {
            parcels: ArrayQueue::new(MAX_PARCELS),
            waiting: AtomicUsize::new(0),
            empties: ArrayQueue::new(MAX_EMPTIES),
            commands: ArrayQueue::new(MAX_COMMANDS),
            closed: AtomicBool::new(false),
            through: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            published: Published::default(),
            asleep: AtomicBool::new(false),
            bell,
        })
    }

    /// Wakes the worker, if it sleeps or is about to.
    pub fn ring(&self) {
        // A full counter means that it has been rung more often than it can count, which is as good as once.
        let _ = self.bell.write(1);
    }

    /// An empty parcel to be filled and posted here.
    pub(super) fn empty(&self) -> Parcel {
        self.empties.pop().unwrap_or_else(Parcel::roomy)
    }

    /// Posts a parcel, or gives it back where too many frames wait already.
    pub(super) fn post(&self, parcel: Parcel) -> Result<(), Parcel> {
        let frames = parcel.len();
        if self.waiting.fetch_add(frames, Ordering::Relaxed) + frames > MAX_FRAMES {
            self.waiting.fetch_sub(frames, Ordering::Relaxed);
            return Err(parcel);
        }
        self.parcels.push(parcel).inspect_err(|_| {
            self.waiting.fetch_sub(frames, Ordering::Relaxed);
        })?;
        self.ring_if_asleep();
        Ok(())
    }

    /// SeqCst on both sides: either we see that the worker is going to sleep, or it sees before it does what we have left here.
    fn ring_if_asleep(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Gives the worker a command, or gives it back where as many wait as may.
    pub(super) fn command(&self, command: Command) -> Result<(), Command> {
        self.commands.push(command)?;
        self.ring_if_asleep();
        if self.is_closed() {
            // It has ended meanwhile, and may have looked for commands before this one came.
            self.close();
        }
        Ok(())
    }

    /// The oldest command that waits.
    pub(super) fn next_command(&self) -> Option<Command> {
        self.commands.pop()
    }

    /// Carries out no more commands: whoever waits for an answer learns that none will come.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.commands.pop().is_some() {}
    }

    /// Whether the worker has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Says that the worker needs nobody to hand frames over to it any more.
    pub(super) fn be_through(&self) {
        self.through.store(true, Ordering::Release);
    }

    /// Whether the worker needs nobody to hand frames over to it, because it has said so or has ended.
    pub(super) fn is_through(&self) -> bool {
        self.through.load(Ordering::Acquire) || self.is_closed()
    }

    /// Wants the worker's application to have a turn.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        self.ring_if_asleep();
    }

    /// Whether that was wanted; what is wanted from now on counts anew.
    pub(super) fn was_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::SeqCst)
    }

    /// What the worker shows of itself.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Posts one frame that came in by `interface`; one that finds no room is lost.
    pub fn drop_in(&self, interface: InterfaceId, frame: &[u8]) {
        let mut parcel = self.empty();
        parcel.interface = interface;
        parcel.push(frame.into());
        if let Err(parcel) = self.post(parcel) {
            self.give_back(parcel);
        }
    }

    /// The oldest waiting parcel, to be given back once its frames have been looked at.
    pub fn take(&self) -> Option<Parcel> {
        let parcel = self.parcels.pop()?;
        self.waiting.fetch_sub(parcel.len(), Ordering::Relaxed);
        Some(parcel)
    }

    /// Lets a parcel be filled again. What a burst had needed beyond the usual number is freed.
    pub fn give_back(&self, mut parcel: Parcel) {
        parcel.clear();
        drop(self.empties.push(parcel));
    }

    /// Announces sleep; false where there is something to do, and so no time to sleep.
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.parcels.is_empty() && self.commands.is_empty() && !self.wanted.load(Ordering::SeqCst)
    }

    /// After sleep: nobody needs to ring, and what rang is forgotten.
    pub fn woke(&self, rung: bool) {
        self.asleep.store(false, Ordering::SeqCst);
        if rung {
            let _ = self.bell.read();
        }
    }

    /// Whether the bell was rung; then it is silent again.
    #[cfg(test)]
    pub(super) fn is_rung(&self) -> bool {
        self.bell.read().is_ok()
    }

    /// The bell, to be waited for.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
