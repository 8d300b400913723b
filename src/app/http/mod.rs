//! A small HTTP server (RFC 9110, RFC 9112): GET and HEAD, keep-alive and close, pipelining, bodies of any size.
//!
//! | path | what |
//! | --- | --- |
//! | `/` | a page that says what this is |
//! | `/bytes/N` | N octets of a pattern: octet number *i* is *i* mod 251 |
//!
//! A request is parsed where it lies and answered with one write; a large body is made in place, piece by piece, as the
//! peer takes it. While a body is under way no further request is looked at, so a peer that pipelines is held back by its
//! window. A client has so much time for a head, for a body, and between requests ([`Timeouts`]). There is no `Date` field: the
//! stack has no calendar below its worker, and RFC 9110 §6.6.1 excuses such servers.

mod pattern;
mod request;
mod response;

#[cfg(test)]
mod tests;

use self::{
    pattern::Pattern,
    request::{Parsed, Refusal, Request},
    response::{Answer, Head},
};
use super::{Origin, Service};
use crate::{
    stack::{ConnectionId, Stream},
    time::Instant,
    worker::Context,
};
use std::time::Duration;

/// The longest request head. It must lie in one piece to be parsed.
const MAX_HEAD: usize = 8_192;
/// Octets of an incomplete head from which on it is taken out of the receive ring, whose size is its window: a ring smaller
/// than a head would otherwise wait for ever.
const GATHERED_FROM: usize = 1_024;
/// Room that the longest response without a large body needs.
const MAX_RESPONSE: usize = 1_024;
/// Octets of a body made at a time.
const PIECE: usize = 65_536;
/// The longest request body that is skipped to keep the connection; for a longer one it is cheaper to begin a new one.
const MAX_SKIPPED: u64 = 1 << 20;

/// How long the last words to a client whose time was over may stay unacknowledged: it had time enough.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long a client that has just connected has for its request, when the server is to end.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// How long a client may take; [`Duration::MAX`] for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the head of a request, from its first octet on, however slowly the others come; then the answer is 408, and the
    /// connection closes (RFC 9110 §15.5.9). Default 30 s.
    pub head: Duration,
    /// For the body of a request, which is answered before it has come: so the connection closes without a word. Default 120 s.
    pub body: Duration,
    /// Between the answer to a request and the next one, and before the first; then the connection closes without a word.
    /// Default 60 s.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), body: Duration::from_secs(120), pause: Duration::from_secs(60) }
    }
}

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http {
    timeouts: Timeouts,
}

impl Http {
    /// One whose clients may take so long.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts }
    }
}

/// Where a connection stands.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// What the client is waited for, and until when.
    waits: Waits,
    until: Instant,
    /// Whether it has ever begun a request.
    has_begun: bool,
    /// Whether the server is to end, and the next answer is the last.
    is_draining: bool,
    /// A request head that the receive ring does not hold in one piece; empty otherwise.
    split: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request.
    #[default]
    Request,
    /// Sending a body.
    Body { pattern: Pattern, then: Then },
    /// Passing over the body of a request already answered.
    Skip(u64),
    /// The last response was given. What still comes is thrown away, so that no RST overtakes it (RFC 9112 §9.6).
    Over,
}

/// What follows a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next request, behind so many octets of the last one's body.
    Next { skip: u64 },
    /// Nothing.
    Close,
}

/// Whether more can be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Further,
    Wait(Waits),
}

/// What the client owes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Nothing but to take what was sent, which is the stack's business.
    Nothing,
    /// A request.
    Request,
    /// The rest of a request's head,
    Head,
    /// or of its body.
    Body,
}

impl Service for Http {
    type Session = Session;

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) -> Session {
        let (phase, waits, until) = (Phase::default(), Waits::Nothing, Instant::NEVER);
        Session { phase, waits, until, has_begun: false, is_draining: false, split: Vec::new() }
    }

    fn ready(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        session.run(&mut stream, &self.timeouts);
    }

    fn deadline(&self, session: &Session) -> Instant {
        session.until
    }

    fn overdue(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        session.end(&mut stream);
    }

    fn drain(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        session.is_draining = true;
        session.run(&mut stream, &self.timeouts);
        if session.waits == Waits::Request {
            session.until = session.until.min(stream.now() + LAST_REQUEST);
        }
    }
}

impl Session {
    /// Does as much as can be done at once.
    fn run(&mut self, stream: &mut Stream<'_>, timeouts: &Timeouts) {
        loop {
            if let Progress::Wait(waits) = self.advance(stream) {
                return self.wait(waits, stream.now(), timeouts);
            }
        }
    }

    fn advance(&mut self, stream: &mut Stream<'_>) -> Progress {
        match self.phase {
            Phase::Request => self.request(stream),
            Phase::Body { pattern, then } => self.body(pattern, then, stream),
            Phase::Skip(remaining) => self.skip(remaining, stream),
            Phase::Over => Progress::Wait(Waits::Nothing),
        }
    }

    /// A time runs from when something is first waited for: what comes octet by octet has no more of it.
    fn wait(&mut self, waits: Waits, now: Instant, timeouts: &Timeouts) {
        if waits == self.waits {
            return;
        }
        self.waits = waits;
        self.has_begun |= waits == Waits::Head;
        self.until = match waits {
            Waits::Nothing => Instant::NEVER,
            Waits::Request => now + timeouts.pause,
            Waits::Head => now + timeouts.head,
            Waits::Body => now + timeouts.body,
        };
    }

    /// The client has had its time.
    fn end(&mut self, stream: &mut Stream<'_>) {
        stream.set_user_timeout(Some(LAST_WORDS));
        match self.waits {
            Waits::Nothing => return,
            Waits::Head if stream.room_or_wait() >= MAX_RESPONSE => {
                self.respond(&Answer::refusal(Refusal { status: 408, head_only: false }), stream);
            }
            // One that has never said anything will not answer a FIN either.
            Waits::Request if !self.has_begun && !self.is_draining => stream.abort(),
            _ => stream.close_discarding(),
        }
        self.forget_split(stream);
        (self.phase, self.waits, self.until) = (Phase::Over, Waits::Nothing, Instant::NEVER);
    }

    fn request(&mut self, stream: &mut Stream<'_>) -> Progress {
        if self.split.is_empty() {
            skip_empty_lines(stream);
        }
        if stream.at_end() && self.split.is_empty() {
            stream.close();
            return Progress::Wait(Waits::Nothing);
        }
        if stream.room_or_wait() < MAX_RESPONSE {
            return Progress::Wait(Waits::Nothing);
        }
        let (parsed, length) = self.parse(stream);
        let answer = match parsed {
            Parsed::Whole(request) => Answer::to(&request),
            Parsed::Refused(refusal) => Answer::refusal(refusal),
            Parsed::Partial if stream.peer_has_closed() => Answer::refusal(Refusal { status: 400, head_only: false }),
            Parsed::Partial if self.split.is_empty() && stream.readable_len() == 0 => {
                if self.is_draining && self.has_begun {
                    self.phase = Phase::after(Then::Close, stream);
                    return Progress::Wait(Waits::Nothing);
                }
                return Progress::Wait(Waits::Request);
            }
            Parsed::Partial => return Progress::Wait(Waits::Head),
        };
        // A refused request has no end that could be trusted, so the rest of the stream means nothing.
        if self.split.is_empty() {
            stream.consume(length);
        } else {
            self.forget_split(stream);
        }
        self.respond(&if self.is_draining { answer.last() } else { answer }, stream);
        Progress::Further
    }

    /// The request at the front of the stream, and how many octets of it its head takes.
    fn parse(&mut self, stream: &mut Stream<'_>) -> (Parsed, usize) {
        let in_one_piece = self.split.is_empty() && stream.readable().len() == stream.readable_len();
        if in_one_piece || self.split.is_empty() {
            let result = Request::parse(stream.readable());
            if result.0 != Parsed::Partial || (in_one_piece && stream.readable_len() < GATHERED_FROM) {
                return result;
            }
        }
        // The ring wraps within the head, or may be too small for it: from here on it is gathered, up to its end and no
        // further.
        loop {
            let wanted = stream.readable().iter().position(|&octet| octet == b'\n').map(|at| at + 1);
            let taken = wanted.unwrap_or(stream.readable().len());
            if taken == 0 {
                stream.keep(self.split.capacity());
                return (Parsed::Partial, 0);
            }
            self.split.extend_from_slice(&stream.readable()[..taken]);
            stream.consume(taken);
            let (parsed, length) = Request::parse(&self.split);
            if parsed != Parsed::Partial {
                return (parsed, length);
            }
        }
    }

    fn forget_split(&mut self, stream: &mut Stream<'_>) {
        self.split = Vec::new();
        stream.keep(0);
    }

    fn respond(&mut self, answer: &Answer, stream: &mut Stream<'_>) {
        let head = Head::of(answer);
        let written = stream.write(head.as_bytes());
        debug_assert_eq!(written, head.as_bytes().len(), "there was room for any head");
        (self.waits, self.has_begun) = (Waits::Nothing, true); // what is waited for next has a time of its own
        self.phase = match answer.body() {
            Some(pattern) => Phase::Body { pattern, then: answer.then() },
            None => Phase::after(answer.then(), stream),
        };
    }

    fn body(&mut self, mut pattern: Pattern, then: Then, stream: &mut Stream<'_>) -> Progress {
        while !pattern.is_finished() {
            if stream.write_with(PIECE, |room| pattern.fill(room)) == 0 {
                self.phase = Phase::Body { pattern, then };
                return Progress::Wait(Waits::Nothing);
            }
        }
        self.phase = Phase::after(then, stream);
        Progress::Further
    }

    fn skip(&mut self, remaining: u64, stream: &mut Stream<'_>) -> Progress {
        if self.is_draining {
            self.phase = Phase::after(Then::Close, stream); // the answer is out
            return Progress::Wait(Waits::Nothing);
        }
        let available = stream.readable().len();
        let taken = available.min(usize::try_from(remaining).unwrap_or(usize::MAX));
        stream.consume(taken);
        let remaining = remaining - taken as u64;
        self.phase = if remaining == 0 { Phase::Request } else { Phase::Skip(remaining) };
        if stream.at_end() && remaining > 0 {
            stream.close();
        }
        if taken > 0 { Progress::Further } else { Progress::Wait(Waits::Body) }
    }
}

impl Phase {
    fn after(then: Then, stream: &mut Stream<'_>) -> Self {
        match then {
            Then::Next { skip: 0 } => Self::Request,
            Then::Next { skip } => Self::Skip(skip),
            Then::Close => {
                stream.close_discarding();
                Self::Over
            }
        }
    }
}

/// Passes over line breaks in front of a request, which some clients send behind a body (RFC 9112 §2.2). Left there they would
/// be the beginning of a request, and at the end of the stream a broken one.
fn skip_empty_lines(stream: &mut Stream<'_>) {
    let is_break = |octet: &&u8| matches!(**octet, b'\r' | b'\n');
    loop {
        let breaks = stream.readable().iter().take_while(is_break).count();
        if breaks == 0 {
            return;
        }
        stream.consume(breaks);
    }
}
