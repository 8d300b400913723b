//! The receiving side: what has arrived in order for the application, and what has arrived out of order.
//!
//! ```text
//!          with the application │   readable    │  holes, out of order   │ beyond the window
//!     ──────────────────────────┼───────────────┼────────────────────────┼─────────────▶ sequence numbers
//!                                            RCV.NXT          RCV.NXT + RCV.WND
//! ```

use super::{assembler::Assembler, byte_ring::ByteRing};
use crate::{
    drops::DropReason,
    wire::{
        SeqNumber,
        tcp_options::{MAX_SACK_BLOCKS, SackBlocks},
    },
};

/// The part of the buffer that is kept in reserve: one part in this many. The right edge is rounded up by less than a unit with each
/// segment, so all of it is used up only by segments that are smaller than 16 units.
const RESERVE: u32 = 16;

/// What storing a segment's data changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Octets by which RCV.NXT moved.
    pub advanced: u32,
    /// Whether an acknowledgment is due now: a hole remains or was filled (RFC 5681 §4.2), or not everything found room.
    pub ack_now: bool,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub struct ReceiveSide {
    /// RCV.NXT: the next octet expected.
    nxt: SeqNumber,
    /// The right edge of the window as last advertised; it never moves back (SHLD-14).
    edge: SeqNumber,
    /// Our window scale: the window field counts in units of 2^scale octets.
    scale: u8,
    /// Octets kept for the application at most, for now.
    limit: u32,
    /// Readable data in front, out-of-order data behind.
    buffer: ByteRing,
    out_of_order: Assembler,
    /// The first octets of the out-of-order segments that came last, the latest in front: these blocks go first (RFC 2018 §4).
    recent_sack: Vec<SeqNumber>,
    /// Octets that came a second time: the D-SACK block that is to be sent once (RFC 2883).
    dsack: Option<(SeqNumber, SeqNumber)>,
    /// The sequence number of the peer's FIN, once one has arrived, even if data before it are missing.
    fin: Option<SeqNumber>,
    fin_taken: bool,
    /// Whether the list of out-of-order pieces takes other memory than when [`ReceiveSide::weighed`] was called.
    resized: bool,
}

/// What is kept of a side that holds no data.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuietReceive {
    nxt: SeqNumber,
    edge: SeqNumber,
    limit: u32,
    scale: u8,
}

impl ReceiveSide {
    /// The side of a connection whose peer's SYN took sequence number `irs`, and was answered with a window of `window`.
    pub fn new(irs: SeqNumber, window: u32, scale: u8, limit: usize) -> Self {
        let nxt = irs.advance(1);
        Self {
            nxt,
            edge: nxt.advance(window),
            scale,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            buffer: ByteRing::default(),
            out_of_order: Assembler::default(),
            recent_sack: Vec::new(),
            dsack: None,
            fin: None,
            fin_taken: false,
            resized: false,
        }
    }

    /// The window scale that the peer was told.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Whether it holds no data, in order or not, and the peer has not closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && !self.has_sack_blocks() && self.fin.is_none()
    }

    /// What of it must be kept while it is quiet.
    pub(super) fn suspend(&self) -> QuietReceive {
        let Self { nxt, edge, limit, scale, .. } = *self;
        QuietReceive { nxt, edge, limit, scale }
    }

    /// Becomes the side that was quiet, in the memory that this one, retired or new, has.
    pub(super) fn resume(&mut self, quiet: &QuietReceive) {
        let QuietReceive { nxt, edge, limit, scale } = *quiet;
        (self.nxt, self.edge, self.limit, self.scale) = (nxt, edge, limit, scale);
        (self.dsack, self.fin, self.fin_taken) = (None, None, false);
    }

    /// Forgets what it holds, but keeps the memory.
    pub(super) fn retire(&mut self) {
        self.buffer.clear();
        self.out_of_order.clear();
        self.recent_sack.clear();
    }

    /// Takes the memory of a retired side, while there is nothing in its own.
    pub(super) fn adopt_memory(&mut self, retired: &mut Self) {
        if self.buffer.is_empty() && self.out_of_order.is_empty() {
            self.buffer = std::mem::take(&mut retired.buffer);
            self.out_of_order = std::mem::take(&mut retired.out_of_order);
            self.recent_sack = std::mem::take(&mut retired.recent_sack);
        }
    }

    /// Octets of memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.out_of_order.memory()
    }

    /// Whether that has changed since [`ReceiveSide::weighed`] was called.
    pub(super) fn was_resized(&self) -> bool {
        self.buffer.was_resized() | self.resized
    }

    pub(super) fn weighed(&mut self) {
        self.buffer.weighed();
        self.resized = false;
    }

    /// Gives back what it does not use.
    pub(super) fn give_back(&mut self) {
        if !self.has_holes() {
            self.out_of_order = Assembler::default();
            self.resized = true;
            self.buffer.give_back();
        }
    }

    /// Whether any of the `length` octets from `start` on came before what they follow: their sender may have heard of them in a SACK
    /// block.
    pub(super) fn may_be_reported(&self, start: SeqNumber, length: u32) -> bool {
        self.has_sack_blocks() || self.recent_sack.iter().any(|octet| octet.in_window(start, length))
    }

    /// Throws away what came out of order; it is in no SACK block any more.
    pub(super) fn discard_out_of_order(&mut self) {
        self.out_of_order = Assembler::default();
        self.resized = true;
        self.recent_sack.clear();
    }

    /// How large the buffer must be for data of this place and length, and whether they are next in order.
    pub(super) fn room_for(&self, seq: SeqNumber, length: u32) -> (usize, bool) {
        let (start, end) = (seq.latest(self.nxt), seq.advance(length).earliest(self.edge));
        if !start.precedes(end) {
            return (0, true);
        }
        (self.buffer.len() + end.since(self.nxt) as usize, start == self.nxt)
    }

    /// RCV.NXT.
    #[inline]
    pub fn nxt(&self) -> SeqNumber {
        self.nxt
    }

    /// Octets kept for the application at most.
    #[inline]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Keeps up to `limit` octets from now on, where that is more than before: the window would have to shrink otherwise.
    pub fn raise_limit(&mut self, limit: u32) {
        self.limit = self.limit.max(limit);
    }

    /// RCV.NXT + RCV.WND as last advertised.
    #[inline]
    pub fn edge(&self) -> SeqNumber {
        self.edge
    }

    /// RCV.WND as last advertised.
    #[inline]
    pub fn window(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    /// Data ready for the application.
    #[inline]
    pub fn readable(&self) -> &ByteRing {
        &self.buffer
    }

    /// Takes `length` octets that the application has read.
    pub fn consume(&mut self, length: usize) {
        self.buffer.consume(length);
        if !self.has_holes() {
            self.buffer.release();
        }
    }

    /// Whether the peer has closed and everything before its FIN has arrived.
    pub fn is_finished(&self) -> bool {
        self.fin_taken
    }

    /// Whether octets beyond a hole are waiting.
    #[inline]
    pub fn has_holes(&self) -> bool {
        !self.out_of_order.is_empty()
    }

    /// Stores a segment's data, trimmed to the window, and takes in whatever has become contiguous.
    ///
    /// # Errors
    /// [`DropReason::TooManyHoles`] where the data would make one more than `max_holes` out-of-order pieces.
    pub fn store(&mut self, seq: SeqNumber, payload: &[u8], max_holes: usize) -> Result<Stored, DropReason> {
        let start = seq.latest(self.nxt);
        let all = seq.advance(payload.len() as u32);
        let end = all.earliest(self.edge);
        self.note_duplicate(seq, payload.len() as u32);
        if !start.precedes(end) {
            return Ok(Stored { advanced: 0, ack_now: true });
        }
        let fresh = &payload[start.since(seq) as usize..end.since(seq) as usize];
        let has_holes = self.has_holes();
        if has_holes && start == seq {
            // RFC 2883 §4.2: of several ranges that have come twice the first is reported; one before RCV.NXT is known already.
            self.dsack = self.out_of_order.first_known(start, end).or(self.dsack);
        }
        if start != self.nxt {
            let before = self.out_of_order.memory();
            self.out_of_order.insert(start, end, max_holes).map_err(|_| DropReason::TooManyHoles)?;
            self.resized |= self.out_of_order.memory() != before;
            self.recent_sack.insert(0, start);
            self.recent_sack.truncate(MAX_SACK_BLOCKS);
            self.buffer.write_at(self.buffer.len() + start.since(self.nxt) as usize, fresh);
            return Ok(Stored { advanced: 0, ack_now: true });
        }
        let ack_now = has_holes || end != all;
        self.buffer.push(fresh);
        let reached = self.out_of_order.take_through(end);
        self.buffer.extend(reached.since(end) as usize);
        let advanced = reached.since(self.nxt);
        self.nxt = reached;
        Ok(Stored { advanced, ack_now })
    }

    /// Whether nothing has come out of order or twice, and no FIN.
    #[inline]
    pub(super) fn is_in_order(&self) -> bool {
        self.out_of_order.is_empty() && self.dsack.is_none() && self.fin.is_none()
    }

    /// Stores data that begin at RCV.NXT, lie within the window and behind which nothing is waiting.
    #[inline]
    pub(super) fn push(&mut self, payload: &[u8]) {
        debug_assert!(self.is_in_order() && payload.len() as u32 <= self.window());
        self.buffer.push(payload);
        self.nxt = self.nxt.advance(payload.len() as u32);
    }

    /// Notes data of which some, or all, have arrived in order before, to tell their sender that once was enough.
    pub fn note_duplicate(&mut self, seq: SeqNumber, length: u32) {
        let end = seq.advance(length).earliest(self.nxt);
        if seq.precedes(end) && self.nxt.since(seq) <= self.limit {
            self.dsack = Some((seq, end));
        }
    }

    /// Whether there is something to be said in SACK blocks.
    #[inline]
    pub fn has_sack_blocks(&self) -> bool {
        self.dsack.is_some() || self.has_holes()
    }

    /// What has arrived beyond RCV.NXT, in at most `limit` blocks: what came again, once; then the pieces that grew last, the
    /// latest first; then the others.
    pub fn sack_blocks(&mut self, limit: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if limit == 0 {
            return blocks;
        }
        let (out_of_order, fin) = (&self.out_of_order, self.fin);
        self.recent_sack.retain(|&octet| out_of_order.piece_with(octet).is_some());
        let recent = self.recent_sack.iter().filter_map(|&octet| out_of_order.piece_with(octet));
        for piece in self.dsack.take().into_iter().chain(recent).chain(out_of_order.pieces()) {
            if blocks.as_slice().len() >= limit {
                break;
            }
            // The FIN is part of what came, or its sender would wait for its timeout to send what is missing before it.
            let piece = (piece.0, if fin == Some(piece.1) { piece.1.advance(1) } else { piece.1 });
            if !blocks.as_slice().contains(&piece) {
                blocks = blocks.with(piece.0, piece.1).unwrap_or(blocks);
            }
        }
        blocks
    }

    /// Notes the peer's FIN, which follows the octet before `seq`.
    pub fn note_fin(&mut self, seq: SeqNumber) {
        self.fin.get_or_insert(seq);
    }

    /// Takes the FIN if its turn has come: everything before it has arrived. Returns whether it did now.
    pub fn take_fin(&mut self) -> bool {
        if self.fin_taken || self.fin != Some(self.nxt) {
            return false;
        }
        self.nxt = self.nxt.advance(1);
        self.edge = self.edge.latest(self.nxt);
        self.fin_taken = true;
        true
    }

    /// Room left in the buffer.
    fn room(&self) -> u32 {
        self.limit.saturating_sub(self.buffer.len() as u32)
    }

    /// The window we could offer. With a scale some room stays in reserve, to round up into.
    fn offerable(&self) -> u32 {
        self.room().saturating_sub(if self.scale == 0 { 0 } else { self.limit / RESERVE })
    }

    /// Whether the window has opened by so much that the peer should hear of it unasked: by two segments or half of the
    /// buffer, so that no silly window is ever announced (MUST-39, RFC 9293 §3.8.6.2.2).
    pub fn should_announce_window(&self, mss: u32) -> bool {
        let opened = self.offerable().saturating_sub(self.window());
        !self.fin_taken && opened >= (2 * mss).min(self.limit / 2)
    }

    /// The window field to send now. Moves the advertised edge, never back.
    pub fn advertise(&mut self, mss: u32) -> u16 {
        let offerable = self.offerable();
        let current = self.window();
        // Less than a segment more is not worth saying: it would invite a small segment.
        let wanted = if offerable >= current.saturating_add(mss.min(self.limit / 2)) { offerable } else { current };
        let unit = 1 << self.scale;
        // Rounded up, so that the edge does not move back by a fraction of a unit (RFC 7323 §2.4), but never beyond the
        // room there is: a peer that sends single octets could otherwise push the edge on for ever.
        let rounded_up = wanted.div_ceil(unit);
        let units = if rounded_up * unit <= self.room() { rounded_up } else { wanted / unit };
        let field = u16::try_from(units).unwrap_or(u16::MAX);
        self.edge = self.edge.latest(self.nxt.advance(u32::from(field) << self.scale));
        field
    }
}

/// The window scale to offer for a buffer of `limit` octets: the smallest shift that lets 16 bits describe it.
pub fn window_scale_for(limit: usize) -> u8 {
    let mut scale = 0;
    while scale < crate::wire::tcp_options::MAX_WINDOW_SCALE && (limit >> scale) > usize::from(u16::MAX) {
        scale += 1;
    }
    scale
}
