//! Sequence diagrams: each connection's life, segment by segment and state by state.
//!
//! Workers never wait for whoever reads them. A thread of its own draws, and where that cannot keep up, segments are lost: a line
//! between the diagrams says how many.

mod diagram;

#[cfg(test)]
mod tests;

use self::diagram::{Diagram, Row};
use super::lookout::{Ended, Lookout, Metered, Observer, Progress, Room};
use crate::{
    tcp::State,
    wire::{self, ChecksumPolicy, FourTuple, InterfaceId, Packet},
    worker::{Direction, Tap, TapEvent},
};
use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

/// What may wait to be drawn, while as much again is being drawn.
const ROOM: Room = Room { frames: 1 << 16, octets: 4 << 20 };

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

/// What a ladder has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderSummary {
    /// Frames that it has dealt with.
    pub frames: u64,
    /// Frames that are missing, because they came faster than they could be drawn and read.
    pub lost: u64,
    /// Whether nobody took the last of it, so that it is not whole.
    pub unread: bool,
}

/// Draws diagrams. Several workers may share it, and none of them ever waits for it.
pub struct Ladder {
    lookout: Lookout<Drawing>,
}

/// All diagrams, as far as they are drawn.
struct Drawing {
    out: Metered<Box<dyn Write + Send>>,
    options: LadderOptions,
    diagrams: HashMap<FourTuple, Diagram>,
    /// Whose line was printed last in live mode; another connection's begins with a heading.
    speaking: Option<FourTuple>,
    not_shown: u64,
    progress: Arc<Progress>,
}

impl Ladder {
    /// Draws on `out`. Where that fails, as on a closed pipe, nothing is drawn and nobody is bothered.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn new(out: impl Write + Send + 'static, options: LadderOptions) -> io::Result<Self> {
        Self::with_room(ROOM, out, options)
    }

    fn with_room(room: Room, out: impl Write + Send + 'static, options: LadderOptions) -> io::Result<Self> {
        let progress = Arc::<Progress>::default();
        let drawing = Drawing {
            out: Metered::new(Box::new(out), progress.clone()),
            options,
            diagrams: HashMap::new(),
            speaking: None,
            not_shown: 0,
            progress: progress.clone(),
        };
        Ok(Self { lookout: Lookout::post("xskip-ladder", room, progress, drawing)? })
    }

    /// Waits until all that was seen so far is drawn, or until nobody has taken any of it for a second.
    pub fn catch_up(&self) {
        self.lookout.catch_up();
    }

    /// Tells it that nothing else will come, so that [`Ladder::finish`] has less to wait for.
    pub fn dismiss(&self) {
        self.lookout.dismiss();
    }

    /// Prints the diagrams of connections that have not ended, as long as somebody takes them.
    pub fn finish(&self) -> LadderSummary {
        let Ended { word, frames, lost } = self.lookout.end();
        LadderSummary { frames, lost, unread: word.is_none() }
    }
}

impl Drawing {
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
    }
}

impl Drawing {
    /// Prints the diagrams of connections that have not ended, and begins anew.
    fn print_unfinished(&mut self) {
        let mut open: Vec<Diagram> = self.diagrams.drain().map(|(_, diagram)| diagram).collect();
        open.sort_by_key(Diagram::begun);
        for mut diagram in open {
            diagram.unfinished();
            self.print_rest(diagram);
        }
    }
}

impl Observer for Drawing {
    type Word = ();

    fn frame(&mut self, event: &TapEvent<'_>) {
        if let Ok(parsed) = wire::parse(event.frame, ChecksumPolicy::AcceptPartial)
            && let Packet::Tcp(ip, segment) = parsed.packet
        {
            let seen = FourTuple::of_received(&ip, &segment.header);
            let tuple = match event.direction {
                Direction::Received => seen,
                Direction::Transmitted => seen.reversed(),
            };
            let state = event.state.unwrap_or(State::Closed);
            self.segment(tuple, &Row { at: event.at, direction: event.direction, segment: &segment, state });
        }
        self.progress.settle(1);
    }

    /// Nobody knows which diagrams are the poorer for it, and whose ends are among what is missing. So all of them end here: what
    /// comes later begins others.
    fn lost(&mut self, _: InterfaceId, frames: u64) {
        self.print_unfinished();
        self.print(&format!("({frames} frames are missing here: they came faster than this is read)\n"));
    }

    fn rest(&mut self) -> Option<Duration> {
        self.out.flush().ok();
        None
    }

    fn end(&mut self) {
        self.print_unfinished();
        if self.not_shown > 0 {
            let line = format!("({} segments of further connections are not shown)", self.not_shown);
            self.print(&line);
        }
        self.out.flush().ok();
    }
}

impl Tap for Ladder {
    fn frame(&self, event: &TapEvent<'_>) {
        self.lookout.show(event);
    }
}
