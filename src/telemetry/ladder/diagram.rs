//! One connection's diagram.

use crate::{
    tcp::State,
    wire::{FourTuple, Segment, SeqNumber, TcpFlags},
    worker::Direction,
};
use std::time::Duration;

/// Lines after which even remarkable segments are summed up: a bound for memory.
const MAX_LINES: usize = 2_000;

/// A segment with what belongs to it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub at: Duration,
    pub direction: Direction,
    pub segment: &'a Segment<'a>,
    /// Our side's state after it.
    pub state: State,
}

/// What one side has sent so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    /// Where its relative sequence numbers begin: at its SYN.
    base: Option<SeqNumber>,
    /// Behind the furthest octet it has sent.
    furthest: Option<SeqNumber>,
}

/// Plain segments that were not given a line each.
#[derive(Clone, Copy, Debug, Default)]
struct Fold {
    segments: u64,
    received: u64,
    transmitted: u64,
}

/// A connection's diagram as far as it is drawn.
#[derive(Debug)]
pub(super) struct Diagram {
    tuple: FourTuple,
    begun: Duration,
    fold_after: usize,
    peer: Sender,
    ours: Sender,
    state: Option<State>,
    /// Lines not printed yet.
    lines: Vec<String>,
    drawn: usize,
    /// Plain segments in a row.
    plain: usize,
    fold: Fold,
    ended: bool,
}

/// The line above a diagram.
pub(super) fn heading(tuple: &FourTuple) -> String {
    let peer = format!("{} (peer)", tuple.remote);
    let ours = format!("{} (xskip)", tuple.local);
    format!("{:>12}  {peer:<34}{ours:>34}   our state", "")
}

impl Diagram {
    pub fn new(tuple: FourTuple, begun: Duration, fold_after: usize) -> Self {
        Self {
            tuple,
            begun,
            fold_after,
            peer: Sender::default(),
            ours: Sender::default(),
            state: None,
            lines: Vec::new(),
            drawn: 0,
            plain: 0,
            fold: Fold::default(),
            ended: false,
        }
    }

    pub fn tuple(&self) -> FourTuple {
        self.tuple
    }

    pub fn begun(&self) -> Duration {
        self.begun
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub fn add(&mut self, row: &Row<'_>) {
        let (seq, ack) = self.relative(row);
        let repeated = self.is_repeated(row);
        let note = self.note(row, repeated);
        let unchanged = self.state.replace(row.state) == Some(row.state);
        let is_plain =
            unchanged && note.is_none() && (TcpFlags::ACK | TcpFlags::PSH).contains(row.segment.header.flags);
        self.plain = if is_plain { self.plain + 1 } else { 0 };
        if self.plain > self.fold_after || (self.drawn >= MAX_LINES && unchanged) {
            self.fold(row);
        } else {
            self.unfold();
            self.draw(row, seq, ack, note);
        }
        let received = row.direction == Direction::Received;
        self.ended = match row.state {
            // What comes for no connection is answered with an RST, which belongs to its diagram.
            State::Closed if received => row.segment.has(TcpFlags::RST) || self.ours.base.is_some(),
            State::Closed => true,
            State::TimeWait => !received,
            _ => false,
        };
    }

    pub fn unfinished(&mut self) {
        self.unfold();
        self.lines.push(format!("{:>12}  (not ended yet)", ""));
    }

    /// Relative sequence and acknowledgment number, both ends' SYNs counting as 0.
    fn relative(&mut self, row: &Row<'_>) -> (u32, Option<u32>) {
        let header = &row.segment.header;
        let (sender, other) = match row.direction {
            Direction::Received => (&mut self.peer, &mut self.ours),
            Direction::Transmitted => (&mut self.ours, &mut self.peer),
        };
        // Where the SYN was not seen, the first octet seen counts as the one behind it.
        let is_syn = row.segment.has(TcpFlags::SYN);
        let base = *sender.base.get_or_insert(if is_syn { header.seq } else { header.seq.back(1) });
        let ack = row.segment.has(TcpFlags::ACK).then(|| header.ack.since(other.base.unwrap_or(header.ack.back(1))));
        (header.seq.since(base), ack)
    }

    /// Whether all of the segment has been sent before.
    fn is_repeated(&mut self, row: &Row<'_>) -> bool {
        let sender = match row.direction {
            Direction::Received => &mut self.peer,
            Direction::Transmitted => &mut self.ours,
        };
        let end = row.segment.header.seq.advance(row.segment.len());
        let repeated = !row.segment.is_empty() && sender.furthest.is_some_and(|furthest| end.at_or_before(furthest));
        sender.furthest = Some(sender.furthest.map_or(end, |furthest| furthest.latest(end)));
        repeated
    }

    /// What a learner should notice.
    fn note(&self, row: &Row<'_>, repeated: bool) -> Option<&'static str> {
        let received = row.direction == Direction::Received;
        if row.segment.has(TcpFlags::RST) {
            return Some(match (received, self.state) {
                (true, _) => "reset by the peer",
                (false, Some(State::Closed) | None) => "refused: no such connection, and nobody listens",
                (false, _) => "reset by us",
            });
        }
        if repeated {
            return Some("sent again");
        }
        match (self.state?, row.state, received) {
            (State::SynReceived, State::Established, true) => Some("three-way handshake complete"),
            (State::SynReceived, State::CloseWait, true) => Some("handshake complete, and the peer closes"),
            (State::Established, State::CloseWait, true) => Some("the peer closes its side"),
            (State::CloseWait, State::CloseWait, false) if row.segment.is_empty() => Some("we acknowledge its FIN"),
            (State::CloseWait, State::LastAck, false) => Some("we close ours"),
            (State::LastAck, State::Closed, true) => Some("four-way close complete"),
            (State::Established, State::FinWait1, false) => Some("we close our side"),
            (State::FinWait1, State::FinWait2, true) => Some("the peer acknowledges our FIN"),
            (State::FinWait2, State::TimeWait, true) => Some("the peer closes its side"),
            (State::FinWait1, State::TimeWait, true) => Some("the peer acknowledges our FIN, and closes its side"),
            (State::FinWait1, State::Closing, true) => Some("the peer has closed at the same time"),
            (State::Closing, State::TimeWait, true) => Some("simultaneous close complete"),
            (State::TimeWait, State::TimeWait, false) => Some("close complete; TIME-WAIT lasts 2xMSL"),
            _ => None,
        }
    }

    fn fold(&mut self, row: &Row<'_>) {
        let length = row.segment.payload.len() as u64;
        self.fold.segments += 1;
        match row.direction {
            Direction::Received => self.fold.received += length,
            Direction::Transmitted => self.fold.transmitted += length,
        }
    }

    fn unfold(&mut self) {
        let Fold { segments, received, transmitted } = std::mem::take(&mut self.fold);
        if segments > 0 {
            let segments = grouped(segments);
            let (received, transmitted) = (grouped(received), grouped(transmitted));
            let text = format!("... {segments} segments: {received} bytes from the peer, {transmitted} from us ...");
            self.lines.push(format!("{:>12}  |{text:^66}|", ""));
        }
    }

    fn draw(&mut self, row: &Row<'_>, seq: u32, ack: Option<u32>, note: Option<&str>) {
        let millis = row.at.saturating_sub(self.begun).as_nanos() as f64 / 1e6;
        let ack = ack.map(|ack| format!("ack {ack}")).unwrap_or_default();
        let flags = row.segment.header.flags.to_string();
        let body = format!("{flags:<11} seq {seq:<10} {ack:<14} len {:<5}", row.segment.payload.len());
        let arrow = match row.direction {
            Direction::Received => format!("|---- {body} {:->12}|", ">"),
            Direction::Transmitted => format!("|<--- {body} {:->12}|", "-"),
        };
        let note = note.map(|note| format!("  {note}")).unwrap_or_default();
        let line = format!("{millis:>9.3} ms  {arrow}  {:<12}{note}", row.state);
        self.lines.push(line.trim_end().to_owned());
        self.drawn += 1;
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
