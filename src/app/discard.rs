//! The discard service (RFC 863).

use super::{Origin, Service};
use crate::{stack::ConnectionId, worker::Context};

/// Reads everything, says nothing, and closes when the peer does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Service for Discard {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, (): &mut (), id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        while !stream.readable().is_empty() {
            stream.consume(stream.readable().len());
        }
        if stream.at_end() {
            stream.close();
        }
    }
}
