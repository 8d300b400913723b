//! What a file would serve, for people and for programs.

use super::{CheckKind, File, Placements, ServiceConfig};
use crate::lb::{Candidate, Placement, State};
use serde::Serialize;
use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    net::SocketAddr,
};

/// What a file would serve, and how rows fall.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outline {
    /// The interfaces.
    pub interfaces: Vec<String>,
    /// [`File::generation`].
    pub generation: Option<u64>,
    /// The services, as they stand in the file.
    pub services: Vec<ServiceOutline>,
}

/// A service in an [`Outline`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceOutline {
    /// Its name.
    pub name: String,
    /// Its address and port; port 0 for every port.
    pub address: SocketAddr,
    /// Its protocol, as the file has it.
    pub protocol: String,
    /// Its mode, likewise.
    pub mode: &'static str,
    /// The server names that its connections are told apart by, in mode `proxy`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Its placement, likewise.
    pub placement: &'static str,
    /// How its backends are checked, likewise.
    pub check: &'static str,
    /// How many rows it has.
    pub rows: u32,
    /// Its backends, as they stand in the file.
    pub backends: Vec<BackendOutline>,
}

/// A backend in an [`Outline`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendOutline {
    /// Its name.
    pub name: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// Its weight.
    pub weight: u32,
    /// Its state, as the file has it.
    pub state: &'static str,
    /// How many rows lead to it.
    pub rows: u32,
    /// Its share of new flows: of all rows, in percent.
    pub share: f64,
}

/// What rows depend on: with the same, they fall alike.
type Recipe = (super::PlacementKind, u32, Vec<(String, u32)>);

impl File {
    /// What it would serve with these placements, which are asked once for all services that have the same backends.
    pub fn outline(&self, placements: &Placements) -> Outline {
        let mut counted: HashMap<Recipe, HashMap<String, u32>> = HashMap::new();
        let services = self.services.iter().map(|service| {
            let mut placed: Vec<(String, u32)> = service
                .backends
                .iter()
                .filter(|it| it.state == State::Serve && it.weight > 0)
                .map(|it| (it.name.clone(), it.weight))
                .collect();
            placed.sort_unstable();
            let recipe = (service.placement, service.rows.get(), placed);
            let rows = counted
                .entry(recipe)
                .or_insert_with_key(|(kind, rows, placed)| count_rows(&*placements.get(*kind), placed, *rows));
            outline_of(service, rows)
        });
        let services = services.collect();
        Outline { interfaces: self.interfaces.clone(), generation: self.generation, services }
    }
}

/// How many rows each gets.
fn count_rows(placement: &dyn Placement, placed: &[(String, u32)], count: u32) -> HashMap<String, u32> {
    let candidates: Vec<Candidate<'_>> =
        placed.iter().map(|(name, weight)| Candidate { name, weight: *weight }).collect();
    let mut rows = vec![0; count as usize];
    if !candidates.is_empty() {
        placement.place(&candidates, &mut rows);
    }
    let mut counts = HashMap::new();
    for (name, _) in rows.iter().filter_map(|&index| placed.get(usize::from(index))) {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

fn outline_of(service: &ServiceConfig, rows: &HashMap<String, u32>) -> ServiceOutline {
    let all = service.rows.get();
    let backends = service.backends.iter().map(|backend| {
        let rows = rows.get(&backend.name).copied().unwrap_or(0);
        BackendOutline {
            name: backend.name.clone(),
            address: SocketAddr::new(backend.address.address, backend.address.port),
            weight: backend.weight,
            state: match backend.state {
                State::Serve => "serve",
                State::Drain { .. } => "drain",
                State::Off => "off",
            },
            rows,
            share: 100.0 * f64::from(rows) / f64::from(all),
        }
    });
    ServiceOutline {
        name: service.name.clone(),
        address: SocketAddr::new(service.address.address, service.address.port),
        protocol: service.protocol.to_string(),
        mode: service.mode.name(),
        server_names: service.proxied.server_names.clone(),
        placement: service.placement.as_str(),
        check: match service.check.kind {
            CheckKind::None => "none",
            CheckKind::Tcp => "tcp",
            CheckKind::Http { .. } => "http",
        },
        rows: all,
        backends: backends.collect(),
    }
}

impl fmt::Display for Outline {
    /// A line for all of it, one for each service, and one for each backend.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        let services = if self.services.len() == 1 { "service" } else { "services" };
        write!(lines, "{} {services} on {}", self.services.len(), self.interfaces.join(", "))?;
        match self.generation {
            Some(generation) => writeln!(lines, ", generation {generation}")?,
            None => writeln!(lines)?,
        }
        for service in &self.services {
            let ServiceOutline { name, address, protocol, mode, server_names, placement, check, rows, backends } =
                service;
            let names: String = server_names.iter().map(|name| format!(" {name}")).collect();
            let count = backends.len();
            let backend = if count == 1 { "backend" } else { "backends" };
            writeln!(
                lines,
                "{name}  {protocol} {address}  {mode}{names}, {placement}, {rows} rows, check {check}, {count} {backend}"
            )?;
            let name_width = backends.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
            let address_width = backends.iter().map(|it| it.address.to_string().len()).max().unwrap_or(0);
            for BackendOutline { name, address, weight, state, share, .. } in backends {
                let address = address.to_string();
                writeln!(
                    lines,
                    "  {name:name_width$}  {address:address_width$}  {state:5}  weight {weight:5}  {share:6.2} %"
                )?;
            }
        }
        f.write_str(lines.trim_end())
    }
}
