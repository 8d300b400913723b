//! Round-trip time and the retransmission timeout (RFC 6298).

use super::micros::{LONGEST_ROUND_TRIP_NANOS, Micros};
use crate::{
    config::TcpConfig,
    time::{Instant, nanos},
};
use std::time::Duration;

/// G of RFC 6298 for a clock that is finer: the timer wheel's tick.
pub const CLOCK_GRANULARITY: Duration = Duration::from_millis(1);

/// G of RFC 6298: the tick of the timer wheel, or that of a clock that is coarser.
pub fn granularity(config: &TcpConfig) -> Duration {
    CLOCK_GRANULARITY.max(config.clock_tick)
}

/// The retransmission timeout with which data begin after a SYN, or SYN-ACK, that was lost (RFC 6298 §5.7).
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);

/// Smoothed round-trip time, its variation, and the timeout derived from them.
#[derive(Clone, Debug)]
pub struct RttEstimator {
    /// SRTT and RTTVAR, nanoseconds; `None` before the first measurement.
    smoothed: Option<(u64, u64)>,
    /// Nanoseconds.
    rto: u64,
}

/// What a suspended connection keeps of an [`RttEstimator`], to the microsecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuietRtt {
    srtt: Micros,
    rttvar: Micros,
    rto: Micros,
}

/// RFC 6298 §2.3, in nanoseconds: each acknowledgment asks for it. `None` for the longest that there is (§2.5).
#[inline]
fn timeout(srtt: u64, rttvar: u64, config: &TcpConfig) -> Option<u64> {
    let rto = srtt + (rttvar * 4).max(nanos(granularity(config)));
    let rto = rto.max(nanos(config.rto_min));
    (rto < nanos(config.rto_max)).then_some(rto)
}

impl RttEstimator {
    /// An estimator that knows nothing yet.
    pub fn new(config: &TcpConfig) -> Self {
        Self { smoothed: None, rto: nanos(config.rto_initial) }
    }

    /// What is kept while nothing is measured.
    pub(super) fn suspend(&self) -> QuietRtt {
        let rto = self.rto().into();
        match self.smoothed {
            Some((srtt, rttvar)) => {
                let span = |nanos| Micros::from(Duration::from_nanos(nanos));
                QuietRtt { srtt: span(srtt), rttvar: span(rttvar), rto }
            }
            None => QuietRtt { srtt: Micros::NONE, rttvar: Micros::NONE, rto },
        }
    }

    /// The estimator of which that was kept.
    pub(super) fn resume(quiet: &QuietRtt) -> Self {
        let smoothed = quiet.srtt.get().map(nanos).zip(quiet.rttvar.get().map(nanos));
        Self { smoothed, rto: quiet.rto.get().map(nanos).unwrap_or_default() }
    }

    /// The current retransmission timeout, back-off included.
    #[inline]
    pub const fn rto(&self) -> Duration {
        Duration::from_nanos(self.rto)
    }

    /// When it runs out, if it begins at `at`.
    #[inline]
    pub fn timeout_after(&self, at: Instant) -> Instant {
        Instant::from_nanos(at.as_nanos().saturating_add(self.rto))
    }

    /// The smoothed round-trip time, once one was measured.
    #[inline]
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt, _)| Duration::from_nanos(srtt))
    }

    /// RTTVAR, once there was a measurement.
    pub fn variation(&self) -> Option<Duration> {
        self.smoothed.map(|(_, rttvar)| Duration::from_nanos(rttvar))
    }

    /// Takes in a measurement, of a retransmitted segment only where it is known which transmission was answered (Karn's
    /// algorithm, MUST-18). Ends any back-off.
    pub fn measured(&mut self, rtt: Duration, config: &TcpConfig) {
        let rtt = nanos(rtt);
        let (srtt, rttvar) = match self.smoothed {
            // RFC 6298 §2.2
            None => (rtt, rtt / 2),
            // RFC 6298 §2.3, with alpha = 1/8 and beta = 1/4
            Some((srtt, rttvar)) => ((srtt * 7 + rtt) / 8, (rttvar * 3 + srtt.abs_diff(rtt)) / 4),
        };
        self.smoothed = Some((srtt, rttvar));
        match timeout(srtt, rttvar, config) {
            Some(rto) => self.rto = rto,
            None => self.measured_long(config),
        }
    }

    /// The round trip takes longer than any timeout: it may have been none.
    #[cold]
    fn measured_long(&mut self, config: &TcpConfig) {
        let believed = |nanos: u64| nanos.min(LONGEST_ROUND_TRIP_NANOS);
        self.smoothed = self.smoothed.map(|(srtt, rttvar)| (believed(srtt), believed(rttvar)));
        self.rto = nanos(config.rto_max);
    }

    /// The retransmission timeout as it was last measured.
    pub fn without_back_off(&self, config: &TcpConfig) -> Duration {
        let Some((srtt, rttvar)) = self.smoothed else { return config.rto_initial };
        timeout(srtt, rttvar, config).map_or(config.rto_max, Duration::from_nanos)
    }

    /// Data begin after a SYN, or SYN-ACK, whose timer had expired: until something is measured, the timeout is three seconds at
    /// least, because that of a second may have been too short for this path (RFC 6298 §5.7).
    pub fn restart_after_lost_syn(&mut self, config: &TcpConfig) {
        let rto = config.rto_initial.max(RTO_AFTER_LOST_SYN).min(config.rto_max);
        *self = Self { smoothed: None, rto: nanos(rto) };
    }

    /// Doubles the timeout after it has expired (RFC 6298 §5.5).
    pub fn back_off(&mut self, config: &TcpConfig) {
        self.rto = (2 * self.rto).min(nanos(config.rto_max));
    }
}
