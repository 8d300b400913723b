//! Many connections on one queue.
//!
//! A [`Stack`] has five verbs: [`handle_frame`](Stack::handle_frame) and [`handle_timeout`](Stack::handle_timeout) take
//! things in, [`poll_event`](Stack::poll_event), [`poll_transmit`](Stack::poll_transmit) and
//! [`poll_timeout`](Stack::poll_timeout) let them out. It never looks at a clock, never blocks, and knows nothing of
//! AF_XDP: the same stack runs on a simulated wire.
//!
//! A flow has four sizes, and each is a type of its own: a handshake under way (`half_open`), a
//! [`Connection`](crate::tcp::Connection), one that sleeps ([`Dormant`](crate::tcp::Dormant)), and a TIME-WAIT entry
//! (`time_wait`). One [`FlowTable`] finds them all.

mod address;
mod aged_slab;
mod app_timers;
mod arrive;
mod assign;
mod complain;
mod connect;
mod connections;
mod defence;
mod event;
mod flow_table;
mod glimpse;
mod half_open;
mod intake;
mod interface;
mod lifecycle;
mod listen;
mod listeners;
mod memory;
mod neighbour;
mod next_hop;
mod path_mtu;
mod rate_limit;
mod replies;
mod reset;
mod route;
mod silent;
mod slab;
mod splice;
mod stalled;
mod stations;
mod strangers;
mod stream;
mod syn_received;
mod time_wait;
mod timer_wheel;
mod transmit;
mod trouble;
mod udp;
mod udp_socket;
mod used;

#[cfg(test)]
mod tests;

pub use self::{
    address::{Addresses, Cidr, CidrError, LocalAddress, Ownership},
    app_timers::TimerId,
    assign::{AddAddressError, InUse, RemoveAddressError},
    connect::ConnectError,
    defence::{FlowName, FlowWatch, SynMode},
    event::{ConnectionId, Event},
    flow_table::{Flow, FlowTable},
    glimpse::{Glimpse, Incoming},
    interface::TooManyInterfaces,
    listeners::{ListenError, ListenerId},
    slab::Slab,
    splice::Spliced,
    stream::Stream,
    timer_wheel::TimerWheel,
    trouble::SoftError,
    udp::{BindError, SendError, UdpId},
    udp_socket::Udp,
};

use self::{
    aged_slab::AgedSlab,
    app_timers::AppTimers,
    connect::{EphemeralPorts, Share},
    connections::Connections,
    defence::Watch,
    half_open::HalfOpens,
    interface::Interfaces,
    listeners::Listeners,
    rate_limit::{RateLimit, SharedLimit},
    strangers::Strangers,
    time_wait::TimeWaits,
    udp::Sockets,
    used::UsedHandshakes,
};
use crate::{
    config::{StackConfig, TcpConfig},
    drops::{DropReason, Drops},
    rng::SipKey,
    stats::StackStats,
    tcp::{
        MaxSegment, State,
        cookie::{CookieJar, MasterKey},
        handshake::{mss_for, syn_ack_window},
        receive::window_scale_for,
    },
    time::Instant,
    wire::{Endpoint, FourTuple, MacAddress, ip::Codepoint},
};
use std::{collections::VecDeque, net::IpAddr, time::Duration};

/// Refused cookies a second of which it is found out whether another clock made them: a dozen hashes each.
const MISDATED_PER_SECOND: u32 = 100;

/// The secrets a stack needs.
#[derive(Clone, Debug)]
pub struct Secrets {
    cookies: SipKey,
    flows: SipKey,
    numbers: SipKey,
    ports: SipKey,
}

impl Secrets {
    /// Secrets that nobody outside this process can know.
    ///
    /// # Errors
    /// Where the operating system has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let [cookies, flows, numbers, ports] =
            [SipKey::random()?, SipKey::random()?, SipKey::random()?, SipKey::random()?];
        Ok(Self { cookies, flows, numbers, ports })
    }

    /// Secrets from a seed, for tests and simulations that must repeat.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            cookies: SipKey::from_seed(seed),
            flows: SipKey::from_seed(!seed),
            numbers: SipKey::from_seed(seed.rotate_left(32)),
            ports: SipKey::from_seed(seed.rotate_left(32)),
        }
    }

    /// The secret from which the keys of cookies come.
    pub fn cookie_master(&self) -> MasterKey {
        MasterKey::new(self.cookies)
    }

    /// The same, but for the secret of cookies: that of a fleet, for example.
    #[must_use]
    pub fn with_cookie_master(self, master: SipKey) -> Self {
        Self { cookies: master, ..self }
    }

    /// The same, but for the secret of initial sequence numbers and timestamps. With that of a process before, and the right
    /// [calendar](Stack::set_calendar), they go on where that one stopped.
    #[must_use]
    pub fn with_numbers(self, numbers: SipKey) -> Self {
        Self { numbers, ..self }
    }

    /// The hash by which flows are found, and spread over workers.
    #[inline]
    pub fn hash_flow(&self, tuple: &FourTuple) -> u32 {
        self.identify(tuple).slot
    }

    /// SipHash-1-3, as of Rust's own hash maps: who does not know the key cannot choose addresses and ports that collide.
    #[inline]
    fn identify(&self, tuple: &FourTuple) -> FlowHash {
        let hash = tuple.with_octets(|octets| self.flows.hash_short(octets));
        FlowHash { slot: hash as u32, check: (hash >> 32) as u16 }
    }

    /// A hash of where an answer goes: to an IPv4 address, or to the /64 of an IPv6 one, all of which one host may have.
    fn hash_destination(&self, address: IpAddr) -> u32 {
        let hash = match address {
            IpAddr::V4(address) => self.flows.hash_short(&address.octets()),
            IpAddr::V6(address) => self.flows.hash_short(&address.octets()[..8]),
        };
        hash as u32
    }

    /// Which of several workers a flow with this hash belongs to. The flow table uses the low bits, so the high ones choose.
    pub fn worker_of(hash: u32, workers: usize) -> usize {
        (hash >> 16) as usize % workers
    }

    /// The key of initial sequence numbers.
    fn numbers(&self) -> &SipKey {
        &self.numbers
    }
}

/// A keyed hash of a 4-tuple: by one part it is found, and both together tell it from others where nothing else is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FlowHash {
    slot: u32,
    check: u16,
}

/// What all SYN-ACKs from an address and port have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAckProfile {
    /// The MSS we announce, bytes.
    pub mss: u16,
    /// The window, bytes: a SYN's is never scaled.
    pub window: u16,
    /// Our window scale.
    pub window_scale: u8,
    /// Whether we use SACK.
    pub sack: bool,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
}

impl SynAckProfile {
    /// That of a listener in a stack with this configuration.
    pub fn of(local: IpAddr, max_segment: MaxSegment, config: &TcpConfig) -> Self {
        Self {
            mss: max_segment.of(mss_for(local, config.mtu)),
            window: syn_ack_window(config),
            window_scale: window_scale_for(config.receive_buffer),
            sack: config.sack,
            hop_limit: config.hop_limit,
            traffic_class: config.dscp.with(Codepoint::NotCapable),
        }
    }
}

/// A TCP/IP stack for one queue, without a clock and without I/O.
///
/// Its methods form four families.
/// - *What comes in*: [`handle_frame`](Stack::handle_frame) and [`handle_frames`](Stack::handle_frames) take frames,
///   [`handle_timeout`](Stack::handle_timeout) takes the time.
/// - *What the application does*: [`listen`](Stack::listen), [`connect`](Stack::connect), [`stream`](Stack::stream),
///   [`splice`](Stack::splice), [`udp`](Stack::udp), [`set_timer`](Stack::set_timer). A [`Stream`] takes effect when it is dropped.
/// - *What goes out*: [`poll_event`](Stack::poll_event), [`poll_transmit`](Stack::poll_transmit) and
///   [`poll_timeout`](Stack::poll_timeout).
/// - *Getters*: [`stats`](Stack::stats), [`drops`](Stack::drops), [`state_of`](Stack::state_of) and more. They change nothing.
///
/// One turn of whoever drives it: the frames that have come, `handle_timeout`, then `poll_event` until it returns `None`, while the
/// application acts on each event, then `poll_transmit` until it returns `None` or there is no room for more. Sending makes room, of
/// which an application wants to hear, so there may be events again; `poll_timeout` then says "at once". Otherwise it says until
/// when nothing needs to be done unless a frame comes. It may say so in vain: the next turn finds nothing to do then.
///
/// `now` is the same for all calls of a turn, or grows; it never goes back. What it counts from is the caller's choice, once. It may
/// leap: every timer that is due by then fires in one `handle_timeout`, each once.
///
/// Nothing that arrives in a frame makes it panic. What it refuses is counted in [`drops`](Stack::drops), by reason.
#[derive(Debug)]
pub struct Stack {
    config: StackConfig,
    interfaces: Interfaces,
    addresses: Addresses,
    secrets: Secrets,
    cookies: CookieJar,
    /// What the calendar said at [`Instant::ZERO`] in the beginning: what follows it grows, whatever becomes of the calendar.
    calendar: Duration,
    flows: FlowTable,
    connections: Connections,
    half_open: HalfOpens,
    time_wait: TimeWaits,
    listeners: Listeners,
    app_timers: AppTimers,
    /// A connection that has ended in order, whose application is being told that there is nothing more to read.
    last_words: Option<ConnectionId>,
    syn_mode: SynMode,
    /// Until when cookies count, whatever the mode: for their life after the last handshake was answered and is not remembered.
    cookies_until: Instant,
    /// Handshakes that have opened a connection, by our initial sequence number,
    used: UsedHandshakes,
    /// and those that were reset, by where the client's data would have begun. Strangers fill this one as they like.
    broken_off: UsedHandshakes,
    watch: Watch,
    timers: TimerWheel,
    strangers: Strangers,
    /// How often refused cookies are looked at closely.
    misdated: RateLimit,
    ephemeral_ports: EphemeralPorts,
    share: Share,
    /// Connections that listeners have and no application has heard of.
    backlog: u32,
    icmp_errors: SharedLimit,
    udp: Sockets,
    events: VecDeque<Event>,
    /// Connections whose peers keep their windows shut.
    stalled: AgedSlab<ConnectionId>,
    stats: StackStats,
    drops: Drops,
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
            watch: Watch::default(),
            timers: TimerWheel::new(config.max_connections),
            strangers: Strangers::new(&config),
            misdated: RateLimit::new(MISDATED_PER_SECOND),
            ephemeral_ports: EphemeralPorts::new(secrets.ports),
            secrets,
            share: Share::Whole,
            backlog: 0,
            icmp_errors: SharedLimit::new(config.icmp_errors_per_second, config.icmp_errors_per_destination),
            udp: Sockets::new(config.max_udp_sockets, config.max_udp_peers),
            events: VecDeque::new(),
            stalled: AgedSlab::new(config.max_stalled),
            stats: StackStats::default(),
            drops: Drops::default(),
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

    /// The same where the calendar was set meanwhile, as far as cookies go: numbers and timestamps of connections that we open
    /// only ever grow.
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
    pub fn watch_flows(&mut self, watch: Box<dyn FlowWatch>) {
        self.watch.set(watch);
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

    /// What was refused so far, by reason.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts a drop that happened on the way to this stack.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }

    #[inline]
    fn find(&self, tuple: &FourTuple, hash: FlowHash) -> Option<Flow> {
        self.flows.find(hash.slot, |flow| match flow {
            Flow::Connection(index) => self.connections.is(index, tuple),
            Flow::HalfOpen(index) => self.half_open.get(index).handshake.tuple == *tuple,
            Flow::TimeWait(index) => self.time_wait.get(index).hash() == hash,
        })
    }
}
