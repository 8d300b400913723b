//! What becomes of a packet, and why. The XDP program does the same, step by step.

use super::{
    backend::{BackendId, Fragments, Number, ServiceId, WhenAllDown},
    balancer::{Balancer, Served},
    exceptions::Entry,
    flow::{Flow, FlowHash, Kind},
    row::Row,
    time_window::Tick,
};
use crate::{drops::named, time::Instant, wire::SeqNumber};

named! {
    /// Why a packet goes where it goes.
    Why {
        /// The row has one backend for all.
        Settled => "settled",
        /// No new flow, not remembered, and the row's older generation still speaks.
        Before => "before",
        /// A new flow of a row whose older generation still speaks: it is remembered.
        Now => "now",
        /// The flow is remembered.
        Remembered => "remembered",
        /// A new flow, and the row's backend is down: it is remembered, unless the second choice is its home anyway.
        SecondChoice => "second_choice",
        /// A new flow, and the row's backend and its second choice are down.
        Spare => "spare",
        /// A new flow while every backend is down, of a service that is open then.
        Open => "open",
        /// A new flow that could not be remembered, and so went to the row's older generation, where it need not be.
        NoRoom => "no_room",
        /// It ends a handshake whose SYN was answered here, and goes where new flows of its row do, which is not settled.
        Cookie => "cookie",
    }
}

named! {
    /// Why a packet goes nowhere.
    Refusal {
        /// No service has this address, port and transport.
        NoService => "no_service",
        /// A fragment, for a service that does not place by addresses.
        Fragment => "fragment",
        /// No backend of the service takes flows.
        NoBackend => "no_backend",
        /// Every backend is down, and the service is closed then.
        AllDown => "all_down",
        /// A new flow that could not be remembered, while the row's older generation is down. Its SYN will come again.
        ExceptionsFull => "exceptions_full",
        /// A new flow of mode `nat` for which no port was free towards its backend.
        NoPort => "no_port",
        /// A new flow of mode `nat`, and the table of flows has no room for it.
        NatFull => "nat_full",
        /// Of no flow of mode `nat`, and nothing that opens one or that a RST answers.
        Unknown => "unknown",
        /// A SYN that would be answered in backends' names, and breaks a rule, or is cut off or damaged, or that no cookie holds,
        /// or nobody can have sent.
        BadSyn => "bad_syn",
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to a backend.
    Forward(BackendId, Why),
    /// Its sender gets a RST: its backend is down, and flows are not kept for it.
    Reset(BackendId),
    /// It goes nowhere.
    Drop(Refusal),
}

impl Decision {
    /// The backend it goes to.
    pub const fn backend(self) -> Option<BackendId> {
        match self {
            Self::Forward(backend, _) => Some(backend),
            Self::Reset(_) | Self::Drop(_) => None,
        }
    }
}

/// How often what was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    forwarded: [u64; Why::ALL.len()],
    refused: [u64; Refusal::ALL.len()],
    /// Packets whose sender got a RST.
    pub reset: u64,
    /// SYNs that were answered in backends' names.
    pub answered: u64,
}

impl Counts {
    /// Packets forwarded for this reason.
    pub const fn forwarded(&self, why: Why) -> u64 {
        self.forwarded[why as usize]
    }

    /// Packets refused for this reason.
    pub const fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize]
    }

    pub(super) fn count(&mut self, decision: &Decision) {
        match decision {
            Decision::Forward(_, why) => self.forwarded[*why as usize] += 1,
            Decision::Reset(_) => self.reset += 1,
            Decision::Drop(refusal) => self.refused[*refusal as usize] += 1,
        }
    }
}

/// What a packet changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// A row's older generation has spoken.
    Heard(ServiceId, u32),
    /// A flow is remembered from now on, or what is remembered of it changes.
    Remember(FlowHash, Entry),
}

/// A flow, where the table has it.
pub(super) struct Place<'a> {
    pub id: ServiceId,
    pub service: &'a Served,
    pub hash: FlowHash,
    pub index: u32,
    pub row: Row,
    /// Where it goes if it is not remembered.
    pub home: Option<Number>,
    /// What is remembered of it.
    pub entry: Option<Entry>,
    pub tick: Tick,
}

impl Place<'_> {
    /// Whether nothing tells new flows from old ones, so that rows change at once.
    pub fn changes_at_once(&self) -> bool {
        self.service.config.changes_at_once()
    }

    fn forward(&self, number: Number, why: Why) -> Decision {
        Decision::Forward(BackendId { service: self.id, number }, why)
    }

    /// Whether the packet is of the row's older generation, which has spoken then.
    fn heard(&self) -> Effect {
        if self.home == self.row.now || self.row.heard == self.tick {
            return Effect::Nothing; // once a tick is enough
        }
        Effect::Heard(self.id, self.index)
    }

    /// What is remembered once the flow has spoken; nothing to write where that says the same.
    fn refreshed(&self, entry: Entry, kind: Kind) -> Effect {
        let entry = Entry { heard: self.tick, ..entry };
        if !kind.speaks() || self.entry == Some(entry) { Effect::Nothing } else { Effect::Remember(self.hash, entry) }
    }

    /// Where a new flow goes.
    pub(super) fn choose(&self) -> Result<(Number, Why), Refusal> {
        let takes = |number: &Number| self.service.slot(*number).takes_new;
        if let Some(now) = self.row.now.filter(takes) {
            let why = if self.home == Some(now) { Why::Settled } else { Why::Now };
            return Ok((now, why));
        }
        if let Some(second) = self.row.second.filter(takes) {
            return Ok((second, Why::SecondChoice));
        }
        let spare = &self.service.spare;
        if !spare.is_empty() {
            return Ok((spare[self.hash.one_of(spare.len())], Why::Spare));
        }
        match (self.row.now, self.service.config.when_all_down) {
            (None, _) => Err(Refusal::NoBackend),
            (Some(now), WhenAllDown::Open) => Ok((now, Why::Open)),
            (Some(_), WhenAllDown::Closed) => Err(Refusal::AllDown),
        }
    }
}

/// What is said of a SYN, for the segment that stands for it.
fn by_cookie((decision, effect): (Decision, Effect)) -> (Decision, Effect) {
    match decision {
        Decision::Forward(_, Why::Remembered | Why::NoRoom) => (decision, effect),
        Decision::Forward(backend, _) => (Decision::Forward(backend, Why::Cookie), effect),
        _ => (decision, effect),
    }
}

impl Balancer {
    /// Decides what becomes of a packet, and remembers what must be remembered of it. Nothing is allocated.
    pub fn decide(&mut self, flow: &Flow, kind: Kind, now: Instant) -> Decision {
        let (mut decision, effect) = self.judge(flow, kind, Tick::of(now));
        match effect {
            Effect::Nothing => {}
            Effect::Heard(service, index) => self.hear(service, index, Tick::of(now)),
            Effect::Remember(hash, entry) => {
                if !self.exceptions.enter(hash, entry) {
                    decision = Decision::Drop(Refusal::ExceptionsFull); // judged otherwise, where there is no room
                }
            }
        }
        self.counts.count(&decision);
        decision
    }

    /// Finds a flow's service, row and entry.
    pub(super) fn locate(&self, flow: &Flow, tick: Tick) -> Option<Place<'_>> {
        let id = self.find_service(flow)?;
        let service = self.served(id)?;
        let table = &self.tables[service.table];
        let hash = self.key.hash(flow, service.config.is_by_address());
        let index = hash.row(table.recipe.rows);
        let row = table.row(index);
        let entry = if row.watched { self.exceptions.get(hash).copied() } else { None };
        let entry = entry.filter(|entry| entry.service == id && !entry.is_over(tick, &self.ticks));
        let home = row.home(tick, self.ticks.silence);
        Some(Place { id, service, hash, index, row, home, entry, tick })
    }

    /// The decision and what it changes, without the change.
    pub(super) fn judge(&self, flow: &Flow, kind: Kind, tick: Tick) -> (Decision, Effect) {
        let Some(place) = self.locate(flow, tick) else {
            return (Decision::Drop(Refusal::NoService), Effect::Nothing);
        };
        if kind == Kind::Fragment && place.service.config.fragments == Fragments::Drop {
            return (Decision::Drop(Refusal::Fragment), Effect::Nothing);
        }
        if place.changes_at_once() {
            return self.judge_any(&place, kind);
        }
        match kind {
            Kind::Syn(isn) => self.judge_syn(&place, isn, false),
            Kind::Handshake(isn) => by_cookie(self.judge_syn(&place, isn, true)),
            _ => self.judge_segment(&place, kind),
        }
    }

    /// A packet of a service where nothing tells new flows from old ones: rows change at once, unless somebody pinned
    /// the flow.
    fn judge_any(&self, place: &Place<'_>, kind: Kind) -> (Decision, Effect) {
        if let Some(entry) = place.entry.filter(|entry| place.service.slot(entry.backend).is_live) {
            return (place.forward(entry.backend, Why::Remembered), place.refreshed(entry, kind));
        }
        match place.choose() {
            // There is no older generation here, so no new one either.
            Ok((number, Why::Now)) => (place.forward(number, Why::Settled), Effect::Nothing),
            Ok((number, why)) => (place.forward(number, why), Effect::Nothing),
            Err(refusal) => (Decision::Drop(refusal), Effect::Nothing),
        }
    }

    /// A segment that begins no flow, or an ICMP error.
    fn judge_segment(&self, place: &Place<'_>, kind: Kind) -> (Decision, Effect) {
        let is_live = |number: &Number| place.service.slot(*number).is_live;
        let (target, why, effect) = match place.entry {
            Some(entry) if entry.is_announced(kind, place.tick, &self.ticks) && is_live(&entry.backend) => {
                (Some(entry.backend), Why::Remembered, place.refreshed(entry.spoken(kind), kind))
            }
            Some(entry) if !entry.confirmed && entry.before.is_some_and(|it| is_live(&it)) => {
                (entry.before, Why::Remembered, place.refreshed(entry, kind))
            }
            _ => {
                let why = if place.home == place.row.now { Why::Settled } else { Why::Before };
                (place.home, why, if kind.speaks() { place.heard() } else { Effect::Nothing })
            }
        };
        let Some(target) = target.filter(is_live) else {
            return (Decision::Drop(Refusal::NoBackend), Effect::Nothing);
        };
        if place.service.slot(target).resets && matches!(kind, Kind::Segment(_) | Kind::Fin(_)) {
            return (Decision::Reset(BackendId { service: place.id, number: target }), Effect::Nothing);
        }
        (place.forward(target, why), effect)
    }

    /// A SYN: a flow begins, or seems to. Or what ends a handshake, by a cookie that only who has heard us can know: then it has begun, and
    /// whatever was there before is over.
    fn judge_syn(&self, place: &Place<'_>, isn: SeqNumber, has_begun: bool) -> (Decision, Effect) {
        if let Some(entry) = place.entry.filter(|entry| entry.is_repeated(isn, place.tick, &self.ticks) || entry.pinned)
        {
            let slot = place.service.slot(entry.backend);
            // A flow stays; a handshake does unless its backend has gone down meanwhile.
            if slot.is_live && (entry.confirmed || !slot.is_down()) {
                let asked = if entry.confirmed { entry.asked } else { place.tick };
                let before = entry.before.filter(|_| !has_begun);
                let entry = Entry { asked, before, confirmed: entry.confirmed || has_begun, ..entry };
                return (place.forward(entry.backend, Why::Remembered), place.refreshed(entry, Kind::Syn(isn)));
            }
        }
        let (chosen, why) = match place.choose() {
            Ok(choice) => choice,
            Err(refusal) => return (Decision::Drop(refusal), Effect::Nothing),
        };
        if place.entry.is_none() && place.home == Some(chosen) {
            return (place.forward(chosen, why), place.heard());
        }
        if !self.exceptions.has_room(place.hash) {
            return Self::judge_without_room(place);
        }
        let is_live = |number: &Number| place.service.slot(*number).is_live;
        let established = place.entry.and_then(|entry| entry.established()).filter(is_live);
        let entry = Entry {
            service: place.id,
            backend: chosen,
            before: established.filter(|&before| before != chosen && !has_begun),
            isn,
            heard: place.tick,
            asked: place.tick,
            confirmed: has_begun || established == Some(chosen),
            ended: false,
            pinned: false,
        };
        (place.forward(chosen, why), Effect::Remember(place.hash, entry))
    }

    /// A new flow that cannot be remembered goes where it need not be: to the row's home. So a flood of SYNs puts a
    /// change off, and breaks nothing.
    fn judge_without_room(place: &Place<'_>) -> (Decision, Effect) {
        let is_well = |number: &Number| {
            let slot = place.service.slot(*number);
            slot.is_live && !slot.is_down()
        };
        match place.home.filter(is_well) {
            Some(home) => (place.forward(home, Why::NoRoom), place.heard()),
            None => (Decision::Drop(Refusal::ExceptionsFull), Effect::Nothing),
        }
    }
}
