//! An echo server: `cargo run --example echo -- veth0 198.18.0.1/24`, then `nc 198.18.0.1 7` from the other end.

use xskip::{ConnectionId, Context, Server, Service, app::Origin};

struct Echo;

impl Service for Echo {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, _: &mut (), id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        stream.echo();
        if stream.at_end() {
            stream.close();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    Server::on(interface).address(address.parse()?).port(7).run(|| Echo)?;
    Ok(())
}
