//! Loss recovery: by what the peer reports (RFC 2018, RFC 6675), and where it reports nothing, by duplicate acknowledgments:
//! fast retransmit and fast recovery (RFC 5681 §3.2, RFC 6582).

use super::{
    congestion::{Ack, Controller},
    send::SendSide,
};
use crate::wire::SeqNumber;
use std::time::Duration;

/// Duplicate acknowledgments that make a loss (RFC 5681 §3.2).
pub(super) const DUPLICATE_THRESHOLD: u32 = 3;

/// Where recovery stands.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Duplicate acknowledgments in a row.
    duplicates: u32,
    /// While recovering: SND.NXT when the loss was found. An acknowledgment that reaches it ends recovery.
    recover: Option<SeqNumber>,
    /// Octets that duplicate acknowledgments say have left the network, which may be replaced by new ones.
    departed: u32,
    /// A segment was just found lost and goes out at once, whatever the congestion window says.
    urgent: bool,
    /// After a timeout: SND.NXT then. Duplicate acknowledgments below it answer our own retransmissions and mean no loss
    /// (RFC 6582 §3.2 step 4, §4.1).
    guard: Option<SeqNumber>,
}

impl Recovery {
    /// Whether a loss is being repaired.
    pub fn is_active(&self) -> bool {
        self.recover.is_some()
    }

    /// Octets that may be in flight beyond the congestion window: for each duplicate acknowledgment a segment has left the
    /// network; the first two let new data go even before a loss is certain (limited transmit, RFC 3042).
    pub fn bonus(&self) -> u32 {
        self.departed
    }

    /// A duplicate acknowledgment has come.
    pub fn duplicate(&mut self, send: &mut SendSide, congestion: &mut impl Controller) {
        self.duplicates += 1;
        self.departed = self.departed.saturating_add(send.mss());
        if self.duplicates == DUPLICATE_THRESHOLD && self.begin(send, congestion) {
            self.lose_first(send);
        }
    }

    /// The peer has reported something new, or sent a duplicate: what its reports make of the rest. `margin` as for
    /// [`SendSide::mark_lost_by_report`].
    pub fn reported(
        &mut self,
        is_duplicate: bool,
        margin: Duration,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) {
        self.duplicates += u32::from(is_duplicate);
        let found = send.mark_lost_by_report(margin);
        if !found && self.duplicates != DUPLICATE_THRESHOLD {
            return;
        }
        let begun = self.begin(send, congestion);
        if begun && !found {
            send.mark_first_lost();
        }
        // The first one goes out at once; the others as the window allows.
        self.urgent |= begun;
    }

    /// Begins recovery, unless it is under way, or what is reported answers our own retransmissions.
    fn begin(&mut self, send: &SendSide, congestion: &mut impl Controller) -> bool {
        if self.is_active() || self.guard.is_some() {
            return false;
        }
        congestion.lost(send.flight_size());
        self.recover = Some(send.nxt());
        true
    }

    /// New data up to SND.UNA were acknowledged; `sack` says whether the peer reports what it has.
    pub fn advanced(&mut self, ack: &Ack, sack: bool, send: &mut SendSide, congestion: &mut impl Controller) {
        self.duplicates = 0;
        self.guard = self.guard.filter(|guard| send.una().precedes(*guard));
        match self.recover {
            None => {
                self.departed = 0;
                congestion.acknowledged(ack);
            }
            Some(recover) if recover.at_or_before(send.una()) => {
                (self.recover, self.departed) = (None, 0);
            }
            // Its reports say what is lost; but a hole that has not been filled yet is at the front for certain.
            Some(_) if sack => {
                if !send.first_was_retransmitted() {
                    self.lose_first(send);
                }
            }
            Some(_) => {
                // A partial acknowledgment: the next hole begins at SND.UNA (RFC 6582 §3.2 step 3). What it acknowledged has
                // left the window, and a full segment that arrived may be replaced.
                self.departed = self.departed.saturating_sub(ack.octets);
                if ack.octets >= send.mss() {
                    self.departed = self.departed.saturating_add(send.mss());
                }
                self.lose_first(send);
            }
        }
    }

    fn lose_first(&mut self, send: &mut SendSide) {
        send.mark_first_lost();
        self.urgent = true;
    }

    /// Whether the next lost segment goes out at once. Asked when it does, so the answer counts once.
    pub fn take_urgency(&mut self) -> bool {
        std::mem::take(&mut self.urgent)
    }

    /// The retransmission timer has expired: everything in flight is taken for lost, and slow start repairs it.
    pub fn timed_out(&mut self, send: &mut SendSide) {
        *self = Self { guard: Some(send.nxt()), ..Self::default() };
        send.mark_all_lost();
    }
}
