//! What a balancer writes down for the one after it: which numbers in rows and entries are whose. Octets out, octets in.

use crate::{
    lb::{
        Backend, Balancer, Candidate, Entry, FlowHash, Image, Number, Placement, RowCount, RowKey, Service, ServiceId,
        ServiceImage,
    },
    wire::Endpoint,
};
use std::{
    collections::{HashMap, HashSet},
    hash::Hasher,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The form of a record, of rows, of entries and of flows in mode `nat`: another number where any of them means something else.
const FORM: u64 = 2;

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Of the key by which flows fall on rows.
    pub key: u64,
    /// By their index.
    pub services: Vec<Option<ServiceRecord>>,
}

/// A service, as far as its numbers go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceRecord {
    pub name: String,
    /// What its rows are pinned as: the same as another's where they share them.
    pub rows: String,
    /// Its backends' numbers, by name.
    pub numbers: Vec<(String, u16)>,
}

/// What tells keys from each other, and says nothing of them.
pub(super) fn digest(key: &RowKey) -> u64 {
    key.of_flows().hash(|hasher| hasher.write(b"whose rows these are"))
}

impl Record {
    /// What is to be written down of a balancer; `rows` says what a service's are pinned as.
    pub fn of<'a>(key: u64, balancer: &Balancer, rows: impl Fn(ServiceId) -> Option<&'a str>) -> Self {
        let mut services = Vec::new();
        for (id, service) in balancer.services() {
            let Some(pin) = rows(id) else { continue };
            let mut numbers: Vec<(String, u16)> =
                balancer.numbers(id).map(|(name, number)| (name.to_owned(), number.get())).collect();
            numbers.sort_unstable();
            services.resize(services.len().max(id.index() + 1), None);
            services[id.index()] = Some(ServiceRecord { name: service.name.clone(), rows: pin.to_owned(), numbers });
        }
        Self { key, services }
    }

    /// The names of all rows.
    pub fn rows(&self) -> HashSet<&str> {
        self.services.iter().flatten().map(|service| service.rows.as_str()).collect()
    }

    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::new());
        writer.number(FORM);
        writer.number(self.key);
        writer.number(self.services.len() as u64);
        for service in &self.services {
            // A name is never empty where there is a service.
            let none = ServiceRecord::default();
            let ServiceRecord { name, rows, numbers } = service.as_ref().unwrap_or(&none);
            writer.text(name);
            writer.text(rows);
            writer.number(numbers.len() as u64);
            for (name, number) in numbers {
                writer.text(name);
                writer.number(u64::from(*number));
            }
        }
        writer.0
    }

    /// `None` where it is of another form, or none at all.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader(octets);
        if reader.number()? != FORM {
            return None;
        }
        let (key, count) = (reader.number()?, reader.number()?);
        let mut services = Vec::new();
        for _ in 0..count {
            let (name, rows, count) = (reader.text()?, reader.text()?, reader.number()?);
            let mut numbers = Vec::new();
            for _ in 0..count {
                numbers.push((reader.text()?, u16::try_from(reader.number()?).ok()?));
            }
            services.push((!name.is_empty()).then_some(ServiceRecord { name, rows, numbers }));
        }
        reader.0.is_empty().then_some(Self { key, services })
    }

    /// From what another balancer can go on: of the services of which `rows` finds any, in a number that is `wanted`.
    pub fn image(
        &self,
        rows: impl Fn(&str) -> Option<Vec<u64>>,
        wanted: impl Fn(&str) -> Option<RowCount>,
        entries: Vec<(FlowHash, Entry)>,
    ) -> Image {
        let (mut tables, mut known) = (Vec::<Box<[u64]>>::new(), HashMap::new());
        let mut services = Vec::new();
        let left: Arc<dyn Placement> = Arc::new(Left);
        for service in &self.services {
            let image = service.as_ref().and_then(|service| {
                let table = *known.entry(service.rows.as_str()).or_insert_with(|| {
                    tables.push(rows(&service.rows)?.into_boxed_slice());
                    Some(tables.len() - 1)
                });
                let table = table?;
                let count = RowCount::new(tables[table].len() as u32)?;
                // Under a name that has other rows now there is nothing to go on from.
                if wanted(&service.name).is_some_and(|wanted| wanted != count) {
                    return None;
                }
                let nowhere = Endpoint { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
                let config = Service { rows: count, ..Service::tcp(&service.name, nowhere, Arc::clone(&left)) };
                let numbers = service.numbers.iter().filter_map(|(name, it)| Some((name.clone(), Number::new(*it)?)));
                let numbers: Vec<_> = numbers.collect();
                let backends: Vec<Backend> = numbers.iter().map(|(name, _)| Backend::new(name, nowhere)).collect();
                Some(ServiceImage { config: config.with(backends), numbers, table })
            });
            services.push(image);
        }
        Image { services, tables, entries }
    }
}

/// The placement of rows that are there already: no other is the same, so that all rows are looked at when services are planned.
#[derive(Debug)]
struct Left;

impl Placement for Left {
    fn place(&self, _: &[Candidate<'_>], rows: &mut [u16]) {
        rows.fill(0);
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
