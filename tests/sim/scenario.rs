//! What is tried: everything that a seed decides.

use crate::{
    apps::{Ending, Work},
    dice::{Dice, PERCENT},
    link::{Bursts, Faults, Narrowing, Wire},
    misbehaviour::{Garbage, Misbehaviour},
};
use std::time::Duration;
use xskip_core::{
    config::{CongestionControl, Ecn, KeepAlive, StackConfig, TcpConfig},
    stack::SynMode,
    time::Instant,
};

/// A connection to be made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which client makes it; the first is 1.
    pub client: usize,
    /// When.
    pub start: Instant,
    /// What the two applications do, the client's first.
    pub works: [Work; 2],
}

/// A host to be set up.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its stack's limits.
    pub config: StackConfig,
    /// How fine its clock is.
    pub tick: Duration,
}

/// Everything about a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub seed: u64,
    /// The server and its clients.
    pub hosts: Vec<HostPlan>,
    /// Whether all is IPv6.
    pub ipv6: bool,
    /// What the server does about SYNs.
    pub syn_mode: SynMode,
    /// The wire to the server, and back.
    pub wires: [Wire; 2],
    /// What becomes of the frames of clients, and of the server's.
    pub misbehaviour: [Misbehaviour; 2],
    /// Who guesses.
    pub garbage: Option<Garbage>,
    /// The connections.
    pub plans: Vec<Plan>,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Scenario {
    /// A client and a server that are alike, on a wire that is the same both ways, without anything to do.
    pub fn plain(seed: u64, tcp: TcpConfig, wire: Wire) -> Self {
        let host = HostPlan { config: small(tcp), tick: Duration::from_nanos(1) };
        Self {
            seed,
            hosts: vec![host.clone(), host],
            ipv6: false,
            syn_mode: SynMode::Cache,
            wires: [wire.clone(), wire],
            misbehaviour: [Misbehaviour::None; 2],
            garbage: None,
            plans: Vec::new(),
        }
    }

    /// This scenario with one more connection, over which the client sends.
    #[must_use]
    pub fn sending(mut self, start: Duration, octets: u64) -> Self {
        let works = [Work::send(octets), Work::send(0)];
        self.plans.push(Plan { client: 1, start: Instant::ZERO + start, works });
        self
    }

    /// The run that a seed names.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let clients = dice.one_of(&[1, 1, 1, 2, 3]);
        let syn_mode = dice.one_of(&[SynMode::Cache, SynMode::Cache, SynMode::Cookie]);
        let mut hosts: Vec<HostPlan> = (0..=clients).map(|_| draw_host(&mut dice)).collect();
        let mut limits = Dice::new(seed, 6);
        for host in &mut hosts {
            host.config.tcp.max_segments = limits.one_of(&[8_192, 8_192, 8_192, 100, 3]);
        }
        draw_limits(&mut Dice::new(seed, 100), &mut hosts[0].config);
        let mut wires = draw_wires(&mut dice);
        draw_stragglers(&mut Dice::new(seed, 7), &mut wires);
        let connections = dice.one_of(&[1, 1, 1, 2, 4]);
        let plans = (0..connections).map(|_| draw_plan(&mut dice, clients)).collect();
        let misbehaviour = draw_misbehaviour(&mut dice);
        // With cookies alone, whoever sees the wire can reset a handshake that nobody remembers.
        let guesses = dice.happens(10 * PERCENT) && syn_mode == SynMode::Cache;
        let garbage = guesses.then(|| Garbage { every: millis(dice.between(1, 200)) });
        Self { seed, hosts, ipv6: dice.happens(40 * PERCENT), syn_mode, wires, misbehaviour, garbage, plans }
    }

    /// Whether acknowledgments claim what has not come, so that data are gone for good.
    pub fn is_fooled(&self) -> bool {
        self.misbehaviour.contains(&Misbehaviour::AcknowledgesAhead)
    }

    /// Whether it may be impossible to end in order, whatever the stacks do.
    pub fn may_fail(&self) -> bool {
        let cut = |wire: &Wire| !wire.faults.partitions.is_empty() || wire.faults.narrowing.is_some();
        self.is_fooled() || self.is_tight() || self.wires.iter().any(cut)
    }

    /// Whether the server has so little memory, or patience with who says nothing, that it may reset whom it likes.
    pub fn is_tight(&self) -> bool {
        let config = &self.hosts[0].config;
        config.memory.is_some() || config.silence.is_some()
    }
}

/// Limits that a run does not reach, and that cost little to set up.
fn small(tcp: TcpConfig) -> StackConfig {
    let (max_used_handshakes, max_reset_handshakes) = (64, 64);
    let most = StackConfig { silence: None, max_used_handshakes, max_reset_handshakes, ..StackConfig::default() };
    StackConfig { tcp, max_connections: 16, max_half_open: 16, max_time_wait: 16, ..most }
}

/// Few servers have limits that matter in a run. These have dice of their own, so that to others nothing changes.
fn draw_limits(dice: &mut Dice, config: &mut StackConfig) {
    if dice.happens(5 * PERCENT) {
        config.memory = Some(dice.one_of(&[8_000, 40_000, 150_000, 600_000]));
    }
    if dice.happens(5 * PERCENT) {
        config.silence = Some(Duration::from_secs(dice.one_of(&[1, 60])));
        config.max_connections = dice.one_of(&[1, 2, 16]);
    }
}

fn draw_host(dice: &mut Dice) -> HostPlan {
    let buffer = |dice: &mut Dice| dice.one_of(&[1_000, 3_000, 10_000, 64_000, 65_535, 70_000, 256_000, 1_000_000]);
    let tcp = TcpConfig {
        mtu: dice.one_of(&[1_500, 1_500, 1_500, 1_280, 1_400]),
        receive_buffer: buffer(dice),
        send_buffer: buffer(dice),
        initial_window: dice.one_of(&[64 * 1_024, 64 * 1_024, 3_000, 1_000_000]),
        write_ahead: dice.one_of(&[128 * 1_024, 4_000]),
        max_holes: dice.one_of(&[4_096, 64, 4, 1]),
        nagle: dice.happens(70 * PERCENT),
        congestion_control: dice.one_of(&[CongestionControl::Cubic, CongestionControl::Reno]),
        sack: dice.happens(75 * PERCENT),
        ecn: dice.one_of(&[Ecn::Passive, Ecn::Active, Ecn::Active, Ecn::Off]),
        timestamps: dice.happens(75 * PERCENT),
        keep_alive: dice.happens(10 * PERCENT).then(KeepAlive::default),
        quick_acks: dice.one_of(&[16, 16, 0]),
        delayed_ack: millis(dice.one_of(&[40, 40, 0, 200, 490])),
        separate_fin_ack: dice.happens(20 * PERCENT),
        ..TcpConfig::default()
    };
    let nanos = dice.one_of(&[1, 1, 1_000_000, 10_000_000]);
    let max_awake = dice.one_of(&[0, 16]);
    HostPlan { config: StackConfig { max_awake, ..small(tcp) }, tick: Duration::from_nanos(nanos) }
}

fn draw_wires(dice: &mut Dice) -> [Wire; 2] {
    let delay = Duration::from_micros(dice.one_of(&[20, 500, 5_000, 20_000, 100_000, 300_000]));
    let rate = dice.one_of(&[None, Some(1_000_000), Some(10_000_000), Some(100_000_000)]);
    let queue = dice.one_of(&[4_000, 15_000, 60_000, 300_000]);
    let jitter = if dice.happens(30 * PERCENT) { delay.mul_f64(0.3) } else { Duration::ZERO };
    // Most runs have a few faults, some have none, some have them one way only.
    let faults =
        [(); 2].map(|()| if dice.happens(85 * PERCENT) { draw_faults(dice, delay) } else { Faults::default() });
    let marks = dice.happens(50 * PERCENT);
    faults.map(|faults| Wire { delay, jitter, rate, queue, marks, faults })
}

fn draw_faults(dice: &mut Dice, delay: Duration) -> Faults {
    let chance =
        |dice: &mut Dice, of: u32, choices: &[u32]| if dice.happens(of * PERCENT) { dice.one_of(choices) } else { 0 };
    let mut faults = Faults {
        loss: chance(dice, 50, &[PERCENT / 10, PERCENT, 3 * PERCENT, 10 * PERCENT]),
        ack_loss: chance(dice, 15, &[10 * PERCENT, 50 * PERCENT]),
        duplication: chance(dice, 25, &[PERCENT, 20 * PERCENT]),
        corruption: chance(dice, 20, &[PERCENT / 2, 5 * PERCENT]),
        reordering: chance(dice, 30, &[PERCENT, 10 * PERCENT, 40 * PERCENT]),
        held_up: delay * dice.between(0, 3) as u32 + Duration::from_micros(dice.between(1, 500)),
        ..Faults::default()
    };
    if dice.happens(15 * PERCENT) {
        let bad = millis(dice.between(2, 150));
        faults.bursts = Some(Bursts { good: bad * dice.between(3, 40) as u32, bad, loss: 60 * PERCENT });
    }
    if dice.happens(10 * PERCENT) {
        let span = millis(dice.one_of(&[50, 500, 5_000, 60_000, 900_000]));
        faults.partitions.push((Instant::from_millis(dice.between(5, 3_000)), span));
    }
    if dice.happens(3 * PERCENT) {
        let at = Instant::from_millis(dice.between(5, 1_000));
        faults.narrowing =
            Some(Narrowing { at, mtu: dice.between(600, 1_499) as usize, tells: dice.happens(50 * PERCENT) });
    }
    faults
}

/// A network may keep a segment for as long as its lifetime, whatever becomes of the connection meanwhile.
fn draw_stragglers(dice: &mut Dice, wires: &mut [Wire; 2]) {
    for wire in wires {
        if dice.happens(30 * PERCENT) {
            wire.faults.straggling = dice.one_of(&[PERCENT, 10 * PERCENT, 50 * PERCENT]);
            wire.faults.stragglers = dice.one_of(&[millis(1_000), TcpConfig::default().msl]);
        }
    }
}

fn draw_misbehaviour(dice: &mut Dice) -> [Misbehaviour; 2] {
    let mut draw = || match dice.below(100) {
        0..5 => Misbehaviour::StretchesAcks(8),
        5..12 => Misbehaviour::ShrinksWindows(4),
        12..15 => Misbehaviour::AcknowledgesAhead,
        15..23 => Misbehaviour::LiesInReports,
        _ => Misbehaviour::None,
    };
    [draw(), draw()]
}

fn draw_plan(dice: &mut Dice, clients: usize) -> Plan {
    let start = Instant::from_millis(dice.between(0, 400));
    let client = dice.between(1, clients as u64) as usize;
    let mut works = [draw_work(dice), draw_work(dice)];
    // Somebody must be the first to finish.
    if works.iter().all(|work| work.ending == Ending::FinishLast) {
        works[0].ending = Ending::Finish;
    }
    Plan { client, start, works }
}

fn draw_work(dice: &mut Dice) -> Work {
    let most = dice.one_of(&[0, 1, 2_000, 20_000, 120_000]);
    let octets = dice.between(0, most);
    let ending = match dice.below(100) {
        0..45 => Ending::Finish,
        45..75 => Ending::FinishLast,
        75..85 => Ending::Close,
        85..93 => Ending::Linger,
        _ => Ending::Abort(dice.between(0, octets)),
    };
    // Whoever is slow takes a few hundred steps for all there is, at most.
    let is_slow = dice.happens(35 * PERCENT);
    let piece = if is_slow { dice.between(400, 20_000) as usize } else { usize::MAX };
    let pause =
        if is_slow { Duration::from_micros(dice.one_of(&[10, 1_000, 20_000, 300_000])) } else { Duration::ZERO };
    let reads_after = millis(dice.one_of(&[0, 0, 0, 0, 100, 10_000]));
    Work { octets, ending, piece, pause, no_delay: dice.happens(20 * PERCENT), reads_after }
}
