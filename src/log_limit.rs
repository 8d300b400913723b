//! Lines of the log that strangers, or a fault, could have said as often as they like: a few of a kind are said, the others are counted,
//! and the next line says how many there were.
//!
//! ```
//! use xskip::log_limit::LogLimit;
//!
//! static REFUSED: LogLimit = LogLimit::new();
//!
//! # let peer = "198.18.0.2";
//! if let Some(more) = REFUSED.admit() {
//!     tracing::warn!(%peer, "refused; raise the limit{more}");
//! }
//! ```

use std::{
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Lines of one kind that are said within [`SPAN`].
pub const LINES: u32 = 4;
/// How long it takes until as many may be said again.
pub const SPAN: Duration = Duration::from_secs(10);

/// Which lines of one kind are said: [`LINES`] of them in [`SPAN`], whoever says them. It stands beside the line, as a `static`, and reads a
/// clock of its own, as the log is nobody's protocol.
#[derive(Debug)]
pub struct LogLimit {
    window: Mutex<Window>,
    /// Lines that were not said since the last one that was.
    unsaid: AtomicU64,
}

#[derive(Debug)]
struct Window {
    /// When it began, since the first line of any kind.
    began: Duration,
    said: u32,
}

/// Lines of this kind that were not said before this one, at the end of a message: nothing, where there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More(u64);

impl More {
    /// How many there were.
    pub const fn count(self) -> u64 {
        self.0
    }
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more of this kind)"),
        }
    }
}

impl LogLimit {
    /// One by which nothing was said yet.
    pub const fn new() -> Self {
        Self { window: Mutex::new(Window { began: Duration::ZERO, said: 0 }), unsaid: AtomicU64::new(0) }
    }

    /// Whether another line may be said now, and how many were not since the last one. Nobody waits for anybody else who asks.
    pub fn admit(&self) -> Option<More> {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        self.admit_at(FIRST.get_or_init(Instant::now).elapsed())
    }

    fn admit_at(&self, now: Duration) -> Option<More> {
        let admitted = self.window.try_lock().is_ok_and(|mut window| window.admit(now));
        if !admitted {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(More(self.unsaid.swap(0, Ordering::Relaxed)))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    fn admit(&mut self, now: Duration) -> bool {
        if now >= self.began + SPAN {
            (self.began, self.said) = (now, 0);
        }
        let admitted = self.said < LINES;
        self.said += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests;
