//! What the proxy does: two connections carried, then parted with, and translated.

use crate::{
    pattern,
    plan::{BACKEND, CLIENT, Plan},
};
use std::time::Duration;
use xskip_core::{
    splice::{Pair, Patience, Refusal, Side, WhyNot},
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
    pub pair: Option<Pair>,
    pub parted_at: Option<Instant>,
    /// Why they would not part, at last.
    pub why_not: Option<WhyNot>,
    pub translated: u64,
    pub refused: Vec<Refusal>,
    pub is_removed: bool,
}

/// How long it waits for a certain moment.
const SOON: Duration = Duration::from_secs(4);

/// The stream that the proxy writes by itself.
pub const PREFACE: u64 = 3;

impl Proxy {
    pub fn new(plan: &Plan) -> Self {
        Self { skip: plan.skipped, preface: plan.preface, ..Self::default() }
    }

    pub fn hear(&mut self, now: Instant, stack: &mut Stack, event: Event, backend: Endpoint) {
        match event {
            Event::Accepted(id, _) => {
                self.client = Some(id);
                self.backend = Some(stack.connect(now, backend, None).expect("there is room for one more"));
            }
            Event::Connected(_) => self.is_connected = true,
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
    pub fn carry(&mut self, now: Instant, stack: &mut Stack) {
        let (Some(client), Some(backend)) = (self.client, self.backend) else { return };
        if self.pair.is_some() || !self.is_connected {
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

    /// Parts with both where that may be, while so many frames are on their way to it.
    pub fn part(&mut self, now: Instant, stack: &mut Stack, plan: &Plan, under_way: usize) -> bool {
        let (Some(client), Some(backend)) = (self.client, self.backend) else { return false };
        let is_due = now >= plan.parts_from && self.skip == 0 && self.prefaced == self.preface && self.is_connected;
        let waits = plan.parts_in_the_midst && under_way == 0 && now < plan.parts_from + SOON;
        if !is_due || waits || self.pair.is_some() {
            return false;
        }
        match stack.part_with(now, client, backend) {
            Ok(pair) => {
                (self.pair, self.parted_at, self.why_not) = (Some(pair), Some(now), None);
                (self.client, self.backend) = (None, None);
                true
            }
            Err(why) => {
                self.why_not = Some(why);
                false
            }
        }
    }

    /// What becomes of a frame that comes to the proxy: the host that gets it, if it is of the pair and passes.
    pub fn translate(&mut self, now: Instant, frame: &mut [u8]) -> Option<Option<usize>> {
        let pair = self.pair.as_mut().filter(|_| !self.is_removed)?;
        match pair.translate(now, frame) {
            Ok(side) => {
                self.translated += 1;
                Some(Some(if side == Side::Client { CLIENT } else { BACKEND }))
            }
            Err(Refusal::NotOurs) => None,
            Err(refusal) => {
                self.refused.push(refusal);
                Some(None)
            }
        }
    }

    /// When the pair is looked at next.
    pub fn deadline(&self) -> Option<Instant> {
        self.pair.as_ref().filter(|_| !self.is_removed).map(|pair| pair.deadline(&Patience::default()))
    }
}
