//! What is asked of workers from elsewhere, and the main future that does it.

use super::{pump::Pump, stream::Untaken};
use crate::aio::{self, BindAddr, TcpListener, TcpStream, spawn_local, yield_now};
use async_channel::{Receiver, Sender};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::Poll,
};

/// Requests to one worker that may wait: whoever has more waits for room.
const REQUESTS: usize = 256;

/// What a worker is asked.
pub(super) enum Request {
    /// Listens there, and hands out what comes as long as somebody takes it.
    Bind { place: BindAddr, ring: usize, accepted: Sender<Untaken>, done: Sender<io::Result<()>> },
    /// Opens a connection, unless whoever wants it has gone.
    Connect { local: Option<IpAddr>, remote: SocketAddr, ring: usize, done: Sender<io::Result<Untaken>> },
}

/// Requests from one poll of the dispatcher to the next: others have a turn in between.
const AT_ONCE: usize = 32;

/// The worker's end of its requests. Dropped, it drops what waits there, so that whoever has asked hears that nobody will answer: a channel
/// alone would keep it for as long as there are senders.
pub(super) struct Requests(Receiver<Request>);

impl Drop for Requests {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

/// Room for requests to one worker.
pub(super) fn requests() -> (Sender<Request>, Requests) {
    let (ask, asked) = async_channel::bounded(REQUESTS);
    (ask, Requests(asked))
}

/// Does what is asked, until nobody can ask any more. `drains` is dropped when the worker is told to end.
pub(super) async fn serve(requests: Requests, drains: Sender<Infallible>) {
    spawn_local(async move {
        aio::draining().await;
        drop(drains);
    });
    let mut served = 0;
    while let Ok(request) = requests.0.recv().await {
        match request {
            Request::Bind { place, ring, accepted, done } => drop(spawn_local(bind(place, ring, accepted, done))),
            Request::Connect { local, remote, ring, done } => drop(spawn_local(connect(local, remote, ring, done))),
        }
        served += 1;
        if served % AT_ONCE == 0 {
            yield_now().await;
        }
    }
}

async fn bind(place: BindAddr, ring: usize, accepted: Sender<Untaken>, done: Sender<io::Result<()>>) {
    let mut bound = TcpListener::bind(place);
    if bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        // Whoever had it may have dropped it, and the task that accepted there is about to hear of that.
        yield_now().await;
        bound = TcpListener::bind(place);
    }
    match bound {
        Ok(listener) => {
            // Whoever has asked may have gone; nobody takes what is accepted then.
            let _ = done.try_send(Ok(()));
            accept(listener, ring, accepted).await;
        }
        Err(error) => drop(done.try_send(Err(error))),
    }
}

async fn accept(listener: TcpListener, ring: usize, accepted: Sender<Untaken>) {
    while let Some(Ok((stream, _))) = unless(accepted.closed(), listener.accept()).await {
        if accepted.send(hand_out(stream, ring)).await.is_err() {
            return;
        }
    }
}

async fn connect(local: Option<IpAddr>, remote: SocketAddr, ring: usize, done: Sender<io::Result<Untaken>>) {
    let connecting = async {
        match local {
            Some(local) => TcpStream::connect_from(local, remote).await,
            None => TcpStream::connect(remote).await,
        }
    };
    if let Some(connected) = unless(done.closed(), connecting).await {
        // Whoever wanted it may have gone this very moment.
        let _ = done.send(connected.map(|stream| hand_out(stream, ring))).await;
    }
}

fn hand_out(stream: TcpStream, ring: usize) -> Untaken {
    let (pump, far) = Pump::new(stream, ring);
    drop(spawn_local(pump));
    Untaken::new(far)
}

/// What is wanted, unless it is given up before.
async fn unless<T>(given_up: impl Future<Output = ()>, wanted: impl Future<Output = T>) -> Option<T> {
    let (mut given_up, mut wanted) = (pin!(given_up), pin!(wanted));
    poll_fn(|task| match wanted.as_mut().poll(task) {
        Poll::Ready(wanted) => Poll::Ready(Some(wanted)),
        Poll::Pending => given_up.as_mut().poll(task).map(|()| None),
    })
    .await
}
