//! What is on its way: the retransmission queue of RFC 9293, with what the peer has sacked of it (RFC 2018) and when it was
//! sent, which together tell what is lost (RFC 8985).

mod resegment;

pub use super::outcome::{AckTime, Acknowledged, LossScan, Resent, SendRange};

use super::{
    assembler::Assembler,
    in_flight::{InFlight, Tally},
    rack::{Delivered, QuietRack, Rack},
};
use crate::{
    time::{Instant, nanos},
    wire::SeqNumber,
};
use std::{collections::VecDeque, time::Duration};

/// The segments sent and not acknowledged.
#[derive(Debug)]
pub(super) struct Flight {
    segments: VecDeque<InFlight>,
    /// What of them the peer has sacked, so that a block which is sent again costs nothing, however often it comes.
    scoreboard: Assembler,
    tally: Tally,
    /// What was sent again and may be under way, in the order of transmission.
    retransmissions: VecDeque<Retransmission>,
    /// Transmissions so far, on a circle.
    transmissions: u32,
    /// RACK has examined originals, segments sent only once, up to here: before it none is still under way.
    scanned_to: SeqNumber,
    /// Before here, no segment is marked as lost.
    lost_from: SeqNumber,
    rack: Rack,
    /// Whether the memory it takes has changed since [`Flight::weighed`] was called.
    resized: bool,
}

/// A segment that was sent again.
#[derive(Clone, Copy, Debug)]
struct Retransmission {
    start: SeqNumber,
    /// The transmission's number.
    order: u32,
}

/// Segments for which room is kept when a queue goes from one connection to the next, or memory is scarce.
const KEPT_SEGMENTS: usize = 256;

impl Flight {
    pub fn new(una: SeqNumber, tick: Duration) -> Self {
        Self {
            segments: VecDeque::new(),
            scoreboard: Assembler::default(),
            tally: Tally::default(),
            retransmissions: VecDeque::new(),
            transmissions: 0,
            scanned_to: una,
            lost_from: una,
            rack: Rack::new(una, tick),
            resized: false,
        }
    }

    /// Octets of memory it takes.
    pub fn memory(&self) -> usize {
        let segments = self.segments.capacity() * size_of::<InFlight>();
        segments + self.scoreboard.memory() + self.retransmissions.capacity() * size_of::<Retransmission>()
    }

    /// Whether that has changed since [`Flight::weighed`] was called.
    pub fn was_resized(&self) -> bool {
        self.resized
    }

    pub fn weighed(&mut self) {
        self.resized = false;
    }

    /// Gives back most of the room for segments, where most of it is not used.
    pub fn give_back(&mut self) {
        let little = self.segments.len().max(KEPT_SEGMENTS);
        if self.segments.capacity() / 4 > little {
            self.segments.shrink_to(little);
            self.resized = true;
        }
        if self.retransmissions.is_empty() && self.retransmissions.capacity() > KEPT_SEGMENTS {
            self.retransmissions = VecDeque::new();
            self.resized = true;
        }
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Remembers what was learned of the path before the connection was suspended, at SND.UNA = `una`.
    pub fn resume(&mut self, rack: &QuietRack, una: SeqNumber) {
        self.rack.resume(rack, una);
    }

    /// Forgets everything but its memory.
    pub fn retire(&mut self) {
        self.segments.clear();
        self.scoreboard.clear();
        self.retransmissions.clear();
        self.give_back();
    }

    /// Takes the memory of a retired one.
    pub fn adopt_memory(&mut self, retired: &mut Self) {
        self.segments = std::mem::take(&mut retired.segments);
        self.scoreboard = std::mem::take(&mut retired.scoreboard);
        self.retransmissions = std::mem::take(&mut retired.retransmissions);
    }

    /// Segments that are kept.
    #[inline]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Octets of memory that keeping them takes, their data apart. A queue that doubles may be half empty.
    pub fn overhead(&self) -> usize {
        2 * size_of::<InFlight>() * self.len()
    }

    /// Octets sent, not acknowledged, not sacked and not taken for lost: the pipe of RFC 6675.
    #[inline]
    pub fn under_way(&self) -> u32 {
        self.tally.under_way
    }

    /// Whether anything is taken for lost.
    #[inline]
    pub fn has_lost(&self) -> bool {
        self.tally.lost > 0
    }

    /// Octets sacked.
    #[inline]
    pub fn sacked(&self) -> u32 {
        self.tally.sacked
    }

    pub fn quiet_rack(&self) -> QuietRack {
        self.rack.suspend()
    }

    pub fn rack(&mut self) -> &mut Rack {
        &mut self.rack
    }

    /// The oldest segment.
    pub fn first(&self) -> Option<SendRange> {
        self.segments.front().map(InFlight::range)
    }

    /// The last segment that may still be under way.
    pub fn last_under_way(&self) -> Option<SendRange> {
        self.segments.iter().rfind(|segment| segment.is_under_way()).map(InFlight::range)
    }

    /// Changes one segment, and the sums with it.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut InFlight)) {
        let before = self.segments[index];
        self.tally.remove(&before);
        change(&mut self.segments[index]);
        let after = self.segments[index];
        self.tally.add(&after);
        if after.lost {
            self.lost_from = self.lost_from.earliest(after.start);
        }
    }

    /// Changes all segments, and the sums with them. What takes so long is done at the pace of timers and of routers' errors only.
    fn change_all(&mut self, mut change: impl FnMut(usize, &mut InFlight)) {
        self.tally = Tally::default();
        for index in 0..self.segments.len() {
            change(index, &mut self.segments[index]);
            let segment = self.segments[index];
            self.tally.add(&segment);
        }
        if let Some(first) = self.segments.front() {
            (self.scanned_to, self.lost_from) = (first.start, first.start);
        }
        self.pop_settled_retransmissions();
    }

    /// Takes retransmissions that are not under way any more off the front of their queue. Behind the front nothing looks.
    fn pop_settled_retransmissions(&mut self) {
        while let Some(&entry) = self.retransmissions.front() {
            if find_retransmission(&self.segments, entry).is_some() {
                break;
            }
            self.retransmissions.pop_front();
        }
    }

    /// Takes in an acknowledgment of everything before `ack`.
    pub fn acknowledge(&mut self, ack: SeqNumber, time: &AckTime, result: &mut Acknowledged) {
        let (mut sampled, mut any_retransmitted) = (None, false);
        while let Some(&oldest) = self.segments.front() {
            if !oldest.end().at_or_before(ack) {
                break;
            }
            if !oldest.sacked {
                any_retransmitted |= oldest.retransmitted;
                sampled = Some(oldest);
                self.note_delivery(&oldest, time, result);
            }
            result.fin |= oldest.fin;
            self.tally.remove(&oldest);
            self.segments.pop_front();
        }
        self.trim_front(ack, result);
        self.scoreboard.forget_before(ack);
        self.pop_settled_retransmissions();
        (self.scanned_to, self.lost_from) = (self.scanned_to.latest(ack), self.lost_from.latest(ack));
        match sampled {
            Some(last) if !any_retransmitted => result.rtt = Some(time.now - last.sent_at),
            Some(last) if last.retransmitted => {
                result.resent = Some(Resent { start: last.start, end: last.end(), sent_at: last.sent_at });
            }
            _ => {}
        }
    }

    /// [`Flight::acknowledge`] where nothing was lost, sacked, sent again or overtaken; returns a round-trip time, where a segment is
    /// covered.
    pub fn acknowledge_in_order(&mut self, ack: SeqNumber, now: Instant) -> Option<Duration> {
        debug_assert!(self.is_in_order());
        let mut latest = None;
        while let Some(oldest) = self.segments.front() {
            if !oldest.end().at_or_before(ack) {
                let covered = if oldest.start.precedes(ack) { ack.since(oldest.start) } else { 0 };
                self.tally.under_way -= covered;
                if let Some(oldest) = self.segments.front_mut() {
                    (oldest.start, oldest.length) = (oldest.start.advance(covered), oldest.length - covered);
                }
                break;
            }
            self.tally.under_way -= oldest.length;
            latest = self.segments.pop_front();
        }
        (self.scanned_to, self.lost_from) = (self.scanned_to.latest(ack), self.lost_from.latest(ack));
        let latest = latest?;
        let InFlight { sent_at, order, .. } = latest;
        // The last one took the least time, so there is nothing to be learned from the others.
        let delivered = Delivered { end: latest.end(), sent_at, order, retransmitted: false, answers_earlier: false };
        self.rack.delivered(&delivered, now);
        Some(now - sent_at)
    }

    /// Cuts off what a partial acknowledgment covers of the oldest segment.
    fn trim_front(&mut self, ack: SeqNumber, result: &mut Acknowledged) {
        let Some(&oldest) = self.segments.front() else { return };
        if oldest.start.precedes(ack) {
            let covered = ack.since(oldest.start);
            result.delivered += if oldest.sacked { 0 } else { covered };
            self.change(0, |oldest| {
                oldest.start = ack;
                oldest.length -= covered;
            });
        }
    }

    fn note_delivery(&mut self, segment: &InFlight, time: &AckTime, result: &mut Acknowledged) {
        result.delivered += segment.length;
        if !segment.retransmitted {
            result.original = Some(result.original.map_or(segment.start, |start| start.earliest(segment.start)));
        }
        let delivered = Delivered {
            end: segment.end(),
            sent_at: segment.sent_at,
            order: segment.order,
            retransmitted: segment.retransmitted,
            answers_earlier: segment.retransmitted && time.answers_before(segment.sent_at),
        };
        self.rack.delivered(&delivered, time.now);
    }

    /// Takes in that the peer has what lies from `left` up to `right`.
    pub fn mark_sacked(&mut self, left: SeqNumber, right: SeqNumber, time: &AckTime, result: &mut Acknowledged) {
        // What is out of order is not echoed (RFC 7323 §4.3): the clock of this acknowledgment says nothing of when it was sent.
        let time = &AckTime { echo: None, ..*time };
        // Segments count as a whole, or not.
        let (first, behind) =
            (self.index_of(left), self.segments.partition_point(|segment| segment.end().at_or_before(right)));
        if first >= behind {
            return;
        }
        let (start, end) = (self.segments[first].start, self.segments[behind - 1].end());
        let mut at = start;
        while let Some((from, to)) = self.scoreboard.first_missing(at, end) {
            for index in self.index_of(from)..behind {
                let segment = self.segments[index];
                if !segment.start.precedes(to) {
                    break;
                }
                self.note_delivery(&segment, time, result);
                self.change(index, |segment| (segment.sacked, segment.lost) = (true, false));
            }
            at = to;
        }
        let before = self.scoreboard.memory();
        // There are no more pieces than segments.
        let _ = self.scoreboard.insert(start, end, usize::MAX);
        self.resized |= self.scoreboard.memory() != before;
    }

    /// The first segment that begins at or behind `seq`.
    fn index_of(&self, seq: SeqNumber) -> usize {
        self.segments.partition_point(|segment| segment.start.precedes(seq))
    }

    /// Takes for lost what was sent before something that has arrived, and is later than it by more than reordering explains:
    /// RACK_detect_loss of RFC 8985 §6.2 step 5.
    ///
    /// What was sent once lies in the order it was sent in, and what was sent again stands in a queue of its own: either look
    /// ends at the first segment that has time left.
    pub fn detect_losses(&mut self, recovering: bool, smoothed: Option<Duration>, now: Instant) -> LossScan {
        let mut scan = LossScan::default();
        if self.is_in_order() {
            return scan;
        }
        let allowed = self.rack.rtt() + self.rack.window(recovering, self.tally.sacked_segments, smoothed);
        self.scan_originals(allowed, now, &mut scan);
        while let Some(&entry) = self.retransmissions.front() {
            if let Some(index) = find_retransmission(&self.segments, entry) {
                let InFlight { order, sent_at, .. } = self.segments[index];
                if !self.rack.note_if_lost(order, sent_at, allowed, now, &mut scan) {
                    break;
                }
                self.change(index, |segment| segment.lost = true);
            }
            self.retransmissions.pop_front();
        }
        scan
    }

    /// [`Flight::detect_losses`] among originals, segments sent only once. One that is late has most likely thousands behind it that
    /// are, too.
    fn scan_originals(&mut self, allowed: Duration, now: Instant, scan: &mut LossScan) {
        let from = self.index_of(self.scanned_to);
        let mut lost = 0;
        for segment in self.segments.range_mut(from..) {
            if !segment.retransmitted && segment.is_under_way() {
                if !self.rack.note_if_lost(segment.order, segment.sent_at, allowed, now, scan) {
                    break;
                }
                segment.lost = true;
                lost += segment.length;
                self.lost_from = self.lost_from.earliest(segment.start);
            }
            self.scanned_to = segment.end();
        }
        (self.tally.under_way, self.tally.lost) = (self.tally.under_way - lost, self.tally.lost + lost);
    }

    /// Whether nothing that is on its way has been overtaken, sacked, or taken for lost.
    #[inline]
    pub fn is_in_order(&self) -> bool {
        let in_order = |oldest: &InFlight| !oldest.retransmitted && !self.rack.has_overtaken(oldest.order);
        let nothing_missing = self.tally.lost == 0 && self.tally.sacked == 0 && self.retransmissions.is_empty();
        nothing_missing && self.segments.front().is_none_or(in_order)
    }

    /// Takes the oldest segment for lost.
    pub fn mark_first_lost(&mut self) {
        if self.segments.front().is_some_and(InFlight::is_under_way) {
            self.change(0, |oldest| oldest.lost = true);
        }
    }

    /// Takes for lost the oldest segment, and of the others what had time to arrive (RFC 8985 §6.3), but for what the peer has
    /// sacked: unless it must have thrown that away, because it would have acknowledged it otherwise (RFC 2018 §8).
    pub fn mark_overdue_lost(&mut self, smoothed: Option<Duration>, now: Instant) {
        let allowed = self.rack.rtt() + self.rack.window(true, self.tally.sacked_segments, smoothed);
        // What was sent up to then; nothing, where that is before all time.
        let latest = now.as_nanos().checked_sub(nanos(allowed)).map(Instant::from_nanos);
        self.mark_lost(|segment| latest.is_some_and(|latest| segment.sent_at <= latest));
    }

    /// Takes everything for lost, with the same exception.
    pub fn mark_all_lost(&mut self) {
        self.mark_lost(|_| true);
    }

    fn mark_lost(&mut self, had_time: impl Fn(&InFlight) -> bool) {
        let reneged = self.segments.front().is_some_and(|oldest| oldest.sacked);
        if reneged {
            self.scoreboard.clear();
        }
        self.change_all(|index, segment| {
            segment.sacked &= !reneged;
            segment.lost = !segment.sacked && (segment.lost || reneged || index == 0 || had_time(segment));
        });
    }

    /// Nothing was lost after all. A peer may bring that about with every other acknowledgment, so it costs little for each segment.
    pub fn mark_none_lost(&mut self) {
        let from = self.index_of(self.lost_from);
        self.segments.range_mut(from..).for_each(|segment| segment.lost = false);
        (self.tally.under_way, self.tally.lost) = (self.tally.under_way + self.tally.lost, 0);
        if let (Some(first), Some(last)) = (self.segments.front(), self.segments.back()) {
            (self.scanned_to, self.lost_from) = (first.start, last.end());
        }
        self.pop_settled_retransmissions();
        self.rack.forget_latest();
    }

    /// The oldest segment taken for lost, where it may be sent within `allowance` octets in flight or nothing is in flight.
    pub fn next_lost(&mut self, allowance: u32) -> Option<SendRange> {
        if self.tally.lost == 0 {
            return None;
        }
        let from = self.index_of(self.lost_from);
        let segment = self.segments.range(from..).find(|segment| segment.lost)?;
        self.lost_from = segment.start;
        let fits = self.tally.under_way == 0 || self.tally.under_way.saturating_add(segment.length) <= allowance;
        fits.then(|| segment.range())
    }

    /// Notes that a range was sent for the first time.
    #[inline]
    pub fn sent(&mut self, range: &SendRange, now: Instant) {
        let segment = InFlight {
            start: range.seq,
            length: range.len(),
            sent_at: now,
            order: self.number(),
            fin: range.fin,
            retransmitted: false,
            lost: false,
            sacked: false,
        };
        self.tally.add(&segment);
        self.resized |= self.segments.len() == self.segments.capacity();
        self.segments.push_back(segment);
    }

    /// Notes that a range was sent again.
    pub fn retransmitted(&mut self, range: &SendRange, now: Instant) {
        let index = self.index_of(range.seq);
        if self.segments.get(index).is_none_or(|segment| segment.start != range.seq) {
            return;
        }
        let order = self.number();
        self.change(index, |segment| {
            (segment.sent_at, segment.order, segment.retransmitted) = (now, order, true);
            // A window probe sends only the first octet again: the rest stays as lost as it was.
            segment.lost &= segment.length != range.len();
        });
        let entry = Retransmission { start: range.seq, order };
        if find_retransmission(&self.segments, entry).is_none() {
            return;
        }
        if self.retransmissions.len() > 2 * self.segments.len() {
            // Most of them are of no use any more, and as many were noted since this was done last.
            let segments = &self.segments;
            self.retransmissions.retain(|&entry| find_retransmission(segments, entry).is_some());
        }
        self.resized |= self.retransmissions.len() == self.retransmissions.capacity();
        self.retransmissions.push_back(entry);
    }

    fn number(&mut self) -> u32 {
        self.transmissions = self.transmissions.wrapping_add(1);
        self.transmissions
    }
}

/// The segment whose transmission under way is the one that `entry` tells of.
fn find_retransmission(segments: &VecDeque<InFlight>, entry: Retransmission) -> Option<usize> {
    let index = segments.partition_point(|segment| segment.start.precedes(entry.start));
    let segment = segments.get(index)?;
    (segment.order == entry.order && segment.is_under_way()).then_some(index)
}
