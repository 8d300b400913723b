//! Seeing what happens: tcpdump cannot look at traffic that skips the kernel, so the stack shows it itself.
//!
//! A [`Tap`] sees every frame: a [`Ladder`] draws each connection's life as a sequence diagram; the program writes captures for
//! Wireshark. [`Taps`] lets several look on at once. Each of them works on a thread of its own, and loses frames rather than hold a
//! worker up.

mod ladder;
#[doc(hidden)] // for the crate that writes captures
pub mod lookout;
pub mod metrics;

pub use self::ladder::{Ladder, LadderMode, LadderOptions, LadderSummary};

use crate::worker::{Tap, TapEvent};
use std::sync::Arc;

/// Several taps, one after the other.
pub struct Taps(Vec<Arc<dyn Tap>>);

impl Taps {
    /// Shows each frame to all of `taps`, in this order.
    pub fn new(taps: Vec<Arc<dyn Tap>>) -> Self {
        Self(taps)
    }
}

impl Tap for Taps {
    fn frame(&self, event: &TapEvent<'_>) {
        for tap in &self.0 {
            tap.frame(event);
        }
    }
}
