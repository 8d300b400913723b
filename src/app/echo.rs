//! The echo service (RFC 862).

use super::{Datagram, Origin, Service};
use crate::{stack::ConnectionId, worker::Context};

/// Sends everything back, and closes when the peer does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, (): &mut (), id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        stream.echo();
        if stream.at_end() {
            stream.close();
        }
    }

    fn datagram(&mut self, datagram: &Datagram<'_>, answer: &mut Vec<u8>, _: &mut Context<'_>) -> bool {
        answer.extend_from_slice(datagram.data);
        true
    }
}
