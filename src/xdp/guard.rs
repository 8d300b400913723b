//! The switches of the XDP program's guard: which listeners answer SYNs with cookies before user space is woken, and by which
//! keys. `bpf/guard.h` says what they do.

use super::{
    FlowFilter, XdpError,
    filter::HashKeys,
    memory::SharedMemory,
    program::{DROPPED_ACK, DROPPED_STRANGERS, address_key},
    refusal,
};
use crate::rng::SipKey;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

/// Keys that the program holds at a time, by epoch.
const EPOCH_KEYS: u64 = 4;

/// SYNs for closed ports that may pass in a tick and on each CPU, unless told otherwise; and RSTs of no known flow.
const CLOSED_BUDGET: u32 = 100;

/// Where the settings stand in `struct guard`, in words of four bytes.
mod at {
    pub const ARMED: usize = 0;
    pub const EPOCH: usize = 1;
    pub const WAY_OUT: usize = 2;
    pub const CLOSED_BUDGET: usize = 3;
    pub const UNLISTED: usize = 4;
    pub const BUCKET_MASK: usize = 5;
    pub const UNFINISHED: usize = 7;
    pub const HASH_KEYS: usize = 8;
    pub const KEYS: usize = 28;
    pub const TICK: usize = 44;
    pub const SHORT_GRACE: usize = 45;
    pub const PREFIX_BUDGET: usize = 46;
    pub const NEXT_EPOCH: usize = 47;
    pub const MAC_HEAD: usize = 48;
    pub const MAC_TAIL: usize = 49;
    pub const ANSWERS_HEAD: usize = 50;
    pub const ANSWERS_TAIL: usize = 51;
    pub const END: usize = 52;
}

/// The bit of the second word that says that answers go to a certain station.
const IS_SET: u32 = 1 << 16;

/// Where things stand in `struct listener`, in bytes.
mod at_listener {
    pub const ADDRESS: usize = 0;
    pub const NUMBER: usize = 16;
    pub const GUARDED: usize = 20;
    pub const NEXT: usize = 24;
    pub const MSS: usize = 28;
    pub const WINDOW: usize = 30;
    /// Behind it the hop limit, whether SACK is used, and the traffic class.
    pub const WINDOW_SCALE: usize = 32;
    pub const END: usize = 40;
}

/// `enum armed`.
const DISARMED: u32 = 0;
const LEARNING: u32 = 1;
const ARMED: u32 = 2;

/// A link address as the program compares and copies it: four octets as they stand in a frame, and two.
fn words_of([a, b, c, d, e, f]: [u8; 6]) -> [u32; 2] {
    [u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]).into()]
}

/// How frames leave that the program sends: SYN-ACKs. It mirrors `enum way_out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By `XDP_TX`, which every driver has that runs XDP.
    Transmit,
    /// By a redirection to the interface, as veth needs it.
    Redirect,
    /// Not at all: nobody at the other end would take them. SYNs are handed to the stack, and all else is as before.
    Nowhere,
}

/// What becomes of a SYN whose checksum is that of the pseudo-header alone. It mirrors `enum unfinished`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It does not add up.
    Refused,
    /// It is answered, with a checksum that adds up: for a driver's frames, such as those of a veth.
    Taken,
    /// It is answered with one that is like it. In generic mode the frame is a packet of the kernel's, which remembers that its
    /// checksum is yet to be finished: the kernel finishes it, or tells the receiver that nothing can have damaged it.
    Kept,
}

/// `NO_WAY` of `enum way_out`.
const NO_WAY: u32 = 2;

/// Bytes of `struct guard`.
pub(super) const GUARD_LEN: usize = at::END * 4;
pub(super) const UNLISTED_AT: usize = at::UNLISTED;

/// What the SYN-ACKs of a listener say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardedListener {
    /// Its number, from 0 on, below [`ProgramOptions::listeners`](super::ProgramOptions): each listener has its own.
    pub number: u32,
    /// The MSS it announces, bytes.
    pub mss: u16,
    /// Its window, bytes: a SYN's is never scaled.
    pub window: u16,
    /// Its window scale.
    pub window_scale: u8,
    /// Whether it offers SACK to who offers it.
    pub sack: bool,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
}

/// The guard of a loaded program.
#[derive(Debug)]
pub struct Guard {
    settings: SharedMemory<AtomicU32>,
    maps: GuardMaps,
    filter: FlowFilter,
}

/// The tables of a program's guard.
#[derive(Debug)]
pub(super) struct GuardMaps {
    pub listeners: MapHandle,
    pub ports: MapHandle,
    pub syns: MapHandle,
    pub verdicts: MapHandle,
}

impl Guard {
    pub(super) fn new(settings: SharedMemory<AtomicU32>, maps: GuardMaps, filter: FlowFilter, keys: HashKeys) -> Self {
        let guard = Self { settings, maps, filter };
        let mask = guard.filter.bucket_mask();
        guard.set(at::BUCKET_MASK, mask);
        guard.set_closed_budget(CLOSED_BUDGET);
        for (number, &key) in keys.as_array().iter().enumerate() {
            guard.set(at::HASH_KEYS + 2 * number, key as u32);
            guard.set(at::HASH_KEYS + 2 * number + 1, (key >> 32) as u32);
        }
        guard
    }

    fn set(&self, at: usize, value: u32) {
        self.settings.as_slice()[at].store(value, Ordering::Release);
    }

    fn set_key_at(&self, at: usize, key: SipKey) {
        for (word, bytes) in (at..).zip(key.to_bytes().chunks_exact(4)) {
            self.set(word, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
    }

    /// Our own link address: frames to others, or to groups, draw no SYN-ACK.
    pub fn set_mac(&self, mac: [u8; 6]) {
        let [head, tail] = words_of(mac);
        self.set(at::MAC_HEAD, head);
        self.set(at::MAC_TAIL, tail);
    }

    /// The flows that are let pass.
    pub fn filter(&self) -> &FlowFilter {
        &self.filter
    }

    /// Whether anything is guarded: as long as nothing is, the program only steers. It answers SYNs at once, and lets
    /// strangers pass until [`Guard::settle`]: handshakes that ended before may be on their way to a worker still.
    pub fn arm(&self, armed: bool) {
        self.set(at::ARMED, if armed { LEARNING } else { DISARMED });
    }

    /// Strangers pass no more, if the guard is armed. To be called when every worker has taken in what came before.
    pub fn settle(&self) {
        let armed = &self.settings.as_slice()[at::ARMED];
        // Somebody else may be disarming it.
        let _ = armed.compare_exchange(LEARNING, ARMED, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// How answers leave. By default it is `XDP_TX`.
    pub fn set_way_out(&self, way: WayOut) {
        let word = match way {
            WayOut::Transmit => 0,
            WayOut::Redirect => 1,
            WayOut::Nowhere => NO_WAY,
        };
        self.set(at::WAY_OUT, word);
    }

    /// Whether the program sends its answers itself.
    pub fn has_way_out(&self) -> bool {
        self.settings.as_slice()[at::WAY_OUT].load(Ordering::Acquire) != NO_WAY
    }

    /// What becomes of a SYN whose checksum is that of the pseudo-header alone. By default it is refused.
    pub fn set_unfinished(&self, unfinished: Unfinished) {
        let word = match unfinished {
            Unfinished::Refused => 0,
            Unfinished::Taken => 1,
            Unfinished::Kept => 2,
        };
        self.set(at::UNFINISHED, word);
    }

    /// How many SYNs for ports that nobody listens on are handed to the stack for an RST, in a tick and on each CPU; the others
    /// are dropped in silence. As many RSTs of no known flow are: the stack remembers which handshakes they end.
    pub fn set_closed_budget(&self, syns: u32) {
        self.set(at::CLOSED_BUDGET, syns);
    }

    /// The station that SYN-ACKs go to from now on, rather than to where a SYN came from. One that is made while this is changed may
    /// go to neither, and is lost as any frame may be.
    pub fn set_answers_to(&self, station: [u8; 6]) {
        let [head, tail] = words_of(station);
        self.set(at::ANSWERS_HEAD, head);
        self.set(at::ANSWERS_TAIL, tail | IS_SET);
    }

    /// How many SYN-ACKs a source prefix (/24 or /56) may draw, in a tick and on each CPU; none for as many as it asks for. A
    /// SYN above the budget is answered when it comes again.
    pub fn set_prefix_budget(&self, answers: Option<u32>) {
        self.set(at::PREFIX_BUDGET, answers.map_or(0, |answers| answers.max(1)));
    }

    /// Begins the next tick, in which all budgets are whole again. There should be ten a second.
    pub fn tick(&self) {
        self.settings.as_slice()[at::TICK].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the program the key of an epoch, to be there before [`Guard::begin_epoch`].
    pub fn set_epoch_key(&self, epoch: u64, key: SipKey) {
        self.set_key_at(at::KEYS + (epoch % EPOCH_KEYS) as usize * 4, key);
    }

    /// Makes an epoch the current one. Its key and the last one's are there already.
    pub fn begin_epoch(&self, epoch: u64) {
        // The program tells epochs apart by their parity, and finds keys by their number modulo four: 32 bits are enough.
        self.set(at::EPOCH, epoch as u32);
    }

    /// Whether cookies of the last epoch count, as they do unless told otherwise.
    pub fn accept_last_epoch(&self, accept: bool) {
        self.set(at::SHORT_GRACE, (!accept).into());
    }

    /// Whether cookies of the next epoch count already, whose key is there: those of a machine whose calendar is ahead.
    pub fn accept_next_epoch(&self, accept: bool) {
        self.set(at::NEXT_EPOCH, accept.into());
    }

    /// What was dropped so far that came of no flow and began none.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn strangers(&self) -> Result<u64, XdpError> {
        DROPPED_STRANGERS.map(|verdict| super::program::sum_of_cpus(&self.maps.verdicts, verdict)).sum()
    }

    /// Acknowledgments so far that were no flow's and no cookie's.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn guesses(&self) -> Result<u64, XdpError> {
        super::program::sum_of_cpus(&self.maps.verdicts, DROPPED_ACK)
    }

    /// Says what a listener's SYN-ACKs are like, and whether the program sends them. It is one thread's to say.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where there are more listeners than the program knows.
    pub fn list(&self, service: &SocketAddr, listener: &GuardedListener, guarded: bool) -> Result<(), XdpError> {
        let refused = |error| refusal::refused(format!("guard {service}"), &error);
        let (ports, listeners) = (&self.maps.ports, &self.maps.listeners);
        let address = address_key(service.ip());
        let number = listener.number.to_ne_bytes();
        let port = u32::from(service.port().to_be()).to_ne_bytes();
        let old = listeners.lookup(&number, MapFlags::ANY).map_err(refused)?.unwrap_or_default();
        let is_listed = old.get(at_listener::MSS..at_listener::MSS + 2).is_some_and(|mss| mss != [0, 0]);
        let next = match is_listed {
            true => old[at_listener::NEXT..at_listener::NEXT + 4].to_vec(),
            false => ports.lookup(&port, MapFlags::ANY).map_err(refused)?.unwrap_or_default(),
        };
        let mut value = [0; at_listener::END];
        let mut put = |at: usize, bytes: &[u8]| value[at..at + bytes.len()].copy_from_slice(bytes);
        put(at_listener::ADDRESS, &address);
        put(at_listener::NUMBER, &number);
        put(at_listener::GUARDED, &u32::from(guarded).to_ne_bytes());
        put(at_listener::NEXT, &next);
        put(at_listener::MSS, &listener.mss.to_ne_bytes());
        put(at_listener::WINDOW, &listener.window.to_ne_bytes());
        let octets = [listener.window_scale, listener.hop_limit, listener.sack.into(), listener.traffic_class];
        put(at_listener::WINDOW_SCALE, &octets);
        listeners.update(&number, &value, MapFlags::ANY).map_err(refused)?;
        if !is_listed {
            // Last: a listener is whole before it can be found.
            ports.update(&port, &(listener.number + 1).to_ne_bytes(), MapFlags::ANY).map_err(refused)?;
        }
        Ok(())
    }

    /// SYNs that the program has seen for a listener, guarded or not.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn syns(&self, number: u32) -> Result<u64, XdpError> {
        super::program::sum_of_cpus(&self.maps.syns, number)
    }
}
