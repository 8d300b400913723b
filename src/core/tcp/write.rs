//! What an application writes: how much, how far ahead of what could be sent, and when it hears of more room.

use super::{byte_ring::ByteRing, connection::Connection, memory::MODEST, send::SendSide, state::State};
use crate::config::{TcpConfig, Thrift};

/// Less than this of [`TcpConfig::write_ahead`] would keep an application from writing its messages in one piece, octets.
const LEAST_AHEAD: usize = 4_096;

/// How far an application may write ahead.
fn ahead(config: &TcpConfig) -> usize {
    if config.thrift == Thrift::None { config.write_ahead.max(LEAST_AHEAD) } else { LEAST_AHEAD }
}

/// Octets of room from which on a blocked writer is told that it may write (SO_SNDLOWAT of other stacks). Never zero: a writer would
/// be told of no room at all, again and again.
fn write_low_water(config: &TcpConfig) -> usize {
    (config.send_buffer.min(ahead(config)) / 2).max(1)
}

/// What a connection may write, while somebody else looks at what it has received: see [`Connection::split`].
#[derive(Debug)]
pub struct Writer<'a> {
    send: &'a mut SendSide,
    write_blocked: &'a mut bool,
    accepts_data: bool,
    config: &'a TcpConfig,
}

impl Writer<'_> {
    /// Octets that may be written now. Zero once our side is closed.
    #[inline]
    pub fn room(&self) -> usize {
        room(self.send, self.accepts_data, self.config)
    }

    /// Octets that may be written now; where they are few, there will be word of more.
    #[inline]
    pub fn room_or_wait(&mut self) -> usize {
        let room = self.room();
        // The writer may find it too little for its purpose, and then waits to hear of more.
        *self.write_blocked |= room < write_low_water(self.config);
        room
    }

    /// Queues as much of `data` as there is room for and returns how many octets that was. Where no room is left, there will be word
    /// of more.
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> usize {
        let room = self.room_or_wait();
        let length = room.min(data.len());
        self.send.write(&data[..length]);
        self.wrote(length, room);
        length
    }

    /// Lets `fill` write in place into at most `limit` octets of room, in one piece; it returns how many it wrote.
    pub fn write_with(&mut self, limit: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let room = self.room_or_wait();
        let spare = self.send.spare(room.min(limit));
        let length = fill(spare).min(spare.len());
        self.send.written(length);
        self.wrote(length, room);
        length
    }

    /// An application that has filled the room to the last octet waits for more, whether it was enough or not.
    #[inline]
    fn wrote(&mut self, length: usize, room: usize) {
        *self.write_blocked |= length == room;
    }
}

fn room(send: &SendSide, accepts_data: bool, config: &TcpConfig) -> usize {
    match config.thrift {
        _ if !accepts_data => 0,
        Thrift::None => send.room(config.send_buffer, ahead(config)),
        Thrift::Sparing => send.room(config.send_buffer.min(MODEST), ahead(config)),
        Thrift::Strict => send.room_without_growth(config.send_buffer.min(MODEST), ahead(config)),
    }
}

impl Connection {
    #[inline]
    fn writer<'a>(&'a mut self, config: &'a TcpConfig) -> Writer<'a> {
        let accepts_data = self.accepts_data();
        Writer { send: &mut self.send, write_blocked: &mut self.write_blocked, accepts_data, config }
    }

    /// What was received, in at most two pieces, and what may be written, to be used side by side.
    pub fn split<'a>(&'a mut self, config: &'a TcpConfig) -> ([&'a [u8]; 2], Writer<'a>) {
        let accepts_data = self.accepts_data();
        let writer = Writer { send: &mut self.send, write_blocked: &mut self.write_blocked, accepts_data, config };
        (pieces(self.receive.readable()), writer)
    }

    /// Received data, in at most two pieces.
    pub fn readable_pieces(&self) -> [&[u8]; 2] {
        pieces(self.receive.readable())
    }

    /// Octets that may be written now. Zero once our side is closed.
    #[inline]
    pub fn room(&self, config: &TcpConfig) -> usize {
        room(&self.send, self.accepts_data(), config)
    }

    /// Octets that may be written now; where they are few, [`Signals::WRITABLE`](super::Signals::WRITABLE) tells of more.
    #[inline]
    pub fn room_or_wait(&mut self, config: &TcpConfig) -> usize {
        self.writer(config).room_or_wait()
    }

    /// To be asked when there may be more room: whether a writer that found too little is to be told of it. It is told once.
    #[inline]
    pub fn has_room_again(&mut self, config: &TcpConfig) -> bool {
        self.write_blocked && self.is_above_low_water(config)
    }

    #[inline(never)]
    fn is_above_low_water(&mut self, config: &TcpConfig) -> bool {
        self.write_blocked = self.room(config) < write_low_water(config);
        !self.write_blocked
    }

    /// Whether our side is open to the application's data.
    #[inline]
    pub fn accepts_data(&self) -> bool {
        // What is written before the handshake is over waits for it (RFC 9293 §3.10.2).
        let is_open = matches!(self.state, State::Established | State::CloseWait | State::SynSent | State::SynReceived);
        is_open && !self.send.is_closed()
    }

    /// Queues as much of `data` as there is room for and returns how much that was. Where no room is left,
    /// [`Signals::WRITABLE`](super::Signals::WRITABLE) tells of more.
    #[inline]
    pub fn write(&mut self, data: &[u8], config: &TcpConfig) -> usize {
        self.writer(config).write(data)
    }

    /// Lets `fill` write in place into at most `limit` octets of room, in one piece; it returns how many it wrote.
    pub fn write_with(&mut self, limit: usize, config: &TcpConfig, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        self.writer(config).write_with(limit, fill)
    }

    /// Moves received data to the sending side without a detour through the application; returns how many octets.
    pub fn echo(&mut self, config: &TcpConfig) -> usize {
        let (pieces, mut writer) = self.split(config);
        let moved = write_pieces(pieces, &mut writer);
        if moved > 0 {
            self.consume(moved);
        }
        moved
    }

    /// Moves received data to the sending side of another connection; returns how many octets.
    pub fn splice_to(&mut self, other: &mut Self, config: &TcpConfig) -> usize {
        let moved = write_pieces(pieces(self.receive.readable()), &mut other.writer(config));
        if moved > 0 {
            self.consume(moved);
        }
        moved
    }
}

fn pieces(ring: &ByteRing) -> [&[u8]; 2] {
    let (first, second) = ring.range(0, ring.len());
    [first, second]
}

/// Writes as much of both as there is room for. Nothing to write is no reason to wait for room.
fn write_pieces(pieces: [&[u8]; 2], writer: &mut Writer<'_>) -> usize {
    let mut moved = 0;
    for piece in pieces {
        if piece.is_empty() {
            break;
        }
        let written = writer.write(piece);
        moved += written;
        if written < piece.len() {
            break;
        }
    }
    moved
}
