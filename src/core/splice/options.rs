//! Where the options are that have to be translated.

use super::translate::Refusal;

const END: u8 = 0;
const NOTHING: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Octets of options at most, and so steps.
const MAX_LEN: usize = 40;
/// SACK blocks that fit.
const MAX_BLOCKS: usize = 4;

/// Where two kinds of options are, counted from the first octet of the list, or of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// TSval; TSecr follows.
    pub timestamps: Option<usize>,
    /// The first block, and how many there are.
    pub sack: Option<(usize, usize)>,
}

impl Options {
    /// Looks through a list. What stands there twice, or with another length than it has, is malformed: one of two would not be
    /// translated.
    pub fn of(list: &[u8]) -> Result<Self, Refusal> {
        let (mut found, mut at) = (Self::default(), 0);
        for _ in 0..MAX_LEN {
            match list.get(at) {
                None | Some(&END) => break,
                Some(&NOTHING) => at += 1,
                Some(&kind) => {
                    let length = usize::from(*list.get(at + 1).ok_or(Refusal::Malformed)?);
                    if length < 2 || at + length > list.len() {
                        return Err(Refusal::Malformed);
                    }
                    found.note(kind, at, length)?;
                    at += length;
                }
            }
        }
        Ok(found)
    }

    fn note(&mut self, kind: u8, at: usize, length: usize) -> Result<(), Refusal> {
        let is_wrong = match kind {
            TIMESTAMPS => length != 10 || self.timestamps.replace(at + 2).is_some(),
            SACK => {
                let blocks = (length - 2) / 8;
                let is_whole = length == 2 + 8 * blocks && (1..=MAX_BLOCKS).contains(&blocks);
                !is_whole || self.sack.replace((at + 2, blocks)).is_some()
            }
            _ => false,
        };
        if is_wrong { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// Counted from `start` octets before the list.
    pub fn behind(self, start: usize) -> Self {
        Self {
            timestamps: self.timestamps.map(|at| at + start),
            sack: self.sack.map(|(at, blocks)| (at + start, blocks)),
        }
    }
}
