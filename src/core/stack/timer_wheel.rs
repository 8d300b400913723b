//! A hierarchical timer wheel (Varghese and Lauck 1987): arming, cancelling and expiring cost the same for one timer as for
//! a million.

use crate::time::Instant;
use std::time::Duration;

/// The wheel's tick, its finest distinction.
pub const TICK: Duration = crate::tcp::rto::CLOCK_GRANULARITY;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Seven levels of 64 slots reach 2^42 ticks: more than a century, which no worker's clock will see.
const LEVELS: usize = 7;
const NONE: u32 = u32::MAX;

/// Where a timer hangs that was found due, and one that is not armed: beyond all slots.
const EXPIRED: u32 = (LEVELS * SLOTS) as u32;
const NOWHERE: u32 = EXPIRED + 1;

/// Bits of a tick; the place is above them.
const DUE_BITS: u32 = SLOT_BITS * LEVELS as u32;

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    /// The tick on which it is due, and where it hangs.
    hung: u64,
}

impl Node {
    const IDLE: Self = Self { next: NONE, previous: NONE, hung: Self::hung(0, NOWHERE) };

    const fn hung(due: u64, place: u32) -> u64 {
        (place as u64) << DUE_BITS | due
    }

    fn due(&self) -> u64 {
        self.hung & ((1 << DUE_BITS) - 1)
    }

    /// Level and slot, as one number, or [`NOWHERE`], or [`EXPIRED`].
    fn place(&self) -> u32 {
        (self.hung >> DUE_BITS) as u32
    }
}

/// At most one deadline for each of a range of small numbers, called tokens: slab indices, in practice.
#[derive(Debug)]
pub struct TimerWheel {
    /// Every timer due at this tick or before has been taken out.
    tick: u64,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit for each slot that holds a timer.
    occupied: [u64; LEVELS],
    nodes: Vec<Node>,
    /// The first of the timers that were found due and not handed out yet.
    expired: u32,
}

impl TimerWheel {
    /// A wheel for the tokens below `tokens`. The room is reserved at once, so that it never moves; the kernel backs it when it is
    /// touched.
    pub fn new(tokens: u32) -> Self {
        let nodes = Vec::with_capacity(tokens as usize);
        Self { tick: 0, heads: [[NONE; SLOTS]; LEVELS], occupied: [0; LEVELS], nodes, expired: NONE }
    }

    /// Makes sure that `token` fires at `deadline` or earlier. A timer that is already due earlier stays: whoever owns it
    /// looks at the clock when it fires and arms it again, which is cheaper than moving it with every segment.
    pub fn arm(&mut self, token: u32, deadline: Instant) {
        let index = token as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::IDLE);
        }
        let nanos_per_tick = TICK.as_nanos() as u64;
        let due = deadline.as_nanos().div_ceil(nanos_per_tick).clamp(self.tick + 1, (1 << DUE_BITS) - 1);
        let node = &self.nodes[index];
        if node.place() != NOWHERE && node.due() <= due {
            return;
        }
        self.cancel(token);
        self.hang(token, due);
    }

    /// Forgets `token`'s deadline, if it has one.
    pub fn cancel(&mut self, token: u32) {
        let Some(&node) = self.nodes.get(token as usize).filter(|node| node.place() != NOWHERE) else { return };
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if node.previous != NONE {
            self.nodes[node.previous as usize].next = node.next;
        } else if node.place() == EXPIRED {
            self.expired = node.next;
        } else {
            let (level, slot) = (node.place() as usize / SLOTS, node.place() as usize % SLOTS);
            self.heads[level][slot] = node.next;
            if node.next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        }
        self.nodes[token as usize] = Node::IDLE;
    }

    /// Takes out one token whose deadline has passed. To be called until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_nanos() / TICK.as_nanos() as u64;
        while self.expired == NONE {
            let Some((level, slot, due)) = self.next_slot().filter(|&(_, _, due)| due <= now) else {
                self.tick = self.tick.max(now);
                return None;
            };
            self.tick = due;
            self.empty_slot(level, slot);
        }
        let token = self.expired;
        self.cancel(token);
        Some(token)
    }

    /// When [`TimerWheel::expire`] should be called next; it may find nothing due then, because coarse slots are opened early.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.expired != NONE {
            return Some(Instant::ZERO);
        }
        let (_, _, due) = self.next_slot()?;
        Some(Instant::from_nanos(due.saturating_mul(TICK.as_nanos() as u64)))
    }

    /// The earliest slot that holds timers, and the tick on which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = SLOT_BITS * level as u32;
        // All timers of a level lie ahead within the same turn of the level above, so no slot before the current one is in use.
        let slot = self.occupied[level].trailing_zeros() as usize;
        let turn = (self.tick >> shift) & !(SLOTS as u64 - 1);
        Some((level, slot, (turn | slot as u64) << shift))
    }

    /// Moves the timers of a slot that has begun: to finer slots, or to the expired ones.
    fn empty_slot(&mut self, level: usize, slot: usize) {
        let mut token = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while token != NONE {
            let node = self.nodes[token as usize];
            self.hang(token, node.due());
            token = node.next;
        }
    }

    /// Hangs a timer where its due tick first differs from the current one; with the expired ones where it does not.
    fn hang(&mut self, token: u32, due: u64) {
        let (place, head) = if due <= self.tick {
            (EXPIRED, &mut self.expired)
        } else {
            let level = ((due ^ self.tick).ilog2() / SLOT_BITS) as usize;
            let slot = (due >> (SLOT_BITS * level as u32)) as usize % SLOTS;
            self.occupied[level] |= 1 << slot;
            ((level * SLOTS + slot) as u32, &mut self.heads[level][slot])
        };
        let next = std::mem::replace(head, token);
        self.nodes[token as usize] = Node { next, previous: NONE, hung: Node::hung(due, place) };
        if next != NONE {
            self.nodes[next as usize].previous = token;
        }
    }
}
