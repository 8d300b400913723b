//! From core to core: a frame that reached the wrong worker goes to the right one, in order, over a bounded ring.

use super::{
    WorkerIndex,
    mailbox::{Mailbox, Parcel},
};
use crate::{
    stack::{Glimpse, Incoming, Secrets},
    wire::{self, ChecksumPolicy, FourTuple, IcmpMessage, InterfaceId, Packet},
};
use std::{mem, sync::Arc};

/// Which worker a flow belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The one whose queue its frames arrive on: for NICs, whose receive-side scaling keeps a flow on its queue.
    #[default]
    ByQueue,
    /// The one that a keyed hash of its 4-tuple names: for veth, where a kernel peer may change the queue at any time.
    ByHash,
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

    /// Whether frames of another worker's connections may come by this one's queues.
    pub(super) fn is_needed(&self) -> bool {
        let mut others = self.mailboxes.iter().enumerate().filter(|&(number, _)| number != self.ours);
        self.placement == Placement::ByHash && !others.all(|(_, mailbox)| mailbox.is_through())
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
        if !parcel.has_memory() {
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
