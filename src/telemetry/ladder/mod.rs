//! Sequence diagrams: each connection's life, segment by segment and state by state.

mod diagram;

#[cfg(test)]
mod tests;

use self::diagram::{Diagram, Row};
use crate::{
    tcp::State,
    wire::{self, ChecksumPolicy, FourTuple, Packet},
    worker::{Direction, Tap, TapEvent},
};
use std::{
    collections::HashMap,
    io::Write,
    sync::{Mutex, PoisonError},
};

/// When a diagram is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LadderMode {
    /// Whole, when its connection has ended: diagrams of several connections stay apart.
    #[default]
    Whole,
    /// Line by line, as things happen: for watching one connection at a time.
    Live,
}

/// How diagrams are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderOptions {
    /// When they are printed.
    pub mode: LadderMode,
    /// Lines of plain data and acknowledgments in a row after which further ones are summed up in one. Default 12.
    pub fold_after: usize,
    /// Connections followed at once; further ones are counted only. Default 1,024.
    pub connections: usize,
}

impl Default for LadderOptions {
    fn default() -> Self {
        Self { mode: LadderMode::default(), fold_after: 12, connections: 1_024 }
    }
}

/// Draws diagrams. Several workers may share it.
pub struct Ladder {
    inner: Mutex<Inner>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    options: LadderOptions,
    diagrams: HashMap<FourTuple, Diagram>,
    /// Whose line was printed last in live mode; another connection's begins with a heading.
    speaking: Option<FourTuple>,
    not_shown: u64,
}

impl Ladder {
    /// Draws on `out`. Where that fails, as on a closed pipe, nothing is drawn and nobody is bothered.
    pub fn new(out: impl Write + Send + 'static, options: LadderOptions) -> Self {
        let out = Box::new(out);
        Self { inner: Mutex::new(Inner { out, options, diagrams: HashMap::new(), speaking: None, not_shown: 0 }) }
    }

    /// Prints the diagrams of connections that have not ended.
    pub fn finish(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open: Vec<Diagram> = inner.diagrams.drain().map(|(_, diagram)| diagram).collect();
        open.sort_by_key(Diagram::begun);
        for mut diagram in open {
            diagram.unfinished();
            inner.print_rest(diagram);
        }
        if inner.not_shown > 0 {
            let line = format!("({} segments of further connections are not shown)", inner.not_shown);
            inner.print(&line);
        }
        inner.out.flush().ok();
    }
}

impl Inner {
    fn print(&mut self, line: &str) {
        writeln!(self.out, "{line}").ok();
    }

    fn segment(&mut self, tuple: FourTuple, row: &Row<'_>) {
        if !self.diagrams.contains_key(&tuple) && self.diagrams.len() >= self.options.connections {
            self.not_shown += 1;
            return;
        }
        let fold_after = self.options.fold_after;
        let diagram = self.diagrams.entry(tuple).or_insert_with(|| Diagram::new(tuple, row.at, fold_after));
        diagram.add(row);
        if diagram.has_ended() {
            if let Some(diagram) = self.diagrams.remove(&tuple) {
                self.print_rest(diagram);
            }
        } else if self.options.mode == LadderMode::Live {
            self.print_news(tuple);
        }
    }

    fn print_news(&mut self, tuple: FourTuple) {
        let Some(diagram) = self.diagrams.get_mut(&tuple) else { return };
        let news = diagram.take_lines();
        if !news.is_empty() && self.speaking.replace(tuple) != Some(tuple) {
            self.print(&diagram::heading(&tuple));
        }
        for line in news {
            self.print(&line);
        }
        self.out.flush().ok();
    }

    fn print_rest(&mut self, mut diagram: Diagram) {
        let tuple = diagram.tuple();
        if self.speaking.take() != Some(tuple) {
            self.print(&diagram::heading(&tuple));
        }
        for line in diagram.take_lines() {
            self.print(&line);
        }
        self.print("");
        self.out.flush().ok();
    }
}

impl Tap for Ladder {
    fn frame(&self, event: &TapEvent<'_>) {
        let Ok(parsed) = wire::parse(event.frame, ChecksumPolicy::AcceptPartial) else { return };
        let Packet::Tcp(ip, segment) = parsed.packet else { return };
        let seen = FourTuple::of_received(&ip, &segment.header);
        let tuple = match event.direction {
            Direction::Received => seen,
            Direction::Transmitted => seen.reversed(),
        };
        let state = event.state.unwrap_or(State::Closed);
        let row = Row { at: event.at, direction: event.direction, segment: &segment, state };
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).segment(tuple, &row);
    }
}
