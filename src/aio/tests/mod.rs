//! Executors on two stacks that face each other in memory, in virtual time.

mod ending;
mod executing;
mod leaving;
mod remote;
mod streaming;
mod waiting;

use super::*;
use crate::{
    config::StackConfig,
    stack::{LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{InterfaceId, MacAddress},
    worker::{Application, Context, WorkerIndex},
};
use std::{
    cell::RefCell,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PORT: u16 = 80;
const SERVER: u8 = 1;
const CLIENT: u8 = 2;

/// Both addresses of a host.
fn addresses(host: u8) -> [IpAddr; 2] {
    [IpAddr::from([198, 18, 0, host]), format!("2001:2::{host}").parse().unwrap()]
}

/// Where the server listens, by both IP versions.
fn servers() -> [SocketAddr; 2] {
    addresses(SERVER).map(|address| (address, PORT).into())
}

struct Host {
    stack: Stack,
    aio: Option<Aio>,
    due: Option<Instant>,
}

impl Host {
    fn new(host: u8, config: StackConfig) -> Self {
        let own = |(address, prefix): (IpAddr, u8)| LocalAddress {
            cidr: format!("{address}/{prefix}").parse().unwrap(),
            ownership: Ownership::Own,
        };
        let [four, six] = addresses(host);
        let (mac, secrets) = (MacAddress([2, 0, 0, 0, 0, host]), Secrets::from_seed(host.into()));
        Self { stack: Stack::new(config, mac, [(four, 24), (six, 64)].map(own).into(), secrets), aio: None, due: None }
    }

    fn context(&mut self, now: Instant) -> Context<'_> {
        Context::new(now, &mut self.stack, WorkerIndex::ONLY)
    }

    /// One turn, as a worker's.
    fn turn(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
        let cx = &mut Context::new(now, &mut self.stack, WorkerIndex::ONLY);
        let Some(aio) = &mut self.aio else {
            while cx.stack().poll_event().is_some() {}
            return;
        };
        while let Some(event) = cx.stack().poll_event() {
            aio.event(event, cx);
        }
        self.due = aio.on_turn(cx);
    }
}

/// Two hosts on a link.
struct World {
    hosts: [Host; 2],
    now: Instant,
    /// Whether frames are lost.
    is_cut: bool,
}

impl World {
    fn new() -> Self {
        Self::with(StackConfig { max_awake: 0, ..StackConfig::default() })
    }

    fn with(config: StackConfig) -> Self {
        let hosts = [SERVER, CLIENT].map(|host| Host::new(host, config.clone()));
        Self { hosts, now: Instant::from_millis(1_000), is_cut: false }
    }

    fn host(&mut self, number: u8) -> &mut Host {
        &mut self.hosts[usize::from(number) - 1]
    }

    /// Has a host run this; what it returns appears in the end.
    fn start<T: 'static>(&mut self, host: u8, main: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let (returned, now) = (result.clone(), self.now);
        let host = self.host(host);
        let main = async move {
            let output = main.await;
            returned.borrow_mut().replace(output);
        };
        let aio = Aio::new(&mut host.context(now), || main);
        host.aio = Some(aio);
        result
    }

    /// Both hosts have a turn, and what they send arrives. Whether anything goes on.
    fn step(&mut self) -> bool {
        let mut buffer = [0; 1_600];
        let mut goes_on = false;
        for from in 0..2 {
            self.hosts[from].turn(self.now);
            goes_on |= self.hosts[from].due.is_some_and(|due| due <= self.now);
            while let Some(length) = self.hosts[from].stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                goes_on = true;
                if !self.is_cut {
                    self.hosts[1 - from].stack.handle_frame(self.now, InterfaceId::FIRST, &buffer[..length]);
                }
            }
        }
        self.now += Duration::from_micros(10);
        goes_on
    }

    /// Lets everything happen that happens at once.
    fn run(&mut self) {
        for _ in 0..100_000 {
            // What the last frame brought is an event of the next turn.
            if !self.step() && !self.step() {
                return;
            }
        }
        panic!("nobody comes to rest");
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.run();
            self.now = until.min(self.now + Duration::from_millis(1));
        }
        self.run();
    }

    /// Runs both until the client is through.
    #[track_caller]
    fn play<T: 'static>(
        &mut self,
        server: impl Future<Output = ()> + 'static,
        client: impl Future<Output = T> + 'static,
    ) -> T {
        self.start(SERVER, server);
        let result = self.start(CLIENT, client);
        self.finish(&result)
    }

    #[track_caller]
    fn finish<T>(&mut self, result: &RefCell<Option<T>>) -> T {
        for _ in 0..300_000 {
            self.run();
            if let Some(result) = result.take() {
                return result;
            }
            self.now += Duration::from_millis(1);
        }
        panic!("nothing came of it");
    }

    /// Tells a host that it is to end.
    fn drain(&mut self, host: u8) {
        let now = self.now;
        let Host { stack, aio, .. } = self.host(host);
        aio.as_mut().unwrap().draining(&mut Context::new(now, stack, WorkerIndex::ONLY));
    }

    fn stats(&mut self, host: u8) -> Stats {
        self.host(host).aio.as_ref().unwrap().stats()
    }

    /// Connections that a host's stack has.
    fn flows(&mut self, host: u8) -> u32 {
        self.host(host).stack.flow_counts().0
    }
}

/// Serves one connection after the other by tasks of their own.
async fn serve<F: Future + 'static>(each: impl Fn(TcpStream) -> F) {
    let listener = TcpListener::bind(PORT).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        drop(spawn_local(each(stream)));
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; 1_000];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 700]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(all),
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Octets that differ from place to place.
fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// Polls a future once, and drops it.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|task| match future.as_mut().poll(task) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
