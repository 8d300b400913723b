//! What the two ends of a handed-out connection have in common: a ring of octets each way, and who waits at them.
//!
//! One end is a task on the connection's worker ([`Pump`](super::pump::Pump)), the other a stream that anybody may have. Neither ever
//! waits for a lock: each leaves a waker and looks once more before it goes to sleep, and wakes the other behind what it has done.

use super::Ended;
use crate::{
    aio::{TcpStream, error},
    tcp::{CloseReason, TcpInfo},
};
use async_channel::Sender;
use atomic_waker::AtomicWaker;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

/// What the far end wants of its connection, a bit each; once wanted, it stays so.
pub(super) mod wish {
    /// Our side is to be closed behind what was written.
    pub const SHUT: u8 = 1;
    /// Nobody will read any more.
    pub const READER_GONE: u8 = 1 << 1;
    /// Nobody will write any more.
    pub const WRITER_GONE: u8 = 1 << 2;
    /// An RST, at once.
    pub const ABORT: u8 = 1 << 3;
    /// What was not read, and what comes still, is thrown away.
    pub const DISCARD: u8 = 1 << 4;
    /// Nobody has it any more.
    pub const GONE: u8 = READER_GONE | WRITER_GONE;
}

/// What is to be done to the connection on its worker, and what is asked of it. No more of it waits than there are settings and askers.
#[derive(Default)]
pub(super) struct Errands {
    pub nodelay: Option<bool>,
    pub linger: Option<Option<Duration>>,
    pub infos: Vec<Sender<io::Result<TcpInfo>>>,
}

impl Errands {
    /// Does all of it.
    pub fn run(self, stream: &TcpStream) {
        if let Some(nodelay) = self.nodelay {
            // Where the connection has just ended, there is nothing to be switched.
            let _ = stream.set_nodelay(nodelay);
        }
        if let Some(linger) = self.linger {
            stream.set_linger(linger);
        }
        for ask in self.infos {
            // Whoever has asked may have gone.
            let _ = ask.try_send(stream.info());
        }
    }
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Closed(CloseReason),
    /// With its worker.
    Stopped,
}

impl End {
    pub fn error(self) -> io::Error {
        match self {
            Self::Closed(reason) => error::closed(reason),
            Self::Stopped => Ended.into(),
        }
    }

    /// Whether everything was said and heard.
    pub fn in_order(self) -> io::Result<()> {
        if matches!(self, Self::Closed(CloseReason::Finished)) { Ok(()) } else { Err(self.error()) }
    }
}

pub(super) struct Link {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// The worker's task: something has been written, or is wanted.
    pub worker: AtomicWaker,
    /// The worker's task, where there is no room for what has come.
    pub room: AtomicWaker,
    pub reader: AtomicWaker,
    pub writer: AtomicWaker,
    wishes: AtomicU8,
    has_errands: AtomicBool,
    errands: Mutex<Errands>,
    /// Whether nothing more will be put into the reader's ring, in order.
    is_at_end: AtomicBool,
    end: OnceLock<End>,
}

impl Link {
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            local,
            peer,
            worker: AtomicWaker::new(),
            room: AtomicWaker::new(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            wishes: AtomicU8::new(0),
            has_errands: AtomicBool::new(false),
            errands: Mutex::default(),
            is_at_end: AtomicBool::new(false),
            end: OnceLock::new(),
        }
    }

    /// What is wanted of the connection; what was written before is in the ring when this is seen.
    pub fn wishes(&self) -> u8 {
        self.wishes.load(Ordering::Acquire)
    }

    /// Wants something of the connection.
    pub fn wish(&self, wishes: u8) {
        self.wishes.fetch_or(wishes, Ordering::AcqRel);
        self.worker.wake();
    }

    /// Has something done to the connection on its worker.
    ///
    /// # Errors
    /// Where it is no more.
    pub fn send_on(&self, add: impl FnOnce(&mut Errands)) -> io::Result<()> {
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = self.end.get() {
            return Err(end.error());
        }
        add(&mut errands);
        drop(errands);
        self.has_errands.store(true, Ordering::Release);
        self.worker.wake();
        Ok(())
    }

    pub fn take_errands(&self) -> Option<Errands> {
        let has_some = self.has_errands.load(Ordering::Relaxed) && self.has_errands.swap(false, Ordering::Acquire);
        has_some.then(|| self.take_all_errands())
    }

    fn take_all_errands(&self) -> Errands {
        std::mem::take(&mut *self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The peer has closed its side, and all that it said is in the ring.
    pub fn reach_end(&self) {
        self.is_at_end.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// The connection is no more: whoever waits hears of it, and errands that nobody will run are dropped.
    pub fn finish(&self, end: End) {
        if self.end.set(end).is_ok() {
            // Whoever asked is woken by that: not while the lock is held.
            let nobody_s = self.take_all_errands();
            drop(nobody_s);
            self.reader.wake();
            self.writer.wake();
        }
    }

    /// How the connection has ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.end.get().copied()
    }

    /// Whether nothing more will come, and how that ended; what has come before is in the ring when this is seen.
    pub fn end_of_reading(&self) -> Option<io::Result<usize>> {
        if self.is_at_end.load(Ordering::Acquire) {
            return Some(Ok(0));
        }
        self.end().map(|end| end.in_order().map(|()| 0))
    }
}
