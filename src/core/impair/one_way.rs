use std::{collections::VecDeque, time::Duration};

use super::{Chance, Direction};
use crate::{rng::splitmix64, time::Instant};

/// Frames that are under way in one direction at most; those that come when there are so many are dropped. At 1,514 bytes
/// it is what is under way for 40 ms at 10 Gbit/s, in 50 MB.
pub const HELD_MAX: usize = 32_768;

/// Where an Ethernet header ends: a corrupted frame still arrives, or its Ethernet address would have to be wrong too.
const ETHERNET_HEADER: usize = 14;

/// What became of the frames of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came.
    pub pushed: u64,
    /// Frames that got through, duplicates included.
    pub popped: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames that were given a duplicate.
    pub duplicated: u64,
    /// Frames with a bit turned over.
    pub corrupted: u64,
    /// Frames that skipped the delay.
    pub overtook: u64,
    /// Frames dropped because too many waited for the rate.
    pub queue_full: u64,
    /// Frames dropped because [`HELD_MAX`] were under way.
    pub overflowed: u64,
}

/// One direction of a link, with the frames that are under way.
#[derive(Debug)]
pub struct OneWay {
    settings: Direction,
    loss: Dice,
    duplicate: Dice,
    corrupt: Dice,
    reorder: Dice,
    jitter: Dice,
    /// Frames in the order in which they came, each due no earlier than the one before.
    line: VecDeque<Held>,
    /// Those that skip the delay; in the order of their deadlines too.
    overtaking: VecDeque<Held>,
    /// When each of the frames that still wait for the rate, or are being sent, has been sent.
    departures: VecDeque<Instant>,
    last_departure: Instant,
    /// Buffers of frames that are through, for those to come.
    pool: Vec<Vec<u8>>,
    counts: Counts,
}

/// A frame under way.
#[derive(Debug)]
struct Held {
    due: Instant,
    lane: u32,
    bytes: Vec<u8>,
}

impl OneWay {
    /// A direction with nothing under way.
    pub fn new(settings: Direction, seed: u64) -> Self {
        let dice = |kind: u64| Dice::new(splitmix64(seed) ^ splitmix64(kind));
        Self {
            settings,
            loss: dice(1),
            duplicate: dice(2),
            corrupt: dice(3),
            reorder: dice(4),
            jitter: dice(5),
            line: VecDeque::new(),
            overtaking: VecDeque::new(),
            departures: VecDeque::new(),
            last_departure: Instant::ZERO,
            pool: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a frame in. `lane` is handed out with it again.
    pub fn push(&mut self, now: Instant, lane: u32, frame: &[u8]) {
        self.counts.pushed += 1;
        // Each is asked about every frame, whatever becomes of it, so that no kind of chance depends on another.
        let lost = self.loss.hits(self.settings.loss);
        let duplicated = self.duplicate.hits(self.settings.duplicate);
        let overtakes = self.reorder.hits(self.settings.reorder);
        let corrupted = self.corrupt.hits(self.settings.corrupt);
        let corrupt_bit = corrupted.then(|| self.corrupt.next());
        if lost {
            self.counts.lost += 1;
            return;
        }
        // Of a frame that comes twice, the second one is whole.
        self.admit(now, lane, frame, overtakes, corrupt_bit);
        if duplicated {
            self.counts.duplicated += 1;
            self.admit(now, lane, frame, overtakes, None);
        }
    }

    /// The first frame that is through by `now`, and its lane.
    pub fn front(&self, now: Instant) -> Option<(u32, &[u8])> {
        self.first().filter(|held| held.due <= now).map(|held| (held.lane, held.bytes.as_slice()))
    }

    /// Takes away what [`OneWay::front`] shows; false where that is nothing.
    pub fn pop(&mut self, now: Instant) -> bool {
        if self.front(now).is_none() {
            return false;
        }
        let queue = if self.overtaking_is_first() { &mut self.overtaking } else { &mut self.line };
        let Some(held) = queue.pop_front() else { return false };
        self.pool.push(held.bytes);
        self.counts.popped += 1;
        true
    }

    /// When the next frame is through.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.first().map(|held| held.due)
    }

    /// How many frames are under way.
    pub fn held(&self) -> usize {
        self.line.len() + self.overtaking.len()
    }

    /// What became of all frames so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A frame, or its duplicate, comes to the queue.
    fn admit(&mut self, now: Instant, lane: u32, frame: &[u8], overtakes: bool, corrupt_bit: Option<u64>) {
        if self.held() >= HELD_MAX {
            self.counts.overflowed += 1;
            return;
        }
        let Some(departure) = self.depart(now, frame.len()) else {
            self.counts.queue_full += 1;
            return;
        };
        let mut bytes = self.pool.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame);
        if let Some(bit) = corrupt_bit.filter(|_| frame.len() > ETHERNET_HEADER) {
            let bit = bit % (8 * (frame.len() - ETHERNET_HEADER) as u64);
            bytes[ETHERNET_HEADER + (bit / 8) as usize] ^= 1 << (bit % 8);
            self.counts.corrupted += 1;
        }
        if overtakes {
            self.counts.overtook += 1;
            self.overtaking.push_back(Held { due: departure, lane, bytes });
            return;
        }
        let due = departure + self.delay();
        let due = self.line.back().map_or(due, |last| due.max(last.due));
        self.line.push_back(Held { due, lane, bytes });
    }

    /// When a frame of so many bytes has been sent; `None` where too many wait.
    fn depart(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.settings.rate else { return Some(now) };
        while self.departures.front().is_some_and(|departure| *departure <= now) {
            self.departures.pop_front();
        }
        if self.departures.len() >= self.settings.queue as usize {
            return None;
        }
        // 64 KiB take 5·10^14 bit-nanoseconds: far from an overflow.
        let nanos = (bytes as u64 * 8 * 1_000_000_000).div_ceil(rate);
        self.last_departure = self.last_departure.max(now) + Duration::from_nanos(nanos);
        self.departures.push_back(self.last_departure);
        Some(self.last_departure)
    }

    /// How long the next frame is under way.
    fn delay(&mut self) -> Duration {
        let Direction { delay, jitter, .. } = self.settings;
        if jitter.is_zero() {
            return delay;
        }
        let spread = 2 * jitter.as_nanos() as u64 + 1;
        delay.saturating_sub(jitter) + Duration::from_nanos(self.jitter.below(spread))
    }

    fn first(&self) -> Option<&Held> {
        if self.overtaking_is_first() { self.overtaking.front() } else { self.line.front() }
    }

    fn overtaking_is_first(&self) -> bool {
        match (self.overtaking.front(), self.line.front()) {
            (Some(overtaking), Some(in_line)) => overtaking.due < in_line.due,
            (overtaking, _) => overtaking.is_some(),
        }
    }
}

/// A sequence of random numbers of its own (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        let number = splitmix64(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        number
    }

    /// A number below `end`; among 2^64 the smaller ones are not noticeably more frequent.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn hits(&mut self, chance: Chance) -> bool {
        chance > Chance::NEVER && self.below(1_000_000) < u64::from(chance.as_per_million())
    }
}
