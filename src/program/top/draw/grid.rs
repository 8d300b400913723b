//! Rows in columns, of which the less important ones go where there is no room for all.

use super::{HEADING, Lines, Room};
use crate::top::text;
use ratatui::{style::Style, text::Line};

/// What is between two columns.
const GAP: u16 = 1;

/// One column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// Its heading.
    pub name: &'static str,
    /// How wide it is at least.
    pub width: u16,
    /// How wide it may become where there is room to spare.
    pub most: u16,
    /// Those with the highest rank go first; that of 0 never goes.
    pub rank: u8,
    /// Whether its text begins at the left, as names do; numbers end at the right.
    pub is_name: bool,
}

impl Column {
    /// One of numbers.
    pub const fn number(name: &'static str, width: u16, rank: u8) -> Self {
        Self { name, width, most: width, rank, is_name: false }
    }

    /// One of names.
    pub const fn name(name: &'static str, width: u16, most: u16, rank: u8) -> Self {
        Self { name, width, most, rank, is_name: true }
    }
}

/// Which columns there are room for, by their places, and how wide each is.
pub(super) fn fit(columns: &[Column], room: u16) -> Vec<(usize, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let taken = |kept: &[usize]| kept.iter().map(|&at| columns[at].width + GAP).sum::<u16>().saturating_sub(GAP);
    while taken(&kept) > room {
        let worst = kept.iter().copied().filter(|&at| columns[at].rank > 0).max_by_key(|&at| columns[at].rank);
        let Some(worst) = worst else { break };
        kept.retain(|&at| at != worst);
    }
    let mut spare = room.saturating_sub(taken(&kept));
    let widths = kept.into_iter().map(|at| {
        let Column { width, most, .. } = columns[at];
        let more = spare.min(most - width);
        spare -= more;
        (at, width + more)
    });
    widths.collect()
}

/// A row: what `cell` has for each column, told how wide it may be, and in which style.
pub(super) struct Row<'a> {
    pub cell: Box<dyn Fn(usize, usize) -> String + 'a>,
    pub style: Style,
}

/// A heading, and as many rows as there is room for; where some have none, the last line says how many.
pub(super) fn grid(columns: &[Column], rows: &[Row<'_>], room: Room) -> Lines {
    let fitted = fit(columns, room.columns);
    let line = |cell: &dyn Fn(usize, usize) -> String| {
        let cells = fitted.iter().map(|&(at, width)| {
            let width: usize = width.into();
            let text = text::cut(&cell(at, width), width);
            if columns[at].is_name { format!("{text:<width$}") } else { format!("{text:>width$}") }
        });
        let line = cells.collect::<Vec<_>>().join(" ");
        text::cut(line.trim_end(), room.columns.into())
    };
    let mut lines = vec![Line::styled(line(&|at, _| columns[at].name.to_owned()), HEADING)];
    let left = usize::from(room.rows).saturating_sub(1);
    let shown = if rows.len() <= left { rows.len() } else { left.saturating_sub(1) };
    lines.extend(rows[..shown].iter().map(|row| Line::styled(line(&row.cell), row.style)));
    if shown < rows.len() {
        lines.push(Line::from(text::cut(&format!("... and {} more", rows.len() - shown), room.columns.into())));
    }
    lines.truncate(room.rows.into());
    lines
}
