//! Next hops: what the kernel knows of each, who keeps that fresh, and what has to be done about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// How soon the kernel is told again to keep one that is silent and that nobody keeps, such as after it was deleted.
const RETRY: Duration = Duration::from_secs(1);
/// How often one is used that answers, where the kernel does not keep it by itself.
const USE: Duration = Duration::from_secs(5);

/// A neighbour: on which interface, and its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub ifindex: u32,
    pub address: IpAddr,
}

/// What the kernel has of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub station: Station,
    pub keeper: Keeper,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Station {
    /// It is being asked for, or nobody has yet.
    Unknown,
    /// It has been asked for in vain.
    Failed,
    At([u8; 6]),
}

/// Who keeps what is known of it fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    Nobody,
    /// Somebody who said so: it is permanent, needs no resolution, or was learnt elsewhere.
    Somebody,
    /// The kernel, and whether we made it.
    Kernel {
        ours: bool,
    },
}

/// What is ours of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Nothing,
    /// It was there, and is managed on our behalf.
    Flag,
    /// We made it.
    All,
}

/// What came of telling the kernel to keep one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It does, or has used it at least.
    Kept,
    /// It was only made to look for it.
    Asked,
    /// It takes no such entry, and says why.
    Refused { errno: i32 },
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    At([u8; 6]),
    Unresolved { since: Instant },
    Failed { since: Instant },
    Refused { errno: i32 },
}

#[derive(Debug)]
struct Neighbour {
    /// The destinations behind it.
    users: BTreeSet<IpAddr>,
    entry: Option<Entry>,
    share: Share,
    /// Since when it is not known where it is.
    since: Instant,
    /// Whether it has been asked for in vain since. It stays so while it is asked for again.
    has_failed: bool,
    /// Why the kernel does not take it.
    refused: Option<i32>,
    /// When the kernel was last told to keep it.
    told: Option<Instant>,
    /// When to look whether it has to be told.
    due: Option<Instant>,
}

impl Neighbour {
    fn new(now: Instant) -> Self {
        Self {
            users: BTreeSet::new(),
            entry: None,
            share: Share::Nothing,
            since: now,
            has_failed: false,
            refused: None,
            told: None,
            due: Some(now),
        }
    }

    fn mac(&self) -> Option<[u8; 6]> {
        match self.entry?.station {
            Station::At(mac) => Some(mac),
            _ => None,
        }
    }

    fn state(&self) -> State {
        match (self.mac(), self.refused, self.has_failed, self.since) {
            (Some(mac), ..) => State::At(mac),
            (None, Some(errno), ..) => State::Refused { errno },
            (None, None, true, since) => State::Failed { since },
            (None, None, false, since) => State::Unresolved { since },
        }
    }

    fn see(&mut self, entry: Option<Entry>, now: Instant) {
        let had = self.mac();
        self.entry = entry;
        match entry.map(|entry| entry.station) {
            Some(Station::At(_)) => (self.has_failed, self.refused) = (false, None),
            Some(Station::Failed) => self.has_failed = true,
            Some(Station::Unknown) | None => {}
        }
        if had.is_some() && self.mac().is_none() {
            self.since = now;
        }
        // Of a process that could not give it back.
        if self.entry.is_some_and(|entry| entry.keeper == Keeper::Kernel { ours: true }) {
            self.share = Share::All;
        }
        self.schedule(now);
    }

    fn schedule(&mut self, now: Instant) {
        let is_kept = self.entry.is_some_and(|entry| entry.keeper != Keeper::Nobody);
        let pause = if self.mac().is_some() { USE } else { RETRY };
        self.due = (!is_kept).then(|| self.told.map_or(now, |told| told + pause));
    }

    /// What of it has to be given back.
    fn left(&self) -> Share {
        match (self.entry.map(|entry| entry.keeper), self.share) {
            (None | Some(Keeper::Somebody), _) => Share::Nothing,
            // Nobody keeps it on our behalf any more.
            (Some(Keeper::Nobody), Share::Flag) => Share::Nothing,
            (_, share) => share,
        }
    }
}

/// All next hops there are.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    known: BTreeMap<Key, Neighbour>,
    /// What is to be given back.
    left: Vec<(Key, Share)>,
}

impl Neighbours {
    /// This destination is behind it.
    pub fn join(&mut self, key: Key, user: IpAddr, now: Instant) {
        self.known.entry(key).or_insert_with(|| Neighbour::new(now)).users.insert(user);
    }

    /// It no longer is. With the last of them the neighbour is given back.
    pub fn leave(&mut self, key: Key, user: IpAddr) {
        let Some(neighbour) = self.known.get_mut(&key) else { return };
        neighbour.users.remove(&user);
        if neighbour.users.is_empty() {
            let left = neighbour.left();
            self.known.remove(&key);
            if left != Share::Nothing {
                self.left.push((key, left));
            }
        }
    }

    pub fn state(&self, key: Key) -> Option<State> {
        self.known.get(&key).map(Neighbour::state)
    }

    /// What the kernel has of it now, or that it has nothing. Those whom it concerns, if it is something else.
    pub fn see(&mut self, key: Key, entry: Option<Entry>, now: Instant) -> Option<&BTreeSet<IpAddr>> {
        let neighbour = self.known.get_mut(&key)?;
        let before = neighbour.state();
        neighbour.see(entry, now);
        (neighbour.state() != before).then_some(&neighbour.users)
    }

    /// What the kernel has may be something else, whatever it said.
    pub fn doubt(&mut self, now: Instant, of: impl Fn(Key) -> bool) {
        self.known.iter_mut().filter(|(key, _)| of(**key)).for_each(|(_, neighbour)| neighbour.due = Some(now));
    }

    /// Its interface is there again: nobody has failed yet.
    pub fn begin_again(&mut self, ifindex: u32, now: Instant) {
        for (_, neighbour) in self.known.iter_mut().filter(|(key, _)| key.ifindex == ifindex) {
            (neighbour.has_failed, neighbour.refused, neighbour.since) = (false, None, now);
            (neighbour.told, neighbour.due) = (None, Some(now));
        }
    }

    /// Those to be looked at, with a destination behind each, where the interface is one that can be used.
    pub fn due(&self, now: Instant, is_usable: impl Fn(u32) -> bool) -> Vec<Key> {
        let due = self.known.iter().filter(|(_, neighbour)| neighbour.due.is_some_and(|due| due <= now));
        due.map(|(&key, _)| key).filter(|key| is_usable(key.ifindex)).collect()
    }

    pub fn deadline(&self, is_usable: impl Fn(u32) -> bool) -> Option<Instant> {
        let usable = self.known.iter().filter(|(key, _)| is_usable(key.ifindex));
        usable.filter_map(|(_, neighbour)| neighbour.due).min()
    }

    /// Of those that were just looked at, those that the kernel has to be told to keep: with a destination behind each,
    /// and whether it has none such.
    pub fn unkept(&self, keys: &[Key], now: Instant) -> Vec<(Key, IpAddr, bool)> {
        let unkept = keys.iter().filter_map(|key| {
            let neighbour = self.known.get(key)?;
            let user = neighbour.users.first()?;
            neighbour.due.filter(|&due| due <= now).map(|_| (*key, *user, neighbour.entry.is_none()))
        });
        unkept.collect()
    }

    /// The kernel was told to keep it. Those whom it concerns, if its answer is another than before.
    pub fn told(&mut self, key: Key, told: Told, now: Instant) -> Option<&BTreeSet<IpAddr>> {
        let neighbour = self.known.get_mut(&key)?;
        let before = neighbour.state();
        match (told, neighbour.entry.is_none(), neighbour.share) {
            (Told::Kept, true, _) => neighbour.share = Share::All,
            (Told::Kept, false, Share::Nothing) => neighbour.share = Share::Flag,
            _ => {}
        }
        neighbour.refused = if let Told::Refused { errno } = told { Some(errno) } else { None };
        neighbour.told = Some(now);
        neighbour.schedule(now);
        (neighbour.state() != before).then_some(&neighbour.users)
    }

    /// What is to be given back; by then it will have been.
    pub fn take_left(&mut self) -> Vec<(Key, Share)> {
        std::mem::take(&mut self.left)
    }
}
