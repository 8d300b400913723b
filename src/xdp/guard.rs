//! The switches of the XDP program's guard: whether it is armed, how SYN-ACKs leave, by which keys cookies are made, and what
//! budgets there are. `bpf/guard.h` says what they do; which listeners are guarded is said in [`Services`](super::Services).

use super::{
    FlowFilter, Verdicts, XdpError,
    filter::HashKeys,
    settings::{Settings, at},
    steer::types,
    verdicts,
};
use crate::{rng::SipKey, time::nanos};
use libbpf_rs::MapHandle;
use nix::time::{ClockId, clock_gettime};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// SYNs for closed ports that may pass in a tick and on each CPU, unless told otherwise; and RSTs of no known flow.
const CLOSED_BUDGET: u32 = 100;

/// Of the clock of `kept_until`: `KEPT_SHIFT` of `bpf/guard.h`.
const KEPT_SHIFT: u32 = 30;

/// The bit of the second word that says that answers go to a certain station.
const IS_SET: u32 = 1 << 16;

/// A link address as the program compares and copies it: four octets as they stand in a frame, and two.
fn words_of([a, b, c, d, e, f]: [u8; 6]) -> [u32; 2] {
    [u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]).into()]
}

/// The clock that the programs look at.
pub(super) fn monotonic() -> Duration {
    // It is there wherever Linux is.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// How frames leave that the program sends: SYN-ACKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By `XDP_TX`, which every driver has that runs XDP.
    Transmit,
    /// By a redirection to the interface, as veth needs it.
    Redirect,
    /// Not at all: nobody at the other end would take them. SYNs are handed to the stack, and all else is as before.
    Nowhere,
}

/// What becomes of a SYN whose checksum is that of the pseudo-header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It counts as wrong.
    Refused,
    /// It is answered, with a checksum computed in full: for a driver's frames, such as those of a veth.
    Taken,
    /// It is answered with that of the pseudo-header, too. In generic mode the frame is a packet of the kernel's, which remembers that its
    /// checksum is yet to be finished: the kernel finishes it, or tells the receiver that nothing can have damaged it.
    Kept,
}

/// The guard of a loaded program.
#[derive(Debug)]
pub struct Guard {
    settings: Arc<Settings>,
    counters: GuardCounters,
    filter: FlowFilter,
}

/// What a program counts that its guard asks for.
#[derive(Debug)]
pub(super) struct GuardCounters {
    pub syns: MapHandle,
    pub verdicts: MapHandle,
}

impl Guard {
    pub(super) fn new(settings: Arc<Settings>, counters: GuardCounters, filter: FlowFilter, keys: HashKeys) -> Self {
        settings.set(at::BUCKET_MASK, filter.bucket_mask());
        settings.set_hash_keys(keys.as_array());
        let guard = Self { settings, counters, filter };
        guard.set_closed_budget(CLOSED_BUDGET);
        guard
    }

    /// Our own link address: frames to others, or to groups, draw no SYN-ACK.
    pub fn set_mac(&self, mac: [u8; 6]) {
        let [head, tail] = words_of(mac);
        self.settings.set(at::MAC_HEAD, head);
        self.settings.set(at::MAC_TAIL, tail);
    }

    /// The flows that are let pass.
    pub fn filter(&self) -> &FlowFilter {
        &self.filter
    }

    /// Whether anything is guarded: as long as nothing is, the program only steers. It answers SYNs at once, and lets
    /// strangers pass until [`Guard::settle`]: handshakes that ended before may be on their way to a worker still.
    pub fn arm(&self, is_armed: bool) {
        self.settings.set(at::ARMED, if is_armed { types::armed::LEARNING.0 } else { types::armed::DISARMED.0 });
    }

    /// Strangers pass no more, if the guard is armed. To be called when every worker has taken in what came before.
    pub fn settle(&self) {
        let (learning, armed) = (types::armed::LEARNING.0, types::armed::ARMED.0);
        // Somebody else may be disarming it.
        let word = self.settings.word(at::ARMED);
        let _ = word.compare_exchange(learning, armed, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// How answers leave. By default it is `XDP_TX`.
    pub fn set_way_out(&self, way: WayOut) {
        let word = match way {
            WayOut::Transmit => types::way_out::BY_TX,
            WayOut::Redirect => types::way_out::BY_REDIRECT,
            WayOut::Nowhere => types::way_out::NO_WAY,
        };
        self.settings.set(at::WAY_OUT, word.0);
    }

    /// Whether the program sends its answers itself.
    pub fn has_way_out(&self) -> bool {
        self.settings.get(at::WAY_OUT) != types::way_out::NO_WAY.0
    }

    /// What becomes of a SYN whose checksum is that of the pseudo-header alone. By default it is refused.
    pub fn set_unfinished(&self, unfinished: Unfinished) {
        let word = match unfinished {
            Unfinished::Refused => types::unfinished::REFUSED,
            Unfinished::Taken => types::unfinished::TAKEN,
            Unfinished::Kept => types::unfinished::KEPT,
        };
        self.settings.set(at::UNFINISHED, word.0);
    }

    /// How many SYNs for closed ports are handed to the stack for an RST, in a tick and on each CPU; the others
    /// are dropped in silence. As many RSTs of no known flow are: the stack remembers which handshakes they end.
    pub fn set_closed_budget(&self, syns: u32) {
        self.settings.set(at::CLOSED_BUDGET, syns);
    }

    /// The station that SYN-ACKs go to from now on, rather than to where a SYN came from. One that is made while this is changed may
    /// go to neither, and is lost as any frame may be.
    pub fn set_answers_to(&self, station: [u8; 6]) {
        let [head, tail] = words_of(station);
        self.settings.set(at::ANSWERS_HEAD, head);
        self.settings.set(at::ANSWERS_TAIL, tail | IS_SET);
    }

    /// How many SYN-ACKs a source prefix (/24 or /56) may draw, in a tick and on each CPU; none for as many as it asks for. A
    /// SYN above the budget is answered when it comes again.
    pub fn set_prefix_budget(&self, answers: Option<u32>) {
        self.settings.set(at::PREFIX_BUDGET, answers.map_or(0, |answers| answers.max(1)));
    }

    /// Begins the next tick, in which all budgets are whole again. There should be ten a second.
    pub fn tick(&self) {
        self.settings.word(at::TICK).fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the program the key of an epoch, to be there before [`Guard::begin_epoch`].
    pub fn set_epoch_key(&self, epoch: u64, key: SipKey) {
        self.settings.set_epoch_key(epoch, key);
    }

    /// Makes an epoch the current one. Its key and the last one's are there already.
    pub fn begin_epoch(&self, epoch: u64) {
        // The program tells epochs apart by their parity, and finds keys by their number modulo four: 32 bits are enough.
        self.settings.set(at::EPOCH, epoch as u32);
    }

    /// Says that the keys are kept, and will count for so long from now on if this is not said again: while they do, SYNs are answered
    /// in the names of backends that take handshakes over. Whoever dies leaves keys behind that grow old, and then backends answer.
    pub fn keep_keys(&self, time: Duration) {
        let ticks = nanos(monotonic() + time) >> KEPT_SHIFT;
        self.settings.set(at::KEPT_UNTIL, (ticks as u32).max(1));
    }

    /// Whether cookies of the last epoch count, as they do unless told otherwise.
    pub fn accept_last_epoch(&self, accept: bool) {
        self.settings.set(at::SHORT_GRACE, (!accept).into());
    }

    /// Whether cookies of the next epoch count already, whose key is there: those of a machine whose calendar is ahead.
    pub fn accept_next_epoch(&self, accept: bool) {
        self.settings.set(at::NEXT_EPOCH, accept.into());
    }

    /// What the program decided so far, as [`Program::verdicts`](super::Program::verdicts) has it.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn verdicts(&self) -> Result<Verdicts, XdpError> {
        Verdicts::read(&self.counters.verdicts)
    }

    /// What was dropped so far that came of no flow and began none.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn strangers(&self) -> Result<u64, XdpError> {
        verdicts::strangers(&self.counters.verdicts)
    }

    /// Acknowledgments so far that were no flow's and no cookie's.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn invalid_cookies(&self) -> Result<u64, XdpError> {
        verdicts::invalid_cookies(&self.counters.verdicts)
    }

    /// SYNs that the program has seen for the listener with this [number](super::Listener::number), guarded or not, and for those
    /// that had it before.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn syns(&self, number: u32) -> Result<u64, XdpError> {
        verdicts::sum_of_cpus(&self.counters.syns, number)
    }
}
