//! A plan in words: who comes, who goes, and what that means for rows and flows.

use super::{
    backend::{Backend, Service, State},
    table::{Assignment, Member, Recipe, Table},
    time_window::{Tick, Ticks},
};
use crate::time::Instant;
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// What becomes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It comes.
    New,
    /// It goes.
    Gone,
    /// It is served otherwise than before.
    Changed,
    /// It stays as it is.
    Nothing,
}

/// What a plan means for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub what: Change,
    /// What becomes of its backends, a line each.
    pub backends: Vec<String>,
    /// Rows of its table.
    pub rows: u32,
    /// Rows whose new flows go elsewhere than until now.
    pub moved: u32,
    /// Of those that move, rows that were in transition already: they keep the older generation.
    pub held: u32,
    /// Rows that are in transition afterwards: flows that begin there are remembered, as long as older ones speak.
    pub remembered: u32,
    /// Rows whose flows end, because their backend goes, or is off; where nothing tells new flows from old ones, all
    /// rows that move.
    pub ended: u32,
    /// Whether rows change for all flows at once, as nothing tells new ones from old.
    pub is_at_once: bool,
}

impl ServiceChange {
    pub(super) fn gone(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            what: Change::Gone,
            backends: Vec::new(),
            rows: service.rows.get(),
            moved: 0,
            held: 0,
            remembered: 0,
            ended: service.rows.get(),
            is_at_once: service.changes_at_once(),
        }
    }

    pub(super) fn new(service: &Service, before: Option<&Service>, moves: Moves) -> Self {
        let none = |what, backends| Self { what, backends, ended: 0, ..Self::gone(service) };
        let Some(before) = before else {
            return none(Change::New, service.backends.iter().map(|it| format!("+ {}", described(it))).collect());
        };
        let backends = differences(before, service);
        let is_other = !backends.is_empty() || moves.moved > 0 || !has_same_terms(before, service);
        let what = if is_other { Change::Changed } else { Change::Nothing };
        if service.changes_at_once() {
            return Self { moved: moves.moved, ended: moves.moved, ..none(what, backends) };
        }
        let Moves { moved, held, remembered, ended } = moves;
        Self { moved, held, remembered, ended, ..none(what, backends) }
    }
}

/// What becomes of the rows of a table: see [`ServiceChange`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moves {
    moved: u32,
    held: u32,
    remembered: u32,
    ended: u32,
}

impl Moves {
    pub fn count(table: &Table, (recipe, assignment): (&Recipe, &Assignment), now: Instant, windows: &Ticks) -> Self {
        let names: HashMap<_, &str> = table.numbers.iter().map(|(name, number)| (number, name)).collect();
        let live: HashSet<&str> =
            recipe.members.iter().filter(|it| it.is_live(now)).map(|member: &Member| member.name.as_str()).collect();
        let mut moves = Self::default();
        for (index, row) in table.rows().enumerate() {
            let name = |number| names.get(&number).copied();
            let (first, next) = (row.now.and_then(name), assignment.first(index));
            let home = row.home(Tick::of(now), windows.silence).and_then(name);
            let is_moved = first != next;
            moves.moved += u32::from(is_moved);
            moves.held += u32::from(is_moved && home != first && home.is_some_and(|home| live.contains(home)));
            let kept = home.filter(|home| live.contains(home)).or(first.filter(|it| live.contains(it)));
            moves.remembered += u32::from(kept.is_some() && kept != next);
            moves.ended += u32::from(home.is_some_and(|home| !live.contains(home)));
        }
        moves
    }
}

/// Whether two services differ in their backends at most.
fn has_same_terms(one: &Service, other: &Service) -> bool {
    let terms = |it: &Service| {
        (it.address, it.port, it.transport, it.mode, it.rows, it.when_all_down, it.on_unhealthy, it.fragments)
    };
    terms(one) == terms(other) && one.syn_proxy == other.syn_proxy && one.proxied == other.proxied
}

fn described(backend: &Backend) -> String {
    format!("{} {} weight {}{}", backend.name, backend.address, backend.weight, state(backend.state))
}

fn state(state: State) -> &'static str {
    match state {
        State::Serve => "",
        State::Drain { .. } => ", draining",
        State::Off => ", off",
    }
}

fn differences(before: &Service, after: &Service) -> Vec<String> {
    let old: HashMap<&str, &Backend> = before.backends.iter().map(|it| (it.name.as_str(), it)).collect();
    let new: HashMap<&str, &Backend> = after.backends.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut lines: Vec<(&str, String)> = Vec::new();
    for (name, backend) in &new {
        match old.get(name) {
            None => lines.push((name, format!("+ {}", described(backend)))),
            Some(was) if was != backend => {
                lines.push((name, format!("~ {}, was {}", described(backend), described(was))));
            }
            Some(_) => {}
        }
    }
    lines.extend(old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(name, _)| (*name, format!("- {name}"))));
    lines.sort_unstable();
    lines.into_iter().map(|(_, line)| line).collect()
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Change::New => "is new",
            Change::Gone => "goes, and all its flows end",
            Change::Changed => "changes",
            Change::Nothing => "stays as it is",
        };
        writeln!(f, "service {} {what}", self.name)?;
        for line in &self.backends {
            writeln!(f, "  {line}")?;
        }
        if self.what != Change::Changed {
            return Ok(());
        }
        let share = |rows: u32| f64::from(rows) * 100.0 / f64::from(self.rows);
        writeln!(
            f,
            "  rows: {} of {} lead elsewhere for new flows ({:.2} %)",
            self.moved,
            self.rows,
            share(self.moved)
        )?;
        if self.held > 0 {
            writeln!(f, "        {} of them were in transition already, and keep their older generation", self.held)?;
        }
        if self.is_at_once {
            return writeln!(f, "  flows: those of these rows go elsewhere at once, but for what is pinned");
        }
        writeln!(f, "  flows: those of {:.2} % of the rows end, as their backend goes", share(self.ended))?;
        let remembered = share(self.remembered);
        writeln!(f, "         new ones of {remembered:.2} % of the rows are remembered, while older ones speak")
    }
}

impl fmt::Display for super::Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().filter(|change| change.what != Change::Nothing).try_for_each(|change| change.fmt(f))?;
        if self.is_empty() { f.write_str("nothing changes\n") } else { Ok(()) }
    }
}
