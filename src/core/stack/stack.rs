//! The stack itself: what it consists of, its verbs, and what may be asked and changed beside them.

use super::{
    Addresses, ConnectionId, Event, Flow, FlowHash, FlowObserver, FlowTable, LocalAddress, Secrets, Stream,
    SynAckProfile, SynMode, TimerWheel,
    aged_slab::AgedSlab,
    app_timers::AppTimers,
    connect::{EphemeralPorts, FlowOwnership},
    connections::Connections,
    defence::Observer,
    drop_examples::DropExamples,
    ends::RecentEnds,
    half_open::HalfOpens,
    interface::Interfaces,
    listeners::Listeners,
    pairs::Parted,
    rate_limit::{RateLimit, SharedLimit},
    strangers::Strangers,
    time_wait::TimeWaits,
    udp::Sockets,
    used::UsedHandshakes,
};
use crate::{
    config::StackConfig,
    drops::{DropReason, Drops},
    stats::{StackStats, Timings},
    tcp::{
        MaxSegment, State,
        cookie::{CookieJar, MasterKey},
    },
    time::Instant,
    wire::{Endpoint, FourTuple, MacAddress},
};
use std::{collections::VecDeque, time::Duration};

/// Refused cookies a second of which it is found out whether another clock made them: a dozen hashes each.
const MISDATED_PER_SECOND: u32 = 100;

/// A TCP/IP stack, sans I/O, for the interfaces of one worker.
///
/// It reads no clock, blocks never, and sends nothing by itself: frames are octets, and time is an argument. Its methods form four
/// families:
///
/// - **Input**: [`handle_frame`](Self::handle_frame), or [`handle_frames`](Self::handle_frames) for a batch, takes frames in;
///   [`handle_timeout`](Self::handle_timeout) deals with every timer that is due.
/// - **Output**: [`poll_event`](Self::poll_event) says what applications should know, [`poll_transmit`](Self::poll_transmit) writes
///   the next frame, and [`poll_timeout`](Self::poll_timeout) says when `handle_timeout` is to be called next.
/// - **Commands of applications**: [`listen`](Self::listen) and [`connect`](Self::connect) begin connections,
///   [`stream`](Self::stream) is one in its application's hands, [`splice`](Self::splice) moves octets between two, and [`part_with`](Self::part_with) hands two on;
///   [`bind_udp`](Self::bind_udp) and [`udp`](Self::udp) do so for datagrams, and [`set_timer`](Self::set_timer) has an event come
///   later.
/// - **Its owner's business**: interfaces and addresses ([`add_interface`](Self::add_interface),
///   [`add_address`](Self::add_address)), which change while it runs; what several stacks share ([`set_share`](Self::set_share),
///   cookies, calendars); and what it has seen ([`stats`](Self::stats), [`drops`](Self::drops),
///   [`connections_from`](Self::connections_from), [`history`](Self::history), [`recent_ends`](Self::recent_ends),
///   [`drop_examples`](Self::drop_examples)).
///
/// # Order of calls
/// After any input and any command the outputs are to be asked, in this order:
///
/// 1. [`poll_event`](Self::poll_event), until it returns `None`. What an application does about an event is done at once, between
///    two calls: it makes room, and has something sent.
/// 2. [`poll_transmit`](Self::poll_transmit), for each interface until it returns `None`. Only then does every timer stand as it
///    should. Sending may make room to write, so there may be events again.
/// 3. [`poll_timeout`](Self::poll_timeout). It says at once where there are such events: begin anew with them, or take in frames
///    first.
///
/// Several frames may be taken in before the outputs are asked, and should be: acknowledgments and events of a batch are merged. An
/// owner that stops before `None`, for want of buffers, goes on later; nothing is lost, but timers that wait for it to be sent are
/// not armed yet.
///
/// A [`Stream`] is a borrow: what was done to it has its consequences when it is dropped, and segments of it with the next
/// `poll_transmit`.
///
/// # Time
/// `now` must not go back from one call to the next, whichever they are; it may stand still for a batch or longer, and nothing is
/// measured below its resolution ([`TcpConfig::clock_tick`](crate::config::TcpConfig::clock_tick) says how coarse it is). It counts
/// from any moment: [`set_calendar`](Self::set_calendar) says which, for what has to outlive the stack. A call of `handle_timeout`
/// before the deadline does nothing, and one that is late deals with all that is overdue.
///
/// # Names
/// A [`ConnectionId`] means one connection and after it no other one, until four thousand million others have come to be. Asking for
/// one that is no more yields `None`, and does no harm. [`Event::Closed`] is the last that is heard of it.
///
/// # Errors
/// Nothing that comes from the wire is an error, nor can it panic: a frame that is refused is counted by its
/// [`DropReason`](crate::drops::DropReason). Commands have errors of their own, each with its remedy.
///
/// # Example
/// A client and a server without a wire: what one has to send, the other takes in.
///
/// ```
/// use xskip_core::{Event, Stack, config::StackConfig, stack::*, time::Instant, wire::*};
///
/// let stack = |host: u8| {
///     let cidr = format!("192.0.2.{host}/24").parse().unwrap();
///     let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
///     Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
/// };
/// let (now, mut client, mut server) = (Instant::from_millis(1), stack(2), stack(1));
/// server.listen(None, 7).unwrap();
/// let id = client.connect(now, "192.0.2.1:7".parse::<std::net::SocketAddr>().unwrap().into(), None).unwrap();
///
/// let mut buffer = [0; 1_600];
/// while client.poll_event() != Some(Event::Connected(id)) {
///     while let Some(length) = client.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
///         server.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
///     }
///     while let Some(length) = server.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
///         client.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
///     }
/// }
/// assert_eq!(client.stream(now, id).unwrap().write(b"hello"), 5);
/// ```
#[derive(Debug)]
pub struct Stack {
    pub(super) config: StackConfig,
    pub(super) interfaces: Interfaces,
    pub(super) addresses: Addresses,
    pub(super) secrets: Secrets,
    pub(super) cookies: CookieJar,
    /// What the calendar said at [`Instant::ZERO`] in the beginning: what follows it grows, whatever becomes of the calendar.
    pub(super) calendar: Duration,
    pub(super) flows: FlowTable,
    pub(super) connections: Connections,
    pub(super) half_open: HalfOpens,
    pub(super) time_wait: TimeWaits,
    pub(super) listeners: Listeners,
    pub(super) app_timers: AppTimers,
    /// A connection that has ended in order, whose application is being told that there is nothing more to read.
    pub(super) last_words: Option<ConnectionId>,
    pub(super) syn_mode: SynMode,
    /// Until when cookies count, whatever the mode: for their life after the last handshake was answered and is not remembered.
    pub(super) cookies_until: Instant,
    /// Handshakes that have opened a connection, by our initial sequence number: their cookies are used up.
    pub(super) used: UsedHandshakes,
    /// Handshakes that were reset, by the number of the client's first octet of data: their cookies open nothing. Strangers fill this
    /// as they like, so it is apart.
    pub(super) broken_off: UsedHandshakes,
    pub(super) observer: Observer,
    /// The connections of pairs that were handed on, and who translates them: their ports are taken, and nobody is told that they are
    /// no more.
    pub(super) parted: Parted,
    pub(super) timers: TimerWheel,
    pub(super) strangers: Strangers,
    /// How often refused cookies are looked at closely.
    pub(super) misdated: RateLimit,
    pub(super) ephemeral_ports: EphemeralPorts,
    pub(super) ownership: FlowOwnership,
    /// Connections that listeners have and no application has heard of.
    pub(super) backlog: u32,
    pub(super) icmp_errors: SharedLimit,
    pub(super) udp: Sockets,
    pub(super) events: VecDeque<Event>,
    /// Connections whose peers keep their windows shut.
    pub(super) stalled: AgedSlab<ConnectionId>,
    pub(super) stats: StackStats,
    pub(super) timings: Timings,
    pub(super) drops: Drops,
    pub(super) drop_examples: DropExamples,
    /// Connections that ended unhappily of late.
    pub(super) ends: RecentEnds,
}

impl Stack {
    /// A stack at `mac` that answers to `addresses`.
    pub fn new(config: StackConfig, mac: MacAddress, addresses: Vec<LocalAddress>, secrets: Secrets) -> Self {
        let flows = config.max_connections as usize + config.max_half_open as usize + config.max_time_wait as usize;
        Self {
            interfaces: Interfaces::new(mac, &config),
            addresses: Addresses::new(addresses),
            cookies: CookieJar::new(secrets.cookie_master(), Duration::ZERO),
            calendar: Duration::ZERO,
            flows: FlowTable::new(flows),
            connections: Connections::new(&config, mac),
            half_open: HalfOpens::new(config.max_half_open),
            time_wait: TimeWaits::new(config.max_time_wait, 2 * config.tcp.msl),
            listeners: Listeners::new(config.max_listeners),
            app_timers: AppTimers::new(config.max_timers),
            last_words: None,
            syn_mode: SynMode::default(),
            cookies_until: Instant::ZERO,
            used: UsedHandshakes::new(config.max_used_handshakes),
            broken_off: UsedHandshakes::new(config.max_reset_handshakes),
            observer: Observer::default(),
            parted: Parted::default(),
            timers: TimerWheel::new(config.max_connections),
            strangers: Strangers::new(&config),
            misdated: RateLimit::new(MISDATED_PER_SECOND),
            ephemeral_ports: EphemeralPorts::new(secrets.ports),
            secrets,
            ownership: FlowOwnership::Whole,
            backlog: 0,
            icmp_errors: SharedLimit::new(config.icmp_errors_per_second, config.icmp_errors_per_destination),
            udp: Sockets::new(config.max_udp_sockets, config.max_udp_peers),
            events: VecDeque::new(),
            stalled: AgedSlab::new(config.max_stalled),
            stats: StackStats::default(),
            timings: Timings::default(),
            drops: Drops::default(),
            drop_examples: DropExamples::new(),
            ends: RecentEnds::default(),
            config,
        }
    }

    /// Says what the calendar showed at [`Instant::ZERO`], as time since the Unix epoch. Cookies are dated by it, so that other
    /// stacks with the same secrets accept them; sequence numbers and timestamps of connections that we open follow it, so that
    /// they go on where those of a stack before stopped.
    pub fn set_calendar(&mut self, calendar: Duration) {
        self.calendar = calendar;
        self.cookies.set_calendar(calendar);
    }

    /// Says what the calendar showed at [`Instant::ZERO`] after somebody has set the clock: cookies are dated by that from now on.
    /// Sequence numbers and timestamps of connections that we open go on by the first calendar, because they must only ever grow.
    pub fn set_cookie_calendar(&mut self, calendar: Duration) {
        self.cookies.set_calendar(calendar);
    }

    /// Accepts cookies until then, whoever has sent them: for a stack that takes over from another one with the same secrets.
    /// Otherwise they count while, and for as long as they live after, this stack has itself answered handshakes that it
    /// does not remember; and in [`SynMode::Cookie`], where others may do so for it.
    pub fn accept_cookies_until(&mut self, until: Instant) {
        self.cookies_until = self.cookies_until.max(until);
    }

    /// Takes over the secrets from which the keys of cookies come.
    pub fn set_cookie_master(&mut self, master: MasterKey) {
        self.cookies.set_master(master);
    }

    /// Says how long into an epoch cookies of the last one count: see [`CookieJar::set_grace`].
    pub fn set_cookie_grace(&mut self, grace: Duration) {
        self.cookies.set_grace(grace);
    }

    /// Lets someone keep a list of the flows that are real. To be called before there are any.
    pub fn observe_flows(&mut self, observer: Box<dyn FlowObserver>) {
        self.observer.set(observer);
    }

    /// What is done about SYNs from now on. Handshakes under way go on whichever it was.
    pub fn set_syn_mode(&mut self, mode: SynMode) {
        self.syn_mode = mode;
    }

    // The five verbs.

    /// Deals with every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.timers.expire(now) {
            self.connection_timer_expired(now, index);
        }
        self.expire_silent(now);
        self.relieve(now);
        self.expire_handshakes(now);
        self.expire_neighbours(now);
        self.expire_app_timers(now);
        while let Some((index, entry)) = self.time_wait.expire(now) {
            self.forget_time_wait(index, &entry);
        }
    }

    /// When [`Stack::handle_timeout`] should be called next; it may find nothing to do then. At once, where there are events:
    /// sending makes room, which an application hears of.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.events.is_empty() || self.last_words.is_some() {
            return Some(Instant::ZERO);
        }
        let deadlines = [
            self.timers.next_deadline(),
            self.silence_ends(),
            self.connections.memory.next_deadline(),
            self.half_open.next_deadline(),
            self.time_wait.next_deadline(),
            self.neighbours_deadline(),
            self.app_timers.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    // Getters.

    /// A connection, for its application. Whatever is done to it takes effect when the [`Stream`] is dropped.
    pub fn stream(&mut self, now: Instant, id: ConnectionId) -> Option<Stream<'_>> {
        self.entry_mut(id)?;
        Some(Stream::new(self, id, now))
    }

    /// Our side's state for a 4-tuple.
    pub fn state_of(&self, tuple: &FourTuple) -> State {
        match self.find(tuple, self.secrets.identify(tuple)) {
            Some(Flow::Connection(index)) => self.connections.state(index),
            Some(Flow::HalfOpen(_)) => State::SynReceived,
            Some(Flow::TimeWait(_)) => State::TimeWait,
            None => State::Closed,
        }
    }

    /// Connections, handshakes under way, and connections in TIME-WAIT.
    pub fn flow_counts(&self) -> (u32, u32, u32) {
        (self.connections.len(), self.half_open.len(), self.time_wait.len())
    }

    /// Whether every connection has been closed by its application, and all that was written, FIN included, acknowledged: what is
    /// left is for peers to say, and nobody would hear it. Looks at no more than one connection more than there are of those.
    pub fn has_said_all(&self) -> bool {
        self.half_open.len() == 0 && self.connections.indices().all(|index| self.connections.has_said_all(index))
    }

    /// Of the connections, those that sleep: idle for so long, among so many, that all but what they must not forget was given up
    /// ([`StackConfig::max_awake`]).
    pub fn connections_asleep(&self) -> u32 {
        self.connections.asleep()
    }

    /// The cookies of this stack's handshakes.
    pub fn cookies(&self) -> &CookieJar {
        &self.cookies
    }

    /// What the SYN-ACKs from a local address and port say, whoever sends them.
    pub fn syn_ack_profile(&self, local: Endpoint) -> SynAckProfile {
        let interface = self.addresses.interface_of(local.address).unwrap_or_default();
        let listener = self.listeners.find(local.port, local.address);
        let max_segment = listener.map_or(MaxSegment::default(), |begun| begun.max_segment);
        let max_segment = self.fitted(interface, local.address, max_segment);
        SynAckProfile::of(local.address, max_segment, &self.config.tcp)
    }

    /// What happened so far.
    pub fn stats(&self) -> &StackStats {
        &self.stats
    }

    /// How long handshakes and round trips took so far.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// What was refused so far, by reason.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts a drop that happened on the way to this stack.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }

    #[inline]
    pub(super) fn find(&self, tuple: &FourTuple, hash: FlowHash) -> Option<Flow> {
        self.flows.find(hash.slot, |flow| match flow {
            Flow::Connection(index) => self.connections.is(index, tuple),
            Flow::HalfOpen(index) => self.half_open.get(index).handshake.tuple == *tuple,
            Flow::TimeWait(index) => self.time_wait.get(index).hash() == hash,
        })
    }
}
