//! What runs on top of a stack, as far as the worker is concerned.

use crate::{
    stack::{Event, Stack},
    time::Instant,
};

/// Something that is told of every event. [`crate::app::Services`] turns the events into calls of a
/// [`crate::app::Service`], which is what most users want.
pub trait Application {
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

/// Which of several workers an application is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIndex {
    /// Its number, from 0.
    pub number: usize,
    /// How many there are.
    pub workers: usize,
}

/// What may be done on a worker's thread.
#[derive(Debug)]
pub struct Context<'a> {
    now: Instant,
    stack: &'a mut Stack,
    worker: WorkerIndex,
}

impl<'a> Context<'a> {
    /// At a moment, with a worker's stack.
    pub fn new(now: Instant, stack: &'a mut Stack, worker: WorkerIndex) -> Self {
        Self { now, stack, worker }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The worker's stack.
    pub fn stack(&mut self) -> &mut Stack {
        self.stack
    }

    /// Which worker this is.
    pub fn worker(&self) -> WorkerIndex {
        self.worker
    }
}
