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
}
