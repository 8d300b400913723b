//! Waiting for connections to end.

use crate::{
    tcp::State,
    worker::{Tap, TapEvent},
};
use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Counts connections that have ended, for whoever waits for them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    ended: Mutex<u32>,
    changed: Condvar,
}

impl Watch {
    /// Connections that have ended so far: segments after which our side was in TIME-WAIT or CLOSED.
    pub fn ended(&self) -> u32 {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many have ended; false where that takes longer than `patience`.
    pub fn wait_for(&self, count: u32, patience: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(ended, patience, |ended| *ended < count);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *ended >= count
    }
}

impl Tap for Watch {
    fn frame(&self, event: &TapEvent<'_>) {
        if matches!(event.state, Some(State::TimeWait | State::Closed)) {
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            self.changed.notify_all();
        }
    }
}
