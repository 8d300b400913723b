//! Why a connection sends nothing now.

use super::{congestion::Controller, connection::Connection, cx::Cx};

crate::drops::named! {
    /// What a connection waits for before it sends more.
    WhyNotSending {
        /// For nothing: it has something to send, and waits for its turn or for room in a ring.
        Turn => "turn",
        /// For the application: it has written nothing more.
        Application => "application",
        /// For the peer's window to open.
        Window => "window",
        /// For acknowledgments: as much is in flight as the congestion window allows.
        Congestion => "congestion",
        /// For acknowledgments, while a loss is repaired.
        Recovery => "recovery",
        /// For acknowledgments: what is left is less than a segment, and another small one is on its way (Nagle's algorithm).
        Nagle => "nagle",
        /// For acknowledgments: so many segments are in flight as are allowed.
        Segments => "segments",
        /// For the end of the handshake.
        Handshake => "handshake",
        /// For the link address of the next hop.
        Neighbour => "neighbour",
        /// For nothing any more: it has ended.
        Ended => "ended",
    }
}

impl Connection {
    /// What it waits for before it sends more data. Acknowledgments and probes it sends at any time.
    pub fn why_not_sending(&self, cx: Cx<'_>) -> WhyNotSending {
        if self.end().is_some() {
            return WhyNotSending::Ended;
        }
        if self.is_opening() {
            return if self.is_resolved() { WhyNotSending::Handshake } else { WhyNotSending::Neighbour };
        }
        if !self.send.wants_to_send() {
            return WhyNotSending::Application;
        }
        let (window, flight) = (self.send.window(), self.send.flight_size());
        let allowance = self.recovery.allowance(self.congestion.window(), self.send.in_flight());
        let has_lost = self.send.flight_size() > self.send.in_flight() + self.send.sacked();
        if window == 0 || (!has_lost && window <= flight) {
            return WhyNotSending::Window;
        }
        if allowance <= self.send.in_flight() {
            let is_repairing = self.recovery.is_active() || has_lost;
            return if is_repairing { WhyNotSending::Recovery } else { WhyNotSending::Congestion };
        }
        if has_lost {
            // What is lost may be as large as a segment, and goes out whole.
            let in_flight = self.send.in_flight();
            let fits = in_flight == 0 || in_flight.saturating_add(self.send.mss()) <= allowance;
            return if fits && !self.recovery.holds_back() { WhyNotSending::Turn } else { WhyNotSending::Recovery };
        }
        if self.send.segments() >= cx.config.max_segments.max(1) {
            return WhyNotSending::Segments;
        }
        let nagle = cx.config.nagle && !self.options.no_delay;
        let may_send = |nagle| self.send.next_new(allowance, nagle).is_some();
        match (may_send(nagle), nagle && may_send(false)) {
            (true, _) => WhyNotSending::Turn,
            (_, true) => WhyNotSending::Nagle,
            // A piece that is too small to be worth sending: either of the two windows cuts it.
            _ if window - flight <= allowance - self.send.in_flight() => WhyNotSending::Window,
            _ => WhyNotSending::Congestion,
        }
    }
}
