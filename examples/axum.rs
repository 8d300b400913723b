//! A router of axum's on the workers: `cargo run --example axum -- veth0 198.18.0.1/24`, then `curl -d hello http://198.18.0.1/echo` from
//! the other end. hyper speaks HTTP, and each worker is an executor with a task for each connection. A handler may wait for whatever
//! wakes it, from any thread; what is tokio's own, such as its timers, takes a runtime of tokio's beside, and its `Handle::enter`.

use axum::{Router, body::Bytes, routing};
use hyper::{
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
};
use hyper_util::service::TowerToHyperService;
use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;
use xskip::{
    Application, ConnectionId, Context, Event, Server, Service, Stream,
    app::{Origin, Services},
    time::Instant,
    worker,
};

/// Octets that wait for hyper at most, and for the stream.
const BUFFER: usize = 64 << 10;

/// What hyper takes for a socket: a session carries between here and its stream.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Buffers>>);

#[derive(Default)]
struct Buffers {
    received: VecDeque<u8>,
    at_end: bool,
    written: VecDeque<u8>,
}

/// Nobody is woken when there is something to read again, or room: the session polls hyper whenever it has carried anything.
impl Read for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut TaskContext<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Buffers { received, at_end, .. } = &mut *self.0.borrow_mut();
        if received.is_empty() && !*at_end {
            return Poll::Pending;
        }
        let piece = received.as_slices().0;
        let length = piece.len().min(into.remaining());
        into.put_slice(&piece[..length]);
        received.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut TaskContext<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = &mut self.0.borrow_mut().written;
        let length = from.len().min(BUFFER - written.len());
        written.extend(&from[..length]);
        if length > 0 || from.is_empty() { Poll::Ready(Ok(length)) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the session closes the stream once what was written is in it
    }
}

/// A connection as hyper has it, its end of the pipe, and what wakes its task.
pub struct Session {
    hyper: Pin<Box<http1::Connection<Pipe, TowerToHyperService<Router>>>>,
    pipe: Pipe,
    waker: Waker,
    is_over: bool,
}

impl Session {
    /// Carries what has come to hyper, lets it go on, and carries what it says to the stream. Whether anything was carried.
    fn advance(&mut self, stream: &mut Stream<'_>) -> bool {
        let mut taken = 0;
        {
            let Buffers { received, at_end, .. } = &mut *self.pipe.0.borrow_mut();
            for piece in stream.readable_pieces() {
                let length = piece.len().min(BUFFER - received.len());
                received.extend(&piece[..length]);
                taken += length;
            }
            stream.consume(taken);
            *at_end = stream.at_end();
        }
        // An error is the end as well: the peer has gone, or speaks no HTTP, which hyper has told it.
        let task = &mut TaskContext::from_waker(&self.waker);
        self.is_over = self.is_over || self.hyper.as_mut().poll(task).is_ready();
        let written = &mut self.pipe.0.borrow_mut().written;
        let waiting = written.len();
        while !written.is_empty() {
            match stream.write(written.as_slices().0) {
                0 => break, // called again once there is room
                length => drop(written.drain(..length)),
            }
        }
        taken > 0 || written.len() < waiting
    }
}

/// Makes a session of each connection.
pub struct Http {
    router: Router,
    woken: Arc<Mutex<HashSet<ConnectionId>>>,
}

impl Service for Http {
    type Session = Session;

    fn open(&mut self, id: ConnectionId, _: Origin, cx: &mut Context<'_>) -> Session {
        let pipe = Pipe::default();
        let service = TowerToHyperService::new(self.router.clone());
        let hyper = Box::pin(http1::Builder::new().serve_connection(pipe.clone(), service));
        let waker = Waker::from(Arc::new(WakeTask { id, woken: self.woken.clone(), worker: cx.waker() }));
        Session { hyper, pipe, waker, is_over: false }
    }

    fn ready(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        while session.advance(&mut stream) {}
        if session.is_over && session.pipe.0.borrow().written.is_empty() {
            stream.close_discarding();
        }
    }

    fn drain(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        session.hyper.as_mut().graceful_shutdown();
        self.ready(session, id, cx);
    }
}

/// Wakes a connection's task, from any thread.
struct WakeTask {
    id: ConnectionId,
    woken: Arc<Mutex<HashSet<ConnectionId>>>,
    worker: Option<worker::Waker>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("nobody panics with it").insert(self.id);
        self.worker.iter().for_each(worker::Waker::wake);
    }
}

/// The service as an application, which has a turn whenever its worker was woken.
pub struct Axum {
    services: Services<Http>,
    woken: Arc<Mutex<HashSet<ConnectionId>>>,
}

impl Axum {
    /// Serves a router on one worker.
    pub fn new(router: Router) -> Self {
        let woken = Arc::default();
        Self { services: Services::new(Http { router, woken: Arc::clone(&woken) }), woken }
    }
}

impl Application for Axum {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        self.services.event(event, cx);
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let woken = std::mem::take(&mut *self.woken.lock().expect("nobody panics with it"));
        woken.into_iter().for_each(|id| self.services.event(Event::Ready(id), cx));
        self.services.on_turn(cx)
    }

    fn draining(&mut self, cx: &mut Context<'_>) {
        self.services.draining(cx);
    }
}

/// What is served.
pub fn router() -> Router {
    Router::new()
        .route("/", routing::get(|| async { "hello\n" }))
        .route("/echo", routing::post(|body: Bytes| async { body }))
        .route("/later", routing::get(later))
}

/// Answered by another thread, as by a database.
async fn later() -> &'static str {
    let (answer, answered) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        answer.send("from another thread\n")
    });
    answered.await.unwrap_or("nothing came\n")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    let (server, router) = (Server::on(interface).address(address.parse()?).port(80), router());
    server.start_with(move |_| Axum::new(router.clone()))?.until(xskip::runtime::StopSignals::catch()?)?;
    Ok(())
}
