//! What is said on one connection, and what becomes of it.

use super::{
    chunks::{Chunks, Taken},
    response::{Body, Head, Parsed},
    tally::{Failure, Tally},
    task::Workload,
};
use crate::{stack::Stream, time::Instant};
use std::collections::HashMap;

/// Bytes of a ping.
const PING: usize = 64;
/// Bytes written at a time where they mean nothing.
const PIECE: usize = 65_536;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    stage: Stage,
    /// When what is under way began, or was due.
    pub since: Instant,
    /// When the peer was last heard, or asked.
    pub heard: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing is under way.
    #[default]
    Rest,
    /// A request has been sent; nothing of the response has been taken.
    Head,
    /// So much of a body is to come.
    Body { left: u64, closes: bool },
    /// A body in chunks.
    Chunks { chunks: Chunks, closes: bool },
    /// A body that lasts until the connection ends.
    Rests,
    /// The response is whole, and the server said that it would close.
    End,
    /// So much of this ping has come back.
    Ping { number: u64, back: usize },
    /// Bytes flow.
    Flow,
}

/// What a look at a connection led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It waits for the peer.
    Wait,
    /// What was asked for has come, and the connection may be used again or not.
    Done { reusable: bool },
    /// The peer has closed a connection on which nothing was under way.
    Left,
    /// It is good for nothing any more.
    Failed(Failure),
}

/// Heads that came in pieces, by the index of their connection. There are few at a time, and their memory is used again.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    heads: HashMap<usize, Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Pieces {
    /// Takes all that can be read as the continuation of a head; what it came to so far.
    fn gather(&mut self, stream: &mut Stream<'_>) -> Parsed {
        let index = stream.id().index();
        let spare = &mut self.spare;
        let head = self.heads.entry(index).or_insert_with(|| spare.pop().unwrap_or_default());
        while !stream.readable().is_empty() {
            // No further than to the end of a line: what follows a head is not part of it.
            let piece = stream.readable();
            let length = piece.iter().position(|&octet| octet == b'\n').map_or(piece.len(), |end| end + 1);
            head.extend_from_slice(&piece[..length]);
            stream.consume(length);
            let parsed = Parsed::of(head);
            if parsed != Parsed::Partial {
                self.forget(index);
                return parsed;
            }
        }
        Parsed::Partial
    }

    /// The connection needs its head no more.
    pub fn forget(&mut self, index: usize) {
        if let Some(mut head) = self.heads.remove(&index) {
            head.clear();
            self.spare.push(head);
        }
    }
}

impl Exchange {
    /// Whether the peer owes us something.
    pub fn is_under_way(&self) -> bool {
        self.stage != Stage::Rest
    }

    /// Says what there is to say. `since` is when that was due, or else now; `number` tells pings apart.
    pub fn begin(
        &mut self,
        now: Instant,
        since: Instant,
        workload: &Workload,
        number: u64,
        stream: &mut Stream<'_>,
    ) -> usize {
        (self.since, self.heard) = (since, now);
        match workload {
            Workload::Http { request } => {
                self.stage = Stage::Head;
                stream.write(request)
            }
            Workload::Pings => {
                self.stage = Stage::Ping { number, back: 0 };
                stream.write(&ping(number))
            }
            Workload::Bytes { .. } => {
                self.stage = Stage::Flow;
                0
            }
            Workload::Silence => 0,
        }
    }

    /// Does as much as can be done with what has come.
    pub fn advance(
        &mut self,
        now: Instant,
        workload: &Workload,
        pieces: &mut Pieces,
        tally: &mut Tally,
        stream: &mut Stream<'_>,
    ) -> Step {
        let before = stream.readable_len();
        let sent = tally.sent;
        let step = self.look(workload, pieces, tally, stream);
        let taken = before - stream.readable_len();
        tally.received += taken as u64;
        if taken > 0 || tally.sent > sent {
            self.heard = now;
        }
        step
    }

    fn look(&mut self, workload: &Workload, pieces: &mut Pieces, tally: &mut Tally, stream: &mut Stream<'_>) -> Step {
        while self.stage == Stage::Head {
            self.stage = match head(pieces, stream) {
                Parsed::Head(Head { body: Body::Octets(left), closes, .. }) => Stage::Body { left, closes },
                Parsed::Head(Head { body: Body::Chunks, closes, .. }) => {
                    Stage::Chunks { chunks: Chunks::BEGIN, closes }
                }
                Parsed::Head(Head { body: Body::Rest, .. }) => Stage::Rests,
                Parsed::Interim(_) => Stage::Head,
                Parsed::Partial if !stream.at_end() => return Step::Wait,
                Parsed::Partial | Parsed::Bad => return Step::Failed(Failure::BadResponse),
            }
        }
        match self.stage {
            Stage::Head => Step::Wait,
            Stage::Body { left, closes } => self.body(left, closes, stream),
            Stage::Chunks { chunks, closes } => self.chunks(chunks, closes, stream),
            Stage::Rests => {
                read_all(stream);
                if stream.at_end() { Step::Done { reusable: false } } else { Step::Wait }
            }
            Stage::End | Stage::Rest if stream.readable_len() > 0 => Step::Failed(Failure::BadResponse),
            Stage::End if stream.at_end() => Step::Done { reusable: false },
            Stage::Rest if stream.at_end() => Step::Left,
            Stage::End | Stage::Rest => Step::Wait,
            Stage::Ping { number, back } => self.pong(number, back, stream),
            Stage::Flow => {
                read_all(stream);
                if *workload == (Workload::Bytes { writes: true }) {
                    tally.sent += write_all(stream);
                }
                if stream.at_end() { Step::Failed(Failure::Other) } else { Step::Wait }
            }
        }
    }

    fn body(&mut self, mut left: u64, closes: bool, stream: &mut Stream<'_>) -> Step {
        while left > 0 && !stream.readable().is_empty() {
            let taken = stream.readable().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            stream.consume(taken);
            left -= taken as u64;
        }
        self.stage = Stage::Body { left, closes };
        if left > 0 {
            return if stream.at_end() { Step::Failed(Failure::BadResponse) } else { Step::Wait };
        }
        self.whole(closes, stream)
    }

    fn chunks(&mut self, mut chunks: Chunks, closes: bool, stream: &mut Stream<'_>) -> Step {
        while !stream.readable().is_empty() {
            let length = stream.readable().len();
            match chunks.take(stream.readable()) {
                Taken::More => stream.consume(length),
                Taken::Whole(length) => {
                    stream.consume(length);
                    return self.whole(closes, stream);
                }
                Taken::Bad => return Step::Failed(Failure::BadResponse),
            }
        }
        self.stage = Stage::Chunks { chunks, closes };
        if stream.at_end() { Step::Failed(Failure::BadResponse) } else { Step::Wait }
    }

    /// The body is whole, and nothing may follow it.
    fn whole(&mut self, closes: bool, stream: &mut Stream<'_>) -> Step {
        if stream.readable_len() > 0 {
            return Step::Failed(Failure::BadResponse);
        }
        if closes && !stream.at_end() {
            self.stage = Stage::End;
            return Step::Wait;
        }
        self.stage = Stage::Rest;
        Step::Done { reusable: !closes }
    }

    fn pong(&mut self, number: u64, mut back: usize, stream: &mut Stream<'_>) -> Step {
        let expected = ping(number);
        while back < PING && !stream.readable().is_empty() {
            let taken = stream.readable().len().min(PING - back);
            if stream.readable()[..taken] != expected[back..back + taken] {
                return Step::Failed(Failure::BadResponse);
            }
            stream.consume(taken);
            back += taken;
        }
        self.stage = Stage::Ping { number, back };
        if back < PING {
            return if stream.at_end() { Step::Failed(Failure::BadResponse) } else { Step::Wait };
        }
        if stream.readable_len() > 0 {
            return Step::Failed(Failure::BadResponse);
        }
        self.stage = Stage::Rest;
        Step::Done { reusable: true }
    }
}

/// The head at the front of the stream, which is taken off it once it is whole.
fn head(pieces: &mut Pieces, stream: &mut Stream<'_>) -> Parsed {
    if stream.readable().is_empty() {
        return Parsed::Partial;
    }
    if !pieces.heads.contains_key(&stream.id().index()) {
        let parsed = Parsed::of(stream.readable());
        if let Parsed::Head(Head { length, .. }) | Parsed::Interim(length) = parsed {
            stream.consume(length);
        }
        if parsed != Parsed::Partial {
            return parsed;
        }
    }
    // The rest has not come yet, or lies behind the end of the ring.
    pieces.gather(stream)
}

fn read_all(stream: &mut Stream<'_>) {
    while !stream.readable().is_empty() {
        stream.consume(stream.readable().len());
    }
}

/// Writes as much as there is room for; returns how many bytes.
fn write_all(stream: &mut Stream<'_>) -> u64 {
    let mut written = 0;
    loop {
        let piece = stream.write_with(PIECE, |room| {
            room.fill(0);
            room.len()
        });
        if piece == 0 {
            return written;
        }
        written += piece as u64;
    }
}

/// The bytes of ping number `number`, which no other ping has.
fn ping(number: u64) -> [u8; PING] {
    let mut octets = [0; PING];
    octets.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&number.to_be_bytes()));
    octets
}
