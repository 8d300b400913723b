//! What is decided: when which backend is checked, what checks in a row come to, and what is news.

use super::{Failure, News, Obstacle, Target};
use crate::{
    lb::{Health, Pace, Tally},
    rng::splitmix64,
    time::Instant,
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

/// Names one check of one backend, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u64);

impl Attempt {
    /// How many there were before it.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The checks of all backends, as far as they can be decided: sans I/O, like a stack.
///
/// - [`replace`](Self::replace) says who is to be checked.
/// - [`begin`](Self::begin) says whom to check now, [`end`](Self::end) hears how that went, and [`overdue`](Self::overdue)
///   says which has taken too long.
/// - [`poll_news`](Self::poll_news) says what is known, and [`poll_timeout`](Self::poll_timeout) when to ask again.
#[derive(Debug)]
pub struct Checks {
    seed: u64,
    /// Checks at a time at most.
    most: usize,
    next: u64,
    backends: HashMap<Name, Backend>,
    /// Whom to check next, and when. Whoever is being checked, or cannot be, is not among them.
    due: BTreeSet<(Instant, Name)>,
    /// Checks under way.
    open: HashMap<Attempt, Name>,
    deadlines: BTreeSet<(Instant, Attempt)>,
    news: VecDeque<News>,
}

/// How often what is put off is tried again, for as long as a check may take.
const PATIENCE: u32 = 10;

/// A service's name, and a backend's.
type Name = (String, String);

#[derive(Debug)]
struct Backend {
    target: Target,
    pace: Pace,
    tally: Tally,
    /// The check that is under way, and when it has taken too long.
    attempt: Option<(Attempt, Instant)>,
    /// Why it is down, if it is.
    failure: Option<String>,
    /// Why it could not be checked last, if that was told.
    told: Option<String>,
    /// Since when its check is put off.
    waits_since: Option<Instant>,
}

impl Checks {
    /// Nobody to check yet, and never more than `most` at a time, but one at least. The seed differs by balancer: it says in which
    /// moments they check.
    pub fn new(seed: u64, most: usize) -> Self {
        Self {
            seed,
            most: most.max(1),
            next: 0,
            backends: HashMap::new(),
            due: BTreeSet::new(),
            open: HashMap::new(),
            deadlines: BTreeSet::new(),
            news: VecDeque::new(),
        }
    }

    /// From now on these are checked, each once, and nobody else. What is known of a backend stays, and so does its pace where that
    /// is to be the same. Returns the checks under way that nobody wants to know the end of any more.
    pub fn replace(&mut self, now: Instant, targets: impl IntoIterator<Item = Target>) -> Vec<Attempt> {
        let mut before = mem::take(&mut self.backends);
        self.due.clear();
        let mut abandoned = Vec::new();
        for target in targets {
            let name = (target.service.clone(), target.backend.clone());
            let mut backend = match before.remove(&name) {
                Some(backend) => self.change(now, backend, target, &mut abandoned),
                None => Backend::new(now, target, self.seed),
            };
            if let Err(Obstacle::Uncheckable(why)) = &backend.target.route {
                backend.tell(&why.clone(), &mut self.news);
            } else if backend.attempt.is_none() {
                self.due.insert((backend.pace.due(), name.clone()));
            }
            self.backends.insert(name, backend);
        }
        abandoned.extend(before.into_values().filter_map(|backend| Some(backend.attempt?.0)));
        for attempt in &abandoned {
            self.open.remove(attempt);
        }
        self.deadlines.retain(|(_, attempt)| self.open.contains_key(attempt));
        abandoned
    }

    fn change(&self, now: Instant, old: Backend, target: Target, abandoned: &mut Vec<Attempt>) -> Backend {
        let is_same = old.target.check == target.check;
        let is_there = old.target.address == target.address && is_same && target.route.is_ok();
        let mut new = Backend { target, ..old };
        if !is_same {
            let check = &new.target.check;
            let health = new.tally.health();
            new.tally = Tally::new(check.rise, check.fall);
            new.tally.resume(health);
            new.pace = Pace::new(now, check.interval, new.target.hash(self.seed));
        }
        if !is_there && let Some((attempt, _)) = new.attempt.take() {
            abandoned.push(attempt);
        }
        new
    }

    /// Whom to check now; to be asked until there is nobody more. The check is under way until [`Checks::end`].
    pub fn begin(&mut self, now: Instant) -> Option<(Attempt, &Target)> {
        while self.open.len() < self.most
            && let Some((_, name)) = self.due.first().filter(|(due, _)| *due <= now)
        {
            let name = name.clone();
            self.due.pop_first();
            let backend = self.backends.get_mut(&name)?;
            backend.pace.is_due(now);
            if let Err(Obstacle::Unreachable(why)) = &backend.target.route {
                let failure = Failure::Unreachable(why.clone());
                backend.count(Err(failure), &mut self.news);
                self.due.insert((backend.pace.due(), name));
                continue;
            }
            let (attempt, deadline) = (Attempt(self.next), now + backend.target.check.timeout);
            self.next += 1;
            backend.attempt = Some((attempt, deadline));
            self.deadlines.insert((deadline, attempt));
            self.open.insert(attempt, name.clone());
            return self.backends.get(&name).map(|backend| (attempt, &backend.target));
        }
        None
    }

    /// A check has ended, in this way. One that nobody wants to know of any more counts for nothing.
    pub fn end(&mut self, attempt: Attempt, outcome: Result<(), Failure>) {
        let Some(name) = self.close(attempt) else { return };
        let Some(backend) = self.backends.get_mut(&name) else { return };
        backend.waits_since = None;
        backend.count(outcome, &mut self.news);
        self.due.insert((backend.pace.due(), name));
    }

    /// A check could not be made, for a reason that is not the backend's: it counts for nothing, and the reason is told, once.
    pub fn give_up(&mut self, attempt: Attempt, why: &str) {
        let Some(name) = self.close(attempt) else { return };
        let Some(backend) = self.backends.get_mut(&name) else { return };
        backend.waits_since = None;
        backend.tell(why, &mut self.news);
        self.due.insert((backend.pace.due(), name));
    }

    /// A check cannot be made yet, for want of something that others have now: it is soon tried again, before those that are due later.
    /// Where that goes on for longer than from one check to the next, it is [given up](Checks::give_up).
    pub fn put_off(&mut self, now: Instant, attempt: Attempt, why: &str) {
        let Some(name) = self.open.get(&attempt).cloned() else { return };
        let Some(backend) = self.backends.get_mut(&name) else { return };
        let check = &backend.target.check;
        if now - *backend.waits_since.get_or_insert(now) > check.interval {
            return self.give_up(attempt, why);
        }
        let again = now + check.timeout / PATIENCE;
        self.close(attempt);
        self.due.insert((again, name));
    }

    /// A check is under way no more; whose it was.
    fn close(&mut self, attempt: Attempt) -> Option<Name> {
        let name = self.open.remove(&attempt)?;
        let (_, deadline) = self.backends.get_mut(&name)?.attempt.take()?;
        self.deadlines.remove(&(deadline, attempt));
        Some(name)
    }

    /// A check that has taken too long; to be asked until there is none, and each [ended](Checks::end) at once.
    pub fn overdue(&self, now: Instant) -> Option<Attempt> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|&(_, attempt)| attempt)
    }

    /// Whom a check that is under way is of.
    pub fn target(&self, attempt: Attempt) -> Option<&Target> {
        Some(&self.backends.get(self.open.get(&attempt)?)?.target)
    }

    /// When to ask [`Checks::begin`] and [`Checks::overdue`] again; `None` where there is nobody to check.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().filter(|_| self.open.len() < self.most).map(|(due, _)| *due);
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        due.into_iter().chain(deadline).min()
    }

    /// What is known that was not before; to be asked until there is nothing more.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// How many are under way.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

impl Target {
    /// A number that is its name's, whatever else is said of it.
    pub(super) fn hash(&self, seed: u64) -> u64 {
        let octets = self.service.bytes().chain([0xff]).chain(self.backend.bytes());
        octets.fold(seed, |seed, octet| splitmix64(seed ^ u64::from(octet)))
    }
}

impl Backend {
    fn new(now: Instant, target: Target, seed: u64) -> Self {
        let check = &target.check;
        let mut tally = Tally::new(check.rise, check.fall);
        tally.resume(target.known);
        let pace = Pace::new(now, check.interval, target.hash(seed));
        Self { target, pace, tally, attempt: None, failure: None, told: None, waits_since: None }
    }

    fn name(&self) -> Name {
        (self.target.service.clone(), self.target.backend.clone())
    }

    fn count(&mut self, outcome: Result<(), Failure>, news: &mut VecDeque<News>) {
        self.target.counts.count(outcome.is_err());
        let change = self.tally.count(outcome.is_ok());
        let why = outcome.err().map(|failure| failure.to_string());
        // Whatever it was that kept others from being made, it is over, and what was told of it no longer so.
        let was_told = self.told.take().is_some();
        let is_down = self.tally.health() == Health::Down;
        if change.is_some() {
            self.failure = None;
        }
        // One that is down for another reason than before is worth a word as well.
        let is_other = is_down && why.is_some() && why != self.failure;
        if is_other {
            self.failure = why;
        }
        if change.is_some() || is_other || was_told {
            news.push_back(self.news(self.failure.clone()));
        }
    }

    fn news(&self, why: Option<String>) -> News {
        let (service, backend) = self.name();
        News { service, backend, health: self.tally.health(), why }
    }

    /// Says why it cannot be checked, where that is news.
    fn tell(&mut self, why: &str, news: &mut VecDeque<News>) {
        if self.told.as_deref() != Some(why) {
            self.told = Some(why.to_owned());
            news.push_back(self.news(self.told.clone()));
        }
    }
}
