//! The discard service (RFC 863).

use super::Service;
use crate::stack::Stream;

/// Reads everything, says nothing, and closes when the peer does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Service for Discard {
    type Session = ();

    fn open(&mut self, _: &mut Stream<'_>) {}

    fn ready(&mut self, (): &mut (), stream: &mut Stream<'_>) {
        while !stream.readable().is_empty() {
            stream.consume(stream.readable().len());
        }
        if stream.at_end() {
            stream.close();
        }
    }
}
