//! Two of our stacks with a wire in memory between them.

pub mod loads;

use super::{Buffers, MTU, clock::Clock, port::Batch};
use xskip::{
    config::{StackConfig, TcpConfig},
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{Endpoint, InterfaceId, MacAddress},
};

/// Frames that are handed over at once: what a worker takes from its queue.
pub const BATCH: usize = 64;

/// Where the server listens: here and above, since one port of it goes with no more than [`PORTS`] of the client's.
const SERVER_PORT: u16 = 7;
const CLIENT_PORT: u16 = 10_000;
const PORTS: usize = 50_000;
/// Ports of the server's there are in any case: so many that a 4-tuple is not used again while it is in TIME-WAIT.
const SPARE: usize = 4;

/// Connections that are opened at once: fewer than may wait for an application.
const OPENED_AT_ONCE: usize = 1_024;

/// What is done about events. An application of both ends.
pub trait Application {
    /// Something has happened at the server.
    fn serve(&mut self, stack: &mut Stack, now: Instant, event: Event);

    /// Something has happened at the client.
    fn ask(&mut self, stack: &mut Stack, now: Instant, event: Event);
}

/// The pair.
#[derive(Debug)]
pub struct Pair {
    /// Who connects.
    pub client: Stack,
    /// Who listens.
    pub server: Stack,
    /// What they go by.
    pub clock: Clock,
    /// Frames on their way to the server,
    pub there: Batch,
    /// and to the client.
    pub back: Batch,
}

impl Pair {
    /// Two stacks that have room for so many connections. All else is as it is by default: timestamps, SACK, CUBIC.
    pub fn new(connections: usize, buffers: Buffers, clock: Clock) -> Self {
        let config = config(connections, buffers);
        let mut server = stack(&config, 1);
        for port in 0..connections.div_ceil(PORTS).max(SPARE) as u16 {
            server.listen(None, SERVER_PORT + port).unwrap();
        }
        Self { client: stack(&config, 2), server, clock, there: Batch::new(BATCH), back: Batch::new(BATCH) }
    }

    /// Gives either end its turn, as a worker does: a batch in, timers, events, a batch out. Returns whether any frame was sent.
    pub fn step(&mut self, application: &mut impl Application) -> bool {
        self.serve(application);
        self.ask(application);
        self.there.len() + self.back.len() > 0
    }

    /// The server's turn.
    pub fn serve(&mut self, application: &mut impl Application) {
        let now = self.clock.now();
        take_in(&mut self.server, now, &self.there);
        while let Some(event) = self.server.poll_event() {
            application.serve(&mut self.server, now, event);
        }
        let_out(&mut self.server, now, &mut self.back);
    }

    /// The client's turn.
    pub fn ask(&mut self, application: &mut impl Application) {
        let now = self.clock.now();
        take_in(&mut self.client, now, &self.back);
        while let Some(event) = self.client.poll_event() {
            application.ask(&mut self.client, now, event);
        }
        let_out(&mut self.client, now, &mut self.there);
    }

    /// A pair with so many open connections, and their names at the client.
    pub fn open(connections: usize, buffers: Buffers, clock: Clock) -> (Self, Vec<ConnectionId>) {
        let mut pair = Self::new(connections, buffers, clock);
        let mut opened = Opened(Vec::with_capacity(connections));
        // The first connection finds out the server's link-layer address for all of them.
        let mut count = 1;
        while opened.0.len() < connections {
            let first = opened.0.len();
            count = count.min(connections - first);
            pair.connect(first, count);
            while pair.step(&mut opened) {}
            assert_eq!(opened.0.len(), first + count, "all connections are open");
            count = OPENED_AT_ONCE;
        }
        (pair, opened.0)
    }

    /// Opens so many connections, the `first` of them and those that follow.
    pub fn connect(&mut self, first: usize, count: usize) {
        let now = self.clock.now();
        for number in first..first + count {
            let [client, server] = ends(number);
            self.client.connect_from(now, server, client).expect("there is room for it");
        }
    }
}

fn config(connections: usize, buffers: Buffers) -> StackConfig {
    let Buffers(octets) = buffers;
    let tcp = TcpConfig {
        mtu: MTU,
        receive_buffer: octets,
        initial_window: octets,
        send_buffer: octets,
        write_ahead: octets,
        ..TcpConfig::default()
    };
    let default = StackConfig::default();
    let max_connections = default.max_connections.max(connections as u32);
    StackConfig { tcp, max_connections, ..default }
}

fn stack(config: &StackConfig, host: u8) -> Stack {
    let cidr = format!("198.18.0.{host}/24").parse().expect("a good address");
    let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
    // A seed, so that flows lie in their table as they did last time.
    Stack::new(config.clone(), MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
}

/// The two ends of a connection: the client's and the server's.
pub fn ends(number: usize) -> [Endpoint; 2] {
    let end = |host, port: usize| Endpoint { address: [198, 18, 0, host].into(), port: port as u16 };
    [end(2, usize::from(CLIENT_PORT) + number % PORTS), end(1, usize::from(SERVER_PORT) + number / PORTS)]
}

/// Takes in a batch, and lets time pass.
pub fn take_in(stack: &mut Stack, now: Instant, frames: &Batch) {
    stack.handle_frames(now, InterfaceId::FIRST, frames.frames());
    stack.handle_timeout(now);
}

/// Sends a batch.
pub fn let_out(stack: &mut Stack, now: Instant, frames: &mut Batch) {
    frames.clear();
    frames.fill(|buffer| stack.poll_transmit(now, InterfaceId::FIRST, buffer));
}

/// The client's open connections.
struct Opened(Vec<ConnectionId>);

impl Application for Opened {
    fn serve(&mut self, _: &mut Stack, _: Instant, _: Event) {}

    fn ask(&mut self, _: &mut Stack, _: Instant, event: Event) {
        self.0.extend(if let Event::Connected(id) = event { Some(id) } else { None });
    }
}
