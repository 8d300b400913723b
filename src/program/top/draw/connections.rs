//! Connections that are worth a look.

use super::{
    ALARM, HEADING, Lines, Room,
    grid::{Column, Row, grid},
};
use crate::top::{history::History, picture::Connection, text, view::Order};
use ratatui::{style::Style, text::Line};
use std::cmp::Reverse;

/// What each column shows, in this order: see [`cell`].
const COLUMNS: &[Column] = &[
    Column::name("", 1, 1, 0),
    Column::name("peer", 21, 47, 0),
    Column::number("at", 6, 8),
    Column::number("in b/s", 6, 3),
    Column::number("out b/s", 7, 2),
    Column::number("rtt", 7, 4),
    Column::number("cwnd", 5, 7),
    Column::number("sendq", 5, 5),
    Column::number("recvq", 5, 9),
    Column::number("resent", 6, 5),
    Column::name("waits for", 11, 11, 1),
    Column::name("state", 12, 12, 10),
];

/// Words for those that have something to send, and cannot.
const HELD_BACK: [&str; 4] = ["window", "recovery", "congestion", "neighbour"];

/// Whether something is the matter.
fn is_unhappy(connection: &Connection, history: &History) -> bool {
    let is_held_back = connection.send_queue > 0 && HELD_BACK[..2].contains(&connection.waits_for.as_str())
        || connection.waits_for == HELD_BACK[3];
    connection.lost > 0 || is_held_back || history.of_connection(connection).retransmitted > 0.0
}

/// How much is the matter: what is lost now, then what has been.
fn unhappiness(connection: &Connection, history: &History) -> impl Ord + use<> {
    let is_held_back = connection.send_queue > 0 && HELD_BACK.contains(&connection.waits_for.as_str());
    let again = (history.of_connection(connection).retransmitted * 1_000.0) as u64;
    (is_unhappy(connection, history), again, connection.lost, is_held_back, connection.retransmitted)
}

/// Bits a second, both ways.
fn traffic(connection: &Connection, history: &History) -> u64 {
    let rates = history.of_connection(connection);
    (rates.received.unwrap_or_default() + rates.sent.unwrap_or_default()) as u64
}

/// Connections in an order; those that are equal by their ends, so that they stay where they are.
pub(super) fn in_order(history: &History, order: Order) -> Vec<&Connection> {
    let mut connections: Vec<&Connection> = history.last().connections.iter().collect();
    connections.sort_by_key(|it| (it.remote, it.local));
    let queues = |it: &Connection| it.send_queue + it.receive_queue;
    match order {
        Order::Busiest => connections.sort_by_key(|it| Reverse((traffic(it, history), queues(it)))),
        Order::Unhappiest => connections.sort_by_key(|it| Reverse(unhappiness(it, history))),
        Order::RoundTrip => connections.sort_by_key(|it| Reverse(it.round_trip)),
        Order::Queue => connections.sort_by_key(|it| Reverse(queues(it))),
    }
    connections
}

/// Those with something the matter, the worst first.
pub(super) fn unhappy(history: &History) -> Vec<&Connection> {
    let all = in_order(history, Order::Unhappiest);
    all.into_iter().filter(|it| is_unhappy(it, history) || it.retransmitted > 0).collect()
}

fn cell(connection: &Connection, history: &History, column: usize, width: usize) -> String {
    let rates = history.of_connection(connection);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), text::short);
    match column {
        0 if is_unhappy(connection, history) => "!".to_owned(),
        0 => String::new(),
        1 => text::address(connection.remote, width),
        2 => format!(":{}", connection.local.port()),
        3 => rate(rates.received),
        4 => rate(rates.sent),
        5 => connection.round_trip.map_or_else(|| "-".to_owned(), text::time),
        6 => text::count(connection.congestion_window),
        7 => text::count(connection.send_queue),
        8 => text::count(connection.receive_queue),
        9 => text::count(connection.retransmitted),
        10 => connection.waits_for.clone(),
        _ => connection.state.clone(),
    }
}

/// These connections as a table.
pub(super) fn table(connections: &[&Connection], history: &History, room: Room) -> Lines {
    let rows: Vec<Row<'_>> = connections
        .iter()
        .map(|&connection| Row {
            cell: Box::new(move |column, width| cell(connection, history, column, width)),
            style: if is_unhappy(connection, history) { ALARM } else { Style::new() },
        })
        .collect();
    grid(COLUMNS, &rows, room)
}

pub(super) fn lines(history: &History, order: Order, room: Room) -> Lines {
    let connections = in_order(history, order);
    let open = history.last().total(|it| it.connections);
    let looked_at = text::count(history.last().looked_at);
    let shown = format!("by {}: {looked_at} of {} looked at", order.name(), text::count(open));
    let mut lines = vec![Line::styled(text::cut(&shown, room.columns.into()), HEADING)];
    lines.extend(table(&connections, history, Room { rows: room.rows.saturating_sub(1), ..room }));
    lines
}
