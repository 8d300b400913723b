//! What repairs cost on a wire that loses and reorders what a script says, with fine clocks and coarse ones.

use super::*;
use crate::rng::splitmix64;
use std::{cmp::Reverse, collections::BinaryHeap};

const ONE_WAY: Duration = Duration::from_millis(10);
/// What a full segment takes on the line: 100 Mbit/s.
const SLOT: Duration = Duration::from_micros(120);
const FINE: Duration = Duration::from_nanos(1);
const COARSE: Duration = Duration::from_millis(10);

/// What becomes of a data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    OnTime,
    Lost,
    /// So many others overtake it.
    Overtaken(u32),
}

/// A frame on its way: when it arrives, a number to break ties, to whom, and itself.
type Frame = Reverse<(Instant, u64, usize, Vec<u8>)>;

/// Side 0 sends to side 1.
struct Path<F> {
    sides: [Connection; 2],
    config: TcpConfig,
    /// How often the clock of either side moves.
    tick: Duration,
    now: Instant,
    line_is_free: Instant,
    frames: BinaryHeap<Frame>,
    number: u64,
    /// Decides by the number of the transmission, and whether it is one sent again.
    fate: F,
    transmissions: u32,
    lost: u32,
    /// When something was sent again.
    again: Vec<Duration>,
    last_new: Duration,
    timed_out: bool,
}

impl<F: FnMut(u32, bool) -> Fate> Path<F> {
    fn new(sack: bool, tick: Duration, buffer: usize, fate: F) -> Self {
        let config =
            TcpConfig { receive_buffer: 2 << 20, send_buffer: buffer, clock_tick: tick, ..TcpConfig::default() };
        let scale = crate::tcp::receive::window_scale_for(config.receive_buffer);
        let ours = Handshake { peer_window_scale: Some(scale), sack, ..handshake() };
        let theirs = Handshake { tuple: ours.tuple.reversed(), iss: ours.irs, irs: ours.iss, ..ours };
        let sides = [ours, theirs].map(|handshake| Connection::established(config.at(Instant::ZERO), &handshake));
        let (frames, again) = (BinaryHeap::new(), Vec::new());
        let (now, line_is_free) = (Instant::ZERO, Instant::ZERO);
        let mut path = Self {
            sides,
            config,
            tick,
            now,
            line_is_free,
            frames,
            number: 0,
            fate,
            transmissions: 0,
            lost: 0,
            again,
            last_new: Duration::ZERO,
            timed_out: false,
        };
        path.sides[1].acks.owe();
        path
    }

    /// The time as the sides see it.
    fn clock(&self) -> Instant {
        let tick = self.tick.as_nanos() as u64;
        Instant::from_nanos(self.now.as_nanos() / tick * tick)
    }

    fn carry(&mut self, from: usize, frame: Vec<u8>, kind: SentKind) {
        let mut arrives = self.now + ONE_WAY;
        if from == 0 && kind != SentKind::Acknowledgment {
            self.line_is_free = self.line_is_free.max(self.now) + SLOT;
            arrives = self.line_is_free + ONE_WAY;
            match (self.fate)(self.transmissions, kind == SentKind::Retransmission) {
                Fate::OnTime => {}
                Fate::Lost => {
                    self.lost += 1;
                    self.transmissions += 1;
                    return;
                }
                Fate::Overtaken(by) => arrives += SLOT * by + SLOT / 2,
            }
            self.transmissions += 1;
        }
        self.number += 1;
        self.frames.push(Reverse((arrives, self.number, 1 - from, frame)));
    }

    fn deliver(&mut self) {
        while self.frames.peek().is_some_and(|Reverse((arrives, ..))| *arrives <= self.now) {
            let Some(Reverse((_, _, to, frame))) = self.frames.pop() else { return };
            let parsed = wire::parse(&frame, ChecksumPolicy::Verify).unwrap();
            let Packet::Tcp(_, segment) = parsed.packet else { panic!() };
            let (link, clock) = (*self.sides[to].link(), self.clock());
            let _ = self.sides[to].arrive(self.config.at(clock), &link, &segment);
        }
    }

    fn transmit(&mut self, from: usize) {
        let mut buffer = vec![0; 2_000];
        let clock = self.clock();
        while let Some((length, kind)) = self.sides[from].poll_transmit(self.config.at(clock), &mut buffer) {
            let at = self.now - Instant::ZERO;
            match kind {
                SentKind::Retransmission => self.again.push(at),
                SentKind::New if from == 0 => self.last_new = at,
                _ => {}
            }
            self.carry(from, buffer[..length].to_vec(), kind);
        }
    }

    /// Carries so many octets, and returns when the last of them was acknowledged.
    fn run(&mut self, octets: usize) -> Duration {
        let (mut written, mut read) = (0, 0);
        while read < octets || self.sides[0].send.flight_size() > 0 {
            self.deliver();
            for number in 0..2 {
                let clock = self.clock();
                self.sides[number].handle_timeout(self.config.at(clock));
                self.timed_out |= self.sides[number].timeouts > 0;
                if number == 0 {
                    // Whole segments, so that none is small but the last.
                    let room = self.sides[0].room_or_wait(&self.config).min(octets - written) / SEGMENT * SEGMENT;
                    written += self.sides[0].write(&pattern(written, room), &self.config);
                } else {
                    let length = self.sides[1].readable_len();
                    self.sides[1].consume(length);
                    read += length;
                }
                self.transmit(number);
            }
            // A clock that is coarse shows a deadline with the next tick.
            let tick = self.tick.as_nanos() as u64;
            let up = |at: Instant| Instant::from_nanos(at.as_nanos().div_ceil(tick) * tick);
            let timers = self.sides.iter().filter_map(|side| side.poll_timeout()).map(up);
            let arrival = self.frames.peek().map(|Reverse((arrives, ..))| *arrives);
            let Some(next) = timers.chain(arrival).min() else { break };
            self.now = next.max(self.now + FINE);
            assert!(self.now < Instant::from_millis(3_600_000));
        }
        assert_eq!((read, self.sides[0].send.flight_size()), (octets, 0));
        self.now - Instant::ZERO
    }
}

const SEGMENT: usize = MSS as usize;

#[test]
fn one_lost_segment_in_a_window_of_a_hundred_costs_no_timeout_and_one_segment() {
    for (sack, tick) in [(true, FINE), (true, COARSE), (false, FINE), (false, COARSE)] {
        for number in 600..700 {
            let lose = |transmission, _| if transmission == number { Fate::Lost } else { Fate::OnTime };
            let mut path = Path::new(sack, tick, 100 * SEGMENT, lose);
            path.run(1_000 * SEGMENT);
            let costs = (path.again.len(), path.timed_out);
            assert_eq!(costs, (1, false), "number {number} lost, SACK {sack}, {tick:?}");
        }
    }
}

#[test]
fn a_lost_tail_is_repaired_within_two_round_trips_of_its_probe() {
    for (tail, tick) in [(1, FINE), (2, FINE), (1, COARSE), (2, COARSE)] {
        let lose = |transmission, again: bool| {
            if !again && transmission >= 200 - tail { Fate::Lost } else { Fate::OnTime }
        };
        let mut path = Path::new(true, tick, 100 * SEGMENT, lose);
        let done = path.run(200 * SEGMENT);
        let rtt = path.sides[0].round_trip_time().unwrap();
        let probe = 2 * rtt + if tail == 1 { Duration::from_millis(200) } else { Duration::ZERO };
        // What was acknowledged last before the probe came up to a round trip behind the tail.
        let took = done - path.last_new;
        assert!(took <= 3 * rtt + probe + 2 * tick, "{tail} lost, {tick:?}: {took:?} at {rtt:?}");
        assert_eq!((path.again.len(), path.timed_out), (tail as usize, false), "{tail} lost, {tick:?}");
    }
}

#[test]
fn a_long_lost_tail_costs_no_timeout_and_nothing_beyond_it() {
    for (tail, tick) in [(3, FINE), (10, FINE), (60, FINE), (3, COARSE), (10, COARSE), (60, COARSE)] {
        let lose = |transmission, again: bool| {
            if !again && transmission >= 200 - tail { Fate::Lost } else { Fate::OnTime }
        };
        let mut path = Path::new(true, tick, 100 * SEGMENT, lose);
        path.run(200 * SEGMENT);
        assert_eq!((path.again.len(), path.timed_out), (tail as usize, false), "{tail} lost, {tick:?}");
    }
}

#[test]
fn constant_reordering_by_three_segments_draws_nothing_after_the_first_second() {
    for tick in [FINE, COARSE] {
        for every in [4, 5, 8, 20, 100] {
            let overtake = |transmission, _| {
                if transmission % every == 0 { Fate::Overtaken(3) } else { Fate::OnTime }
            };
            let mut path = Path::new(true, tick, 256 * 1_024, overtake);
            let done = path.run(20_000 * SEGMENT);
            assert!(done > Duration::from_secs(2), "it takes a while: {done:?}");
            let late: Vec<_> = path.again.iter().filter(|at| **at > Duration::from_secs(1)).collect();
            assert!(late.is_empty() && !path.timed_out, "each {every}th, {tick:?}: {late:?} of {}", path.again.len());
        }
    }
}

#[test]
fn no_more_is_sent_again_than_a_fifth_beyond_what_was_lost() {
    for (sack, tick) in [(true, FINE), (true, COARSE), (false, FINE), (false, COARSE)] {
        for percent in [1, 5] {
            let (mut all_again, mut all_lost) = (0, 0);
            for seed in 0..20 {
                let mut state = seed;
                let lose = |_, _| {
                    state = splitmix64(state);
                    if state % 100 < percent { Fate::Lost } else { Fate::OnTime }
                };
                let mut path = Path::new(sack, tick, 256 * 1_024, lose);
                path.run(2_000 * SEGMENT);
                let (again, lost) = (path.again.len() as u32, path.lost);
                assert!(
                    !sack || again * 20 <= lost * 21,
                    "seed {seed}, {percent} %, {tick:?}: {again} for {lost}: who hears of every hole sends hardly more"
                );
                (all_again, all_lost) = (all_again + again, all_lost + lost);
            }
            // Who hears of the first hole only sends some of what is behind it in vain after a timeout; not every time.
            assert!(all_again * 5 <= all_lost * 6, "{percent} %, SACK {sack}, {tick:?}: {all_again} for {all_lost}");
        }
    }
}
