//! What an application writes: how much, how far ahead of what could be sent, and when it hears of more room.

use super::{connection::Connection, memory::MODEST, state::State};
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

impl Connection {
    /// Octets that may be written now. Zero once our side is closed.
    pub fn writable(&mut self, config: &TcpConfig) -> usize {
        let room = self.room(config);
        // The writer may find it too little for its purpose, and then waits to hear of more.
        self.write_blocked |= room < write_low_water(config);
        room
    }

    fn room(&self, config: &TcpConfig) -> usize {
        match config.thrift {
            _ if !self.accepts_data() => 0,
            Thrift::None => self.send.room(config.send_buffer, ahead(config)),
            Thrift::Sparing => self.send.room(config.send_buffer.min(MODEST), ahead(config)),
            Thrift::Strict => self.send.room_without_growth(config.send_buffer.min(MODEST), ahead(config)),
        }
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

    fn accepts_data(&self) -> bool {
        // What is written before the handshake is over waits for it (RFC 9293 §3.10.2).
        matches!(self.state, State::Established | State::CloseWait | State::SynSent | State::SynReceived)
    }

    /// Queues as much of `data` as there is room for and returns how much that was. Where no room is left,
    /// [`Signals::WRITABLE`](super::Signals::WRITABLE) tells of more.
    pub fn write(&mut self, data: &[u8], config: &TcpConfig) -> usize {
        let room = self.writable(config);
        let length = room.min(data.len());
        self.send.write(&data[..length]);
        self.wrote(length, room);
        length
    }

    /// Lets `fill` write in place into at most `limit` octets of room, in one piece; it returns how many it wrote.
    pub fn write_with(&mut self, limit: usize, config: &TcpConfig, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let room = self.writable(config);
        let spare = self.send.spare(room.min(limit));
        let length = fill(spare).min(spare.len());
        self.send.written(length);
        self.wrote(length, room);
        length
    }

    /// An application that has filled the room to the last octet waits for more, whether it was enough or not.
    fn wrote(&mut self, length: usize, room: usize) {
        self.write_blocked |= length == room;
    }

    /// Moves received data to the sending side without a detour through the application; returns how many octets.
    pub fn forward(&mut self, config: &TcpConfig) -> usize {
        let mut moved = 0;
        loop {
            let room = self.writable(config);
            let front = self.receive.readable().front();
            let length = front.len().min(room);
            if length == 0 {
                return moved;
            }
            self.send.write(&front[..length]);
            self.consume(length);
            moved += length;
        }
    }
}
