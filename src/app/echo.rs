//! The echo service (RFC 862).

use super::Service;
use crate::stack::Stream;

/// Sends everything back, and closes when the peer does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    type Session = ();

    fn open(&mut self, _: &mut Stream<'_>) {}

    fn ready(&mut self, (): &mut (), stream: &mut Stream<'_>) {
        stream.forward();
        if stream.at_end() {
            stream.close();
        }
    }

    fn datagram(&mut self, data: &[u8], answer: &mut Vec<u8>) -> bool {
        answer.extend_from_slice(data);
        true
    }
}
