//! The signals by which a server is told to end.

use super::RuntimeError;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use std::thread::{self, JoinHandle};

/// SIGINT and SIGTERM, caught from the moment this is made: to be made before the server is started, so that no signal
/// ends the process while connections are open.
#[derive(Debug)]
pub struct StopSignals(Signals);

/// What such a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: somebody has pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: what looks after services ends this one, perhaps to start it again.
    Terminate,
}

impl StopSignals {
    /// Catches them.
    ///
    /// # Errors
    /// [`RuntimeError::System`] where the operating system does not let us.
    pub fn catch() -> Result<Self, RuntimeError> {
        let signals = Signals::new([SIGINT, SIGTERM]);
        signals.map(Self).map_err(|source| RuntimeError::System { what: "catch signals", source })
    }

    /// Drops `first` when a signal comes, and calls `again` at each later one.
    pub(super) fn listen<T: Send + 'static>(mut self, first: T, again: impl Fn() + Send + 'static) -> Listener {
        let handle = self.0.handle();
        let thread = thread::spawn(move || {
            let (mut first, mut came) = (Some(first), None);
            for signal in self.0.forever() {
                tracing::info!(signal, "stopping");
                match first.take() {
                    Some(first) => {
                        came = Some(if signal == SIGINT { StopSignal::Interrupt } else { StopSignal::Terminate });
                        drop(first);
                    }
                    None => again(),
                }
            }
            came
        });
        Listener { handle, thread }
    }
}

/// Whoever waits for the signals.
pub(super) struct Listener {
    handle: Handle,
    thread: JoinHandle<Option<StopSignal>>,
}

impl Listener {
    /// Waits for them no longer. Returns the first one, if any has come.
    pub fn end(self) -> Option<StopSignal> {
        self.handle.close();
        self.thread.join().ok().flatten()
    }
}
