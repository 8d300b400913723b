//! The sending side: what the application wrote, what of it is in flight, and what the peer has room for.
//!
//! ```text
//!         acknowledged │      in flight       │  may be sent  │ beyond the window
//!     ─────────────────┼──────────────────────┼───────────────┼──────────────────▶ sequence numbers
//!                   SND.UNA                SND.NXT    SND.UNA + SND.WND
//! ```

pub use super::flight::{AckTime, Acknowledged, LossScan, Resent, SendRange};

mod suspend;

pub(super) use self::suspend::QuietSend;

use super::{
    byte_ring::{ByteRing, MIN_CAPACITY},
    flight::Flight,
    rack::Rack,
};
use crate::{
    time::Instant,
    wire::{Segment, SeqNumber, TcpFlags},
};
use std::time::Duration;

/// Whether our side has been closed, and how far that has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Open,
    /// The application has closed; the FIN follows the last octet.
    Queued,
    Sent,
    Acknowledged,
}

/// The sending side of a connection.
#[derive(Debug)]
pub struct SendSide {
    /// SND.UNA: the oldest unacknowledged octet.
    una: SeqNumber,
    /// SND.NXT: the next octet to send.
    nxt: SeqNumber,
    /// SND.WND: what the peer has room for from SND.UNA on.
    window: u32,
    /// The largest window the peer ever offered: MAX.SND.WND.
    max_window: u32,
    /// SND.WL1 and SND.WL2: sequence and acknowledgment number of the segment that last set the window.
    window_seq: SeqNumber,
    window_ack: SeqNumber,
    /// The peer's window scale.
    scale: u8,
    /// Eff.snd.MSS: the most data in one segment (MUST-16).
    mss: u32,
    /// Data from SND.UNA on, sent or not.
    buffer: ByteRing,
    flight: Flight,
    fin: Fin,
    /// The end of the last segment sent that was smaller than the MSS (Minshall's variant of Nagle's algorithm).
    small_end: SeqNumber,
    last_sent: Instant,
    peak: Peak,
}

/// The most octets in flight, by round trips: acknowledgments that come in one batch drain the flight before the next segment
/// replaces what they acknowledge, so what is in flight at one moment says little.
#[derive(Clone, Copy, Debug)]
struct Peak {
    last: u32,
    current: u32,
    /// SND.NXT when the current round trip began.
    until: SeqNumber,
}

impl SendSide {
    /// Whether the peer's windows are scaled.
    pub(super) fn is_scaled(&self) -> bool {
        self.scale > 0
    }

    /// The side of a connection whose SYN took sequence number `iss` and is acknowledged; the peer's took `irs`. The window
    /// is shut until the acknowledgment that ended the handshake has been taken in. The clock shows a new time every `tick`.
    pub fn new(iss: SeqNumber, irs: SeqNumber, mss: u32, scale: u8, now: Instant, tick: Duration) -> Self {
        let una = iss.advance(1);
        Self {
            una,
            nxt: una,
            window: 0,
            max_window: 0,
            window_seq: irs,
            window_ack: una,
            scale,
            mss,
            buffer: ByteRing::default(),
            flight: Flight::new(una, tick),
            fin: Fin::Open,
            small_end: una,
            last_sent: now,
            peak: Peak { last: 0, current: 0, until: una },
        }
    }

    /// Octets of memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.flight.memory()
    }

    /// Whether that has changed since [`SendSide::weighed`] was called.
    pub(super) fn was_resized(&self) -> bool {
        self.buffer.was_resized() | self.flight.was_resized()
    }

    pub(super) fn weighed(&mut self) {
        self.buffer.weighed();
        self.flight.weighed();
    }

    /// Gives back what it does not use.
    pub(super) fn give_back(&mut self) {
        self.buffer.give_back();
        self.flight.give_back();
    }

    /// [`SendSide::room`], where the buffer may not grow beyond the smallest one.
    pub(super) fn room_without_growth(&self, limit: usize, ahead: usize) -> usize {
        let least = self.buffer.capacity().max(MIN_CAPACITY);
        self.room(limit, ahead).min(least.saturating_sub(self.buffer.len()))
    }

    /// SND.UNA.
    #[inline]
    pub fn una(&self) -> SeqNumber {
        self.una
    }

    /// SND.NXT.
    #[inline]
    pub fn nxt(&self) -> SeqNumber {
        self.nxt
    }

    /// SND.WND.
    #[inline]
    pub fn window(&self) -> u32 {
        self.window
    }

    /// The largest window the peer ever offered.
    pub fn max_window(&self) -> u32 {
        self.max_window
    }

    /// SND.WL1: the number of the segment that last set the window; that of the SYN where none has come since.
    pub fn window_seq(&self) -> SeqNumber {
        self.window_seq
    }

    /// The peer's window scale.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Eff.snd.MSS.
    #[inline]
    pub fn mss(&self) -> u32 {
        self.mss
    }

    /// Octets sent, not acknowledged, not sacked and not taken for lost.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.flight.under_way()
    }

    /// Octets the peer has sacked and not acknowledged.
    #[inline]
    pub fn sacked(&self) -> u32 {
        self.flight.sacked()
    }

    /// What the times of deliveries have told (RFC 8985).
    pub(super) fn rack(&mut self) -> &mut Rack {
        self.flight.rack()
    }

    /// Octets sent and not acknowledged: FlightSize of RFC 5681.
    #[inline]
    pub fn flight_size(&self) -> u32 {
        self.nxt.since(self.una)
    }

    /// The most that was in flight lately: what the congestion window was used for.
    #[inline]
    pub fn peak(&self) -> u32 {
        self.peak.last.max(self.peak.current).max(self.in_flight())
    }

    /// Whether anything was ever sent that takes a sequence number, but for the SYN.
    pub fn has_ever_sent(&self) -> bool {
        self.peak() > 0
    }

    /// When the last segment was sent.
    #[inline]
    pub fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Data the application may still write while `limit` octets are kept at most, and `ahead` of them that were never sent. What
    /// segments take beside their data counts, or small ones would make the limit one in name only.
    pub fn room(&self, limit: usize, ahead: usize) -> usize {
        let kept = self.buffer.len() + self.flight.overhead();
        let room = limit.saturating_sub(kept).min(ahead.saturating_sub(self.unsent()));
        if self.fin == Fin::Open { room } else { 0 }
    }

    /// Segments sent and not acknowledged.
    #[inline]
    pub fn segments(&self) -> usize {
        self.flight.len()
    }

    /// Octets written and not acknowledged.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Appends data from the application; the caller has asked [`SendSide::room`].
    pub fn write(&mut self, data: &[u8]) {
        self.buffer.push(data);
    }

    /// Room to write into in place, at most `limit` octets in one piece; [`SendSide::written`] makes it count.
    pub fn spare(&mut self, limit: usize) -> &mut [u8] {
        self.buffer.spare(limit)
    }

    /// Makes `length` octets written into [`SendSide::spare`] part of the stream.
    pub fn written(&mut self, length: usize) {
        self.buffer.extend(length);
    }

    /// The data of a range, in two parts where the buffer wraps.
    pub fn data(&self, range: &SendRange) -> (&[u8], &[u8]) {
        if range.length == 0 {
            return (&[], &[]); // a bare acknowledgment behind our FIN lies beyond all data
        }
        self.buffer.range(range.seq.since(self.una) as usize, range.length)
    }

    /// No more data will come: a FIN follows what was written.
    pub fn close(&mut self) {
        if self.fin == Fin::Open {
            self.fin = Fin::Queued;
        }
    }

    /// Whether the application has closed this side.
    pub fn is_closed(&self) -> bool {
        self.fin != Fin::Open
    }

    /// Octets of data never sent.
    #[inline]
    fn unsent(&self) -> usize {
        match self.fin {
            Fin::Open | Fin::Queued => self.buffer.len() - self.flight_size() as usize,
            Fin::Sent | Fin::Acknowledged => 0,
        }
    }

    /// Whether data, or the FIN, wait to be sent for the first time.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.fin == Fin::Queued
    }

    /// Whether an acknowledgment number is one the peer may send: from SND.UNA − MAX.SND.WND to SND.NXT (RFC 5961 §5.2).
    pub fn is_plausible_ack(&self, ack: SeqNumber) -> bool {
        ack.at_or_before(self.nxt) && self.una.back(self.max_window).at_or_before(ack)
    }

    /// Takes in the window of an acceptable segment, unless an older one overtook it (RFC 9293 §3.10.7.4). Returns whether it
    /// changed.
    #[inline]
    pub fn update_window(&mut self, segment: &Segment<'_>) -> bool {
        let header = &segment.header;
        // A segment that acknowledges more was sent later, even if it is a retransmission. Its window must count: the old one,
        // from the new SND.UNA on, would reach further than was ever offered.
        let newer = self.window_ack.precedes(header.ack)
            || (self.window_ack == header.ack && self.window_seq.at_or_before(header.seq));
        if !newer {
            return false;
        }
        // The window of a SYN is never scaled (RFC 7323 §2.2).
        let scale = if segment.has(TcpFlags::SYN) { 0 } else { self.scale };
        let window = u32::from(header.window) << scale;
        let changed = window != self.window;
        self.window = window;
        self.max_window = self.max_window.max(window);
        (self.window_seq, self.window_ack) = (header.seq, header.ack);
        changed
    }

    /// Takes in an acknowledgment of everything before `ack`, which lies within the flight.
    pub fn acknowledge(&mut self, ack: SeqNumber, time: &AckTime) -> Acknowledged {
        let mut result = Acknowledged { octets: ack.since(self.una), ..Acknowledged::default() };
        self.flight.acknowledge(ack, time, &mut result);
        if result.fin {
            self.fin = Fin::Acknowledged;
        }
        self.forget(result.octets as usize - usize::from(result.fin), ack);
        result
    }

    /// [`SendSide::acknowledge`] where nothing of the flight was lost, sacked, sent again or overtaken ([`SendSide::is_in_order`]).
    #[inline]
    pub(super) fn acknowledge_in_order(&mut self, ack: SeqNumber, now: Instant) -> Acknowledged {
        let octets = ack.since(self.una);
        // The FIN is the last that is sent.
        let fin = self.fin == Fin::Sent && ack == self.nxt;
        if fin {
            self.fin = Fin::Acknowledged;
        }
        let rtt = self.flight.acknowledge_in_order(ack, now);
        self.forget(octets as usize - usize::from(fin), ack);
        Acknowledged { octets, delivered: octets, rtt, fin, ..Acknowledged::default() }
    }

    /// So many octets of data, up to `una`, are the peer's now.
    fn forget(&mut self, octets: usize, una: SeqNumber) {
        self.buffer.consume(octets);
        self.buffer.release();
        self.una = una;
        if self.peak.until.at_or_before(una) {
            self.peak = Peak { last: self.peak.current, current: self.in_flight(), until: self.nxt };
        }
    }

    /// Takes in SACK blocks (RFC 2018, D-SACK: RFC 2883) that came with an acknowledgment of everything before `ack`. Blocks outside
    /// the flight are passed over.
    pub fn process_sack(
        &mut self,
        ack: SeqNumber,
        blocks: &[(SeqNumber, SeqNumber)],
        time: &AckTime,
        result: &mut Acknowledged,
    ) {
        let Some(&first) = blocks.first() else { return };
        if is_dsack(first, blocks.get(1).copied(), ack) {
            result.dsack = Some(first);
        }
        // In order, or it would look as if the later ones had been overtaken. There are four at most.
        let mut from = self.una;
        let key = |&(left, right): &(SeqNumber, SeqNumber)| (left.since(self.una), u32::MAX - right.since(left));
        while let Some(&(left, right)) =
            blocks.iter().filter(|(left, _)| from.precedes(*left)).min_by_key(|block| key(block))
        {
            if left.precedes(right) && right.at_or_before(self.nxt) {
                self.flight.mark_sacked(left, right, time, result);
            }
            from = left;
        }
    }

    /// Whether all that was sent arrives in the order in which it was sent, as far as acknowledgments have told.
    #[inline]
    pub(super) fn is_in_order(&self) -> bool {
        self.flight.is_in_order()
    }

    /// Whether anything waits to be sent, for the first time or again.
    #[inline]
    pub(super) fn wants_to_send(&self) -> bool {
        self.has_unsent() || self.flight.has_lost()
    }

    /// Takes for lost what has been overtaken for too long (`Flight::detect_losses`).
    pub fn detect_losses(&mut self, recovering: bool, smoothed: Option<Duration>, now: Instant) -> LossScan {
        self.flight.detect_losses(recovering, smoothed, now)
    }

    /// Takes the oldest segment for lost.
    pub fn mark_first_lost(&mut self) {
        self.flight.mark_first_lost();
    }

    /// Takes for lost what had time to arrive (`Flight::mark_overdue_lost`).
    pub fn mark_overdue_lost(&mut self, smoothed: Option<Duration>, now: Instant) {
        self.flight.mark_overdue_lost(smoothed, now);
    }

    /// Takes everything in flight for lost (`Flight::mark_all_lost`).
    pub fn mark_all_lost(&mut self) {
        self.flight.mark_all_lost();
    }

    /// What was taken for lost is under way after all.
    pub fn mark_none_lost(&mut self) {
        self.flight.mark_none_lost();
    }

    /// Changes Eff.snd.MSS. What is in flight in larger pieces did not fit the path: it is cut to size and taken for lost, unless
    /// the peer has sacked it. Whether there was any such.
    pub fn resegment(&mut self, mss: u32) -> bool {
        self.mss = mss;
        self.flight.resegment(mss)
    }

    /// Changes Eff.snd.MSS for what is sent from now on; what is in flight did fit.
    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    /// The oldest segment taken for lost, where it may be sent within `allowance` octets in flight or nothing is in flight.
    pub fn next_lost(&mut self, allowance: u32) -> Option<SendRange> {
        self.flight.next_lost(allowance)
    }

    /// The next range of new data that may be sent, `allowance` being the octets that may be in flight.
    ///
    /// This is where silly windows are avoided on our side (RFC 9293 §3.8.6.2.1) and where Nagle's algorithm waits.
    #[inline]
    pub fn next_new(&self, allowance: u32, nagle: bool) -> Option<SendRange> {
        let unsent = self.unsent() as u32;
        let window = self.window.saturating_sub(self.flight_size());
        if unsent == 0 {
            let may_send_fin = self.fin == Fin::Queued && window > 0;
            return may_send_fin.then_some(SendRange { seq: self.nxt, length: 0, fin: true });
        }
        let usable = window.min(allowance.saturating_sub(self.in_flight()));
        let length = unsent.min(self.mss).min(usable);
        if length == 0 {
            return None;
        }
        let is_last = length == unsent;
        let fin = is_last && self.fin == Fin::Queued && length < usable;
        let small_in_flight = self.una.precedes(self.small_end);
        let send = length == self.mss
            || (is_last && (!nagle || !small_in_flight || self.fin == Fin::Queued))
            || (self.max_window > 0 && length >= self.max_window / 2);
        send.then_some(SendRange { seq: self.nxt, length: length as usize, fin })
    }

    /// The octets of a window probe: what fits the window, and one octet where nothing does (MUST-36).
    ///
    /// Also sent where a window too small for silly-window avoidance has not grown for a while (RFC 9293 §3.8.6.2.1).
    pub fn probe(&self) -> Option<SendRange> {
        if let Some(oldest) = self.flight.first() {
            let only_fin = oldest.length == 0;
            return Some(SendRange { length: usize::from(!only_fin), fin: only_fin, ..oldest });
        }
        let unsent = self.unsent();
        let length = unsent.min(self.window.clamp(1, self.mss) as usize);
        self.has_unsent().then_some(SendRange { seq: self.nxt, length, fin: unsent == 0 })
    }

    /// The last segment that may still be under way: what a probe of the tail sends again.
    pub fn tail(&self) -> Option<SendRange> {
        self.flight.last_under_way()
    }

    /// Notes that a range was sent: again, if it was before. Returns whether it carried our FIN for the first time.
    #[inline]
    pub fn sent(&mut self, range: &SendRange, now: Instant) -> bool {
        self.last_sent = now;
        if range.seq != self.nxt {
            self.flight.retransmitted(range, now);
            return false;
        }
        self.flight.sent(range, now);
        self.nxt = range.end();
        self.peak.current = self.peak.current.max(self.in_flight());
        if (range.length as u32) < self.mss {
            self.small_end = self.nxt;
        }
        if range.fin {
            self.fin = Fin::Sent;
        }
        range.fin
    }

    /// Whether `range` ends with the last octet written so far, so that the peer should hand it on: PSH (MUST-61).
    pub fn is_pushed(&self, range: &SendRange) -> bool {
        range.length > 0 && range.seq.advance(range.length as u32).since(self.una) as usize == self.buffer.len()
    }
}

/// Whether a first block is a D-SACK block, which tells of what has arrived twice: it was acknowledged already, or is part of the
/// second block (RFC 2883 §4).
fn is_dsack((left, right): (SeqNumber, SeqNumber), second: Option<(SeqNumber, SeqNumber)>, ack: SeqNumber) -> bool {
    let is_part = |(start, end): (SeqNumber, SeqNumber)| start.at_or_before(left) && right.at_or_before(end);
    left.precedes(right) && (right.at_or_before(ack) || second.is_some_and(is_part))
}
