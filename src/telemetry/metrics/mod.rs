//! `/metrics`: what is counted anyway, as Prometheus and all who speak OpenMetrics ask for it.
//!
//! A thread waits at an [address](SocketAddr) of the kernel's, and wakes for nothing else than somebody who asks: then a page is made,
//! said by HTTP/1.1, and thrown away. Clients are few at a time and have little time each, and nobody waits for them. A server's page is
//! made of what its [workers show](crate::worker::Snapshot) ten times a second: see [`Server::metrics`](crate::Server::metrics).
//! [`Exporter`] says pages of your own.

#[doc(hidden)] // for the program's own sockets
pub mod clients;
mod door;
mod families;
mod http;
mod page;
mod process;
#[cfg(test)]
mod tests;

pub use self::{
    door::MetricsError,
    http::Form,
    page::{ListenerCounts, WorkersPage},
};
#[doc(hidden)] // for the balancer's page, which moves
pub use self::{
    door::{Door, Move},
    families::{Families, Written, encode},
    process::Process,
};

use self::{
    clients::{Client, Clients, PAUSE, Unheard, bell, readable, wait},
    http::Asked,
};
use crate::{host::confinement, log_limit::LogLimit};
use nix::{poll::PollFd, sys::eventfd::EventFd};
use std::{
    fmt,
    io::{self, Read},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Clients at a time.
const CLIENTS: usize = 8;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to hear the answer, which is what Prometheus gives a scrape by default.
const HEARING: Duration = Duration::from_secs(10);
/// How long what was not read is waited for, so that its sender hears the answer before the end, and how much of it there may be.
const LAST_WORDS: Duration = Duration::from_secs(1);
const MOST_LAST_WORDS: u64 = 1 << 16;

/// What makes a page, in the form that was asked for, or says why there is none.
pub type MakePage = dyn Fn(Form) -> Result<String, String> + Send + Sync;

/// The thread that waits for those who ask; it ends, and those it has begun, when this is dropped.
pub struct Exporter {
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Has pages at `http://ADDRESS/metrics`, which `page` makes for each that is asked for, on a thread that is no worker's.
    ///
    /// # Errors
    /// [`MetricsError`] says why there is nothing, and what to do.
    pub fn start(
        address: SocketAddr,
        page: impl Fn(Form) -> Result<String, String> + Send + Sync + 'static,
    ) -> Result<Self, MetricsError> {
        let door = Arc::new(Door::open(Some(address))?);
        Self::at(door, page).map_err(|source| MetricsError::System { address, source })
    }

    /// Likewise, at a door that may move.
    ///
    /// # Errors
    /// Where there is no thread for it.
    #[doc(hidden)]
    pub fn at(
        door: Arc<Door>,
        page: impl Fn(Form) -> Result<String, String> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let bell = Arc::new(bell()?);
        let its = Arc::clone(&bell);
        let export = move || {
            // What strangers say is read here. To read what programs count takes no more than CAP_BPF, where it takes that.
            match confinement::keep_for_reading_maps() {
                Ok(()) => export(&door, &page, &its),
                Err(error) => tracing::warn!("nobody is told of metrics: {error}"),
            }
        };
        let thread = thread::Builder::new().name("xskip-metrics".to_owned()).spawn(export)?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.bell.write(1).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn export(door: &Door, page: &MakePage, bell: &EventFd) {
    let clients = Clients::new("xskip-scrape", CLIENTS);
    thread::scope(|scope| {
        loop {
            let listener = door.listener();
            let there: PollFd<'_> = listener.as_ref().map_or_else(|| readable(bell), |it| readable(&**it));
            let [is_over, has_moved, is_called] = wait([readable(bell), readable(door.bell()), there], None);
            if is_over {
                return;
            }
            if has_moved {
                door.bell().read().ok();
                continue;
            }
            let Some(listener) = listener.filter(|_| is_called) else { continue };
            match listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_err() => {}
                Ok((stream, _)) => {
                    let refuse = |client: &mut Client<'_, TcpStream>| {
                        client.say(&http::refusal(503, "others are being answered: ask again"), Instant::now());
                        // The end of a connection whose octets were not read takes the answer with it.
                        _ = client.stream.read(&mut [0; 4_096]);
                    };
                    clients.begin(scope, Client { stream, bell }, |client| attend(client, page), refuse);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    static REFUSED: LogLimit = LogLimit::new();
                    if let Some(more) = REFUSED.admit() {
                        tracing::warn!("a client of /metrics was not accepted: {error}{more}");
                    }
                    wait([readable(bell)], Some(Instant::now() + PAUSE));
                }
            }
        }
    });
}

fn attend(client: &mut Client<'_, TcpStream>, page: &MakePage) {
    let answer = match client.hear(http::MOST, Instant::now() + PATIENCE, http::end) {
        Ok(head) => match http::read(&head) {
            Ok(Asked { form, only_head }) => match page(form) {
                Ok(page) => http::answer(form, only_head, &page),
                Err(error) => http::refusal(500, &error),
            },
            Err(refusal) => refusal,
        },
        Err(Unheard::Gone) => return,
        Err(Unheard::TooLate) => http::refusal(408, "no whole request came in time"),
        Err(Unheard::TooLong) => http::refusal(431, "the head of the request is too long"),
    };
    client.say(&answer, Instant::now() + HEARING);
    // Likewise.
    client.stream.shutdown(Shutdown::Write).ok();
    let (until, mut left) = (Instant::now() + LAST_WORDS, MOST_LAST_WORDS);
    let mut piece = [0; 4_096];
    while left > 0 && Instant::now() < until {
        match client.stream.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait([readable(client.bell), readable(&client.stream.as_fd())], Some(until))[0] {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
