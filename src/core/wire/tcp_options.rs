//! TCP options (RFC 9293 §3.2, RFC 7323, RFC 2018): a list that may stand at any alignment and lie about its lengths.

use super::{checksum::Checksum, put_words, seq::SeqNumber};
use crate::drops::DropReason;

/// Bytes of options a header can carry.
pub const MAX_LEN: usize = 40;
/// SACK blocks that fit beside nothing else.
pub const MAX_SACK_BLOCKS: usize = 4;
/// The largest shift RFC 7323 §2.3 allows; larger ones are taken for this one.
pub const MAX_WINDOW_SCALE: u8 = 14;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// What is in front of the clocks where timestamps stand alone (RFC 7323 appendix A).
const TIMESTAMPS_HEAD: [u8; 4] = [NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10];

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The clock value it echoes.
    pub echo: u32,
}

impl Timestamps {
    const fn from_octets([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self { value: u32::from_be_bytes([a, b, c, d]), echo: u32::from_be_bytes([e, f, g, h]) }
    }
}

/// The blocks of a SACK option (RFC 2018 §3): each the octets from its left edge up to its right edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlocks {
    count: u8,
    blocks: [(SeqNumber, SeqNumber); MAX_SACK_BLOCKS],
}

impl SackBlocks {
    /// The blocks in the order they were reported.
    pub fn as_slice(&self) -> &[(SeqNumber, SeqNumber)] {
        &self.blocks[..usize::from(self.count)]
    }

    /// Adds a block; `None` where four are there already.
    #[must_use]
    pub fn with(mut self, left: SeqNumber, right: SeqNumber) -> Option<Self> {
        *self.blocks.get_mut(usize::from(self.count))? = (left, right);
        self.count += 1;
        Some(self)
    }
}

/// The options of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// The largest segment its sender takes in, bytes (RFC 9293 §3.7.1).
    pub mss: Option<u16>,
    /// The shift of every later window field from its sender, at most [`MAX_WINDOW_SCALE`].
    pub window_scale: Option<u8>,
    /// Whether its sender understands SACK.
    pub sack_permitted: bool,
    /// Clocks, for round-trip measurement and PAWS.
    pub timestamps: Option<Timestamps>,
    /// What has arrived out of order.
    pub sack: SackBlocks,
}

impl TcpOptions {
    /// Whether this is the list that nearly every segment has: timestamps as RFC 7323 appendix A lays them out, or nothing. If so,
    /// which.
    #[inline(always)]
    pub(super) fn parse_usual(list: &[u8]) -> Option<Option<Timestamps>> {
        match <&[u8; 12]>::try_from(list) {
            Ok([head @ .., a, b, c, d, e, f, g, h]) if *head == TIMESTAMPS_HEAD => {
                Some(Some(Timestamps::from_octets([*a, *b, *c, *d, *e, *f, *g, *h])))
            }
            _ if list.is_empty() => Some(None),
            _ => None,
        }
    }

    /// Reads an option list. Unknown options are skipped by their length (MUST-6).
    ///
    /// # Errors
    /// [`DropReason::BadTcpOptions`] where a length is missing, below two, beyond the list, or wrong for a known kind.
    pub fn parse(mut list: &[u8]) -> Result<Self, DropReason> {
        let mut options = Self::default();
        while let Some((&kind, rest)) = list.split_first() {
            match kind {
                END => break,
                NO_OPERATION => list = rest,
                _ => {
                    let length = usize::from(*rest.first().ok_or(DropReason::BadTcpOptions)?);
                    if length < 2 || length > list.len() {
                        return Err(DropReason::BadTcpOptions);
                    }
                    let (option, behind) = list.split_at(length);
                    options.read(kind, &option[2..])?;
                    list = behind;
                }
            }
        }
        Ok(options)
    }

    fn read(&mut self, kind: u8, body: &[u8]) -> Result<(), DropReason> {
        match (kind, body) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, &[]) => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(Timestamps::from_octets([a, b, c, d, e, f, g, h]));
            }
            (SACK, blocks) if !blocks.is_empty() && blocks.len() % 8 == 0 => {
                for block in blocks.chunks_exact(8) {
                    let edge = |at: usize| {
                        SeqNumber::new(u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]))
                    };
                    self.sack = self.sack.with(edge(0), edge(4)).ok_or(DropReason::BadTcpOptions)?;
                }
            }
            (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS | SACK, _) => return Err(DropReason::BadTcpOptions),
            _ => {}
        }
        Ok(())
    }

    /// Bytes of the list as [`TcpOptions::write`] lays it out, a multiple of four.
    #[inline(always)]
    pub fn len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let window_scale = if self.window_scale.is_some() { 4 } else { 0 };
        // Beside timestamps it takes the place of their padding.
        let sack_permitted = if self.sack_permitted && self.timestamps.is_none() { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 12 } else { 0 };
        let sack = match self.sack.count {
            0 => 0,
            count => 4 + 8 * usize::from(count),
        };
        mss + window_scale + sack_permitted + timestamps + sack
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the list, each option padded with leading no-operations to a multiple of four bytes; SACK-permitted stands in
    /// for those of the timestamps, so that no SYN-ACK needs more room than its SYN had.
    ///
    /// # Panics
    /// Where `list` is not exactly [`TcpOptions::len`] bytes long.
    pub fn write(&self, list: &mut [u8]) {
        assert_eq!(list.len(), self.len(), "the room for options is the room they need");
        self.write_summed(list);
    }

    /// Writes the list as [`TcpOptions::write`] does, and returns the sum over it.
    #[inline]
    pub(super) fn write_summed(&self, list: &mut [u8]) -> Checksum {
        match self {
            Self {
                mss: None,
                window_scale: None,
                sack_permitted: false,
                timestamps: Some(Timestamps { value, echo }),
                sack: SackBlocks { count: 0, .. },
            } => {
                let words = [u32::from_be_bytes(TIMESTAMPS_HEAD), *value, *echo];
                put_words(words, list);
                Checksum::of_words(&words)
            }
            _ if list.is_empty() => Checksum::default(),
            _ => { *self }.write_any(list),
        }
    }

    #[inline(never)]
    fn write_any(&self, list: &mut [u8]) -> Checksum {
        let mut rest = &mut *list;
        let mut put = |octets| rest = put_words([u32::from_be_bytes(octets)], std::mem::take(&mut rest));
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([MSS, 4, high, low]);
        }
        if self.sack_permitted && self.timestamps.is_none() {
            put([NO_OPERATION, NO_OPERATION, SACK_PERMITTED, 2]);
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            let [a, b] = if self.sack_permitted { [SACK_PERMITTED, 2] } else { [NO_OPERATION; 2] };
            put([a, b, TIMESTAMPS, 10]);
            put(value.to_be_bytes());
            put(echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put([NO_OPERATION, WINDOW_SCALE, 3, shift]);
        }
        if self.sack.count > 0 {
            put([NO_OPERATION, NO_OPERATION, SACK, 2 + 8 * self.sack.count]);
            for (left, right) in self.sack.as_slice() {
                put(left.get().to_be_bytes());
                put(right.get().to_be_bytes());
            }
        }
        Checksum::of(list)
    }
}
