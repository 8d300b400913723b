//! Two smoltcp interfaces with a wire in memory between them.
//!
//! How it is used, and why:
//!
//! - The features are the few that are needed (Ethernet, IPv4, TCP): no logging, and one kind of socket, so that telling them
//!   apart costs nothing. It is built with the same flags as ours.
//! - As its documentation advises, all sockets are in one set, and an interface is polled once a batch: all frames in, then the
//!   application, then all frames out. These are the parts of `Interface::poll`, with the application in between, so that it need
//!   not be polled twice a batch.
//! - A poll walks all sockets. So a batch is as large as there are connections, or 64 where there are fewer: with smaller ones it
//!   would walk the more often, and those at the end of the set would never have their turn.
//! - An application that has many sockets asks each of them whether it has something to read. As all of them do, with batches of
//!   that size, there is nothing that wakers would spare it.
//! - Everything else is as it is by default: no timestamps, no congestion control, which makes it cheaper than it would be with
//!   them; checksums are computed and verified.

mod loads;

pub use loads::{Bulk, Churn, RequestResponse};

use crate::shared::{Buffers, MTU, clock::Clock, port::Batch};
use smoltcp::{
    iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet},
    phy::{self, DeviceCapabilities, Medium},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, IpAddress, IpCidr},
};
use std::time::Duration;

/// The fewest frames that fit in a batch.
const BATCH: usize = 64;

const PORT: u16 = 7;
const CLIENT_PORT: u16 = 5_000;
/// The most connections between two addresses and one port.
pub const MOST: usize = 60_000;

/// What a stack receives and what it sends.
#[derive(Debug)]
struct Device {
    received: Batch,
    sent: Batch,
}

struct Receive<'a>(&'a [u8]);

impl phy::RxToken for Receive<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Transmit<'a>(&'a mut Batch);

impl phy::TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        self.0.push(|chunk| (length, write(&mut chunk[..length])))
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Receive<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Receive<'_>, Transmit<'_>)> {
        // A frame may draw an answer at once, for which there must be room.
        if self.sent.is_full() {
            return None;
        }
        Some((Receive(self.received.take()?), Transmit(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        (!self.sent.is_full()).then_some(Transmit(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + 14;
        capabilities
    }
}

/// One end.
struct End {
    interface: Interface,
    device: Device,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
}

impl End {
    fn new(host: u8, depth: usize) -> Self {
        let mut device = Device { received: Batch::new(depth), sent: Batch::new(depth) };
        let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, host]).into());
        config.random_seed = host.into();
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(198, 18, 0, host), 24)).expect("there is room for one");
        });
        Self { interface, device, sockets: SocketSet::new(Vec::new()), handles: Vec::new() }
    }

    fn add(&mut self, Buffers(octets): Buffers) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; octets]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        self.handles.push(handle);
        handle
    }

    /// A batch in, the application, a batch out.
    fn turn(&mut self, now: Instant, mut application: impl FnMut(&mut tcp::Socket<'static>)) {
        let Self { interface, device, sockets, .. } = self;
        while interface.poll_ingress_single(now, device, sockets) != PollIngressSingleResult::None {}
        for (_, smoltcp::socket::Socket::Tcp(socket)) in sockets.iter_mut() {
            application(socket);
        }
        while !device.sent.is_full() && interface.poll_egress(now, device, sockets) == PollResult::SocketStateChanged {}
    }

    /// Hands what was sent over to the other end, unless that has not taken in what it has.
    fn hand_over(&mut self, to: &mut Self) {
        if to.device.received.is_empty() {
            to.device.received.clear();
            std::mem::swap(&mut self.device.sent, &mut to.device.received);
        }
    }
}

/// The pair.
pub struct Pair {
    client: End,
    server: End,
    clock: Clock,
}

impl Pair {
    /// Two interfaces, and so many open connections between them.
    pub fn new(connections: usize, buffers: Buffers, clock: Clock) -> Self {
        assert!(connections <= MOST, "{connections} connections are more than there are ports");
        let depth = BATCH.max(connections);
        let mut pair = Self { client: End::new(2, depth), server: End::new(1, depth), clock };
        for number in 0..connections {
            let listening = pair.server.add(buffers);
            pair.server.sockets.get_mut::<tcp::Socket>(listening).listen(PORT).expect("the port is good");
            let connecting = pair.client.add(buffers);
            connect(&mut pair.client.interface, pair.client.sockets.get_mut(connecting), number);
        }
        let mut open = 0;
        while open < connections {
            open = 0;
            pair.clock.pass(Duration::from_millis(1));
            pair.step(|_| {}, |socket| open += usize::from(socket.may_send()));
        }
        pair
    }

    /// Gives either end its turn.
    fn step(&mut self, serve: impl FnMut(&mut tcp::Socket<'static>), ask: impl FnMut(&mut tcp::Socket<'static>)) {
        let now = Instant::from_micros(self.clock.now().as_micros() as i64);
        self.server.turn(now, serve);
        self.server.hand_over(&mut self.client);
        let now = Instant::from_micros(self.clock.now().as_micros() as i64);
        self.client.turn(now, ask);
        self.client.hand_over(&mut self.server);
    }
}

/// Opens a connection from the port of this number.
fn connect(interface: &mut Interface, socket: &mut tcp::Socket<'static>, number: usize) {
    let remote = (IpAddress::v4(198, 18, 0, 1), PORT);
    let port = CLIENT_PORT + (number % MOST) as u16;
    socket.connect(interface.context(), remote, port).expect("the ends are good");
}
