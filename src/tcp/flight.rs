//! What is on its way: the retransmission queue of RFC 9293, with what the peer has reported of it (RFC 2018) and when it was
//! sent, which together tell what is lost (RFC 8985).

use super::{
    rack::{Delivered, QuietRack, Rack},
    timestamps::Clocks,
};
use crate::{
    time::Instant,
    wire::{SeqNumber, tcp_options::Timestamps},
};
use std::{collections::VecDeque, time::Duration};

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    start: SeqNumber,
    /// Octets of sequence space, the FIN included.
    length: u32,
    sent_at: Instant,
    /// Its number among all transmissions.
    order: u32,
    fin: bool,
    retransmitted: bool,
    lost: bool,
    /// Whether the peer has reported it (RFC 2018). It may yet throw it away.
    reported: bool,
}

impl InFlight {
    /// Whether it may still be under way, for all we know.
    fn is_under_way(&self) -> bool {
        !self.lost && !self.reported
    }

    /// The sequence number behind it.
    fn end(&self) -> SeqNumber {
        self.start.advance(self.length)
    }

    fn chunk(&self) -> Chunk {
        Chunk { seq: self.start, length: self.length as usize - usize::from(self.fin), fin: self.fin }
    }
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

impl Chunk {
    /// Octets of sequence space.
    pub fn len(&self) -> u32 {
        self.length as u32 + u32::from(self.fin)
    }

    /// Whether it is a bare acknowledgment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number behind it.
    pub fn end(&self) -> SeqNumber {
        self.seq.advance(self.len())
    }
}

/// When an acknowledgment came, and what it says of the time its cause was sent.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it came.
    pub now: Instant,
    /// Our clock and what the acknowledgment echoes of it, where timestamps are in use.
    pub echo: Option<(Clocks, Timestamps)>,
}

impl Arrival {
    /// Whether it answers something sent before `at` for certain.
    pub fn answers_before(&self, at: Instant) -> bool {
        self.echo.is_some_and(|(clocks, received)| clocks.echoes_before(received, at))
    }
}

/// What an acknowledgment changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    /// Octets of sequence space acknowledged for the first time.
    pub octets: u32,
    /// Octets that have arrived, as we learn now: acknowledged or reported, and neither before.
    pub delivered: u32,
    /// Of these, where the first begins that was sent once only.
    pub original: Option<SeqNumber>,
    /// A round-trip time, where a segment sent only once was acknowledged and no other (Karn's algorithm).
    pub rtt: Option<Duration>,
    /// Whether our FIN is among them.
    pub fin: bool,
    /// What the peer says has arrived again (RFC 2883).
    pub again: Option<(SeqNumber, SeqNumber)>,
}

/// What a look at the flight has found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judgement {
    /// Whether anything was taken for lost.
    pub found: bool,
    /// How long until the next look, where something is overdue but may have been overtaken only.
    pub wait: Option<Duration>,
}

/// The segments sent and not acknowledged.
#[derive(Debug)]
pub(super) struct Flight {
    segments: VecDeque<InFlight>,
    /// Octets that may be under way, that are taken for lost, and that were reported.
    under_way: u32,
    lost: u32,
    reported: u32,
    reported_segments: u32,
    /// What was sent again and may be under way, in the order of transmission: where it begins, and the transmission's number.
    again: VecDeque<(SeqNumber, u32)>,
    /// Transmissions so far, on a circle.
    transmissions: u32,
    /// Before here, nothing is under way that was sent once only.
    judged: SeqNumber,
    /// Before here, nothing is taken for lost.
    lost_from: SeqNumber,
    rack: Rack,
    /// Whether the memory it takes has changed since somebody asked.
    resized: bool,
}

/// Segments for which there is room in what goes from one connection to the next, or is kept where memory is scarce.
const RESTING_SEGMENTS: usize = 256;

impl Flight {
    pub fn new(una: SeqNumber, tick: Duration) -> Self {
        Self {
            segments: VecDeque::new(),
            under_way: 0,
            lost: 0,
            reported: 0,
            reported_segments: 0,
            again: VecDeque::new(),
            transmissions: 0,
            judged: una,
            lost_from: una,
            rack: Rack::new(una, tick),
            resized: false,
        }
    }

    /// Octets of memory it takes.
    pub fn memory(&self) -> usize {
        self.segments.capacity() * size_of::<InFlight>() + self.again.capacity() * size_of::<(SeqNumber, u32)>()
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
        let little = self.segments.len().max(RESTING_SEGMENTS);
        if self.segments.capacity() / 4 > little {
            self.segments.shrink_to(little);
            self.resized = true;
        }
        if self.again.is_empty() && self.again.capacity() > RESTING_SEGMENTS {
            self.again = VecDeque::new();
            self.resized = true;
        }
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Remembers what was learned of the path before a rest that ended at `una`.
    pub fn recall(&mut self, rack: &QuietRack, una: SeqNumber) {
        self.rack.recall(rack, una);
    }

    /// Forgets everything but its memory.
    pub fn retire(&mut self) {
        self.segments.clear();
        self.again.clear();
        self.give_back();
    }

    /// Takes the memory of a retired one.
    pub fn adopt_memory(&mut self, retired: &mut Self) {
        self.segments = std::mem::take(&mut retired.segments);
        self.again = std::mem::take(&mut retired.again);
    }

    /// Octets sent, not acknowledged, not reported and not taken for lost: the pipe of RFC 6675.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Whether anything is taken for lost.
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Octets reported.
    pub fn reported(&self) -> u32 {
        self.reported
    }

    pub fn quiet_rack(&self) -> QuietRack {
        self.rack.rest()
    }

    pub fn rack(&mut self) -> &mut Rack {
        &mut self.rack
    }

    /// The oldest segment.
    pub fn first(&self) -> Option<Chunk> {
        self.segments.front().map(InFlight::chunk)
    }

    /// The last segment that may still be under way.
    pub fn last_under_way(&self) -> Option<Chunk> {
        self.segments.iter().rfind(|segment| segment.is_under_way()).map(InFlight::chunk)
    }

    fn count(&mut self, segment: &InFlight) {
        match (segment.lost, segment.reported) {
            (true, _) => self.lost += segment.length,
            (_, true) => {
                self.reported += segment.length;
                self.reported_segments += 1;
            }
            _ => self.under_way += segment.length,
        }
    }

    fn discount(&mut self, segment: &InFlight) {
        match (segment.lost, segment.reported) {
            (true, _) => self.lost -= segment.length,
            (_, true) => {
                self.reported -= segment.length;
                self.reported_segments -= 1;
            }
            _ => self.under_way -= segment.length,
        }
    }

    /// Changes one segment, and the sums with it.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut InFlight)) {
        let before = self.segments[index];
        self.discount(&before);
        change(&mut self.segments[index]);
        let after = self.segments[index];
        self.count(&after);
        if after.lost {
            self.lost_from = self.lost_from.earliest(after.start);
        }
    }

    /// Changes all segments, and the sums with them.
    fn change_all(&mut self, mut change: impl FnMut(usize, &mut InFlight)) {
        (self.under_way, self.lost, self.reported, self.reported_segments) = (0, 0, 0, 0);
        for index in 0..self.segments.len() {
            change(index, &mut self.segments[index]);
            let segment = self.segments[index];
            self.count(&segment);
        }
        if let Some(first) = self.segments.front() {
            (self.judged, self.lost_from) = (first.start, first.start);
        }
        let segments = &self.segments;
        self.again.retain(|&entry| find_again(segments, entry).is_some());
    }

    /// Takes in an acknowledgment of everything before `ack`.
    pub fn acknowledge(&mut self, ack: SeqNumber, arrival: &Arrival, result: &mut Acknowledged) {
        let mut sampled = None;
        let mut sent_again = false;
        while let Some(&oldest) = self.segments.front() {
            if !oldest.end().at_or_before(ack) {
                break;
            }
            if !oldest.reported {
                sent_again |= oldest.retransmitted;
                sampled = Some(oldest.sent_at);
                self.note_delivery(&oldest, arrival, result);
            }
            result.fin |= oldest.fin;
            self.discount(&oldest);
            self.segments.pop_front();
        }
        self.trim_front(ack, result);
        while let Some(&entry) = self.again.front() {
            if find_again(&self.segments, entry).is_some() {
                break;
            }
            self.again.pop_front();
        }
        (self.judged, self.lost_from) = (self.judged.latest(ack), self.lost_from.latest(ack));
        if let Some(sent_at) = sampled.filter(|_| !sent_again) {
            result.rtt = Some(arrival.now - sent_at);
        }
    }

    /// The same where nothing was lost, reported, sent again or overtaken; returns a round-trip time, where a segment is covered.
    pub fn acknowledge_in_order(&mut self, ack: SeqNumber, now: Instant) -> Option<Duration> {
        debug_assert!(self.is_in_order());
        let mut latest = None;
        while let Some(oldest) = self.segments.front() {
            if !oldest.end().at_or_before(ack) {
                let covered = if oldest.start.precedes(ack) { ack.since(oldest.start) } else { 0 };
                self.under_way -= covered;
                if let Some(oldest) = self.segments.front_mut() {
                    (oldest.start, oldest.length) = (oldest.start.advance(covered), oldest.length - covered);
                }
                break;
            }
            self.under_way -= oldest.length;
            latest = self.segments.pop_front();
        }
        (self.judged, self.lost_from) = (self.judged.latest(ack), self.lost_from.latest(ack));
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
            result.delivered += if oldest.reported { 0 } else { covered };
            self.change(0, |oldest| {
                oldest.start = ack;
                oldest.length -= covered;
            });
        }
    }

    fn note_delivery(&mut self, segment: &InFlight, arrival: &Arrival, result: &mut Acknowledged) {
        result.delivered += segment.length;
        if !segment.retransmitted {
            result.original = Some(result.original.map_or(segment.start, |start| start.earliest(segment.start)));
        }
        let delivered = Delivered {
            end: segment.end(),
            sent_at: segment.sent_at,
            order: segment.order,
            retransmitted: segment.retransmitted,
            answers_earlier: segment.retransmitted && arrival.answers_before(segment.sent_at),
        };
        self.rack.delivered(&delivered, arrival.now);
    }

    /// Takes in that the peer has what lies from `left` up to `right`.
    pub fn take_block(&mut self, left: SeqNumber, right: SeqNumber, arrival: &Arrival, result: &mut Acknowledged) {
        // What is early is not echoed (RFC 7323 §4.3): the clock of this acknowledgment says nothing of when it was sent.
        let arrival = &Arrival { echo: None, ..*arrival };
        let first = self.index_of(left);
        for index in first..self.segments.len() {
            let segment = self.segments[index];
            if !segment.end().at_or_before(right) {
                break;
            }
            if !segment.reported {
                self.note_delivery(&segment, arrival, result);
                self.change(index, |segment| (segment.reported, segment.lost) = (true, false));
            }
        }
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
    pub fn judge(&mut self, recovering: bool, smoothed: Option<Duration>, now: Instant) -> Judgement {
        let mut judgement = Judgement::default();
        if self.is_in_order() {
            return judgement;
        }
        let allowed = self.rack.rtt() + self.rack.window(recovering, self.reported_segments, smoothed);
        for index in self.index_of(self.judged)..self.segments.len() {
            let segment = self.segments[index];
            if !segment.retransmitted && segment.is_under_way() && !self.is_lost(index, allowed, now, &mut judgement) {
                break;
            }
            self.judged = segment.end();
        }
        while let Some(&entry) = self.again.front() {
            let found = find_again(&self.segments, entry);
            if found.is_some_and(|index| !self.is_lost(index, allowed, now, &mut judgement)) {
                break;
            }
            self.again.pop_front();
        }
        judgement
    }

    /// Whether nothing that is on its way has been overtaken, reported, or taken for lost.
    pub fn is_in_order(&self) -> bool {
        let in_order = |oldest: &InFlight| !oldest.retransmitted && !self.rack.has_overtaken(oldest.order);
        let nothing_missing = self.lost == 0 && self.reported == 0 && self.again.is_empty();
        nothing_missing && self.segments.front().is_none_or(in_order)
    }

    /// Looks at one segment; whether it is taken for lost.
    fn is_lost(&mut self, index: usize, allowed: Duration, now: Instant, judgement: &mut Judgement) -> bool {
        let segment = self.segments[index];
        if !self.rack.has_overtaken(segment.order) {
            return false;
        }
        let deadline = segment.sent_at + allowed;
        if deadline > now {
            let wait = deadline - now;
            judgement.wait = Some(judgement.wait.map_or(wait, |earlier| earlier.min(wait)));
            return false;
        }
        judgement.found = true;
        self.change(index, |segment| segment.lost = true);
        true
    }

    /// Takes the oldest segment for lost.
    pub fn lose_first(&mut self) {
        if self.segments.front().is_some_and(InFlight::is_under_way) {
            self.change(0, |oldest| oldest.lost = true);
        }
    }

    /// Takes for lost the oldest segment, and of the others what had time to arrive (RFC 8985 §6.3), but for what the peer has
    /// reported: unless it must have thrown that away, because it would have acknowledged it otherwise (RFC 2018 §8).
    pub fn lose_overdue(&mut self, smoothed: Option<Duration>, now: Instant) {
        let allowed = self.rack.rtt() + self.rack.window(true, self.reported_segments, smoothed);
        self.lose(|segment| segment.sent_at + allowed <= now);
    }

    /// Takes everything for lost, with the same exception.
    pub fn lose_all(&mut self) {
        self.lose(|_| true);
    }

    fn lose(&mut self, is_lost: impl Fn(&InFlight) -> bool) {
        let reneged = self.segments.front().is_some_and(|oldest| oldest.reported);
        self.change_all(|index, segment| {
            segment.reported &= !reneged;
            segment.lost = !segment.reported && (segment.lost || reneged || index == 0 || is_lost(segment));
        });
    }

    /// Cuts what has more than `mss` octets of data into pieces, and takes them for lost, unless the peer has reported them.
    pub fn resegment(&mut self, mss: u32) {
        let data = |segment: &InFlight| segment.length - u32::from(segment.fin);
        if self.segments.iter().all(|segment| data(segment) <= mss) {
            return;
        }
        for mut segment in std::mem::take(&mut self.segments) {
            segment.lost |= data(&segment) > mss && !segment.reported;
            while data(&segment) > mss {
                self.segments.push_back(InFlight { length: mss, fin: false, ..segment });
                segment.start = segment.start.advance(mss);
                segment.length -= mss;
            }
            self.segments.push_back(segment);
        }
        self.change_all(|_, _| {});
        self.resized = true;
    }

    /// Nothing was lost after all.
    pub fn forgive(&mut self) {
        self.change_all(|_, segment| segment.lost = false);
        self.rack.forget_latest();
    }

    /// The oldest segment taken for lost, where it may be sent within `allowance` octets in flight or nothing is in flight.
    pub fn next_lost(&mut self, allowance: u32) -> Option<Chunk> {
        if self.lost == 0 {
            return None;
        }
        let from = self.index_of(self.lost_from);
        let segment = self.segments.range(from..).find(|segment| segment.lost)?;
        self.lost_from = segment.start;
        let fits = self.under_way == 0 || self.under_way.saturating_add(segment.length) <= allowance;
        fits.then(|| segment.chunk())
    }

    /// Notes that a chunk was sent for the first time.
    pub fn sent(&mut self, chunk: &Chunk, now: Instant) {
        let segment = InFlight {
            start: chunk.seq,
            length: chunk.len(),
            sent_at: now,
            order: self.number(),
            fin: chunk.fin,
            retransmitted: false,
            lost: false,
            reported: false,
        };
        self.count(&segment);
        self.resized |= self.segments.len() == self.segments.capacity();
        self.segments.push_back(segment);
    }

    /// Notes that a chunk was sent again.
    pub fn sent_again(&mut self, chunk: &Chunk, now: Instant) {
        let index = self.index_of(chunk.seq);
        if self.segments.get(index).is_none_or(|segment| segment.start != chunk.seq) {
            return;
        }
        let order = self.number();
        self.change(index, |segment| {
            (segment.sent_at, segment.order, segment.retransmitted) = (now, order, true);
            // A window probe sends only the first octet again: the rest stays as lost as it was.
            segment.lost &= segment.length != chunk.len();
        });
        let entry = (chunk.seq, order);
        if find_again(&self.segments, entry).is_some() {
            self.resized |= self.again.len() == self.again.capacity();
            self.again.push_back(entry);
        }
    }

    fn number(&mut self) -> u32 {
        self.transmissions = self.transmissions.wrapping_add(1);
        self.transmissions
    }
}

/// The segment whose transmission under way is the one that `entry` tells of.
fn find_again(segments: &VecDeque<InFlight>, (start, order): (SeqNumber, u32)) -> Option<usize> {
    let index = segments.partition_point(|segment| segment.start.precedes(start));
    let segment = segments.get(index)?;
    (segment.order == order && segment.is_under_way()).then_some(index)
}
