//! What is done with a [`Pair`].

use super::{End, PORT, Pair, connect};
use crate::shared::{
    BULK_READ, Buffers, Load,
    clock::Clock,
    echo::{Laps, REQUEST},
};
use smoltcp::socket::tcp;

/// Requests and responses over so many connections, each of which has one request under way at any time.
pub struct RequestResponse {
    pair: Pair,
    laps: Laps,
}

impl RequestResponse {
    /// Opens the connections and sends the first requests.
    pub fn new(connections: usize, clock: Clock) -> Self {
        let mut pair = Pair::new(connections, Buffers::REQUEST, clock);
        for &handle in &pair.client.handles {
            let socket = pair.client.sockets.get_mut::<tcp::Socket>(handle);
            socket.send_slice(&[0; REQUEST]).expect("it is open");
        }
        Self { pair, laps: Laps::default() }
    }
}

impl Load for RequestResponse {
    fn step(&mut self) -> u64 {
        let laps = &mut self.laps;
        self.pair.step(
            |socket| {
                let mut message = [0; REQUEST];
                while socket.recv_queue() >= REQUEST {
                    socket.recv_slice(&mut message).expect("it is open");
                    socket.send_slice(&message).expect("it is open");
                }
            },
            |socket| {
                let mut message = [0; REQUEST];
                while socket.recv_queue() >= REQUEST {
                    socket.recv_slice(&mut message).expect("it is open");
                    if laps.answer(&mut message) {
                        socket.send_slice(&message).expect("it is open");
                    }
                }
            },
        );
        self.laps.responses
    }

    fn finish(mut self: Box<Self>) {
        let connections = self.pair.client.handles.len();
        self.laps.stopping = true;
        while self.laps.stopped < connections {
            self.step();
        }
        self.laps.assert_fair(connections);
    }
}

/// Data from client to server over so many connections, as fast as they go.
pub struct Bulk {
    pair: Pair,
    data: Box<[u8]>,
    room: Box<[u8]>,
    received: u64,
}

impl Bulk {
    /// Opens the connections.
    pub fn new(connections: usize, clock: Clock) -> Self {
        let pair = Pair::new(connections, Buffers::BULK, clock);
        let data = vec![0x55; Buffers::BULK.0].into_boxed_slice();
        Self { pair, data, room: vec![0; BULK_READ].into_boxed_slice(), received: 0 }
    }
}

impl Load for Bulk {
    fn step(&mut self) -> u64 {
        let Self { pair, data, room, received } = self;
        pair.step(
            |socket| {
                while socket.can_recv() {
                    *received += socket.recv_slice(room).expect("it is open") as u64;
                }
            },
            |socket| {
                if socket.can_send() {
                    socket.send_slice(data).expect("it is open");
                }
            },
        );
        self.received
    }
}

/// Connections that are opened, closed by the client, closed by the server, and opened anew. A socket in TIME-WAIT may be used for
/// another connection at once, so nothing is kept of the one before.
pub struct Churn {
    pair: Pair,
    opened: usize,
    closed: u64,
}

impl Churn {
    /// So many connections at once.
    pub fn new(connections: usize, clock: Clock) -> Self {
        Self { pair: Pair::new(connections, Buffers::REQUEST, clock), opened: connections, closed: 0 }
    }
}

impl Load for Churn {
    fn step(&mut self) -> u64 {
        self.pair.step(
            |socket| match socket.state() {
                tcp::State::CloseWait => socket.close(),
                tcp::State::Closed => socket.listen(PORT).expect("the port is good"),
                _ => {}
            },
            |socket| {
                if socket.state() == tcp::State::Established {
                    socket.close();
                }
            },
        );
        // Whoever has come to TIME-WAIT has acknowledged the server's FIN by now.
        let End { interface, sockets, .. } = &mut self.pair.client;
        for (_, smoltcp::socket::Socket::Tcp(socket)) in sockets.iter_mut() {
            if socket.state() == tcp::State::TimeWait {
                connect(interface, socket, self.opened);
                self.opened += 1;
                self.closed += 1;
            }
        }
        self.closed
    }
}
