//! How much may be in flight. One small trait, so that a controller joins without touching anything else.

mod cubic;
mod reno;
mod slow_start;

pub use self::{cubic::Cubic, reno::Reno};

use self::slow_start::SlowStart;
use crate::{config::CongestionControl, time::Instant};
use std::time::Duration;

/// An acknowledgment of new data, as a controller sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Octets acknowledged.
    pub octets: u32,
    /// Whether the window was what held the sender back; where it was not, it has not been tested and must not grow
    /// (RFC 5681 §3.1, RFC 7661).
    pub limited: bool,
    /// When it came.
    pub now: Instant,
    /// The smoothed round-trip time; zero before the first measurement.
    pub rtt: Duration,
}

/// A congestion controller. All amounts are octets.
///
/// It decides the window alone: which segments are lost is the business of `recovery`, what is sent next that of
/// `transmit`.
pub trait Controller {
    /// The congestion window.
    fn window(&self) -> u32;

    /// The window is to begin with one segment: the handshake has lost too many.
    fn begin_with_one(&mut self);

    /// New data were acknowledged outside recovery.
    fn acknowledged(&mut self, ack: &Ack);

    /// A segment was found lost before its time was out, with `in_flight` outstanding: recovery begins.
    fn lost(&mut self, in_flight: u32);

    /// The peer echoes a router's mark (RFC 3168), with `in_flight` outstanding: nothing is lost, but the window is too large.
    fn marked(&mut self, in_flight: u32);

    /// The retransmission timer expired with `in_flight` outstanding; `first` unless for a segment sent again already.
    fn timed_out(&mut self, in_flight: u32, first: bool);

    /// What was sent has to be sent anew, which is nobody's fault: slow start, up to the window that there was.
    fn restarted(&mut self);

    /// Nothing was sent for a whole retransmission timeout (RFC 5681 §4.1).
    fn idled(&mut self);

    /// The last reduction was spurious, because nothing had been lost: everything is as it was before, or better.
    fn undo(&mut self);

    /// Segments are of `mss` octets from now on. The window stays what it is in octets.
    fn resized(&mut self, mss: u32);
}

/// What is kept of a controller while nothing is sent, octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuietCongestion {
    window: u32,
    threshold: u32,
    /// What else a controller keeps.
    extra: u32,
}

/// Whichever controller was configured.
#[derive(Clone, Debug)]
pub enum Congestion {
    /// [`Cubic`].
    Cubic(Cubic),
    /// [`Reno`].
    Reno(Reno),
}

impl Congestion {
    /// A controller of this kind for segments of `mss` octets.
    pub fn new(kind: CongestionControl, mss: u32) -> Self {
        match kind {
            CongestionControl::Cubic => Self::Cubic(Cubic::new(mss)),
            CongestionControl::Reno => Self::Reno(Reno::new(mss)),
        }
    }

    /// What of it is kept while nothing is sent. A curve that had begun is begun anew afterwards: time in which the window was
    /// not used is no time to grow by (RFC 9438 §5.8).
    pub(super) fn suspend(&self) -> QuietCongestion {
        match self {
            Self::Cubic(cubic) => cubic.suspend(),
            Self::Reno(reno) => reno.suspend(),
        }
    }

    /// The controller of which that was kept.
    pub(super) fn resume(kind: CongestionControl, mss: u32, quiet: &QuietCongestion) -> Self {
        match kind {
            CongestionControl::Cubic => Self::Cubic(Cubic::resume(mss, quiet)),
            CongestionControl::Reno => Self::Reno(Reno::resume(mss, quiet)),
        }
    }

    /// The slow start threshold, octets; `None` before the first loss.
    pub fn threshold(&self) -> Option<u32> {
        Some(self.suspend().threshold).filter(|&threshold| threshold != u32::MAX)
    }

    fn controller(&mut self) -> &mut dyn Controller {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Reno(reno) => reno,
        }
    }
}

impl Controller for Congestion {
    fn window(&self) -> u32 {
        match self {
            Self::Cubic(cubic) => cubic.window(),
            Self::Reno(reno) => reno.window(),
        }
    }

    fn begin_with_one(&mut self) {
        self.controller().begin_with_one();
    }

    fn acknowledged(&mut self, ack: &Ack) {
        self.controller().acknowledged(ack);
    }

    fn lost(&mut self, in_flight: u32) {
        self.controller().lost(in_flight);
    }

    fn marked(&mut self, in_flight: u32) {
        self.controller().marked(in_flight);
    }

    fn timed_out(&mut self, in_flight: u32, first: bool) {
        self.controller().timed_out(in_flight, first);
    }

    fn restarted(&mut self) {
        self.controller().restarted();
    }

    fn idled(&mut self) {
        self.controller().idled();
    }

    fn undo(&mut self) {
        self.controller().undo();
    }

    fn resized(&mut self, mss: u32) {
        self.controller().resized(mss);
    }
}
