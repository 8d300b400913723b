//! The legitimate clients: the kernel's own TCP connects, fetches and closes at a steady rate, whatever else goes on.
//!
//! The load is open: attempts start at planned times, not when an earlier one has ended, and their latency counts from the
//! planned start. A server that stalls is so charged with all the clients that would have come meanwhile, and a thread that
//! comes late to an attempt charges its lateness to the measurement instead of hiding it (no coordinated omission).

mod attempt;
mod drive;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hdrhistogram::Histogram;
use nix::sys::{
    eventfd::{EfdFlags, EventFd},
    resource::{Resource, getrlimit, setrlimit},
};

use self::drive::Driver;
use crate::host::cores;

/// Significant figures of every histogram.
const FIGURES: u8 = 3;
/// The longest time that is told from a longer one, nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Attempts that may be under way beyond those that rate and patience explain: a late thread catches up in one go.
const SPARE_ATTEMPTS: usize = 64;
/// File descriptors that the process needs besides: files, rings, maps, other sockets.
const OTHER_DESCRIPTORS: u64 = 256;

/// Who is to be visited, and how often.
#[derive(Clone, Debug)]
pub struct LegitOptions {
    /// The servers, taken in turn.
    pub targets: Vec<SocketAddr>,
    /// Attempts per second, over all targets.
    pub per_second: u32,
    /// An attempt that takes longer than this, counted from its planned start, has failed.
    pub patience: Duration,
    /// The core that the thread is pinned to, if any.
    pub core: Option<usize>,
}

impl LegitOptions {
    /// Attempts that may be under way at a time.
    fn limit(&self) -> usize {
        let explained = self.patience.as_secs_f64() * f64::from(self.per_second);
        (explained.ceil() as usize).saturating_add(SPARE_ATTEMPTS)
    }

    fn check(&self) -> io::Result<()> {
        let complaint = if self.targets.is_empty() {
            "the legitimate clients have nowhere to go: name at least one target"
        } else if self.per_second == 0 {
            "no attempts per second measure nothing: ask for at least 1"
        } else if self.patience.is_zero() {
            "with no patience every attempt fails: allow more than 0 s"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, complaint))
    }
}

/// What became of the attempts. Times are in nanoseconds from the planned start, with 3 significant figures.
#[derive(Clone, Debug)]
pub struct LegitFigures {
    /// Attempts whose planned start has come. In the end each is either among the failures or in `full`.
    pub attempts: u64,
    /// Attempts that failed, for whatever reason.
    pub failures: u64,
    /// How many attempts failed for which reason; adds up to the failures.
    pub reasons: BTreeMap<String, u64>,
    /// Until the handshake was complete, as the client sees it. Attempts that failed later are included.
    pub handshake: Histogram<u64>,
    /// Until the answer was complete and the server had closed the connection.
    pub full: Histogram<u64>,
    /// How late attempts were started: the client's own share in the times above.
    pub lateness: Histogram<u64>,
}

impl Default for LegitFigures {
    fn default() -> Self {
        Self {
            attempts: 0,
            failures: 0,
            reasons: BTreeMap::new(),
            handshake: histogram(),
            full: histogram(),
            lateness: histogram(),
        }
    }
}

impl LegitFigures {
    /// Adds the figures of another round.
    pub fn merge(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failures += other.failures;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (ours, theirs) in [
            (&mut self.handshake, &other.handshake),
            (&mut self.full, &other.full),
            (&mut self.lateness, &other.lateness),
        ] {
            // Cannot fail: all have the same range.
            let _ = ours.add(theirs);
        }
    }

    /// What came to them since `before`, an earlier snapshot of the same clients.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut later = self.clone();
        later.attempts -= before.attempts;
        later.failures -= before.failures;
        for (reason, count) in &before.reasons {
            later.reasons.entry(reason.clone()).and_modify(|all| *all -= count);
        }
        later.reasons.retain(|_, count| *count > 0);
        for (ours, theirs) in [
            (&mut later.handshake, &before.handshake),
            (&mut later.full, &before.full),
            (&mut later.lateness, &before.lateness),
        ] {
            // Cannot fail: all have the same range, and what was there before is there still.
            let _ = ours.subtract(theirs);
        }
        later
    }

    /// The time, in microseconds, within which that share of the handshakes was complete; none where there were none.
    pub fn handshake_us(&self, share: f64) -> Option<f64> {
        (!self.handshake.is_empty()).then(|| self.handshake.value_at_quantile(share) as f64 / 1_000.0)
    }

    fn fail(&mut self, reason: &str) {
        self.failures += 1;
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, FIGURES).expect("a range and a number of significant figures that are allowed")
}

/// Nanoseconds, as the histograms take them.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What the thread is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Order {
    /// Start attempts as planned.
    Run,
    /// Start no more, and see to the end of those under way.
    Finish,
    /// Give up at once.
    Stop,
}

/// What the thread shares with its owner.
struct Shared {
    order: AtomicU8,
    figures: Mutex<LegitFigures>,
    /// Wakes the thread.
    bell: EventFd,
}

impl Shared {
    fn figures(&self) -> MutexGuard<'_, LegitFigures> {
        // Counts are whole at every moment: a panic elsewhere does not spoil them.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Run,
            1 => Order::Finish,
            _ => Order::Stop,
        }
    }

    fn give(&self, order: Order) {
        self.order.store(order as u8, Ordering::Release);
        // Only a full counter refuses, and then the thread is awake already.
        let _ = self.bell.write(1);
    }
}

/// Legitimate clients at work, on a thread of their own. Dropping it stops them.
pub struct LegitLoad {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl LegitLoad {
    /// Starts the thread, inside the caller's network namespace: threads inherit it.
    ///
    /// # Errors
    /// If the options make no sense, the thread could not be pinned, or the process may not open as many sockets.
    pub fn start(options: LegitOptions) -> io::Result<Self> {
        options.check()?;
        allow_descriptors(options.limit() as u64 + OTHER_DESCRIPTORS)?;
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let figures = Mutex::new(LegitFigures::default());
        let shared = Arc::new(Shared { order: AtomicU8::new(Order::Run as u8), figures, bell });
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("legit".to_owned()).spawn({
            let shared = shared.clone();
            move || match pin(options.core).and_then(|()| Driver::new(options, shared)) {
                Ok(driver) => {
                    let _ = ready.send(Ok(()));
                    driver.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        let load = Self { shared, thread: Some(thread) };
        started
            .recv()
            .map_err(|_| io::Error::other("the thread of the legitimate clients died; please report it"))??;
        Ok(load)
    }

    /// The figures so far. Attempts under way are counted as attempts only.
    pub fn snapshot(&self) -> LegitFigures {
        self.shared.figures().clone()
    }

    /// Starts no new attempts, waits for those under way (up to their patience), and tells what became of all.
    pub fn finish(mut self) -> LegitFigures {
        self.end(Order::Finish);
        self.snapshot()
    }

    fn end(&mut self, order: Order) {
        self.shared.give(order);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so, and what it counted before is still there.
            let _ = thread.join();
        }
    }
}

impl Drop for LegitLoad {
    fn drop(&mut self) {
        self.end(Order::Stop);
    }
}

fn pin(core: Option<usize>) -> io::Result<()> {
    core.map_or(Ok(()), cores::pin).map_err(|error| {
        let core = core.unwrap_or_default();
        io::Error::other(format!(
            "the legitimate clients could not be pinned to core {core} ({error}): name a core that is online and allowed"
        ))
    })
}

/// Lets the process have this many file descriptors, as far as that is its own to decide.
fn allow_descriptors(needed: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(io::Error::other(format!(
            "the legitimate clients may need {needed} file descriptors and the limit is {hard}: raise it (`ulimit -Hn {needed}`), \
             or ask for fewer attempts or less patience"
        )));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?)
}
