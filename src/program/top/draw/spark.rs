//! A line over time, in eighths of a row.

use super::Room;
use crate::top::{
    history::{History, Moment},
    text,
};
use ratatui::{
    style::{Color, Style},
    text::{Line, Span},
};

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a name, of a number, and of what is said beside it.
const NAME: usize = 12;
const NUMBER: usize = 12;
const BESIDE: usize = 16;
/// A line that is shorter says nothing.
const LEAST: usize = 8;

/// So many columns of values, the last ones at the right; the highest one fills its row, and what is more than nothing is seen.
pub(super) fn spark(values: &[f64], columns: usize) -> String {
    let values = &values[values.len().saturating_sub(columns)..];
    let highest = values.iter().copied().fold(0.0, f64::max);
    let height = |value: f64| {
        let eighths = if highest > 0.0 { (value / highest * 8.0).round() } else { 0.0 };
        if value > 0.0 { (eighths as usize).clamp(1, 8) } else { 0 }
    };
    let line = values.iter().map(|&value| EIGHTHS[height(value)]);
    std::iter::repeat_n(' ', columns - values.len()).chain(line).collect()
}

/// A name, a number with what is said beside it, and how it went.
pub(super) fn row(
    (name, number, beside): (&str, String, String),
    history: &History,
    value: impl Fn(&Moment) -> f64,
    room: Room,
) -> Line<'static> {
    let columns: usize = room.columns.into();
    let mut said = format!("{name:<NAME$}{number:>NUMBER$}");
    if columns < NAME + NUMBER {
        said = text::cut(&format!("{name} {number}"), columns);
    } else if columns >= NAME + NUMBER + BESIDE + LEAST + 4 {
        said = format!("{said}  {beside:<BESIDE$}");
    }
    let left = columns.saturating_sub(said.chars().count() + 2);
    if left < LEAST {
        return Line::from(said);
    }
    let values: Vec<f64> = history.moments().map(value).collect();
    let line = spark(&values, left);
    Line::from(vec![Span::raw(said), Span::raw("  "), Span::styled(line, Style::new().fg(Color::Cyan))])
}
