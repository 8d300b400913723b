//! Numbered datagrams, there and back: which of them are lost.

use super::ground::{DATAGRAMS, Ground, VIP, backend};
use crate::{
    bench::{BenchError, contender::ContenderError},
    host::{cores, netns::Namespace},
};
use nix::sys::socket::{setsockopt, sockopt};
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Flows that take turns, and the time from one datagram to the next.
const FLOWS: usize = 32;
const STEP: Duration = Duration::from_millis(2);
/// What may wait at a socket, octets.
const WAITING: usize = 4 << 20;
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often whoever waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// Who sends back whatever comes, at all backends. They end when the value is dropped.
pub(super) struct Echoes {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echoes {
    /// At the service's address and at each backend's own, so that an answer comes from where it was asked.
    pub fn start(ground: &Ground, backends: u8, core: usize) -> Result<Self, BenchError> {
        let mut echoes = Self { stop: Arc::default(), threads: Vec::new() };
        for number in 1..=backends {
            for address in [VIP, backend(number)] {
                let socket = bind(ground.host(&format!("b{number}")), address, DATAGRAMS)?;
                let stop = Arc::clone(&echoes.stop);
                echoes.threads.push(spawn(core, move || {
                    let mut datagram = [0; 64];
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                            socket.send_to(&datagram[..length], from).ok();
                        }
                    }
                })?);
            }
        }
        Ok(echoes)
    }
}

impl Drop for Echoes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// How many were sent, and how many of them came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub sent: u64,
    pub answered: u64,
}

/// A client that sends until it is told to end.
pub(super) struct Sender {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Tally>>,
}

impl Sender {
    pub fn start(client: &Namespace, core: usize) -> Result<Self, BenchError> {
        let sockets =
            (0..FLOWS).map(|_| bind(client, Ipv4Addr::UNSPECIFIED, 0)).collect::<Result<Vec<_>, BenchError>>()?;
        for socket in &sockets {
            let set = socket.set_nonblocking(true);
            set.map_err(|error| ContenderError::system("set up a socket for datagrams", error))?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&stop);
        Ok(Self { stop, thread: Some(spawn(core, move || send(&sockets, &its))?) })
    }

    /// Ends it, and says what came of it.
    pub fn finish(mut self) -> Tally {
        self.end()
    }

    fn end(&mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end();
    }
}

fn send(sockets: &[UdpSocket], stop: &AtomicBool) -> Tally {
    let service = SocketAddrV4::new(VIP, DATAGRAMS);
    let (mut sent, mut answered) = (0_u64, HashSet::new());
    let mut hear = || {
        let mut datagram = [0; 64];
        for socket in sockets {
            while let Ok(length) = socket.recv(&mut datagram) {
                if let Ok(number) = datagram[..length].try_into() {
                    answered.insert(u64::from_be_bytes(number));
                }
            }
        }
        answered.len() as u64
    };
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let due = begun + STEP * u32::try_from(sent).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // What cannot even be sent is as lost as any.
        sockets[sent as usize % FLOWS].send_to(&sent.to_be_bytes(), service).ok();
        sent += 1;
        hear();
    }
    let deadline = Instant::now() + PATIENCE;
    while hear() < sent && Instant::now() < deadline {
        thread::sleep(STEP);
    }
    Tally { sent, answered: hear() }
}

fn bind(namespace: &Namespace, address: Ipv4Addr, port: u16) -> Result<UdpSocket, BenchError> {
    let at = SocketAddrV4::new(address, port);
    let bound = namespace.run(|| {
        let socket = UdpSocket::bind(at)?;
        // What a thread is late for is no loss of a balancer's.
        setsockopt(&socket, sockopt::RcvBufForce, &WAITING)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(socket)
    })?;
    Ok(bound.map_err(|error: std::io::Error| ContenderError::system(format!("listen on {at}"), error))?)
}

fn spawn<T: Send + 'static>(
    core: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, BenchError> {
    let pinned = move || {
        if let Err(error) = cores::pin(core) {
            tracing::warn!("a thread could not be pinned to core {core}: {error}");
        }
        work()
    };
    let thread = thread::Builder::new().name("datagrams".to_owned()).spawn(pinned);
    Ok(thread.map_err(|error| ContenderError::system("start a thread for datagrams", error))?)
}
