//! Connections, one after the other, in pieces that hold no worker up.

use super::{InspectError, Inspector, Name};
use crate::{
    stack::{ConnectionId, Cursor, Listed},
    tcp::TcpInfo,
    time::Instant,
    worker::{CommandError, Context, WorkerHandle},
};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    ops::ControlFlow,
    sync::PoisonError,
    thread,
    time::{Duration, Instant as Clock},
};

/// Places of a table that a worker looks at in one command.
const PIECE: u32 = 128;
/// For so many times as long as a piece took, the worker is left alone: a list takes a fifth of it at most.
const PAUSE: u32 = 4;

/// A connection, or a handshake that its client has not ended yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// The number of its worker.
    pub worker: usize,
    /// The interface that its segments leave by.
    pub interface: Name,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The state of RFC 9293 §3.3.2, such as `ESTABLISHED`.
    pub state: Name,
    /// Whether a listener has accepted it; otherwise we opened it.
    pub accepted: bool,
    /// Whether it has been idle for so long, among so many, that it sleeps: nothing is queued or in flight, and no more is known of it.
    pub asleep: bool,
    /// Why it sends nothing now: `application`, `window`, `congestion`, `recovery`, `nagle`, `segments`, `handshake`, `neighbour`,
    /// `turn` or `ended`, as [`WhyNotSending`](crate::tcp::WhyNotSending) explains.
    pub waits_for: Name,
    /// Since the peer was heard last, milliseconds.
    pub idle_ms: u64,
    /// Octets received that the application has not read.
    pub receive_queue: u64,
    /// Octets written that the peer has not acknowledged.
    pub send_queue: u64,
    /// What else TCP knows of one that is awake.
    #[serde(flatten)]
    pub tcp: Option<TcpReport>,
    /// Its name at its worker.
    #[serde(skip)]
    pub id: Option<ConnectionId>,
}

/// What TCP knows of a connection that is awake: what [`TcpInfo`] has. There is no delivery rate: it is not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpReport {
    /// The smoothed round-trip time (RFC 6298), microseconds, once one was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// How much it varies, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rttvar_us: Option<u64>,
    /// The retransmission timeout, microseconds.
    pub rto_us: u64,
    /// The congestion window, octets.
    pub cwnd: u32,
    /// The slow start threshold, octets, once there was a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssthresh: Option<u32>,
    /// The window that the peer grants, octets.
    pub send_window: u32,
    /// Octets sent and not acknowledged.
    pub in_flight: u32,
    /// Of these, octets taken for lost and not sent again yet.
    pub lost: u32,
    /// Of these, octets that the peer has reported out of order.
    pub sacked: u32,
    /// Octets written and never sent.
    pub unsent: u64,
    /// SND.UNA, a sequence number: up to there the peer has acknowledged.
    pub snd_una: u32,
    /// RCV.NXT, a sequence number: up to there octets have come in order.
    pub rcv_nxt: u32,
    /// Segments sent again.
    pub retransmitted: u32,
    /// The most data in one of our segments, octets.
    pub mss: u32,
    /// The scale of the windows that the peer grants: a shift.
    pub send_scale: u8,
    /// The scale of the windows that it is granted: a shift.
    pub receive_scale: u8,
    /// Whether segments carry timestamps.
    pub timestamps: bool,
    /// Whether what comes out of order is reported.
    pub sack: bool,
}

/// How many flows there are, of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// Connections.
    pub connections: u64,
    /// Handshakes that their clients have not ended yet, and that are remembered.
    pub half_open: u64,
    /// Connections in TIME-WAIT: these are counted only, as what is left of one does not know its two ends.
    pub time_wait: u64,
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl From<&TcpInfo> for TcpReport {
    fn from(info: &TcpInfo) -> Self {
        Self {
            rtt_us: info.round_trip_time.map(micros),
            rttvar_us: info.round_trip_variation.map(micros),
            rto_us: micros(info.retransmission_timeout),
            cwnd: info.congestion_window,
            ssthresh: info.slow_start_threshold,
            send_window: info.send_window,
            in_flight: info.bytes_in_flight,
            lost: info.lost,
            sacked: info.sacked,
            unsent: info.unsent as u64,
            snd_una: info.reached.0.get(),
            rcv_nxt: info.reached.1.get(),
            retransmitted: info.retransmitted,
            mss: info.mss,
            send_scale: info.window_scales.0,
            receive_scale: info.window_scales.1,
            timestamps: info.timestamps,
            sack: info.sack,
        }
    }
}

impl ConnectionReport {
    pub(super) fn new(worker: usize, interface: Name, now: Instant, listed: &Listed) -> Self {
        let info = listed.info.as_ref();
        Self {
            worker,
            interface,
            local: listed.tuple.local.into(),
            remote: listed.tuple.remote.into(),
            state: Name::Borrowed(listed.state.name()),
            accepted: listed.listener.is_some(),
            asleep: listed.id.is_some() && info.is_none(),
            waits_for: Name::Borrowed(listed.waits_for.name()),
            idle_ms: millis(now.saturating_since(listed.heard)),
            receive_queue: info.map_or(0, |info| info.unread as u64),
            send_queue: info.map_or(0, |info| info.unacknowledged as u64),
            tcp: info.map(TcpReport::from),
            id: listed.id,
        }
    }
}

/// A piece of a worker's list.
struct Piece {
    now: Instant,
    listed: Vec<Listed>,
    next: Option<Cursor>,
}

/// Where looking at flows goes on. The default is the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListPlace {
    worker: usize,
    cursor: Cursor,
}

impl Inspector {
    /// A piece of what a worker tells. Behind it whoever asks like this leaves the worker alone for [`PAUSE`] times as long as it took, so that
    /// lists, pictures and neighbours, however many at a time, take no more of the workers than one of them does.
    pub(super) fn in_turn<T: Send + 'static>(
        &self,
        worker: &WorkerHandle,
        tell: impl FnOnce(&mut Context<'_>) -> T + Send + 'static,
    ) -> Result<Option<T>, CommandError> {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Self::told(worker.call(move |cx| {
            let began = Clock::now();
            (tell(cx), began.elapsed())
        }))?;
        Ok(told.map(|(told, took)| {
            thread::sleep(took * PAUSE);
            told
        }))
    }

    fn piece(&self, worker: &WorkerHandle, cursor: Cursor) -> Result<Option<Piece>, CommandError> {
        self.in_turn(worker, move |cx| {
            let now = cx.now();
            let (listed, next) = cx.stack().connections_from(now, cursor, PIECE);
            Piece { now, listed, next }
        })
    }

    /// Shows `visit` flows from `place` on, as many as are in about so many places of workers' tables, and leaves there where to go on; no
    /// more than once around, so that all flows are shown each time where there never were more at a time: a table keeps its places.
    ///
    /// # Errors
    /// Where a worker does not answer. One that has ended has no connections.
    pub fn connections_from(
        &self,
        place: &mut ListPlace,
        places: u32,
        mut visit: impl FnMut(ConnectionReport),
    ) -> Result<(), InspectError> {
        let names = self.names();
        for _ in 0..places.div_ceil(PIECE).max(1) {
            let Some(worker) = self.workers.get(place.worker) else { break };
            let next_worker = ListPlace { worker: place.worker + 1, cursor: Cursor::default() };
            let Some(Piece { now, listed, next }) = self.piece(&worker, place.cursor)? else {
                *place = next_worker;
                continue;
            };
            for listed in &listed {
                visit(ConnectionReport::new(worker.number(), names.of(listed.interface), now, listed));
            }
            *place = next.map_or(next_worker, |cursor| ListPlace { cursor, ..*place });
        }
        if place.worker >= self.workers.len() {
            *place = ListPlace::default();
        }
        Ok(())
    }

    /// Shows `visit` every connection and every handshake, worker by worker, until it says that it is enough. It takes its time: what it does
    /// holds no worker up. Whatever exists from the beginning to the end is shown once; what comes or goes meanwhile may be.
    ///
    /// # Errors
    /// Where a worker does not answer. One that has ended has no connections.
    pub fn connections(
        &self,
        mut visit: impl FnMut(ConnectionReport) -> ControlFlow<()>,
    ) -> Result<FlowCounts, InspectError> {
        self.connections_by_piece(|piece| piece.into_iter().try_for_each(&mut visit))
    }

    /// As [`Inspector::connections`], with those of each piece of a worker's table together, and none at all where none is in it: whoever
    /// has others wait hears in between that it goes on.
    ///
    /// # Errors
    /// As there.
    pub fn connections_by_piece(
        &self,
        mut visit: impl FnMut(Vec<ConnectionReport>) -> ControlFlow<()>,
    ) -> Result<FlowCounts, InspectError> {
        let names = self.names();
        for worker in self.of_workers() {
            let mut next = Some(Cursor::default());
            while let Some(cursor) = next {
                let Some(Piece { now, listed, next: on }) = self.piece(&worker, cursor)? else { break };
                let report = |it: &Listed| ConnectionReport::new(worker.number(), names.of(it.interface), now, it);
                if visit(listed.iter().map(report).collect()).is_break() {
                    return self.flow_counts();
                }
                next = on;
            }
        }
        self.flow_counts()
    }

    /// How many flows there are.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn flow_counts(&self) -> Result<FlowCounts, InspectError> {
        let mut sum = FlowCounts::default();
        for worker in self.of_workers() {
            let counts = Self::told(worker.call(|cx| cx.stack().flow_counts()))?;
            let (connections, half_open, time_wait) = counts.unwrap_or_default();
            sum.connections += u64::from(connections);
            sum.half_open += u64::from(half_open);
            sum.time_wait += u64::from(time_wait);
        }
        Ok(sum)
    }

    pub(super) fn names(&self) -> super::Names {
        super::Names(self.places.iter().map(|place| Name::Owned(place.name.clone())).collect())
    }
}
