//! Rows, and how they change: what services with the same backends share.

use super::{
    backend::{Backend, MAX_BACKENDS, Number, Numbers, Service, State},
    placement::{Candidate, Placement, RowCount, second_choices},
    row::Row,
    time_window::{Tick, Ticks},
};
use crate::time::Instant;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// What a table is made from. Two services with the same have the same rows.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// Sorted by name.
    pub members: Vec<Member>,
    pub placement: Arc<dyn Placement>,
    pub rows: RowCount,
}

/// A backend, as far as rows depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub name: String,
    pub weight: u32,
    pub state: State,
}

impl Member {
    fn is_placed(&self) -> bool {
        self.weight > 0 && self.state == State::Serve
    }

    /// Whether flows that it has are kept.
    pub fn is_live(&self, now: Instant) -> bool {
        match self.state {
            State::Serve => true,
            State::Drain { until } => until > now,
            State::Off => false,
        }
    }
}

impl Recipe {
    pub fn of(service: &Service) -> Self {
        let member = |it: &Backend| Member { name: it.name.clone(), weight: it.weight, state: it.state };
        let mut members: Vec<Member> = service.backends.iter().map(member).collect();
        members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self { members, placement: Arc::clone(&service.placement), rows: service.rows }
    }

    /// Those that want rows, by name.
    pub fn placed(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_placed())
    }

    pub fn get(&self, name: &str) -> Option<&Member> {
        let at = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        Some(&self.members[at])
    }

    /// Whether rows are the same under both: states matter only as far as they want rows.
    fn places_as(&self, other: &Self) -> bool {
        let weigh = |member: &Member| (member.name.clone(), member.weight);
        self.rows == other.rows
            && Arc::ptr_eq(&self.placement, &other.placement)
            && self.placed().map(weigh).eq(other.placed().map(weigh))
    }
}

impl Recipe {
    /// A hash that equal recipes have in common.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.rows, Arc::as_ptr(&self.placement).addr(), &self.members).hash(&mut hasher);
        hasher.finish()
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows && Arc::ptr_eq(&self.placement, &other.placement) && self.members == other.members
    }
}

/// What a placement said: for each row the first and second choice, as indices of `names`.
#[derive(Debug)]
pub(super) struct Assignment {
    recipe: Recipe,
    pub names: Vec<String>,
    pub first: Vec<u16>,
    second: Vec<Option<u16>>,
}

/// A placement named a backend that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfRange {
    pub row: usize,
    pub index: u16,
}

impl Assignment {
    /// Asks the placement: the work of a change.
    pub fn new(recipe: &Recipe) -> Result<Self, OutOfRange> {
        let placed: Vec<&Member> = recipe.placed().collect();
        let candidates: Vec<_> =
            placed.iter().map(|member| Candidate { name: &member.name, weight: member.weight }).collect();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        if !candidates.is_empty() {
            first = vec![0; recipe.rows.get() as usize];
            recipe.placement.place(&candidates, &mut first);
            let wrong = first.iter().enumerate().find(|&(_, &index)| usize::from(index) >= candidates.len());
            if let Some((row, &index)) = wrong {
                return Err(OutOfRange { row, index });
            }
            second = second_choices(&first, candidates.len());
        }
        let names = placed.iter().map(|member| member.name.clone()).collect();
        Ok(Self { recipe: recipe.clone(), names, first, second })
    }

    /// Whether it is what this recipe would lead to.
    pub fn suits(&self, recipe: &Recipe) -> bool {
        self.recipe.places_as(recipe)
    }

    /// The first choice of a row, by name.
    pub fn first(&self, row: usize) -> Option<&str> {
        self.first.get(row).map(|&index| self.names[usize::from(index)].as_str())
    }
}

/// A table of rows, and the numbers that stand in it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// [`Row`]s, as an array map holds them.
    rows: Box<[u64]>,
    pub numbers: Numbers,
    pub recipe: Recipe,
    /// Whether any row is watched.
    pub is_watched: bool,
}

/// All numbers are taken, or were until lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoNumber;

impl Table {
    /// One with no backends yet.
    pub fn new(recipe: &Recipe) -> Self {
        let recipe = Recipe { members: Vec::new(), ..recipe.clone() };
        let rows = vec![Row::default().to_bits(); recipe.rows.get() as usize].into_boxed_slice();
        Self { rows, numbers: Numbers::default(), recipe, is_watched: false }
    }

    /// One that a process before had. Everything in it is watched, until somebody has looked.
    pub fn resume(recipe: Recipe, numbers: Numbers, rows: impl IntoIterator<Item = Row>) -> Self {
        let rows = rows.into_iter().map(|row| Row { watched: true, ..row }.to_bits()).collect();
        Self { rows, numbers, recipe, is_watched: true }
    }

    pub fn row(&self, index: u32) -> Row {
        Row::from_bits(self.rows[index as usize])
    }

    pub fn set(&mut self, index: u32, row: Row) {
        self.rows[index as usize] = row.to_bits();
    }

    pub fn bits(&self) -> &[u64] {
        &self.rows
    }

    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|&bits| Row::from_bits(bits))
    }

    /// Lets each row become what `with` makes of it.
    pub fn update(&mut self, mut with: impl FnMut(usize, Row) -> Row) {
        self.is_watched = false;
        for (index, bits) in self.rows.iter_mut().enumerate() {
            let row = with(index, Row::from_bits(*bits));
            self.is_watched |= row.watched;
            *bits = row.to_bits();
        }
    }

    /// The table once it is made from another recipe: a copy, in which rows go on from where they are.
    pub fn changed(
        &self,
        (recipe, assignment): (&Recipe, &Assignment),
        now: Instant,
        windows: &Ticks,
        rest: Duration,
    ) -> Result<Self, NoNumber> {
        let mut next = self.clone();
        let tick = Tick::of(now);
        // Which of the numbers of today stand for a backend that lives on, and keeps its flows.
        let mut kept = vec![false; self.numbers.size()];
        for (name, number) in self.numbers.iter() {
            kept[number.index()] = recipe.get(name).is_some_and(|member| member.is_live(now));
        }
        next.numbers.keep(now, |name| recipe.get(name).is_some());
        for member in &recipe.members {
            next.numbers.give(&member.name, now, rest).ok_or(NoNumber)?;
        }
        let numbers: Vec<_> = assignment.names.iter().map(|name| next.numbers.get(name)).collect();
        let number = |index: Option<u16>| index.and_then(|index| numbers[usize::from(index)]);
        next.update(|row, before| {
            let first = number(assignment.first.get(row).copied());
            let second = number(assignment.second.get(row).copied().flatten());
            before.changed((first, second), tick, windows.silence, |number| kept[number.index()])
        });
        next.recipe = recipe.clone();
        Ok(next)
    }

    /// Forgets a backend at once, where it is a row's older generation.
    pub fn forget(&mut self, number: Number) {
        self.update(|_, row| if row.before == Some(number) { Row { before: None, ..row } } else { row });
    }

    /// Watches all rows whose new flows would go to a backend: they go elsewhere while it is down, and are remembered.
    pub fn watch(&mut self, number: Number) {
        self.update(|_, row| Row { watched: row.watched || row.now == Some(number), ..row });
    }

    /// Ends transitions that are over, and watches no row any more that need not be.
    pub fn settle(&mut self, tick: Tick, windows: &Ticks, needs_watch: impl Fn(usize, Row) -> bool) {
        self.update(|index, row| {
            let is_in_transition = row.is_in_transition(tick, windows.silence);
            let before = row.before.filter(|_| is_in_transition);
            let row = Row { before, ..row };
            Row { watched: row.watched && (is_in_transition || needs_watch(index, row)), ..row }
        });
    }
}

/// The most names there may be in a table at a time.
const _: () = assert!(MAX_BACKENDS < Number::MAX as usize / 4, "numbers rest for a while before they are given again");
