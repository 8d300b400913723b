//! Clients on the kernel's sockets: some keep a connection and ask again and again, others come, ask once and leave. Each answer
//! says who gave it, and each failure when it was and how.

use super::ground::service;
use crate::{
    bench::{BenchError, contender::ContenderError},
    host::{cores, netns::Namespace},
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections that are kept, and how often one is asked something.
pub(super) const KEPT: usize = 24;
const KEPT_PAUSE: Duration = Duration::from_millis(20);
/// Clients that come and go, one after the other in each of so many lines, and how often.
pub(super) const LINES: usize = 6;
const LINE_PAUSE: Duration = Duration::from_millis(15);
/// Who has waited so long has failed: three transmissions of a SYN, and more of what came later.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failure {
    /// An RST in answer to the SYN.
    Refused,
    /// An RST later, or an end before the answer.
    Reset,
    /// Nothing at all.
    Silent,
}

/// A request, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// When it began, since the visitors did.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// Who had answered on this connection before; nobody on a new one.
    pub earlier: Option<u8>,
    /// The number of the backend that answered.
    pub outcome: Result<u8, Failure>,
}

impl Visit {
    /// Until when it was under way.
    pub fn ended(&self) -> Duration {
        self.begun + self.took
    }
}

/// Visitors at work. Dropping them ends them.
pub(super) struct Visitors {
    begun: Instant,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Visit>>>,
}

impl Visitors {
    /// Starts them in a namespace, all on one core.
    pub fn start(client: &Namespace, core: usize) -> Result<Self, BenchError> {
        let mut visitors = Self { begun: Instant::now(), stop: Arc::default(), threads: Vec::new() };
        // Threads are in the namespace of the thread that starts them.
        client.run(|| {
            for number in 0..KEPT + LINES {
                let visitor = Visitor { begun: visitors.begun, stop: Arc::clone(&visitors.stop) };
                let work = move || {
                    if let Err(error) = cores::pin(core) {
                        tracing::warn!("a visitor could not be pinned to core {core}: {error}");
                    }
                    if number < KEPT { visitor.keep() } else { visitor.come_and_go() }
                };
                let thread = thread::Builder::new().name("visitor".to_owned()).spawn(work);
                visitors.threads.push(thread.map_err(|error| ContenderError::system("start a visitor", error))?);
            }
            Ok::<_, BenchError>(())
        })??;
        Ok(visitors)
    }

    /// How long they have been at it.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends them, and tells all that happened, in order of its beginning.
    pub fn finish(mut self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        let mut visits: Vec<_> = self.threads.drain(..).flat_map(|it| it.join().unwrap_or_default()).collect();
        visits.sort_by_key(|visit| visit.begun);
        visits
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

struct Visitor {
    begun: Instant,
    stop: Arc<AtomicBool>,
}

impl Visitor {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A connection that is asked again and again; if it fails, another one.
    fn keep(&self) -> Vec<Visit> {
        let (mut visits, mut kept) = (Vec::new(), None::<(TcpStream, u8)>);
        while self.goes_on() {
            let before = kept.take();
            let earlier = before.as_ref().map(|it| it.1);
            let ask = || {
                let mut stream = before.map_or_else(connect, |it| Ok(it.0))?;
                let who = ask(&mut stream, "keep-alive")?;
                Ok((stream, who))
            };
            let outcome = self.visit(&mut visits, earlier, ask, |it| it.1);
            kept = outcome;
            thread::sleep(KEPT_PAUSE);
        }
        visits
    }

    fn come_and_go(&self) -> Vec<Visit> {
        let mut visits = Vec::new();
        while self.goes_on() {
            self.visit(&mut visits, None, || ask(&mut connect()?, "close"), |&who| who);
            thread::sleep(LINE_PAUSE);
        }
        visits
    }

    fn visit<T>(
        &self,
        visits: &mut Vec<Visit>,
        earlier: Option<u8>,
        ask: impl FnOnce() -> Result<T, Failure>,
        who: impl FnOnce(&T) -> u8,
    ) -> Option<T> {
        let begun = self.begun.elapsed();
        let outcome = ask();
        let took = self.begun.elapsed() - begun;
        visits.push(Visit { begun, took, earlier, outcome: outcome.as_ref().map(who).map_err(|&failure| failure) });
        outcome.ok()
    }
}

fn connect() -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&service(), PATIENCE).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Failure::Refused,
        _ => Failure::Silent,
    })?;
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    set.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(failure)?;
    Ok(stream)
}

/// Asks for the page, which is a letter and the number of who answers.
fn ask(stream: &mut TcpStream, connection: &str) -> Result<u8, Failure> {
    let request = format!("GET / HTTP/1.1\r\nHost: web\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failure)?;
    let (mut heard, mut piece) = (Vec::new(), [0; 1_024]);
    loop {
        match stream.read(&mut piece).map_err(failure)? {
            0 => return Err(Failure::Reset),
            count => heard.extend_from_slice(&piece[..count]),
        }
        if let Some(number) = number_in(&heard) {
            return Ok(number);
        }
    }
}

/// Who has answered, as soon as all of the page is there.
pub(super) fn number_in(heard: &[u8]) -> Option<u8> {
    let end = heard.windows(4).position(|it| it == b"\r\n\r\n")?;
    let digit = heard.get(end + 5)?;
    digit.is_ascii_digit().then(|| digit - b'0')
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Silent,
        _ => Failure::Reset,
    }
}
