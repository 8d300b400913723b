//! The defence against SYN floods: a thread that keeps the cookies' keys up to date, watches the pressure, and decides who
//! answers SYNs.

mod errand;
mod keys;
mod master;
mod policy;
#[cfg(test)]
mod tests;

pub use self::policy::{Cookies, Level};

pub(super) use self::master::MasterFile;

use self::policy::{Policy, Sample};
use super::{
    Notice,
    errands::{self, Errand},
    notice::Notices,
};
use crate::{
    stack::{FlowFingerprint, FlowObserver, SynMode},
    tcp::cookie::{CookieJar, EPOCH, MasterKey, SHORT_GRACE},
    time::Instant,
    wire::{Endpoint, FourTuple},
    worker::{Clock, Published, Workers},
    xdp::{FlowFilter, Guard, Listener, Services, XdpError},
};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often the pressure is looked at.
const TICK: Duration = Duration::from_millis(1_000 / TICKS_PER_SECOND as u64);
const TICKS_PER_SECOND: u32 = 10;
/// For how long programs go on with keys that nobody keeps any more: cookies made until then live long enough for handshakes to end.
const KEPT: Duration = Duration::from_secs(30);
/// SYN-ACKs a second and on each CPU that a source prefix may draw at the highest level, unless told otherwise.
const SYN_BUDGET: u32 = 20_000;
/// Acknowledgments a second that are no cookie's, above which somebody is guessing.
const GUESSING: u64 = 10_000;
/// The calendar was set where it is so far from what it was; a clock that is steered moves on by less in a second.
const SET: Duration = Duration::from_millis(100);
/// That is worth a word.
const JUMP: Duration = Duration::from_secs(1);

/// Enters a worker's flows into the filters of the XDP programs: a flow may come by any interface. There is at least one, and all hash
/// by the same key, so that a flow has one name.
pub(super) struct FilterWriter(pub Vec<FlowFilter>);

impl FlowObserver for FilterWriter {
    fn opened(&mut self, tuple: &FourTuple) {
        let (remote, local) = (socket(tuple.remote), socket(tuple.local));
        self.0.iter_mut().for_each(|filter| filter.insert(remote, local));
    }

    fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint {
        FlowFingerprint::new(self.0[0].name(socket(tuple.remote), socket(tuple.local)))
    }

    fn closed(&mut self, fingerprint: FlowFingerprint) {
        self.0.iter_mut().for_each(|filter| filter.remove_named(fingerprint.get()));
    }

    fn prefetch_close(&self, fingerprint: FlowFingerprint) {
        self.0.iter().for_each(|filter| filter.prefetch(fingerprint.get()));
    }
}

fn socket(end: Endpoint) -> SocketAddr {
    SocketAddr::new(end.address, end.port)
}

/// Where the secret of the cookies comes from when time goes by.
#[derive(Debug)]
pub(super) enum Rotation {
    /// It stays.
    Never,
    /// Another random one, this often.
    Every(Duration),
    /// Whatever the file holds.
    File(MasterFile),
}

/// What the defence needs to know.
pub(super) struct Setup {
    pub cookies: Cookies,
    /// SYN-ACKs a second that a source prefix may draw: where it is given, always, and not only at the highest level.
    pub syn_budget: Option<u32>,
    /// Those of the interfaces' programs.
    pub programs: Vec<Guarded>,
    pub master: MasterKey,
    pub rotation: Rotation,
    pub clock: Clock,
    pub workers: Workers,
    pub notices: Notices,
}

/// How a listener is defended, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerDefence {
    /// The listener.
    pub listener: SocketAddr,
    /// How high its defence stands.
    pub level: Level,
    /// How often that has changed.
    pub changes: u64,
    /// SYNs for it, answered or not.
    pub syns: u64,
}

/// The listeners' defence, from any thread.
#[derive(Clone, Debug)]
pub(super) struct View(Arc<Mutex<Vec<ListenerDefence>>>);

impl View {
    /// How each listener is defended.
    pub fn read(&self) -> Vec<ListenerDefence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The defence at work. Dropping it ends its thread, and leaves things as they are.
#[derive(Debug)]
pub(super) struct Defence {
    records: Arc<Mutex<Vec<ListenerDefence>>>,
    errands: Option<Sender<Errand<Watch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Defence {
    /// Starts it: when this returns, everything is as the policy wants it in the beginning.
    pub fn start(setup: Setup) -> Result<Self, XdpError> {
        let mut watch = Watch::new(setup)?;
        let records = watch.records.clone();
        let (errands, waiting) = unbounded();
        let thread = thread::Builder::new().name("xskip-defence".to_owned()).spawn(move || watch.run(&waiting));
        let thread =
            thread.map_err(|source| XdpError::Refused { what: "start the defence's thread".to_owned(), source })?;
        Ok(Self { records, errands: Some(errands), thread: Some(thread) })
    }

    /// How each listener is defended now.
    pub fn records(&self) -> Vec<ListenerDefence> {
        self.view().read()
    }

    /// For whoever looks on while it is at work.
    pub fn view(&self) -> View {
        View(self.records.clone())
    }
}

impl Defence {
    /// Ends its thread, once all SYNs are counted.
    pub fn end(&mut self) {
        drop(self.errands.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Defence {
    fn drop(&mut self) {
        self.end();
    }
}

/// How high a defence stands for whoever sends SYNs, where this was decided: workers answer them if the XDP program has no way to.
/// What it drops otherwise, strangers' segments and what is beyond a budget, it drops all the same.
fn standing(decided: Level, has_way_out: bool) -> Level {
    if has_way_out { decided } else { decided.min(Level::Worker) }
}

/// One XDP program, which guards the listeners that its services have: those that come later, too.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    pub guard: Arc<Guard>,
    pub services: Arc<Services>,
}

/// A listener and how it is defended.
struct ListenerState {
    /// The number of its program.
    program: usize,
    listener: Listener,
    policy: Policy,
    /// SYNs counted under its number before it was there, and up to the last sample.
    syns_before: u64,
    syns: u64,
}

impl ListenerState {
    /// What no other listener of this server has had.
    fn name(&self) -> (usize, u64) {
        (self.program, self.listener.id)
    }

    /// What others may read of it.
    fn record(&self, has_way_out: bool) -> ListenerDefence {
        let level = standing(self.policy.level(), has_way_out);
        ListenerDefence { listener: self.listener.local, level, changes: 0, syns: self.syns - self.syns_before }
    }
}

/// Every listener with the number of its program, in the order in which they came there.
fn listeners_of(programs: &[Guarded]) -> impl Iterator<Item = (usize, Listener)> {
    let of_one =
        |(number, program): (usize, &Guarded)| program.services.listeners().into_iter().map(move |one| (number, one));
    programs.iter().enumerate().flat_map(of_one)
}

/// The thread's own.
struct Watch {
    programs: Vec<Guarded>,
    jar: CookieJar,
    master: MasterKey,
    rotation: Rotation,
    rotated: Instant,
    clock: Clock,
    workers: Workers,
    cookies: Cookies,
    /// Program by program, in the order in which they came.
    listeners: Vec<ListenerState>,
    /// One for each of them, for others to read.
    records: Arc<Mutex<Vec<ListenerDefence>>>,
    syn_budget: Option<u32>,
    epoch: u64,
    sampled: Instant,
    /// Connections and evictions, up to the last sample.
    connections: u64,
    evictions: u64,
    strangers: u64,
    /// Acknowledgments that were no cookie's, likewise, and whether there were many.
    guesses: u64,
    guessing: bool,
    notices: Notices,
}

impl Watch {
    fn new(setup: Setup) -> Result<Self, XdpError> {
        let Setup { cookies, syn_budget, programs, master, rotation, clock, workers, notices } = setup;
        let now = clock.now();
        let jar = CookieJar::new(master.clone(), clock.calendar(Instant::ZERO));
        let epoch = jar.epoch(now);
        // Whatever was counted so far was counted for them.
        let policy = || Policy::new(cookies, now);
        let state =
            |(program, listener)| ListenerState { program, listener, policy: policy(), syns_before: 0, syns: 0 };
        let listeners: Vec<_> = listeners_of(&programs).map(state).collect();
        let records = listeners.iter().map(|state| state.record(programs[state.program].guard.has_way_out())).collect();
        let records = Arc::new(Mutex::new(records));
        let (rotated, sampled) = (now, now);
        let (connections, evictions, strangers, guesses) = (0, 0, 0, 0);
        let watch = Self {
            programs,
            jar,
            master,
            rotation,
            rotated,
            clock,
            workers,
            cookies,
            listeners,
            records,
            syn_budget,
            epoch,
            sampled,
            connections,
            evictions,
            strangers,
            guesses,
            guessing: false,
            notices,
        };
        watch.set_keys();
        watch.guards().for_each(|guard| guard.begin_epoch(epoch));
        watch.guards().for_each(|guard| guard.keep_keys(KEPT));
        watch.listeners.iter().for_each(|state| watch.tell(state));
        watch.take_levels();
        Ok(watch)
    }

    fn run(&mut self, errands: &Receiver<Errand<Self>>) {
        errands::attend(self, errands, TICK, |watch| {
            if let Err(error) = watch.tick() {
                watch.notices.tell(Notice::DefenceStuck { reason: error.to_string() });
            }
            true
        });
        // Those of the last moment are counted, too.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for (record, state) in records.iter_mut().zip(&self.listeners) {
            let syns = self.guard_of(state).syns(state.listener.number).map(|syns| syns - state.syns_before);
            record.syns = syns.unwrap_or(record.syns);
        }
    }

    fn tick(&mut self) -> Result<(), XdpError> {
        let now = self.clock.now();
        self.guards().for_each(Guard::tick);
        self.guards().for_each(|guard| guard.keep_keys(KEPT));
        self.follow_calendar();
        self.rotate_if_due(now);
        let epoch = self.jar.epoch(now);
        if epoch != self.epoch {
            self.epoch = epoch;
            self.set_keys();
            self.guards().for_each(|guard| guard.begin_epoch(epoch));
        }
        let accepts = self.jar.accepts_next(now);
        self.guards().for_each(|guard| guard.accept_next_epoch(accepts));
        self.guards().for_each(Guard::settle);
        self.watch_guesses(now)?;
        self.follow_services(now)?;
        self.watch_listeners(now)
    }

    /// Looks whether the calendar was set. Epochs follow it; handshakes under way whose cookies are all there is of them are lost
    /// where it jumps by more than [`SKEW`](crate::tcp::cookie::SKEW).
    fn follow_calendar(&mut self) {
        let (was, set) = (self.jar.calendar(), self.clock.calendar_as_set());
        let by = set.abs_diff(was);
        if by < SET {
            return;
        }
        if by >= JUMP {
            tracing::info!(seconds = by.as_secs(), ahead = set > was, "the calendar was set: cookies follow it");
        }
        self.jar.set_calendar(set);
        self.workers.tell_all(move |cx| cx.stack().set_cookie_calendar(set));
    }

    /// Shortens the life of cookies while somebody guesses, until the epoch ends in which that was.
    fn watch_guesses(&mut self, now: Instant) -> Result<(), XdpError> {
        let count = self.sum(Guard::invalid_cookies)? + self.workers.total(Published::invalid_cookies);
        let new = count - std::mem::replace(&mut self.guesses, count);
        let begun = new * u64::from(TICKS_PER_SECOND) > GUESSING;
        let age = self.jar.age(now);
        let over = !begun && age <= TICK;
        if begun && !self.guessing {
            self.notices.tell(Notice::CookiesGuessed { acknowledgments: new });
        }
        let guessing = begun || self.guessing && !over;
        if guessing != self.guessing {
            self.guessing = guessing;
            let grace = if guessing { SHORT_GRACE } else { EPOCH };
            self.workers.tell_all(move |cx| cx.stack().set_cookie_grace(grace));
        }
        let accepts = !guessing || age <= SHORT_GRACE;
        self.guards().for_each(|guard| guard.accept_last_epoch(accepts));
        Ok(())
    }

    /// Samples each listener, and lets its policy decide.
    fn watch_listeners(&mut self, now: Instant) -> Result<(), XdpError> {
        let millis = (now - self.sampled).as_millis().max(1) as u64;
        self.sampled = now;
        let per_second = |count: u64| count * 1_000 / millis;
        let connections = self.workers.total(Published::connections);
        let evictions = self.workers.total(Published::evictions);
        let opened = connections - std::mem::replace(&mut self.connections, connections);
        let evicted = evictions - std::mem::replace(&mut self.evictions, evictions);
        let strangers = self.sum(Guard::strangers)? + self.workers.total(Published::strangers);
        let strange = strangers - std::mem::replace(&mut self.strangers, strangers);
        let mut syns = Vec::with_capacity(self.listeners.len());
        for state in &mut self.listeners {
            let count = self.programs[state.program].guard.syns(state.listener.number)?;
            syns.push(count - std::mem::replace(&mut state.syns, count));
        }
        // What became a connection was no flood, however much of it there is.
        let lost = syns.iter().sum::<u64>().saturating_sub(opened);
        let mut changed = Vec::new();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (state, syns)) in self.listeners.iter_mut().zip(syns).enumerate() {
            let (lost_syns_per_second, strangers_per_second) = (per_second(lost.min(syns)), per_second(strange));
            let sample = Sample { lost_syns_per_second, strangers_per_second, evictions: evicted };
            if state.policy.decide(now, sample).is_some() {
                changed.push(index);
            }
            // Who answers may change without a decision.
            let ListenerDefence { listener, level, syns, .. } =
                state.record(self.programs[state.program].guard.has_way_out());
            if level != records[index].level {
                let Sample { lost_syns_per_second, strangers_per_second, evictions } = sample;
                self.notices.tell(Notice::Defence {
                    listener,
                    level,
                    lost_syns_per_second,
                    strangers_per_second,
                    evictions,
                });
                records[index].level = level;
                records[index].changes += 1;
            }
            records[index].syns = syns;
        }
        drop(records);
        if changed.is_empty() {
            return Ok(());
        }
        self.take_levels();
        changed.into_iter().for_each(|index| self.tell(&self.listeners[index]));
        Ok(())
    }

    /// Takes in listeners that have come, and lets go of those that are gone.
    fn follow_services(&mut self, now: Instant) -> Result<(), XdpError> {
        let there: Vec<_> = listeners_of(&self.programs).collect();
        let name = |&(program, ref listener): &(usize, Listener)| (program, listener.id);
        if there.iter().map(name).eq(self.listeners.iter().map(ListenerState::name)) {
            return Ok(());
        }
        let known: HashSet<_> = self.listeners.iter().map(ListenerState::name).collect();
        let names: HashSet<_> = there.iter().map(name).collect();
        let mut came = Vec::new();
        for (program, listener) in there.into_iter().filter(|listener| !known.contains(&name(listener))) {
            let syns = self.programs[program].guard.syns(listener.number)?;
            let policy = Policy::new(self.cookies, now);
            came.push(ListenerState { program, listener, policy, syns_before: syns, syns });
        }
        came.iter().for_each(|state| self.tell(state));
        let came_records: Vec<_> = came.iter().map(|state| state.record(self.guard_of(state).has_way_out())).collect();
        let records = self.records.clone();
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut self.listeners).into_iter().zip(records.drain(..));
        let stays = before.filter(|(state, _)| names.contains(&state.name()));
        let mut all: Vec<_> = stays.chain(came.into_iter().zip(came_records)).collect();
        all.sort_by_key(|(state, _)| state.name());
        (self.listeners, *records) = all.into_iter().unzip();
        drop(records);
        self.take_levels();
        Ok(())
    }

    fn guards(&self) -> impl Iterator<Item = &Guard> {
        self.programs.iter().map(|program| &*program.guard)
    }

    fn guard_of(&self, state: &ListenerState) -> &Guard {
        &self.programs[state.program].guard
    }

    /// A counter of all programs together.
    fn sum(&self, count: impl Fn(&Guard) -> Result<u64, XdpError>) -> Result<u64, XdpError> {
        self.guards().map(count).sum()
    }

    /// Tells the program how a listener is defended. One that was forgotten just now is nobody's to defend.
    fn tell(&self, state: &ListenerState) {
        self.programs[state.program].services.set_guarded(state.listener.local, state.policy.level() >= Level::Xdp);
    }

    /// Makes so what all listeners share: it is as the highest of them wants it.
    fn take_levels(&self) {
        let highest = self.listeners.iter().map(|state| state.policy.level()).max().unwrap_or(Level::Cache);
        let mode = if highest >= Level::Worker { SynMode::Cookie } else { SynMode::Cache };
        self.workers.tell_all(move |cx| cx.stack().set_syn_mode(mode));
        let budget = match self.syn_budget {
            None if highest < Level::Budget => None,
            budget => Some(budget.unwrap_or(SYN_BUDGET).div_ceil(TICKS_PER_SECOND)),
        };
        for guard in self.guards() {
            guard.set_prefix_budget(budget);
            guard.arm(highest >= Level::Xdp);
        }
    }
}
