//! What is done with a [`Pair`].

use super::{Application, PORTS, Pair, SPARE};
use crate::shared::{
    BULK_READ, Buffers, Load,
    clock::Clock,
    echo::{Laps, REQUEST},
};
use xskip::{
    stack::{ConnectionId, Event, Stack},
    time::Instant,
};

/// Who asks and who answers.
#[derive(Debug, Default)]
struct Echo {
    laps: Laps,
    opened: Vec<ConnectionId>,
}

impl Application for Echo {
    fn serve(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = stack.stream(now, id)
        {
            let mut message = [0; REQUEST];
            while stream.readable_len() >= REQUEST {
                stream.read(&mut message);
                stream.write(&message);
            }
        }
    }

    fn ask(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = stack.stream(now, id)
        {
            let mut message = [0; REQUEST];
            while stream.readable_len() >= REQUEST {
                stream.read(&mut message);
                if self.laps.answer(&mut message) {
                    stream.write(&message);
                }
            }
        }
    }
}

/// Requests and responses over so many connections, each of which has one request under way at any time.
#[derive(Debug)]
pub struct RequestResponse {
    /// Between whom.
    pub pair: Pair,
    echo: Echo,
}

impl RequestResponse {
    /// Opens the connections and sends the first requests.
    pub fn new(connections: usize, clock: Clock) -> Self {
        let (mut pair, opened) = Pair::open(connections, Buffers::REQUEST, clock);
        let echo = Echo { opened, ..Echo::default() };
        let now = pair.clock.now();
        for &id in &echo.opened {
            let mut stream = pair.client.stream(now, id).expect("it is open");
            stream.write(&[0; REQUEST]);
        }
        Self { pair, echo }
    }
}

impl Load for RequestResponse {
    fn step(&mut self) -> u64 {
        self.pair.step(&mut self.echo);
        self.echo.laps.responses
    }

    fn finish(mut self: Box<Self>) {
        let connections = self.echo.opened.len();
        self.echo.laps.stopping = true;
        while self.echo.laps.stopped < connections {
            self.pair.step(&mut self.echo);
        }
        self.echo.laps.assert_fair(connections);
    }
}

/// Who sends in bulk, and who receives.
#[derive(Debug)]
pub struct Flow {
    data: Box<[u8]>,
    room: Box<[u8]>,
    received: u64,
}

impl Application for Flow {
    fn serve(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = stack.stream(now, id)
        {
            while stream.readable_len() > 0 {
                self.received += stream.read(&mut self.room) as u64;
            }
        }
    }

    fn ask(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = stack.stream(now, id)
        {
            stream.write(&self.data);
        }
    }
}

/// Data from client to server over so many connections, as fast as they go.
#[derive(Debug)]
pub struct Bulk {
    /// Between whom.
    pub pair: Pair,
    /// By whom.
    pub flow: Flow,
}

impl Bulk {
    /// Opens the connections and begins to send.
    pub fn new(connections: usize, clock: Clock) -> Self {
        let (mut pair, opened) = Pair::open(connections, Buffers::BULK, clock);
        let Buffers(octets) = Buffers::BULK;
        let data = vec![0x55; octets].into_boxed_slice();
        let now = pair.clock.now();
        for id in opened {
            // A write that falls short is what makes the stack say when there is room again.
            let mut stream = pair.client.stream(now, id).expect("it is open");
            while stream.write(&data) == octets {}
        }
        Self { pair, flow: Flow { data, room: vec![0; BULK_READ].into_boxed_slice(), received: 0 } }
    }
}

impl Load for Bulk {
    fn step(&mut self) -> u64 {
        self.pair.step(&mut self.flow);
        self.flow.received
    }
}

/// Who opens and closes connections.
#[derive(Debug, Default)]
pub struct Closing {
    /// Connections closed so far.
    pub closed: u64,
}

impl Application for Closing {
    fn serve(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = stack.stream(now, id)
            && stream.at_end()
        {
            stream.close();
        }
    }

    fn ask(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Connected(id) => stack.stream(now, id).expect("it is open").close(),
            Event::Closed(..) => self.closed += 1,
            _ => {}
        }
    }
}

/// Connections that are opened, closed by the client, closed by the server, and opened anew.
#[derive(Debug)]
pub struct Churn {
    pair: Pair,
    closing: Closing,
    connections: usize,
    opened: usize,
}

impl Churn {
    /// So many connections at once.
    pub fn new(connections: usize, clock: Clock) -> Self {
        let pair = Pair::new(connections, Buffers::REQUEST, clock);
        Self { pair, closing: Closing::default(), connections, opened: 0 }
    }
}

impl Load for Churn {
    fn step(&mut self) -> u64 {
        let missing = self.connections - (self.opened - self.closing.closed as usize);
        for _ in 0..missing {
            self.pair.connect(self.opened % (SPARE * PORTS), 1);
            self.opened += 1;
        }
        self.pair.step(&mut self.closing);
        self.closing.closed
    }
}
