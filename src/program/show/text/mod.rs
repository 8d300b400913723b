//! Pieces of answers as text, for 80 columns.

mod connection;
mod explain;
mod lists;
mod numbers;

use super::{List, Piece, Summary};
use std::fmt::Write;

/// Columns of the text; addresses of IPv6 may need more.
const COLUMNS: usize = 80;

/// Makes text of the pieces of an answer, one after the other.
#[derive(Clone, Debug)]
pub struct Text {
    list: Option<List>,
    follow: bool,
    /// Whether what stands above the columns was written.
    has_head: bool,
    seconds: u64,
}

impl Text {
    /// For the answer to a list, once or followed; or, where it is none, to another request.
    pub fn new(list: Option<List>, follow: bool) -> Self {
        Self { list, follow, has_head: false, seconds: 0 }
    }

    /// The lines of a piece, each with its end; none for what need not be said.
    pub fn of(&mut self, piece: &Piece) -> String {
        let mut text = String::new();
        if self.list.is_some() && !self.has_head && !matches!(piece, Piece::Tick(_)) {
            self.has_head = true;
            text += &self.head(piece);
        }
        match piece {
            Piece::Connection(one) => text += &connection::lines(one),
            Piece::Began(one) => text += &connection::began(self.seconds, one),
            Piece::Ended(one) => text += &connection::ended(self.seconds, one),
            Piece::Listener(one) => text += &lists::listener(one),
            Piece::Handshakes(one) => text += &lists::handshakes(one),
            Piece::Worker(one) => text += &lists::worker(one),
            Piece::Drop(one) => text += &lists::refused(one),
            Piece::Neighbour(one) => text += &lists::neighbour(one),
            Piece::Explanation(one) => text += &explain::lines(one),
            // That is for whoever draws.
            Piece::Picture(_) => {}
            Piece::Tick(tick) => {
                self.seconds = tick.number;
                // A list that is said anew has its head anew.
                if self.follow && self.list != Some(List::Connections) {
                    self.has_head = false;
                    if tick.number > 1 && self.list != Some(List::Drops) {
                        text.push('\n');
                    }
                }
            }
            Piece::End(summary) => text += &self.end(summary),
        }
        text
    }

    fn head(&self, piece: &Piece) -> String {
        match (self.list, piece) {
            (Some(List::Connections), _) => connection::HEAD.to_owned(),
            (Some(List::Listeners), Piece::Listener(_)) => lists::LISTENERS.to_owned(),
            (Some(List::Workers), Piece::Worker(_)) => lists::WORKERS.to_owned(),
            (Some(List::Drops), Piece::Drop(_)) => lists::DROPS.to_owned(),
            (Some(List::Neighbours), Piece::Neighbour(_)) => lists::NEIGHBOURS.to_owned(),
            _ => String::new(),
        }
    }

    fn end(&self, summary: &Summary) -> String {
        let mut text = String::new();
        if let Some(counts) = summary.counts {
            let _ = writeln!(
                text,
                "{} shown, of {} connections and {} handshakes; {} more in TIME-WAIT",
                summary.rows, counts.connections, counts.half_open, counts.time_wait
            );
        } else if summary.rows == 0 {
            let _ = writeln!(
                text,
                "{}",
                match self.list {
                    Some(List::Drops) => "nothing was refused",
                    Some(List::Neighbours) => "no neighbours",
                    Some(List::Listeners) => "no listeners",
                    _ => "nothing",
                }
            );
        }
        text
    }
}

/// Words in lines of [`COLUMNS`], all of them indented; each of `parts` stays whole where it fits.
fn wrapped(indent: usize, parts: impl IntoIterator<Item = String>, between: &str) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for part in parts {
        let with = if line.is_empty() {
            part.chars().count()
        } else {
            line.chars().count() + between.len() + part.chars().count()
        };
        if !line.is_empty() && indent + with + between.trim_end().len() > COLUMNS {
            let _ = writeln!(text, "{:indent$}{}{}", "", line, between.trim_end());
            line.clear();
        }
        if !line.is_empty() {
            line += between;
        }
        line += &part;
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
    text
}

/// A sentence in lines, of which the first one may begin with something.
fn paragraph(first: &str, indent: usize, sentence: &str) -> String {
    let text = wrapped(indent, sentence.split_whitespace().map(str::to_owned), " ");
    match first.chars().count() {
        0 => text,
        begun if begun < indent => format!("{first}{}", text.get(begun..).unwrap_or_default()),
        _ => format!("{first}\n{text}"),
    }
}
