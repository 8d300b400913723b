//! What is over is ended, a piece of the table at a time.

use super::{
    flow::{Key, NatFlow},
    settings::WAYS,
    table::NatTable,
};
use crate::{
    lb::{Tick, Windows, time_window::ticks},
    transport::Transport,
};
use std::{collections::HashMap, ops::Range, sync::atomic::Ordering, time::Duration};

/// How long flows may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatWindows {
    /// Before both ends have spoken. Default 68 s: five retransmissions of a SYN-ACK take 63 s.
    pub opening: Duration,
    /// From then on. Default 2 h 4 min (RFC 5382 REQ-5).
    pub established: Duration,
    /// When both ends have sent a FIN, or one a RST. Default 60 s: a TIME-WAIT of Linux.
    pub closing: Duration,
    /// Of UDP. Default 2 min (RFC 4787 REQ-5).
    pub datagrams: Duration,
}

impl Default for NatWindows {
    fn default() -> Self {
        let Windows { silence, handshake, closing } = Windows::default();
        Self { opening: handshake, established: silence, closing, datagrams: Duration::from_secs(120) }
    }
}

impl NatWindows {
    /// The windows as flows count.
    pub fn in_ticks(&self) -> NatTicks {
        NatTicks {
            opening: ticks(self.opening),
            established: ticks(self.established),
            closing: ticks(self.closing),
            datagrams: ticks(self.datagrams),
        }
    }
}

/// [`NatWindows`] as flows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatTicks {
    /// [`NatWindows::opening`].
    pub opening: u16,
    /// [`NatWindows::established`].
    pub established: u16,
    /// [`NatWindows::closing`].
    pub closing: u16,
    /// [`NatWindows::datagrams`].
    pub datagrams: u16,
}

impl NatFlow {
    /// Whether it has been silent for as long as one like it may be.
    pub fn is_over(&self, tick: Tick, ticks: &NatTicks) -> bool {
        let span = if self.transport == Transport::Udp {
            ticks.datagrams
        } else if self.is_closing() {
            ticks.closing
        } else if self.is_opening() {
            ticks.opening
        } else {
            ticks.established
        };
        tick.is_beyond(self.heard, span)
    }
}

/// What flows there were in the sets that were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All of them.
    pub flows: u64,
    /// Those whose handshake is not over.
    pub opening: u64,
    /// By the number of their service.
    pub by_service: HashMap<u16, u64>,
    /// Flows that were ended.
    pub ended: u64,
}

impl NatTable<'_> {
    /// Looks through sets. A flow that is over is on its way out from then on, and ends when they are looked through again and
    /// it has not spoken meanwhile: to be done seconds later, when no program is still busy with a packet of now.
    pub fn sweep(&self, sets: Range<usize>, tick: Tick, ticks: &NatTicks, census: &mut Census) {
        for number in (sets.start * WAYS) as u32..(sets.end * WAYS).min(self.settings.flows() as usize) as u32 {
            let key = Key(self.key(number).load(Ordering::Acquire));
            if !key.is_found() {
                continue;
            }
            let flow = self.read(number, key);
            if flow.is_over(tick, ticks) {
                if !key.is_dying() {
                    let dying = key.dying().0;
                    self.key(number).compare_exchange(key.0, dying, Ordering::AcqRel, Ordering::Relaxed).ok();
                } else if self.release_as(number, key) {
                    census.ended += 1;
                    continue;
                }
            }
            census.flows += 1;
            census.opening += u64::from(flow.transport == Transport::Tcp && flow.is_opening());
            *census.by_service.entry(flow.service_number).or_default() += 1;
        }
    }

    /// Sets to look through.
    pub fn sets(&self) -> usize {
        self.settings.sets() as usize
    }
}
