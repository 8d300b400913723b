//! What a worker and whoever steers it tell each other, without either ever waiting.

use crate::{
    drops::DropReason,
    stack::{Stack, SynMode},
    stats::StackStats,
    tcp::cookie::{EPOCH, MasterKey, SHORT_GRACE},
    time::{Instant, nanos},
    wire::{InterfaceId, MacAddress},
};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What comes of no flow and begins none. The XDP program would drop all of it.
const STRANGERS: [DropReason; 7] = [
    DropReason::StrayAck,
    DropReason::BadCookie,
    DropReason::MisdatedCookie,
    DropReason::UsedCookie,
    DropReason::StrayReset,
    DropReason::NoAck,
    DropReason::NoListener,
];

/// A link address that somebody may set, and set again.
#[derive(Debug, Default)]
struct MacCell(AtomicU64);

impl MacCell {
    /// Tells an address of zeros from none.
    const IS_SET: u64 = 1 << 48;

    fn set(&self, MacAddress([a, b, c, d, e, f]): MacAddress) {
        self.0.store(Self::IS_SET | u64::from_be_bytes([0, 0, a, b, c, d, e, f]), Ordering::Relaxed);
    }

    fn get(&self) -> Option<MacAddress> {
        let word = self.0.load(Ordering::Relaxed);
        let [_, _, mac @ ..] = word.to_be_bytes();
        (word != 0).then_some(MacAddress(mac))
    }
}

/// One worker's controls. The worker looks at them once a batch.
#[derive(Debug, Default)]
pub struct Control {
    evictions: AtomicU64,
    connections: AtomicU64,
    guesses: AtomicU64,
    strangers: AtomicU64,
    /// The calendar at the clock's origin, nanoseconds since the Unix epoch; 0 where it is as it was in the beginning.
    calendar: AtomicU64,
    cookies_only: AtomicBool,
    short_grace: AtomicBool,
    /// The interface's MTU; 0 where it has not changed.
    mtu: AtomicU32,
    /// The station that answers go to, where that has changed.
    answers_to: MacCell,
    /// Our own link address, where that has changed.
    mac: MacCell,
    /// Grows with each new master key, so that the lock is taken only then.
    generation: AtomicU32,
    master: Mutex<Option<MasterKey>>,
}

impl Control {
    /// Handshakes that it had to forget before they ended.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Connections that came to be.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Acknowledgments that were no connection's and no cookie's.
    pub fn guesses(&self) -> u64 {
        self.guesses.load(Ordering::Relaxed)
    }

    /// Segments of no flow, and no SYNs for a listener.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// What the calendar shows at the clock's origin, now that it was set.
    pub fn set_calendar(&self, calendar: Duration) {
        self.calendar.store(nanos(calendar), Ordering::Relaxed);
    }

    /// Whether cookies of the last epoch count for a moment only.
    pub fn set_short_grace(&self, short: bool) {
        self.short_grace.store(short, Ordering::Relaxed);
    }

    /// What the stack is to do about SYNs.
    pub fn set_syn_mode(&self, mode: SynMode) {
        self.cookies_only.store(mode == SynMode::Cookie, Ordering::Relaxed);
    }

    /// The largest IP packet that the interface takes from now on, bytes.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// The station that answers go to from now on.
    pub fn set_answers_to(&self, station: MacAddress) {
        self.answers_to.set(station);
    }

    /// Our own link address from now on.
    pub fn set_mac(&self, mac: MacAddress) {
        self.mac.set(mac);
    }

    /// Gives the stack other secrets for its cookies.
    pub fn set_master(&self, master: MasterKey) {
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = Some(master);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What a worker does once a batch. `seen` is the generation it knows.
    pub(super) fn exchange(&self, now: Instant, stack: &mut Stack, seen: &mut u32) {
        let &StackStats { handshakes_evicted, connections_opened, .. } = stack.stats();
        self.evictions.store(handshakes_evicted, Ordering::Relaxed);
        self.connections.store(connections_opened, Ordering::Relaxed);
        self.guesses.store(stack.drops().get(DropReason::BadCookie), Ordering::Relaxed);
        let strangers = STRANGERS.iter().map(|&reason| stack.drops().get(reason)).sum();
        self.strangers.store(strangers, Ordering::Relaxed);
        let calendar = self.calendar.load(Ordering::Relaxed);
        if calendar != 0 {
            stack.set_cookie_calendar(Duration::from_nanos(calendar));
        }
        stack.set_cookie_grace(if self.short_grace.load(Ordering::Relaxed) { SHORT_GRACE } else { EPOCH });
        let cookies_only = self.cookies_only.load(Ordering::Relaxed);
        stack.set_syn_mode(if cookies_only { SynMode::Cookie } else { SynMode::Cache });
        let mtu = self.mtu.load(Ordering::Relaxed);
        if mtu != 0 {
            stack.set_mtu(now, InterfaceId::FIRST, mtu as usize);
        }
        if let Some(station) = self.answers_to.get() {
            stack.set_answers_to(InterfaceId::FIRST, station);
        }
        if let Some(mac) = self.mac.get() {
            stack.set_mac(InterfaceId::FIRST, mac);
        }
        let generation = self.generation.load(Ordering::Acquire);
        if generation != *seen {
            *seen = generation;
            if let Some(master) = self.master.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                stack.set_cookie_master(master);
            }
        }
    }
}
