//! Rows of lists, and what a filter may ask of them.

use super::List;
use crate::runtime::inspect::{ConnectionReport, DropReport, ListenerReport, NeighbourReport, WorkerReport};
use std::net::{IpAddr, SocketAddr};

/// What a filter may ask of a row. Ends are as `ss` has them: `src` and `sport` are ours, `dst` and `dport` the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word: the state of a connection or a neighbour.
    State,
    /// A word: why a connection sends nothing now.
    Waits,
    /// A word: the interface.
    Dev,
    /// A word: why something was refused.
    Reason,
    /// A word: who refused it.
    Layer,
    /// A word: how high a listener's defence stands.
    Level,
    /// An address, with or without a port: ours.
    Src,
    /// An address, with or without a port: the peer's.
    Dst,
    /// A port: ours.
    Sport,
    /// A port: the peer's.
    Dport,
    /// A number: the worker's.
    Worker,
    /// A number: octets that the application has not read.
    ReceiveQueue,
    /// A number: octets that the peer has not acknowledged.
    SendQueue,
    /// A time: the round trip's.
    Rtt,
    /// A number: the congestion window, octets.
    Cwnd,
    /// A number: octets in flight.
    InFlight,
    /// A number: segments sent again.
    Retrans,
    /// A number: octets taken for lost.
    Lost,
    /// A time: since the peer was heard, or a neighbour answered.
    Idle,
    /// A number: connections accepted.
    Accepted,
    /// A number: SYNs.
    Syns,
    /// A number: of a hundred, how many parts of the time a worker did not wait.
    Busy,
    /// A number: connections of a worker's.
    Connections,
    /// A number: octets that a worker's connections have allocated.
    Memory,
    /// A number: refused so far.
    Total,
    /// A number: refused a second.
    Rate,
}

/// What stands behind a field's name in a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One word.
    Word,
    /// An address.
    Address,
    /// A comparison with a port.
    Port,
    /// A comparison with a number.
    Number,
    /// A comparison with a time, in microseconds.
    Time,
}

impl Field {
    /// All of them, with their names and what stands behind those.
    pub(super) const ALL: [(Self, &'static str, Kind); 26] = [
        (Self::State, "state", Kind::Word),
        (Self::Waits, "waits", Kind::Word),
        (Self::Dev, "dev", Kind::Word),
        (Self::Reason, "reason", Kind::Word),
        (Self::Layer, "layer", Kind::Word),
        (Self::Level, "level", Kind::Word),
        (Self::Src, "src", Kind::Address),
        (Self::Dst, "dst", Kind::Address),
        (Self::Sport, "sport", Kind::Port),
        (Self::Dport, "dport", Kind::Port),
        (Self::Worker, "worker", Kind::Number),
        (Self::ReceiveQueue, "recv-q", Kind::Number),
        (Self::SendQueue, "send-q", Kind::Number),
        (Self::Rtt, "rtt", Kind::Time),
        (Self::Cwnd, "cwnd", Kind::Number),
        (Self::InFlight, "in-flight", Kind::Number),
        (Self::Retrans, "retrans", Kind::Number),
        (Self::Lost, "lost", Kind::Number),
        (Self::Idle, "idle", Kind::Time),
        (Self::Accepted, "accepted", Kind::Number),
        (Self::Syns, "syns", Kind::Number),
        (Self::Busy, "busy", Kind::Number),
        (Self::Connections, "connections", Kind::Number),
        (Self::Memory, "memory", Kind::Number),
        (Self::Total, "total", Kind::Number),
        (Self::Rate, "rate", Kind::Number),
    ];

    /// Those that rows of a list have, as filters name them.
    pub(super) fn of(list: List) -> &'static [Self] {
        use Field as F;
        match list {
            List::Connections => &[
                F::State,
                F::Src,
                F::Dst,
                F::Sport,
                F::Dport,
                F::Dev,
                F::Worker,
                F::Waits,
                F::ReceiveQueue,
                F::SendQueue,
                F::Rtt,
                F::Cwnd,
                F::InFlight,
                F::Retrans,
                F::Lost,
                F::Idle,
            ],
            List::Listeners => &[F::Src, F::Sport, F::Level, F::Accepted, F::Syns],
            List::Workers => &[F::Worker, F::Dev, F::Busy, F::Connections, F::Memory],
            List::Drops => &[F::Reason, F::Layer, F::Total, F::Rate],
            List::Neighbours => &[F::Dst, F::Dev, F::State, F::Worker, F::Idle],
        }
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or("", |(_, name, _)| name)
    }

    pub(super) fn kind(self) -> Kind {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or(Kind::Word, |(.., kind)| *kind)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(field, ..)| *field)
    }
}

/// A row of a list. What it does not have is no match.
pub trait Row {
    /// Whether the field is this word.
    fn is_word(&self, field: Field, word: &str) -> bool;

    /// An end of it, where it has one; without a port that port is 0.
    fn end(&self, field: Field) -> Option<SocketAddr> {
        let _ = field;
        None
    }

    /// A number of it; times in microseconds.
    fn number(&self, field: Field) -> Option<f64>;
}

impl Row for ConnectionReport {
    fn is_word(&self, field: Field, word: &str) -> bool {
        match field {
            Field::State => self.state == word,
            Field::Waits => self.waits_for == word,
            Field::Dev => self.interface == word,
            _ => false,
        }
    }

    fn end(&self, field: Field) -> Option<SocketAddr> {
        match field {
            Field::Src | Field::Sport => Some(self.local),
            Field::Dst | Field::Dport => Some(self.remote),
            _ => None,
        }
    }

    fn number(&self, field: Field) -> Option<f64> {
        let tcp = self.tcp.as_ref();
        Some(match field {
            Field::Worker => self.worker as f64,
            Field::ReceiveQueue => self.receive_queue as f64,
            Field::SendQueue => self.send_queue as f64,
            Field::Idle => self.idle_ms as f64 * 1_000.0,
            Field::Rtt => tcp?.rtt_us? as f64,
            Field::Cwnd => tcp?.cwnd.into(),
            Field::InFlight => tcp?.in_flight.into(),
            Field::Retrans => tcp?.retransmitted.into(),
            Field::Lost => tcp?.lost.into(),
            _ => return None,
        })
    }
}

impl Row for ListenerReport {
    fn is_word(&self, field: Field, word: &str) -> bool {
        field == Field::Level && self.defence.iter().any(|one| one.level == word)
    }

    /// One that listens everywhere is at no address.
    fn end(&self, field: Field) -> Option<SocketAddr> {
        let address = match field {
            Field::Sport => self.address.unwrap_or(IpAddr::from([0; 4])),
            Field::Src => self.address?,
            _ => return None,
        };
        Some(SocketAddr::new(address, self.port))
    }

    fn number(&self, field: Field) -> Option<f64> {
        Some(match field {
            Field::Accepted => self.accepted as f64,
            Field::Syns => self.defence.iter().map(|one| one.syns).sum::<u64>() as f64,
            _ => return None,
        })
    }
}

impl Row for WorkerReport {
    fn is_word(&self, field: Field, word: &str) -> bool {
        field == Field::Dev && self.queues.iter().any(|queue| queue.interface == word)
    }

    fn number(&self, field: Field) -> Option<f64> {
        Some(match field {
            Field::Worker => self.worker as f64,
            Field::Busy => self.busy * 100.0,
            Field::Connections => self.connections.into(),
            Field::Memory => self.memory as f64,
            _ => return None,
        })
    }
}

impl Row for DropReport {
    fn is_word(&self, field: Field, word: &str) -> bool {
        match field {
            Field::Reason => self.reason == word,
            Field::Layer => self.layer == word,
            _ => false,
        }
    }

    fn number(&self, field: Field) -> Option<f64> {
        Some(match field {
            Field::Total => self.total as f64,
            Field::Rate => self.per_second,
            _ => return None,
        })
    }
}

impl Row for NeighbourReport {
    fn is_word(&self, field: Field, word: &str) -> bool {
        match field {
            Field::State => self.state == word,
            Field::Dev => self.interface == word,
            _ => false,
        }
    }

    fn end(&self, field: Field) -> Option<SocketAddr> {
        (field == Field::Dst).then(|| SocketAddr::new(self.address, 0))
    }

    fn number(&self, field: Field) -> Option<f64> {
        Some(match field {
            Field::Worker => self.worker as f64,
            Field::Idle => self.answered_ms_ago? as f64 * 1_000.0,
            _ => return None,
        })
    }
}
