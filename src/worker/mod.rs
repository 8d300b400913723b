//! Pinned threads that run everything to completion: one thread, one core, one queue.
//!
//! A [`Worker`] carries frames from its queue through its stack to its application and back, a batch at a time, and
//! sleeps when there is nothing to do. It is the only one to read a clock, and shares nothing with other workers but
//! their mailboxes.

mod application;
mod clock;
mod control;
mod hand_off;
mod run;
pub mod tap;

#[cfg(test)]
mod tests;

pub(crate) use self::application::Begun;
pub use self::{
    application::{Application, Context, WorkerIndex},
    clock::Clock,
    control::Control,
    hand_off::{HandOff, Mailbox, Parcel, Placement},
    run::{Idle, Report, Shutdown, Worker, WorkerOptions},
    tap::{Direction, Tap, TapEvent},
};
