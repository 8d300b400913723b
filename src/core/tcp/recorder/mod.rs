//! The flight recorder: the last 64 unusual things that happened to a connection, in eight octets each, always on.
//!
//! What is usual is not written down: a conversation whose segments arrive in order writes nothing, and its end a handful of lines.
//! The first [`FEW`] events lie in the control block itself. A connection to which more happens takes a list of [`MANY`] then, once:
//! the list stays with the block when another connection has that, and counts as the connection's memory.

mod explain;
mod happening;
mod history;

pub use self::{
    explain::explain,
    happening::{Cause, Happening},
    history::{Beginning, Ending, History, Past},
};

use super::State;
use crate::time::Instant;
use std::time::Duration;

/// Events that a connection remembers without any memory beside its control block.
pub const FEW: usize = 6;

/// Events that a connection remembers at most.
pub const MANY: usize = 64;

/// Events that have [company](Recorder::note_seldom) are written down once in so long.
const SELDOM_MILLIS: u32 = 1_000;

/// The largest argument: 24 bits.
const MOST: u32 = (1 << 24) - 1;

/// One event: when, what, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since the beginning of the history; after 49 days it stays at the largest number.
    millis: u32,
    /// What happened in the upper eight bits, and below it what [`Happening`] says of it.
    what: u32,
}

const _: () = assert!(size_of::<Event>() == 8);

impl Event {
    fn new(millis: u32, kind: u8, argument: u32) -> Self {
        Self { millis, what: u32::from(kind) << 24 | argument.min(MOST) }
    }

    fn kind(self) -> u8 {
        (self.what >> 24) as u8
    }

    fn argument(self) -> u32 {
        self.what & MOST
    }

    /// When it happened, to the millisecond: since the beginning of the history.
    pub fn after(self) -> Duration {
        Duration::from_millis(self.millis.into())
    }

    /// What happened.
    pub fn happening(self) -> Happening {
        Happening::of(self.kind(), self.argument())
    }
}

/// The events of one connection.
#[derive(Debug)]
pub(in crate::tcp) struct Recorder {
    since: Instant,
    /// Events so far, those that have been overwritten among them.
    count: u64,
    few: [Event; FEW],
    /// Takes their place once they are too few.
    many: Option<Box<[Event; MANY]>>,
    began: Beginning,
    /// Why the connection ended, once it has.
    cause: Cause,
    /// Whether the peer's window, and ours, were shut when it was last looked.
    pub theirs_is_shut: bool,
    pub ours_is_shut: bool,
    /// Memory is scarce: a few events are all that is kept.
    is_modest: bool,
    resized: bool,
}

impl Recorder {
    /// Nothing yet.
    pub fn new(since: Instant, began: Beginning) -> Self {
        Self {
            since,
            count: 0,
            few: [Event::default(); FEW],
            many: None,
            began,
            cause: Cause::None,
            theirs_is_shut: false,
            ours_is_shut: false,
            is_modest: false,
            resized: false,
        }
    }

    /// Begins anew, with the memory that is there.
    pub fn begin(&mut self, since: Instant, began: Beginning) {
        (self.since, self.began, self.count, self.cause) = (since, began, 0, Cause::None);
        (self.theirs_is_shut, self.ours_is_shut, self.is_modest) = (false, false, false);
    }

    /// Takes the list of one that is over.
    pub fn adopt_memory(&mut self, retired: &mut Self) {
        if self.many.is_none() && self.count == 0 {
            self.many = retired.many.take();
        }
    }

    /// Octets of memory it takes beside the control block.
    pub fn memory(&self) -> usize {
        if self.many.is_some() { size_of::<[Event; MANY]>() } else { 0 }
    }

    /// Whether that has changed since [`Recorder::weighed`] was called.
    #[inline]
    pub fn was_resized(&self) -> bool {
        self.resized
    }

    pub fn weighed(&mut self) {
        self.resized = false;
    }

    /// Gives the list back, and does without from now on: the latest few events stay.
    pub fn give_back(&mut self) {
        self.is_modest = true;
        if self.many.is_some() {
            let skipped = self.kept().saturating_sub(FEW);
            let mut few = [Event::default(); FEW];
            few.iter_mut().zip(self.events().skip(skipped)).for_each(|(place, event)| *place = event);
            if self.count as usize > FEW {
                few.rotate_right(self.count as usize % FEW); // each stands where its number says
            }
            (self.few, self.many, self.resized) = (few, None, true);
        }
    }

    fn slots(&self) -> &[Event] {
        self.many.as_deref().map_or(&self.few[..], |many| &many[..])
    }

    fn kept(&self) -> usize {
        self.slots().len().min(self.count as usize)
    }

    /// What is remembered, the oldest first.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let (slots, count) = (self.slots(), self.count as usize);
        (count - self.kept()..count).map(|number| slots[number % slots.len()])
    }

    /// Writes an event down.
    #[cold]
    #[inline(never)]
    pub fn note(&mut self, now: Instant, happening: Happening) {
        let (kind, argument) = happening.encode();
        self.push(Event::new(self.millis(now), kind, argument));
    }

    /// Writes down that the connection went to another state, as every connection does.
    #[inline]
    pub fn note_state(&mut self, now: Instant, state: State) {
        let (kind, argument) = Happening::State(state).encode();
        self.push(Event::new(self.millis(now), kind, argument));
    }

    /// Writes an event down unless the one before is of the same kind and less than a second ago: what may come with every segment
    /// is not to crowd out everything else.
    #[cold]
    #[inline(never)]
    pub fn note_seldom(&mut self, now: Instant, happening: Happening) {
        let (kind, argument) = happening.encode();
        let millis = self.millis(now);
        if self.last_since(millis, kind).is_none() {
            self.push(Event::new(millis, kind, argument));
        }
    }

    /// Writes down that so many octets were sent again, together with those before where there is one cause.
    #[cold]
    #[inline(never)]
    pub fn note_again(&mut self, now: Instant, happening: Happening) {
        let (kind, octets) = happening.encode();
        let millis = self.millis(now);
        match self.last_since(millis, kind) {
            Some(last) => *last = Event::new(last.millis, kind, last.argument() + octets),
            None => self.push(Event::new(millis, kind, octets)),
        }
    }

    fn millis(&self, now: Instant) -> u32 {
        // A division by a constant: that of a `Duration` takes 128 bits.
        let millis = now.as_nanos().saturating_sub(self.since.as_nanos()) / 1_000_000;
        millis.min(u32::MAX.into()) as u32
    }

    /// The last event, where it is of this kind and has just been written down.
    fn last_since(&mut self, millis: u32, kind: u8) -> Option<&mut Event> {
        let last = (self.count as usize).checked_sub(1)?;
        let slots = self.many.as_deref_mut().map_or(&mut self.few[..], |many| &mut many[..]);
        let last = &mut slots[last % slots.len()];
        (last.kind() == kind && millis.saturating_sub(last.millis) < SELDOM_MILLIS).then_some(last)
    }

    fn push(&mut self, event: Event) {
        let count = self.count as usize;
        if count == FEW {
            self.grow();
        }
        match &mut self.many {
            Some(many) => many[count % MANY] = event,
            None => self.few[count % FEW] = event,
        }
        self.count += 1;
    }

    /// The few places are taken: from now on the list has them, if there is memory for one.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        if self.is_modest || self.many.is_some() {
            return;
        }
        let mut many = Box::new([Event::default(); MANY]);
        many[..FEW].copy_from_slice(&self.few);
        (self.many, self.resized) = (Some(many), true);
    }

    /// Why it ends: the first one counts.
    pub fn end_for(&mut self, cause: Cause) {
        if self.cause == Cause::None {
            self.cause = cause;
        }
    }

    /// Why it ended.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// It does not end after all, or not for that reason.
    pub fn take_back_end(&mut self) {
        self.cause = Cause::None;
    }

    /// A copy of what is remembered, in memory that is there.
    pub fn copy_into(&self, past: &mut Past) {
        (past.since, past.began, past.missed) = (self.since, self.began, self.count - self.kept() as u64);
        past.events.clear();
        past.events.extend(self.events());
    }
}
