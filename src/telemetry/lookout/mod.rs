//! A thread of its own for each who looks on, so that an observer never stops the observed.
//!
//! A worker copies what it shows into a backlog and goes on. It waits for nobody: the lock is held for the time of a copy, or of
//! an exchange of two backlogs, and never while anything is written. Where the backlog is full, because a pager pauses or a disk
//! is slow, frames are lost, and counted.

mod backlog;

#[cfg(test)]
mod tests;

pub use self::backlog::Room;

use self::backlog::Backlog;
use crate::{
    host::confinement::{self, EarlierThread},
    wire::InterfaceId,
    worker::TapEvent,
};
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long an observer that was told to end may go on without getting anything done. A reader that pauses for so long is not
/// waited for; one that reads, however slowly, is.
const STALLED: Duration = Duration::from_secs(1);
/// How long it may go on at most: a reader that is slow enough could take for ever.
const LAST: Duration = Duration::from_secs(5);
/// How often it is looked whether an observer gets on.
const LOOK: Duration = Duration::from_millis(20);
/// Octets written at a time: whoever takes one such piece gets on.
const PIECE: usize = 16_384;

/// Who looks on, on a thread of its own, and may take as long as it likes for it.
pub trait Observer: Send + 'static {
    /// What it says in the end.
    type Word: Clone + Send + 'static;

    /// Takes note of one frame.
    fn frame(&mut self, event: &TapEvent<'_>);

    /// So many frames of this interface are missing here.
    fn lost(&mut self, interface: InterfaceId, frames: u64);

    /// There is nothing else for the moment. How soon it wants to be called again, if nothing comes.
    fn rest(&mut self) -> Option<Duration>;

    /// There will be nothing else.
    fn end(&mut self) -> Self::Word;
}

/// How far an observer is, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Counted up whenever something got done.
    steps: AtomicU64,
    /// Frames dealt with for good.
    frames: AtomicU64,
}

impl Progress {
    /// Something got done.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more frames are dealt with for good.
    pub fn settle(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.step();
    }

    /// Frames dealt with for good.
    pub fn settled(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}

/// A writer that says whenever it got on.
pub struct Metered<W> {
    inner: W,
    progress: Arc<Progress>,
}

impl<W: Write> Metered<W> {
    pub fn new(inner: W, progress: Arc<Progress>) -> Self {
        Self { inner, progress }
    }
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(&octets[..octets.len().min(PIECE)])?;
        self.progress.step();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What workers and an observer share.
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something came, or it is time to end.
    news: Condvar,
    /// All that came has been seen to.
    idle: Condvar,
}

struct Waiting {
    backlog: Backlog,
    /// Frames that were to be seen.
    offered: u64,
    /// Whether the observer is at work on what it has taken.
    busy: bool,
    /// When it was told to end, and how far it was then.
    ending: Option<(Instant, u64)>,
    /// Whether its thread is to give up its rights.
    renounces: bool,
}

/// An observer's post: where workers hand in what it is to see.
pub struct Lookout<O: Observer> {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    word: Receiver<O::Word>,
    /// What it has said.
    said: Mutex<Option<O::Word>>,
}

/// How an observer has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<W> {
    /// What it said; `None` where it got on no more, and was left where it was.
    pub word: Option<W>,
    /// Frames that it has dealt with.
    pub frames: u64,
    /// Frames that were to be seen, and were not dealt with.
    pub lost: u64,
}

impl<O: Observer> Lookout<O> {
    /// Posts an observer, which says in `progress` how far it is.
    pub fn post(name: &str, room: Room, progress: Arc<Progress>, mut observer: O) -> io::Result<Self> {
        let waiting = Waiting { backlog: Backlog::new(room), offered: 0, busy: false, ending: None, renounces: false };
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), news: Condvar::new(), idle: Condvar::new() });
        let (sender, word) = bounded(1);
        let theirs = Arc::clone(&shared);
        // It may begin before rights are given up, and needs none of them: what it writes to is open.
        let weak: Weak<Shared> = Arc::downgrade(&shared);
        confinement::follow_by(weak);
        // Detached: one that is stuck must hold nobody up, and goes with the process.
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut taken = Backlog::new(room);
            while theirs.wait(&mut observer, &mut taken) {
                taken.events().for_each(|event| observer.frame(&event));
                taken.lost().for_each(|(interface, frames)| observer.lost(interface, frames));
                taken.clear();
            }
            // Whoever waits may have gone.
            let _ = sender.send(observer.end());
        })?;
        Ok(Self { shared, progress, word, said: Mutex::new(None) })
    }

    /// Shows it a frame, if there is room for it.
    pub fn show(&self, event: &TapEvent<'_>) {
        let mut waiting = self.shared.lock();
        waiting.offered += 1;
        if waiting.ending.is_some() {
            return;
        }
        let was_empty = waiting.backlog.is_empty();
        waiting.backlog.push(event);
        drop(waiting);
        if was_empty {
            self.shared.news.notify_one();
        }
    }

    /// Waits until everything shown so far has been seen to, or until the observer gets on no more.
    pub fn catch_up(&self) {
        let mut waiting = self.shared.lock();
        let (mut steps, mut since) = (self.progress.steps(), Instant::now());
        while waiting.busy || !waiting.backlog.is_empty() {
            let (guard, _) = self.shared.idle.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if self.progress.steps() != steps {
                (steps, since) = (self.progress.steps(), Instant::now());
            } else if since.elapsed() >= STALLED {
                return;
            }
        }
    }

    /// Tells it to end, when it has seen what it was shown so far, and waits for nothing.
    pub fn dismiss(&self) {
        let mut waiting = self.shared.lock();
        waiting.ending.get_or_insert_with(|| (Instant::now(), self.progress.steps()));
        drop(waiting);
        self.shared.news.notify_one();
    }

    /// Tells it to end, and waits for that as long as it gets on.
    pub fn end(&self) -> Ended<O::Word> {
        self.dismiss();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none() {
            *said = self.last_word();
        }
        let frames = self.progress.settled();
        let lost = self.shared.lock().offered.saturating_sub(frames);
        Ended { word: said.clone(), frames, lost }
    }

    fn last_word(&self) -> Option<O::Word> {
        let (begun, mut steps) = self.shared.lock().ending?;
        let mut since = begun;
        loop {
            match self.word.recv_timeout(LOOK) {
                Ok(word) => return Some(word),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.progress.steps() != steps {
                (steps, since) = (self.progress.steps(), Instant::now());
            }
            if since.elapsed() >= STALLED || begun.elapsed() >= LAST {
                return None;
            }
        }
    }
}

impl<O: Observer> Drop for Lookout<O> {
    fn drop(&mut self) {
        self.end();
    }
}

impl EarlierThread for Shared {
    /// One that is at work follows when it is through.
    fn follow(&self) {
        let mut waiting = self.lock();
        waiting.renounces = true;
        self.news.notify_one();
        let _ = self.idle.wait_timeout_while(waiting, STALLED, |waiting| waiting.renounces);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has come, and takes it in exchange for an empty backlog. False where nothing will come any more.
    fn wait<O: Observer>(&self, observer: &mut O, taken: &mut Backlog) -> bool {
        let mut waiting = self.lock();
        while waiting.backlog.is_empty() {
            if std::mem::take(&mut waiting.renounces) {
                confinement::renounce();
                self.idle.notify_all();
            }
            // Not under the lock: an observer may write when it rests.
            drop(waiting);
            let again = observer.rest();
            waiting = self.lock();
            if !waiting.backlog.is_empty() {
                break;
            }
            waiting.busy = false;
            self.idle.notify_all();
            if waiting.ending.is_some() {
                return false;
            }
            waiting = match again {
                None => self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(span) => self.news.wait_timeout(waiting, span).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        std::mem::swap(&mut waiting.backlog, taken);
        waiting.busy = true;
        true
    }
}
