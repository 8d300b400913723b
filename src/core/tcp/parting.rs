//! A connection is handed on to whoever translates its segments: whether it is quiet enough, and what has to be known of it.

use super::{
    connection::Connection, cx::Cx, handshake::mss_for, options::Reader, state::State, timers::Timer,
    timestamps::OUTDATED_AFTER,
};
use crate::splice::{Busy, Half};

impl Connection {
    /// How it stands, where nothing of it is under way, owed or due; `mtu` is what its way takes.
    ///
    /// # Errors
    /// [`Busy`] says what it is yet to do.
    pub fn half(&self, cx: Cx<'_>, mtu: usize) -> Result<Half, Busy> {
        self.check_parting(cx)?;
        let clocks = self.clocks.map(|clocks| clocks.option(cx.now));
        Ok(Half {
            tuple: self.tuple,
            link: self.link,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            sent: self.send.nxt(),
            received: self.receive.nxt(),
            edge: self.receive.edge(),
            reach: self.send.max_window().max(self.receive.limit()),
            window: self.send.window(),
            peer_scale: self.send.scale(),
            our_scale: self.receive.scale(),
            clocks: clocks.map(|clocks| (clocks.value, clocks.echo)),
            follows: false,
        })
    }

    fn check_parting(&self, cx: Cx<'_>) -> Result<(), Busy> {
        // Of a clock that was not seen for long, the next time may seem to be an earlier one: half of what is certain is left.
        let is_outdated = self.clocks.is_some() && cx.now >= self.liveness.heard_at() + OUTDATED_AFTER / 2;
        let is_open = self.state == State::Established
            && self.end.is_none()
            && self.reader == Reader::Application
            && !self.send.is_closed()
            && !self.receive.is_finished();
        let obstacles = [
            (!is_open, Busy::NotOpen),
            (self.readable_len() > 0, Busy::Unread),
            (self.receive.has_holes(), Busy::OutOfOrder),
            (self.has_outstanding() || !self.send.is_quiet(), Busy::Unacknowledged),
            (self.owes_acknowledgment() || !self.acks.is_quiet() || !self.receive.is_quiet(), Busy::AckOwed),
            (!self.urgent.is_quiet(), Busy::Urgent),
            (!self.recovery.is_quiet() || !self.timers.none_but(Timer::KeepAlive), Busy::Recovering),
            (!self.signals.is_empty(), Busy::Unheard),
            (self.may_be_unknown(), Busy::Unconfirmed),
            (is_outdated, Busy::Outdated),
        ];
        obstacles.into_iter().find(|(stands, _)| *stands).map_or(Ok(()), |(_, busy)| Err(busy))
    }

    /// Whether the peer may not know yet that the connection is open: we opened it, and nothing has come since its SYN-ACK. If our
    /// acknowledgment was lost it says that again, and nobody else can answer it.
    fn may_be_unknown(&self) -> bool {
        !self.send.has_ever_sent() && self.receive.nxt().since(self.send.window_seq()) == 1
    }

    /// Whether both sides use timestamps, SACK and ECN.
    pub fn agreed(&self) -> (bool, bool, bool) {
        (self.clocks.is_some(), self.sack, self.ecn.is_agreed())
    }

    /// The most data that its peer may put in a segment, where packets of `mtu` octets were announced to it; and the most that it takes.
    pub fn segment_sizes(&self, mtu: usize) -> (u32, u32) {
        (self.data_within(mss_for(self.tuple.remote.address, mtu)), self.send.mss())
    }
}
