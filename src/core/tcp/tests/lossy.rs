//! Two connections and a bad wire between them: whatever it does, both ends get every octet, and both come to an end.

use super::{super::state::State, *};
use crate::{
    rng::splitmix64,
    tcp::{CloseReason, Cx, timestamps::TimestampState},
};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Random numbers that repeat.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = splitmix64(self.0);
        self.0 % bound
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What the wire does to segments, in per cent.
#[derive(Clone, Copy, Debug)]
struct Faults {
    loss: u64,
    duplication: u64,
    /// Segments that are held up by as much as three round trips, and so overtaken.
    delay: u64,
    /// Segments of which one bit is turned over.
    corruption: u64,
}

struct Side {
    connection: Connection,
    written: usize,
    read: usize,
    total: usize,
}

impl Side {
    /// Writes and reads what there is to write and read, in pieces of random size.
    fn act(&mut self, cx: Cx<'_>, dice: &mut Dice) {
        let length = (self.total - self.written).min(dice.below(20_000) as usize);
        self.written += self.connection.write(&pattern(self.written, length), cx.config);
        let front = self.connection.readable();
        let length = front.len().min(dice.below(20_000) as usize);
        assert!(front[..length] == pattern(self.read, length), "octets come as they were written");
        self.connection.consume(length);
        self.read += length;
        if self.written == self.total {
            self.connection.shutdown_write();
            if self.connection.is_at_end() {
                self.connection.close(cx);
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.connection.state(), State::TimeWait | State::Closed) && self.connection.readable_len() == 0
    }
}

/// A frame on its way: when it arrives, a number to break ties, to whom, and itself.
type Flight = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct World {
    sides: [Side; 2],
    config: TcpConfig,
    faults: Faults,
    dice: Dice,
    now: Instant,
    wire: BinaryHeap<Flight>,
    frames: u64,
    /// Segments sent again, and frames lost that were longer than an acknowledgment.
    again: u64,
    lost: u64,
    /// What the path takes, after so many milliseconds.
    mtu: fn(u64) -> usize,
    /// Frames that it did not take.
    too_big: u64,
}

/// Added to a side's number: what arrives is a frame of its own that did not fit the path.
const TOO_BIG: usize = 2;

const ONE_WAY: Duration = Duration::from_millis(10);

impl World {
    fn new(seed: u64, faults: Faults, totals: [usize; 2]) -> Self {
        let mut dice = Dice(seed);
        let buffer = 2_000 << dice.below(8);
        let config = TcpConfig { receive_buffer: buffer, send_buffer: buffer, ..TcpConfig::default() };
        let ours = Handshake { peer_window_scale: Some(3), ..handshake() };
        let theirs = Handshake { tuple: ours.tuple.reversed(), iss: ours.irs, irs: ours.iss, ..ours };
        let scale = crate::tcp::receive::window_scale_for(buffer);
        let now = Instant::from_millis(1);
        let (one, two) = (dice.below(1 << 32) as u32, dice.below(1 << 32) as u32);
        let (with_clocks, sack) = (dice.percent(50), dice.percent(50));
        let sides =
            [(ours, totals[0], one, two), (theirs, totals[1], two, one)].map(|(handshake, total, ours, theirs)| {
                let clocks = with_clocks.then(|| TimestampState::new(now, ours, theirs));
                let handshake = Handshake { peer_window_scale: Some(scale), sack, clocks, ..handshake };
                let mut connection = Connection::established(config.at(now), &handshake);
                // Each hears of the other's window by a segment that may be lost like any other.
                connection.acks.owe();
                Side { connection, written: 0, read: 0, total }
            });
        let (wire, mtu) = (BinaryHeap::new(), |_| 1_500);
        Self { sides, config, faults, dice, now, wire, frames: 0, again: 0, lost: 0, mtu, too_big: 0 }
    }

    fn send(&mut self, to: usize, mut frame: Vec<u8>) {
        if self.dice.percent(self.faults.loss) {
            self.lost += u64::from(frame.len() > 100);
            return;
        }
        let mtu = (self.mtu)(self.now.as_nanos() / 1_000_000);
        if frame.len() - 14 > mtu {
            self.too_big += 1;
            // What it would have fitted goes back with it, where nobody looks at an address.
            frame[..2].copy_from_slice(&(mtu as u16).to_be_bytes());
            self.wire.push(Reverse((self.now + ONE_WAY, self.frames, TOO_BIG + 1 - to, frame)));
            return;
        }
        if self.dice.percent(self.faults.corruption) {
            // Behind the Ethernet header, where a checksum sees it.
            let bit = 14 * 8 + self.dice.below((frame.len() as u64 - 14) * 8) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let copies = 1 + u64::from(self.dice.percent(self.faults.duplication));
        for _ in 0..copies {
            let late = if self.dice.percent(self.faults.delay) { self.dice.below(60_000_000) } else { 0 };
            let arrives = self.now + ONE_WAY + Duration::from_nanos(late);
            self.frames += 1;
            self.wire.push(Reverse((arrives, self.frames, to, frame.clone())));
        }
    }

    fn deliver(&mut self) {
        while self.wire.peek().is_some_and(|Reverse((arrives, ..))| *arrives <= self.now) {
            let Some(Reverse((_, _, to, frame))) = self.wire.pop() else { return };
            let Ok(parsed) = wire::parse(&frame, ChecksumPolicy::Verify) else { continue };
            let Packet::Tcp(ip, segment) = parsed.packet else { continue };
            if to >= TOO_BIG {
                let mtu = usize::from(u16::from_be_bytes([frame[0], frame[1]]));
                let until = self.now + self.config.path_mtu_lifetime;
                let connection = &mut self.sides[to - TOO_BIG].connection;
                if connection.is_in_flight(segment.header.seq) {
                    let _ = connection.limit_path(self.config.at(self.now), mtu, until);
                }
                continue;
            }
            let side = &mut self.sides[to];
            // The flow table would not have found another 4-tuple: a bit may have fallen where two faults cancel out.
            if FourTuple::of_received(&ip, &segment.header) == *side.connection.tuple() {
                let link = *side.connection.link();
                let _ = side.connection.arrive(self.config.at(self.now), &link, &segment);
            }
        }
    }

    fn transmit(&mut self, from: usize) {
        let mut buffer = vec![0; 2_000];
        loop {
            let connection = &mut self.sides[from].connection;
            if connection.state() == State::Closed {
                return;
            }
            let Some((length, kind)) = connection.poll_transmit(self.config.at(self.now), &mut buffer) else { break };
            self.again += u64::from(kind == SentKind::Retransmission);
            self.send(1 - from, buffer[..length].to_vec());
        }
        let connection = &self.sides[from].connection;
        let outstanding = connection.send.flight_size() > 0 || connection.send.has_unsent();
        let timed = [Timer::Retransmit, Timer::Persist].iter().any(|&timer| connection.timers.is_armed(timer));
        assert_eq!(outstanding, timed, "a timer runs exactly when something is outstanding: {connection:?}");
        assert!(connection.readable_len() + connection.receive.window() as usize <= self.config.receive_buffer + 8);
    }

    /// Lets everything happen until both sides are done.
    fn run(&mut self) {
        let end = self.now + Duration::from_secs(3_600);
        while !self.sides.iter().all(Side::is_over) {
            self.deliver();
            for number in 0..2 {
                let side = &mut self.sides[number];
                side.connection.handle_timeout(self.config.at(self.now));
                side.act(self.config.at(self.now), &mut self.dice);
                self.transmit(number);
            }
            let arrival = self.wire.peek().map(|Reverse((arrives, ..))| *arrives);
            let timeouts = self.sides.iter().filter_map(|side| side.connection.poll_timeout());
            let next = timeouts.chain(arrival).min().map_or(self.now, |next| next.max(self.now));
            // Where an application has more to do than it did in this turn, it acts again a little later.
            self.now = next.min(self.now + Duration::from_millis(5)).max(self.now + Duration::from_nanos(1));
            assert!(self.now < end, "both ends come to an end: {:?}", self.sides.each_ref().map(|side| side.read));
        }
        let read = self.sides.each_ref().map(|side| side.read);
        assert_eq!(read, [self.sides[1].total, self.sides[0].total], "every octet arrives");
        for side in &self.sides {
            assert!(matches!(side.connection.end(), None | Some(CloseReason::Finished)));
        }
    }
}

/// Runs a number of seeds, naming the one that fails.
fn try_seeds(seeds: std::ops::Range<u64>, faults: Faults, totals: [usize; 2]) {
    for seed in seeds {
        let attempt = std::panic::AssertUnwindSafe(|| World::new(seed, faults, totals).run());
        if let Err(panic) = std::panic::catch_unwind(attempt) {
            eprintln!("seed {seed} with {faults:?} and {totals:?} octets failed");
            std::panic::resume_unwind(panic);
        }
    }
}

/// How long a transfer takes on a wire, with reports and without: the median over some seeds; and how many segments were sent
/// again, and lost, in all.
fn cost(faults: Faults, octets: usize, sack: bool) -> (Duration, u64, u64) {
    let (mut times, mut again, mut lost) = (Vec::new(), 0, 0);
    for seed in 0..21 {
        let mut world = World::new(seed, faults, [octets, 0]);
        world.config.receive_buffer = 256_000;
        world.config.send_buffer = 256_000;
        for side in &mut world.sides {
            side.connection.sack = sack;
        }
        world.run();
        times.push(world.now - Instant::from_millis(1));
        again += world.again;
        lost += world.lost;
    }
    times.sort_unstable();
    (times[times.len() / 2], again, lost)
}

#[test]
fn reports_make_loss_cheaper() {
    let faults = Faults { loss: 3, ..NONE };
    let (with, without) = (cost(faults, 1_000_000, true), cost(faults, 1_000_000, false));
    assert!(with.0 < without.0, "in time: {with:?}, {without:?}");
    assert!(with.1 * without.2 <= without.1 * with.2, "in segments sent again for those lost: {with:?}, {without:?}");
    assert!(with.1 * 10 <= with.2 * 11, "hardly any in vain: {with:?}");
}

const NONE: Faults = Faults { loss: 0, duplication: 0, delay: 0, corruption: 0 };

#[test]
fn a_good_wire() {
    try_seeds(0..20, NONE, [200_000, 200_000]);
    try_seeds(0..20, NONE, [0, 0]);
    try_seeds(0..20, NONE, [1, 0]);
}

#[test]
fn loss() {
    for loss in [1, 5, 20] {
        try_seeds(0..20, Faults { loss, ..NONE }, [60_000, 60_000]);
    }
}

#[test]
fn reordering_and_duplication() {
    try_seeds(0..20, Faults { delay: 10, ..NONE }, [60_000, 60_000]);
    try_seeds(0..20, Faults { duplication: 20, ..NONE }, [60_000, 60_000]);
}

#[test]
fn everything_at_once() {
    try_seeds(0..60, Faults { loss: 5, duplication: 5, delay: 10, corruption: 2 }, [40_000, 20_000]);
}

#[test]
fn shld_6_paths_that_become_narrower_and_wider() {
    for (seed, loss) in (0..40).zip([0, 1, 5].into_iter().cycle()) {
        let mut world = World::new(seed, Faults { loss, delay: loss, ..NONE }, [300_000, 100_000]);
        world.config.path_mtu_lifetime = Duration::from_millis(150);
        world.mtu = |millis| [1_500, 1_000, 600, 1_300][(millis / 100 % 4) as usize];
        world.run();
        assert!(world.too_big > 0, "seed {seed} was quick, or sent nothing too big");
    }
}
