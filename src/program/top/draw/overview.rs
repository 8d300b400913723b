//! Everything at a glance.

use super::{
    ALARM, HEADING, Lines, Room, as_fits, connections, defence, drops,
    grid::{Column, Row, grid},
    named, spark,
};
use crate::top::{
    history::{History, WorkerRates},
    picture::{Connection, Worker},
    text,
    view::Order,
};
use ratatui::{style::Style, text::Line};

const WORKERS: &[Column] = &[
    Column::number("worker", 6, 0),
    Column::number("busy", 5, 0),
    Column::number("in fr/s", 7, 2),
    Column::number("out fr/s", 8, 3),
    Column::number("in b/s", 6, 5),
    Column::number("out b/s", 7, 5),
    Column::number("conns", 5, 1),
    Column::number("opened/s", 8, 4),
    Column::number("resent/s", 8, 6),
    Column::number("batch p99", 9, 7),
];
/// Workers that are shown one by one at most, where there is more to show.
const MOST_WORKERS: u16 = 4;
/// A worker that waits for less of its time than this has little left to give.
const NEARLY_ALL: f64 = 0.95;

fn cell(worker: &Worker, rates: &WorkerRates, column: usize) -> String {
    let bits = |way: usize| rates.bits.map_or_else(|| "-".to_owned(), |bits| text::short(bits[way]));
    match column {
        0 => worker.number.to_string(),
        1 => format!("{:.0} %{}", rates.busy * 100.0, if rates.busy > NEARLY_ALL { "!" } else { "" }),
        2 => text::short(rates.frames[0]),
        3 => text::short(rates.frames[1]),
        4 => bits(0),
        5 => bits(1),
        6 => text::count(worker.connections),
        7 => text::short(rates.opened),
        8 => text::short(rates.retransmitted),
        _ => worker.batch.map_or_else(|| "-".to_owned(), text::time),
    }
}

fn traffic(history: &History, room: Room) -> Lines {
    let (last, picture) = (history.moments().next_back().copied().unwrap_or_default(), history.last());
    let unit = if history.has_octets() { "bit/s" } else { "fr/s" };
    let frames = |way: fn(&Worker) -> u64| format!("{} fr/s", text::short(history.rate(|it| it.total(way))));
    let number = |rate: f64, unit: &str| format!("{} {unit}", text::short(rate));
    let ended = format!("{} TIME-WAIT", text::count(picture.total(|it| it.time_wait)));
    let half_open = format!("{} half-open", text::count(picture.total(|it| it.half_open)));
    vec![
        spark::row(
            ("received", number(last.received, unit), frames(|it| it.frames.received)),
            history,
            |it| it.received,
            room,
        ),
        spark::row(("sent", number(last.sent, unit), frames(|it| it.frames.sent)), history, |it| it.sent, room),
        spark::row(
            ("connections", text::short(last.connections.max(open(history))), ended),
            history,
            |it| it.connections,
            room,
        ),
        spark::row(("opened", format!("{}/s", text::short(last.opened)), half_open), history, |it| it.opened, room),
    ]
}

/// Connections now, of which there may be a picture before there are rates.
fn open(history: &History) -> f64 {
    history.last().total(|it| it.connections) as f64
}

/// Whether anything needs a look, in two lines.
fn pressure(history: &History, room: Room) -> Lines {
    let listeners = defence::by_pressure(history.last());
    let worst = listeners.first().filter(|it| it.level != defence::CALM);
    let last = history.moments().next_back().copied().unwrap_or_default();
    let mut first = match worst {
        Some(worst) => vec![format!("defence: {}!", worst.level), format!("at {}", text::address(worst.address, 24))],
        None => vec!["defence: at rest".to_owned()],
    };
    first.push(named("SYNs", format!("{}/s", text::short(last.syns))));
    let mut second = vec![format!("refused {}/s", text::short(last.drops))];
    let drops = drops::in_order(history);
    second.extend(drops.first().filter(|(_, rate)| *rate > 0.0).map(|(drop, _)| format!("most {}", drop.reason)));
    let again = format!("{}/s", text::short(history.rate(|it| it.total(|worker| worker.retransmitted))));
    second.extend([named("resent", again), named("memory", text::octets(history.last().total(|it| it.memory)))]);
    let style = if worst.is_some() { ALARM } else { Style::new() };
    vec![as_fits(&first, room.columns).style(style), as_fits(&second, room.columns)]
}

fn workers(history: &History, room: Room) -> Lines {
    let rows: Vec<Row<'_>> = history
        .last()
        .workers
        .iter()
        .map(|worker| {
            let rates = history.of_worker(worker);
            let style = if rates.busy > NEARLY_ALL { ALARM } else { Style::new() };
            Row { cell: Box::new(move |column, _| cell(worker, &rates, column)), style }
        })
        .collect();
    grid(WORKERS, &rows, room)
}

/// A few connections under a heading that says which; nothing, where there is no room for any.
fn some(heading: &str, connections: &[&Connection], history: &History, room: Room) -> Lines {
    if room.rows < 2 {
        return Vec::new();
    }
    let mut lines = vec![Line::styled(text::cut(heading, room.columns.into()), HEADING)];
    if connections.is_empty() {
        lines.push(Line::from("  none"));
    } else if room.rows < 3 {
        lines.clear();
        lines.extend(connections::table(connections, history, room));
    } else {
        lines.extend(connections::table(connections, history, Room { rows: room.rows - 1, ..room }));
    }
    lines
}

pub(super) fn lines(history: &History, room: Room) -> Lines {
    let mut lines = traffic(history, room);
    lines.extend(pressure(history, room));
    let left = |lines: &Lines| room.rows.saturating_sub(lines.len() as u16);
    let has_room = room.rows > 18;
    let gap = |lines: &mut Lines| lines.extend(has_room.then(Line::default));
    gap(&mut lines);
    let rows = left(&lines).min(MOST_WORKERS + 2);
    lines.extend(workers(history, Room { rows, ..room }));
    gap(&mut lines);
    let rows = left(&lines);
    // Both have the same room, as long as there are enough of either.
    let (busiest, unhappy) = (connections::in_order(history, Order::Busiest), connections::unhappy(history));
    let wanted = unhappy.len().max(1) as u16 + 2;
    let for_busiest = rows.saturating_sub(wanted.min(rows / 2));
    let needed = (busiest.len().max(1) as u16 + 2).min(for_busiest);
    lines.extend(some("busiest", &busiest, history, Room { rows: needed, ..room }));
    if left(&lines) > wanted {
        gap(&mut lines);
    }
    lines.extend(some("in trouble", &unhappy, history, Room { rows: left(&lines), ..room }));
    lines
}
