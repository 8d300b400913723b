//! Frames that wait for an observer, in memory that is reserved once and never grows.

use crate::{
    tcp::State,
    wire::InterfaceId,
    worker::{Direction, MAX_PORTS, TapEvent},
};
use std::time::Duration;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Frames.
    pub frames: usize,
    /// Octets of all of them.
    pub octets: usize,
}

/// A frame without its octets.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Duration,
    direction: Direction,
    interface: InterfaceId,
    state: Option<State>,
    length: usize,
}

/// Frames in the order in which they were seen, and how many came after them for which there was no room.
#[derive(Debug)]
pub(super) struct Backlog {
    room: Room,
    records: Vec<Record>,
    octets: Vec<u8>,
    /// By interface.
    lost: [u64; MAX_PORTS],
    any_lost: bool,
}

impl Backlog {
    /// Reserves the room; the kernel backs it when it is first used.
    pub fn new(room: Room) -> Self {
        let (records, octets) = (Vec::with_capacity(room.frames), Vec::with_capacity(room.octets));
        Self { room, records, octets, lost: [0; MAX_PORTS], any_lost: false }
    }

    /// Keeps a copy of a frame, or counts it as lost. Once one is lost, so are all that follow until the backlog is cleared: then
    /// there is one gap, and it is at the end.
    pub fn push(&mut self, event: &TapEvent<'_>) {
        let has_room =
            self.records.len() < self.room.frames && self.octets.len() + event.frame.len() <= self.room.octets;
        let &TapEvent { at, direction, interface, frame, state } = event;
        if self.any_lost || !has_room {
            self.any_lost = true;
            self.lost[interface.index().min(MAX_PORTS - 1)] += 1;
            return;
        }
        self.records.push(Record { at, direction, interface, state, length: frame.len() });
        self.octets.extend_from_slice(frame);
    }

    /// The frames kept.
    pub fn events(&self) -> impl Iterator<Item = TapEvent<'_>> {
        let mut rest = &self.octets[..];
        self.records.iter().map(move |&Record { at, direction, interface, state, length }| {
            let (frame, behind) = rest.split_at(length);
            rest = behind;
            TapEvent { at, direction, interface, frame, state }
        })
    }

    /// Frames that came after those kept, and were not: how many, for each interface that has some.
    pub fn lost(&self) -> impl Iterator<Item = (InterfaceId, u64)> {
        let counts = self.lost.iter().enumerate().filter(|&(_, &count)| count > 0);
        counts.filter_map(|(index, &count)| Some((InterfaceId::at(index)?, count)))
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.any_lost
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.octets.clear();
        (self.lost, self.any_lost) = ([0; MAX_PORTS], false);
    }
}
