//! What the keys do, and what the words mean.

use super::{HEADING, Lines, Room};
use ratatui::text::Line;

const TEXT: &[&str] = &[
    "q           ends",
    "p, space    stands still, and goes on",
    "tab, 1-4    another screen",
    "s           another order of connections",
    "?, h, esc   this page, and back",
    "",
    "A ! stands before a connection that is in trouble: something was lost, or it",
    "has data and may not send. What it waits for is in the last column:",
    "  application  for nothing: all that was written was sent",
    "  window       for the peer to read what it has got",
    "  congestion   for acknowledgments: the congestion window is full",
    "  recovery     for acknowledgments, while a loss is repaired",
    "  neighbour    for the link address of the next hop",
    "  turn         for its turn, or for room in a ring",
    "cwnd and queues are octets; resent: segments sent again, so far.",
    "A listener is defended by its cache, its workers, XDP, or XDP with a budget.",
];
/// Where the keys end.
const KEYS: usize = 5;

pub(super) fn lines(room: Room) -> Lines {
    let mut lines = Vec::new();
    if usize::from(room.rows) > TEXT.len() + 1 {
        lines.extend([Line::styled("Keys", HEADING), Line::default()]);
    }
    // Where there is not much room, the keys are what is needed.
    let wide = TEXT.iter().all(|it| it.chars().count() <= usize::from(room.columns));
    let text = if wide { TEXT } else { &TEXT[..KEYS] };
    lines.extend(text.iter().map(|&line| Line::from(line)));
    lines
}
