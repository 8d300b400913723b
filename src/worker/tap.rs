//! Where one can look on: every frame in and out, with the state it left behind.

use super::Clock;
use crate::{
    stack::{Incoming, Stack},
    tcp::State,
    time::Instant,
    wire::{self, ChecksumPolicy, FourTuple, InterfaceId, Packet},
};
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
    /// By which of the worker's interfaces.
    pub interface: InterfaceId,
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

/// Lets the stack have a batch: as a whole, or one by one where somebody wants to see what each of them did.
pub(super) fn take_in<'a>(
    stack: &mut Stack,
    tap: Option<&dyn Tap>,
    clock: &Clock,
    (now, interface): (Instant, InterfaceId),
    frames: impl Iterator<Item = Incoming<'a>>,
) {
    let Some(tap) = tap else { return stack.handle_frames(now, interface, frames) };
    for incoming in frames {
        stack.handle_frame(now, interface, incoming);
        show(tap, clock, stack, (Direction::Received, interface), incoming.frame);
    }
}

/// Shows a frame to whoever looks on, with the state it left behind and the time of this very frame, not of its batch.
pub(super) fn show(
    tap: &dyn Tap,
    clock: &Clock,
    stack: &Stack,
    (direction, interface): (Direction, InterfaceId),
    frame: &[u8],
) {
    let at = clock.calendar(clock.now());
    let state = wire::parse(frame, ChecksumPolicy::AcceptPartial).ok().and_then(|parsed| match parsed.packet {
        Packet::Tcp(ip, segment) => {
            let tuple = FourTuple::of_received(&ip, &segment.header);
            Some(state_after(stack, direction, tuple))
        }
        _ => None,
    });
    tap.frame(&TapEvent { at, direction, interface, frame, state });
}

fn state_after(stack: &Stack, direction: Direction, tuple: FourTuple) -> State {
    match direction {
        Direction::Received => stack.state_of(&tuple),
        Direction::Transmitted => stack.state_of(&tuple.reversed()),
    }
}
