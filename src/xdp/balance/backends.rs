//! Backends of services, each eight words: `struct backend` of `bpf/rows.h`.

use super::{
    XdpError,
    counters::{Counters, NO_TALLY},
    create, options,
    outer::Outer,
};
use crate::{
    lb::{BackendId, Balancer, Number, ServiceId, Slot, Way},
    xdp::{memory::SharedMemory, steer::address_octets},
};
use libbpf_rs::{
    MapHandle, MapType,
    libbpf_sys::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

const WORDS: usize = 8;
/// Words of a backend, after its address and that of its tunnel's beginning.
const NEXT_HOP: usize = 4;
const OURS: usize = 5;
const PLACE: usize = 6;
const SPARE: usize = 7;
/// Where a backend's port stands in the word [`SPARE`].
const PORT: u32 = 16;

/// Flags, where they stand in the word [`OURS`].
const FLAGS: u32 = 48;
const IS_LIVE: u64 = 0x01;
const TAKES_NEW: u64 = 0x02;
const IS_DOWN: u64 = 0x04;
const RESETS: u64 = 0x08;
const HAS_WAY: u64 = 0x10;

/// Which half of a change is written: what gives backends more than they had, or what takes it away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Gain,
    Lose,
}

/// A service's backends.
#[derive(Debug)]
struct Its {
    words: SharedMemory<AtomicU64>,
    size: usize,
    tallies: HashMap<Number, u32>,
}

/// All services' backends.
#[derive(Debug)]
pub(super) struct Backends {
    maps: Outer,
    services: HashMap<ServiceId, Its>,
}

fn create_backends(size: usize) -> Result<MapHandle, XdpError> {
    create(MapType::Array, "backends", (4, 8 * WORDS), size, &options(BPF_F_MMAPABLE | BPF_F_INNER_MAP))
}

impl Its {
    fn new(size: usize) -> Result<(Self, MapHandle), XdpError> {
        let map = create_backends(size)?;
        let words = SharedMemory::of_map(map.as_fd(), size * WORDS)?;
        Ok((Self { words, size, tallies: HashMap::new() }, map))
    }

    fn load(&self, element: usize, word: usize) -> u64 {
        self.words.as_slice()[element * WORDS + word].load(Ordering::Relaxed)
    }

    fn store(&self, element: usize, word: usize, value: u64) {
        self.words.as_slice()[element * WORDS + word].store(value, Ordering::Release);
    }

    /// Writes a backend. Where more of its way changes than one word, it has none in between.
    fn write(&self, element: usize, words: &[u64; SPARE]) {
        let differs = |word: usize| self.load(element, word) != words[word];
        let address = |word: u64| word & !(0xff << FLAGS);
        let moves =
            (0..NEXT_HOP).any(differs) || address(self.load(element, OURS)) != address(words[OURS]) || differs(PLACE);
        if moves {
            self.store(element, OURS, self.load(element, OURS) & !(HAS_WAY << FLAGS));
        }
        for word in (0..SPARE).filter(|&word| word != OURS && differs(word)) {
            self.store(element, word, words[word]);
        }
        if differs(OURS) {
            self.store(element, OURS, words[OURS]);
        }
    }

    /// Writes what stands in a backend's word of those that take new flows; its other half is its port.
    fn write_half(&self, element: usize, half: u16) {
        self.store(element, SPARE, self.load(element, SPARE) & !0xffff | u64::from(half));
    }

    /// Says at which port a backend is, for packets that are rewritten.
    fn write_port(&self, element: usize, port: u16) {
        let (there, port) = (self.load(element, SPARE), u64::from(port.to_be()) << PORT);
        if there & 0xffff << PORT != port {
            self.store(element, SPARE, there & !(0xffff << PORT) | port);
        }
    }

    /// Says which backends take new flows: never more than are said.
    fn write_spare(&self, spare: &[Number]) {
        let count = self.load(0, SPARE) as u16;
        self.write_half(0, count.min(spare.len() as u16));
        for (element, number) in (1..self.size).zip(spare) {
            self.write_half(element, number.get());
        }
        self.write_half(0, spare.len().min(self.size - 1) as u16);
    }
}

impl Backends {
    pub fn new(services: usize) -> Result<Self, XdpError> {
        let maps = Outer::new("backends", services, &create_backends(1)?)?;
        Ok(Self { maps, services: HashMap::new() })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.maps.as_fd()
    }

    /// Has programs read what was written, where there is more of it than fitted.
    pub fn flush(&mut self) -> Result<(), XdpError> {
        self.maps.flush()
    }

    /// Where a backend is counted.
    pub fn tally(&self, backend: BackendId) -> u32 {
        let its = self.services.get(&backend.service);
        its.and_then(|its| its.tallies.get(&backend.number)).copied().unwrap_or(NO_TALLY)
    }

    /// Writes the backends of a service, as far as a phase does.
    pub fn write(
        &mut self,
        balancer: &Balancer,
        service: ServiceId,
        way: &dyn Fn(BackendId) -> Option<Way>,
        counters: &mut Counters,
        phase: Phase,
    ) -> Result<(), XdpError> {
        let slots: HashMap<Number, &Slot> = balancer.slots(service).collect();
        let size = slots.keys().map(|number| usize::from(number.get()) + 1).max().unwrap_or(1);
        let its = match self.services.entry(service) {
            Entry::Occupied(there) if there.get().size >= size => there.into_mut(),
            entry => {
                let (mut its, map) = Its::new(size.next_power_of_two())?;
                if let Entry::Occupied(before) = &entry {
                    let words = its.words.as_slice().iter().zip(before.get().words.as_slice());
                    words.for_each(|(new, old)| new.store(old.load(Ordering::Relaxed), Ordering::Relaxed));
                    its.tallies.clone_from(&before.get().tallies);
                }
                self.maps.put(service.index() as u32, map)?;
                entry.insert_entry(its).into_mut()
            }
        };
        for element in 1..its.size {
            let Some(number) = Number::new(element as u16) else { continue };
            let slot = slots.get(&number).copied();
            if slot.is_some() && !its.tallies.contains_key(&number) {
                its.tallies.insert(number, counters.take()?);
            }
            let tally = its.tallies.get(&number).copied().unwrap_or(NO_TALLY);
            if let Some(slot) = slot {
                its.write_port(element, slot.address.port);
            }
            let id = BackendId { service, number };
            let words = words_of(slot, slot.and_then(|_| way(id)), tally);
            match phase {
                Phase::Gain if slot.is_none() => {} // it goes when no row leads there any more
                Phase::Gain => its.write(element, &gained(words, its.load(element, OURS))),
                Phase::Lose => {
                    its.write(element, &words);
                    if slot.is_none()
                        && let Some(tally) = its.tallies.remove(&number)
                    {
                        counters.give_back(tally);
                    }
                }
            }
        }
        if phase == Phase::Lose {
            its.write_spare(balancer.spare(service));
        }
        Ok(())
    }

    /// Forgets the backends of services that are gone, even if others have their numbers now.
    pub fn keep(&mut self, is_there: impl Fn(ServiceId) -> bool, counters: &mut Counters) {
        self.services.retain(|&id, its| {
            let is_kept = is_there(id);
            if !is_kept {
                its.tallies.values().for_each(|&tally| counters.give_back(tally));
                (1..its.size).for_each(|element| its.write(element, &words_of(None, None, NO_TALLY)));
                its.write_spare(&[]);
            }
            is_kept
        });
    }
}

/// A backend's words but for the last.
fn words_of(slot: Option<&Slot>, way: Option<Way>, tally: u32) -> [u64; SPARE] {
    let Some(slot) = slot else { return [0; SPARE] };
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    let way = way.filter(|way| way.mtu >= Way::MIN_MTU);
    let flags = flag(slot.is_live, IS_LIVE)
        | flag(slot.takes_new, TAKES_NEW)
        | flag(slot.is_down(), IS_DOWN)
        | flag(slot.resets, RESETS)
        | flag(way.is_some(), HAS_WAY);
    let [address_low, address_high] = halves(slot.address.address);
    let mut words = [address_low, address_high, 0, 0, 0, flags << FLAGS, u64::from(tally) << 32];
    if let Some(way) = way {
        [words[2], words[3]] = halves(way.source);
        words[NEXT_HOP] = octets(way.next_hop.0) | u64::from(way.mtu) << 48;
        words[OURS] |= octets(way.ours.0);
        words[PLACE] |= u64::from(way.interface);
    }
    words
}

/// The words with all that the backend has or is about to have, and nothing yet that takes from it.
fn gained(mut words: [u64; SPARE], before: u64) -> [u64; SPARE] {
    let (old, new) = (before >> FLAGS & 0xff, words[OURS] >> FLAGS & 0xff);
    let gains = (old | new) & (IS_LIVE | TAKES_NEW);
    let flags = gains | new & HAS_WAY | old & new & (IS_DOWN | RESETS);
    words[OURS] = words[OURS] & !(0xff << FLAGS) | flags << FLAGS;
    words
}

fn halves(address: IpAddr) -> [u64; 2] {
    let octets = u128::from_le_bytes(address_octets(address));
    [octets as u64, (octets >> 64) as u64]
}

fn octets([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}
