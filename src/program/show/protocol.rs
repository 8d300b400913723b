//! What is said by way of a server's control socket: a line of JSON for the question, and a line for each piece of the answer.

use super::INTERVALS;
use crate::{
    control::{AskError, Asked, Role},
    runtime::inspect::{
        ConnectionReport, DropReport, EndReport, Explanation, FlowCounts, HandshakeReport, ListenerReport,
        NeighbourReport, WorkerReport,
    },
    top::Picture,
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, path::Path, time::Duration};

/// Whose socket it is.
pub static SERVER: Role = Role {
    name: "server",
    setting: "--control",
    start: "start one by `xskip serve`, or say where it is by --control",
    again: "it has to start anew",
    help: "xskip show --help",
};

/// How long a line of an answer may take, beside what is waited for on purpose. Where nothing happens that is followed, that is said every
/// second, and a list that is under way says every few seconds that it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// A list.
    Show(Query),
    /// What is known of a flow.
    Explain(Flow),
    /// Pictures, one after the other, until somebody hangs up.
    Watch(Watch),
}

impl Request {
    /// How long a line of the answer may take.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Show(_) | Self::Explain(_) => PATIENCE,
            // What is too long is refused, at once.
            Self::Watch(Watch { interval_ms }) => PATIENCE + Duration::from_millis(*interval_ms).min(*INTERVALS.end()),
        }
    }
}

/// How often pictures are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Milliseconds between two of them: 100 to 60,000.
    pub interval_ms: u64,
}

/// A flow, by its two ends, in either order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// One end.
    pub source: SocketAddr,
    /// The other end.
    pub destination: SocketAddr,
}

/// Which list, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Which one.
    pub list: List,
    /// Whose rows alone are wanted: see [`Filter`](super::Filter). Nothing for all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// The most rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// By which number rows are sorted, the largest first. Then there are [`Query::MOST_SORTED`] at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Whether it goes on, once a second, until somebody hangs up.
    #[serde(default)]
    pub follow: bool,
}

impl Query {
    /// Rows that are sorted where no other number is said, and at most.
    pub const SORTED: u64 = 100;
    /// The most rows that can be sorted: they have to be held.
    pub const MOST_SORTED: u64 = 10_000;

    /// The whole list, once.
    pub fn new(list: List) -> Self {
        Self { list, filter: String::new(), limit: None, sort: None, follow: false }
    }
}

/// What there are lists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// Connections, and handshakes that are remembered.
    Connections,
    /// Listeners.
    Listeners,
    /// Workers.
    Workers,
    /// What was refused.
    Drops,
    /// Neighbours.
    Neighbours,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Connections, Self::Listeners, Self::Workers, Self::Drops, Self::Neighbours];
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connections => "connections",
            Self::Listeners => "listeners",
            Self::Workers => "workers",
            Self::Drops => "drops",
            Self::Neighbours => "neighbours",
        })
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    /// A row of [`List::Connections`].
    Connection(Box<ConnectionReport>),
    /// A row of [`List::Listeners`].
    Listener(ListenerReport),
    /// What has become of handshakes: behind the listeners.
    Handshakes(HandshakeReport),
    /// A row of [`List::Workers`].
    Worker(Box<WorkerReport>),
    /// A row of [`List::Drops`].
    Drop(Box<DropReport>),
    /// A row of [`List::Neighbours`].
    Neighbour(NeighbourReport),
    /// Where connections are followed: one has begun.
    Began(Box<ConnectionReport>),
    /// Where connections are followed: one has ended.
    Ended(Box<Departure>),
    /// The answer to [`Request::Explain`].
    Explanation(Box<Explanation>),
    /// A picture of all of it: an answer to [`Request::Watch`].
    Picture(Box<Picture>),
    /// Where a list is followed: another look begins. Rows that follow are what has changed.
    Tick(Tick),
    /// The end of the list.
    End(Summary),
}

/// A connection that is no more, as it was when it was seen last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Departure {
    /// The connection.
    #[serde(flatten)]
    pub connection: ConnectionReport,
    /// How it ended, where it did so unhappily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndReport>,
}

/// A look at what is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Its number, from 1.
    pub number: u64,
    /// What rates are about: milliseconds.
    pub span_ms: u64,
}

/// What stands at the end of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Rows that were shown.
    pub rows: u64,
    /// How many flows there are, listed or not: behind connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<FlowCounts>,
}

/// Asks the server, or load, whose control socket this is. Its answer comes piece by piece; a refusal is an error. Unless it is followed,
/// a list is whole where its last piece is [`Piece::End`].
///
/// # Errors
/// [`AskError`] says what to do.
pub fn ask(control: &Path, request: &Request) -> Result<Asked<Piece>, AskError> {
    Asked::begin(&SERVER, control, request, request.patience())
}
