//! A client of many connections: `cargo run --example client -- veth0 198.18.0.1/24 198.18.0.2:80 100` asks for a page that many times
//! at once, each with a time limit, and says how each of them ended.

use std::{collections::BTreeMap, net::SocketAddr, sync::mpsc, time::Duration};
use xskip::{
    CloseReason, ConnectionId, Context, Server, Service,
    app::{Origin, Services},
    time::Instant,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// How one request ended: with so many octets of answer, or why not.
pub type Outcome = Result<usize, String>;

/// The client, which tells outcomes as they come.
pub struct Client(mpsc::Sender<Outcome>);

/// Octets of the answer so far, and until when it is waited for.
pub struct Session {
    received: usize,
    until: Instant,
}

impl Client {
    /// Opens a worker's share of the connections. What is written before they are open goes out when they are.
    pub fn begin(
        target: SocketAddr,
        count: usize,
        outcomes: mpsc::Sender<Outcome>,
        cx: &mut Context<'_>,
    ) -> Services<Self> {
        for _ in (cx.worker().number..count).step_by(cx.worker().workers) {
            let connected = cx.connect(target);
            if let Err(error) = &connected {
                let _ = outcomes.send(Err(error.to_string()));
            }
            if let Some(mut stream) = connected.ok().and_then(|id| cx.stream(id)) {
                stream.write(format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n").as_bytes());
            }
        }
        Services::new(Self(outcomes))
    }
}

impl Service for Client {
    type Session = Session;

    fn open(&mut self, _: ConnectionId, _: Origin, cx: &mut Context<'_>) -> Session {
        Session { received: 0, until: cx.now() + PATIENCE }
    }

    fn ready(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        session.received += stream.readable_len();
        stream.consume(stream.readable_len());
        if stream.at_end() {
            stream.close();
        }
    }

    fn deadline(&self, session: &Session) -> Instant {
        session.until
    }

    fn overdue(&mut self, _: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        cx.stream(id).as_mut().map(xskip::Stream::abort);
    }

    fn failed(&mut self, _: ConnectionId, reason: CloseReason, _: &mut Context<'_>) {
        let _ = self.0.send(Err(reason.to_string()));
    }

    fn closed(&mut self, session: Session, _: ConnectionId, reason: CloseReason, _: &mut Context<'_>) {
        let is_whole = reason == CloseReason::Finished && session.received > 0;
        let _ = self.0.send(if is_whole { Ok(session.received) } else { Err(reason.to_string()) });
    }
}

/// Makes the requests, and returns how each ended.
pub fn ask(server: &Server, target: SocketAddr, count: usize) -> Result<Vec<Outcome>, xskip::RuntimeError> {
    let (sender, outcomes) = mpsc::channel();
    let running = server.start_with(move |cx| Client::begin(target, count, sender.clone(), cx))?;
    let outcomes = outcomes.iter().take(count).collect();
    running.stop()?;
    Ok(outcomes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, target, count] = <[String; 5]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, whom to ask, and how often")?;
    let mut tally = BTreeMap::<String, usize>::new();
    for outcome in ask(&Server::on(interface).address(address.parse()?), target.parse()?, count.parse()?)? {
        *tally.entry(outcome.map_or_else(|reason| reason, |octets| format!("{octets} octets"))).or_default() += 1;
    }
    tally.iter().for_each(|(what, times)| println!("{times:8} {what}"));
    Ok(())
}
