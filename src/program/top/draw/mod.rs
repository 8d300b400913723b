//! A screen, made of what is known and of what has been chosen, and of nothing else.
//!
//! What a colour says is said by a word or a sign as well: a terminal may have none, and so may whoever looks at it.

mod connections;
mod defence;
mod drops;
mod grid;
mod help;
mod overview;
mod spark;

use super::{
    history::History,
    text,
    view::{Screen, View},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use std::time::Duration;

/// What there has to be room for: columns and rows.
const LEAST: (u16, u16) = (20, 6);
/// Columns from which on names are written out.
const WIDE: u16 = 60;

/// What is said of what needs a look.
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// Headings.
const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);
/// What is beside the point.
const QUIET: Style = Style::new().fg(Color::DarkGray);

/// Lines of a screen, of which there are no more than fit.
type Lines = Vec<Line<'static>>;

/// What a screen has room for.
#[derive(Clone, Copy)]
struct Room {
    columns: u16,
    rows: u16,
}

/// Draws what has been chosen of what is known, in as much room as there is.
pub fn draw(view: &View, history: &History, interval: Duration, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (columns, rows) = LEAST;
        let sentence = format!("too small: `xskip top` takes {columns} × {rows}, `xskip show` none");
        return frame.render_widget(Paragraph::new(sentence).wrap(Wrap { trim: true }), area);
    }
    let rows = [1, 1].map(Constraint::Length);
    let [title, tabs, body, keys] =
        Layout::vertical([rows[0], rows[1], Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(title_line(view, history, interval, title), title);
    frame.render_widget(tabs_line(view, tabs.width), tabs);
    frame.render_widget(keys_line(keys.width), keys);
    let room = Room { columns: body.width, rows: body.height };
    let mut lines = match (view.has_help, view.screen) {
        (true, _) => help::lines(room),
        (_, Screen::Overview) => overview::lines(history, room),
        (_, Screen::Connections) => connections::lines(history, view.order, room),
        (_, Screen::Defence) => defence::lines(history, room),
        (_, Screen::Drops) => drops::lines(history, room),
    };
    lines.truncate(room.rows.into());
    frame.render_widget(Paragraph::new(lines), body);
}

fn title_line(view: &View, history: &History, interval: Duration, area: Rect) -> Line<'static> {
    let picture = history.last();
    let workers = match picture.workers.len() {
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    };
    let state = match (view.is_paused, history.has_rates()) {
        (true, _) => "PAUSED".to_owned(),
        (_, false) => "no rates yet".to_owned(),
        _ => format!("every {}", text::time(interval)),
    };
    let long = format!("xskip top  {}, up {}, {workers}", picture.server, text::lasted(picture.uptime));
    let width: usize = area.width.into();
    let room = width.saturating_sub(state.len() + 2);
    let said = if room >= 30 { text::cut(&long, room) } else { text::cut("xskip top", room) };
    let gap = width.saturating_sub(said.chars().count() + state.chars().count());
    let style = if view.is_paused { ALARM } else { Style::new() };
    Line::from(vec![Span::styled(said, HEADING), Span::raw(" ".repeat(gap)), Span::styled(state, style)])
}

/// The screens' names; that of this one is in brackets.
fn tabs_line(view: &View, columns: u16) -> Line<'static> {
    let spans = Screen::ALL.iter().enumerate().map(|(index, &screen)| {
        let number = index + 1;
        let is_this = screen == view.screen;
        let name = if is_this || columns >= WIDE { format!("{number} {}", screen.name()) } else { number.to_string() };
        if is_this {
            Span::styled(format!("[{name}]"), Style::new().add_modifier(Modifier::REVERSED))
        } else {
            Span::raw(format!(" {name} "))
        }
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn keys_line(columns: u16) -> Line<'static> {
    let keys = match columns {
        WIDE.. => "q quit   p pause   tab or 1-4 another screen   s other order   ? help",
        40.. => "q quit  p pause  1-4 screen  ? help",
        _ => "q quit  ? help",
    };
    Line::styled(keys, QUIET)
}

/// A number beside what it is.
fn named(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name} {value}")
}

/// As many of these as a line has room for, the first ones first.
fn as_fits(parts: &[String], columns: u16) -> Line<'static> {
    let mut line = String::new();
    for part in parts {
        let gap = if line.is_empty() { "" } else { "   " };
        if line.chars().count() + gap.len() + part.chars().count() > columns.into() {
            break;
        }
        line.push_str(gap);
        line.push_str(part);
    }
    if line.is_empty() {
        line = parts.first().map(|it| text::cut(it, columns.into())).unwrap_or_default();
    }
    Line::from(line)
}
