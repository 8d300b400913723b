//! A glance at a frame before it is parsed: which flow it seems to belong to, found and hashed once on its way in.

use super::{FlowHash, Secrets};
use crate::wire::{self, FourTuple};

/// The flow that a frame seems to belong to, and that flow's keyed hash. Nothing of the frame has been checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    pub(super) tuple: FourTuple,
    pub(super) hash: FlowHash,
}

impl Glimpse {
    /// Which of several workers the flow belongs to ([`Secrets::worker_of`]).
    #[inline]
    pub fn worker(&self, workers: usize) -> usize {
        Secrets::worker_of(self.hash.slot, workers)
    }
}

/// A frame that came in, and the glimpse of it that somebody has caught already.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The frame, from its Ethernet header on.
    pub frame: &'a [u8],
    /// What was found at a glance, by the same secrets as the stack's. Where there is none the stack looks itself.
    pub glimpse: Option<Glimpse>,
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Incoming<'a> {
    /// A frame that nobody has looked at.
    #[inline]
    fn from(frame: &'a T) -> Self {
        Self { frame: frame.as_ref(), glimpse: None }
    }
}

impl Secrets {
    /// What a glance at a frame tells: `None` for all but TCP in plain headers (see [`wire::peek_flow`]).
    #[inline]
    pub fn glimpse(&self, frame: &[u8]) -> Option<Glimpse> {
        let tuple = wire::peek_flow(frame)?;
        Some(self.glimpse_of(tuple))
    }

    /// What it would have told of a frame of this flow.
    #[inline]
    pub fn glimpse_of(&self, tuple: FourTuple) -> Glimpse {
        Glimpse { tuple, hash: self.identify(&tuple) }
    }
}
