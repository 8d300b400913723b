//! What runs on top of a stack, as far as the worker is concerned.

use crate::{
    stack::{Event, Stack},
    time::Instant,
};

/// Something that is told of every event. [`crate::app::Services`] turns the events into calls of a
/// [`crate::app::Service`], which is what most users want.
pub trait Application: Send {
    /// Deals with one event; what is done to connections meanwhile is sent in the same batch.
    fn handle(&mut self, now: Instant, event: Event, stack: &mut Stack);

    /// Does what is due by the clock and not because of an event, such as opening connections. Called once a turn, behind the
    /// events and in front of what is sent, until the worker is told to end; returns when it wants to be called again at the
    /// latest, or `None` where the next event or timer is soon enough.
    fn tend(&mut self, now: Instant, stack: &mut Stack) -> Option<Instant> {
        let _ = (now, stack);
        None
    }

    /// Called instead of [`Application::tend`] once the worker has been told to end and while connections may go on
    /// ([`WorkerOptions::drain`](super::WorkerOptions::drain)): finishes what is under way and closes the rest, so that the worker
    /// need not wait for peers that have nothing to ask. By default nothing is done, and connections go on until their peers, or
    /// their time, are through.
    fn drain(&mut self, now: Instant, stack: &mut Stack) -> Option<Instant> {
        let _ = (now, stack);
        None
    }
}
