//! The relay: what is received on one interface is sent on another, both ways, by way of an [`Impairment`].
//!
//! ```text
//!   left ── AF_XDP ──▶ OneWay ──▶ AF_XDP ── right
//!        ◀─ AF_XDP ── OneWay ◀── AF_XDP ──
//! ```
//!
//! It is a wire, not a switch: it takes every frame, whomever it is for, and changes none unless it is told to. A frame
//! leaves by the queue with the number of the one it came in by. It is one loop on one thread, which sleeps until a frame
//! comes or is through.

mod end;

use std::{
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        prctl,
        time::TimeSpec,
    },
};
use thiserror::Error;

use self::end::End;
use crate::{
    host::{HostError, netns::Namespace},
    impair::{Counts, Impairment, OneWay},
    time::Instant,
    xdp::XdpError,
};

/// How soon a relay that sleeps looks whether it should end, or an interface is gone.
const LOOK: Duration = Duration::from_millis(50);
/// How soon a frame that the kernel did not take is offered again.
const TRANSMIT_RETRY: Duration = Duration::from_micros(200);

/// Why a relay did not start, or ended by itself.
#[derive(Debug, Error)]
pub enum RelayError {
    /// XDP or AF_XDP refused.
    #[error(transparent)]
    Xdp(#[from] XdpError),

    /// The kernel refused something else.
    #[error(transparent)]
    Host(#[from] HostError),

    /// An interface was deleted under the relay.
    #[error("the interface {0} is gone: take the lab down and make it again")]
    Gone(String),

    /// No thread for it.
    #[error("could not start the relay's thread: {0}; too many processes?")]
    NoThread(std::io::Error),

    /// It ended before it said whether it had started.
    #[error("the relay ended while it started: please report it")]
    Ended,
}

/// What a relay has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// From the left interface to the right one.
    pub up: Counts,
    /// From the right interface to the left one.
    pub down: Counts,
    /// Frames lost without being meant to be: the relay, or a kernel behind it, did not keep up.
    pub overrun: u64,
}

/// A relay at work on a thread of its own. It ends when the value is dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    counts: Arc<Mutex<RelayCounts>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay between two interfaces of a network namespace, and waits until it carries.
    ///
    /// # Errors
    /// What stood in its way.
    pub fn start(namespace: Namespace, ends: [&'static str; 2], impairment: Impairment) -> Result<Self, RelayError> {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Mutex::new(RelayCounts::default()));
        let (started, starting) = mpsc::channel();
        let work = {
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            move || {
                let opened = namespace.enter().map_err(RelayError::from).and_then(|()| Loop::open(ends, &impairment));
                let (opened, result) = match opened {
                    Ok(opened) => (Some(opened), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                // Whoever started it waits for this.
                let _ = started.send(result);
                if let Some(Err(error)) = opened.map(|opened| opened.run(&stop, &counts)) {
                    tracing::warn!("the relay ended: {error}");
                }
            }
        };
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(work).map_err(RelayError::NoThread)?;
        let relay = Self { stop, counts, thread: Some(thread) };
        starting.recv().unwrap_or(Err(RelayError::Ended))?;
        Ok(relay)
    }

    /// What it has done; at rest up to date, otherwise a moment old.
    pub fn counts(&self) -> RelayCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Carries frames between two interfaces of the calling thread's network namespace, until `stop` is true. Calls `ready`
/// once both are open.
///
/// # Errors
/// What stood in its way, at the start or later.
pub fn run(
    ends: [&'static str; 2],
    impairment: &Impairment,
    stop: &AtomicBool,
    ready: impl FnOnce(),
) -> Result<(), RelayError> {
    let opened = Loop::open(ends, impairment)?;
    ready();
    opened.run(stop, &Mutex::default())
}

/// The relay's loop and all that it needs.
struct Loop {
    ends: [End; 2],
    /// What comes in by the first end, and what comes in by the second.
    ways: [OneWay; 2],
    /// All sockets, so that to wait for them takes no list of them. It knows milliseconds only: it is waited for in turn.
    sockets: Epoll,
    origin: std::time::Instant,
}

impl Loop {
    fn open(ends: [&'static str; 2], impairment: &Impairment) -> Result<Self, RelayError> {
        let [left, right] = ends;
        let ends = [End::open(left)?, End::open(right)?];
        let wait_for = |what| move |errno: nix::Error| HostError::refused(what, errno);
        let sockets = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(wait_for("wait for AF_XDP sockets"))?;
        for socket in ends.iter().flat_map(End::sockets) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
            sockets.add(socket, event).map_err(wait_for("wait for an AF_XDP socket"))?;
        }
        Ok(Self { ends, ways: impairment.ways(), sockets, origin: std::time::Instant::now() })
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn run(mut self, stop: &AtomicBool, counts: &Mutex<RelayCounts>) -> Result<(), RelayError> {
        // Or the kernel would add some 50 us to each delay. Where it does not let us, it does.
        let _ = prctl::set_timerslack(1_000);
        let mut result = Ok(());
        let mut looked = self.now();
        while !stop.load(Ordering::Relaxed) {
            let is_busy = self.turn();
            let now = self.now();
            let is_time = now - looked >= LOOK;
            if is_time {
                looked = now;
                result = self.ends.iter().try_for_each(still_there);
                if result.is_err() {
                    break;
                }
            }
            if is_time || !is_busy {
                self.publish(counts, is_time);
            }
            if !is_busy {
                self.sleep();
            }
        }
        self.publish(counts, true);
        self.ends.into_iter().for_each(End::close);
        result
    }

    /// One batch each way. Whether there was something to do.
    fn turn(&mut self) -> bool {
        let now = self.now();
        let [left, right] = &mut self.ends;
        let [up, down] = &mut self.ways;
        let received = left.receive(now, up) + right.receive(now, down);
        // Read again: what is due meanwhile need not wait for another turn.
        let now = Instant::ZERO + self.origin.elapsed();
        let sent = right.send(now, up) + left.send(now, down);
        received + sent > 0
    }

    /// Until a frame comes or is through.
    fn sleep(&self) {
        let due = self.ways.iter().filter_map(OneWay::next_deadline).min();
        let mut timeout = due.map_or(LOOK, |due| due - self.now()).min(LOOK);
        if self.ends.iter().any(End::wants_flush) {
            timeout = timeout.min(TRANSMIT_RETRY);
        }
        let mut sockets = [PollFd::new(self.sockets.0.as_fd(), PollFlags::POLLIN)];
        // A signal ends the sleep too.
        let _ = ppoll(&mut sockets, Some(TimeSpec::from_duration(timeout)), None);
    }

    fn publish(&self, counts: &Mutex<RelayCounts>, with_overrun: bool) {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let [up, down] = &self.ways;
        (counts.up, counts.down) = (up.counts(), down.counts());
        if with_overrun {
            counts.overrun = self.ends.iter().map(End::overrun).sum();
        }
    }
}

/// An AF_XDP socket does not tell when its interface was deleted.
fn still_there(end: &End) -> Result<(), RelayError> {
    match if_nametoindex(end.interface()) {
        Ok(_) => Ok(()),
        Err(_) => Err(RelayError::Gone(end.interface().to_owned())),
    }
}
