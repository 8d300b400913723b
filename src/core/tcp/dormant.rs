//! An established connection that has nothing to do, in an eighth of a control block.
//!
//! Most connections of a busy server are idle most of the time. What such a one must not forget fits into two cache lines; the
//! rest of a control block is about what is in flight, out of order, lost or due, and nothing is.

use super::{
    acks::{AckSchedule, QuickAcks},
    challenges::Challenges,
    congestion::{Congestion, QuietCongestion},
    connection::Connection,
    cx::Cx,
    ecn::{Ecn, Said},
    handshake::Handshake,
    liveness::Liveness,
    options::{Diffserv, Options, Reader},
    path_mtu::PathLimit,
    persist::Persist,
    receive::QuietReceive,
    recorder::{Beginning, History},
    recovery::Recovery,
    rto::{QuietRtt, RttEstimator},
    send::QuietSend,
    signals::Signals,
    state::State,
    timers::{Timer, Timers},
    timestamps::TimestampState,
    tuning::{QuietTuning, Tuning},
    urgent::Urgent,
};
use crate::{
    config::TcpConfig,
    time::{Coarse, Instant},
    wire::{Endpoint, FourTuple, InterfaceId, LinkHeader, MacAddress, SeqNumber, ethernet::VlanTags},
};
use std::net::{IpAddr, Ipv4Addr};

bitflags::bitflags! {
    /// What can be said by yes or no, in one octet.
    #[derive(Clone, Copy, Debug)]
    struct Marks: u8 {
        const CLOCKS = 1;
        const SACK = 2;
        const WRITE_BLOCKED = 4;
        const AWAITS_PROBE = 8;
        /// Apart from the other options: a proxy chooses it for all of its clients, and it takes no memory here.
        const HOLDS_ACKS = 16;
        const ANSWERED = 32;
    }
}

/// What is left of a connection that sleeps, but for its 4-tuple and our own link address, which its owner knows.
#[derive(Debug)]
pub struct Dormant {
    next_hop: MacAddress,
    vlan: VlanTags,
    interface: InterfaceId,
    send: QuietSend,
    receive: QuietReceive,
    /// They mean nothing where there are none: an `Option` would take four bytes more.
    clocks: TimestampState,
    marks: Marks,
    congestion: QuietCongestion,
    rtt: QuietRtt,
    tuning: QuietTuning,
    heard: Coarse,
    /// How long before that data came last, as [`Coarse::since`] has it.
    data_before: u16,
    full_mss: u16,
    ecn: Said,
    diffserv: Diffserv,
    quick_acks: u8,
    /// There where the application has chosen otherwise than the configuration.
    options: Option<Box<Options>>,
}

impl Dormant {
    /// The interface that its segments leave by: whose link address [`Connection::resume`] wants to know.
    pub fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// When the peer was last heard.
    pub fn heard(&self) -> Instant {
        self.heard.into()
    }

    /// The history of one that sleeps, between these two: nothing but when it last heard of its peer.
    pub fn history(&self, tuple: FourTuple) -> History {
        let (since, events) = (self.heard(), Vec::new());
        History { tuple, began: Beginning::Woken, since, missed: 0, events, ending: None }
    }

    /// When the connection is to be resumed if nothing comes before: its keep-alive.
    pub fn deadline(&self, config: &TcpConfig) -> Option<Instant> {
        let keep_alive = self.options.as_ref().map_or(config.keep_alive, |options| options.keep_alive);
        Some(Instant::from(self.heard) + keep_alive?.idle)
    }
}

impl Connection {
    /// A control block for [`Connection::resume`] to fill.
    pub fn blank(config: &TcpConfig) -> Self {
        let nobody = Endpoint { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
        let tuple = FourTuple { local: nobody, remote: nobody };
        let handshake = Handshake::unanswered(tuple, SeqNumber::default(), config);
        Self::established(config.at(Instant::ZERO), &handshake)
    }

    /// It is over: what it holds is forgotten, and its memory is there for another one.
    pub fn retire(&mut self) {
        self.send.retire();
        self.receive.retire();
    }

    /// Takes the memory of one that is over, before there is anything in its own.
    pub fn adopt_memory(&mut self, retired: &mut Self) {
        self.send.adopt_memory(&mut retired.send);
        self.receive.adopt_memory(&mut retired.receive);
        self.recorder.adopt_memory(&mut retired.recorder);
    }

    /// What has to be kept of it while it sleeps; `None` where it has something to do, or something that is due.
    pub fn suspend(&self, cx: Cx<'_>) -> Option<Dormant> {
        let heard = self.liveness.last_heard().filter(|_| self.is_quiet(cx.now))?;
        let options = Options { holds_acks: false, ..self.options };
        let marks = [
            (Marks::CLOCKS, self.clocks.is_some()),
            (Marks::SACK, self.sack),
            (Marks::WRITE_BLOCKED, self.write_blocked),
            (Marks::AWAITS_PROBE, self.recovery.awaits_probe()),
            (Marks::HOLDS_ACKS, self.options.holds_acks),
            (Marks::ANSWERED, self.is_answered),
        ];
        Some(Dormant {
            next_hop: self.link.destination,
            vlan: self.link.vlan,
            interface: self.link.interface,
            send: self.send.suspend(),
            receive: self.receive.suspend(),
            clocks: self.clocks.unwrap_or_default(),
            marks: marks.into_iter().filter(|(_, is_so)| *is_so).map(|(mark, _)| mark).collect(),
            congestion: self.congestion.suspend(),
            rtt: self.rtt.suspend(),
            tuning: self.tuning.suspend(),
            heard: heard.into(),
            data_before: Coarse::from(heard).since(self.quick_acks.last().into()),
            full_mss: u16::try_from(self.path.full_mss).unwrap_or(u16::MAX),
            ecn: self.ecn.suspend(),
            diffserv: self.diffserv,
            quick_acks: self.quick_acks.left(),
            options: (options != Options::of(cx.config)).then(|| Box::new(options)),
        })
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.state == State::Established
            && self.end.is_none()
            && self.reader == Reader::Application
            && self.send.is_quiet()
            && self.receive.is_quiet()
            && self.acks.is_quiet()
            && self.timers.none_but(Timer::KeepAlive)
            && self.recovery.is_quiet()
            && self.path.until.is_none()
            && self.signals.is_empty()
            && self.urgent.is_quiet()
            && self.timeouts == 0
            && !self.persist.is_probing()
            && self.challenges.is_over(now)
    }

    /// Becomes the connection that slept, in the memory that this one has; `ours` is our link address.
    pub fn resume(&mut self, tuple: FourTuple, ours: MacAddress, dormant: Dormant, config: &TcpConfig) {
        let (heard, data_heard) = (dormant.heard.into(), dormant.heard.before(dormant.data_before));
        let options = dormant.options.map_or_else(|| Options::of(config), |options| *options);
        self.tuple = tuple;
        self.link = LinkHeader {
            destination: dormant.next_hop,
            source: ours,
            vlan: dormant.vlan,
            interface: dormant.interface,
        };
        self.state = State::Established;
        self.opening = None;
        self.send.resume(&dormant.send, config.clock_tick);
        self.receive.resume(&dormant.receive);
        let is_so = |mark| dormant.marks.contains(mark);
        self.sack = is_so(Marks::SACK);
        self.clocks = is_so(Marks::CLOCKS).then_some(dormant.clocks);
        self.ecn = Ecn::resume(dormant.ecn);
        self.diffserv = dormant.diffserv;
        self.rtt = RttEstimator::resume(&dormant.rtt);
        self.congestion = Congestion::resume(config.congestion_control, self.send.mss(), &dormant.congestion);
        self.recovery = Recovery::resume(is_so(Marks::AWAITS_PROBE), self.send.una());
        self.path = PathLimit { full_mss: dormant.full_mss.into(), until: None };
        self.timers = Timers::default();
        if let Some(keep_alive) = options.keep_alive {
            self.timers.arm(Timer::KeepAlive, heard + keep_alive.idle);
        }
        self.acks = AckSchedule::new(self.receive.nxt());
        self.quick_acks = QuickAcks::new(dormant.quick_acks.into(), data_heard.into());
        self.tuning = Tuning::resume(dormant.tuning, heard);
        self.signals = Signals::default();
        self.end = None;
        (self.timeouts, self.persist) = (0, Persist::default());
        self.reader = Reader::Application;
        self.write_blocked = is_so(Marks::WRITE_BLOCKED);
        self.is_answered = is_so(Marks::ANSWERED);
        self.options = Options { holds_acks: is_so(Marks::HOLDS_ACKS), ..options };
        self.urgent = Urgent::default();
        self.liveness = Liveness::new(heard);
        self.challenges = Challenges::new(heard);
        self.recorder.begin(heard, Beginning::Woken);
    }
}
