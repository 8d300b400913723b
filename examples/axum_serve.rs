//! `axum::serve` on the stack, from a runtime of tokio's: `cargo run --features axum --example axum_serve -- veth0 198.18.0.1/24`, then
//! `curl -d hello http://198.18.0.1/echo` from the other end. Of axum's own first example, the listener is all that changes: where
//! `kernel` is said for an interface, the kernel's sockets are served by the same lines, to compare.

use axum::{
    Router,
    body::Bytes,
    routing,
    serve::{Listener, ListenerExt as _},
};
use std::{fmt::Debug, future::Future, io, time::Duration};
use tokio::net;
use xskip::{Server, runtime::StopSignals};

/// What is served.
fn router() -> Router {
    Router::new()
        .route("/", routing::get(|| async { "hello\n" }))
        .route("/echo", routing::post(|body: Bytes| async { body }))
}

/// Serves until it is to stop, and then to the end of what is at hand.
///
/// # Errors
/// None, as of now: what goes wrong on a connection is that connection's.
pub async fn serve<L: Listener<Addr: Debug>>(
    listener: L,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router()).with_graceful_shutdown(stop).await
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    if interface == "kernel" {
        let listener = net::TcpListener::bind((address.as_str(), 80)).await?;
        let interrupted = async { drop(tokio::signal::ctrl_c().await) };
        return Ok(serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), interrupted).await?);
    }
    let signals = StopSignals::catch()?;
    let server = Server::on(interface).address(address.parse()?).drain(Duration::from_secs(10));
    let (running, remote) = server.start_remote()?;
    let listener = remote.bind(80).await?;
    // Waits for SIGINT or SIGTERM, or for a worker that fails, and ends the stack then: whoever stalls is reset when the drain is over.
    let stack = tokio::task::spawn_blocking(move || running.until(signals));
    serve(listener, remote.draining()).await?;
    stack.await??;
    Ok(())
}
