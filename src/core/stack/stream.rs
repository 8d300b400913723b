//! What an application sees of a connection: two streams of bytes, and when they end.

use super::{ConnectionId, Stack};
use crate::{
    config::KeepAlive,
    tcp::{Connection, Cx, MaxSegment, State, TcpInfo, Terms, Writer},
    time::Instant,
    wire::ip::Dscp,
};
use std::{io, net::SocketAddr, time::Duration};

/// A connection in its application's hands. Nothing here blocks: what cannot be done now is reported as zero octets, and
/// the application is called again when it can. What was done takes effect when the stream is dropped.
///
/// [`io::Read`] and [`io::Write`] are there for codecs that want them, with [`io::ErrorKind::WouldBlock`] for what cannot be done
/// now; reading yields zero at the end of the peer's data.
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

    /// The connection, and what most that is asked of it depends on.
    #[inline]
    fn parts(&mut self) -> (&mut Connection, Cx<'_>) {
        let Stack { connections, config, .. } = &mut *self.stack;
        (&mut connections[self.id.index].connection, config.tcp.at(self.now))
    }

    /// The connection's name.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The time, as the worker's clock showed it when this turn began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The address and port of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection().tuple().remote.into()
    }

    /// Our own address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.connection().tuple().local.into()
    }

    /// The state of RFC 9293 it is in.
    pub fn state(&self) -> State {
        self.connection().state()
    }

    /// What TCP knows of the connection: round-trip time, congestion window, what is in flight.
    pub fn info(&self) -> TcpInfo {
        let entry = &self.stack.connections[self.id.index];
        entry.connection.info(entry.retransmitted)
    }

    /// Received data where they lie. Where the ring wraps this is a part of them, and after [`Stream::consume`] the rest
    /// appears.
    pub fn readable(&self) -> &[u8] {
        self.connection().readable()
    }

    /// All received data where they lie, in at most two pieces: the second one is empty unless the ring wraps.
    pub fn readable_pieces(&self) -> [&[u8]; 2] {
        self.connection().readable_pieces()
    }

    /// All received data as [`Stream::readable_pieces`] has them, and a [`Writer`] beside them: to parse a request where it lies and to
    /// answer it at once. What was parsed is [consumed](Stream::consume) afterwards.
    pub fn split(&mut self) -> ([&[u8]; 2], Writer<'_>) {
        let (connection, cx) = self.parts();
        connection.split(cx.config)
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

    /// Octets that can be written now; zero once our side is closed. Where it is too little, [`Stream::room_or_wait`] has the
    /// application called again.
    pub fn room(&self) -> usize {
        self.connection().room(&self.stack.config.tcp)
    }

    /// Octets that can be written now, as [`Stream::room`] has it. Where that is less than half of the buffer
    /// ([`TcpConfig::write_ahead`](crate::config::TcpConfig::write_ahead)), the application is called again when it is as much: so
    /// whoever waits for room asks for no more than half of it.
    pub fn room_or_wait(&mut self) -> usize {
        let (connection, cx) = self.parts();
        connection.room_or_wait(cx.config)
    }

    /// Queues as much of `data` as there is room for; returns how many bytes. Where no room is left, the application is called
    /// again when there is.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let (connection, cx) = self.parts();
        connection.write(data, cx.config)
    }

    /// Lets `fill` write in place into at most `limit` bytes of room in one piece; it returns how many it wrote, and so
    /// does this.
    pub fn write_with(&mut self, limit: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let (connection, cx) = self.parts();
        connection.write_with(limit, cx.config, fill)
    }

    /// Sends back what was received, as much as there is room for; returns how many octets. For another connection there is
    /// [`Stack::splice`].
    pub fn echo(&mut self) -> usize {
        let (connection, cx) = self.parts();
        connection.echo(cx.config)
    }

    /// Closes our side of it, as [`std::net::Shutdown::Write`] does: the peer sees the end of the data once it has read what was
    /// written. It may go on sending (half-close), and what it sends should be read until [`Stream::at_end`].
    pub fn shutdown_write(&mut self) {
        self.connection_mut().shutdown_write();
    }

    /// Closes both sides. What was written is still delivered; if unread data have come, or more come, the connection is reset
    /// (RFC 9293 SHLD-3).
    pub fn close(&mut self) {
        let (connection, cx) = self.parts();
        connection.close(cx);
    }

    /// Closes both sides as [`Stream::close`] does, but throws away unread data and what still comes, so that a peer that is
    /// not done with sending gets to read our last words (RFC 9112 §9.6 on why servers want this).
    pub fn close_discarding(&mut self) {
        let (connection, cx) = self.parts();
        connection.close_discarding(cx);
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
        let (connection, cx) = self.parts();
        connection.write_urgent(data, cx.config)
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
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.connection_mut().set_nodelay(nodelay);
    }

    /// Has what comes in order wait for its acknowledgment as long as one may be delayed
    /// ([`TcpConfig::delayed_ack`](crate::config::TcpConfig::delayed_ack)), also where it would be sent at once: at the start of a
    /// connection, and for every second segment. For a proxy that is about to name a backend: it may [part](Stack::part_with) with what
    /// has come as long as that is not acknowledged. What comes out of order or fills the window is answered as ever. Off by default; what
    /// waits when it is switched off again is acknowledged at once.
    pub fn hold_acknowledgments(&mut self, hold: bool) {
        let (connection, cx) = self.parts();
        connection.hold_acknowledgments(cx, hold);
    }

    /// Limits the size of segments (TCP_MAXSEG of other stacks). Of a connection that we open, said before its SYN has been sent, it
    /// is what the peer is asked for as well; later it counts for what we send from now on, and makes segments smaller only.
    pub fn set_max_segment(&mut self, limit: MaxSegment) {
        let (connection, cx) = self.parts();
        connection.set_max_segment(limit, cx.config);
    }

    /// What both ends use of what TCP has beyond RFC 9293.
    pub fn terms(&self) -> Terms {
        self.connection().terms()
    }

    /// Has our SYN offer no more than this; whether it is still to be sent. Two connections that use the same may be made one
    /// ([`Stack::part_with`]).
    pub fn offer(&mut self, terms: Terms) -> bool {
        self.connection_mut().offer(terms)
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
        self.stack.apply_effects(self.now, self.id.index);
    }
}

impl io::Read for Stream<'_> {
    /// Octets received; zero at the end of the peer's data, and [`io::ErrorKind::WouldBlock`] where more may come.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match Stream::read(self, buffer) {
            0 if !buffer.is_empty() && !self.at_end() => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

impl io::Write for Stream<'_> {
    /// Octets queued; [`io::ErrorKind::WouldBlock`] where there is no room, and [`io::ErrorKind::BrokenPipe`] once our side is closed.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match Stream::write(self, data) {
            0 if data.is_empty() => Ok(0),
            0 if !self.connection().accepts_data() => Err(io::ErrorKind::BrokenPipe.into()),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }

    /// Nothing: what was written is sent when the stream is dropped.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
