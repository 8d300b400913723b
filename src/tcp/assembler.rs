//! Which octets beyond RCV.NXT have arrived already.

use crate::wire::SeqNumber;

/// Disjoint, non-adjacent pieces of sequence space, in order.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: Vec<Piece>,
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
        let behind = self.pieces.partition_point(|piece| piece.start.at_or_before(octet));
        let piece = self.pieces[..behind].last().filter(|piece| octet.precedes(piece.end))?;
        Some((piece.start, piece.end))
    }

    /// Notes that the octets from `start` up to `end` have arrived, joining what they touch.
    ///
    /// # Errors
    /// [`TooManyPieces`] where that would leave more than `limit`; nothing is noted then.
    pub fn insert(&mut self, start: SeqNumber, end: SeqNumber, limit: usize) -> Result<(), TooManyPieces> {
        let first = self.pieces.partition_point(|piece| piece.end.precedes(start));
        let behind = self.pieces.partition_point(|piece| piece.start.at_or_before(end));
        if first == behind {
            if self.pieces.len() >= limit {
                return Err(TooManyPieces);
            }
            self.pieces.insert(first, Piece { start, end });
            return Ok(());
        }
        let joined =
            Piece { start: self.pieces[first].start.earliest(start), end: self.pieces[behind - 1].end.latest(end) };
        self.pieces.splice(first..behind, [joined]);
        Ok(())
    }

    /// Moves RCV.NXT: given that everything before `next` has arrived in order, returns how far that reaches with the
    /// pieces that begin at or before it, which are forgotten.
    pub fn take_through(&mut self, next: SeqNumber) -> SeqNumber {
        let reached = self.pieces.partition_point(|piece| piece.start.at_or_before(next));
        let end = self.pieces[..reached].iter().fold(next, |end, piece| end.latest(piece.end));
        self.pieces.drain(..reached);
        end
    }
}
