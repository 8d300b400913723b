//! A small server on the kernel's sockets: one thread that never blocks but for events.

mod connection;

pub(in crate::bench) use self::connection::{RESPONSE, Service};

use self::connection::{Connection, Next};
use super::ContenderError;
use crate::host::cores;
use nix::{
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
    unistd::{Pid, gettid},
};
use socket2::{Domain, Socket, Type};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections that may wait to be accepted, which is also how many handshakes the kernel keeps in mind.
const BACKLOG: i32 = 4_096;

/// What makes the kernel hold out best. All are settings of the network namespace.
pub(super) const TUNING: [(&str, &str); 8] = [
    ("net/core/somaxconn", "4096"),
    ("net/ipv4/tcp_max_syn_backlog", "4096"),
    ("net/ipv4/tcp_syncookies", "1"),
    // A cookie has room for the window scale and for SACK in the timestamp only.
    ("net/ipv4/tcp_timestamps", "1"),
    // Fewer repetitions to those who never answer.
    ("net/ipv4/tcp_synack_retries", "1"),
    ("net/ipv4/tcp_congestion_control", "reno"),
    // No look-up of the way back for every SYN; the larger of the two counts.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/veth0/rp_filter", "0"),
];

/// How long a connection may take to ask. Clients that went away without a word must not fill the memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often such connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Bytes read at a time.
const READ: usize = 262_144;
/// Connections accepted before those that are there get their turn.
const ACCEPTS: usize = 256;

/// Events of no connection; those of one carry its descriptor.
const STOP: u64 = 1 << 32;
const LISTENER: u64 = 1 << 33;

/// The server at work. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Kernel {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
    id: Pid,
}

impl Kernel {
    /// Starts it in the network namespace of the calling thread.
    pub fn start(addresses: &[SocketAddr], service: Service, core: usize) -> Result<Self, ContenderError> {
        let listen =
            |&address| listener(address).map_err(|error| ContenderError::system(format!("listen on {address}"), error));
        let listeners = addresses.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let failed = |error: nix::Error| ContenderError::system("wait for events", error);
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        let stop = Arc::new(stop);
        let server = Loop::new(listeners, service, stop.clone()).map_err(failed)?;
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name("kernel-server".to_owned()).spawn(move || {
            if let Err(error) = cores::pin(core) {
                tracing::warn!("the server on the kernel's sockets could not be pinned to core {core}: {error}");
            }
            tell.send(gettid()).ok();
            server.run()
        });
        let thread = thread.map_err(|error| ContenderError::system("start the server's thread", error))?;
        let id = told.recv().map_err(|_| ContenderError::Panicked)?;
        Ok(Self { stop, thread: Some(thread), id })
    }

    /// Its thread, which is one of this process.
    pub fn thread(&self) -> Pid {
        self.id
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<(), ContenderError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ContenderError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.stop.write(1).map_err(|error| ContenderError::system("stop the server's thread", error))?;
        let ended = thread.join().map_err(|_| ContenderError::Panicked)?;
        ended.map_err(|error| ContenderError::system("serve on the kernel's sockets", error))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the server before may still be in TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The thread's own.
struct Loop {
    epoll: Epoll,
    listeners: Vec<TcpListener>,
    service: Service,
    connections: HashMap<u64, Connection>,
    swept: Instant,
    /// Open for as long as it is waited for.
    _stop: Arc<EventFd>,
}

impl Loop {
    fn new(listeners: Vec<TcpListener>, service: Service, stop: Arc<EventFd>) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        for (number, listener) in (0..).zip(&listeners) {
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER + number))?;
        }
        let (connections, swept) = (HashMap::new(), Instant::now());
        Ok(Self { epoll, listeners, service, connections, swept, _stop: stop })
    }

    fn run(mut self) -> io::Result<()> {
        let timeout = EpollTimeout::try_from(SWEEP).unwrap_or(EpollTimeout::NONE);
        let mut events = [EpollEvent::empty(); 256];
        let mut buffer = vec![0; READ];
        loop {
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data() {
                    STOP => return Ok(()),
                    number @ LISTENER.. => self.accept((number - LISTENER) as usize, &mut buffer),
                    number => self.go_on(number, &mut buffer),
                }
            }
            if self.swept.elapsed() > SWEEP {
                self.sweep(PATIENCE);
            }
        }
    }

    fn accept(&mut self, listener: usize, buffer: &mut [u8]) {
        for _ in 0..ACCEPTS {
            let stream = match self.listeners[listener].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It ended before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                // Out of descriptors, most likely: to go on is worth more than to wait for the slow.
                Err(_) => return self.sweep(SWEEP),
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            // As a rule the request is there already, and there is nothing to wait for.
            let mut connection = Connection::new(stream, self.service);
            connection.next = connection.go_on(buffer);
            if connection.next == Next::Over {
                continue;
            }
            let number = connection.stream.as_raw_fd() as u64;
            if self.epoll.add(&connection.stream, EpollEvent::new(connection.next.events(), number)).is_ok() {
                self.connections.insert(number, connection);
            }
        }
    }

    fn go_on(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let next = connection.go_on(buffer);
        let waits = next == connection.next || {
            let mut event = EpollEvent::new(next.events(), number);
            next != Next::Over && self.epoll.modify(&connection.stream, &mut event).is_ok()
        };
        connection.next = next;
        if !waits {
            // Closed with it, its descriptor leaves the events by itself.
            self.connections.remove(&number);
        }
    }

    /// Closes what has taken longer than `patience`.
    fn sweep(&mut self, patience: Duration) {
        self.connections.retain(|_, connection| !connection.is_late(patience));
        self.swept = Instant::now();
    }
}
