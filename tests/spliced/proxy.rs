//! What the proxy does: two connections carried, then parted with, and translated.

use crate::{
    carrier::Shared,
    pattern,
    plan::{BACKEND, CLIENT, Plan},
};
use std::time::Duration;
use xskip_core::{
    splice::{Busy, Carrier, Pair, PairId, Patience, Refusal, Side, WhyNot},
    stack::{ConnectionId, Event, Stack},
    time::Instant,
    wire::Endpoint,
};

/// The state of the two connections.
#[derive(Debug, Default)]
pub struct Proxy {
    pub client: Option<ConnectionId>,
    pub backend: Option<ConnectionId>,
    is_connected: bool,
    /// Octets of the client's that are yet to be skipped, and of the preface that are yet to be written.
    skip: u64,
    preface: u64,
    prefaced: u64,
    pub pair: Option<PairId>,
    pub shared: Shared,
    /// What lies there, neither read nor acknowledged, has been lying there since then.
    waits_since: Option<Instant>,
    pub parted_at: Option<Instant>,
    /// Why they would not part, at last.
    pub why_not: Option<WhyNot>,
}

/// How long it waits for a certain moment.
const SOON: Duration = Duration::from_secs(4);

/// How long it lets lie what has come, for more to come: less than an acknowledgment is delayed.
const A_WHILE: Duration = Duration::from_millis(150);

/// The stream that the proxy writes by itself.
pub const PREFACE: u64 = 3;

impl Proxy {
    pub fn new(plan: &Plan) -> Self {
        Self { skip: plan.skipped, preface: plan.preface, ..Self::default() }
    }

    pub fn hear(&mut self, now: Instant, stack: &mut Stack, event: Event, (plan, backend): (&Plan, Endpoint)) {
        match event {
            Event::Accepted(id, _) => {
                stack.stream(now, id).expect("it is there").hold_acknowledgments(plan.holds[0]);
                self.client = Some(id);
                self.backend = Some(stack.connect(now, backend, None).expect("there is room for one more"));
            }
            Event::Connected(id) => {
                self.is_connected = true;
                if let Some(mut stream) = stack.stream(now, id) {
                    stream.hold_acknowledgments(plan.holds[1]);
                }
            }
            Event::Closed(id, _) => {
                // One that has ended while the other is there, and not in order, takes that one along.
                let other = if self.client == Some(id) { self.backend } else { self.client };
                let slot = if self.client == Some(id) { &mut self.client } else { &mut self.backend };
                *slot = None;
                let Some(other) = other else { return };
                if let Some(mut stream) = stack.stream(now, other)
                    && !matches!(event, Event::Closed(_, xskip_core::CloseReason::Finished))
                {
                    stream.abort();
                }
            }
            _ => {}
        }
    }

    /// Moves octets both ways, behind what is said first.
    pub fn carry(&mut self, now: Instant, stack: &mut Stack, plan: &Plan) {
        let (Some(client), Some(backend)) = (self.client, self.backend) else { return };
        if self.pair.is_some() || !self.is_connected || self.lets_lie(now, stack, plan) {
            return;
        }
        if self.skip > 0
            && let Some(mut stream) = stack.stream(now, client)
        {
            let skipped = self.skip.min(stream.readable_len() as u64);
            stream.consume(skipped as usize);
            self.skip -= skipped;
        }
        while self.prefaced < self.preface {
            let Some(mut stream) = stack.stream(now, backend) else { return };
            let rest = (self.preface - self.prefaced) as usize;
            let written = stream.write(pattern::of(PREFACE, self.prefaced, rest));
            self.prefaced += written as u64;
            if written == 0 {
                break;
            }
        }
        if self.skip == 0 && self.prefaced == self.preface {
            stack.splice(now, client, backend);
        }
        stack.splice(now, backend, client);
        for id in [client, backend] {
            if let Some(mut stream) = stack.stream(now, id)
                && stream.at_end()
                && !matches!(stream.state(), xskip_core::tcp::State::CloseWait | xskip_core::tcp::State::Established)
            {
                stream.close();
            }
        }
    }

    /// Whether it parts as soon as it may.
    fn is_due(&self, now: Instant, plan: &Plan) -> bool {
        now >= plan.parts_from && self.skip == 0 && self.prefaced == self.preface && self.is_connected
    }

    /// Whether it would part, but for an event that it has not taken.
    pub fn is_to_hear(&self, now: Instant, plan: &Plan) -> bool {
        self.is_due(now, plan) && matches!(self.why_not, Some(WhyNot::Busy(_, Busy::Unheard)))
    }

    /// Whether something of the client's lies there, and something of the backend's.
    fn has_unread(&self, now: Instant, stack: &mut Stack) -> [bool; 2] {
        let mut has = |id| stack.stream(now, id).is_some_and(|stream| stream.readable_len() > 0);
        [self.client, self.backend].map(|id| id.is_some_and(&mut has))
    }

    /// Whether what it wants to part with has not come yet, and may soon.
    fn wants_more(&self, now: Instant, plan: &Plan, has: [bool; 2]) -> bool {
        let lacks = |wanted: [bool; 2]| (0..2).any(|side| wanted[side] && !has[side]);
        now < plan.parts_from + SOON && plan.wanted.is_some_and(lacks)
    }

    /// Whether it lets lie what has come, to part with it when more has.
    fn lets_lie(&mut self, now: Instant, stack: &mut Stack, plan: &Plan) -> bool {
        let has = self.has_unread(now, stack);
        if !self.is_due(now, plan) || has == [false; 2] || !self.wants_more(now, plan, has) {
            self.waits_since = None;
            return false;
        }
        now < *self.waits_since.get_or_insert(now) + A_WHILE
    }

    /// Parts with both where that may be, while so many frames are on their way to it.
    pub fn part(&mut self, now: Instant, stack: &mut Stack, plan: &Plan, under_way: usize) -> bool {
        let (Some(client), Some(backend)) = (self.client, self.backend) else { return false };
        let waits = plan.parts_in_the_midst && under_way == 0 && now < plan.parts_from + SOON;
        self.why_not = None;
        if !self.is_due(now, plan) || waits || self.pair.is_some() {
            return false;
        }
        let has = self.has_unread(now, stack);
        if self.wants_more(now, plan, has) {
            return false;
        }
        match stack.part_with(now, client, backend) {
            Ok(id) => {
                (self.pair, self.parted_at, self.why_not) = (Some(id), Some(now), None);
                (self.client, self.backend, self.waits_since) = (None, None, None);
                true
            }
            Err(why) => {
                self.why_not = Some(why);
                false
            }
        }
    }

    /// What becomes of a frame that comes to the proxy: the host that gets it, if it is of the pair and passes. `None` where it is for
    /// the stack, as every SYN is.
    pub fn translate(&mut self, now: Instant, frame: &mut [u8]) -> Option<Option<usize>> {
        let id = self.pair?;
        match self.shared.translate(now, id, frame) {
            Ok(side) => Some(Some(if side == Side::Client { CLIENT } else { BACKEND })),
            Err(Refusal::NotOurs | Refusal::Over | Refusal::Question) => None,
            Err(_) => Some(None),
        }
    }

    /// How the pair stands, if there is one yet.
    pub fn standing(&self) -> Option<Pair> {
        self.shared.look(self.pair?)
    }

    /// When something is to be done: the pair is looked at, or what lies there is carried.
    pub fn deadline(&self) -> Option<Instant> {
        let carries = self.waits_since.map(|since| since + A_WHILE);
        carries.or_else(|| Some(self.standing()?.deadline(&Patience::default())))
    }
}
