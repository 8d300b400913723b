//! Connections, followed: which have begun, and which have ended, since the last look.

use super::{
    Departure, Piece, Tick,
    answer::{INTERVAL, Rows, Stop},
};
use crate::{
    runtime::{
        Inspector,
        inspect::{ConnectionReport, EndReport},
    },
    stack::ConnectionId,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::ControlFlow,
    time::{Duration, Instant as Clock},
};

/// Connections that one client may follow: they have to be held, to be told when they are no more.
const MOST: usize = 16_384;

/// How much older than it is here a moment may be at a worker, whose clock stands still within a turn.
const TURN: Duration = Duration::from_millis(10);

struct Followed {
    connection: Box<ConnectionReport>,
    /// The look at which it was seen last.
    seen: Look,
}

/// A look at a piece of what there is.
#[derive(Clone, Copy)]
struct Look {
    number: u64,
    /// When the worker was asked.
    at: Clock,
}

/// Unhappy ends, by the worker and both ends.
pub(super) type Ends = HashMap<(usize, SocketAddr, SocketAddr), EndReport>;

/// Looks once a second. What begins and ends between two looks is not seen.
pub(super) fn connections(inspector: &Inspector, rows: &mut Rows<'_, '_, '_>) -> Result<(), Stop> {
    let mut known: HashMap<(usize, ConnectionId), Followed> = HashMap::new();
    for number in 1.. {
        rows.hearer.say(&Piece::Tick(Tick { number, span_ms: 0 }))?;
        look(inspector, rows, &mut known, number)?;
        let gone: Vec<_> =
            known.extract_if(|_, followed| followed.seen.number != number).map(|(_, gone)| gone).collect();
        if !gone.is_empty() {
            let mut ends = unhappy(inspector)?;
            for Followed { connection, seen } in gone {
                let end = end_of(&mut ends, &connection, seen.at.elapsed());
                rows.hearer.say(&Piece::Ended(Box::new(Departure { connection: *connection, end })))?;
            }
        }
        rows.hearer.wait(INTERVAL)?;
    }
    Ok(())
}

fn look(
    inspector: &Inspector,
    rows: &mut Rows<'_, '_, '_>,
    known: &mut HashMap<(usize, ConnectionId), Followed>,
    number: u64,
) -> Result<(), Stop> {
    let mut stop = None;
    let mut look = Look { number, at: Clock::now() };
    inspector.connections_by_piece(|piece| {
        let mut taken = piece.into_iter().try_for_each(|connection| take(rows, known, look, connection));
        look.at = Clock::now();
        if taken.is_ok() {
            taken = rows.sign().map_err(Stop::Gone);
        }
        stop = taken.err();
        if stop.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    stop.map_or(Ok(()), Err)
}

/// One that is there.
fn take(
    rows: &mut Rows<'_, '_, '_>,
    known: &mut HashMap<(usize, ConnectionId), Followed>,
    look: Look,
    connection: ConnectionReport,
) -> Result<(), Stop> {
    // A handshake has no name yet.
    let Some(id) = connection.id else { return Ok(()) };
    let name = (connection.worker, id);
    // What was followed once is, though its numbers may be others now.
    if let Some(followed) = known.get_mut(&name) {
        *followed.connection = connection;
        followed.seen = look;
        return Ok(());
    }
    if !rows.wants(&connection) {
        return Ok(());
    }
    if known.len() >= MOST {
        let why = format!("more than {MOST} connections match, too many to be followed: narrow it by a filter");
        return Err(Stop::Refused(why));
    }
    // Those of the first look have begun before.
    rows.hearer.say(&match look.number {
        1 => Piece::Connection(Box::new(connection.clone())),
        _ => Piece::Began(Box::new(connection.clone())),
    })?;
    known.insert(name, Followed { connection: Box::new(connection), seen: look });
    Ok(())
}

/// The unhappy ends of late, the last one of each.
fn unhappy(inspector: &Inspector) -> Result<Ends, Stop> {
    let mut ends = Ends::new();
    inspector.ends(|end| {
        ends.entry((end.worker, end.local, end.remote)).or_insert(end);
        ControlFlow::Continue(())
    })?;
    Ok(ends)
}

/// How a connection ended, where it did so unhappily since it was seen, which is so long ago: an earlier end is that of another one, which had
/// the same ports.
pub(super) fn end_of(ends: &mut Ends, connection: &ConnectionReport, unseen: Duration) -> Option<EndReport> {
    let end = ends.remove(&(connection.worker, connection.local, connection.remote))?;
    (Duration::from_millis(end.ago_ms) <= unseen + TURN).then_some(end)
}
