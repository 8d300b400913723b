//! What pictures make of each other: rates, and how they have gone.

use super::picture::{Both, Connection, Picture, Worker};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

/// Moments that are remembered: a line of them is as wide as a wide terminal.
const MOST: usize = 512;

/// What is drawn as a line over time, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Bits from peers, or frames where octets are not counted.
    pub received: f64,
    /// Bits to peers, or frames likewise.
    pub sent: f64,
    /// Connections that were opened.
    pub opened: f64,
    /// Connections, which are no rate.
    pub connections: f64,
    /// SYNs for all listeners.
    pub syns: f64,
    /// Frames that were refused, by the stacks or by XDP.
    pub drops: f64,
}

/// What a worker does, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerRates {
    /// The part of the time that it did not wait, from 0 to 1.
    pub busy: f64,
    /// Frames taken in, and sent.
    pub frames: [f64; 2],
    /// Bits taken in, and sent; `None` where octets are not counted.
    pub bits: Option<[f64; 2]>,
    /// Connections opened.
    pub opened: f64,
    /// Segments sent again.
    pub retransmitted: f64,
}

/// What a connection does, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnectionRates {
    /// Bits received in order; `None` where nobody tells, or where it was not seen before.
    pub received: Option<f64>,
    /// Bits that the peer has acknowledged, likewise.
    pub sent: Option<f64>,
    /// Segments sent again.
    pub retransmitted: f64,
}

/// The last picture, the one before, and what those before them came to.
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: VecDeque<Moment>,
    before: Option<Picture>,
    last: Picture,
    /// Seconds between the two.
    span: f64,
    /// What connections did meanwhile, by their ends and the worker's.
    flows: HashMap<(SocketAddr, SocketAddr), ConnectionRates>,
}

impl History {
    /// One that begins with this picture.
    pub fn of(first: Picture) -> Self {
        Self { last: first, ..Self::default() }
    }

    /// Goes on with a picture, which is later than the last one, or changes nothing.
    pub fn push(&mut self, next: Picture) {
        let span = next.uptime.saturating_sub(self.last.uptime).as_secs_f64();
        if span <= 0.0 {
            return;
        }
        let before = std::mem::replace(&mut self.last, next);
        self.span = span;
        let known: HashMap<_, _> = before.connections.iter().map(|it| (ends(it), it)).collect();
        let rates =
            self.last.connections.iter().map(|it| (ends(it), of_connection(it, known.get(&ends(it)).copied(), span)));
        self.flows = rates.collect();
        self.before = Some(before);
        if self.moments.len() == MOST {
            self.moments.pop_front();
        }
        self.moments.push_back(self.moment());
    }

    /// The last picture.
    pub fn last(&self) -> &Picture {
        &self.last
    }

    /// Whether there are rates yet, for which it takes two pictures.
    pub fn has_rates(&self) -> bool {
        self.before.is_some()
    }

    /// What is drawn as lines, the last one last.
    pub fn moments(&self) -> impl DoubleEndedIterator<Item = &Moment> + ExactSizeIterator {
        self.moments.iter()
    }

    /// Whether workers count octets.
    pub fn has_octets(&self) -> bool {
        self.last.workers.iter().any(|it| it.octets.is_some())
    }

    /// A second's worth of something that grows, in the picture.
    pub fn rate(&self, count: impl Fn(&Picture) -> u64) -> f64 {
        self.before.as_ref().map_or(0.0, |before| grown(count(&self.last), count(before), self.span))
    }

    /// What this worker does.
    pub fn of_worker(&self, worker: &Worker) -> WorkerRates {
        let before = self.before.iter().flat_map(|it| &it.workers).find(|it| it.number == worker.number);
        let Some(before) = before else { return WorkerRates::default() };
        let span = worker.uptime.saturating_sub(before.uptime).as_secs_f64();
        if span <= 0.0 {
            return WorkerRates::default();
        }
        let both = |now: Both, then: Both| [grown(now.received, then.received, span), grown(now.sent, then.sent, span)];
        let asleep = worker.asleep.saturating_sub(before.asleep).as_secs_f64();
        let octets = worker.octets.zip(before.octets);
        WorkerRates {
            busy: 1.0 - (asleep / span).min(1.0),
            frames: both(worker.frames, before.frames),
            bits: octets.map(|(now, then)| both(now, then).map(|octets| 8.0 * octets)),
            opened: grown(worker.opened, before.opened, span),
            retransmitted: grown(worker.retransmitted, before.retransmitted, span),
        }
    }

    /// SYNs, and connections accepted, of a listener.
    pub fn of_listener(&self, address: SocketAddr) -> [f64; 2] {
        let of = |picture: &Picture| {
            let found = picture.listeners.iter().find(|it| it.address == address);
            found.map_or((0, 0), |it| (it.syns, it.accepted.unwrap_or_default()))
        };
        [self.rate(|it| of(it).0), self.rate(|it| of(it).1)]
    }

    /// What this connection does.
    pub fn of_connection(&self, connection: &Connection) -> ConnectionRates {
        self.flows.get(&ends(connection)).copied().unwrap_or_default()
    }

    /// How often a reason occurred.
    pub fn of_drop(&self, reason: &str) -> f64 {
        self.rate(|it| it.drops.iter().find(|it| it.reason == reason).map_or(0, |it| it.count))
    }

    fn moment(&self) -> Moment {
        let of_workers = self.last.workers.iter().map(|it| self.of_worker(it));
        let (mut received, mut sent) = (0.0, 0.0);
        for rates in of_workers {
            let [taken_in, given_out] = rates.bits.unwrap_or(rates.frames);
            (received, sent) = (received + taken_in, sent + given_out);
        }
        Moment {
            received,
            sent,
            opened: self.rate(|it| it.total(|worker| worker.opened)),
            connections: self.last.total(|it| it.connections) as f64,
            syns: self.rate(|it| it.listeners.iter().map(|it| it.syns).sum()),
            drops: self.rate(|it| it.drops.iter().map(|it| it.count).sum()),
        }
    }

    /// How much time is between the last two pictures.
    pub fn span(&self) -> Duration {
        Duration::from_secs_f64(self.span)
    }
}

/// What a connection is known by.
fn ends(connection: &Connection) -> (SocketAddr, SocketAddr) {
    (connection.local, connection.remote)
}

/// So much more a second; nothing, where it is less, as behind a restart.
fn grown(now: u64, before: u64, span: f64) -> f64 {
    now.saturating_sub(before) as f64 / span
}

fn of_connection(now: &Connection, before: Option<&Connection>, span: f64) -> ConnectionRates {
    let Some(before) = before else { return ConnectionRates::default() };
    let sequences = now.sequence.zip(before.sequence);
    // A port that is used again has other sequence numbers: those would be bits that nobody sent. They are beyond half of all then,
    // or less than a window ahead, which does not matter.
    let bits = |now: u32, before: u32| {
        let octets = now.wrapping_sub(before);
        (octets < 1 << 31).then(|| f64::from(octets) * 8.0 / span)
    };
    ConnectionRates {
        received: sequences.and_then(|(now, then)| bits(now.received, then.received)),
        sent: sequences.and_then(|(now, then)| bits(now.acknowledged, then.acknowledged)),
        retransmitted: grown(now.retransmitted, before.retransmitted, span),
    }
}
