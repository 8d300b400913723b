//! Threads that look at something again and again, and carry out in between what they are asked.

use crossbeam::channel::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Something to be done with what a thread looks at.
pub(super) type Errand<W> = Box<dyn FnOnce(&mut W) + Send>;

/// Looks at `watched` at an interval and carries out errands meanwhile, until nobody is there any more to give one, or `look` says no.
pub(super) fn attend<W>(
    watched: &mut W,
    errands: &Receiver<Errand<W>>,
    interval: Duration,
    mut look: impl FnMut(&mut W) -> bool,
) {
    let mut due = Instant::now() + interval;
    loop {
        match errands.recv_deadline(due) {
            Ok(errand) => errand(watched),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if look(watched) => due = Instant::now() + interval,
            Err(RecvTimeoutError::Timeout) => return,
        }
    }
}
