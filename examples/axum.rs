//! A router of axum's on the workers, by `xskip::aio`: `cargo run --features aio --example axum -- veth0 198.18.0.1/24`, then
//! `curl -d hello http://198.18.0.1/echo` from the other end. hyper speaks HTTP, and each connection is a task of its worker.

use axum::{Router, body::Bytes, routing};
use hyper::server::conn::http1;
use hyper_util::service::TowerToHyperService;
use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    time::Duration,
};
use xskip::{
    Server,
    aio::{self, HyperTimer, TcpListener, TcpStream},
};

/// What is served.
pub fn router() -> Router {
    Router::new()
        .route("/", routing::get(|| async { "hello\n" }))
        .route("/echo", routing::post(|body: Bytes| async { body }))
}

/// Serves the router on one worker.
///
/// # Errors
/// Where the port cannot be listened on.
pub async fn serve(router: Router) -> io::Result<()> {
    let listener = TcpListener::bind(80)?;
    loop {
        let (stream, _) = listener.accept().await?;
        aio::spawn_local(converse(stream, router.clone()));
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(HyperTimer).header_read_timeout(Duration::from_secs(30));
    let mut connection = pin!(http.serve_connection(stream, TowerToHyperService::new(router)));
    let mut draining = pin!(aio::draining());
    // Once the server is to end, the request at hand is the last one.
    let mut is_told = false;
    let ended = poll_fn(|task| {
        if !is_told && draining.as_mut().poll(task).is_ready() {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(task)
    });
    // An error is the end as well: the peer has gone, or speaks no HTTP, which hyper has told it.
    let _: Result<(), hyper::Error> = ended.await;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    let (server, router) = (Server::on(interface).address(address.parse()?), router());
    server.drain(Duration::from_secs(10)).run_async(move || serve(router.clone()))?;
    Ok(())
}
