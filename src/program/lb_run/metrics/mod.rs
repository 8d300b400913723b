//! `/metrics`: what the balancer counts, as Prometheus and all who speak OpenMetrics ask for it.
//!
//! The [door] is the address; it moves when the file says another. A thread waits there, and wakes for nothing else than somebody who
//! asks: then what there is to know is [gathered](page), and said by [HTTP](http), once on each connection.

mod door;
mod http;
mod page;
mod process;
mod proxied;
#[cfg(test)]
mod tests;

pub use self::door::MetricsError;
pub(super) use self::{
    door::Door,
    page::{Page, Reloads},
    process::Process,
};

use self::http::Asked;
use super::{
    Session,
    clients::{Client, Clients, PAUSE, Unheard, bell, readable, wait},
};
use crate::host::confinement;
use nix::{poll::PollFd, sys::eventfd::EventFd};
use std::{
    io::{self, Read},
    net::{Shutdown, TcpStream},
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

/// The thread that waits for those who ask; it ends, and those it has begun, when this is dropped.
pub(super) struct Exporting {
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Exporting {
    pub fn start(session: Arc<Session>) -> io::Result<Self> {
        let bell = Arc::new(bell()?);
        let its = Arc::clone(&bell);
        let export = move || {
            // What strangers say is read here. To read what programs count takes no more than CAP_BPF, where it takes that.
            match confinement::keep_for_reading_maps() {
                Ok(()) => export(&session, &its),
                Err(error) => tracing::warn!("nobody is told of metrics: {error}"),
            }
        };
        let thread = thread::Builder::new().name("xskip-metrics".to_owned()).spawn(export)?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.bell.write(1).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn export(session: &Session, bell: &EventFd) {
    let (door, clients) = (session.door(), Clients::new("xskip-scrape", CLIENTS));
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
                    clients.begin(scope, Client { stream, bell }, |client| attend(client, session), refuse);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!("a client of /metrics was not accepted: {error}");
                    wait([readable(bell)], Some(Instant::now() + PAUSE));
                }
            }
        }
    });
}

fn attend(client: &mut Client<'_, TcpStream>, session: &Session) {
    let answer = match client.hear(http::MOST, Instant::now() + PATIENCE, http::end) {
        Ok(head) => match http::read(&head) {
            Ok(Asked { form, only_head }) => match session.page() {
                Ok(page) => http::answer(form, only_head, &page.write(form)),
                Err(error) => http::refusal(500, &error.to_string()),
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
