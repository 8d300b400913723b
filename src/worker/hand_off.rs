//! From core to core: a frame that reached the wrong worker goes to the right one, in order, over a bounded ring.

use crate::{
    drops::DropReason,
    stack::Secrets,
    wire::{self, ArpPacket, ChecksumPolicy, FourTuple, IcmpMessage, Packet, arp::Operation},
};
use crossbeam::queue::ArrayQueue;
use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Frames that may wait at one worker.
const RING_SIZE: usize = 4_096;

/// Which worker a flow belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The one whose queue its frames arrive on: for NICs, whose receive-side scaling keeps a flow on its queue.
    #[default]
    ByQueue,
    /// The one that a keyed hash of its 4-tuple names: for veth, where a kernel peer may change the queue at any time.
    ByHash,
}

/// A worker's letter box: frames from other workers, and a bell to wake it.
#[derive(Debug)]
pub struct Mailbox {
    frames: ArrayQueue<Box<[u8]>>,
    asleep: AtomicBool,
    bell: EventFd,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// Where the kernel has no file descriptor left for the bell.
    pub fn new() -> Result<Self, Errno> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { frames: ArrayQueue::new(RING_SIZE), asleep: AtomicBool::new(false), bell })
    }

    /// Wakes the worker, if it sleeps or is about to.
    pub fn ring(&self) {
        // A full counter means that it has been rung more often than it can count, which is as good as once.
        let _ = self.bell.write(1);
    }

    fn post(&self, frame: &[u8]) -> Result<(), DropReason> {
        self.frames.push(frame.into()).map_err(|_| DropReason::HandOffFull)?;
        // SeqCst on both sides: either we see that the worker is going to sleep, or it sees the frame before it does.
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.ring();
        }
        Ok(())
    }

    /// The oldest waiting frame.
    pub fn take(&self) -> Option<Box<[u8]>> {
        self.frames.pop()
    }

    /// Announces sleep; false where there is mail, and so no time to sleep.
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.frames.is_empty()
    }

    /// After sleep: nobody needs to ring, and what rang is forgotten.
    pub fn woke(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        let _ = self.bell.read();
    }

    /// The bell, to be waited for.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Who is to see a frame.
enum Owner {
    One(usize),
    Everyone,
}

/// What one worker knows of the others.
#[derive(Clone, Debug)]
pub struct HandOff {
    placement: Placement,
    secrets: Secrets,
    ours: usize,
    mailboxes: Arc<[Mailbox]>,
}

impl HandOff {
    /// The hand-off of worker number `ours` among those with these mailboxes.
    pub fn new(placement: Placement, secrets: Secrets, ours: usize, mailboxes: Arc<[Mailbox]>) -> Self {
        Self { placement, secrets, ours, mailboxes }
    }

    /// This worker's own mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.ours]
    }

    /// Sends the frame to the worker that owns its flow; `false` where that is this one.
    ///
    /// # Errors
    /// [`DropReason::HandOffFull`]: the other worker does not keep up. TCP will send again.
    pub fn pass_on(&self, frame: &[u8]) -> Result<bool, DropReason> {
        if self.mailboxes.len() == 1 {
            return Ok(false);
        }
        if self.placement == Placement::ByQueue && !wire::is_control(frame) {
            return Ok(false);
        }
        match self.owner(frame) {
            Owner::One(owner) if owner == self.ours => Ok(false),
            Owner::One(owner) => self.mailboxes[owner].post(frame).map(|()| true),
            Owner::Everyone => self.spread(frame).map(|()| false),
        }
    }

    /// Receive-side scaling knows nothing of flows that an ICMP error quotes, nor of who has asked for a neighbour: every worker
    /// gets a copy of what may be any one's. There are few of these, and the mailboxes are bounded.
    fn spread(&self, frame: &[u8]) -> Result<(), DropReason> {
        let others = self.mailboxes.iter().enumerate().filter(|(number, _)| *number != self.ours);
        others.map(|(_, mailbox)| mailbox.post(frame)).fold(Ok(()), Result::and)
    }

    fn owner(&self, frame: &[u8]) -> Owner {
        // Whatever is not a segment is answered by whoever got it; whether its checksum is whole is the owner's business.
        match wire::parse(frame, ChecksumPolicy::AcceptPartial).map(|parsed| parsed.packet) {
            Ok(Packet::Tcp(ip, segment)) => self.owner_of(&FourTuple::of_received(&ip, &segment.header)),
            Ok(Packet::Icmp(_, IcmpMessage::Error(_))) if self.placement == Placement::ByQueue => Owner::Everyone,
            Ok(Packet::Icmp(_, IcmpMessage::Error(error))) => self.owner_of(&error.quote.tuple),
            // Any of them may have asked.
            Ok(Packet::Arp(ArpPacket { operation: Operation::Reply, .. }))
            | Ok(Packet::Icmp(_, IcmpMessage::NeighbourAdvertisement { .. })) => Owner::Everyone,
            _ => Owner::One(self.ours),
        }
    }

    fn owner_of(&self, tuple: &FourTuple) -> Owner {
        Owner::One(Secrets::worker_of(self.secrets.hash_flow(tuple), self.mailboxes.len()))
    }
}
