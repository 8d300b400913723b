//! A server that takes its leave: `cargo run --example shutdown -- veth0 198.18.0.1/24`, `nc 198.18.0.1 7` from the other end, and
//! then Ctrl-C. Each line is answered; when the server is to end, whoever has nothing under way is told so and let go at
//! once, and whoever is in the middle of a line has ten seconds for the rest of it.

use std::time::Duration;
use xskip::{ConnectionId, Context, Server, Service, Stream, app::Origin};

const DRAIN: Duration = Duration::from_secs(10);

/// The server.
#[derive(Default)]
pub struct Lines {
    is_draining: bool,
}

/// Answers whole lines; whether a part of one is left.
fn answer(line: &mut Vec<u8>, stream: &mut Stream<'_>) -> bool {
    line.extend_from_slice(&stream.readable_pieces().concat());
    stream.consume(stream.readable_len());
    while let Some(end) = line.iter().position(|&octet| octet == b'\n') {
        stream.write(b"you said ");
        stream.write(&line[..=end]);
        line.drain(..=end);
    }
    !line.is_empty()
}

impl Service for Lines {
    /// The line so far.
    type Session = Vec<u8>;

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) -> Vec<u8> {
        Vec::new()
    }

    fn ready(&mut self, line: &mut Vec<u8>, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        let is_amid = answer(line, &mut stream);
        if self.is_draining && !is_amid {
            stream.write(b"bye\n");
            stream.close_discarding();
        } else if stream.at_end() || line.len() > 8_192 {
            stream.close();
        }
    }

    fn draining(&mut self, _: &mut Context<'_>) {
        self.is_draining = true;
    }

    fn drain(&mut self, line: &mut Vec<u8>, id: ConnectionId, cx: &mut Context<'_>) {
        self.ready(line, id, cx);
    }
}

/// The server, which gives connections time to end.
pub fn server(server: Server) -> Server {
    server.port(7).drain(DRAIN)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    server(Server::on(interface).address(address.parse()?)).run(Lines::default)?;
    Ok(())
}
