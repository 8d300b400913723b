//! Which octets of a stretch of sequence space have arrived: here, beyond RCV.NXT, or at the peer, as it reports them.

use crate::wire::SeqNumber;
use std::collections::VecDeque;

/// Disjoint, non-adjacent pieces of sequence space, in order. What changes in the middle moves the shorter side.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: VecDeque<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: SeqNumber,
    end: SeqNumber,
}

/// A piece could not be noted: there are too many already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPieces;

impl Assembler {
    /// Whether nothing waits out of order.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Octets of memory it takes.
    pub fn memory(&self) -> usize {
        self.pieces.capacity() * size_of::<Piece>()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    /// The pieces, in order, each from its first octet up to the one behind its last.
    pub fn pieces(&self) -> impl Iterator<Item = (SeqNumber, SeqNumber)> + '_ {
        self.pieces.iter().map(|piece| (piece.start, piece.end))
    }

    /// The piece that an octet belongs to.
    pub fn piece_with(&self, octet: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let piece = self.pieces.get(self.behind(octet).checked_sub(1)?)?;
        octet.precedes(piece.end).then_some((piece.start, piece.end))
    }

    /// The first stretch between `start` and `end` that has arrived.
    pub fn first_known(&self, start: SeqNumber, end: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let piece = self.pieces.get(self.pieces.partition_point(|piece| piece.end.at_or_before(start)))?;
        piece.start.precedes(end).then(|| (piece.start.latest(start), piece.end.earliest(end)))
    }

    /// The first stretch between `start` and `end` that has not.
    pub fn first_missing(&self, start: SeqNumber, end: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let behind = self.behind(start);
        let before = behind.checked_sub(1).and_then(|index| self.pieces.get(index));
        let start = before.map_or(start, |piece| start.latest(piece.end));
        let end = self.pieces.get(behind).map_or(end, |piece| end.earliest(piece.start));
        start.precedes(end).then_some((start, end))
    }

    /// How many pieces begin at `octet` or before.
    fn behind(&self, octet: SeqNumber) -> usize {
        self.pieces.partition_point(|piece| piece.start.at_or_before(octet))
    }

    /// Notes that the octets from `start` up to `end` have arrived, joining what they touch.
    ///
    /// # Errors
    /// [`TooManyPieces`] where that would leave more than `limit`; nothing is noted then.
    pub fn insert(&mut self, start: SeqNumber, end: SeqNumber, limit: usize) -> Result<(), TooManyPieces> {
        let first = self.pieces.partition_point(|piece| piece.end.precedes(start));
        let behind = self.behind(end);
        if first == behind {
            if self.pieces.len() >= limit {
                return Err(TooManyPieces);
            }
            self.pieces.insert(first, Piece { start, end });
            return Ok(());
        }
        let last = self.pieces[behind - 1].end;
        let joined = &mut self.pieces[first];
        (joined.start, joined.end) = (joined.start.earliest(start), last.latest(end));
        self.pieces.drain(first + 1..behind);
        Ok(())
    }

    /// Moves RCV.NXT: given that everything before `next` has arrived in order, returns how far that reaches with the
    /// pieces that begin at or before it, which are forgotten.
    pub fn take_through(&mut self, next: SeqNumber) -> SeqNumber {
        let reached = self.behind(next);
        let end = self.pieces.range(..reached).fold(next, |end, piece| end.latest(piece.end));
        self.pieces.drain(..reached);
        end
    }

    /// Forgets what lies before `start`.
    pub fn forget_before(&mut self, start: SeqNumber) {
        while let Some(piece) = self.pieces.front_mut() {
            if start.precedes(piece.end) {
                piece.start = piece.start.latest(start);
                return;
            }
            self.pieces.pop_front();
        }
    }
}
