//! One direction of a wire: how long it takes, how much it holds, and what goes wrong on it.

use crate::dice::Dice;
use std::time::Duration;
use xskip_core::{time::Instant, wire::ethernet};

/// A wire that is bad for a while and good for a while (Gilbert and Elliott). It changes with time and not with frames, or a
/// sender that has become slow would stay in the bad part for ever.
#[derive(Clone, Debug)]
pub struct Bursts {
    /// How long it is good, on average.
    pub good: Duration,
    /// How long it is bad, on average.
    pub bad: Duration,
    /// The chance of a frame to be lost meanwhile.
    pub loss: u32,
}

/// A smaller MTU from some moment on.
#[derive(Clone, Debug)]
pub struct Narrowing {
    /// When.
    pub at: Instant,
    /// The MTU from then on, bytes.
    pub mtu: usize,
    /// Whether the sender hears of it by ICMP; otherwise frames just disappear.
    pub tells: bool,
}

/// What goes wrong. Chances are parts of [`CERTAIN`](crate::dice::CERTAIN).
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The chance of a frame to be lost.
    pub loss: u32,
    /// Losses that come together.
    pub bursts: Option<Bursts>,
    /// The chance of a bare acknowledgment to be lost, besides.
    pub ack_loss: u32,
    /// The chance of a frame to arrive twice.
    pub duplication: u32,
    /// The chance of a frame to have a bit turned over.
    pub corruption: u32,
    /// The chance of a frame to be held up, so that others overtake it,
    pub reordering: u32,
    /// by at most so much.
    pub held_up: Duration,
    /// When nothing gets through: from when on, and for how long.
    pub partitions: Vec<(Instant, Duration)>,
    /// A smaller MTU in the course of things.
    pub narrowing: Option<Narrowing>,
    /// The chance of a frame to come once more, long after all others,
    pub straggling: u32,
    /// by at most so much.
    pub stragglers: Duration,
    /// Frames with data that are lost for certain, counted from 1 in the order they are sent.
    pub lost_data: Vec<u64>,
}

/// A direction of a wire.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// How long a frame takes from end to end.
    pub delay: Duration,
    /// By how much more it may, in order.
    pub jitter: Duration,
    /// Bits a second; none where there is no limit.
    pub rate: Option<u64>,
    /// Bytes that wait for their turn; what comes on top is lost.
    pub queue: usize,
    /// Whether it marks what comes when the queue is half full, where that is understood (RFC 3168).
    pub marks: bool,
    /// What goes wrong.
    pub faults: Faults,
}

/// What the wire should know of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// Whether anybody would notice a bit turned over: nothing guards ARP but the checksum of Ethernet.
    pub is_guarded: bool,
    /// Whether it is an acknowledgment and nothing else.
    pub is_bare_ack: bool,
    /// Whether it has data.
    pub has_data: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, perhaps a second time.
    Arrives(Instant, Option<Instant>),
    /// It does not; why.
    Lost(&'static str),
    /// It is larger than this MTU, and its sender is to hear of that.
    TooBig(usize),
}

/// What a link has carried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Frames lost.
    pub lost: u64,
    /// Those of them that had data.
    pub lost_data: u64,
    /// Frames with data that were sent into it.
    pub data: u64,
    /// Frames of which a bit was turned over.
    pub damaged: u64,
}

/// A direction of a wire at work.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    dice: Dice,
    /// Decides of stragglers alone, and so changes nothing else.
    late: Dice,
    /// When the last bit of what was sent into it will have left.
    free_at: Instant,
    /// When the last frame in order arrives.
    last: Instant,
    is_bad: bool,
    changes_at: Instant,
    /// What it has carried.
    pub counts: Counts,
}

impl Link {
    /// A link that has carried nothing yet.
    pub fn new(wire: Wire, dice: Dice) -> Self {
        let (free_at, last, changes_at) = Default::default();
        let late = dice.apart();
        Self { wire, dice, late, free_at, last, is_bad: true, changes_at, counts: Counts::default() }
    }

    /// When a frame that is sent now comes once more, long after its connection is over, if it does.
    pub fn straggler(&mut self, now: Instant) -> Option<Instant> {
        let Faults { straggling, stragglers, .. } = self.wire.faults;
        self.late.happens(straggling).then(|| now + self.late.span(stragglers))
    }

    /// Sends a frame into the link; where its bits are damaged on the way, they are so in `frame`.
    pub fn carry(&mut self, now: Instant, frame: &mut [u8], kind: Kind) -> Fate {
        self.counts.data += u64::from(kind.has_data);
        let fate = self.decide(now, frame, kind);
        if !matches!(fate, Fate::Arrives(..)) {
            self.counts.lost += 1;
            self.counts.lost_data += u64::from(kind.has_data);
        }
        fate
    }

    fn decide(&mut self, now: Instant, frame: &mut [u8], kind: Kind) -> Fate {
        if let Some(narrowing) = self.wire.faults.narrowing.as_ref().filter(|narrowing| narrowing.at <= now)
            && frame.len() > ethernet::HEADER_LEN + narrowing.mtu
        {
            return if narrowing.tells { Fate::TooBig(narrowing.mtu) } else { Fate::Lost("too big") };
        }
        let Some(left_at) = self.queue(now, frame.len()) else { return Fate::Lost("queue full") };
        let is_named = kind.has_data && self.wire.faults.lost_data.contains(&self.counts.data);
        if is_named {
            return Fate::Lost("lost by name");
        }
        if self.wire.faults.partitions.iter().any(|&(at, span)| at <= left_at && left_at < at + span) {
            return Fate::Lost("cut");
        }
        let burst = self.burst_loss(left_at);
        let faults = &self.wire.faults;
        let dice = &mut self.dice;
        if dice.happens(faults.loss) {
            return Fate::Lost("lost");
        }
        if dice.happens(burst) {
            return Fate::Lost("lost in a burst");
        }
        if kind.is_bare_ack && dice.happens(faults.ack_loss) {
            return Fate::Lost("ACK lost");
        }
        if kind.is_guarded && dice.happens(faults.corruption) {
            let bits = (frame.len() - ethernet::HEADER_LEN) as u64 * 8;
            let bit = ethernet::HEADER_LEN * 8 + dice.below(bits) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
            self.counts.damaged += 1;
        }
        let arrives = left_at + self.wire.delay + dice.span(self.wire.jitter);
        let mut in_order = arrives.max(self.last);
        if dice.happens(faults.reordering) {
            in_order += dice.span(faults.held_up);
        } else {
            self.last = in_order;
        }
        let again = dice.happens(faults.duplication).then(|| in_order + dice.span(faults.held_up + self.wire.jitter));
        Fate::Arrives(in_order, again)
    }

    /// Whether what is sent now is to be marked.
    pub fn is_crowded(&self, now: Instant) -> bool {
        self.wire.marks && self.wire.rate.is_some_and(|rate| 2 * self.waiting(now, rate) > self.wire.queue as u128)
    }

    /// Bytes in the queue.
    fn waiting(&self, now: Instant, rate: u64) -> u128 {
        (self.free_at - now).as_nanos() * u128::from(rate) / 8_000_000_000
    }

    /// When a frame has left the queue; none where it finds no room there.
    fn queue(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let Some(rate) = self.wire.rate else { return Some(now) };
        let begins = self.free_at.max(now);
        if self.waiting(now, rate) > self.wire.queue as u128 {
            return None;
        }
        self.free_at = begins + Duration::from_nanos(length as u64 * 8_000_000_000 / rate);
        Some(self.free_at)
    }

    fn burst_loss(&mut self, now: Instant) -> u32 {
        let Some(bursts) = &self.wire.faults.bursts else { return 0 };
        while self.changes_at <= now {
            self.is_bad = !self.is_bad;
            let mean = if self.is_bad { bursts.bad } else { bursts.good };
            self.changes_at += self.dice.exponential(mean).max(Duration::from_micros(1));
        }
        if self.is_bad { bursts.loss } else { 0 }
    }
}
