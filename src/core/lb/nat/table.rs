//! The table: flows opened, found from both ends, heard of and released.

use super::{
    flow::{Key, LINK, NatFlow, PLACE, PORTS, STATE, Said, WORDS, link},
    settings::{BUCKET, NatSettings, WAYS},
};
use crate::{
    lb::{BackendId, FlowHash, Kind, Tick},
    transport::Transport,
    wire::{Endpoint, MacAddress},
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Words of a set: the keys, and then what is kept of each flow.
pub(super) const SET: usize = WAYS * (1 + WORDS);

/// Ports that are tried for a flow, each of the next source.
const TRIES: usize = 16;
const NUMBER: u32 = (1 << 24) - 1;

/// Memory of a table that is no map's.
#[derive(Debug)]
pub struct NatMemory {
    settings: NatSettings,
    sets: Vec<AtomicU64>,
    index: Vec<AtomicU32>,
}

impl NatMemory {
    /// A table without flows.
    pub fn new(settings: NatSettings) -> Self {
        let sets = (0..NatTable::words(&settings)).map(|_| AtomicU64::new(0)).collect();
        let index = (0..NatTable::places(&settings)).map(|_| AtomicU32::new(0)).collect();
        Self { settings, sets, index }
    }

    /// The table in it.
    pub fn table(&self) -> NatTable<'_> {
        NatTable { settings: &self.settings, sets: &self.sets, index: &self.index }
    }
}

/// A table of flows, in memory that others may change at any time.
#[derive(Clone, Copy, Debug)]
pub struct NatTable<'a> {
    pub(super) settings: &'a NatSettings,
    pub(super) sets: &'a [AtomicU64],
    pub(in crate::lb) index: &'a [AtomicU32],
}

/// A flow that is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Its row hash.
    pub hash: FlowHash,
    /// The CPU that opens it.
    pub cpu: u32,
    /// When.
    pub tick: Tick,
    /// What carries it.
    pub transport: Transport,
    /// The client's end.
    pub client: Endpoint,
    /// The service's.
    pub service: Endpoint,
    /// The backend's.
    pub backend: Endpoint,
    /// Which backend that is.
    pub id: BackendId,
    /// The interface that the client is behind.
    pub interface: u32,
    /// Who handed on the client's frame,
    pub station: MacAddress,
    /// and whom it was for.
    pub ours: MacAddress,
}

/// A place in the table that somebody was at when it was looked at: to be filled, or emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatClaim {
    number: u32,
    key: Key,
}

/// Why a flow was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFlow {
    /// No port was found that is free towards its backend.
    NoPort,
    /// The table has no room for it.
    Full,
}

/// A set that a flow could be in.
#[derive(Clone, Copy)]
struct Wish {
    key: Key,
    set: usize,
}

impl<'a> NatTable<'a> {
    /// A table in memory of so many [`NatTable::words`] and [`NatTable::places`]; `None` where it is less.
    pub fn new(settings: &'a NatSettings, sets: &'a [AtomicU64], index: &'a [AtomicU32]) -> Option<Self> {
        let fits = sets.len() >= Self::words(settings) && index.len() >= Self::places(settings);
        fits.then_some(Self { settings, sets, index })
    }

    /// Words of all sets.
    pub const fn words(settings: &NatSettings) -> usize {
        settings.sets() as usize * SET
    }

    /// Places of the index.
    pub const fn places(settings: &NatSettings) -> usize {
        settings.buckets() as usize * BUCKET
    }

    /// What it was made with.
    pub fn settings(&self) -> &'a NatSettings {
        self.settings
    }

    pub(super) fn key(&self, number: u32) -> &'a AtomicU64 {
        let number = number as usize;
        &self.sets[number / WAYS * SET + number % WAYS]
    }

    fn word(&self, number: u32, word: usize) -> &'a AtomicU64 {
        let number = number as usize;
        &self.sets[number / WAYS * SET + WAYS + number % WAYS * WORDS + word]
    }

    fn keys(&self, set: usize) -> &'a [AtomicU64] {
        &self.sets[set * SET..][..WAYS]
    }

    /// The flow with this number, if it can be found.
    pub fn get(&self, number: u32) -> Option<NatFlow> {
        let key = Key(self.key(number).load(Ordering::Acquire));
        key.is_found().then(|| self.read(number, key))
    }

    pub(super) fn read(&self, number: u32, key: Key) -> NatFlow {
        let words = std::array::from_fn(|word| self.word(number, word).load(Ordering::Relaxed));
        NatFlow::from_words(key, &words)
    }

    /// The flow that a client's packet is of, by its row hash and its ends.
    pub fn find(&self, hash: FlowHash, transport: Transport, client: Endpoint, service: Endpoint) -> Option<u32> {
        let (tag, buckets) = self.buckets(hash);
        for place in buckets.into_iter().flat_map(|bucket| bucket * BUCKET..(bucket + 1) * BUCKET) {
            let entry = self.index[place].load(Ordering::Acquire);
            let is_its =
                |flow: NatFlow| flow.transport == transport && flow.client == client && flow.service == service;
            if entry & !NUMBER == tag && self.get(entry & NUMBER).is_some_and(is_its) {
                return Some(entry & NUMBER);
            }
        }
        None
    }

    /// The flow that a backend's packet is of, to this port of the source with this number.
    pub fn find_answer(&self, source: u8, port: u16, transport: Transport, backend: Endpoint) -> Option<u32> {
        let Wish { key, set } = self.wish(source, port, transport, backend);
        let is_its = |&way: &usize| {
            let there = Key(self.keys(set)[way].load(Ordering::Acquire));
            there.is_found() && there.is_same(key)
        };
        let number = (set * WAYS + (0..WAYS).find(is_its)?) as u32;
        self.get(number).filter(|flow| flow.backend == backend).map(|_| number)
    }

    /// Takes down that a flow's packet has come: a client's, or with `answers` a backend's. False where the flow has gone.
    pub fn hear(&self, number: u32, kind: Kind, answers: bool, tick: Tick) -> bool {
        let key = Key(self.key(number).load(Ordering::Acquire));
        if !key.is_found() {
            return false;
        }
        if key.is_dying() {
            let revived = self.key(number).compare_exchange(key.0, key.live().0, Ordering::AcqRel, Ordering::Acquire);
            if revived.is_err_and(|there| !Key(there).is_found()) {
                return false;
            }
        }
        let flow = self.read(number, key);
        let mut next = NatFlow { heard: tick, ..flow };
        let said = if answers { &mut next.backend_said } else { &mut next.client_said };
        match kind {
            Kind::Syn(_) if !answers && flow.is_closing() => {
                (next.client_said, next.backend_said) = (Said::default(), Said::default());
            }
            Kind::Syn(_) if !answers => {} // again, or forged: what has begun is as it was
            Kind::Rst(_) => *said = said.and(Said::RST),
            Kind::Fin(_) => *said = said.and(Said::SPOKEN).and(Said::FIN),
            _ => *said = said.and(Said::SPOKEN).without(Said::RST),
        }
        let words = next.to_words();
        self.word(number, PORTS).store(words[PORTS], Ordering::Relaxed);
        self.word(number, STATE).store(words[STATE], Ordering::Relaxed);
        // Somebody else may just have taken it for over.
        let there = Key(self.key(number).load(Ordering::Acquire));
        there.is_found() && there.is_same(key)
    }

    /// Takes down whence a client's frame came.
    pub fn learn_way(&self, number: u32, interface: u32, station: MacAddress, ours: MacAddress) {
        let place = self.word(number, PLACE);
        place.store(place.load(Ordering::Relaxed) as u32 as u64 | u64::from(interface) << 32, Ordering::Relaxed);
        let words = link(station, ours);
        (0..2).for_each(|word| self.word(number, LINK + word).store(words[word], Ordering::Relaxed));
    }

    /// Opens a flow, from a port that no other has to its backend.
    ///
    /// # Errors
    /// [`NoFlow`]; then nothing is kept of it.
    pub fn open(&self, opening: &Opening) -> Result<u32, NoFlow> {
        let (number, key) = self.claim(opening)?;
        let (tag, buckets) = self.buckets(opening.hash);
        let is_placed = |&place: &usize| {
            let entry = tag | number;
            self.index[place].compare_exchange(0, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let mut places = buckets.into_iter().flat_map(|bucket| bucket * BUCKET..(bucket + 1) * BUCKET);
        let Some(place) = places.find(is_placed) else {
            self.key(number).store(Key::FREE.0, Ordering::Release);
            return Err(NoFlow::Full);
        };
        let said = if opening.transport == Transport::Udp { Said::SPOKEN } else { Said::default() };
        let kept = NatFlow::from_words(key, &[0; WORDS]);
        let flow = NatFlow {
            client: opening.client,
            service: opening.service,
            backend: opening.backend,
            service_number: opening.id.service.index() as u16,
            backend_number: opening.id.number.get(),
            heard: opening.tick,
            client_said: said,
            place: place as u32,
            interface: opening.interface,
            station: opening.station,
            ours: opening.ours,
            ..kept
        };
        for (word, bits) in flow.to_words().into_iter().enumerate() {
            self.word(number, word).store(bits, Ordering::Relaxed);
        }
        self.key(number).store(key.live().0, Ordering::Release);
        Ok(number)
    }

    /// A number that is the caller's to fill, and its key.
    fn claim(&self, opening: &Opening) -> Result<(u32, Key), NoFlow> {
        let is_ipv4 = opening.backend.address.is_ipv4();
        let sources = self.settings.sources(is_ipv4).len() as u32;
        // A CPU that was not there when ports were shared out has none.
        if sources == 0 || opening.cpu >= self.settings.cpus() {
            return Err(NoFlow::NoPort);
        }
        let start = (opening.hash.get() ^ opening.hash.get() >> 32) as u32;
        let mut draw = start;
        let wishes: [Wish; TRIES] = std::array::from_fn(|round| {
            let source =
                (start % sources + round as u32) % sources + if is_ipv4 { 0 } else { super::MAX_SOURCES as u32 };
            draw = draw.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
            let port = self.settings.port(draw, opening.cpu);
            self.wish(source as u8, port, opening.transport, opening.backend)
        });
        let mut full = None;
        for wish in wishes {
            let keys = self.keys(wish.set);
            let there: [Key; WAYS] = std::array::from_fn(|way| Key(keys[way].load(Ordering::Acquire)));
            if there.iter().any(|key| !key.is_free() && key.is_same(wish.key)) {
                continue;
            }
            let Some(way) = there.iter().position(|key| key.is_free()) else {
                full = full.or(Some(wish));
                continue;
            };
            let claimed = wish.key.claimed().0;
            if keys[way].compare_exchange(Key::FREE.0, claimed, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(((wish.set * WAYS + way) as u32, wish.key));
            }
        }
        if let Some(wish) = full
            && let Some(number) = self.recycle(wish, opening.tick)
        {
            return Ok((number, wish.key));
        }
        // Its backend may still wait for the last of that flow, and lets the new one in when it is asked again (RFC 9293 section 3.6.1).
        let successor = wishes.into_iter().find_map(|wish| Some((self.succeed(wish, opening.tick)?, wish.key)));
        successor.ok_or(if full.is_some() { NoFlow::Full } else { NoFlow::NoPort })
    }

    /// Takes the place and the port of a flow that has ended.
    fn succeed(&self, wish: Wish, tick: Tick) -> Option<u32> {
        let numbers = (0..WAYS).map(|way| (wish.set * WAYS + way) as u32);
        let mut its = numbers.map(|number| (number, Key(self.key(number).load(Ordering::Acquire))));
        let (number, key) = its.find(|(number, key)| {
            let flow = self.read(*number, *key);
            key.is_found() && key.is_same(wish.key) && flow.has_ended() && flow.may_go(tick)
        })?;
        self.oust(number, key, wish, tick)
    }

    /// Takes the place of the oldest flow in a set that may go.
    fn recycle(&self, wish: Wish, tick: Tick) -> Option<u32> {
        let mut oldest: Option<(u16, u32, Key)> = None;
        for number in (0..WAYS).map(|way| (wish.set * WAYS + way) as u32) {
            let key = Key(self.key(number).load(Ordering::Acquire));
            if !key.is_found() {
                continue;
            }
            let flow = self.read(number, key);
            let age = tick.get().wrapping_sub(flow.heard.get());
            if flow.may_go(tick) && oldest.is_none_or(|(most, ..)| age > most) {
                oldest = Some((age, number, key));
            }
        }
        let (_, number, key) = oldest?;
        self.oust(number, key, wish, tick)
    }

    /// Takes the place of a flow that may go; `None` where somebody else has, or it has just spoken.
    fn oust(&self, number: u32, key: Key, wish: Wish, tick: Tick) -> Option<u32> {
        let claim = self.key(number).compare_exchange(key.0, wish.key.claimed().0, Ordering::AcqRel, Ordering::Relaxed);
        claim.ok()?;
        if !self.read(number, key).may_go(tick) {
            self.key(number).store(key.0, Ordering::Release);
            return None;
        }
        self.leave_index(number);
        Some(number)
    }

    /// Ends a flow at once: what comes of it later is of no flow. False where somebody else just has.
    pub fn release(&self, number: u32) -> bool {
        let key = Key(self.key(number).load(Ordering::Acquire));
        key.is_found() && self.release_as(number, key)
    }

    /// Likewise, if its key is still this one.
    pub(super) fn release_as(&self, number: u32, key: Key) -> bool {
        let claimed =
            self.key(number).compare_exchange(key.0, key.claimed().0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if claimed {
            self.leave_index(number);
            self.key(number).store(Key::FREE.0, Ordering::Release);
        }
        claimed
    }

    /// Places that somebody is at. A claim takes less than a microsecond, unless it is of a process that was killed.
    pub fn claims(&self) -> Vec<NatClaim> {
        let claim = |number| NatClaim { number, key: Key(self.key(number).load(Ordering::Acquire)) };
        (0..self.settings.flows()).map(claim).filter(|it| it.key.is_claimed()).collect()
    }

    /// Frees places whose claims are the same as a while ago: nobody has been at them since.
    pub fn free(&self, claims: &[NatClaim]) {
        for &NatClaim { number, key } in claims {
            if self.key(number).load(Ordering::Acquire) == key.0 {
                self.leave_index(number);
                self.key(number).compare_exchange(key.0, Key::FREE.0, Ordering::AcqRel, Ordering::Relaxed).ok();
            }
        }
    }

    fn leave_index(&self, number: u32) {
        let place = self.word(number, PLACE).load(Ordering::Relaxed) as u32 as usize;
        let Some(place) = self.index.get(place) else { return };
        let entry = place.load(Ordering::Acquire);
        if entry & NUMBER == number {
            place.compare_exchange(entry, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
    }

    fn wish(&self, source: u8, port: u16, transport: Transport, backend: Endpoint) -> Wish {
        let is_udp = transport == Transport::Udp;
        let hash = self.settings.hash(backend, source, port, is_udp);
        let set = hash as usize & (self.settings.sets() as usize - 1);
        Wish { key: Key::new(hash, source, port, is_udp), set }
    }

    /// The tag of a hash, where it stands in the index, and its buckets.
    fn buckets(&self, hash: FlowHash) -> (u32, [usize; 2]) {
        let hash = hash.get();
        let mask = self.settings.buckets() as usize - 1;
        ((hash as u32 & 0xff).max(1) << 24, [(hash >> 8) as usize & mask, (hash >> 36) as usize & mask])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lb::{Number, ServiceId},
        rng::SipKey,
    };
    use std::net::IpAddr;

    #[test]
    fn claims_of_who_was_killed_are_freed_and_those_of_others_are_not() {
        let sources = [IpAddr::from([198, 18, 0, 5])];
        let memory = NatMemory::new(NatSettings::new(SipKey::from_seed(5), 64, 1, &sources));
        let table = memory.table();
        let end = |last, port| Endpoint { address: IpAddr::from([198, 18, 1, last]), port };
        let opening = |client| Opening {
            hash: FlowHash::from_bits(u64::from(client) << 8 | 7),
            cpu: 0,
            tick: Tick::new(1),
            transport: Transport::Tcp,
            client: end(1, client),
            service: end(2, 443),
            backend: end(3, 443),
            id: BackendId { service: ServiceId(0), number: Number::new(1).unwrap() },
            interface: 1,
            station: MacAddress([2; 6]),
            ours: MacAddress([4; 6]),
        };
        // One was killed when it had begun, one when it was ending a flow; and one is at work yet.
        let (begun, _) = table.claim(&opening(1)).unwrap();
        let ending = table.open(&opening(2)).unwrap();
        let key = Key(table.key(ending).load(Ordering::Acquire));
        table.key(ending).store(key.claimed().0, Ordering::Release);
        let (busy, its) = table.claim(&opening(3)).unwrap();
        let lives = table.open(&opening(4)).unwrap();
        let claims = table.claims();
        assert_eq!(claims.len(), 3);
        table.key(busy).store(its.live().0, Ordering::Release);
        table.free(&claims);
        assert!(table.claims().is_empty());
        let is_free = |number| Key(table.key(number).load(Ordering::Acquire)).is_free();
        assert_eq!([begun, ending, busy, lives].map(is_free), [true, true, false, false]);
        let places = table.index.iter().filter(|place| place.load(Ordering::Acquire) != 0);
        assert_eq!(places.count(), 1, "of the flow that lives");
    }
}
