//! What hyper asks of an executor and of a clock.

use super::{Sleep, now, sleep, sleep_until, spawn_local};
use hyper::rt;
use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// Runs what hyper spawns, such as the streams of HTTP/2, as tasks of the worker: futures need not be `Send`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperExecutor;

impl<F> rt::Executor<F> for HyperExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

/// Tells hyper the time by the worker's clock, such as for its header timeout.
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperTimer;

impl rt::Sleep for Sleep {}

impl rt::Timer for HyperTimer {
    fn sleep(&self, span: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep(span))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(sleep_until(now() + deadline.saturating_duration_since(Instant::now())))
    }

    fn reset(&self, timer: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        // One that is ours keeps its place; any other is replaced.
        match timer.as_mut().downcast_mut_pin::<Sleep>() {
            Some(mut ours) => ours.reset(now() + deadline.saturating_duration_since(Instant::now())),
            None => *timer = self.sleep_until(deadline),
        }
    }
}
