//! The control socket, served: a line of JSON in, a line of JSON out, and nobody waits for anybody else.

use super::{
    Session,
    protocol::{Answer, MOST, Request},
    socket::Control,
};
use crate::telemetry::metrics::clients::{Client, Clients, PAUSE, Unheard, bell, readable, wait};
use nix::sys::eventfd::EventFd;
use std::{
    io,
    os::unix::net::UnixStream,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Clients at a time.
const CLIENTS: usize = 16;
/// How long a client may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The thread that serves; it ends, and those it has begun, when this is dropped.
pub(super) struct Serving {
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub fn start(session: Arc<Session>, control: Control) -> io::Result<Self> {
        let bell = Arc::new(bell()?);
        let its = Arc::clone(&bell);
        let serve = move || serve(&control, &session, &its);
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

fn serve(control: &Control, session: &Session, bell: &EventFd) {
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
                    clients.begin(scope, Client { stream, bell }, |client| attend(client, session), refuse);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!("a client of the control socket was not accepted: {error}");
                    wait([readable(bell)], Some(Instant::now() + PAUSE));
                }
            }
        }
    });
}

fn full() -> Answer {
    Answer::Refused(format!("{CLIENTS} others are being answered: ask again"))
}

fn attend(client: &mut Client<'_, UnixStream>, session: &Session) {
    let line_end = |said: &[u8]| said.iter().position(|&octet| octet == b'\n');
    let answer = match client.hear(MOST, Instant::now() + PATIENCE, line_end) {
        Ok(request) => match serde_json::from_slice::<Request>(&request) {
            Ok(request) => session.answer(request),
            Err(error) => Answer::Refused(format!("that is no request ({error}): `xskip lb --help` lists them")),
        },
        Err(Unheard::Gone) => return,
        Err(Unheard::TooLong) => {
            Answer::Refused(format!("a request has {MOST} octets at most, its end of line included"))
        }
        Err(Unheard::TooLate) => {
            Answer::Refused(format!("no whole request came within {} seconds", PATIENCE.as_secs()))
        }
    };
    say(client, &answer, Instant::now() + PATIENCE);
}

fn say(client: &mut Client<'_, UnixStream>, answer: &Answer, deadline: Instant) {
    let Ok(mut line) = serde_json::to_vec(answer) else { return };
    line.push(b'\n');
    client.say(&line, deadline);
}
