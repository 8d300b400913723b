//! An example of each reason for which frames are refused: one a second, so that it costs nothing under flood.

use super::Stack;
use crate::{drops::DropReason, time::Instant, wire::FourTuple};
use std::time::Duration;

/// Octets of a frame that are kept: all headers, as a rule.
const KEPT: usize = 96;

/// For so long after an example none of the same reason is taken.
const EVERY: Duration = Duration::from_secs(1);

/// A frame that was refused.
#[derive(Clone, Copy, Debug)]
pub struct DropExample<'a> {
    /// Why.
    pub reason: DropReason,
    /// When it came.
    pub at: Instant,
    /// Its first octets, from the link header on: 96 at most.
    pub octets: &'a [u8],
    /// Octets that it had.
    pub length: usize,
    /// Its two ends, where it is TCP in plain headers.
    pub tuple: Option<FourTuple>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Instant,
    again_at: Instant,
    length: u32,
    octets: [u8; KEPT],
}

/// By reason, the last one.
#[derive(Debug)]
pub(super) struct DropExamples(Box<[Kept]>);

impl DropExamples {
    pub fn new() -> Self {
        let none = Kept { at: Instant::ZERO, again_at: Instant::ZERO, length: 0, octets: [0; KEPT] };
        Self(vec![none; DropReason::ALL.len()].into())
    }

    /// Keeps a frame, where none was kept for its reason in the last second.
    #[inline]
    pub fn offer(&mut self, now: Instant, reason: DropReason, frame: &[u8]) {
        let kept = &mut self.0[reason as usize];
        if now >= kept.again_at {
            kept.take(now, frame);
        }
    }
}

impl Kept {
    #[cold]
    fn take(&mut self, now: Instant, frame: &[u8]) {
        (self.at, self.again_at) = (now, now + EVERY);
        self.length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let kept = frame.len().min(KEPT);
        self.octets[..kept].copy_from_slice(&frame[..kept]);
    }
}

impl Stack {
    /// For each reason for which a frame was refused, the last example that was taken: the first such frame, and later the first one
    /// that comes a second after an example or more. Refusals that are of no frame, such as a handshake's end, have none.
    pub fn drop_examples(&self) -> impl Iterator<Item = DropExample<'_>> {
        let examples = DropReason::ALL.iter().zip(&self.drop_examples.0);
        examples.filter(|(_, kept)| kept.again_at != Instant::ZERO).map(|(&reason, kept)| {
            let length = kept.length as usize;
            let octets = &kept.octets[..length.min(KEPT)];
            let tuple = self.secrets.glimpse(octets).map(|glimpse| glimpse.tuple);
            DropExample { reason, at: kept.at, octets, length, tuple }
        })
    }
}

/// The reason, in a sentence, and whose the frame was.
impl std::fmt::Display for DropExample<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.length)?;
        if let Some(FourTuple { local, remote }) = self.tuple {
            write!(f, " from {remote} to {local}")?;
        }
        write!(f, " refused ({}): {}", self.reason.name(), self.reason.meaning())
    }
}
