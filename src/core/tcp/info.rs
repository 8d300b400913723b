//! What TCP knows of a connection, for whoever wants to look.

use super::{Connection, State};
use crate::{time::Instant, wire::SeqNumber};
use std::time::Duration;

/// A snapshot of a connection's control block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The state of RFC 9293 §3.3.2.
    pub state: State,
    /// The smoothed round-trip time (RFC 6298), once one was measured.
    pub round_trip_time: Option<Duration>,
    /// How much it varies: RTTVAR of RFC 6298, once one was measured.
    pub round_trip_variation: Option<Duration>,
    /// The retransmission timeout, back-off included (RFC 6298).
    pub retransmission_timeout: Duration,
    /// The congestion window, octets (RFC 5681).
    pub congestion_window: u32,
    /// The slow start threshold, octets (RFC 5681); `None` before the first loss.
    pub slow_start_threshold: Option<u32>,
    /// Octets sent and not acknowledged: SND.NXT - SND.UNA (RFC 9293 §3.3.1).
    pub bytes_in_flight: u32,
    /// Of these, octets taken for lost and not sent again yet.
    pub lost: u32,
    /// Of these, octets that the peer has reported out of order (SACK, RFC 2018).
    pub sacked: u32,
    /// The window that the peer grants, octets: SND.WND (RFC 9293 §3.3.1).
    pub send_window: u32,
    /// The most data in one of our segments, octets: SMSS of RFC 5681 §2, options taken off.
    pub mss: u32,
    /// Segments sent again. Counted anew when the connection has slept ([`StackConfig::max_awake`]).
    ///
    /// [`StackConfig::max_awake`]: crate::config::StackConfig::max_awake
    pub retransmitted: u32,
    /// Octets received that the application has not read.
    pub unread: usize,
    /// Octets written that the peer has not acknowledged.
    pub unacknowledged: usize,
    /// Of these, octets never sent.
    pub unsent: usize,
    /// Whether segments carry timestamps (RFC 7323).
    pub timestamps: bool,
    /// Whether what comes out of order is reported (RFC 2018).
    pub sack: bool,
    /// Whether windows are scaled (RFC 7323).
    pub window_scaling: bool,
    /// The scale of the windows that the peer grants, and of those that it is granted (RFC 7323): shifts, 0 for none.
    pub window_scales: (u8, u8),
    /// SND.UNA and RCV.NXT (RFC 9293 §3.3.1): how far the octets of both directions have got. Two looks make a rate.
    pub reached: (SeqNumber, SeqNumber),
    /// When the peer was last heard.
    pub heard: Instant,
}

impl Connection {
    /// What TCP knows of it. Who sends its segments counts those that are sent again.
    pub fn info(&self, retransmitted: u32) -> TcpInfo {
        TcpInfo {
            state: self.state(),
            round_trip_time: self.rtt.smoothed(),
            round_trip_variation: self.rtt.variation(),
            retransmission_timeout: self.rtt.rto(),
            congestion_window: self.congestion_window(),
            slow_start_threshold: self.congestion.threshold(),
            bytes_in_flight: self.send.flight_size(),
            lost: self.send.flight_size().saturating_sub(self.send.in_flight() + self.send.sacked()),
            sacked: self.send.sacked(),
            send_window: self.send.window(),
            mss: self.send.mss(),
            retransmitted,
            unread: self.readable_len(),
            unacknowledged: self.send.buffered(),
            unsent: self.send.buffered().saturating_sub(self.send.flight_size() as usize),
            timestamps: self.clocks.is_some(),
            sack: self.sack,
            window_scaling: self.receive.scale() > 0 || self.send.is_scaled(),
            window_scales: (self.send.scale(), self.receive.scale()),
            reached: (self.send.una(), self.receive.nxt()),
            heard: self.liveness.heard_at(),
        }
    }
}
