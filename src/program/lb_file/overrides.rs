//! What operators said while the balancer ran, and what was known of health: kept in a file of its own beside the control
//! socket, so that a drain outlives reload and restart.
//!
//! The newest word counts. What is said by hand stands above the file until somebody says otherwise, by hand or by
//! giving that backend another state, or another weight, in the file.

use super::{
    BackendName, File, NoSuchBackend, ServiceConfig,
    whole::{self, Existing},
};
use crate::{
    lb::{self, Backend, Health, MAX_WEIGHT, State},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The form of the file.
const VERSION: u32 = 1;
/// The largest file that is read.
const MOST: u64 = 64 << 20;

/// Why what was said cannot be kept, or be read again: one sentence that names the file.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[error("{0}")]
pub struct StateError(String);

debug_as_display!(StateError);

/// One moment by two clocks: deadlines are kept by the calendar, and tables go by the balancer's own. Take it once and
/// keep it: of another one the same deadline would come out some nanoseconds apart, and a reload that changes nothing
/// would seem to change that.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The balancer's.
    pub now: Instant,
    /// The calendar's.
    pub calendar: SystemTime,
}

/// What was said by hand, and what was known of health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    version: u32,
    services: BTreeMap<String, BTreeMap<String, Override>>,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// What was said, or is known, of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<SaidState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<SaidWeight>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidState {
    said: Word,
    /// When a drain is over, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// What the file said then.
    over: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidWeight {
    said: u32,
    /// What the file said then.
    over: u32,
}

/// A state, without its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Serve,
    Drain,
    Off,
}

impl From<State> for Word {
    fn from(state: State) -> Self {
        match state {
            State::Serve => Self::Serve,
            State::Drain { .. } => Self::Drain,
            State::Off => Self::Off,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Drain => "drain",
            Self::Off => "off",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Known {
    Up,
    Down,
}

impl Override {
    /// Drops what a file has changed since, or all of it where that has no such backend any more.
    fn review(&mut self, backend: Option<&Backend>, name: &str, dropped: &mut Vec<String>) {
        let Some(backend) = backend else {
            let said = std::mem::take(self);
            if said.state.is_some() || said.weight.is_some() {
                dropped.push(format!("{name} has gone, and what was said of it is forgotten"));
            }
            return;
        };
        let newer = |what: &str, said: &dyn fmt::Display| {
            format!("{name}: the file says {what} now, which is newer than what was said by hand, {said}")
        };
        let state = Word::from(backend.state);
        if let Some(said) = self.state.take_if(|said| said.over != state) {
            dropped.push(newer(&format!("\"{state}\""), &said.said));
        }
        if let Some(said) = self.weight.take_if(|said| said.over != backend.weight) {
            dropped.push(newer(&format!("weight {}", backend.weight), &said.said));
        }
    }
}

impl SaidState {
    fn state(&self, at: Moment) -> State {
        match self.said {
            Word::Serve => State::Serve,
            Word::Off => State::Off,
            Word::Drain => {
                let left = |until| {
                    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(until))?;
                    Some(at.now + until.duration_since(at.calendar).unwrap_or_default())
                };
                State::Drain { until: self.until.and_then(left).unwrap_or(Instant::NEVER) }
            }
        }
    }
}

impl Overrides {
    /// Nothing said, and nothing known.
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Where they are kept: beside the control socket, whose name has `.state` behind it.
    pub fn path(control: &Path) -> PathBuf {
        let mut path = control.as_os_str().to_owned();
        path.push(".state");
        path.into()
    }

    /// Whether there is nothing to be kept.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// A backend takes no new flows from now on; those it has are given up at `deadline`, or never.
    ///
    /// # Errors
    /// Where the file has no such backend.
    pub fn drain(
        &mut self,
        file: &File,
        name: &BackendName,
        deadline: Option<SystemTime>,
    ) -> Result<(), NoSuchBackend> {
        let over = file.find(name)?.state.into();
        let seconds = |deadline: SystemTime| deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A part of a second is no second too early.
        let until = deadline.map(seconds).map(|it| it.as_secs() + u64::from(it.subsec_nanos() > 0));
        let is_new = until.is_some() || over != Word::Drain;
        self.change(name, |it| it.state = is_new.then_some(SaidState { said: Word::Drain, until, over }));
        Ok(())
    }

    /// A backend takes new flows again.
    ///
    /// # Errors
    /// Where the file has no such backend.
    pub fn serve(&mut self, file: &File, name: &BackendName) -> Result<(), NoSuchBackend> {
        let over = file.find(name)?.state.into();
        let is_new = over != Word::Serve;
        self.change(name, |it| it.state = is_new.then_some(SaidState { said: Word::Serve, until: None, over }));
        Ok(())
    }

    /// A backend has this weight, at most [`MAX_WEIGHT`].
    ///
    /// # Errors
    /// Where the file has no such backend.
    pub fn weigh(&mut self, file: &File, name: &BackendName, weight: u32) -> Result<(), NoSuchBackend> {
        let (said, over) = (weight.min(MAX_WEIGHT), file.find(name)?.weight);
        self.change(name, |it| it.weight = (said != over).then_some(SaidWeight { said, over }));
        Ok(())
    }

    /// How a backend is, as far as is known. What is not known is forgotten.
    pub fn learn(&mut self, name: &BackendName, health: Health) {
        let known = match health {
            Health::Unknown => None,
            Health::Up => Some(Known::Up),
            Health::Down => Some(Known::Down),
        };
        self.change(name, |it| it.health = known);
    }

    /// What was known of health: for [`Tally::resume`](lb::Tally::resume) and
    /// [`Balancer::set_health`](lb::Balancer::set_health) at a start.
    pub fn health(&self) -> impl Iterator<Item = (BackendName, Health)> {
        self.entries().filter_map(|(name, entry)| {
            let health = match entry.health? {
                Known::Up => Health::Up,
                Known::Down => Health::Down,
            };
            Some((name, health))
        })
    }

    fn entries(&self) -> impl Iterator<Item = (BackendName, &Override)> {
        let name = |service: &str, backend: &str| BackendName { service: service.into(), backend: backend.into() };
        self.services.iter().flat_map(move |(service, backends)| {
            backends.iter().map(move |(backend, entry)| (name(service, backend), entry))
        })
    }

    fn change(&mut self, name: &BackendName, with: impl FnOnce(&mut Override)) {
        let backends = self.services.entry(name.service.clone()).or_default();
        let entry = backends.entry(name.backend.clone()).or_default();
        with(entry);
        // What says nothing is not kept.
        if *entry == Override::default() {
            backends.remove(&name.backend);
        }
        if backends.is_empty() {
            self.services.remove(&name.service);
        }
    }

    /// Holds them against a file that was read, for the first time or again. What is said of backends that are gone is
    /// dropped, and so is what the file has changed since. Returns what was dropped, in a sentence each.
    pub fn review(&mut self, file: &File) -> Vec<String> {
        let services: HashMap<&str, &ServiceConfig> = file.services.iter().map(|it| (it.name.as_str(), it)).collect();
        let mut dropped = Vec::new();
        self.services.retain(|service, entries| {
            let backends = services.get(service.as_str()).map_or(&[][..], |service| &service.backends);
            let backends: HashMap<&str, &Backend> = backends.iter().map(|it| (it.name.as_str(), it)).collect();
            entries.retain(|backend, entry| {
                let found = backends.get(backend.as_str()).copied();
                entry.review(found, &format!("{service}/{backend}"), &mut dropped);
                *entry != Override::default()
            });
            !entries.is_empty()
        });
        dropped
    }

    /// Lets services be as was said. A deadline that has passed gives up what is left at once.
    pub fn apply(&self, services: &mut [lb::Service], at: Moment) {
        for service in services {
            let Some(said) = self.services.get(&service.name) else { continue };
            for backend in &mut service.backends {
                let Some(Override { state, weight, .. }) = said.get(&backend.name) else { continue };
                if let Some(state) = state {
                    backend.state = state.state(at);
                }
                if let Some(weight) = weight {
                    backend.weight = weight.said;
                }
            }
        }
    }
}

impl Overrides {
    /// Reads what was kept; nothing, where there is no such file.
    ///
    /// # Errors
    /// Where it cannot be read, others may write to it, or it is not what [`Overrides::save`] has written.
    pub fn load(path: &Path) -> Result<Self, StateError> {
        let shown = path.display();
        let unread = |error: io::Error| StateError(format!("{shown} cannot be read: {error}"));
        let file = match OpenOptions::new().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new()),
            Err(error) => return Err(unread(error)),
        };
        let mode = file.metadata().map_err(unread)?.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError(format!("others may write to {shown} (mode {mode:04o}): run `chmod 600 {shown}`")));
        }
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text).map_err(unread)?;
        let remedy = "remove it, and what was said by hand is forgotten";
        let bad =
            |error: serde_json::Error| StateError(format!("{shown} is not what was written there ({error}): {remedy}"));
        // Another version may have other keys, too.
        let Form { version } = serde_json::from_slice(&text).map_err(bad)?;
        if version != VERSION {
            let what = format!("{shown} is of another version of xskip ({version}, not {VERSION})");
            return Err(StateError(format!("{what}: {remedy}")));
        }
        let found: Self = serde_json::from_slice(&text).map_err(bad)?;
        for (name, entry) in found.entries() {
            if let Some(SaidWeight { said, .. }) = entry.weight.as_ref().filter(|it| it.said > MAX_WEIGHT) {
                return Err(StateError(format!("{shown} gives {name} the weight {said}: {remedy}")));
            }
        }
        Ok(found)
    }

    /// Keeps them, for their owner alone: the file is whole, or as it was before.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        self.write(path).map_err(|error| {
            let what = format!("{} cannot be written: {error}", path.display());
            StateError(format!("{what}; what was said by hand counts until the process ends"))
        })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&Self { version: VERSION, ..self.clone() }).map_err(io::Error::other)?;
        whole::put(path, &text, Existing::Replaced)
    }
}
