//! A small world in virtual time: clients whose flows begin, speak and end, two balancers with one key, and an operator
//! who keeps changing their configuration, the one's a little before the other's. All of it comes from a seed.

mod clients;

use self::clients::Client;
use super::{Method, Outcome, Shape, directors::Director};
use crate::{
    lb::{Backend, Balancer, Flow, Health, Kind, Limits, Maglev, RowKey, Service, State, Transport, Windows},
    rng::{SipKey, splitmix64},
    time::Instant,
    wire::{Endpoint, FourTuple, SeqNumber},
};
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

/// How long flows may be silent here.
const SILENCE: Duration = Duration::from_secs(120);
/// Two services, which have the same backends some of the time: then they share a table, if they also have the same past.
const NAMES: [&str; 2] = ["web", "api"];
const VIPS: [Endpoint; 2] = [vip(443), vip(80)];

const fn vip(port: u16) -> Endpoint {
    Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 80)), port }
}

/// The backends of each.
type Lists = [Vec<Backend>; 2];

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(splitmix64(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = splitmix64(self.0);
        self.0
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    pub fn in_hundred(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A client's flow to a service.
fn flow(service: usize, remote: Endpoint) -> Flow {
    Flow { transport: Transport::Tcp, tuple: FourTuple { local: VIPS[service], remote } }
}

fn service_of(flow: &Flow) -> usize {
    usize::from(flow.tuple.local == VIPS[1])
}

enum Event {
    Begin,
    Speak(usize),
    Change,
    Configure(usize),
    Check,
    Tell(usize, usize, String, Health),
    Forge,
    Move,
    DrainOver(usize, String, Instant),
}

pub(super) struct World {
    shape: Shape,
    /// What the clients do.
    dice: Dice,
    /// What befalls them: the same whatever becomes of them.
    fate: Dice,
    now: Instant,
    /// By the time, and of one time in the order in which they were said.
    events: BTreeMap<(Instant, u64), Event>,
    numbered: u64,
    placement: Arc<Maglev>,
    directors: [Director; 2],
    /// Configurations in the order they were made; each balancer has got to one of them.
    versions: Vec<Lists>,
    applied: [usize; 2],
    due: [Instant; 2],
    /// When each balancer's configuration changed.
    changed_at: [Vec<Instant>; 2],
    /// How often a backend's flows ended by configuration, and the version that did it.
    incarnations: HashMap<(usize, String), (u32, usize)>,
    names: u64,
    clients: Vec<Client>,
    /// Whose a name of a flow was last.
    last: HashMap<Flow, usize>,
    outcome: Outcome,
    /// What is to be said of the first flow that was broken.
    story: String,
}

impl World {
    pub fn new(seed: u64, shape: Shape, method: Method) -> Self {
        let key = RowKey::new(SipKey::from_seed(seed));
        let windows = Windows { silence: SILENCE, ..Windows::default() };
        let limits = Limits { exceptions: shape.memory, windows };
        let director = || Director::new(method, Balancer::new(key, limits), shape.memory);
        let mut world = Self {
            shape,
            dice: Dice::new(seed),
            fate: Dice::new(!seed),
            now: Instant::from_millis(1_000_000 + seed % 70_000_000), // ticks turn over now and then
            events: BTreeMap::new(),
            numbered: 0,
            placement: Arc::new(Maglev::new(key.of_placement())),
            directors: [director(), director()],
            versions: vec![Lists::default()],
            applied: [0; 2],
            due: [Instant::ZERO; 2],
            changed_at: [Vec::new(), Vec::new()],
            incarnations: HashMap::new(),
            names: 0,
            clients: Vec::new(),
            last: HashMap::new(),
            outcome: Outcome::default(),
            story: String::new(),
        };
        let first: Vec<_> = (0..shape.backends).map(|_| world.backend()).collect();
        world.versions.push([first.clone(), first]);
        world.configure(0);
        world.configure(1);
        world
    }

    /// Lets the time pass. What came of it, and what is to be said of the first flow that was broken.
    pub fn run(mut self) -> (Outcome, String) {
        let (shape, start) = (self.shape, self.now);
        let span = shape.seconds * 1_000;
        for _ in 0..shape.flows {
            self.at_random(span, Event::Begin);
        }
        for _ in 0..shape.changes {
            self.at_random(span, Event::Change);
            self.at_random(span, Event::Check);
            self.at_random(span, Event::Forge);
            if shape.moves {
                self.at_random(span, Event::Move);
            }
        }
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if at - start > Duration::from_millis(2 * span) {
                break;
            }
            for director in &mut self.directors {
                while director.balancer.poll_timeout().is_some_and(|due| due <= at) {
                    director.balancer.handle_timeout(at);
                }
            }
            self.happen(event);
            let remembered: usize = self.directors.iter().map(Director::remembered).sum();
            self.outcome.remembered = self.outcome.remembered.max(remembered as u64);
        }
        (self.outcome, self.story)
    }

    fn at_random(&mut self, span: u64, event: Event) {
        let wait = self.fate.below(span);
        self.after(wait, event);
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.at(self.now + Duration::from_millis(millis), event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.numbered += 1;
        self.events.insert((at, self.numbered), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::Speak(client) => self.speak(client),
            Event::Change => self.change(),
            Event::Configure(balancer) => self.configure(balancer),
            Event::Check => self.check(),
            Event::Tell(balancer, service, name, health) => {
                self.directors[balancer].tell(NAMES[service], &name, health, self.now);
            }
            Event::Forge => self.forge(),
            Event::Move => self.move_clients(),
            Event::DrainOver(service, name, until) => {
                let newest = &self.versions.last().expect("a version")[service];
                if newest.iter().any(|it| it.name == name && it.state == State::Drain { until }) {
                    self.end_flows_of(service, &name);
                }
            }
        }
    }

    fn backend(&mut self) -> Backend {
        self.names += 1;
        let address = Ipv4Addr::from_bits(0xc612_0100 + self.names as u32);
        Backend::new(format!("web-{}", self.names), Endpoint { address: address.into(), port: 443 })
    }

    fn end_flows_of(&mut self, service: usize, name: &str) {
        let version = self.versions.len(); // the one that is about to be
        let it = self.incarnations.entry((service, name.to_owned())).or_default();
        *it = (it.0 + 1, version);
    }

    fn incarnation(&self, service: usize, name: &str) -> (u32, usize) {
        self.incarnations.get(&(service, name.to_owned())).copied().unwrap_or_default()
    }

    /// The operator does something, for one service or so that both are alike, and each balancer hears of it soon.
    fn change(&mut self) {
        let lists = self.versions.last().expect("a version").clone();
        let which = self.fate.below(3) as usize;
        let one = which % 2;
        // A drain that has a deadline is not called off: a balancer that hears of that late would have ended it.
        let is_bound = |it: &Backend| matches!(it.state, State::Drain { until } if until < Instant::NEVER);
        let are_alike = which == 2 && !lists[1].iter().any(is_bound);
        for next in self.steps(lists[one].clone()) {
            let mut lists = self.versions.last().expect("a version").clone();
            if are_alike {
                lists[1].clone_from(&next);
            }
            lists[one] = next;
            self.publish(lists);
        }
    }

    /// What is done to the backends of a service, in one step or two.
    fn steps(&mut self, mut backends: Vec<Backend>) -> Vec<Vec<Backend>> {
        let one = self.fate.below(backends.len() as u64) as usize;
        let serving = backends.iter().filter(|it| it.is_placed()).count();
        let may_go = serving > 2 || !backends[one].is_placed();
        match self.fate.below(10) {
            0 | 1 => backends.push(self.backend()),
            2 | 3 if may_go => {
                let gone = backends.remove(one);
                if self.fate.in_hundred(50) {
                    backends.push(self.backend());
                } else if self.fate.in_hundred(30) {
                    // The same name comes back at once: that is another backend.
                    let without = backends.clone();
                    backends.push(Backend { state: State::Serve, ..gone });
                    return vec![without, backends];
                }
            }
            4 | 5 if may_go && backends[one].state == State::Serve => {
                let until = if self.fate.in_hundred(50) { Instant::NEVER } else { self.now + Duration::from_secs(60) };
                backends[one].state = State::Drain { until };
            }
            6 => match backends[one].state {
                State::Drain { until: Instant::NEVER } | State::Off => backends[one].state = State::Serve,
                _ => {}
            },
            7 if may_go => backends[one].state = State::Off,
            _ => {
                let weight = [0, 50, 100, 200][self.fate.below(4) as usize];
                if weight > 0 || may_go {
                    backends[one].weight = weight;
                }
            }
        }
        vec![backends]
    }

    fn publish(&mut self, lists: Lists) {
        self.outcome.changes += 1;
        let before = self.versions.last().expect("a version").clone();
        for (service, (before, after)) in before.iter().zip(&lists).enumerate() {
            for was in before {
                let is = after.iter().find(|it| it.name == was.name);
                if was.state != State::Off && is.is_none_or(|is| is.state == State::Off) {
                    self.end_flows_of(service, &was.name);
                }
            }
            for is in after {
                let State::Drain { until } = is.state else { continue };
                if until < Instant::NEVER && !before.contains(is) {
                    self.at(until.max(self.now), Event::DrainOver(service, is.name.clone(), until));
                }
            }
        }
        self.versions.push(lists);
        for balancer in 0..2 {
            let lag = Duration::from_millis(self.fate.below(if self.shape.moves { 20_000 } else { 200 }));
            self.due[balancer] = self.due[balancer].max(self.now + lag);
            self.at(self.due[balancer], Event::Configure(balancer));
        }
    }

    /// A balancer gets its next configuration.
    fn configure(&mut self, balancer: usize) {
        self.applied[balancer] += 1;
        let lists = self.versions[self.applied[balancer]].clone();
        let services = lists.into_iter().enumerate().map(|(index, backends)| {
            let placement = Arc::clone(&self.placement) as Arc<dyn crate::lb::Placement>;
            Service { rows: self.shape.rows, ..Service::tcp(NAMES[index], VIPS[index], placement).with(backends) }
        });
        self.directors[balancer].configure(services.collect(), self.now);
        self.changed_at[balancer].push(self.now);
    }

    /// Checks of a backend fail for a while, though it is well; both balancers notice, at different times.
    fn check(&mut self) {
        let service = self.fate.below(2) as usize;
        let backends = &self.versions.last().expect("a version")[service];
        let name = backends[self.fate.below(backends.len() as u64) as usize].name.clone();
        for balancer in 0..2 {
            let (falls, rises) = (self.fate.below(4_000), 4_000 + self.fate.below(60_000));
            self.after(falls, Event::Tell(balancer, service, name.clone(), Health::Down));
            self.after(rises, Event::Tell(balancer, service, name.clone(), Health::Up));
        }
    }

    /// A stranger sends what looks like a flow's, or like somebody's.
    fn forge(&mut self) {
        for _ in 0..if self.shape.flood { 300 } else { 3 } {
            let client =
                Endpoint { address: Ipv4Addr::from_bits(0x0a00_0000 | self.fate.next() as u32 >> 8).into(), port: 999 };
            let flow = flow(self.fate.below(2) as usize, client);
            let seq = SeqNumber::new(self.fate.next() as u32);
            let kinds = [Kind::Syn(seq), Kind::Syn(seq), Kind::Segment(seq), Kind::Error];
            let kind = kinds[self.fate.below(4) as usize];
            let balancer = self.fate.below(2) as usize;
            self.directors[balancer].decide(&flow, kind, self.now);
        }
        if self.clients.is_empty() {
            return;
        }
        // And SYNs for flows that there are, with another number than they have.
        for _ in 0..10 {
            let (one, ahead) =
                (self.fate.below(self.clients.len() as u64) as usize, 1 << 30 | self.fate.below(1 << 30));
            let Client { flow, seq, balancer, has_spoken, is_over, .. } = &self.clients[one];
            if *has_spoken && !is_over {
                let (flow, isn) = (*flow, seq.advance(ahead as u32));
                self.directors[*balancer].decide(&flow, Kind::Syn(isn), self.now);
            }
        }
    }
}
