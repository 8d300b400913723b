//! Pairs that have left the stack: their segments are translated where they arrive, and the proxy looks now and then how they are.

use super::{
    Ended, Patience, Proxy, Router, Towards,
    application::hold_acknowledgments,
    pair::{Number, Phase, Side},
};
use crate::{
    splice::{self, Busy, Over, PairId, WhyNot},
    stack::{ConnectionId, Via},
    time::Instant,
    worker::Context,
};
use std::time::Duration;

/// The first look at a pair: many are over by then.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// The looks behind it are this part of its age apart, so that one that has ended is found soon, as it counts, and a million old ones
/// are no work,
const PART_OF_AGE: u32 = 8;
/// but no further than this.
const FARTHEST_LOOK: Duration = Duration::from_secs(30);

/// Octets that a pair has carried when it is kept quiet for the first time, so that it can leave,
const FIRST_HUSH: u64 = 128 << 10;
/// and which part of all that it has carried comes in addition until the next time.
const HUSH_PART: u64 = 4;
/// How long it is kept quiet at most: in the meantime nothing goes on.
const LONGEST_HUSH: Duration = Duration::from_millis(20);
/// Where there was no room for a pair, none is kept quiet for so long.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Pairs that are kept quiet at once.
const MOST_HUSHED: usize = 64;

/// When a busy pair is kept quiet. Where octets come and go all the time, something is always under way, and the two connections would
/// never leave the stack: so now and then nothing is passed on, and nothing of what comes acknowledged, until what was passed on is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hush {
    carried: u64,
    next: u64,
    until: Option<Instant>,
    /// Something was lost on the way: what comes behind it is reported to its sender, and no longer to be parted with.
    is_vain: bool,
}

impl Default for Hush {
    fn default() -> Self {
        Self { carried: 0, next: FIRST_HUSH, until: None, is_vain: false }
    }
}

impl Hush {
    pub fn is_on(&self) -> bool {
        self.until.is_some()
    }

    pub fn moved(&mut self, octets: usize) {
        self.carried += octets as u64;
    }
}

/// What a proxy knows of a pair that has left the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parted {
    pub id: PairId,
    /// When it left.
    since: Instant,
    /// When it is looked at.
    pub look_at: Instant,
    /// Octets from the client and from the backend that the router knows of.
    told: [u64; 2],
}

impl Parted {
    fn new(id: PairId, now: Instant) -> Self {
        Self { id, since: now, look_at: now + FIRST_LOOK, told: [0; 2] }
    }

    /// The next look at one that is over at `deadline`, unless something passes.
    fn look_again(&mut self, now: Instant, deadline: Instant) {
        let span = ((now - self.since) / PART_OF_AGE).clamp(FIRST_LOOK, FARTHEST_LOOK);
        self.look_at = deadline.min(now + span);
    }
}

/// How a pair ended that one side has reset.
fn fate(by: splice::Side) -> Ended {
    match by {
        splice::Side::Client => Ended::ByClient,
        splice::Side::Backend => Ended::ByBackend,
    }
}

impl<R: Router> Proxy<R> {
    /// Has the pair's segments translated from now on, where that may be. Whether they are: then the pair has no connections any more.
    pub(super) fn part(&mut self, number: Number, cx: &mut Context<'_>) -> bool {
        let now = cx.now();
        let Some(pair) = self.pairs.get_mut(number).filter(|pair| pair.may_part) else { return false };
        let (Some(client), Some(backend)) = (pair.client, pair.backend) else { return false };
        let id = match cx.stack().part_with(now, client, backend) {
            Ok(id) => id,
            Err(why) => {
                pair.may_part = why.may_pass();
                pair.hush.is_vain |= matches!(why, WhyNot::Busy(_, Busy::OutOfOrder));
                if why == WhyNot::NoRoom {
                    self.full_until = now + FULL_FOR;
                }
                return false;
            }
        };
        self.pairs.take_side(number, Side::Client);
        self.pairs.take_side(number, Side::Backend);
        let Some(pair) = self.pairs.get_mut(number) else { return false };
        pair.phase = Phase::Parted(Parted::new(id, now));
        self.router.spliced(&mut pair.session);
        self.mind(number);
        true
    }

    /// Begins to keep a pair quiet, if it is time for that, and all that was said has been passed on.
    pub(super) fn hush(&mut self, number: Number, cx: &mut Context<'_>) {
        let Some(pair) = self.pairs.get_mut(number).filter(|pair| pair.may_part) else { return };
        let (Some(client), Some(backend)) = (pair.client, pair.backend) else { return };
        if pair.hush.carried < pair.hush.next || self.hushed.len() >= MOST_HUSHED || cx.now() < self.full_until {
            return;
        }
        let is_read = |id, cx: &mut Context<'_>| {
            cx.stream(id).is_some_and(|stream| stream.readable_len() == 0 && !stream.peer_has_closed())
        };
        if is_read(client, cx) && is_read(backend, cx) {
            (pair.hush.until, pair.hush.is_vain) = (Some(cx.now() + LONGEST_HUSH), false);
            self.hushed.push(number);
            [client, backend].into_iter().for_each(|id| hold_acknowledgments(id, true, cx));
        }
    }

    /// Whether octets may be moved: not while the pair is kept quiet, unless the speaker has closed.
    pub(super) fn may_carry(&mut self, number: Number, speaker: ConnectionId, cx: &mut Context<'_>) -> bool {
        let is_on = self.pairs.get(number).is_some_and(|pair| pair.hush.is_on());
        let has_closed = !is_on || cx.stream(speaker).is_none_or(|stream| stream.peer_has_closed());
        if is_on && has_closed {
            self.speak_up(number, cx);
        }
        has_closed
    }

    /// Has those leave that are quiet now, and lets go on what does not get so. Until when the others are kept quiet.
    pub(super) fn look_at_hushed(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let now = cx.now();
        let hushed = std::mem::take(&mut self.hushed);
        for number in hushed {
            if self.part(number, cx) {
                continue;
            }
            let hush = self.pairs.get(number).map(|pair| pair.hush);
            let may_come = |hush: Hush| !hush.is_vain && hush.until.is_some_and(|until| now < until);
            if hush.is_some_and(may_come) && self.full_until <= now {
                self.hushed.push(number);
            } else if self.speak_up(number, cx) {
                self.carry(number, Side::Client, cx);
            }
        }
        let deadlines = self.hushed.iter().filter_map(|&number| self.pairs.get(number)?.hush.until);
        deadlines.min()
    }

    /// Keeps a pair quiet no longer, which did not get so. Whether it was kept quiet.
    fn speak_up(&mut self, number: Number, cx: &mut Context<'_>) -> bool {
        let Some(pair) = self.pairs.get_mut(number).filter(|pair| pair.hush.is_on()) else { return false };
        pair.hush.until = None;
        pair.hush.next = pair.hush.carried + (pair.hush.carried / HUSH_PART).max(FIRST_HUSH);
        let ends = [pair.client, pair.backend];
        ends.into_iter().flatten().for_each(|id| hold_acknowledgments(id, false, cx));
        true
    }

    /// Looks how a pair is that has left the stack.
    pub(super) fn look_at_parted(&mut self, number: Number, cx: &mut Context<'_>) {
        let now = cx.now();
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let Phase::Parted(mut parted) = pair.phase else { return };
        let Some(stands) = cx.stack().pair(parted.id) else { return self.end_parted(number, parted.id, cx) };
        let patience = splice_patience(&self.router.patience(&pair.session));
        parted.look_again(now, stands.deadline(&patience));
        pair.phase = Phase::Parted(parted);
        self.tell(number, &stands);
        match stands.over(now, &patience) {
            None => self.mind(number),
            Some(Over::Silent) => self.end(number, Ended::Idle, cx),
            Some(_) => self.end_parted(number, parted.id, cx),
        }
    }

    /// Ends a pair that is over; or was, where another connection has its ends by now.
    pub(super) fn end_parted(&mut self, number: Number, id: PairId, cx: &mut Context<'_>) {
        let stands = cx.stack().forget_pair(id);
        if let Some(stands) = &stands {
            self.tell(number, stands);
        }
        let by = stands.and_then(|stands| stands.reset_by());
        self.end(number, by.map_or(Ended::Finished, fate), cx);
    }

    /// Tells the router what has passed that it does not know of.
    fn tell(&mut self, number: Number, stands: &splice::Pair) {
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let Phase::Parted(parted) = &mut pair.phase else { return };
        for (from, towards) in [(splice::Side::Client, Towards::Backend), (splice::Side::Backend, Towards::Client)] {
            let (passed, told) = (stands.stream(from).octets(), &mut parted.told[from as usize]);
            if passed > *told {
                self.router.carried(&mut pair.session, towards, (passed - *told) as usize);
                *told = passed;
            }
        }
    }

    /// Resets both ends of a pair that has left the stack, if it is there still.
    pub(super) fn reset_parted(&mut self, number: Number, id: PairId, cx: &mut Context<'_>) {
        let Some(stands) = cx.stack().pair(id) else { return };
        self.tell(number, &stands);
        // Where there is no room for RSTs, what its ends say next draws them.
        if !cx.stack().reset_pair(id) {
            cx.stack().forget_pair(id);
        }
    }

    /// Has what goes to the pair's backend go by another way; where translated segments cannot, it ends.
    pub(super) fn point_parted(&mut self, number: Number, id: PairId, via: &Via, cx: &mut Context<'_>) {
        if !cx.stack().point_pair(id, splice::Side::Backend, via) {
            self.end(number, Ended::Revoked, cx);
        }
    }
}

/// How long a pair may be silent: as long as its connections might.
fn splice_patience(patience: &Patience) -> splice::Patience {
    splice::Patience { open: patience.idle, ..splice::Patience::default() }
}
