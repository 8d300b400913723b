//! Pictures for `xskip top`, one after the other, for as long as somebody looks.

use super::{Piece, Watch, answer::Stop};
use crate::{
    control::Hearer,
    drops::Drops,
    runtime::{
        Inspector,
        inspect::{ConnectionReport, HandshakeReport, ListPlace, Sample},
    },
    stack::ConnectionId,
    stats::Histogram,
    time::Instant,
    top::{Both, Connection, Handshakes, Listener, Picture, Refusal, Sequence, Worker},
    worker::Snapshot,
};
use std::{
    collections::HashMap,
    ops::RangeInclusive,
    time::{Duration, Instant as Clock},
};

/// How often pictures may be taken.
pub const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Places of workers' tables that are looked at for one picture: where there are more, the next picture has others.
const LOOKED_AT: u32 = 16_384;
/// Connections in a picture of each kind.
const SHOWN: usize = 32;
/// A connection is remembered for so many pictures after it was seen last: until there has been time to come round to it again.
const REMEMBERED: u64 = 64;
/// Connections that are remembered at most, so that there are rates when they are seen again.
const MOST_REMEMBERED: usize = 1 << 16;

/// What a connection was like when it was seen last.
struct Seen {
    at: Clock,
    number: u64,
    sequence: Sequence,
    retransmitted: u64,
}

/// A connection that may be worth showing, and how much it has done since it was seen before.
struct Candidate {
    connection: Connection,
    octets_per_second: f64,
    retransmitted: u64,
}

/// What a viewer's pictures have in common.
struct Viewer<'a> {
    inspector: &'a Inspector,
    server: String,
    place: ListPlace,
    seen: HashMap<(usize, ConnectionId), Seen>,
    number: u64,
    /// How long each worker's batches had taken by the last picture; none before the first.
    batches: Vec<Histogram>,
}

/// Takes pictures until nobody looks any more.
pub(super) fn pictures(inspector: &Inspector, how: Watch, hearer: &mut Hearer<'_, '_>) -> Result<(), Stop> {
    let interval = Duration::from_millis(how.interval_ms);
    if !INTERVALS.contains(&interval) {
        let why = format!("a picture every {} ms is not to be had: ask for 100 to 60000", how.interval_ms);
        return Err(Stop::Refused(why));
    }
    let server = inspector.interfaces().collect::<Vec<_>>().join(", ");
    let (place, seen) = (ListPlace::default(), HashMap::new());
    let mut viewer = Viewer { inspector, server, place, seen, number: 0, batches: Vec::new() };
    let mut due = Clock::now();
    loop {
        let picture = viewer.take()?;
        hearer.say(&Piece::Picture(Box::new(picture)))?;
        // What a picture takes is no part of the time between two, unless it takes longer.
        due = (due + interval).max(Clock::now());
        hearer.wait(due.saturating_duration_since(Clock::now()))?;
    }
}

impl Viewer<'_> {
    fn take(&mut self) -> Result<Picture, Stop> {
        let sample = self.inspector.sample()?;
        let numbered = sample.snapshots().iter().enumerate();
        let workers: Vec<Worker> = numbered.map(|(number, it)| worker(number, it, self.batches.get(number))).collect();
        self.batches = sample.snapshots().iter().map(|it| it.batches).collect();
        let (connections, looked_at) = self.connections()?;
        Ok(Picture {
            server: self.server.clone(),
            uptime: workers.iter().map(|it| it.uptime).max().unwrap_or_default(),
            workers,
            listeners: self.listeners()?,
            handshakes: handshakes(&self.inspector.handshakes()?, &sample),
            drops: drops(&sample),
            connections,
            looked_at,
        })
    }

    fn listeners(&self) -> Result<Vec<Listener>, Stop> {
        let mut all = Vec::new();
        for report in self.inspector.listeners()? {
            // A listener at all addresses has a defence at each of them, and one count of what was accepted.
            let accepted = Some(report.accepted).filter(|_| report.defence.len() == 1);
            all.extend(report.defence.iter().map(|it| Listener {
                address: it.address,
                level: it.level.to_string(),
                changes: it.changes,
                syns: it.syns,
                accepted,
            }));
        }
        Ok(all)
    }

    /// Connections that are worth a look, and how many were looked at.
    fn connections(&mut self) -> Result<(Vec<Connection>, u64), Stop> {
        self.number += 1;
        let Self { inspector, place, seen, number, .. } = self;
        let (mut candidates, mut looked_at) = (Candidates::default(), 0);
        inspector.connections_from(place, LOOKED_AT, |report| {
            looked_at += 1;
            candidates.offer(candidate(report, seen, *number));
        })?;
        seen.retain(|_, it| it.number + REMEMBERED > *number);
        Ok((candidates.chosen(), looked_at))
    }
}

/// What a connection is like now, and what it has done since it was seen before; it is seen now.
fn candidate(report: ConnectionReport, seen: &mut HashMap<(usize, ConnectionId), Seen>, number: u64) -> Candidate {
    let (name, tcp) = (report.id.map(|id| (report.worker, id)), report.tcp);
    let sequence = tcp.as_ref().map(|it| Sequence { received: it.rcv_nxt, acknowledged: it.snd_una });
    let connection = Connection {
        worker: report.worker,
        local: report.local,
        remote: report.remote,
        state: report.state.into_owned(),
        round_trip: tcp.as_ref().and_then(|it| it.rtt_us).map(Duration::from_micros),
        congestion_window: tcp.as_ref().map_or(0, |it| it.cwnd.into()),
        send_queue: report.send_queue,
        receive_queue: report.receive_queue,
        lost: tcp.as_ref().map_or(0, |it| it.lost.into()),
        retransmitted: tcp.as_ref().map_or(0, |it| it.retransmitted.into()),
        waits_for: report.waits_for.into_owned(),
        sequence,
    };
    let mut candidate = Candidate { connection, octets_per_second: 0.0, retransmitted: 0 };
    let Some((name, sequence)) = name.zip(sequence) else { return candidate };
    let now = Seen { at: Clock::now(), number, sequence, retransmitted: candidate.connection.retransmitted };
    if let Some(before) = seen.get(&name) {
        let octets = f64::from(sequence.received.wrapping_sub(before.sequence.received))
            + f64::from(sequence.acknowledged.wrapping_sub(before.sequence.acknowledged));
        candidate.octets_per_second = octets / now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        candidate.retransmitted = now.retransmitted.saturating_sub(before.retransmitted);
    }
    if seen.len() < MOST_REMEMBERED || seen.contains_key(&name) {
        seen.insert(name, now);
    }
    candidate
}

/// Those that are worth a look so far, by each of the orders in which somebody may want to see them.
#[derive(Default)]
struct Candidates([Vec<Candidate>; 4]);

impl Candidates {
    /// How much a candidate has of what an order is about; nothing, where it has none of it.
    fn rank(order: usize, it: &Candidate) -> f64 {
        let queues = (it.connection.send_queue + it.connection.receive_queue) as f64;
        match order {
            0 => it.octets_per_second + queues / 1e6,
            // What is lost now weighs more than what was once, and what waits more than that.
            1 => {
                it.retransmitted as f64 * 1e6
                    + it.connection.lost as f64
                    + it.connection.retransmitted as f64
                    + held(it)
            }
            2 => it.connection.round_trip.unwrap_or_default().as_secs_f64(),
            _ => queues,
        }
    }

    fn offer(&mut self, it: Candidate) {
        let mut it = it;
        // It stands in one list only, as all of them are shown; who has to leave one may be worth a place in the next.
        for (order, list) in self.0.iter_mut().enumerate() {
            if order > 0 && Self::rank(order, &it) <= 0.0 {
                continue;
            }
            list.push(it);
            if list.len() <= SHOWN {
                return;
            }
            let ranks = list.iter().map(|it| Self::rank(order, it)).enumerate();
            let Some((least, _)) = ranks.min_by(|(_, one), (_, other)| one.total_cmp(other)) else { return };
            it = list.swap_remove(least);
        }
    }

    fn chosen(self) -> Vec<Connection> {
        self.0.into_iter().flatten().map(|it| it.connection).collect()
    }
}

/// Octets that wait, where they may not be sent.
fn held(it: &Candidate) -> f64 {
    let waits = ["window", "recovery", "neighbour"].contains(&it.connection.waits_for.as_str());
    if waits { 1.0 + it.connection.send_queue as f64 } else { 0.0 }
}

/// A worker, whose batches are those since the picture before, where there is one.
fn worker(number: usize, it: &Snapshot, before: Option<&Histogram>) -> Worker {
    Worker {
        number,
        uptime: it.at.saturating_since(Instant::ZERO),
        asleep: it.asleep,
        frames: Both { received: it.frames_in, sent: it.frames_out },
        octets: Some(Both { received: it.stats.octets_received, sent: it.stats.octets_transmitted }),
        opened: it.stats.connections_opened,
        connections: it.connections.into(),
        half_open: it.half_open.into(),
        time_wait: it.time_wait.into(),
        retransmitted: it.stats.segments_retransmitted,
        memory: it.memory as u64,
        batch: before.and_then(|before| it.batches.since(before).quantile(990)),
    }
}

fn handshakes(of: &HandshakeReport, sample: &Sample) -> Handshakes {
    Handshakes {
        begun: of.begun,
        evicted: of.evicted,
        answered_by_xdp: of.cookies_sent_by_xdp,
        cookies_accepted: of.cookies_accepted,
        cookies_refused: of.cookies_refused,
        dropped_by_xdp: sample.verdicts().drops().map(|(.., count)| count).sum(),
    }
}

/// What workers have refused, and then what the programs have dropped.
fn drops(sample: &Sample) -> Vec<Refusal> {
    let mut sum = Drops::default();
    sample.snapshots().iter().for_each(|it| sum.merge(&it.drops));
    let of_workers = sum.iter().map(|(reason, count)| Refusal {
        reason: reason.name().to_owned(),
        meaning: reason.meaning().to_owned(),
        count,
    });
    let of_programs = sample
        .verdicts()
        .drops()
        .filter(|(.., count)| *count > 0)
        .map(|(name, meaning, count)| Refusal { reason: format!("xdp: {name}"), meaning: meaning.to_owned(), count });
    of_workers.chain(of_programs).collect()
}

#[cfg(test)]
mod tests;
