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
use std::{collections::HashMap, net::SocketAddr, ops::ControlFlow};

/// Connections that one client may follow: they have to be held, to be told when they are no more.
const MOST: usize = 16_384;

struct Followed {
    connection: Box<ConnectionReport>,
    /// The number of the look at which it was seen last.
    seen: u64,
}

/// Looks once a second. What begins and ends between two looks is not seen.
pub(super) fn connections(inspector: &Inspector, rows: &mut Rows<'_, '_, '_>) -> Result<(), Stop> {
    let mut known: HashMap<(usize, ConnectionId), Followed> = HashMap::new();
    for number in 1.. {
        rows.hearer.say(&Piece::Tick(Tick { number, span_ms: 0 }))?;
        look(inspector, rows, &mut known, number)?;
        let gone: Vec<_> = known.extract_if(|_, followed| followed.seen != number).map(|(_, gone)| gone).collect();
        if !gone.is_empty() {
            let mut ends = unhappy(inspector)?;
            for Followed { connection, .. } in gone {
                let end = ends.remove(&(connection.local, connection.remote));
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
    inspector.connections_by_piece(|piece| {
        let mut taken = piece.into_iter().try_for_each(|connection| take(rows, known, number, connection));
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
    number: u64,
    connection: ConnectionReport,
) -> Result<(), Stop> {
    // A handshake has no name yet.
    let Some(id) = connection.id else { return Ok(()) };
    let name = (connection.worker, id);
    // What was followed once is, though its numbers may be others now.
    if let Some(followed) = known.get_mut(&name) {
        *followed.connection = connection;
        followed.seen = number;
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
    rows.hearer.say(&match number {
        1 => Piece::Connection(Box::new(connection.clone())),
        _ => Piece::Began(Box::new(connection.clone())),
    })?;
    known.insert(name, Followed { connection: Box::new(connection), seen: number });
    Ok(())
}

/// The unhappy ends of late, by their ends, the last one of each.
fn unhappy(inspector: &Inspector) -> Result<HashMap<(SocketAddr, SocketAddr), EndReport>, Stop> {
    let mut ends = HashMap::new();
    inspector.ends(|end| {
        ends.entry((end.local, end.remote)).or_insert(end);
        ControlFlow::Continue(())
    })?;
    Ok(ends)
}
