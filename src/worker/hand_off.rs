//! From core to core: a frame that reached the wrong worker goes to the right one, in order, over a bounded ring.

use super::{
    WorkerIndex,
    command::{Command, MAX_COMMANDS},
    snapshot::Published,
};
use crate::{
    stack::{Glimpse, Incoming, Secrets},
    wire::{self, ChecksumPolicy, FourTuple, IcmpMessage, InterfaceId, Packet},
};
use crossbeam::queue::ArrayQueue;
use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    fmt, iter, mem,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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

/// Which worker a flow belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The one whose queue its frames arrive on: for NICs, whose receive-side scaling keeps a flow on its queue.
    #[default]
    ByQueue,
    /// The one that a keyed hash of its 4-tuple names: for veth, where a kernel peer may change the queue at any time.
    ByHash,
}

/// Frames of one interface for one worker, one behind the other, in memory that goes back and forth.
#[derive(Debug, Default)]
pub struct Parcel {
    interface: InterfaceId,
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

    fn push(&mut self, Incoming { frame, glimpse }: Incoming<'_>) {
        self.bytes.extend_from_slice(frame);
        self.frames.push((self.bytes.len(), glimpse));
    }

    fn clear(&mut self) {
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
    fn empty(&self) -> Parcel {
        self.empties.pop().unwrap_or_else(Parcel::roomy)
    }

    /// Posts a parcel, or gives it back where too many frames wait already.
    fn post(&self, parcel: Parcel) -> Result<(), Parcel> {
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

/// Who is to see a frame.
enum Owner {
    One(usize),
    /// The worker of this flow.
    Flow(Glimpse),
    Everyone,
}

/// What one worker knows of the others, and has for them.
#[derive(Debug)]
pub struct HandOff {
    placement: Placement,
    secrets: Secrets,
    ours: usize,
    mailboxes: Arc<[Mailbox]>,
    /// By worker, what it is sent with the end of the batch.
    outgoing: Vec<Parcel>,
    /// Frames refused since [`HandOff::send`].
    refused: usize,
}

impl HandOff {
    /// The hand-off of worker number `ours` among those with these mailboxes.
    pub fn new(placement: Placement, secrets: Secrets, ours: usize, mailboxes: Arc<[Mailbox]>) -> Self {
        let outgoing = mailboxes.iter().map(|_| Parcel::default()).collect();
        Self { placement, secrets, ours, mailboxes, outgoing, refused: 0 }
    }

    /// This worker's own mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.ours]
    }

    /// Which of the workers this one is.
    pub fn index(&self) -> WorkerIndex {
        WorkerIndex { number: self.ours, workers: self.mailboxes.len() }
    }

    /// All mailboxes.
    pub(super) fn mailboxes(&self) -> &Arc<[Mailbox]> {
        &self.mailboxes
    }

    /// A frame that came in by `interface`, with the flow that it was seen to belong to, where it is this worker's; `None` where it
    /// is another one's, and was set aside for that. [`HandOff::send`] sends it.
    pub fn keep<'a>(&mut self, interface: InterfaceId, frame: &'a [u8]) -> Option<Incoming<'a>> {
        let unseen = Incoming { frame, glimpse: None };
        let workers = self.mailboxes.len();
        if workers == 1 {
            return Some(unseen);
        }
        let (owner, incoming) = match self.owner(frame) {
            Owner::Flow(glimpse) => (glimpse.worker(workers), Incoming { frame, glimpse: Some(glimpse) }),
            Owner::One(owner) => (owner, unseen),
            // Receive-side scaling knows nothing of flows that an ICMP error quotes, nor of who has asked for a neighbour: every
            // worker gets a copy of what may be any one's. There are few of these, and the mailboxes are bounded.
            Owner::Everyone => {
                let ours = self.ours;
                (0..workers).filter(|&other| other != ours).for_each(|other| self.set_aside(other, interface, unseen));
                return Some(unseen);
            }
        };
        if owner == self.ours {
            return Some(incoming);
        }
        self.set_aside(owner, interface, incoming);
        None
    }

    fn set_aside(&mut self, owner: usize, interface: InterfaceId, incoming: Incoming<'_>) {
        let (parcel, mailbox) = (&mut self.outgoing[owner], &self.mailboxes[owner]);
        if parcel.interface != interface && !parcel.is_empty() {
            self.refused += post(parcel, mailbox);
        }
        if parcel.bytes.capacity() == 0 {
            *parcel = mailbox.empty();
        }
        parcel.interface = interface;
        parcel.push(incoming);
    }

    /// Sends what was set aside, in one parcel to each worker, and tells how many frames were refused because a worker does not
    /// keep up ([`DropReason::HandOffFull`](crate::drops::DropReason::HandOffFull)). TCP will send them again.
    #[must_use]
    pub fn send(&mut self) -> usize {
        let waiting = self.outgoing.iter_mut().zip(self.mailboxes.iter()).filter(|(parcel, _)| !parcel.is_empty());
        let refused: usize = waiting.map(|(parcel, mailbox)| post(parcel, mailbox)).sum();
        refused + mem::take(&mut self.refused)
    }

    fn owner(&self, frame: &[u8]) -> Owner {
        match self.placement {
            Placement::ByHash => match self.secrets.glimpse(frame) {
                Some(glimpse) => Owner::Flow(glimpse),
                None => self.owner_by_parsing(frame),
            },
            Placement::ByQueue if wire::is_control(frame) => self.owner_by_parsing(frame),
            Placement::ByQueue => Owner::One(self.ours),
        }
    }

    fn owner_by_parsing(&self, frame: &[u8]) -> Owner {
        let worker_of = |tuple| Owner::One(self.secrets.glimpse_of(tuple).worker(self.mailboxes.len()));
        // Whatever is not a segment is answered by whoever got it; whether its checksum is whole is the owner's business.
        match wire::parse(frame, ChecksumPolicy::AcceptPartial).map(|parsed| parsed.packet) {
            Ok(Packet::Tcp(ip, segment)) => {
                Owner::Flow(self.secrets.glimpse_of(FourTuple::of_received(&ip, &segment.header)))
            }
            Ok(Packet::Icmp(_, IcmpMessage::Error(_))) if self.placement == Placement::ByQueue => Owner::Everyone,
            Ok(Packet::Icmp(_, IcmpMessage::Error(error))) => worker_of(error.quote.tuple),
            // Any of them may have asked, or wants to know who is there. It is answered here, where that is due.
            Ok(Packet::Arp(_))
            | Ok(Packet::Icmp(
                _,
                IcmpMessage::NeighbourSolicitation { .. } | IcmpMessage::NeighbourAdvertisement { .. },
            )) => Owner::Everyone,
            _ => Owner::One(self.ours),
        }
    }
}

/// Posts a parcel, and returns how many frames were refused.
fn post(parcel: &mut Parcel, mailbox: &Mailbox) -> usize {
    let Err(mut full) = mailbox.post(mem::take(parcel)) else { return 0 };
    let refused = full.len();
    full.clear();
    *parcel = full;
    refused
}
