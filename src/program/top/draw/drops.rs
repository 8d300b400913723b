//! What is refused, and why.

use super::{
    Lines, Room,
    grid::{Column, Row, grid},
    spark,
};
use crate::top::{history::History, picture::Refusal, text};
use ratatui::{style::Style, text::Line};
use std::cmp::Reverse;

const COLUMNS: &[Column] = &[
    Column::name("reason", 12, 26, 0),
    Column::number("/s", 5, 0),
    Column::number("in all", 6, 1),
    Column::name("what that means", 20, 200, 2),
];

/// Reasons that occurred: what is refused now first, then what was refused most.
pub(super) fn in_order(history: &History) -> Vec<(&Refusal, f64)> {
    let drops = history.last().drops.iter().filter(|it| it.count > 0);
    let mut drops: Vec<_> = drops.map(|it| (it, history.of_drop(&it.reason))).collect();
    drops.sort_by(|(one, a), (other, b)| {
        b.total_cmp(a)
            .then_with(|| Reverse(one.count).cmp(&Reverse(other.count)))
            .then_with(|| one.reason.cmp(&other.reason))
    });
    drops
}

pub(super) fn lines(history: &History, room: Room) -> Lines {
    let last = history.moments().next_back().copied().unwrap_or_default();
    let in_all: u64 = history.last().drops.iter().map(|it| it.count).sum();
    let beside = format!("{} in all", text::count(in_all));
    let number = format!("{}/s", text::short(last.drops));
    let mut lines = vec![spark::row(("refused", number, beside), history, |it| it.drops, room)];
    if room.rows > 14 {
        lines.push(Line::default());
    }
    let drops = in_order(history);
    if drops.is_empty() {
        lines.push(Line::from(text::cut("nothing was refused so far", room.columns.into())));
        return lines;
    }
    let rows: Vec<Row<'_>> = drops
        .iter()
        .map(|&(drop, rate)| Row {
            cell: Box::new(move |column, _| match column {
                0 => drop.reason.clone(),
                1 => text::short(rate),
                2 => text::count(drop.count),
                _ => drop.meaning.clone(),
            }),
            style: Style::new(),
        })
        .collect();
    let left = room.rows.saturating_sub(lines.len() as u16);
    lines.extend(grid(COLUMNS, &rows, Room { rows: left, ..room }));
    lines
}
