//! Tables of rows, each a map that programs read and this process writes in place.

use super::{XdpError, create, options, outer::Outer};
use crate::{
    lb::{Balancer, Number, Row, Service, ServiceId},
    xdp::{Pins, memory::SharedMemory},
};
use libbpf_rs::{
    MapHandle, MapType,
    libbpf_sys::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
};
use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A table that programs read.
#[derive(Debug)]
struct Table {
    /// The rows, and behind them where each leads to, `ROWS_A_WORD` to a word.
    words: SharedMemory<AtomicU64>,
    count: usize,
    /// Whether any of its rows has an older generation, whose flows may have spoken.
    in_transition: bool,
    watched: bool,
    /// What it is pinned as, if it is.
    pin: Option<String>,
}

/// All tables, by the place of each in the map of maps.
#[derive(Debug)]
pub(super) struct Tables {
    maps: Outer,
    tables: Vec<Option<Table>>,
    by_service: HashMap<ServiceId, u32>,
    pins: Option<Arc<Pins>>,
}

/// `ROWS_A_WORD` and `ROW_UNSETTLED` of `bpf/rows.h`.
const ROWS_A_WORD: usize = 4;
const UNSETTLED: u16 = 0x8000;

/// How many words a table of so many rows has.
fn words(rows: usize) -> usize {
    rows + rows.div_ceil(ROWS_A_WORD)
}

/// How many rows a table of so many words has.
fn rows_in(words: usize) -> usize {
    words * ROWS_A_WORD / (ROWS_A_WORD + 1)
}

/// The rows of a table that another balancer has left, pinned by this name.
pub(super) fn left(pins: &Pins, name: &str) -> Option<Vec<u64>> {
    let mut words = pins.read_words(name)?;
    words.truncate(rows_in(words.len()));
    Some(words)
}

fn create_rows(rows: usize) -> Result<MapHandle, XdpError> {
    create(MapType::Array, "rows", (4, 8), words(rows), &options(BPF_F_MMAPABLE | BPF_F_INNER_MAP))
}

/// Where a row leads to, and whether that is all there is to know.
fn lead(row: Row) -> u16 {
    row.now.map_or(0, Number::get) | if row.before.is_some() || row.watched { UNSETTLED } else { 0 }
}

fn store(shared: &AtomicU64, bits: u64) {
    if shared.load(Ordering::Relaxed) != bits {
        shared.store(bits, Ordering::Release);
    }
}

impl Table {
    /// Four rows at a time, and then where these lead to: who reads them one by one finds a row changed or not yet.
    fn write(&mut self, rows: &[u64]) {
        (self.in_transition, self.watched) = (false, false);
        let (shared, leads) = self.words.as_slice().split_at(self.count);
        for ((shared, lead_word), group) in shared.chunks(ROWS_A_WORD).zip(leads).zip(rows.chunks(ROWS_A_WORD)) {
            let mut word = 0;
            for (index, (shared, &bits)) in shared.iter().zip(group).enumerate() {
                let row = Row::from_bits(bits);
                self.in_transition |= row.before.is_some();
                self.watched |= row.watched;
                store(shared, bits);
                word |= u64::from(lead(row)) << (16 * index);
            }
            store(lead_word, word);
        }
    }

    fn read(&self) -> Vec<u64> {
        self.words.as_slice()[..self.count].iter().map(|row| row.load(Ordering::Relaxed)).collect()
    }
}

impl Tables {
    pub fn new(services: usize, pins: Option<Arc<Pins>>) -> Result<Self, XdpError> {
        let maps = Outer::new("tables", services, &create_rows(1)?)?;
        Ok(Self { maps, tables: Vec::new(), by_service: HashMap::new(), pins })
    }

    /// Pins none from now on.
    pub fn forget_pins(&mut self) {
        self.pins = None;
    }

    /// What a service's table is pinned as.
    pub fn pin(&self, service: ServiceId) -> Option<&str> {
        self.tables.get(self.of(service)? as usize)?.as_ref()?.pin.as_deref()
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.maps.as_fd()
    }

    /// The place of a service's table.
    pub fn of(&self, service: ServiceId) -> Option<u32> {
        self.by_service.get(&service).copied()
    }

    /// Whether any flow may be remembered.
    pub fn are_watched(&self) -> bool {
        self.tables.iter().flatten().any(|table| table.watched)
    }

    /// Lets a balancer know of which rows older flows have spoken.
    pub fn learn(&self, balancer: &mut Balancer) {
        let mut learnt = HashSet::new();
        for (&service, &place) in &self.by_service {
            let Some(table) = self.tables[place as usize].as_ref().filter(|table| table.in_transition) else {
                continue;
            };
            if balancer.table(service).is_some_and(|its| learnt.insert(its)) {
                balancer.learn_rows(service, &table.read());
            }
        }
    }

    /// Writes all tables. One stays where it is as long as the same services share it: what others still read is
    /// another's then.
    pub fn write(&mut self, balancer: &Balancer, services: &[(ServiceId, &Service)]) -> Result<(), XdpError> {
        let mut sharing: HashMap<usize, Vec<ServiceId>> = HashMap::new();
        for &(id, _) in services {
            let Some(table) = balancer.table(id) else { continue };
            sharing.entry(table).or_default().push(id);
        }
        let mut users: HashMap<u32, usize> = HashMap::new();
        self.by_service.values().for_each(|&place| *users.entry(place).or_default() += 1);
        for group in sharing.into_values() {
            let Some(rows) = group.first().and_then(|&id| balancer.rows(id)) else { continue };
            let place = match self.place_of(&group, &users, rows.len()) {
                Some(place) => place,
                None => self.add(rows)?,
            };
            if let Some(table) = &mut self.tables[place as usize] {
                table.write(rows);
            }
            self.by_service.extend(group.into_iter().map(|id| (id, place)));
        }
        self.maps.flush()?;
        let served: HashSet<ServiceId> = services.iter().map(|&(id, _)| id).collect();
        self.by_service.retain(|id, _| served.contains(id));
        Ok(())
    }

    /// The place that these services have in common, and nobody else has.
    fn place_of(&self, group: &[ServiceId], users: &HashMap<u32, usize>, rows: usize) -> Option<u32> {
        let place = self.of(*group.first()?)?;
        let is_theirs = users.get(&place) == Some(&group.len()) && group.iter().all(|&id| self.of(id) == Some(place));
        let fits = self.tables[place as usize].as_ref().is_some_and(|table| table.count == rows);
        (is_theirs && fits).then_some(place)
    }

    /// A table at a place where none is, whole before anybody can read it.
    fn add(&mut self, rows: &[u64]) -> Result<u32, XdpError> {
        let map = create_rows(rows.len())?;
        let words = SharedMemory::of_map(map.as_fd(), words(rows.len()))?;
        let pin = self.pins.as_ref().map(|pins| pins.pin_rows(&map)).transpose()?;
        let mut table = Table { words, count: rows.len(), in_transition: false, watched: false, pin };
        table.write(rows);
        let free = self.tables.iter().position(Option::is_none).unwrap_or(self.tables.len());
        self.maps.put(free as u32, map)?;
        if free == self.tables.len() {
            self.tables.push(None);
        }
        self.tables[free] = Some(table);
        Ok(free as u32)
    }

    /// Forgets tables that no service has any more. Their maps stay in place until others take it.
    pub fn keep_used(&mut self) {
        let used: HashSet<u32> = self.by_service.values().copied().collect();
        for (place, table) in (0..).zip(&mut self.tables) {
            if !used.contains(&place) {
                *table = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{rows_in, words};

    #[test]
    fn a_table_is_as_long_as_it_was_made() {
        for rows in 1..2_000 {
            assert_eq!(rows_in(words(rows)), rows);
        }
        assert_eq!(rows_in(words(65_537)), 65_537);
    }
}
