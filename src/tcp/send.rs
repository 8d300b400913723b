//! The sending side: what the application wrote, what of it is in flight, and what the peer has room for.
//!
//! ```text
//!         acknowledged │      in flight       │  may be sent  │ beyond the window
//!     ─────────────────┼──────────────────────┼───────────────┼──────────────────▶ sequence numbers
//!                   SND.UNA                SND.NXT    SND.UNA + SND.WND
//! ```

use super::{byte_ring::ByteRing, recovery::DUPLICATE_THRESHOLD};
use crate::{
    time::Instant,
    wire::{Segment, SeqNumber, TcpFlags},
};
use std::{collections::VecDeque, time::Duration};

/// A segment on its way: what RFC 9293 calls an entry of the retransmission queue.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    start: SeqNumber,
    /// Octets of sequence space, the FIN included.
    length: u32,
    fin: bool,
    sent_at: Instant,
    retransmitted: bool,
    lost: bool,
    /// Whether the peer has reported it (RFC 2018). It may yet throw it away.
    sacked: bool,
}

impl InFlight {
    /// Whether it may still be under way, for all we know.
    fn is_under_way(&self) -> bool {
        !self.lost && !self.sacked
    }

    /// The sequence number behind it.
    fn end(&self) -> SeqNumber {
        self.start.advance(self.length)
    }
}

/// Whether our side has been closed, and how far that has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Open,
    /// The application has closed; the FIN follows the last octet.
    Queued,
    Sent,
    Acknowledged,
}

/// A segment to be sent, in terms of this side: which octets, and whether the FIN goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Sequence number of its first octet.
    pub seq: SeqNumber,
    /// Octets of data.
    pub length: usize,
    /// Whether the FIN follows them.
    pub fin: bool,
}

/// What an acknowledgment changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    /// Octets of sequence space acknowledged for the first time.
    pub octets: u32,
    /// A round-trip time, where a segment sent only once was acknowledged and no other (Karn's algorithm).
    pub rtt: Option<Duration>,
    /// Whether our FIN is among them.
    pub fin: bool,
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
    segments: VecDeque<InFlight>,
    /// Octets of `segments` that are neither lost nor reported: the pipe of RFC 6675.
    in_flight: u32,
    /// When the latest of the segments was sent that have arrived for certain, as it was then.
    delivered: Option<Instant>,
    fin: Fin,
    /// The end of the last segment sent that was smaller than the MSS (Minshall's variant of Nagle's algorithm).
    small_end: SeqNumber,
    last_sent: Instant,
}

impl SendSide {
    /// The side of a connection whose SYN took sequence number `iss` and is acknowledged; the peer's took `irs`. The window
    /// is shut until the acknowledgment that ended the handshake has been taken in.
    pub fn new(iss: SeqNumber, irs: SeqNumber, mss: u32, scale: u8, now: Instant) -> Self {
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
            segments: VecDeque::new(),
            in_flight: 0,
            delivered: None,
            fin: Fin::Open,
            small_end: una,
            last_sent: now,
        }
    }

    /// Takes over what was written before the handshake was over.
    pub fn inherit(&mut self, early: &mut Self) {
        self.buffer = std::mem::take(&mut early.buffer);
        self.fin = early.fin;
    }

    /// SND.UNA.
    pub fn una(&self) -> SeqNumber {
        self.una
    }

    /// SND.NXT.
    pub fn nxt(&self) -> SeqNumber {
        self.nxt
    }

    /// SND.WND.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// Eff.snd.MSS.
    pub fn mss(&self) -> u32 {
        self.mss
    }

    /// Octets sent, not acknowledged, not reported and not taken for lost.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Octets sent and not acknowledged: FlightSize of RFC 5681.
    pub fn flight_size(&self) -> u32 {
        self.nxt.since(self.una)
    }

    /// When the last segment was sent.
    pub fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Data the application may still write while `limit` octets are kept at most.
    pub fn room(&self, limit: usize) -> usize {
        if self.fin == Fin::Open { limit.saturating_sub(self.buffer.len()) } else { 0 }
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

    /// The data of a chunk, in two parts where the buffer wraps.
    pub fn data(&self, chunk: &Chunk) -> (&[u8], &[u8]) {
        if chunk.length == 0 {
            return (&[], &[]); // a bare acknowledgment behind our FIN lies beyond all data
        }
        self.buffer.range(chunk.seq.since(self.una) as usize, chunk.length)
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
    fn unsent(&self) -> usize {
        match self.fin {
            Fin::Open | Fin::Queued => self.buffer.len() - self.flight_size() as usize,
            Fin::Sent | Fin::Acknowledged => 0,
        }
    }

    /// Whether data, or the FIN, wait to be sent for the first time.
    pub fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.fin == Fin::Queued
    }

    /// Whether an acknowledgment number is one the peer may send: from SND.UNA − MAX.SND.WND to SND.NXT (RFC 5961 §5.2).
    pub fn is_plausible_ack(&self, ack: SeqNumber) -> bool {
        ack.at_or_before(self.nxt) && self.una.back(self.max_window).at_or_before(ack)
    }

    /// Takes in the window of an acceptable segment, unless an older one overtook it (RFC 9293 §3.10.7.4). Returns whether it
    /// changed.
    pub fn update_window(&mut self, segment: &Segment<'_>) -> bool {
        let header = &segment.header;
        let newer = self.window_seq.precedes(header.seq)
            || (self.window_seq == header.seq && self.window_ack.at_or_before(header.ack));
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

    /// Takes in an acknowledgment of everything before `ack`, which lies within the flight. What was sent again less than
    /// `ambiguous` ago may have been answered for its first transmission.
    pub fn acknowledge(&mut self, ack: SeqNumber, now: Instant, ambiguous: Duration) -> Acknowledged {
        let mut result = Acknowledged { octets: ack.since(self.una), ..Acknowledged::default() };
        let mut sampled = None;
        let mut sent_again = false;
        while let Some(&oldest) = self.segments.front() {
            let end = oldest.start.advance(oldest.length);
            if !end.at_or_before(ack) {
                break;
            }
            sent_again |= oldest.retransmitted;
            sampled = Some(oldest.sent_at);
            self.note_delivery(&oldest, now, ambiguous);
            result.fin |= oldest.fin;
            self.forget_front(oldest.length);
            self.segments.pop_front();
        }
        self.trim_front(ack);
        if let Some(sent_at) = sampled.filter(|_| !sent_again) {
            result.rtt = Some(now - sent_at);
        }
        if result.fin {
            self.fin = Fin::Acknowledged;
        }
        self.buffer.consume(result.octets as usize - usize::from(result.fin));
        self.buffer.release();
        self.una = ack;
        result
    }

    fn forget_front(&mut self, octets: u32) {
        if self.segments.front().is_some_and(InFlight::is_under_way) {
            self.in_flight -= octets;
        }
    }

    /// Cuts off what a partial acknowledgment covers of the oldest segment.
    fn trim_front(&mut self, ack: SeqNumber) {
        let Some(oldest) = self.segments.front() else { return };
        if oldest.start.precedes(ack) {
            let covered = ack.since(oldest.start);
            self.forget_front(covered);
            let oldest = &mut self.segments[0];
            oldest.start = ack;
            oldest.length -= covered;
        }
    }

    fn note_delivery(&mut self, segment: &InFlight, now: Instant, ambiguous: Duration) {
        if !segment.retransmitted || now - segment.sent_at >= ambiguous {
            self.delivered = self.delivered.max(Some(segment.sent_at));
        }
    }

    /// Takes in what the peer reports to have; whether any of it is news. Blocks that cannot be are passed over, and so are
    /// those about what is acknowledged already (RFC 2883). `ambiguous` as for [`SendSide::acknowledge`].
    pub fn take_report(&mut self, blocks: &[(SeqNumber, SeqNumber)], now: Instant, ambiguous: Duration) -> bool {
        let mut is_news = false;
        for &(left, right) in blocks {
            if !self.una.precedes(left) || !left.precedes(right) || !right.at_or_before(self.nxt) {
                continue;
            }
            let first = self.segments.partition_point(|segment| segment.start.precedes(left));
            for index in first..self.segments.len() {
                let segment = self.segments[index];
                if !segment.end().at_or_before(right) {
                    break;
                }
                if segment.sacked {
                    continue;
                }
                if segment.is_under_way() {
                    self.in_flight -= segment.length;
                }
                self.note_delivery(&segment, now, ambiguous);
                (self.segments[index].sacked, self.segments[index].lost) = (true, false);
                is_news = true;
            }
        }
        is_news
    }

    /// Takes for lost what lies below three segments' worth of reported octets (RFC 6675 §4, IsLost), and what was sent more
    /// than `margin` before something that has arrived (RFC 8985 §6.2). Returns whether there was any.
    pub fn mark_lost_by_report(&mut self, margin: Duration) -> bool {
        let (mut reported, mut found) = (0, false);
        for segment in self.segments.iter_mut().rev() {
            if segment.sacked {
                reported += segment.length;
                continue;
            }
            let is_below = !segment.retransmitted && reported > (DUPLICATE_THRESHOLD - 1) * self.mss;
            let is_overdue = self.delivered.is_some_and(|delivered| delivered > segment.sent_at + margin);
            if (is_below || is_overdue) && !segment.lost {
                segment.lost = true;
                self.in_flight -= segment.length;
                found = true;
            }
        }
        found
    }

    /// Takes the oldest segment for lost.
    pub fn mark_first_lost(&mut self) {
        if let Some(oldest) = self.segments.front_mut().filter(|oldest| oldest.is_under_way()) {
            oldest.lost = true;
            self.in_flight -= oldest.length;
        }
    }

    /// Takes everything in flight for lost, but for what the peer has reported: unless it must have thrown that away, because
    /// it would have acknowledged it otherwise (RFC 2018 §8).
    pub fn mark_all_lost(&mut self) {
        let reneged = self.segments.front().is_some_and(|oldest| oldest.sacked);
        for segment in &mut self.segments {
            segment.sacked &= !reneged;
            segment.lost = !segment.sacked;
        }
        self.in_flight = 0;
    }

    /// Whether the oldest segment has been sent more than once.
    pub fn first_was_retransmitted(&self) -> bool {
        self.segments.front().is_some_and(|oldest| oldest.retransmitted)
    }

    /// The oldest segment taken for lost, where it may be sent within `allowance` octets in flight or nothing is in flight.
    pub fn next_lost(&self, allowance: u32) -> Option<Chunk> {
        let segment = self.segments.iter().find(|segment| segment.lost)?;
        if self.in_flight > 0 && self.in_flight + segment.length > allowance {
            return None;
        }
        let length = segment.length as usize - usize::from(segment.fin);
        Some(Chunk { seq: segment.start, length, fin: segment.fin })
    }

    /// The next chunk of new data that may be sent, `allowance` being the octets that may be in flight.
    ///
    /// This is where silly windows are avoided on our side (RFC 9293 §3.8.6.2.1) and where Nagle's algorithm waits.
    pub fn next_new(&self, allowance: u32, nagle: bool) -> Option<Chunk> {
        let unsent = self.unsent() as u32;
        let window = self.window.saturating_sub(self.flight_size());
        if unsent == 0 {
            let may_send_fin = self.fin == Fin::Queued && window > 0;
            return may_send_fin.then_some(Chunk { seq: self.nxt, length: 0, fin: true });
        }
        let usable = window.min(allowance.saturating_sub(self.in_flight));
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
        send.then_some(Chunk { seq: self.nxt, length: length as usize, fin })
    }

    /// The octets of a window probe: what fits the window, and one octet where nothing does (MUST-36).
    ///
    /// Also sent where a window too small for silly-window avoidance has not grown for a while (RFC 9293 §3.8.6.2.1).
    pub fn probe(&self) -> Option<Chunk> {
        if let Some(oldest) = self.segments.front() {
            let only_fin = oldest.fin && oldest.length == 1;
            return Some(Chunk { seq: oldest.start, length: usize::from(!only_fin), fin: only_fin });
        }
        let unsent = self.unsent();
        let length = unsent.min(self.window.clamp(1, self.mss) as usize);
        self.has_unsent().then_some(Chunk { seq: self.nxt, length, fin: unsent == 0 })
    }

    /// The last segment that may still be under way: what a probe of the tail sends again.
    pub fn tail(&self) -> Option<Chunk> {
        let segment = self.segments.iter().rfind(|segment| segment.is_under_way())?;
        let length = segment.length as usize - usize::from(segment.fin);
        Some(Chunk { seq: segment.start, length, fin: segment.fin })
    }

    /// Notes that a chunk was sent: again, if it was before. Returns whether it carried our FIN for the first time.
    pub fn sent(&mut self, chunk: &Chunk, now: Instant) -> bool {
        self.last_sent = now;
        if chunk.seq != self.nxt {
            self.sent_again(chunk, now);
            return false;
        }
        let length = chunk.length as u32 + u32::from(chunk.fin);
        let retransmitted = false;
        self.segments.push_back(InFlight {
            start: chunk.seq,
            length,
            fin: chunk.fin,
            sent_at: now,
            retransmitted,
            lost: false,
            sacked: false,
        });
        self.in_flight += length;
        self.nxt = self.nxt.advance(length);
        if (chunk.length as u32) < self.mss {
            self.small_end = self.nxt;
        }
        if chunk.fin {
            self.fin = Fin::Sent;
        }
        chunk.fin
    }

    fn sent_again(&mut self, chunk: &Chunk, now: Instant) {
        let found = self.segments.iter_mut().find(|segment| segment.start == chunk.seq);
        let Some(segment) = found else { return };
        segment.sent_at = now;
        segment.retransmitted = true;
        // A probe sends only the first octet again: the rest stays as lost as it was.
        let whole = segment.length == chunk.length as u32 + u32::from(chunk.fin);
        if segment.lost && whole {
            segment.lost = false;
            self.in_flight += segment.length;
        }
    }

    /// Whether `chunk` ends with the last octet written so far, so that the peer should hand it on: PSH (MUST-61).
    pub fn is_pushed(&self, chunk: &Chunk) -> bool {
        chunk.length > 0 && chunk.seq.advance(chunk.length as u32).since(self.una) as usize == self.buffer.len()
    }
}
