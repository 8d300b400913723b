//! Pinned threads that run everything to completion: one thread, one core, a queue of each interface.
//!
//! A [`Worker`] carries frames from its queues through its stack to its application and back, a batch at a time, and
//! sleeps when there is nothing to do. It is the only one to read a clock, and shares nothing with other workers but
//! their mailboxes: by these frames of other workers' flows come in, and commands of whoever has a [`WorkerHandle`]. What it shows of
//! itself is a [`Snapshot`], ten times a second.

mod application;
mod clock;
mod command;
mod hand_off;
mod mailbox;
mod port;
mod run;
mod snapshot;
mod spans;
pub mod tap;

#[cfg(test)]
mod tests;

pub(crate) use self::{application::Begun, command::check_may_wait};
pub use self::{
    application::{Application, BindRefused, Context, ListenRefused, Share, Steering, WorkerIndex},
    clock::Clock,
    command::{CommandError, MAX_COMMANDS, Waker, WorkerHandle, Workers},
    hand_off::{HandOff, Placement},
    mailbox::{Mailbox, Parcel},
    port::{MAX_PORTS, Port},
    run::{ApplicationPanic, Idle, PortReport, Report, Shutdown, Worker, WorkerOptions},
    snapshot::{ExecutorCounts, MAX_SHOWN_LISTENERS, PortSnapshot, Published, Rates, SNAPSHOT_INTERVAL, Snapshot},
    tap::{Direction, Tap, TapEvent},
};
