//! Where one can look on: every frame in and out, with the state it left behind.

use crate::tcp::State;
use std::{fmt, time::Duration};

/// Which way a frame went, seen from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Received,
    /// From us to the peer.
    Transmitted,
}

/// A frame on its way, after the stack has dealt with it.
#[derive(Clone, Copy, Debug)]
pub struct TapEvent<'a> {
    /// Wall-clock time since the Unix epoch.
    pub at: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// The whole frame, from the Ethernet header on.
    pub frame: &'a [u8],
    /// Our side's state of the frame's connection after it; `None` where the frame is not TCP.
    /// [`State::Closed`] where it belongs to no connection, or ended one.
    pub state: Option<State>,
}

/// Something that looks on. One tap may serve several workers, so it locks inside; without one nothing is spent.
pub trait Tap: Send + Sync {
    /// Takes note of one frame. Called on the worker's thread, so the time it takes is the stack's: whoever may have to wait, for a
    /// disk or a reader, waits elsewhere.
    fn frame(&self, event: &TapEvent<'_>);
}

impl fmt::Debug for dyn Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
