//! A connection is handed on to whoever translates its segments: whether it is quiet enough, and what has to be known of it.

use super::{
    connection::Connection,
    cx::Cx,
    handshake::{MaxSegment, Terms, mss_for},
    options::Reader,
    state::State,
    timers::Timer,
    timestamps::{OPTION_LEN, OUTDATED_AFTER},
};
use crate::splice::{Busy, Half};

impl Connection {
    /// How it stands, where nothing of it is under way, owed or due; `mtu` is what its way takes. What has come and was neither read nor
    /// acknowledged is as if it had not: it is [`Connection::unread`].
    ///
    /// Where the other connection has such octets (`is_spoken_to`) they go to this peer in segments that acknowledge all that it is owed
    /// an acknowledgment for, and come again until they are acknowledged themselves. So nothing else need.
    ///
    /// # Errors
    /// [`Busy`] says what it is yet to do.
    pub fn half(&self, cx: Cx<'_>, mtu: usize, is_spoken_to: bool) -> Result<Half, Busy> {
        self.check_parting(cx, is_spoken_to)?;
        // TS.Recent is of a segment that began at or before what was acknowledged last (R3 of RFC 7323 §4.3), the first of those unread
        // among them. Each of these, and whatever repeats them, was sent no earlier than that one: its clock shows the same or more, and
        // becomes the same or more than ours shows now. So the hearer, whose TS.Recent is that of the unread octets, never sees it go back.
        let clocks = self.clocks.map(|clocks| clocks.option(cx.now));
        Ok(Half {
            tuple: self.tuple,
            link: self.link,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            sent: self.send.nxt(),
            received: self.acks.last_sent(),
            edge: self.receive.edge(),
            reach: self.send.max_window().max(self.receive.limit()),
            window: self.send.window(),
            peer_scale: self.send.scale(),
            our_scale: self.receive.scale(),
            clocks: clocks.map(|clocks| (clocks.value, clocks.echo)),
            follows: false,
        })
    }

    /// Octets received and not read, from `offset` on, in at most two pieces.
    ///
    /// # Panics
    /// Where they are not all there.
    pub fn unread(&self, offset: usize, length: usize) -> (&[u8], &[u8]) {
        self.receive.readable().range(offset, length)
    }

    /// What has come since the last acknowledgment has to be all that was not read: less, and its sender would not say again what of it
    /// was read; more, and it would not say again what was acknowledged. Nor does it at once where it has heard of it by SACK
    /// (RFC 2018 §8).
    fn check_unread(&self) -> Result<(), Busy> {
        let (unread, last_sent) = (self.readable_len(), self.acks.last_sent());
        let since = self.receive.nxt().since(last_sent);
        if unread > since as usize {
            return Err(Busy::Unread);
        }
        let is_reported = self.receive.may_be_reported(last_sent, since);
        if unread < since as usize || is_reported { Err(Busy::AckOwed) } else { Ok(()) }
    }

    fn check_parting(&self, cx: Cx<'_>, is_spoken_to: bool) -> Result<(), Busy> {
        // Of a clock that was not seen for long, the next time may seem to be an earlier one: half of what is certain is left.
        let is_outdated = self.clocks.is_some() && cx.now >= self.liveness.heard_at() + OUTDATED_AFTER / 2;
        let is_open = self.state == State::Established
            && self.end.is_none()
            && self.reader == Reader::Application
            && !self.send.is_closed()
            && !self.receive.is_finished();
        let unread = self.check_unread();
        let is_answered = self.readable_len() > 0 || is_spoken_to;
        let is_no_matter = |timer| timer == Timer::KeepAlive || (timer == Timer::DelayedAck && is_answered);
        let is_timed = |timer| self.timers.deadline(timer).is_some() && !is_no_matter(timer);
        let owes = self.acks.is_alone() || !(self.acks.is_quiet() || is_answered) || !self.receive.is_in_order();
        let obstacles = [
            (!is_open, Busy::NotOpen),
            (unread == Err(Busy::Unread), Busy::Unread),
            (self.receive.has_holes(), Busy::OutOfOrder),
            (self.has_outstanding() || !self.send.is_quiet(), Busy::Unacknowledged),
            (unread.is_err() || owes, Busy::AckOwed),
            (!self.urgent.is_quiet(), Busy::Urgent),
            (!self.recovery.is_quiet() || Timer::ALL.into_iter().any(is_timed), Busy::Recovering),
            (!self.signals.is_empty(), Busy::Unheard),
            (self.may_be_unknown() && !is_spoken_to, Busy::Unconfirmed),
            (is_outdated, Busy::Outdated),
        ];
        obstacles.into_iter().find(|(stands, _)| *stands).map_or(Ok(()), |(_, busy)| Err(busy))
    }

    /// Whether the peer may not know yet that the connection is open: we opened it, and nothing has come since its SYN-ACK. If our
    /// acknowledgment was lost it says that again, and nobody else can answer it; nobody needs to where data of the other peer do, which
    /// come again until they are acknowledged.
    fn may_be_unknown(&self) -> bool {
        !self.send.has_ever_sent() && self.acks.last_sent().since(self.send.window_seq()) == 1
    }

    /// Whether its peer is to hear that something of it was marked on the way (RFC 3168 §6.1.3).
    pub fn owes_echo(&self) -> bool {
        self.ecn.is_echoing()
    }

    /// What both sides use, and the most that the peer takes, as in its MSS option (RFC 6691 §2).
    pub fn terms(&self) -> Terms {
        let options = self.clocks.map_or(0, |_| OPTION_LEN);
        let mss = u16::try_from(self.send.mss() + options).unwrap_or(u16::MAX);
        let max_segment = MaxSegment::new(mss);
        Terms { timestamps: self.clocks.is_some(), sack: self.sack, ecn: self.ecn.is_agreed(), max_segment }
    }

    /// The most data that its peer may put in a segment, where packets of `mtu` octets were announced to it; and the most that it takes.
    pub fn segment_sizes(&self, mtu: usize) -> (u32, u32) {
        let asked = self.options.max_segment.of(mss_for(self.tuple.remote.address, mtu));
        (self.data_within(asked), self.send.mss())
    }
}
