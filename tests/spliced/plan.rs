//! What a seed decides.

use crate::dice::{Dice, PERCENT};
use std::time::Duration;
use xskip_core::{
    config::{Ecn, KeepAlive, StackConfig, TcpConfig},
    impair::{Chance, Direction},
    time::Instant,
};

/// The client's place among the hosts, the proxy's, and the backend's.
pub const CLIENT: usize = 0;
pub const PROXY: usize = 1;
pub const BACKEND: usize = 2;

/// What one of the peers does.
#[derive(Clone, Debug)]
pub struct Work {
    /// Until when so many octets may be written, in order.
    pub bursts: Vec<(Instant, u64)>,
    /// From when on, and until when, nothing is read.
    pub pause: Option<(Instant, Instant)>,
    /// Whether it closes when all is written; otherwise when it has heard that the other one has.
    pub closes: bool,
    /// When it resets the connection.
    pub aborts: Option<Instant>,
}

impl Work {
    /// Octets altogether.
    pub fn total(&self) -> u64 {
        self.bursts.iter().map(|(_, octets)| octets).sum()
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub ipv6: bool,
    pub configs: [StackConfig; 3],
    /// The client's link, then the backend's; each to the proxy, then from it.
    pub links: [[Direction; 2]; 2],
    /// The client's and the backend's.
    pub works: [Work; 2],
    /// Octets of the client's that the backend does not get, and those it gets before the client's.
    pub skipped: u64,
    pub preface: u64,
    /// From when on the proxy tries to part with its connections.
    pub parts_from: Instant,
    /// Whether it waits for a moment at which something is on its way to it, if that comes soon.
    pub parts_in_the_midst: bool,
    /// Whether the proxy holds its acknowledgments to the client, and to the backend.
    pub holds: [bool; 2],
    /// Of which sides something is to lie there when it parts, neither read nor acknowledged, if that comes soon.
    pub wanted: Option<[bool; 2]>,
    /// Whether somebody makes up segments.
    pub is_attacked: bool,
    /// When the backend is taken away, if it is; only where the two have parted.
    pub removal: Option<Instant>,
}

impl Plan {
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let configs = configs(&mut dice);
        let is_bad = dice.happens(80 * PERCENT);
        let links = [0, 1].map(|_| [0, 1].map(|_| direction(&mut dice, is_bad)));
        let mut works = [work(&mut dice), work(&mut dice)];
        // One of them has to begin.
        if !works.iter().any(|work| work.closes) {
            works[dice.below(2) as usize].closes = true;
        }
        if dice.happens(15 * PERCENT) {
            works[dice.below(2) as usize].aborts = Some(moment(&mut dice, 6_000));
        }
        let wanted =
            dice.one_of(&[None, None, None, None, Some([true, false]), Some([false, true]), Some([true, true])]);
        let parts_from = if dice.happens(20 * PERCENT) { Instant::ZERO } else { moment(&mut dice, 3_000) };
        if wanted.is_some() {
            // Both say something at that time.
            for work in &mut works {
                work.bursts.push((parts_from + Duration::from_millis(300), dice.one_of(&[1, 100, 1_400, 5_000])));
                work.bursts.sort();
            }
        }
        let skipped = dice.one_of(&[0, 0, 1, 28]).min(works[0].bursts[0].1);
        Self {
            seed,
            ipv6: dice.happens(30 * PERCENT),
            configs,
            links,
            works,
            skipped,
            preface: dice.one_of(&[0, 0, 28, 1_400]),
            parts_from,
            holds: [0, 1].map(|_| wanted.is_some() || dice.happens(40 * PERCENT)),
            wanted,
            is_attacked: dice.happens(20 * PERCENT),
            parts_in_the_midst: dice.happens(60 * PERCENT),
            removal: dice.happens(8 * PERCENT).then(|| moment(&mut dice, 6_000)),
        }
    }

    /// Whether somebody may reset the connections.
    pub fn may_be_reset(&self) -> bool {
        self.removal.is_some() || self.works.iter().any(|work| work.aborts.is_some())
    }
}

fn moment(dice: &mut Dice, millis: u64) -> Instant {
    Instant::from_nanos(dice.below(millis * 1_000_000) + 1)
}

fn configs(dice: &mut Dice) -> [StackConfig; 3] {
    // Most of the time all agree; where they do not, the proxy keeps its connections.
    let agree = dice.happens(85 * PERCENT);
    let (timestamps, sack, ecn) = (dice.happens(65 * PERCENT), dice.happens(75 * PERCENT), dice.happens(30 * PERCENT));
    let proxy_mtu = dice.one_of(&[1_500, 1_500, 1_400, 1_280]);
    [CLIENT, PROXY, BACKEND].map(|host| {
        let mut draw = |of_all: bool, chance: u32| if agree { of_all } else { dice.happens(chance) };
        let (timestamps, sack) = (draw(timestamps, 80 * PERCENT), draw(sack, 80 * PERCENT));
        let ecn = if draw(ecn, 80 * PERCENT) { Ecn::Active } else { Ecn::Off };
        let is_wide = draw(true, 70 * PERCENT);
        let mtu = if host == PROXY || !is_wide { proxy_mtu } else { 1_500 };
        let mtu = if is_wide { mtu } else { mtu - 100 };
        let receive_buffer = dice.one_of(&[8_192, 32_768, 65_535, 400_000, 6 << 20]);
        let tcp = TcpConfig {
            mtu,
            receive_buffer,
            initial_window: receive_buffer.min(65_535),
            timestamps,
            sack,
            ecn,
            nagle: dice.happens(50 * PERCENT),
            delayed_ack: Duration::from_millis(if host == PROXY { 200 } else { 40 }),
            keep_alive: Some(KeepAlive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), probes: 9 }),
            ..TcpConfig::default()
        };
        StackConfig {
            tcp,
            max_connections: 8,
            max_awake: dice.one_of(&[0, 8]),
            max_half_open: 8,
            max_time_wait: 8,
            max_used_handshakes: 8,
            max_reset_handshakes: 8,
            ..StackConfig::default()
        }
    })
}

fn direction(dice: &mut Dice, is_bad: bool) -> Direction {
    let mut percents = |most: u64| Chance::per_million((dice.below(most * 10_000 + 1)) as u32);
    let delay = |dice: &mut Dice| Duration::from_micros(dice.one_of(&[50, 1_000, 10_000, 40_000]));
    if !is_bad {
        return Direction { delay: delay(dice), ..Direction::default() };
    }
    Direction {
        loss: percents(10),
        duplicate: percents(5),
        reorder: percents(10),
        delay: delay(dice),
        jitter: Duration::from_micros(dice.below(5_000)),
        ..Direction::default()
    }
}

fn work(dice: &mut Dice) -> Work {
    let mut bursts: Vec<_> = (0..dice.between(1, 6))
        .map(|_| (moment(dice, 5_000), dice.one_of(&[1, 100, 1_400, 5_000, 20_000, 60_000]) + dice.below(40)))
        .collect();
    bursts.sort();
    let pause = dice.happens(25 * PERCENT).then(|| {
        let from = moment(dice, 4_000);
        (from, from + dice.span(Duration::from_secs(5)))
    });
    Work { bursts, pause, closes: dice.happens(60 * PERCENT), aborts: None }
}
