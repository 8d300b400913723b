//! One screen, as text.

use super::{History, Look, TopError, View, draw};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
use std::time::Duration;

/// Takes two pictures, which is what rates need, and draws a screen of so many columns and rows. They come every `interval`, for which
/// `look` waits.
///
/// # Errors
/// [`TopError::NoPicture`] where there is none.
pub fn once(
    view: &View,
    interval: Duration,
    (columns, rows): (u16, u16),
    mut look: impl Look,
) -> Result<String, TopError> {
    let mut history = History::of(look().map_err(TopError::NoPicture)?);
    history.push(look().map_err(TopError::NoPicture)?);
    Ok(text_of(view, &history, interval, (columns, rows)))
}

/// A screen as lines of text, without what is blank at their ends.
pub(super) fn text_of(view: &View, history: &History, interval: Duration, (columns, rows): (u16, u16)) -> String {
    // It draws in memory, where nothing can fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| draw(view, history, interval, frame));
    lines(terminal.backend().buffer())
}

fn lines(buffer: &Buffer) -> String {
    let rows = buffer.area.rows().map(|row| {
        let line: String =
            row.columns().filter_map(|cell| buffer.cell((cell.x, cell.y))).map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    let mut text = rows.collect::<Vec<_>>().join("\n");
    text.truncate(text.trim_end().len());
    text
}
