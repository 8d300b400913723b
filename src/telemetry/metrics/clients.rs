//! Clients of a socket, each on a thread of its own: so many at a time, and none for longer than it may take. What they have in common
//! is the bell that ends all of them.

use crate::log_limit::LogLimit;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, Scope},
    time::{Duration, Instant},
};

/// How long nobody is accepted after the kernel gave no descriptor.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Something that rings once and for all: it is never read.
///
/// # Errors
/// Where the process has no descriptor left.
pub fn bell() -> io::Result<EventFd> {
    Ok(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)
}

/// Waits for one of some descriptors, no longer than until `deadline`; which of them is ready.
pub fn wait<const N: usize>(fds: [PollFd<'_>; N], deadline: Option<Instant>) -> [bool; N] {
    let mut fds = fds;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A millisecond more: what is due in less is due then.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            _ => return fds.map(|fd| fd.any().unwrap_or(false)),
        }
    }
}

/// Waits until it can be read.
pub fn readable<F: AsFd>(fd: &F) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

/// Those of one socket, as they come and go.
pub struct Clients {
    /// What their threads are called.
    name: &'static str,
    most: usize,
    count: AtomicUsize,
}

impl Clients {
    /// So many at a time.
    pub const fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, count: AtomicUsize::new(0) }
    }

    /// Attends to one on a thread of its own, or, where there are as many as may be, refuses it: that must not take long.
    pub fn begin<'scope, S: AsFd + Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        mut client: Client<'scope, S>,
        attend: impl FnOnce(&mut Client<'scope, S>) + Send + 'scope,
        refuse: impl FnOnce(&mut Client<'scope, S>),
    ) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return refuse(&mut client);
        }
        let place = Place(&self.count);
        let attend = move || {
            let _place = place;
            attend(&mut client);
        };
        if let Err(error) = thread::Builder::new().name(self.name.to_owned()).spawn_scoped(scope, attend) {
            static UNANSWERED: LogLimit = LogLimit::new();
            if let Some(more) = UNANSWERED.admit() {
                tracing::warn!("{}: somebody gets no answer: {error}{more}", self.name);
            }
        }
    }
}

/// One of as many as may be; another may have it when this is dropped, whatever has become of the thread.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a client was not heard.
pub enum Unheard {
    /// It said more than there is room for.
    TooLong,
    /// It took too long.
    TooLate,
    /// It has gone, or all of this ends.
    Gone,
}

/// Somebody at the other end of a stream that does not block.
pub struct Client<'a, S> {
    /// The stream.
    pub stream: S,
    /// What ends all of this.
    pub bell: &'a EventFd,
}

impl<S: Read + Write + AsFd> Client<'_, S> {
    /// What it says, up to where `end` says that it is whole, or until it hangs up its side; `most` octets of it.
    ///
    /// # Errors
    /// [`Unheard`] says why there is nothing.
    pub fn hear(
        &mut self,
        most: usize,
        deadline: Instant,
        end: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, Unheard> {
        let mut said = vec![0; most];
        let mut length = 0;
        loop {
            match self.stream.read(&mut said[length..]) {
                Ok(0) if length == 0 => return Err(Unheard::Gone),
                Ok(count) => {
                    length += count;
                    let whole = end(&said[..length]).or((count == 0).then_some(length));
                    if let Some(whole) = whole {
                        said.truncate(whole);
                        return Ok(said);
                    }
                    if length == most {
                        return Err(Unheard::TooLong);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= deadline {
                        return Err(Unheard::TooLate);
                    }
                    if wait([readable(self.bell), readable(&self.stream)], Some(deadline))[0] {
                        return Err(Unheard::Gone);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Unheard::Gone),
            }
        }
    }

    /// Says something as long as it is heard; whether all of it was.
    pub fn say(&mut self, octets: &[u8], deadline: Instant) -> bool {
        let mut left = octets;
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    let writable = PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT);
                    if wait([readable(self.bell), writable], Some(deadline))[0] {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }
}
