//! Two connections that belong together, and how one finds them.

use super::{
    Patience, Towards,
    parted::{Hush, Parted},
};
use crate::{stack::ConnectionId, time::Instant};

/// What is known of a client's connection and its backend's.
#[derive(Debug)]
pub(super) struct Pair<S> {
    pub session: S,
    /// The client's, until it is closed.
    pub client: Option<ConnectionId>,
    /// The backend's, likewise, if there is one yet.
    pub backend: Option<ConnectionId>,
    pub phase: Phase,
    /// Whether both connections may leave the stack, once nothing stands in the way.
    pub may_part: bool,
    pub hush: Hush,
    /// Whether the backend has said all that it had to say, and that has gone on.
    pub is_answered: bool,
    /// When the phase began, or either end was last heard.
    pub since: Instant,
}

/// How far it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The router wants to see so many octets.
    Looking { wanted: usize },
    /// The backend has not answered yet. Of what the client says it does not get so many octets.
    Connecting { skip: usize },
    /// Octets go to and fro.
    Carrying,
    /// They do without us: neither connection is ours any more.
    Parted(Parted),
}

impl<S> Pair<S> {
    /// Until when it is waited.
    pub fn deadline(&self, patience: &Patience) -> Instant {
        match self.phase {
            Phase::Looking { .. } => self.since + patience.first,
            Phase::Connecting { .. } => self.since + patience.connect,
            Phase::Carrying => self.since + patience.idle,
            Phase::Parted(parted) => parted.look_at,
        }
    }
}

/// Names a pair: a place.
pub(super) type Number = u32;

/// One of the two connections of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

impl Side {
    /// Where goes what this side says.
    pub const fn towards(self) -> Towards {
        match self {
            Self::Client => Towards::Backend,
            Self::Backend => Towards::Client,
        }
    }
}

/// All pairs, by their places, and by the indices of their connections.
#[derive(Debug)]
pub(super) struct Pairs<S> {
    places: Vec<Option<Pair<S>>>,
    free: Vec<Number>,
    /// Of the connection with this index: its pair's place and one bit for the side; or [`NOBODY`].
    of_connections: Vec<u32>,
}

const NOBODY: u32 = u32::MAX;

impl<S> Pairs<S> {
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), of_connections: Vec::new() }
    }

    pub fn insert(&mut self, pair: Pair<S>) -> Number {
        let client = pair.client;
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as Number - 1
        });
        self.places[number as usize] = Some(pair);
        if let Some(client) = client {
            self.name(client, number, Side::Client);
        }
        number
    }

    pub fn get(&self, number: Number) -> Option<&Pair<S>> {
        self.places.get(number as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, number: Number) -> Option<&mut Pair<S>> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// Says whose a connection is.
    pub fn name(&mut self, id: ConnectionId, number: Number, side: Side) {
        if self.of_connections.len() <= id.index() {
            self.of_connections.resize(id.index() + 1, NOBODY);
        }
        self.of_connections[id.index()] = number << 1 | u32::from(side == Side::Backend);
    }

    /// Whose a connection is.
    pub fn find(&self, id: ConnectionId) -> Option<(Number, Side)> {
        let &name = self.of_connections.get(id.index()).filter(|&&name| name != NOBODY)?;
        let (number, side) = (name >> 1, if name & 1 == 0 { Side::Client } else { Side::Backend });
        let pair = self.places[number as usize].as_ref()?;
        let its = if side == Side::Client { pair.client } else { pair.backend };
        (its == Some(id)).then_some((number, side))
    }

    /// Forgets a connection of a pair's; which.
    pub fn take_side(&mut self, number: Number, side: Side) -> Option<ConnectionId> {
        let pair = self.get_mut(number)?;
        let id = if side == Side::Client { pair.client.take() } else { pair.backend.take() }?;
        self.of_connections[id.index()] = NOBODY;
        Some(id)
    }

    /// Takes a pair out, and forgets the connections that it still has.
    pub fn remove(&mut self, number: Number) -> Option<Pair<S>> {
        let pair = self.places.get_mut(number as usize)?.take()?;
        for id in [pair.client, pair.backend].into_iter().flatten() {
            self.of_connections[id.index()] = NOBODY;
        }
        self.free.push(number);
        Some(pair)
    }

    /// Behind the last of them.
    pub fn end(&self) -> Number {
        self.places.len() as Number
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
