//! The character generator (RFC 864).

use super::{Datagram, Origin, Service};
use crate::{stack::ConnectionId, worker::Context};

/// The printing ASCII characters, in order.
const FIRST: u8 = b' ';
const CHARACTERS: u64 = 95;
/// A line: 72 characters, each line beginning one character further on, and its end.
const TEXT: u64 = 72;
const LINE: u64 = TEXT + 2;
/// After so many octets the pattern begins anew.
const PERIOD: u64 = LINE * CHARACTERS;
/// Octets made at a time.
const PIECE: usize = 65_536;

/// Sends characters until the peer closes, as fast as it reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chargen;

/// Where in the pattern a connection is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position(u64);

impl Position {
    fn next(&mut self) -> u8 {
        let (line, column) = (self.0 / LINE, self.0 % LINE);
        self.0 = (self.0 + 1) % PERIOD;
        match column.checked_sub(TEXT) {
            None => FIRST + ((line + column) % CHARACTERS) as u8,
            Some(0) => b'\r',
            Some(_) => b'\n',
        }
    }
}

impl Service for Chargen {
    type Session = Position;

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) -> Position {
        Position::default()
    }

    fn ready(&mut self, position: &mut Position, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        while !stream.readable().is_empty() {
            stream.consume(stream.readable().len());
        }
        if stream.at_end() {
            stream.close();
            return;
        }
        let mut fill = |room: &mut [u8]| {
            room.fill_with(|| position.next());
            room.len()
        };
        while stream.write_with(PIECE, &mut fill) > 0 {}
    }

    fn drain(&mut self, _: &mut Position, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        stream.close_discarding();
    }

    /// RFC 864 answers with any number of characters. With more than were sent, anyone could be flooded from a forged address.
    fn datagram(&mut self, datagram: &Datagram<'_>, answer: &mut Vec<u8>, _: &mut Context<'_>) -> bool {
        let mut position = Position::default();
        answer.extend(datagram.data.iter().map(|_| position.next()));
        true
    }
}
