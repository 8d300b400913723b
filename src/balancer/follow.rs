//! The thread that follows what changes by itself: ways to backends, their health, and time.

use super::{BalancerError, control::Control};
use crate::runtime::Running;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long it waits after the kernel has refused something.
const PAUSE: Duration = Duration::from_secs(1);

/// What wakes the thread from any other.
#[derive(Clone)]
pub(super) struct Bell(Arc<EventFd>);

impl Bell {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Has it look at once: something else is due than when it went to sleep.
    pub fn ring(&self) {
        self.0.write(1).ok();
    }
}

/// The thread; it ends when this is dropped.
pub(super) struct Follower {
    bell: Bell,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub fn start(bell: Bell, control: Arc<Mutex<Control>>, running: Arc<Running>) -> io::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let news = { control.lock().unwrap_or_else(PoisonError::into_inner).reach.as_fd().try_clone_to_owned()? };
        let its = Following { bell: bell.clone(), ends: Arc::clone(&ends), news };
        let follow = move || its.follow(&control, &running);
        let thread = thread::Builder::new().name("xskip-balancer".to_owned()).spawn(follow)?;
        Ok(Self { bell, ends, thread: Some(thread) })
    }

    pub fn wake(&self) {
        self.bell.ring();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Following {
    bell: Bell,
    ends: Arc<AtomicBool>,
    news: OwnedFd,
}

impl Following {
    fn follow(&self, control: &Mutex<Control>, running: &Running) {
        let mut said = String::new();
        while !self.ends.load(Ordering::Acquire) {
            let rest = {
                let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
                match control.turn(running) {
                    Ok(()) => control.rest(),
                    Err(error) => {
                        tell(&error, &mut said);
                        PAUSE
                    }
                }
            };
            self.sleep(rest);
        }
    }

    fn sleep(&self, rest: Duration) {
        // A millisecond more: what is due in less is due then.
        let milliseconds = u16::try_from(rest.as_millis() + 1).unwrap_or(u16::MAX);
        let mut waited_for = [self.bell.0.as_fd(), self.news.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut waited_for, PollTimeout::from(milliseconds)).ok();
        self.bell.0.read().ok();
    }
}

/// Says what went wrong, once as long as it stays the same.
fn tell(error: &BalancerError, said: &mut String) {
    let now = error.to_string();
    if *said != now {
        tracing::warn!("what backends serve is not up to date: {now}");
        *said = now;
    }
}
