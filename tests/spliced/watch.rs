//! An onlooker at the peers: what a peer is told of itself must be of what it has said. Losing heart over a wrong SACK block or echo would
//! only make it slow, and every octet would be right in the end.

use xskip_core::wire::{self, ChecksumPolicy, Packet, SeqNumber, TcpFlags, TcpHeader};

/// What a peer has said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Behind its last octet.
    highest: Option<SeqNumber>,
    /// The first and the last that its clock showed.
    clock: Option<(u32, u32)>,
}

impl Watch {
    /// It sends a frame.
    pub fn said(&mut self, frame: &[u8]) {
        let Some((header, data)) = segment(frame) else { return };
        if header.flags.contains(TcpFlags::RST) {
            return;
        }
        let end = header.seq.advance(data as u32 + u32::from(header.flags.intersects(TcpFlags::SYN | TcpFlags::FIN)));
        self.highest = Some(self.highest.map_or(end, |highest| highest.latest(end)));
        if let Some(stamps) = header.options.timestamps {
            // A SYN-ACK that is sent again shows what the first one did.
            let (first, last) = self.clock.unwrap_or((stamps.value, stamps.value));
            self.clock = Some((first, SeqNumber::new(last).latest(SeqNumber::new(stamps.value)).get()));
        }
    }

    /// It is told something.
    pub fn hears(&self, frame: &[u8]) {
        let Some((header, _)) = segment(frame) else { return };
        let Some(highest) = self.highest.filter(|_| header.flags.contains(TcpFlags::ACK)) else { return };
        if header.flags.contains(TcpFlags::RST) {
            return;
        }
        assert!(header.ack.at_or_before(highest), "acknowledges what was never sent: {header:?}");
        for &(left, right) in header.options.sack.as_slice() {
            let is_right = left.precedes(right) && right.at_or_before(highest);
            assert!(is_right, "SACK of what was never sent: {header:?}");
        }
        if let Some((stamps, (first, last))) = header.options.timestamps.zip(self.clock) {
            let is_shown = stamps.echo.wrapping_sub(first) <= last.wrapping_sub(first);
            assert!(is_shown, "echoes {} that was never shown, from {first} to {last}: {header:?}", stamps.echo);
        }
    }
}

fn segment(frame: &[u8]) -> Option<(TcpHeader, usize)> {
    match wire::parse(frame, ChecksumPolicy::Verify).ok()?.packet {
        Packet::Tcp(_, segment) => Some((segment.header, segment.payload.len())),
        _ => None,
    }
}

/// Whether a window is shut exactly where it was before the frame was translated.
pub fn same_door(before: &[u8], after: &[u8]) -> bool {
    let is_shut = |frame: &[u8]| segment(frame).map(|(header, _)| header.window == 0);
    is_shut(before) == is_shut(after)
}
