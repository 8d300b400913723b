//! Header prediction (Jacobson, "4BSD header prediction", 1990): nearly every segment is the next one of its flow, brings data, or
//! an acknowledgment, or both, and changes nothing else. Such a one goes straight to where it belongs; all others climb the
//! ladder of `arrive`, which would come to the same end.

use super::{
    congestion::{Ack, Controller},
    connection::Connection,
    cx::Cx,
    options::Reader,
    receive::Stored,
    signals::Signals,
    state::State,
    timers::Timer,
};
use crate::wire::{LinkHeader, Segment, TcpFlags, ip::Dscp};
use std::time::Duration;

#[cfg(test)]
thread_local! {
    /// Whether the ladder takes no shortcut of its own, so that there is something to compare shortcuts with.
    pub(super) static STEP_BY_STEP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Connection {
    /// Takes in a segment that is what it was expected to be; returns whether it was. Where not, nothing has been done.
    pub(super) fn process_predicted(&mut self, cx: Cx<'_>, link: &LinkHeader, segment: &Segment<'_>) -> bool {
        if !self.expects(segment) {
            return false;
        }
        // As on the ladder: answers follow another link only where the segment brings something new.
        let brings_news = !segment.payload.is_empty() || segment.header.ack != self.send.una();
        if !brings_news && *link != self.link {
            return false;
        }
        self.link = *link;
        self.diffserv.theirs = Dscp::of(segment.traffic_class);
        self.update_ts_recent(segment);
        self.liveness.heard(cx.now);
        if segment.header.ack != self.send.una() {
            self.acknowledged_in_order(cx, segment);
        } else {
            self.send.update_window(segment);
        }
        if !segment.payload.is_empty() {
            self.receive.push(segment.payload);
            self.signals |= Signals::READABLE;
            self.tune_window(cx, segment);
            let advanced = segment.payload.len() as u32;
            self.schedule_ack(cx, Stored { advanced, ack_now: false });
        }
        true
    }

    /// Whether a segment is the next one, and neither it nor anything before it asks for more than to be taken in.
    pub(super) fn expects(&self, segment: &Segment<'_>) -> bool {
        let header = &segment.header;
        let (una, nxt) = (self.send.una(), self.send.nxt());
        let is_plain =
            header.flags.difference(TcpFlags::PSH) == TcpFlags::ACK && header.options.sack.as_slice().is_empty();
        let is_next = header.seq == self.receive.nxt() && segment.payload.len() as u32 <= self.receive.window();
        let acknowledges = header.ack.since(una) <= nxt.since(una);
        // An acknowledgment that neither moves on nor brings data may be a duplicate, which means something.
        let is_news = header.ack != una || !segment.payload.is_empty() || una == nxt;
        let is_timely = match (self.clocks, header.options.timestamps) {
            (None, _) => true,
            (Some(clocks), Some(received)) => !clocks.is_old(received),
            (Some(_), None) => false,
        };
        is_plain && is_next && acknowledges && is_news && is_timely && self.is_undisturbed()
    }

    fn is_undisturbed(&self) -> bool {
        self.state == State::Established
            && self.end.is_none()
            && self.opening.is_none()
            && self.reader == Reader::Application
            && self.sends_in_order()
            && self.receive.is_in_order()
    }

    /// Whether nothing that was sent has been lost, sacked or overtaken, and nothing is awaited but its acknowledgment.
    fn sends_in_order(&self) -> bool {
        !self.persist.is_probing()
            && self.send.window() > 0
            && !self.ecn.is_agreed()
            && self.recovery.is_undisturbed()
            && self.send.is_in_order()
    }

    /// Whether an acknowledgment does no more than release what was sent, in order, or has nothing to release: then the ladder, too,
    /// takes the shortcut, whatever else the segment brings.
    #[inline]
    pub(super) fn acknowledges_in_order(&self, segment: &Segment<'_>) -> bool {
        #[cfg(test)]
        if STEP_BY_STEP.get() {
            return false;
        }
        let header = &segment.header;
        let is_news = header.ack != self.send.una() || self.send.flight_size() == 0;
        is_news && header.options.sack.as_slice().is_empty() && !self.persist.is_due() && self.sends_in_order()
    }

    /// As [`Connection::take_acknowledgment`], where nothing has been lost, sacked or overtaken. Returns whether our FIN is
    /// acknowledged now.
    pub(super) fn acknowledged_in_order(&mut self, cx: Cx<'_>, segment: &Segment<'_>) -> bool {
        let limited = self.send.peak() >= self.congestion.window() / 2;
        let acknowledged = self.send.acknowledge_in_order(segment.header.ack, cx.now);
        self.data_acknowledged(&acknowledged, cx);
        self.send.update_window(segment);
        // Nobody asks for it where the window does not grow.
        let rtt = if limited { self.rtt.smoothed().unwrap_or_default() } else { Duration::ZERO };
        self.congestion.acknowledged(&Ack { octets: acknowledged.octets, limited, now: cx.now, rtt });
        self.timers.cancel(Timer::Reordering);
        self.timers.cancel(Timer::TailProbe);
        acknowledged.fin
    }
}
