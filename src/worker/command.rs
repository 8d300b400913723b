//! How a worker is spoken to: commands wait in a bounded queue, are carried out on the worker's thread between two batches, and
//! their answers come back.
//!
//! ```no_run
//! # fn f(running: xskip::runtime::Running) -> Result<(), Box<dyn std::error::Error>> {
//! let worker = running.workers().get(0).expect("there is one");
//! let flows = worker.call(|cx| cx.stack().flow_counts())?;
//! println!("{flows:?} connections, handshakes and entries in TIME-WAIT");
//! # Ok(())
//! # }
//! ```

use super::{Context, Mailbox, Published, Snapshot};
use crossbeam::channel::{self, RecvTimeoutError};
use std::{
    cell::Cell,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    task::Wake,
    thread,
    time::Duration,
};

/// Commands that may wait at one worker.
pub const MAX_COMMANDS: usize = 1_024;
/// Commands that a worker carries out between two batches; what is left waits for the next.
pub(super) const COMMANDS_AT_ONCE: usize = 64;
/// How long an answer is waited for. A worker takes microseconds for a batch, unless an application of its holds it up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon it is tried again where as many commands wait as may.
const RETRY: Duration = Duration::from_millis(1);

/// Something to be done on a worker's thread.
pub(super) type Command = Box<dyn FnOnce(&mut Context<'_>) + Send>;

thread_local! {
    /// Whether this thread is a worker, which may wait for nobody.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread is a worker's from now on.
pub(super) fn become_worker() {
    IS_WORKER.set(true);
}

/// Whether this thread may wait for workers: it is none itself.
pub(crate) fn check_may_wait() -> Result<(), CommandError> {
    if IS_WORKER.get() { Err(CommandError::OnWorker) } else { Ok(()) }
}

/// Why a command was not carried out, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The worker has ended.
    #[error("worker {worker} has ended and carries out no more commands; stop the server to learn why")]
    Gone {
        /// Its number.
        worker: usize,
    },
    /// As many commands wait as may.
    #[error(
        "{MAX_COMMANDS} commands wait at worker {worker}, which is the limit; wait for the answers of some of them"
    )]
    QueueFull {
        /// Its number.
        worker: usize,
    },
    /// The command panicked. What it had done before that stays done, and the worker goes on.
    #[error("the command panicked on worker {worker}, which goes on; the panic's message is on standard error")]
    Panicked {
        /// Its number.
        worker: usize,
    },
    /// The worker has not answered for long. The command may be carried out yet.
    #[error("worker {worker} has not answered for {PATIENCE:?}; what its application does takes too long")]
    Silent {
        /// Its number.
        worker: usize,
    },
    /// A worker would have waited for an answer, possibly its own.
    #[error(
        "a worker waits for nobody, because two that wait for each other never end; use `post`, or the context at hand"
    )]
    OnWorker,
}

/// One worker, as others see it: for commands, snapshots and wake-ups. Cheap to copy, and usable from any thread.
#[derive(Clone)]
pub struct WorkerHandle {
    mailboxes: Arc<[Mailbox]>,
    number: usize,
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerHandle").field(&self.number).finish()
    }
}

impl WorkerHandle {
    pub(super) fn new(mailboxes: Arc<[Mailbox]>, number: usize) -> Self {
        Self { mailboxes, number }
    }

    /// The worker's number, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Has `command` carried out on the worker's thread, and waits for what it returns. Meanwhile the worker does nothing else, so it
    /// should be short.
    ///
    /// # Errors
    /// [`CommandError`] says why there is no answer. Unless it is [`CommandError::Silent`], the command is not under way any more.
    pub fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Context<'_>) -> R + Send + 'static,
    ) -> Result<R, CommandError> {
        let worker = self.number;
        check_may_wait()?;
        let (answer, answered) = channel::bounded(1);
        self.post(move |cx| {
            let result = panic::catch_unwind(AssertUnwindSafe(|| command(cx)));
            answer.send(result.map_err(|_| CommandError::Panicked { worker })).ok();
        })?;
        match answered.recv_timeout(PATIENCE) {
            Ok(result) => result,
            // A command that is dropped without an answer was never begun.
            Err(RecvTimeoutError::Disconnected) => Err(CommandError::Gone { worker }),
            Err(RecvTimeoutError::Timeout) => Err(CommandError::Silent { worker }),
        }
    }

    /// Has `command` carried out on the worker's thread, and waits for nothing. Commands are carried out in the order in which one
    /// thread gives them. A panic in it is logged, and the worker goes on.
    ///
    /// # Errors
    /// Where the worker has ended, or as many commands wait as may.
    pub fn post(&self, command: impl FnOnce(&mut Context<'_>) + Send + 'static) -> Result<(), CommandError> {
        self.push(Box::new(command)).map_err(|(error, _)| error)
    }

    /// As [`WorkerHandle::post`], but waits while as many commands wait as may: for threads beside the workers whose word must not be
    /// lost. Where the worker has ended there is nobody to hear it.
    pub fn tell(&self, command: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        let mut command: Command = Box::new(command);
        while let Err((CommandError::QueueFull { .. }, back)) = self.push(command) {
            command = back;
            thread::sleep(RETRY);
        }
    }

    fn push(&self, command: Command) -> Result<(), (CommandError, Command)> {
        let mailbox = self.mailbox();
        if mailbox.is_closed() {
            return Err((CommandError::Gone { worker: self.number }, command));
        }
        mailbox.command(command).map_err(|command| (CommandError::QueueFull { worker: self.number }, command))
    }

    /// Carries out what waits, as the worker does.
    #[cfg(test)]
    pub(crate) fn obey(&self, cx: &mut Context<'_>) {
        while let Some(command) = self.mailbox().next_command() {
            command(cx);
        }
    }

    /// What the worker showed of itself last: at most a tenth of a second ago, where anything has changed since.
    pub fn snapshot(&self) -> Snapshot {
        self.mailbox().published().snapshot()
    }

    /// What wakes the worker.
    pub fn waker(&self) -> Waker {
        Waker(self.clone())
    }

    fn mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.number]
    }
}

/// Wakes a worker from any thread, so that its application has a [turn](super::Application::on_turn). It costs a system call only where
/// the worker sleeps, and any number of wake-ups before the turn are one.
#[derive(Clone, Debug)]
pub struct Waker(WorkerHandle);

impl Waker {
    /// Wakes the worker, or keeps it from falling asleep.
    pub fn wake(&self) {
        self.0.mailbox().want();
    }
}

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        (*self).wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        (**self).wake();
    }
}

/// All workers of a server.
#[derive(Clone, Default)]
pub struct Workers(Arc<[Mailbox]>);

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Workers").field(&self.0.len()).finish()
    }
}

impl Workers {
    /// The workers with these mailboxes.
    pub fn new(mailboxes: Arc<[Mailbox]>) -> Self {
        Self(mailboxes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The worker of this number.
    pub fn get(&self, number: usize) -> Option<WorkerHandle> {
        (number < self.0.len()).then(|| WorkerHandle::new(self.0.clone(), number))
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = WorkerHandle> {
        (0..self.0.len()).map(|number| WorkerHandle::new(self.0.clone(), number))
    }

    /// Tells each of them the same, as [`WorkerHandle::tell`] does.
    pub fn tell_all(&self, command: impl FnOnce(&mut Context<'_>) + Clone + Send + 'static) {
        self.iter().for_each(|worker| worker.tell(command.clone()));
    }

    /// One of their counters, all of them together.
    pub fn total(&self, count: impl Fn(&Published) -> u64) -> u64 {
        self.0.iter().map(|mailbox| count(mailbox.published())).sum()
    }

    pub(crate) fn mailboxes(&self) -> &Arc<[Mailbox]> {
        &self.0
    }
}
