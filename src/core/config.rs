//! Every limit and knob, with its default. A value, not a set of cargo features.

use crate::wire::{
    ChecksumPolicy, FourTuple, IpHeader, MacAddress, Protocol,
    ip::{DEFAULT_HOP_LIMIT, Dscp},
};
use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

/// How TCP behaves. Times and sizes are per connection.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// The largest IP packet to send or to invite, bytes. Default 1,500.
    pub mtu: usize,
    /// The most received data kept for the application, bytes; it decides the window scale offered. Default 6 MiB, which fills
    /// 1 Gbit/s over 40 ms. Memory is taken while there are data in it.
    pub receive_buffer: usize,
    /// The window a connection begins with, bytes. It grows with what the application reads in a round trip, up to
    /// `receive_buffer`. Default 64 KiB.
    pub initial_window: usize,
    /// The most data accepted from the application and not yet acknowledged, bytes; what keeping a segment takes besides counts, too.
    /// Default 6 MiB.
    pub send_buffer: usize,
    /// Segments in flight at most, however small a peer wants them: for each of them an acknowledgment may have to be looked at, and
    /// one report by the peer may concern them all. Default 8,192: more than the default `send_buffer` has of usual size, 4,300.
    pub max_segments: usize,
    /// How far an application may write ahead of what could be sent so far, bytes; what follows waits with the application, where
    /// it takes no memory. Default 128 KiB: a few batches, which a CPU's own cache holds. Less than 4 KiB is taken for that.
    pub write_ahead: usize,
    /// Out-of-order pieces kept; a segment that would make one more is dropped. Default 4,096: slow start that overruns a queue
    /// loses every second segment, of as much as the default window may hold.
    pub max_holes: usize,
    /// Whether small segments wait while another small one is unacknowledged (Nagle as modified by Minshall;
    /// RFC 9293 SHLD-7). Default true; an application may switch it off per connection (MUST-17).
    pub nagle: bool,
    /// How much may be in flight. Default CUBIC.
    pub congestion_control: CongestionControl,
    /// Whether SACK (RFC 2018) is used with peers that offer it. Default true.
    pub sack: bool,
    /// Whether congestion is signalled by marks instead of losses (RFC 3168). Default: where the peer asks.
    pub ecn: Ecn,
    /// The Differentiated Services code point of what is sent (RFC 2474); an application may change it per connection
    /// (MUST-48). SYN-ACKs from the XDP program have 0. Default 0.
    pub dscp: Dscp,
    /// Retransmission timeout before a round-trip time is known (RFC 6298 §2.1). Default 1 s.
    pub rto_initial: Duration,
    /// How coarse the clock is by which the stack is told the time: a moment it shows may be over by as much. Losses are told
    /// from reordering with that in mind. Default zero, for a clock that tells less than a millisecond.
    pub clock_tick: Duration,
    /// Lower bound of the retransmission timeout. RFC 6298 §2.4 says 1 s; 200 ms is what today's stacks use, and ours does.
    pub rto_min: Duration,
    /// Upper bound of the retransmission timeout (RFC 6298 §2.5: at least 60 s). Default 60 s.
    pub rto_max: Duration,
    /// Time-outs in a row after which a connection is given up: R2 of RFC 9293 §3.8.3. Default 12, which with the
    /// back-off from 200 ms comes to some seven minutes (SHLD-11 asks for 100 s).
    pub max_timeouts: u32,
    /// Time-outs in a row after which the application hears of it, and another way to the peer is looked for: R1 of RFC 9293
    /// §3.8.3. Default 3, the least that SHLD-10 allows.
    pub warn_after_timeouts: u32,
    /// How long what was sent may stay unacknowledged; in place of `max_timeouts`, where given (MUST-21). Default none. An
    /// application may set it per connection.
    pub user_timeout: Option<Duration>,
    /// How long a connection we open may take. Default 3 min, the least that MUST-23 allows.
    pub syn_timeout: Duration,
    /// Whether idle peers are asked if they are still there. Default not (MUST-25). An application may set it per connection.
    pub keep_alive: Option<KeepAlive>,
    /// Whether connections we open ask for timestamps (RFC 7323). Default true.
    pub timestamps: bool,
    /// How long an acknowledgment may wait for company (MUST-40: below 500 ms). Default 40 ms.
    pub delayed_ack: Duration,
    /// Segments with data acknowledged at once at the beginning and after a silence, while the peer is in slow start. Default 16.
    pub quick_acks: u32,
    /// Whether the acknowledgment of the peer's FIN is a segment of its own, so that an onlooker sees each of the four steps of
    /// a close. Default false: it rides on our own FIN where that follows at once.
    pub separate_fin_ack: bool,
    /// Maximum segment lifetime: TIME-WAIT lasts twice as long. RFC 9293 §3.4.2 says 2 min; 30 s as Linux does. More than
    /// seven and a half minutes is taken for that.
    pub msl: Duration,
    /// How long a connection closed on both sides by the application waits in FIN-WAIT-2 for the peer. Default 60 s.
    pub fin_wait_2: Duration,
    /// SYN-ACKs sent again before a half-open connection is dropped; 5, from 1 s on, takes 63 s.
    pub syn_ack_retries: u32,
    /// Time to live, or hop limit, of what is sent (MUST-49). Default 64.
    pub hop_limit: u8,
    /// How sparing connections are with memory. A stack sets this, by [`StackConfig::memory`]. Default not at all.
    pub thrift: Thrift,
    /// How long a path is taken to be as narrow as a router said, before larger segments are tried again. Default 10 min, as
    /// RFC 1191 §6.3 and RFC 8201 §5.3 suggest.
    pub path_mtu_lifetime: Duration,
}

impl TcpConfig {
    /// The IP header of a segment from the local to the remote end; `traffic_class` is the code point with its ECN bits.
    #[inline]
    pub(crate) fn ip_header(&self, tuple: &FourTuple, traffic_class: u8) -> IpHeader {
        let FourTuple { local, remote } = tuple;
        let hop_limit = self.hop_limit;
        IpHeader { hop_limit, traffic_class, ..IpHeader::new(local.address, remote.address, Protocol::Tcp) }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            mtu: 1_500,
            receive_buffer: 6 * 1_024 * 1_024,
            initial_window: 64 * 1_024,
            send_buffer: 6 * 1_024 * 1_024,
            max_segments: 8_192,
            write_ahead: 128 * 1_024,
            max_holes: 4_096,
            nagle: true,
            congestion_control: CongestionControl::default(),
            sack: true,
            ecn: Ecn::default(),
            dscp: Dscp::default(),
            rto_initial: Duration::from_secs(1),
            clock_tick: Duration::ZERO,
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(60),
            max_timeouts: 12,
            warn_after_timeouts: 3,
            user_timeout: None,
            syn_timeout: Duration::from_secs(180),
            keep_alive: None,
            timestamps: true,
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            separate_fin_ack: false,
            msl: Duration::from_secs(30),
            fin_wait_2: Duration::from_secs(60),
            syn_ack_retries: 5,
            hop_limit: DEFAULT_HOP_LIMIT,
            thrift: Thrift::None,
            path_mtu_lifetime: Duration::from_secs(600),
        }
    }
}

/// How an idle peer is asked whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long the peer must have been silent before it is asked (MUST-27). Default 2 h (MUST-28).
    pub idle: Duration,
    /// How soon it is asked again. Default 75 s.
    pub interval: Duration,
    /// Questions without an answer after which it is taken for gone (MUST-29). Default 10.
    pub probes: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(2 * 3_600), interval: Duration::from_secs(75), probes: 10 }
    }
}

/// How sparing connections are with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thrift {
    /// As their own limits say.
    #[default]
    None,
    /// Windows and large buffers do not grow, applications write no further ahead than 4 KiB, and out-of-order data are refused
    /// that would need more room.
    Sparing,
    /// Nothing grows but a first small buffer.
    Strict,
}

/// A congestion control algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// RFC 9438, as most stacks use it.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
}

/// When explicit congestion notification (RFC 3168) is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Never.
    Off,
    /// Where the peer asks for it.
    #[default]
    Passive,
    /// Where the peer asks for it, and our own SYNs ask as well.
    Active,
}

/// One interface of a stack: its own address on the link, and what is beyond it.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Our station's address. Default none that a frame could be for.
    pub mac: MacAddress,
    /// The largest IP packet to send there or to invite, bytes. Default 1,500.
    pub mtu: usize,
    /// Whether checksums received there must be whole.
    pub checksums: ChecksumPolicy,
    /// The VLAN that is served there: see [`StackConfig::vlan`].
    pub vlan: Option<u16>,
    /// Routers there to what lies beyond our subnets: the first of each IP version counts. Default none.
    pub gateways: Vec<IpAddr>,
    /// The station that answers go to, rather than to the one that a packet came from: see [`StackConfig::answers_to`].
    pub answers_to: Option<MacAddress>,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            mac: MacAddress::default(),
            mtu: 1_500,
            checksums: ChecksumPolicy::default(),
            vlan: None,
            gateways: Vec::new(),
            answers_to: None,
        }
    }
}

/// How one stack behaves: TCP, and the limits of what is kept. Everything has a limit.
///
/// What concerns a link, which is `tcp.mtu`, `checksums`, `vlan`, `gateways` and `answers_to`, is said of the stack's first
/// interface. Others are added with an [`InterfaceConfig`] of their own.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// TCP's part.
    pub tcp: TcpConfig,
    /// Whether received checksums must be whole.
    pub checksums: ChecksumPolicy,
    /// The VLAN that is served, from 1 to 4,094: its frames have one tag (IEEE 802.1Q). By default it is none: frames without a
    /// tag, or with one that says a priority only. Others are refused, those with two tags among them.
    pub vlan: Option<u16>,
    /// Addresses at once, on all interfaces. Default 256: each segment of no connection is compared with them.
    pub max_addresses: usize,
    /// Listeners at once. Default 65,536.
    pub max_listeners: usize,
    /// Connections at once. Default 65,536.
    pub max_connections: u32,
    /// Of these, how many keep a control block of some 1,200 bytes, and their buffers, while they are idle. Beyond that, those
    /// idle longest sleep in some 200 bytes until something happens. Default 4,096.
    pub max_awake: u32,
    /// Half-open connections at once; the oldest makes room for a newer one. Default 8,192.
    pub max_half_open: u32,
    /// TIME-WAIT entries at once; the oldest makes room for a newer one. Default 131,072.
    pub max_time_wait: u32,
    /// Handshakes whose cookies have opened a connection, and open no other one: eight bytes each. Beyond that, the oldest may be used
    /// again within the cookie's life of two minutes, where cookies count at all. Default 262,144.
    pub max_used_handshakes: u32,
    /// Handshakes that were reset before they ended, and stay so: likewise. Default 16,384.
    pub max_reset_handshakes: u32,
    /// Replies that belong to no connection and wait to be sent by one interface. Default 1,024.
    pub max_replies: usize,
    /// Connections whose peers keep their windows shut for longer than two probes: the one that has been so for longest is reset
    /// for another one. Each may hold a send buffer. Default 4,096.
    pub max_stalled: u32,
    /// Connections that may wait for the application to hear of them; the end of another handshake is dropped, and comes again.
    /// Default 4,096.
    pub max_backlog: u32,
    /// How long a connection that was opened to us may be silent: for as long as its peer has sent nothing but the end of the
    /// handshake, and has acknowledged nothing of ours; then it is reset. Where more than three quarters of `max_connections` are
    /// taken it may be so for less, down to 5 s, and where all of them are, the one that has been silent for longest makes room for
    /// another one. Default 60 s; none where peers may wait to be told something for longer.
    pub silence: Option<Duration>,
    /// Memory for all connections together, bytes: control blocks of those that are awake, buffers, and lists of what is in flight
    /// or out of order, as they are allocated. From three quarters on nothing grows that need not, and at the limit those connections are
    /// reset whose peers make the least use of what is kept for them. Not in it, because they have limits of their own: what sleeps
    /// (`max_connections`), tables, datagrams. Default none; a server of the crate `xskip` takes a share of the machine's.
    pub memory: Option<usize>,
    /// Neighbours on one interface whose link-layer addresses are remembered. Default 1,024.
    pub max_neighbours: usize,
    /// Routers to what lies beyond our subnets: the first of each IP version counts. Default none.
    pub gateways: Vec<IpAddr>,
    /// The station that answers go to, rather than to the one that a packet came from: the router of a server behind a director that
    /// hands packets on by link address (direct server return). Questions by ARP and neighbour discovery are answered to whoever
    /// asks. Default none.
    pub answers_to: Option<MacAddress>,
    /// Ports from which connections are opened; those with a listener are left out. Default 1,024 to 65,535 (RFC 6056 §3.2).
    pub ephemeral_ports: RangeInclusive<u16>,
    /// RSTs sent a second to segments that belong to no connection. What a connection refuses counts as well: docs/limits.md
    /// says why. Default 10,000.
    pub resets_per_second: u32,
    /// Of these, how many go to one IPv4 address, or to one /64 of IPv6. Default 1,000.
    pub resets_per_destination: u32,
    /// ICMP errors sent a second (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)). Default 1,000.
    pub icmp_errors_per_second: u32,
    /// Of these, how many go to one IPv4 address, or to one /64 of IPv6. Default 100.
    pub icmp_errors_per_destination: u32,
    /// UDP sockets at once. Default 256.
    pub max_udp_sockets: u32,
    /// Timers of the application at once ([`Stack::set_timer`](crate::stack::Stack::set_timer)). Default 65,536.
    pub max_timers: u32,
    /// Datagrams that wait at one UDP socket. Default 1,024.
    pub max_datagrams: usize,
    /// Bytes of the datagrams that wait at one UDP socket. Default 1 MiB.
    pub max_datagram_bytes: usize,
    /// Peers of UDP sockets to whom answers go the way their datagrams came; the first makes room. Default 4,096.
    pub max_udp_peers: usize,
    /// Datagrams of ours that wait for a neighbour's address. Default 64.
    pub max_waiting_datagrams: usize,
    /// Destinations by one interface whose path MTU is remembered for connections to come; the oldest makes room for a newer one.
    /// Default 1,024.
    pub max_path_mtus: usize,
    /// Whether applications hear of soft errors, which do not end a connection (SHLD-20). Default true.
    pub soft_error_events: bool,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            tcp: TcpConfig::default(),
            checksums: ChecksumPolicy::default(),
            vlan: None,
            max_addresses: 256,
            max_listeners: 65_536,
            max_connections: 65_536,
            max_awake: 4_096,
            max_half_open: 8_192,
            max_time_wait: 131_072,
            max_used_handshakes: 262_144,
            max_reset_handshakes: 16_384,
            max_replies: 1_024,
            max_stalled: 4_096,
            max_backlog: 4_096,
            memory: None,
            silence: Some(Duration::from_secs(60)),
            max_neighbours: 1_024,
            gateways: Vec::new(),
            answers_to: None,
            ephemeral_ports: 1_024..=65_535,
            resets_per_second: 10_000,
            resets_per_destination: 1_000,
            icmp_errors_per_second: 1_000,
            icmp_errors_per_destination: 100,
            max_udp_sockets: 256,
            max_timers: 65_536,
            max_datagrams: 1_024,
            max_datagram_bytes: 1_024 * 1_024,
            max_udp_peers: 4_096,
            max_waiting_datagrams: 64,
            max_path_mtus: 1_024,
            soft_error_events: true,
        }
    }
}
