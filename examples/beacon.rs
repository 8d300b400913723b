//! Datagrams and timers: `cargo run --example beacon -- veth0 198.18.0.1/24 198.18.0.2:9999` sends a numbered datagram there each
//! 100 ms, and says to whoever asks on UDP port 123 how many it has sent.

use std::{net::SocketAddr, time::Duration};
use xskip::{
    ConnectionId, Context, Server, Service,
    app::{Datagram, Origin, Services},
    stack::UdpId,
};

const INTERVAL: Duration = Duration::from_millis(100);

/// The beacon.
pub struct Beacon {
    socket: UdpId,
    collector: SocketAddr,
    sent: u64,
}

impl Beacon {
    /// Binds a socket of its own, and sets the first timer.
    pub fn begin(collector: SocketAddr, cx: &mut Context<'_>) -> Services<Self> {
        let socket = cx.bind_udp(None, 5_000).expect("the port is free in a stack that has just begun");
        cx.timer(cx.now() + INTERVAL, 0);
        Services::new(Self { socket, collector, sent: 0 })
    }
}

impl Service for Beacon {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, (): &mut (), _: ConnectionId, _: &mut Context<'_>) {}

    fn timer(&mut self, _: u64, cx: &mut Context<'_>) {
        match cx.udp(self.socket).send_to(format!("beacon {}\n", self.sent).as_bytes(), self.collector) {
            Ok(()) => self.sent += 1,
            Err(error) => eprintln!("{error}"),
        }
        cx.timer(cx.now() + INTERVAL, 0);
    }

    fn datagram(&mut self, datagram: &Datagram<'_>, answer: &mut Vec<u8>, _: &mut Context<'_>) -> bool {
        let asker = datagram.peer_addr.ip();
        answer.extend(format!("{asker}: {} beacons sent\n", self.sent).as_bytes());
        true
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, collector] = <[String; 4]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, and whom to tell")?;
    let collector = collector.parse()?;
    let server = Server::on(interface).queues([0]).address(address.parse()?).udp_port(123);
    server.start_with(move |cx| Beacon::begin(collector, cx))?.until(xskip::runtime::StopSignals::catch()?)?;
    Ok(())
}
