//! What an application sees of a connection: two streams of bytes, and when they end.

use super::{ConnectionId, Stack};
use crate::{
    config::KeepAlive,
    tcp::{Connection, MaxSegment, State},
    time::Instant,
    wire::{Endpoint, ip::Dscp},
};
use std::time::Duration;

/// A connection in its application's hands. Nothing here blocks: what cannot be done now is reported as zero bytes, and
/// the application is called again when it can.
#[derive(Debug)]
pub struct Stream<'a> {
    stack: &'a mut Stack,
    id: ConnectionId,
    now: Instant,
}

impl<'a> Stream<'a> {
    pub(super) fn new(stack: &'a mut Stack, id: ConnectionId, now: Instant) -> Self {
        Self { stack, id, now }
    }

    fn connection(&self) -> &Connection {
        &self.stack.connections[self.id.index].connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.stack.connections[self.id.index].connection
    }

    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The time, as the worker's clock showed it when this turn began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The other end.
    pub fn peer(&self) -> Endpoint {
        self.connection().tuple().remote
    }

    /// Our end.
    pub fn local(&self) -> Endpoint {
        self.connection().tuple().local
    }

    /// The state of RFC 9293 it is in.
    pub fn state(&self) -> State {
        self.connection().state()
    }

    /// Received data where they lie. Where the ring wraps this is a part of them, and after [`Stream::consume`] the rest
    /// appears.
    pub fn readable(&self) -> &[u8] {
        self.connection().readable()
    }

    /// Bytes received and not yet read, in however many pieces they lie.
    pub fn readable_len(&self) -> usize {
        self.connection().readable_len()
    }

    /// Takes `length` bytes of [`Stream::readable`] as read, which opens the window for as many more.
    ///
    /// # Panics
    /// Where fewer have been received.
    pub fn consume(&mut self, length: usize) {
        self.connection_mut().consume(length);
    }

    /// Copies received data into `buffer` and takes them as read; returns how many bytes.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut length = 0;
        while length < buffer.len() {
            let piece = self.readable();
            let taken = piece.len().min(buffer.len() - length);
            if taken == 0 {
                break;
            }
            buffer[length..length + taken].copy_from_slice(&piece[..taken]);
            self.consume(taken);
            length += taken;
        }
        length
    }

    /// Whether the peer has closed its side and everything it sent has been read.
    pub fn at_end(&self) -> bool {
        self.connection().is_at_end()
    }

    /// Whether the peer has closed its side; there may be data left to read.
    pub fn peer_has_closed(&self) -> bool {
        self.connection().peer_has_closed()
    }

    /// Bytes that can be written now. Where that is zero, the application is called again when there is room.
    pub fn writable(&mut self) -> usize {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.writable(&config.tcp)
    }

    /// Queues as much of `data` as there is room for; returns how many bytes. Where no room is left, the application is called
    /// again when there is.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.write(data, &config.tcp)
    }

    /// Lets `fill` write in place into at most `limit` bytes of room in one piece; it returns how many it wrote, and so
    /// does this.
    pub fn write_with(&mut self, limit: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.write_with(limit, &config.tcp, fill)
    }

    /// Sends back what was received, as much as there is room for; returns how many bytes.
    pub fn forward(&mut self) -> usize {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.forward(&config.tcp)
    }

    /// Closes our side: the peer sees the end of the data once it has read what was written. It may go on sending
    /// (half-close), and what it sends should be read until [`Stream::at_end`].
    pub fn finish(&mut self) {
        self.connection_mut().finish();
    }

    /// Closes both sides. What was written is still delivered; if unread data have come, or more come, the connection is reset
    /// (RFC 9293 SHLD-3).
    pub fn close(&mut self) {
        let now = self.now;
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.close(now, &config.tcp);
    }

    /// Closes both sides as [`Stream::close`] does, but throws away unread data and what still comes, so that a peer that is
    /// not done with sending gets to read our last words (RFC 9112 §9.6 on why servers want this).
    pub fn linger(&mut self) {
        let now = self.now;
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.linger(now, &config.tcp);
    }

    /// Ends the connection at once with an RST.
    pub fn abort(&mut self) {
        self.connection_mut().abort();
    }

    /// Bytes to read until urgent data end, which may not all have arrived; `None` where there are none (RFC 9293 §3.8.5).
    pub fn urgent(&self) -> Option<usize> {
        self.connection().urgent()
    }

    /// Writes as [`Stream::write`] does, and tells the peer that everything up to the end of it is urgent. New protocols should
    /// not need this (RFC 6093).
    pub fn write_urgent(&mut self, data: &[u8]) -> usize {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.write_urgent(data, &config.tcp)
    }

    /// Says how much memory the application keeps for this connection, octets: it counts toward [`StackConfig::memory`], as if it
    /// were the connection's own.
    ///
    /// [`StackConfig::memory`]: crate::config::StackConfig::memory
    pub fn keep(&mut self, octets: usize) {
        self.stack.keep(self.now, self.id.index, octets);
    }

    /// Asks the peer while it is idle whether it is still there; `None` for never (MUST-24).
    pub fn set_keep_alive(&mut self, keep_alive: Option<KeepAlive>) {
        self.connection_mut().set_keep_alive(keep_alive);
    }

    /// How long what was written may stay unacknowledged before the connection is given up; `None` for the stack's own limit
    /// (MUST-21).
    pub fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.connection_mut().set_user_timeout(timeout);
    }

    /// Switches Nagle's algorithm off, or on again (MUST-17).
    pub fn set_no_delay(&mut self, no_delay: bool) {
        self.connection_mut().set_no_delay(no_delay);
    }

    /// Limits the size of segments (TCP_MAXSEG of other stacks). Of a connection that we open, said before its SYN has been sent, it
    /// is what the peer is asked for as well; later it counts for what we send from now on, and makes segments smaller only.
    pub fn set_max_segment(&mut self, limit: MaxSegment) {
        let Stack { connections, config, .. } = &mut *self.stack;
        connections[self.id.index].connection.set_max_segment(limit, &config.tcp);
    }

    /// Sets the Differentiated Services code point of everything sent from now on (MUST-48).
    pub fn set_dscp(&mut self, dscp: Dscp) {
        self.connection_mut().set_dscp(dscp);
    }

    /// The code point of the peer's last segment (MAY-9).
    pub fn peer_dscp(&self) -> Dscp {
        self.connection().peer_dscp()
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.stack.settle(self.now, self.id.index);
    }
}
