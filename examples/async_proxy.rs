//! A TCP proxy in a few lines: `cargo run --features aio --example async_proxy -- veth0 198.18.0.1/24 198.18.0.2:80`, then
//! `curl http://198.18.0.1/` from the other end. tokio's `copy_bidirectional` knows nothing of us: it reads and writes two streams. The
//! example `proxy` moves octets from ring to ring instead, and `xskip::proxy` is one with choice of backends and PROXY headers.

use std::{io, net::SocketAddr, time::Duration};
use tokio::io::copy_bidirectional;
use xskip::{
    Server,
    aio::{self, TcpListener, TcpStream},
};

/// How long the upstream may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes on what either side says, and that it has said all, until both have: for as long as that takes, as there may be reasons to be
/// silent. Who is to be let go for that needs a limit here, or keep-alive (`TcpConfig::keep_alive`) where it is for having vanished.
async fn pass_on(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let connected = aio::timeout(PATIENCE, TcpStream::connect(upstream)).await.map_err(io::Error::from);
    let mut server = match connected.and_then(|connected| connected) {
        Ok(server) => server,
        Err(error) => {
            client.abort();
            return Err(io::Error::new(error.kind(), format!("{upstream} cannot be reached: {error}")));
        }
    };
    // Small pieces are to go on as they came. Who has been reset meanwhile is heard of below, where both sides are told.
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    if let Err(error) = copy_bidirectional(&mut client, &mut server).await {
        // An end in order has been passed on already; any other is passed on as an RST.
        client.abort();
        server.abort();
        return Err(error);
    }
    Ok(())
}

/// Serves on one worker.
pub async fn serve(port: u16, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(port)?;
    loop {
        let (client, peer) = listener.accept().await?;
        aio::spawn_local(async move {
            pass_on(client, upstream).await.unwrap_or_else(|error| eprintln!("{peer}: {error}"));
        });
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, upstream] = <[String; 4]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, and the upstream: veth0 198.18.0.1/24 198.18.0.2:80")?;
    let upstream = upstream.parse()?;
    Server::on(interface).address(address.parse()?).run_async(move || serve(80, upstream))?;
    Ok(())
}
