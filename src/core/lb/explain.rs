//! A flow's way in words, from the tables that decide it.

use super::{
    backend::{BackendId, Number, State},
    balancer::Balancer,
    decide::{Decision, Place, Refusal, Why},
    flow::{Flow, Kind},
    nat::NatTable,
    time_window::Tick,
};
use crate::{
    time::Instant,
    wire::{Endpoint, SeqNumber},
};
use std::fmt::Write;

impl Balancer {
    /// What would become of a flow's packets at `now`, and why. Nothing changes by the question.
    pub fn explain(&self, flow: &Flow, now: Instant) -> String {
        let tick = Tick::of(now);
        let Some(place) = self.locate(flow, tick) else {
            let end = flow.tuple.local;
            return format!("{flow}: no service has {end} by {}, so this is not the balancer's\n", flow.transport);
        };
        let mut text = format!("{flow}: service {}\n", place.service.config.name);
        self.explain_row(&mut text, &place);
        self.explain_entry(&mut text, &place);
        let kinds = if place.service.config.mode.keeps_flows() {
            &[("a new flow", Kind::Datagram)][..]
        } else if place.changes_at_once() {
            &[("any packet", Kind::Datagram)][..]
        } else if place.service.promise.is_some() {
            self.explain_answer(&mut text, &place);
            &[
                ("what ends that", Kind::Handshake(unheard(&place))),
                ("any other segment", Kind::Segment(behind(&place))),
            ]
        } else {
            // The number of a SYN that was never sent, so that none is taken for repeated.
            &[("a SYN", Kind::Syn(unheard(&place))), ("any other segment", Kind::Segment(behind(&place)))]
        };
        for (what, kind) in kinds {
            let decision = self.judge(flow, *kind, tick).0;
            _ = writeln!(text, "  {what} {}", self.told(decision));
        }
        text
    }

    /// What is kept of a flow of mode `nat` in this table; `None` where nothing is.
    pub fn explain_translated(&self, nat: NatTable<'_>, flow: &Flow, now: Instant) -> Option<String> {
        let hash = self.key.hash(flow, false);
        let its = nat.get(nat.find(hash, flow.transport, flow.tuple.remote, flow.tuple.local)?)?;
        let source = Endpoint { address: nat.settings().source(its.source)?, port: its.port };
        let silent = its.heard.span_to(Tick::of(now)).as_secs();
        let state = its.state();
        Some(format!("  the flow goes to {} as {source}: {state}, last heard of {silent} s ago\n", its.backend))
    }

    fn explain_row(&self, text: &mut String, place: &Place<'_>) {
        let table = &self.tables[place.service.table];
        let (row, rows) = (place.row, table.recipe.rows.get());
        let name =
            |number: Option<Number>| number.map_or("nobody".to_owned(), |number| self.told_backend(place, number));
        _ = writeln!(text, "  row {} of {rows}: new flows go to {}", place.index, name(row.now));
        _ = writeln!(text, "    second choice, while that is down: {}", name(row.second));
        if place.service.config.mode.keeps_flows() {
            _ = writeln!(text, "    older flows go where they went: all of them are remembered");
        } else if place.changes_at_once() {
            _ = writeln!(text, "    nothing tells older flows from new ones here, so all of them go there");
        } else if row.is_in_transition(place.tick, self.ticks.silence) {
            _ = writeln!(text, "    older flows go to {}, as long as one of them speaks", name(row.before));
        } else {
            _ = writeln!(text, "    no older generation");
        }
    }

    fn explain_answer(&self, text: &mut String, place: &Place<'_>) {
        let (Ok((number, _)), Some(promise)) = (place.choose(), place.service.promise) else { return };
        let name = self.told_backend(place, number);
        _ = writeln!(text, "  a SYN is answered here with a cookie, in the name of {name}, with {promise}");
    }

    fn explain_entry(&self, text: &mut String, place: &Place<'_>) {
        let Some(entry) = place.entry else {
            _ = writeln!(
                text,
                "  the flow is not remembered{}",
                if place.row.watched { "" } else { ", nor is any of this row" }
            );
            return;
        };
        let why = match (entry.pinned, entry.confirmed, entry.ended) {
            (true, ..) => "it was pinned",
            (_, false, _) => "its SYN has come, and nothing that follows from it",
            (_, true, false) => {
                "it began when its row led elsewhere than older flows, or around a backend that was down"
            }
            (_, true, true) => "it has ended, and what is late still finds it",
        };
        _ = writeln!(text, "  the flow is remembered at {}: {why}", self.told_backend(place, entry.backend));
        if let Some(before) = entry.before {
            _ = writeln!(
                text,
                "    until that is confirmed, other segments go to {}",
                self.told_backend(place, before)
            );
        }
    }

    /// A backend with what matters of it.
    fn told_backend(&self, place: &Place<'_>, number: Number) -> String {
        let slot = place.service.slot(number);
        let id = BackendId { service: place.id, number };
        let Some(name) = self.name(id).filter(|_| slot.is_live) else {
            return format!("backend {}, which is gone", number.get());
        };
        let config = place.service.config.backends.iter().find(|it| it.name == name);
        let state = match config.map(|it| (it.state, it.weight)) {
            Some((State::Drain { .. }, _)) => ", draining",
            Some((State::Serve, 0)) => ", weight 0",
            _ => "",
        };
        format!("{name} ({}, health {}{state})", slot.address, slot.health)
    }

    fn told(&self, decision: Decision) -> String {
        let name = |id| self.name(id).unwrap_or("?");
        match decision {
            Decision::Forward(id, why) => {
                let why = match why {
                    Why::Settled => "as all flows of the row do",
                    Why::Before => "as older flows of the row do",
                    Why::Now => "as new flows of the row do, and is remembered",
                    Why::Remembered => "as is remembered",
                    Why::SecondChoice => "because the row's backend is down",
                    Why::Spare => "because both choices of the row are down",
                    Why::Open => "though every backend is down, as the service is open then",
                    Why::NoRoom => "because nothing more can be remembered",
                    Why::Cookie => "as new flows of the row do, by the cookie that its SYN was answered with",
                };
                format!("goes to {}, {why}", name(id))
            }
            Decision::Reset(id) => format!("draws a RST: {} is down, and its flows are not kept", name(id)),
            Decision::Drop(refusal) => {
                let why = match refusal {
                    Refusal::NoService => "no service has it",
                    Refusal::Fragment => "it is a fragment",
                    Refusal::NoBackend => "no backend takes flows",
                    Refusal::AllDown => "every backend is down, and the service is closed then",
                    Refusal::ExceptionsFull => "it cannot be remembered, and its row's older backend is down",
                    Refusal::NoPort => "no port is free towards its backend",
                    Refusal::NatFull => "the table of flows is full",
                    Refusal::Unknown => "it is of no flow",
                    Refusal::BadSyn => "no answer can be given to it in a backend's name",
                };
                format!("is dropped: {why}")
            }
        }
    }
}

fn unheard(place: &Place<'_>) -> SeqNumber {
    place.entry.map_or(SeqNumber::default(), |entry| entry.isn.back(1))
}

fn behind(place: &Place<'_>) -> SeqNumber {
    place.entry.map_or(SeqNumber::default(), |entry| entry.isn.advance(1))
}
