//! What the time of a delivery says of what was sent before it (RFC 8985): recent acknowledgment, and how long reordering may
//! take on this path.

use super::{
    micros::{LONGEST_ROUND_TRIP_NANOS, Micros},
    outcome::LossScan,
    rto::CLOCK_GRANULARITY,
};
use crate::{
    time::{Coarse, Instant, nanos},
    wire::SeqNumber,
};
use std::time::Duration;

/// Segments sacked beyond a hole that make a loss where reordering was never seen (DupThresh).
const DUPLICATE_THRESHOLD: u32 = 3;
/// Recoveries without D-SACK after which a wide window for reordering is given up (RFC 8985 §6.2 step 4).
const PATIENT_RECOVERIES: u32 = 16;
/// The widest such window, in quarters of a round trip: what a connection that sleeps can remember.
const MOST_PATIENT: u32 = u8::MAX as u32;
/// How long a minimum of the round-trip time is believed at least: paths change.
const MINIMUM_LIFETIME: Duration = Duration::from_secs(300);

/// A segment that has just been delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    pub end: SeqNumber,
    pub sent_at: Instant,
    /// Its number among all transmissions.
    pub order: u32,
    pub retransmitted: bool,
    /// It was sent again, and the acknowledgment answers an earlier transmission for certain.
    pub answers_earlier: bool,
}

/// The least round-trip time of the last five to ten minutes.
#[derive(Clone, Copy, Debug)]
struct Minimum {
    since: Instant,
    /// Nanoseconds, both.
    current: u64,
    previous: u64,
}

impl Minimum {
    #[inline]
    fn get(&self) -> u64 {
        self.current.min(self.previous).min(LONGEST_ROUND_TRIP_NANOS)
    }

    #[inline]
    fn take(&mut self, rtt: u64, now: Instant) {
        if now >= self.since + MINIMUM_LIFETIME {
            *self = Self { since: now, current: rtt, previous: self.current };
        }
        self.current = self.current.min(rtt);
    }
}

/// The state of RFC 8985 §5.3.
#[derive(Debug)]
pub(super) struct Rack {
    /// RACK.segment, the last sent of all that were delivered: its number among all transmissions.
    ///
    /// The RFC compares times, and sequence numbers where they are equal. Numbered transmissions say the same of what was
    /// sent once, and stay exact where the clock is so coarse that a segment is sent again in the same tick as new ones.
    latest: Option<u32>,
    /// The time of the last delivery, nanoseconds, however long: [`Rack::rtt`] is asked less often than this is set.
    rtt: u64,
    minimum: Option<Minimum>,
    /// RACK.fack: the highest sequence number delivered.
    highest: SeqNumber,
    /// RACK.reordering_seen.
    reordering_seen: bool,
    /// RACK.reo_wnd_mult, the recoveries it still lasts, and the end of the round in which it has grown.
    multiplier: u32,
    patience: u32,
    grown_until: Option<SeqNumber>,
    /// What a time may be behind, because the clock is so coarse.
    tick: Duration,
}

/// What is kept while nothing is in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuietRack {
    rtt: Micros,
    least: Micros,
    since: Coarse,
    multiplier: u8,
    patience: u8,
    reordering_seen: bool,
}

impl Rack {
    pub fn new(una: SeqNumber, tick: Duration) -> Self {
        Self {
            tick,
            latest: None,
            rtt: 0,
            minimum: None,
            highest: una,
            reordering_seen: false,
            multiplier: 1,
            patience: 0,
            grown_until: None,
        }
    }

    /// What of it outlives the flight.
    pub fn suspend(&self) -> QuietRack {
        let span = |it: Minimum| Micros::from(Duration::from_nanos(it.get()));
        let (least, since) = self.minimum.map_or((Micros::NONE, Instant::ZERO), |it| (span(it), it.since));
        QuietRack {
            rtt: self.rtt().into(),
            least,
            since: since.into(),
            multiplier: self.multiplier as u8,
            patience: u8::try_from(self.patience).unwrap_or(u8::MAX),
            reordering_seen: self.reordering_seen,
        }
    }

    /// Goes on from there with a flight that begins at `una`.
    pub fn resume(&mut self, quiet: &QuietRack, una: SeqNumber) {
        let minimum = |least| Minimum { since: quiet.since.into(), current: least, previous: least };
        *self = Self {
            rtt: quiet.rtt.get().map(nanos).unwrap_or_default(),
            minimum: quiet.least.get().map(nanos).map(minimum),
            reordering_seen: quiet.reordering_seen,
            multiplier: quiet.multiplier.into(),
            patience: quiet.patience.into(),
            ..Self::new(una, self.tick)
        };
    }

    /// The highest sequence number delivered.
    pub fn highest(&self) -> SeqNumber {
        self.highest
    }

    /// RACK.rtt: the round-trip time of the last delivery.
    #[inline]
    pub fn rtt(&self) -> Duration {
        Duration::from_nanos(self.rtt.min(LONGEST_ROUND_TRIP_NANOS))
    }

    /// Steps 1 to 3 of §6.2, for one segment.
    pub fn delivered(&mut self, segment: &Delivered, now: Instant) {
        let rtt = now.as_nanos().saturating_sub(segment.sent_at.as_nanos());
        if !segment.retransmitted {
            let first = Minimum { since: now, current: rtt, previous: u64::MAX };
            self.minimum.get_or_insert(first).take(rtt, now);
            self.reordering_seen |= segment.end.precedes(self.highest);
        }
        self.highest = self.highest.latest(segment.end);
        if segment.retransmitted && (segment.answers_earlier || self.is_too_soon(rtt)) {
            return;
        }
        self.rtt = rtt;
        if self.latest.is_none_or(|latest| is_later(segment.order, latest)) {
            self.latest = Some(segment.order);
        }
    }

    /// Whether a round trip would be so short that its end answers an earlier transmission.
    ///
    /// The RFC says shorter than any before, but a probe on a line that has fallen idle may well be the first to meet no queue.
    #[inline]
    fn is_too_soon(&self, rtt: u64) -> bool {
        self.minimum.is_some_and(|minimum| rtt < minimum.get() / 4 * 3)
    }

    /// Whether what was sent again may be answered after so long, as far as is known from what was sent once.
    pub fn is_possible(&self, rtt: Duration) -> bool {
        !self.is_too_soon(nanos(rtt))
    }

    /// Whether what was sent at `sent_at`, as number `order`, is to be taken for lost: it has been overtaken, and has had more time
    /// than is `allowed`. Where it has some left, that is noted.
    #[inline]
    pub fn note_if_lost(
        &self,
        order: u32,
        sent_at: Instant,
        allowed: Duration,
        now: Instant,
        scan: &mut LossScan,
    ) -> bool {
        if !self.has_overtaken(order) {
            return false;
        }
        let deadline = sent_at + allowed;
        if deadline > now {
            let wait = deadline - now;
            scan.wait = Some(scan.wait.map_or(wait, |earlier| earlier.min(wait)));
            return false;
        }
        scan.found = true;
        true
    }

    /// Whether something was delivered that was sent after transmission number `order`.
    #[inline]
    pub fn has_overtaken(&self, order: u32) -> bool {
        self.latest.is_some_and(|latest| is_later(latest, order))
    }

    /// RACK.reo_wnd: how much later than what was sent after it a segment may arrive (§6.2 step 4).
    pub fn window(&self, recovering: bool, sacked: u32, smoothed: Option<Duration>) -> Duration {
        if !self.reordering_seen && (recovering || sacked >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        let least = self.minimum.map_or_else(|| nanos(self.rtt()), |minimum| minimum.get());
        let quarter = Duration::from_nanos(least / 4);
        let most = smoothed.unwrap_or(self.rtt()).max(CLOCK_GRANULARITY);
        // It is compared how long ago a segment was sent, and how long another took that arrived. On a coarse clock the one may
        // look longer by a tick, and the other shorter.
        (quarter.max(CLOCK_GRANULARITY) * self.multiplier).min(most) + 2 * self.tick
    }

    /// What was sent again had not been lost, as the peer says: the window was too small.
    pub fn saw_spurious_retransmission(&mut self, una: SeqNumber, nxt: SeqNumber) {
        if self.grown_until.is_some_and(|end| una.precedes(end)) {
            return; // once a round trip
        }
        self.grown_until = Some(nxt);
        self.multiplier = (self.multiplier + 1).min(MOST_PATIENT);
        self.patience = PATIENT_RECOVERIES;
    }

    /// What was taken for lost has been overtaken only.
    pub fn saw_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// A recovery has ended that was not spurious.
    pub fn recovered(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            self.multiplier = 1;
        }
    }

    /// Forgets what was delivered last: it may have been taken for a later transmission than it was.
    pub fn forget_latest(&mut self) {
        self.latest = None;
    }
}

/// Whether one transmission's number is later than another's, on a circle.
fn is_later(one: u32, other: u32) -> bool {
    SeqNumber::new(other).precedes(SeqNumber::new(one))
}
