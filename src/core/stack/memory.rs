//! One budget for the memory of all connections, as Linux' tcp_mem. Each connection has limits of its own, but tens of thousands that
//! keep within them may ask for more than a machine has: octets that cost their sender next to nothing may cost us a page each.
//!
//! What counts is what is allocated, whether it is touched or not: control blocks, rings, and the lists of what is in flight or
//! out of order. A connection says when one of them was resized, which is seldom; so keeping the sum takes a flag's look at a time.
//!
//! - Below three quarters of the budget nothing is done.
//! - Above ([`Thrift::Sparing`]) windows and large buffers grow no more, nobody writes ahead, and out-of-order data are refused that
//!   would need room. What grows all the same pays with a look at a few connections, which give back what they do not need: idle ones
//!   sleep, and the largest forgets what came out of order.
//! - At its end ([`Thrift::Strict`]) nothing grows but a first small buffer, and of each few connections the slowest is reset,
//!   until a sixteenth is free. Who grows all the same, or is new, pays at once, with the slowest of a few others: so the budget is
//!   never exceeded by more than one connection's growth, however many come in one batch.
//!
//! A connection is as slow as the time it would take to bring what is kept for it to an end at the pace so far, by the octets that
//! its peer has sent or acknowledged, whatever it says of its window. One that would take less than a minute is spared, unless all
//! of them would.

use super::{
    Stack,
    connections::{Body, Connections, Entry, Slot},
};
use crate::{
    config::Thrift,
    tcp::{Cause, Cx},
    time::Instant,
    wire::SeqNumber,
};
use std::{ops::Range, time::Duration};

/// What a connection that is awake takes, beside its buffers: its control block, and what the allocator needs for that.
const BLOCK: usize = size_of::<Entry>() + 16;

/// Connections that are compared at a time.
const SAMPLE: u32 = 16;
/// Places that are looked at for them: most connections may be asleep.
const SCANNED: u32 = 1_024;
/// Most looks in one turn: as growth has to pay for them, or where the budget is used up.
const LOOKS_AT_ONCE: u32 = 32;
/// Most looks that one growth pays with at once, where the budget is exceeded. The last of them finds somebody, slow or not.
const LOOKS_PAID: u32 = 8;
/// Where the budget is used up and nobody comes, it is looked around so often.
const LOOKS_AGAIN: Duration = Duration::from_millis(1);
/// Control blocks nobody needs that are given back in one turn.
const SPARES_AT_ONCE: usize = 256;
/// Who is faster than that is not slow, milliseconds. Each look that finds nobody makes that less by a quarter, and each that
/// finds somebody twice as much again.
const SLOW: u64 = 60_000;
/// After so long what a connection has done counts no more.
const MEASURED: Duration = Duration::from_secs(60);

/// What one connection is charged with, and how it makes use of it.
#[derive(Debug)]
pub(super) struct Account {
    /// Octets it is charged with.
    held: usize,
    /// Of these, what its application keeps.
    kept: usize,
    /// Since when it is measured, and where it stood then.
    since: Instant,
    numbers: (SeqNumber, SeqNumber),
}

impl Account {
    /// That of a block that has no buffers yet.
    pub fn new() -> Self {
        Self { held: BLOCK, kept: 0, since: Instant::NEVER, numbers: Default::default() }
    }

    /// Another connection has the block, with the memory that is there.
    pub fn begin(&mut self) {
        self.since = Instant::NEVER;
    }

    /// Nobody has the block any more.
    pub fn end(&mut self) {
        self.kept = 0;
    }

    /// Whether its application keeps something for it.
    pub fn keeps(&self) -> bool {
        self.kept > 0
    }
}

/// The sum.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
    thrift: Thrift,
    /// As long as the sum lies in it, thrift stays what it is.
    steady: Range<usize>,
    /// Looks that growth has to pay for.
    owed: u32,
    /// When it is to be looked around again, where nothing is left.
    again_at: Instant,
    /// Who is slow now, milliseconds.
    slow: u64,
}

impl Memory {
    pub fn new(limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        Self { limit, used: 0, thrift: Thrift::None, steady: 0..0, owed: 0, again_at: Instant::ZERO, slow: SLOW }
    }

    pub fn used(&self) -> usize {
        self.used
    }

    pub fn thrift(&self) -> Thrift {
        self.thrift
    }

    /// When somebody has to see to it that something is left again.
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.thrift == Thrift::Strict).then_some(self.again_at)
    }

    fn is_exceeded(&self) -> bool {
        self.used >= self.limit
    }

    /// Charges a block that has just been made.
    pub fn charge_new(&mut self, entry: &Entry) {
        self.add(0, entry.account.held);
    }

    /// Charges a block with what it has now.
    pub fn charge(&mut self, entry: &mut Entry) {
        let held = BLOCK + entry.connection.memory() + entry.account.kept;
        let before = std::mem::replace(&mut entry.account.held, held);
        entry.connection.weighed();
        self.add(before, held);
    }

    /// A block goes.
    pub fn discharge(&mut self, entry: &Entry) {
        self.add(entry.account.held, 0);
    }

    fn add(&mut self, before: usize, held: usize) {
        self.used = self.used - before + held;
        if held > before && self.thrift != Thrift::None {
            self.owed = (self.owed + 1).min(LOOKS_AT_ONCE);
        }
        if !self.steady.contains(&self.used) {
            self.update_thrift();
        }
    }

    /// Says how sparing connections are to be, with hysteresis: each step is taken back a little below where it was taken.
    #[cold]
    fn update_thrift(&mut self) {
        let part = |sixteenths: usize| self.limit / 16 * sixteenths;
        let is_strict = self.used >= if self.thrift == Thrift::Strict { part(15) } else { self.limit };
        let is_sparing = self.used >= if self.thrift == Thrift::None { part(12) } else { part(10) };
        self.thrift = match (is_strict, is_sparing) {
            (true, _) => Thrift::Strict,
            (_, true) => Thrift::Sparing,
            _ => Thrift::None,
        };
        self.steady = match self.thrift {
            Thrift::None => 0..part(12),
            Thrift::Sparing => part(10)..self.limit,
            Thrift::Strict => part(15)..usize::MAX,
        };
        self.slow = SLOW;
    }

    /// The slowest of a few, where it is slow.
    fn pick(&mut self, slowest: Option<(u64, u32)>) -> Option<u32> {
        let slow = slowest.filter(|&(slowness, _)| slowness >= self.slow);
        self.slow = if slow.is_some() { (2 * self.slow + 1).min(SLOW) } else { self.slow - self.slow.div_ceil(4) };
        slow.map(|(_, index)| index)
    }

    fn owes_look(&mut self) -> bool {
        let owes = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        owes
    }
}

impl Entry {
    /// In how many milliseconds what is kept for it will have come to its end, at the pace so far.
    fn slowness(&mut self, now: Instant) -> u64 {
        let numbers = self.connection.heard_up_to();
        let Account { held, since, numbers: before, .. } = self.account;
        let span = now - since;
        let moved = |now: SeqNumber, before: SeqNumber| u64::from(now.since(before));
        let progress = moved(numbers.0, before.0) + moved(numbers.1, before.1);
        if since == Instant::NEVER || span > MEASURED {
            (self.account.since, self.account.numbers) = (now, numbers);
        }
        let (held, millis) = (held as u64, span.as_millis() as u64);
        // One that has not been measured yet is as good as the others, but for its size.
        let progress = if since == Instant::NEVER { 0 } else { progress };
        held.saturating_mul(millis.max(1)) / (progress + 1)
    }
}

impl Connections {
    /// The connection at `index` takes more or less than before.
    pub fn charge(&mut self, now: Instant, index: u32) {
        let Some(entry) = self.awake_mut(index) else { return };
        if entry.account.since == Instant::NEVER {
            (entry.account.since, entry.account.numbers) = (now, entry.connection.heard_up_to());
        }
        self.recharge(index);
    }

    fn recharge(&mut self, index: u32) {
        if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(index) {
            self.memory.charge(entry);
        }
    }

    fn keep(&mut self, index: u32, octets: usize) {
        if let Some(entry) = self.awake_mut(index) {
            entry.account.kept = octets;
            self.recharge(index);
        }
    }

    fn drop_spares(&mut self) {
        let left = self.spare.len().saturating_sub(SPARES_AT_ONCE);
        for entry in self.spare.drain(left..) {
            self.memory.discharge(&entry);
        }
    }

    /// Looks at the next few connections that are awake, whose turn comes round again and again. What they can do without is
    /// given back; of those that are left, but for `spared`, this returns the slowest, and how slow it is.
    fn look_around(&mut self, cx: Cx<'_>, spared: Option<u32>) -> Option<(u64, u32)> {
        let (mut slowest, mut largest, mut seen) = (None, None, 0);
        let places = self.slots.places();
        for _ in 0..places.min(SCANNED) {
            self.hand = if self.hand + 1 < places { self.hand + 1 } else { 0 };
            if spared == Some(self.hand) || self.suspend(cx, self.hand) {
                continue;
            }
            let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(self.hand) else { continue };
            entry.connection.give_back();
            self.memory.charge(entry);
            slowest = slowest.max(Some((entry.slowness(cx.now), self.hand)));
            if entry.connection.has_out_of_order() {
                largest = largest.max(Some((entry.account.held, self.hand)));
            }
            seen += 1;
            if seen == SAMPLE {
                break;
            }
        }
        if let Some(Slot { body: Body::Awake(entry), .. }) = largest.and_then(|(_, index)| self.slots.get_mut(index)) {
            entry.connection.discard_out_of_order();
            entry.connection.give_back();
            self.memory.charge(entry);
        }
        slowest
    }

    /// What all blocks are charged with, counted anew.
    #[cfg(test)]
    pub fn audit(&self) -> usize {
        let weight = |entry: &Entry| BLOCK + entry.connection.memory() + entry.account.kept;
        let awake = self.slots.indices().filter_map(|index| match &self.slots[index].body {
            Body::Awake(entry) => Some(weight(entry)),
            Body::Asleep(_) => None,
        });
        awake.chain(self.spare.iter().map(|entry| weight(entry))).sum()
    }
}

impl Stack {
    /// Octets that connections keep: control blocks, buffers and lists, and what applications [keep](super::Stream::keep) for them.
    pub fn memory(&self) -> usize {
        self.connections.memory.used()
    }

    /// How much of it there may be, if there is a limit ([`StackConfig::memory`](crate::config::StackConfig::memory)).
    pub fn memory_limit(&self) -> Option<usize> {
        self.config.memory
    }

    /// A connection's memory has changed.
    #[cold]
    pub(super) fn charge(&mut self, now: Instant, index: u32) {
        self.connections.charge(now, index);
        self.note_growth(now, index);
    }

    pub(super) fn keep(&mut self, now: Instant, index: u32, octets: usize) {
        self.connections.keep(index, octets);
        self.note_growth(now, index);
    }

    /// The connection at `index` takes more than before, or less.
    #[inline]
    pub(super) fn note_growth(&mut self, now: Instant, index: u32) {
        self.stats.memory_peak = self.stats.memory_peak.max(self.connections.memory.used() as u64);
        if self.connections.memory.is_exceeded() {
            self.pay(now, index);
        }
        self.config.tcp.thrift = self.connections.memory.thrift();
    }

    /// Others go until there is room again for what `payer` takes.
    #[cold]
    fn pay(&mut self, now: Instant, payer: u32) {
        for look in 1..=LOOKS_PAID {
            let slowest = self.connections.look_around(self.config.tcp.at(now), Some(payer));
            if !self.connections.memory.is_exceeded() {
                break;
            }
            let slow = self.connections.memory.pick(slowest);
            let last = slowest.filter(|_| look == LOOKS_PAID).map(|(_, index)| index);
            if let Some(index) = slow.or(last) {
                self.reset_slow(now, index);
            }
        }
        self.connections.memory.again_at = now + LOOKS_AGAIN;
    }

    /// Sees to it that the budget is kept: once a turn, and some of the work only where there is much.
    #[inline]
    pub(super) fn relieve(&mut self, now: Instant) {
        if self.connections.memory.thrift() != self.config.tcp.thrift || self.config.tcp.thrift != Thrift::None {
            self.relieve_now(now);
        }
    }

    #[cold]
    fn relieve_now(&mut self, now: Instant) {
        self.connections.drop_spares();
        for _ in 0..LOOKS_AT_ONCE {
            match self.connections.memory.thrift() {
                Thrift::None => break,
                Thrift::Sparing if !self.connections.memory.owes_look() => break,
                _ => {}
            }
            let slowest = self.connections.look_around(self.config.tcp.at(now), None);
            if self.connections.memory.thrift() == Thrift::Strict
                && let Some(index) = self.connections.memory.pick(slowest)
            {
                self.reset_slow(now, index);
            }
        }
        self.connections.memory.again_at = now + LOOKS_AGAIN;
        self.config.tcp.thrift = self.connections.memory.thrift();
    }

    fn reset_slow(&mut self, now: Instant, index: u32) {
        if let Some(entry) = self.connections.awake_mut(index) {
            entry.connection.abort_for(Cause::Memory);
            self.stats.connections_slow += 1;
            // Before what follows from it, or the end of one would have others pay.
            self.connections.charge(now, index);
            self.apply_effects(now, index);
        }
    }
}
