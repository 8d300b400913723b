//! An echo server: `cargo run --example echo -- veth0 198.18.0.1/24`, then `nc 198.18.0.1 7` from the other end.

use xskip::{Server, Service, Stream};

struct Echo;

impl Service for Echo {
    type Session = ();

    fn open(&mut self, _: &mut Stream<'_>) {}

    fn ready(&mut self, _: &mut (), stream: &mut Stream<'_>) {
        stream.forward();
        if stream.at_end() {
            stream.close();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (interface, address) = (std::env::args().nth(1).unwrap(), std::env::args().nth(2).unwrap());
    Server::on(interface).address(address.parse()?).port(7).run(|| Echo)?;
    Ok(())
}
