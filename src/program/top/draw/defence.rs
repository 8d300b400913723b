//! Listeners, handshakes and cookies: what a flood meets.

use super::{
    ALARM, Lines, Room, as_fits,
    grid::{Column, Row, grid},
    named, spark,
};
use crate::top::{
    history::History,
    picture::{Handshakes, Listener, Picture},
    text,
};
use ratatui::{style::Style, text::Line};

const COLUMNS: &[Column] = &[
    Column::name("listener", 10, 47, 0),
    Column::name("defence", 9, 9, 0),
    Column::number("SYNs/s", 6, 1),
    Column::number("accepted/s", 10, 2),
    Column::number("SYNs", 6, 3),
    Column::number("accepted", 8, 4),
    Column::number("changes", 7, 5),
];

/// Columns that words take.
const WORDS: u16 = 36;

/// What a listener is defended by when nothing is the matter.
pub(super) const CALM: &str = "cache";

/// How high a level is, of those there are.
fn height(level: &str) -> usize {
    [CALM, "worker", "xdp", "budget"].iter().position(|&it| it == level).unwrap_or_default()
}

/// Listeners, those under pressure first.
pub(super) fn by_pressure(picture: &Picture) -> Vec<&Listener> {
    let mut listeners: Vec<&Listener> = picture.listeners.iter().collect();
    listeners.sort_by_key(|it| (std::cmp::Reverse(height(&it.level)), it.address));
    listeners
}

fn cell(listener: &Listener, history: &History, column: usize, width: usize) -> String {
    let [syns, accepted] = history.of_listener(listener.address);
    let count = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), text::count);
    match column {
        0 => text::address(listener.address, width),
        // The higher, the more signs.
        1 => format!("{}{}", listener.level, "!".repeat(height(&listener.level))),
        2 => text::short(syns),
        3 => listener.accepted.map_or_else(|| "-".to_owned(), |_| text::short(accepted)),
        4 => text::count(listener.syns),
        5 => count(listener.accepted),
        _ => text::count(listener.changes),
    }
}

/// What is behind these lines.
fn in_words(history: &History, room: Room) -> Lines {
    let rate = |count: fn(&Handshakes) -> u64| format!("{}/s", text::short(history.rate(|it| count(&it.handshakes))));
    let half_open = text::count(history.last().total(|it| it.half_open));
    let parts = [
        vec![named("by XDP: answered", rate(|it| it.answered_by_xdp)), named("dropped", rate(|it| it.dropped_by_xdp))],
        vec![
            named("cookies: accepted", rate(|it| it.cookies_accepted)),
            named("refused", rate(|it| it.cookies_refused)),
        ],
        vec![
            named("handshakes: begun", rate(|it| it.begun)),
            named("forgotten", rate(|it| it.evicted)),
            named("half-open", half_open),
        ],
    ];
    parts.iter().map(|parts| as_fits(parts, room.columns)).collect()
}

pub(super) fn lines(history: &History, room: Room) -> Lines {
    let last = history.moments().next_back().copied().unwrap_or_default();
    let mut lines = vec![
        spark::row(("SYNs", format!("{}/s", text::short(last.syns)), String::new()), history, |it| it.syns, room),
        spark::row(("opened", format!("{}/s", text::short(last.opened)), String::new()), history, |it| it.opened, room),
        spark::row(("refused", format!("{}/s", text::short(last.drops)), String::new()), history, |it| it.drops, room),
    ];
    if room.columns >= WORDS {
        lines.extend(in_words(history, room));
    }
    if room.rows > 14 {
        lines.push(Line::default());
    }
    let listeners = by_pressure(history.last());
    let rows: Vec<Row<'_>> = listeners
        .iter()
        .map(|&listener| Row {
            cell: Box::new(move |column, width| cell(listener, history, column, width)),
            style: if listener.level == CALM { Style::new() } else { ALARM },
        })
        .collect();
    let left = room.rows.saturating_sub(lines.len() as u16);
    lines.extend(grid(COLUMNS, &rows, Room { rows: left, ..room }));
    lines
}
