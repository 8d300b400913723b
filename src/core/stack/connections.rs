//! The connections of a stack. One that is awake has a control block; one that has been idle for long sleeps in an eighth of that.

mod idle;

use super::{
    ConnectionId, ListenerId,
    aged_slab::AgedSlab,
    icmp_in::PendingErrors,
    memory::{Account, Memory},
    silent::Silent,
    slab::Slab,
    via::Kept,
};
use crate::{
    config::{StackConfig, TcpConfig, Thrift},
    prefetch::prefetch,
    tcp::{Connection, Dormant, History, State, TcpInfo},
    time::Instant,
    wire::{FourTuple, InterfaceId, MacAddress, SeqNumber},
};
use std::net::IpAddr;

/// A connection that is awake, with what the stack knows of it besides.
#[derive(Debug)]
pub(super) struct Entry {
    pub connection: Connection,
    pub generation: u32,
    /// The 4-tuple's hash, for leaving the flow table.
    pub hash: u32,
    /// Whether the flow table leads here. Once the protocol needs the connection no more it does not, though the application
    /// may have data to read still.
    pub attached: bool,
    pub ready_queued: bool,
    pub transmit_queued: bool,
    /// The interface that its segments were made to fit.
    pub interface: InterfaceId,
    /// Where it stands in the list of those that may be put to sleep.
    idle_at: Option<u32>,
    /// The deadline that is armed in the timer wheel. A later one is not armed anew: when the wheel calls, the timer is found to have
    /// moved. Only an earlier one is.
    pub armed_for: Instant,
    /// Where it stands in the list of those whose peers keep their windows shut.
    pub stalled: Option<u32>,
    /// RCV.NXT and SND.UNA when the handshake was over, for as long as they are what they were: its peer has said nothing yet.
    silent: Option<(SeqNumber, SeqNumber)>,
    /// What of the memory of all is its own.
    pub account: Account,
    /// Soft errors that the application has not been told of yet.
    pub pending_errors: PendingErrors,
    /// Segments sent again, since it was created or last woke.
    pub retransmitted: u32,
    /// There where its way is the caller's choice, and stays.
    pub via: Option<Box<Kept>>,
}

impl Entry {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            generation: 0,
            hash: 0,
            attached: true,
            ready_queued: false,
            transmit_queued: false,
            interface: InterfaceId::FIRST,
            idle_at: None,
            armed_for: Instant::NEVER,
            stalled: None,
            silent: None,
            account: Account::new(),
            pending_errors: PendingErrors::default(),
            retransmitted: 0,
            via: None,
        }
    }

    /// Everything but the connection is as for one that has just come.
    fn begin(&mut self, generation: u32, hash: u32, interface: InterfaceId) {
        self.interface = interface;
        (self.generation, self.hash) = (generation, hash);
        (self.attached, self.ready_queued, self.transmit_queued) = (true, false, false);
        (self.armed_for, self.idle_at, self.stalled, self.silent) = (Instant::NEVER, None, None, None);
        (self.pending_errors, self.retransmitted) = (PendingErrors::default(), 0);
        self.via = None;
        self.account.begin();
    }

    /// Whether it stands in line with those whose peers have said nothing, and its peer has said something.
    pub fn has_spoken(&self) -> bool {
        self.silent.is_some_and(|numbers| numbers != self.connection.heard_up_to())
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    /// What a look-up compares, whether anybody is woken or not.
    tuple: FourTuple,
    hash: u32,
    generation: u32,
    /// Where it stands in the line of those whose peers have said nothing yet.
    silent: u32,
    /// Where it was accepted.
    listener: Option<ListenerId>,
    pub body: Body,
}

/// Ends of connections that no application has heard of, beyond the limit of connections. Each keeps its index, so that nobody who
/// holds a table by index meets a new connection where the old one still is.
const MAX_UNTOLD: u32 = 1_024;

/// In no line.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) enum Body {
    Awake(Box<Entry>),
    Asleep(Dormant),
}

const _: () =
    assert!(size_of::<Slot>() <= 200, "an idle connection costs this, a timer, and its place in the flow table");

/// All of them, at stable indices.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) slots: Slab<Slot>,
    /// By interface, our link address and the MTU: no sleeper has to remember them.
    links: Vec<(MacAddress, usize)>,
    awake: u32,
    /// More than so many are put to sleep where they can be.
    max_awake: u32,
    /// Those that have had nothing to do at some time since they woke, in the order in which that was seen.
    idle: AgedSlab<u32>,
    /// Those whose peers have said nothing yet, in the order in which they came.
    silent: AgedSlab<Silent>,
    /// Control blocks that nobody needs, kept with their buffers for whoever comes next.
    #[expect(clippy::vec_box, reason = "the box goes back into a slot as it is: a block is never copied")]
    pub(super) spare: Vec<Box<Entry>>,
    pub(super) memory: Memory,
    /// Where it was last looked for who could do with less.
    pub(super) hand: u32,
    generation: u32,
}

impl Connections {
    /// None yet, within the limits of a stack.
    pub fn new(config: &StackConfig, mac: MacAddress) -> Self {
        let StackConfig { max_connections: limit, max_awake, .. } = *config;
        let memory = Memory::new(config.memory);
        let links = vec![(mac, config.tcp.mtu)];
        let (slots, idle, silent) = (Slab::with_slack(limit, MAX_UNTOLD), AgedSlab::new(limit), AgedSlab::new(limit));
        let spare = Vec::new();
        Self { slots, links, awake: 0, max_awake, idle, silent, spare, memory, hand: 0, generation: 0 }
    }

    /// Connections, awake or asleep.
    pub fn len(&self) -> u32 {
        self.slots.len()
    }

    /// Those that are asleep.
    pub fn asleep(&self) -> u32 {
        self.slots.len() - self.awake
    }

    /// Whether no index is left, because the application has not been told of too many ends.
    pub fn is_out_of_places(&self) -> bool {
        self.slots.is_out_of_places()
    }

    /// Whether not one more finds room.
    pub fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// The indices in use.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.indices()
    }

    /// Takes in the connection that `open` makes, awake; `None` at the limit. It is made here because it is large: each hand that it
    /// went through would copy it.
    pub fn insert(&mut self, tuple: FourTuple, hash: u32, open: impl FnOnce() -> Connection) -> Option<ConnectionId> {
        if self.is_full() {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let mut entry = match self.spare.pop() {
            Some(mut spare) => {
                let mut connection = open();
                connection.adopt_memory(&mut spare.connection);
                spare.connection = connection;
                spare
            }
            None => self.block(open()),
        };
        entry.begin(generation, hash, entry.connection.link().interface);
        let slot = Slot { tuple, hash, generation, silent: NOWHERE, listener: None, body: Body::Awake(entry) };
        let index = self.slots.insert(slot).ok()?;
        self.awake += 1;
        Some(ConnectionId { index, generation })
    }

    /// Brings what a look-up of `index` compares closer, whatever is there.
    pub fn prefetch_slot(&self, index: u32) {
        if let Some(slot) = self.slots.place(index) {
            prefetch(slot);
        }
    }

    /// Brings the control block of the connection at `index` closer, which takes its slot: that should be at hand by now.
    pub fn prefetch(&self, index: u32) {
        if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get(index) {
            prefetch(&**entry);
        }
    }

    /// Whether the connection at `index` is that of `tuple`.
    pub fn is(&self, index: u32, tuple: &FourTuple) -> bool {
        self.slots[index].tuple == *tuple
    }

    /// The connection at `index` was accepted there.
    pub fn set_listener(&mut self, index: u32, listener: ListenerId) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.listener = Some(listener);
        }
    }

    /// Where a connection was accepted.
    pub fn listener_of(&self, id: ConnectionId) -> Option<ListenerId> {
        self.slots.get(id.index).filter(|slot| slot.generation == id.generation)?.listener
    }

    /// The indices of those with this local address that still need it.
    pub fn at(&self, address: IpAddr) -> Vec<u32> {
        let is_there = |slot: &Slot| {
            let needs_it = match &slot.body {
                Body::Awake(entry) => entry.attached,
                Body::Asleep(_) => true,
            };
            needs_it && slot.tuple.local.address == address
        };
        self.slots.indices().filter(|&index| self.slots.get(index).is_some_and(is_there)).collect()
    }

    /// The connection at `index`, if there is one.
    pub fn id_at(&self, index: u32) -> Option<ConnectionId> {
        self.slots.get(index).map(|slot| ConnectionId { index, generation: slot.generation })
    }

    /// The ends of the connection at `index`.
    pub fn tuple(&self, index: u32) -> &FourTuple {
        &self.slots[index].tuple
    }

    /// What there is of the connection that `id` means, which is not woken.
    pub fn body(&self, id: ConnectionId) -> Option<&Body> {
        self.slots.get(id.index).filter(|slot| slot.generation == id.generation).map(|slot| &slot.body)
    }

    /// What TCP knows of a connection that is awake.
    pub fn info(&self, id: ConnectionId) -> Option<TcpInfo> {
        match self.body(id)? {
            Body::Awake(entry) => Some(entry.connection.info(entry.retransmitted)),
            Body::Asleep(_) => None,
        }
    }

    /// What has happened to it since it was last woken; nothing where it sleeps.
    pub fn history(&self, id: ConnectionId) -> Option<History> {
        Some(match self.body(id)? {
            Body::Awake(entry) => entry.connection.history(None),
            Body::Asleep(dormant) => dormant.history(*self.tuple(id.index)),
        })
    }

    /// The state of the connection at `index`.
    pub fn state(&self, index: u32) -> State {
        match &self.slots[index].body {
            Body::Awake(entry) => entry.connection.state(),
            Body::Asleep(_) => State::Established,
        }
    }

    /// Whether the connection at `index` has nothing more to say, and nobody to hear what the peer may say.
    pub fn has_said_all(&self, index: u32) -> bool {
        match &self.slots[index].body {
            Body::Awake(entry) => entry.connection.state() == State::FinWait2 && entry.connection.is_discarding(),
            Body::Asleep(_) => false,
        }
    }

    /// When the connection at `index` wants to be looked at, asleep or awake.
    pub fn deadline(&self, index: u32, config: &TcpConfig) -> Option<Instant> {
        match &self.slots.get(index)?.body {
            Body::Awake(entry) => entry.connection.poll_timeout(),
            Body::Asleep(dormant) => dormant.deadline(config),
        }
    }

    /// The timer of the connection at `index` is armed for that time.
    pub fn note_armed(&mut self, index: u32, at: Instant) {
        if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(index) {
            entry.armed_for = at;
        }
    }

    /// The connection at `index`, woken if it sleeps.
    #[inline]
    pub fn get_mut(&mut self, index: u32, config: &TcpConfig) -> Option<&mut Entry> {
        if let Some(Slot { body: Body::Asleep(_), .. }) = self.slots.get(index) {
            self.wake(index, config);
        }
        self.awake_mut(index)
    }

    /// The connection at `index`, where it is awake.
    #[inline]
    pub fn awake_mut(&mut self, index: u32) -> Option<&mut Entry> {
        match &mut self.slots.get_mut(index)?.body {
            Body::Awake(entry) => Some(entry),
            Body::Asleep(_) => None,
        }
    }

    /// The connection that `id` means, woken if it sleeps; `None` where it is no more.
    pub fn find_mut(&mut self, id: ConnectionId, config: &TcpConfig) -> Option<&mut Entry> {
        self.slots.get(id.index).filter(|slot| slot.generation == id.generation)?;
        self.get_mut(id.index, config)
    }

    /// Two different connections, both woken; `None` where either is no more.
    pub fn find_two_mut(
        &mut self,
        first: ConnectionId,
        second: ConnectionId,
        config: &TcpConfig,
    ) -> Option<(&mut Connection, &mut Connection)> {
        self.find_mut(first, config)?;
        self.find_mut(second, config)?;
        match self.slots.get_two_mut(first.index, second.index)? {
            (Slot { body: Body::Awake(first), .. }, Slot { body: Body::Awake(second), .. }) => {
                Some((&mut first.connection, &mut second.connection))
            }
            _ => None,
        }
    }

    /// The application has been told that the connection at `index` is no more: the index may be used again.
    pub fn release(&mut self, index: u32) {
        self.slots.release(index);
    }

    /// Takes a connection out. Its index stays taken until [`Connections::release`].
    pub fn remove(&mut self, index: u32) {
        self.leave_silent(index);
        if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.vacate(index) {
            if let Some(place) = entry.idle_at {
                self.idle.discard(place);
            }
            self.retire(entry);
        }
    }

    /// The one that has been silent for longest.
    pub fn longest_silent(&self) -> Option<&Silent> {
        self.silent.oldest().map(|place| &self.silent[place])
    }

    /// Lets one that is awake stand in line with those that have said nothing yet.
    pub(super) fn enter_silent(&mut self, silent: Silent) {
        if let Some(slot) = self.slots.get_mut(silent.index)
            && let Body::Awake(entry) = &mut slot.body
        {
            slot.silent = self.silent.insert(silent).unwrap_or(NOWHERE);
            entry.silent = Some(entry.connection.heard_up_to());
        }
    }

    /// Takes one out of that line, where it stands in it.
    pub(super) fn leave_silent(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.silent != NOWHERE) else { return };
        self.silent.discard(std::mem::replace(&mut slot.silent, NOWHERE));
        if let Body::Awake(entry) = &mut slot.body {
            entry.silent = None;
        }
    }

    /// There is one more interface.
    pub fn add_link(&mut self, mac: MacAddress, mtu: usize) {
        self.links.push((mac, mtu));
    }

    /// Says what `interface` takes from now on; returns which of those that are awake send smaller segments therefore. Bounded by the
    /// number of connections.
    pub fn set_mtu(&mut self, interface: InterfaceId, mtu: usize, config: &TcpConfig) -> Vec<u32> {
        self.links[interface.index()].1 = mtu;
        let mut smaller: Vec<u32> = self.slots.indices().collect();
        smaller.retain(|&index| match self.slots.get_mut(index) {
            Some(Slot { body: Body::Awake(entry), .. }) if entry.interface == interface => {
                entry.connection.fit_link(entry.room_within(mtu), config)
            }
            _ => false,
        });
        smaller
    }

    /// Our station has another address on `interface` from now on. Bounded by the number of connections, like a change of the MTU.
    pub fn set_mac(&mut self, interface: InterfaceId, mac: MacAddress) {
        self.links[interface.index()].0 = mac;
        for index in self.slots.indices().collect::<Vec<_>>() {
            if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(index)
                && entry.connection.link().interface == interface
            {
                entry.connection.set_mac(mac);
            }
        }
    }

    /// A new control block.
    #[inline]
    fn block(&mut self, connection: Connection) -> Box<Entry> {
        let entry = Box::new(Entry::new(connection));
        self.memory.charge_new(&entry);
        entry
    }

    fn retire(&mut self, mut entry: Box<Entry>) {
        self.awake -= 1;
        if self.spare.len() < self.max_awake as usize && self.memory.thrift() == Thrift::None {
            entry.connection.retire();
            if entry.connection.was_resized() || entry.account.keeps() {
                entry.account.end();
                self.memory.charge(&mut entry);
            }
            self.spare.push(entry);
        } else {
            self.memory.discharge(&entry);
        }
    }
}

impl std::ops::Index<u32> for Connections {
    type Output = Entry;

    /// One that is awake, as it is from the moment somebody has asked for it until the batch is over.
    fn index(&self, index: u32) -> &Entry {
        match &self.slots[index].body {
            Body::Awake(entry) => entry,
            Body::Asleep(_) => unreachable!("whoever looks at a connection has woken it"),
        }
    }
}

impl std::ops::IndexMut<u32> for Connections {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Entry {
        match &mut self.slots[index].body {
            Body::Awake(entry) => entry,
            Body::Asleep(_) => unreachable!("whoever looks at a connection has woken it"),
        }
    }
}
