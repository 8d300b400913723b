//! Many clients at once: `cargo run --features aio --example clients -- veth0 198.18.0.1/24 198.18.0.2:7 10000` opens that many connections
//! to an echo server. When all are there each says something and hears it back, and the end is a table of what became of them.

use std::{cell::RefCell, collections::BTreeMap, io, net::SocketAddr, rc::Rc, sync::mpsc, time::Duration};
use tokio::sync::Barrier;
use xskip::{
    RuntimeError, Server,
    aio::{self, TcpStream},
};

/// How long the handshake may take, and then the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many clients of a kind there were, by what became of them.
pub type Tally = BTreeMap<String, usize>;

/// One client, which waits for the others once it is connected, or will not be.
async fn converse(target: SocketAddr, number: usize, everybody: &Barrier) -> io::Result<&'static str> {
    let connected = aio::timeout(PATIENCE, TcpStream::connect(target)).await;
    everybody.wait().await;
    let (mut stream, word) = (connected??, format!("I am client {number}\n"));
    stream.write_all(word.as_bytes()).await?;
    stream.shutdown()?;
    let mut heard = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard);
    aio::timeout(PATIENCE, read).await??;
    Ok(if heard == word.as_bytes() { "heard what they said" } else { "heard something else" })
}

/// A worker's share of the clients, as a task each.
async fn share(target: SocketAddr, count: usize, tallies: mpsc::Sender<Tally>) {
    let aio_worker = aio::worker();
    let numbers: Vec<_> = (aio_worker.number..count).step_by(aio_worker.workers).collect();
    let (everybody, tally) = (Rc::new(Barrier::new(numbers.len())), Rc::new(RefCell::new(Tally::new())));
    let task = |number| {
        let (everybody, tally) = (everybody.clone(), tally.clone());
        aio::spawn_local(async move {
            let outcome = converse(target, number, &everybody).await;
            let what = outcome.map_or_else(|error| error.to_string(), str::to_owned);
            *tally.borrow_mut().entry(what).or_default() += 1;
        })
    };
    let tasks: Vec<_> = numbers.into_iter().map(task).collect();
    for task in tasks {
        task.await.ok();
    }
    tallies.send(tally.take()).ok();
}

/// Lets so many clients talk to `target`, and says what became of them. When the last one is through, the server ends.
pub fn converse_all(server: &Server, target: SocketAddr, count: usize) -> Result<Tally, RuntimeError> {
    let (sender, tallies) = mpsc::channel();
    server.run_async(move || share(target, count, sender.clone()))?;
    let mut sum = Tally::new();
    tallies.iter().flatten().for_each(|(what, times)| *sum.entry(what).or_default() += times);
    Ok(sum)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address, target, count] = <[String; 5]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface, an address of its own, whom to talk to, and how many clients")?;
    let server = Server::on(interface).address(address.parse()?);
    for (what, times) in converse_all(&server, target.parse()?, count.parse()?)? {
        println!("{times:8} {what}");
    }
    Ok(())
}
