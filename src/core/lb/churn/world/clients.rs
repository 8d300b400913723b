//! The clients: their flows begin, speak and end, and each notes where its packets go.

use super::{Event, SILENCE, World, flow, service_of};
use crate::{
    lb::{Flow, Kind, State},
    time::Instant,
    wire::{Endpoint, SeqNumber},
};
use std::net::Ipv4Addr;

/// The longest silence of a client.
const PAUSE_MS: u64 = 110_000;

pub(super) struct Client {
    pub flow: Flow,
    isn: SeqNumber,
    pub seq: SeqNumber,
    /// Where it began, once a SYN was answered: the backend and its incarnation.
    backend: Option<(String, u32)>,
    begun: Instant,
    pub balancer: usize,
    pub has_spoken: bool,
    has_moved: bool,
    /// Whether it began where its row led on both balancers, and neither's was in transition.
    is_common: bool,
    left: u32,
    tries: u32,
    pub is_over: bool,
}

impl World {
    /// Some clients' packets come by the other balancer from now on.
    pub(super) fn move_clients(&mut self) {
        for client in self.clients.iter_mut().filter(|client| !client.is_over && client.backend.is_some()) {
            if self.dice.in_hundred(30) {
                client.balancer ^= 1;
                client.has_moved = true;
            }
        }
    }

    pub(super) fn begin(&mut self) {
        self.outcome.flows += 1;
        let old = (!self.clients.is_empty()).then(|| self.dice.below(self.clients.len() as u64) as usize);
        let reused =
            old.filter(|&old| self.clients[old].is_over && self.dice.in_hundred(30)).map(|old| self.clients[old].flow);
        let host = Ipv4Addr::from_bits(0xcb00_7100 + self.dice.below(250) as u32);
        let number = self.clients.len() as u16;
        let client = Endpoint { address: host.into(), port: 1_024 + number % 60_000 };
        let flow = reused.unwrap_or(flow(self.dice.below(2) as usize, client));
        // Two at a time would be one flow.
        let last = self.last.insert(flow, self.clients.len());
        if let Some(last) = last.filter(|&last| !self.clients[last].is_over) {
            self.last.insert(flow, last);
            return;
        }
        let isn = SeqNumber::new(self.dice.next() as u32);
        let left = if self.dice.in_hundred(20) { 40 } else { 1 + self.dice.below(8) as u32 };
        self.clients.push(Client {
            flow,
            isn,
            seq: isn.advance(1),
            backend: None,
            begun: self.now,
            balancer: self.dice.below(2) as usize,
            has_spoken: false,
            has_moved: false,
            is_common: false,
            left,
            tries: 0,
            is_over: false,
        });
        self.speak(self.clients.len() - 1);
    }

    pub(super) fn speak(&mut self, index: usize) {
        if self.clients[index].is_over {
            return;
        }
        if self.clients[index].backend.is_none() { self.ask(index) } else { self.go_on(index) }
    }

    /// A SYN; now and then the first is lost behind the balancer.
    fn ask(&mut self, index: usize) {
        let (flow, isn, balancer) = (self.clients[index].flow, self.clients[index].isn, self.clients[index].balancer);
        let homes = self.directors.each_ref().map(|director| director.settled(&flow, self.now));
        let answer = self.directors[balancer].decide(&flow, Kind::Syn(isn), self.now);
        let is_lost = self.dice.in_hundred(5);
        let client = &mut self.clients[index];
        client.tries += 1;
        if answer.is_none() || is_lost {
            self.outcome.refused += u64::from(answer.is_none());
            client.is_over = client.tries > 4;
            return self.after(1_000, Event::Speak(index));
        }
        let name = answer.expect("a backend");
        let service = service_of(&flow);
        let (incarnation, since) = self.incarnation(service, &name);
        let newest = &self.versions.last().expect("a version")[service];
        let is_listed = newest.iter().any(|it| it.name == name && it.state != State::Off);
        let client = &mut self.clients[index];
        // Who is sent to one that has gone already by a later configuration has nothing to hope for.
        if !is_listed || self.applied[balancer] < since {
            client.is_over = true;
            return;
        }
        client.is_common = homes.iter().all(|home| home.as_ref() == Some(&name));
        client.backend = Some((name, incarnation));
        client.begun = self.now;
        let soon = 20 + self.dice.below(200);
        self.after(soon, Event::Speak(index));
    }

    /// A segment, and sometimes an ICMP error about what the backend sent: to the same backend as ever.
    fn go_on(&mut self, index: usize) {
        let client = &self.clients[index];
        let (name, incarnation) = client.backend.clone().expect("a flow that has begun");
        if self.incarnation(service_of(&client.flow), &name).0 != incarnation {
            self.clients[index].is_over = true; // it has ended by configuration
            return;
        }
        let kind = match client.left {
            0 | 1 => Kind::Fin(client.seq),
            _ => Kind::Segment(client.seq),
        };
        let (flow, balancer) = (client.flow, client.balancer);
        let is_excused = client.has_moved && {
            let later = self.changed_at[balancer].iter().find(|&&at| at > client.begun);
            !client.is_common || later.is_some_and(|&at| self.now - at > SILENCE)
        };
        let mut answer = self.directors[balancer].decide(&flow, kind, self.now);
        self.outcome.segments += 1;
        if answer.as_ref() == Some(&name) && self.dice.in_hundred(10) {
            answer = self.directors[balancer].decide(&flow, Kind::Error, self.now);
        }
        let client = &mut self.clients[index];
        if answer.as_ref() != Some(&name) {
            client.is_over = true;
            if !is_excused && self.story.is_empty() {
                self.story = format!(
                    "{}: {kind:?} went to {answer:?}, not {name}, where it began at {} with {:?}\n{}",
                    self.now,
                    client.begun,
                    client.isn,
                    self.directors[balancer].balancer.explain(&flow, self.now)
                );
            }
            if is_excused {
                self.outcome.excused += 1;
            } else {
                self.outcome.broken += 1;
                let changes = self.outcome.changes as usize;
                let length = self.outcome.broken_after.len().max(changes + 1);
                self.outcome.broken_after.resize(length, 0);
                self.outcome.broken_after[changes] += 1;
            }
            return;
        }
        client.has_spoken = true;
        client.left -= 1;
        client.seq = client.seq.advance(self.dice.below(1_400) as u32);
        client.is_over = client.left == 0;
        let wait = if self.dice.in_hundred(10) { self.dice.below(PAUSE_MS) } else { self.dice.below(8_000) };
        self.after(wait, Event::Speak(index));
    }
}
