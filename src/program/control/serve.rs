//! The socket, served: a line in, lines out, and nobody waits for anybody else.

use super::{Control, MOST, Refusal, Role};
use crate::{
    log_limit::LogLimit,
    telemetry::metrics::clients::{Client, Clients, PAUSE, Unheard, bell, readable, wait},
};
use nix::{
    poll::{PollFd, PollFlags},
    sys::eventfd::EventFd,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    io::{self, ErrorKind},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Clients at a time.
const CLIENTS: usize = 16;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to hear [`PIECE`] octets, or what there is at the time; tests wait for its end.
const HEARING: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });
/// Octets that are gathered before a client gets them: the memory that an answer takes, whatever its length.
const PIECE: usize = 1 << 16;

/// Who answers.
pub trait Answers: Send + Sync + 'static {
    /// What may be asked.
    type Request: DeserializeOwned;

    /// Answers one request, on a thread of its client's own. Where [`Gone`] comes back from what is said, nobody hears it any more: it
    /// should end then.
    ///
    /// # Errors
    /// [`Gone`], where that came back.
    fn answer(&self, request: Self::Request, hearer: &mut Hearer<'_, '_>) -> Result<(), Gone>;
}

/// Nobody hears the answer any more: the client has gone, reads too slowly, or all of this ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Whoever has asked.
pub struct Hearer<'a, 'b> {
    client: &'a mut Client<'b, UnixStream>,
    gathered: Vec<u8>,
}

impl fmt::Debug for Hearer<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearer").finish_non_exhaustive()
    }
}

impl Hearer<'_, '_> {
    /// Says a line, sooner or later.
    ///
    /// # Errors
    /// [`Gone`], where nobody hears it.
    pub fn say(&mut self, line: &impl Serialize) -> Result<(), Gone> {
        let before = self.gathered.len();
        // A line that has no form in JSON would be a mistake of ours, and is left out.
        match serde_json::to_writer(&mut self.gathered, line) {
            Ok(()) => self.gathered.push(b'\n'),
            Err(error) => {
                tracing::warn!("an answer has no form in JSON: {error}");
                self.gathered.truncate(before);
            }
        }
        if self.gathered.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Says, by a blank line and at once, that there is more to come.
    ///
    /// # Errors
    /// As [`Hearer::say`].
    pub fn keep(&mut self) -> Result<(), Gone> {
        self.gathered.push(b'\n');
        self.flush()
    }

    /// Says why there is no answer.
    ///
    /// # Errors
    /// As [`Hearer::say`].
    pub fn refuse(&mut self, why: impl fmt::Display) -> Result<(), Gone> {
        self.say(&Refusal::Refused(why.to_string()))
    }

    /// Has what was said so far go out.
    ///
    /// # Errors
    /// As [`Hearer::say`].
    pub fn flush(&mut self) -> Result<(), Gone> {
        let is_heard = self.client.say(&self.gathered, Instant::now() + HEARING);
        self.gathered.clear();
        if is_heard { Ok(()) } else { Err(Gone) }
    }

    /// Waits for so long, behind a [`flush`](Hearer::flush).
    ///
    /// # Errors
    /// [`Gone`], as soon as the client has gone, or all of this ends.
    pub fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        self.flush()?;
        // Whoever has said all he has to say is there still; he has gone when the kernel says so unasked.
        let hung_up = PollFd::new(self.client.stream.as_fd(), PollFlags::empty());
        match wait([readable(self.client.bell), hung_up], Some(Instant::now() + time)) {
            [false, false] => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// The thread that serves; it ends, and those it has begun, when this is dropped.
pub struct Serving {
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl Serving {
    /// Has whoever asks at this socket answered.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn start<A: Answers>(control: Control, answers: Arc<A>) -> io::Result<Self> {
        let bell = Arc::new(bell()?);
        let its = Arc::clone(&bell);
        let serve = move || serve(&control, &*answers, &its);
        let thread = thread::Builder::new().name("xskip-control".to_owned()).spawn(serve)?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.bell.write(1).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve<A: Answers>(control: &Control, answers: &A, bell: &EventFd) {
    let clients = Clients::new("xskip-client", CLIENTS);
    thread::scope(|scope| {
        loop {
            let [is_over, _] = wait([readable(bell), readable(&control.listener)], None);
            if is_over {
                return;
            }
            match control.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_err() => {}
                Ok((stream, _)) => {
                    // What fits goes at once, and nobody is waited for.
                    let refuse = |client: &mut Client<'_, _>| say(client, &full(), Instant::now());
                    let role = control.role;
                    clients.begin(scope, Client { stream, bell }, move |client| attend(client, role, answers), refuse);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    static REFUSED: LogLimit = LogLimit::new();
                    if let Some(more) = REFUSED.admit() {
                        tracing::warn!("a client of the control socket was not accepted: {error}{more}");
                    }
                    wait([readable(bell)], Some(Instant::now() + PAUSE));
                }
            }
        }
    });
}

fn full() -> Refusal {
    Refusal::Refused(format!("{CLIENTS} others are being answered: ask again"))
}

fn attend<A: Answers>(client: &mut Client<'_, UnixStream>, role: &'static Role, answers: &A) {
    let line_end = |said: &[u8]| said.iter().position(|&octet| octet == b'\n');
    let refusal = match client.hear(MOST, Instant::now() + PATIENCE, line_end) {
        Ok(request) => match serde_json::from_slice::<A::Request>(&request) {
            Ok(request) => {
                let mut hearer = Hearer { client, gathered: Vec::new() };
                _ = answers.answer(request, &mut hearer).and_then(|()| hearer.flush());
                return;
            }
            Err(error) => format!("that is no request ({error}): `{}` lists them", role.help),
        },
        Err(Unheard::Gone) => return,
        Err(Unheard::TooLong) => format!("a request has {MOST} octets at most, its end of line included"),
        Err(Unheard::TooLate) => format!("no whole request came within {} seconds", PATIENCE.as_secs()),
    };
    say(client, &Refusal::Refused(refusal), Instant::now() + PATIENCE);
}

fn say(client: &mut Client<'_, UnixStream>, refusal: &Refusal, deadline: Instant) {
    let Ok(mut line) = serde_json::to_vec(refusal) else { return };
    line.push(b'\n');
    client.say(&line, deadline);
}
