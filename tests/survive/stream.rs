//! Numbered datagrams from a client, each of which a backend answers: all of them are counted.

use super::{common::PATIENCE, net::Net};
use std::{
    collections::{BTreeSet, HashSet},
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Where backends answer datagrams.
pub const DATAGRAMS: u16 = 7_002;
/// Flows at a time.
const FLOWS: usize = 32;
/// From one datagram to the next, at least.
const PERIOD: Duration = Duration::from_millis(1);
/// How long answers may take that nobody has seen yet.
const GRACE: Duration = Duration::from_secs(5);

/// What all threads share.
#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    is_over: AtomicBool,
    is_at_rest: AtomicBool,
    is_heard: AtomicBool,
}

/// Datagrams that go on until the value is dropped or asked.
pub struct Stream {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<()>>,
    listeners: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Stream {
    /// To the IPv4 VIP, which so many backends have.
    pub fn start(net: &Net, backends: u16) -> Self {
        (1..=backends).for_each(|number| net.serve(&format!("b{number}"), DATAGRAMS));
        Self::to(net, super::net::VIPS[0])
    }

    /// To an address where somebody answers them.
    pub fn to(net: &Net, address: &str) -> Self {
        let vip = SocketAddr::new(address.parse().unwrap(), DATAGRAMS);
        let socket = |_| {
            let socket = net.on("client", || UdpSocket::bind("198.18.0.2:0").unwrap());
            socket.connect(vip).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            Arc::new(socket)
        };
        let sockets: Vec<Arc<UdpSocket>> = (0..FLOWS).map(socket).collect();
        let shared = Arc::new(Shared::default());
        let listen = |socket: &Arc<UdpSocket>| {
            let (socket, shared) = (Arc::clone(socket), Arc::clone(&shared));
            thread::spawn(move || shared.listen(&socket))
        };
        let listeners = sockets.iter().map(listen).collect();
        let its = Arc::clone(&shared);
        let sender = Some(thread::spawn(move || its.send(&sockets)));
        Self { shared, sender, listeners }
    }

    /// Waits until so many more are sent.
    #[track_caller]
    pub fn goes_on(&self, count: u64) {
        let until = self.shared.sent.load(Ordering::Acquire) + count;
        let patience = Instant::now() + PATIENCE;
        while self.shared.sent.load(Ordering::Acquire) < until {
            assert!(Instant::now() < patience, "nothing is sent any more");
            thread::sleep(PERIOD);
        }
    }

    /// Does something while nothing is under way.
    pub fn at_rest(&self, act: impl FnOnce()) {
        self.shared.is_at_rest.store(true, Ordering::Release);
        let (patience, mut before) = (Instant::now() + GRACE, u64::MAX);
        loop {
            let sent = self.shared.sent.load(Ordering::Acquire);
            let is_quiet = sent == before && sent == self.shared.answered.load(Ordering::Acquire);
            if is_quiet || Instant::now() > patience {
                break;
            }
            before = sent;
            thread::sleep(10 * PERIOD);
        }
        act();
        self.shared.is_at_rest.store(false, Ordering::Release);
    }

    /// Sends no more. How many were never answered, and how many flows more than one backend has.
    pub fn end(mut self) -> (u64, usize) {
        self.shared.is_over.store(true, Ordering::Release);
        self.sender.take().unwrap().join().unwrap();
        let sent = self.shared.sent.load(Ordering::Acquire);
        assert!(sent > 100, "{sent}");
        let lost = || sent - self.shared.answered.load(Ordering::Acquire);
        let patience = Instant::now() + GRACE;
        while lost() > 0 && Instant::now() < patience {
            thread::sleep(PERIOD);
        }
        self.shared.is_heard.store(true, Ordering::Release);
        let heard: Vec<_> = self.listeners.drain(..).map(|listener| listener.join().unwrap()).collect();
        (sent - self.shared.answered.load(Ordering::Acquire), heard.iter().filter(|who| who.len() > 1).count())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.is_heard.store(true, Ordering::Release);
    }
}

impl Shared {
    fn send(&self, sockets: &[Arc<UdpSocket>]) {
        while !self.is_over.load(Ordering::Acquire) {
            if self.is_at_rest.load(Ordering::Acquire) {
                thread::sleep(PERIOD);
                continue;
            }
            let number = self.sent.load(Ordering::Relaxed);
            // What the kernel does not send is never answered.
            sockets[number as usize % FLOWS].send(number.to_string().as_bytes()).ok();
            self.sent.store(number + 1, Ordering::Release);
            thread::sleep(PERIOD);
        }
    }

    /// Who has answered.
    fn listen(&self, socket: &UdpSocket) -> BTreeSet<String> {
        let (mut numbers, mut who) = (HashSet::new(), BTreeSet::new());
        let mut datagram = [0; 128];
        while !self.is_heard.load(Ordering::Acquire) {
            let Ok(length) = socket.recv(&mut datagram) else { continue };
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            let (name, number) = text.split_once(' ').unwrap();
            if numbers.insert(number.to_owned()) {
                self.answered.fetch_add(1, Ordering::AcqRel);
            }
            who.insert(name.to_owned());
        }
        who
    }
}
