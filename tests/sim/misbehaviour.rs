//! Peers that misbehave: what an honest stack sends is rewritten on its way, or joined by nonsense.

use crate::dice::{CERTAIN, Dice};
use std::{collections::HashMap, time::Duration};
use xskip_core::{
    time::Instant,
    wire::{
        self, ChecksumPolicy, IpHeader, LinkHeader, Packet, SeqNumber, TcpFlags, TcpHeader, tcp_options::SackBlocks,
    },
};

/// How one side's frames are rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Not at all.
    #[default]
    None,
    /// Only each so many-th bare acknowledgment is sent, unless the last one was long ago.
    StretchesAcks(u32),
    /// One window in so many is given back.
    ShrinksWindows(u32),
    /// Now and then more is acknowledged than has come.
    AcknowledgesAhead,
    /// Reports claim what has not come, or could not.
    LiesInReports,
}

/// Rewrites the frames of one side.
#[derive(Debug)]
pub struct Rewriter {
    misbehaviour: Misbehaviour,
    dice: Dice,
    /// By flow: acknowledgments kept back in a row, and when the last one was not.
    kept_back: HashMap<(u16, u16), (u32, Instant)>,
}

/// No longer than this is an acknowledgment kept back (MUST-40).
const LONGEST: Duration = Duration::from_millis(490);

impl Rewriter {
    /// One that has seen nothing yet.
    pub fn new(misbehaviour: Misbehaviour, dice: Dice) -> Self {
        Self { misbehaviour, dice, kept_back: HashMap::new() }
    }

    /// What is sent in place of a frame, if anything is.
    pub fn rewrite(&mut self, now: Instant, frame: Vec<u8>) -> Option<Vec<u8>> {
        if self.misbehaviour == Misbehaviour::None {
            return Some(frame);
        }
        let Ok(parsed) = wire::parse(&frame, ChecksumPolicy::Verify) else { return Some(frame) };
        let Packet::Tcp(ip, segment) = parsed.packet else { return Some(frame) };
        let mut header = segment.header;
        if header.flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
            return Some(frame);
        }
        match self.misbehaviour {
            Misbehaviour::None => {}
            Misbehaviour::StretchesAcks(every) if segment.is_empty() => {
                let ports = (header.source_port, header.destination_port);
                let (kept_back, passed) = self.kept_back.entry(ports).or_default();
                if *kept_back + 1 < every && now - *passed < LONGEST {
                    *kept_back += 1;
                    return None;
                }
                (*kept_back, *passed) = (0, now);
            }
            Misbehaviour::StretchesAcks(_) => {}
            Misbehaviour::ShrinksWindows(one_in) => {
                if self.dice.happens(CERTAIN / one_in) {
                    header.window = self.dice.below(u64::from(header.window) + 1) as u16;
                }
            }
            Misbehaviour::AcknowledgesAhead => {
                if self.dice.happens(CERTAIN / 4) {
                    header.ack = header.ack.advance(self.dice.below(6_000) as u32);
                }
            }
            Misbehaviour::LiesInReports => header.options.sack = self.lies(&header),
        }
        Some(build(&parsed.link, &ip, &header, segment.payload))
    }

    /// True and false reports mixed: of what is still on its way, of what was never sent, and the wrong way round. Only where
    /// there is a report already, so that it is clear that the other end wants any.
    fn lies(&mut self, header: &TcpHeader) -> SackBlocks {
        let told = header.options.sack;
        if told.as_slice().is_empty() || !self.dice.happens(CERTAIN / 2) {
            return told;
        }
        let mut lies = SackBlocks::default();
        for &(left, right) in told.as_slice() {
            let by = self.dice.below(5_000) as u32;
            let lie = match self.dice.below(5) {
                0 => (left, right.advance(by)),
                1 => (left.back(by), right),
                2 => (right, left),
                3 => (left.advance(1 << 30), right.advance(1 << 30)),
                _ => (left, right),
            };
            lies = lies.with(lie.0, lie.1).unwrap_or(lies);
        }
        lies
    }
}

/// What is done to a segment that belongs to an established connection.
pub type Change = fn(&mut TcpHeader, &mut Vec<u8>);

/// A frame with its segment changed, its checksum too; others stay as they are.
pub fn changed(frame: Vec<u8>, change: Change) -> Vec<u8> {
    let Ok(parsed) = wire::parse(&frame, ChecksumPolicy::Verify) else { return frame };
    let Packet::Tcp(ip, segment) = parsed.packet else { return frame };
    if segment.header.flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
        return frame;
    }
    let (mut header, mut payload) = (segment.header, segment.payload.to_vec());
    change(&mut header, &mut payload);
    build(&parsed.link, &ip, &header, &payload)
}

/// A frame with the mark of congestion, where its sender said that it understands it (RFC 3168 §5).
pub fn marked(frame: Vec<u8>) -> Vec<u8> {
    const MARK: u8 = 3;
    let Ok(parsed) = wire::parse(&frame, ChecksumPolicy::Verify) else { return frame };
    let Packet::Tcp(mut ip, segment) = parsed.packet else { return frame };
    if ip.traffic_class & MARK == 0 {
        return frame;
    }
    ip.traffic_class |= MARK;
    build(&parsed.link, &ip, &segment.header, segment.payload)
}

/// A frame with these headers and data, with checksums that add up.
pub fn build(link: &LinkHeader, ip: &IpHeader, header: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; wire::tcp_frame_len(link, ip, header) + payload.len()];
    wire::write_tcp(link, ip, header, (payload, &[]), &mut frame);
    frame
}

/// Someone who guesses: segments that look as if they belonged to a flow, each with something by which to tell that they do
/// not. An honest stack lets none of them change anything.
#[derive(Clone, Copy, Debug)]
pub struct Garbage {
    /// How long it is between two of them, on average.
    pub every: Duration,
}

impl Garbage {
    /// A segment made from one of the flow.
    pub fn forge(frame: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
        let parsed = wire::parse(frame, ChecksumPolicy::Verify).ok()?;
        let Packet::Tcp(ip, segment) = parsed.packet else { return None };
        let mut header = segment.header;
        if header.flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
            return None;
        }
        let payload = vec![0x5a; dice.below(100) as usize];
        let far = SeqNumber::new(dice.between(1 << 28, (1 << 31) - 1) as u32);
        match dice.below(5) {
            // Where nobody listens.
            0 => header.seq = header.seq.advance(far.get()),
            // An acknowledgment of what is far from being sent, or long gone (RFC 5961 §5.2).
            1 => header.ack = header.ack.advance(far.get()),
            2 => header.ack = header.ack.back(far.get()),
            // A SYN in the window (RFC 5961 §4.2).
            3 => (header.flags, header.seq) = (TcpFlags::SYN, header.seq.advance(1)),
            // An RST near the place (RFC 5961 §3.2): far enough, so that it is exact by no chance.
            _ => {
                header.flags = TcpFlags::RST;
                header.seq = header.seq.advance(dice.between(1 << 21, 1 << 24) as u32);
            }
        }
        Some(build(&parsed.link, &ip, &header, &payload))
    }
}
