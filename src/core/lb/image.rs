//! What outlives a process, and what the program beside it has written: rows, numbers and entries, out and in again.

use super::{
    backend::{BackendId, Number, Numbers, Service, ServiceId},
    balancer::{Balancer, Limits, Served},
    exceptions::Entry,
    flow::{FlowHash, RowKey},
    row::Row,
    table::{Recipe, Table},
    time_window::Tick,
};
use crate::time::Instant;
use std::collections::HashMap;

/// Everything that a balancer must not forget when its process ends: from this another one goes on, and no flow
/// notices.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Services by their index; `None` where there is none.
    pub services: Vec<Option<ServiceImage>>,
    /// Tables as array maps hold them.
    pub tables: Vec<Box<[u64]>>,
    /// Flows that are remembered.
    pub entries: Vec<(FlowHash, Entry)>,
}

/// A service in an [`Image`].
#[derive(Clone, Debug)]
pub struct ServiceImage {
    /// What was configured.
    pub config: Service,
    /// The numbers of its backends.
    pub numbers: Vec<(String, Number)>,
    /// Its table among those of the image.
    pub table: usize,
}

/// An image that nothing can go on from. Whoever meets it begins anew.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[error(
    "what was kept of service `{service}` does not fit together: its table is missing or has other rows; begin anew"
)]
pub struct BadImage {
    /// Whose.
    pub service: String,
}

crate::debug_as_display!(BadImage);

/// How much of a service a backend has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Rows whose new flows go to it.
    pub rows: u32,
    /// Rows whose older flows go to it, of which one has spoken within the window.
    pub older: u32,
    /// Flows that are remembered there.
    pub remembered: usize,
}

impl Balancer {
    /// What another process needs to go on from here. What it knows of health it says itself.
    pub fn image(&self) -> Image {
        let service = |served: &Served| {
            let numbers = self.tables[served.table].numbers.iter();
            let numbers = numbers.map(|(name, number)| (name.to_owned(), number)).collect();
            ServiceImage { config: served.config.clone(), numbers, table: served.table }
        };
        Image {
            services: self.services.iter().map(|served| served.as_ref().map(service)).collect(),
            tables: self.tables.iter().map(|table| table.bits().into()).collect(),
            entries: self.exceptions.iter().collect(),
        }
    }

    /// One that goes on from an image, under the same key, on a clock that went on, too. More entries than the limit
    /// are left out.
    ///
    /// # Errors
    /// Where the image's parts do not fit together.
    pub fn resume(key: RowKey, limits: Limits, image: Image, now: Instant) -> Result<Self, BadImage> {
        let mut balancer = Self::new(key, limits);
        let mut tables: Vec<Option<Table>> = image.tables.iter().map(|_| None).collect();
        for it in image.services.iter().flatten() {
            let bad = || BadImage { service: it.config.name.clone() };
            let rows = image.tables.get(it.table).filter(|rows| rows.len() == it.config.rows.get() as usize);
            let rows = || rows.into_iter().flatten().map(|&bits| Row::from_bits(bits));
            if rows().next().is_none() {
                return Err(bad());
            }
            let of_rows = rows().flat_map(|row| [row.now, row.before, row.second]).flatten();
            let of_entries = image.entries.iter().flat_map(|(_, entry)| [Some(entry.backend), entry.before]).flatten();
            let named = of_rows.chain(of_entries).map(Number::get).max().unwrap_or(0);
            tables[it.table].get_or_insert_with(|| {
                Table::resume(Recipe::of(&it.config), Numbers::resume(it.numbers.iter().cloned(), named, now), rows())
            });
        }
        // What nobody uses any more is left out.
        let mut moved = Vec::with_capacity(tables.len());
        for table in tables {
            moved.push(balancer.tables.len());
            balancer.tables.extend(table);
        }
        for it in image.services {
            balancer.services.push(it.map(|it| {
                let table = moved[it.table];
                let mut served = Served::new(it.config, table);
                served.refresh(&balancer.tables[table], now);
                served
            }));
        }
        balancer.list_addresses();
        balancer.learn_entries(image.entries);
        balancer.plan_ahead(now);
        Ok(balancer)
    }

    /// The numbers of a service's backends, by name: those of backends that are off as well.
    pub fn numbers(&self, service: ServiceId) -> impl Iterator<Item = (&str, Number)> {
        self.served(service).into_iter().flat_map(|served| self.tables[served.table].numbers.iter())
    }

    /// Takes over when the older flows of each row of a service last spoke, as the program has written it beside the
    /// rows that it was given. Rows that have changed since are left alone.
    pub fn learn_rows(&mut self, service: ServiceId, rows: &[u64]) {
        let Some(table) = self.served(service).map(|served| served.table) else { return };
        self.tables[table].update(|index, row| match rows.get(index).map(|&bits| Row::from_bits(bits)) {
            Some(theirs) if theirs.before == row.before => Row { heard: theirs.heard, ..row },
            _ => row,
        });
    }

    /// Takes over all that is remembered, as the program has it; as many as may be.
    pub fn learn_entries(&mut self, entries: impl IntoIterator<Item = (FlowHash, Entry)>) {
        self.exceptions.clear();
        for (hash, entry) in entries {
            self.exceptions.enter(hash, entry);
        }
    }

    /// All that is remembered, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (FlowHash, Entry)> {
        self.exceptions.iter()
    }

    /// What a backend has, and so, while it is drained, what remains: work of all rows and entries. [`Balancer::shares`] is for
    /// who asks of many.
    pub fn share(&self, backend: BackendId, now: Instant) -> Share {
        let Some(served) = self.served(backend.service) else { return Share::default() };
        let (tick, its) = (Tick::of(now), Some(backend.number));
        let mut share = Share::default();
        for row in self.tables[served.table].rows() {
            share.rows += u32::from(row.now == its);
            share.older += u32::from(row.before == its && row.is_in_transition(tick, self.ticks.silence));
        }
        let is_its = |entry: &Entry| entry.service == backend.service && entry.established() == its;
        share.remembered = self.exceptions.iter().filter(|(_, entry)| is_its(entry)).count();
        share
    }

    /// What each backend has that has anything, as [`Balancer::share`] says it: each table and entry is looked at once.
    pub fn shares(&self, now: Instant) -> HashMap<BackendId, Share> {
        let mut by_table: Vec<Option<Vec<Share>>> = vec![None; self.tables.len()];
        let mut shares = HashMap::new();
        for (service, _) in self.services() {
            let Some(table) = self.table(service) else { continue };
            let counted = by_table[table].get_or_insert_with(|| self.count_rows(table, now));
            let numbers = (0..).map(Number::new).zip(&*counted);
            let theirs = numbers.filter(|(_, share)| **share != Share::default());
            shares.extend(theirs.filter_map(|(number, share)| Some((BackendId { service, number: number? }, *share))));
        }
        for (_, entry) in self.exceptions.iter() {
            if let Some(number) = entry.established() {
                shares.entry(BackendId { service: entry.service, number }).or_default().remembered += 1;
            }
        }
        shares
    }

    /// How many rows of a table lead to each number.
    fn count_rows(&self, table: usize, now: Instant) -> Vec<Share> {
        let (table, tick) = (&self.tables[table], Tick::of(now));
        let mut shares = vec![Share::default(); table.numbers.size()];
        let index = |number: Option<Number>| number.map_or(0, Number::index);
        for row in table.rows() {
            shares[index(row.now)].rows += 1;
            if row.is_in_transition(tick, self.ticks.silence) {
                shares[index(row.before)].older += 1;
            }
        }
        shares
    }
}
