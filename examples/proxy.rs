//! A TCP proxy, both ways from ring to ring: `cargo run --example proxy -- veth0 198.18.0.1/24 198.18.0.2:80`, then
//! `curl http://198.18.0.1/` from the other end. What one side sends, and its end, goes to the other as fast as that takes it.

use std::{collections::HashMap, net::SocketAddr};
use xskip::{CloseReason, ConnectionId, Context, Server, Service, app::Origin};

/// The proxy.
pub struct Proxy {
    upstream: SocketAddr,
    /// Connections to the upstream that are not open yet, and their clients.
    opening: HashMap<ConnectionId, ConnectionId>,
}

impl Proxy {
    /// To there.
    pub fn to(upstream: SocketAddr) -> Self {
        Self { upstream, opening: HashMap::new() }
    }
}

fn abort(id: ConnectionId, cx: &mut Context<'_>) {
    if let Some(mut stream) = cx.stream(id) {
        stream.abort();
    }
}

impl Service for Proxy {
    /// The other side of a connection; `None` where there will be none.
    type Session = Option<ConnectionId>;

    fn open(&mut self, id: ConnectionId, origin: Origin, cx: &mut Context<'_>) -> Option<ConnectionId> {
        if origin == Origin::Connected {
            return self.opening.remove(&id);
        }
        match cx.connect(self.upstream) {
            Ok(upstream) => {
                self.opening.insert(upstream, id);
                Some(upstream)
            }
            Err(error) => {
                eprintln!("{error}");
                abort(id, cx);
                None
            }
        }
    }

    fn ready(&mut self, other: &mut Option<ConnectionId>, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(other) = *other else { return };
        // Either may wait for this one: for its data, or for its room.
        let there = cx.splice(id, other);
        let back = cx.splice(other, id);
        if let (Some(there), Some(back)) = (there, back)
            && there.ended
            && back.ended
        {
            for id in [id, other] {
                cx.stream(id).as_mut().map(xskip::Stream::close);
            }
        }
    }

    fn failed(&mut self, id: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        eprintln!("the upstream cannot be reached: {reason}");
        if let Some(client) = self.opening.remove(&id) {
            abort(client, cx);
        }
    }

    fn closed(&mut self, other: Option<ConnectionId>, _: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        // An end in order has been passed on already; any other is passed on as an RST.
        if let Some(other) = other.filter(|_| reason != CloseReason::Finished) {
            self.opening.remove(&other);
            abort(other, cx);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, upstream] = <[String; 4]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, and the upstream: veth0 198.18.0.1/24 198.18.0.2:80")?;
    let upstream = upstream.parse()?;
    Server::on(interface).address(address.parse()?).port(80).run(move || Proxy::to(upstream))?;
    Ok(())
}
