//! What is in flight: against a model that walks over every segment each time, and no more of it than there is a limit.

use super::*;
use crate::tcp::{
    flight::{AckTime, Acknowledged, Flight, SendRange},
    timers::Timer,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(u32),
    /// From somewhere to somewhere, parts of what is in flight.
    Report(u32, u32),
    Acknowledge(u32),
    LoseFirst,
    LoseAll,
    Forgive,
    Resend,
    Resegment(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40u32).prop_map(Step::Send),
        6 => (any::<u32>(), any::<u32>()).prop_map(|(from, to)| Step::Report(from, to)),
        1 => any::<u32>().prop_map(Step::Acknowledge),
        1 => Just(Step::LoseFirst),
        1 => Just(Step::LoseAll),
        1 => Just(Step::Forgive),
        3 => Just(Step::Resend),
        1 => (3..40u32).prop_map(Step::Resegment),
    ]
}

/// A segment as the model has it, relative to the first octet ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    start: u32,
    end: u32,
    lost: bool,
    reported: bool,
}

impl Segment {
    fn range(&self) -> SendRange {
        SendRange { seq: ISS.advance(self.start), length: (self.end - self.start) as usize, fin: false }
    }
}

#[derive(Debug, Default)]
struct Model {
    segments: Vec<Segment>,
    una: u32,
    nxt: u32,
}

impl Model {
    fn sum(&self, counts: impl Fn(&Segment) -> bool) -> u32 {
        self.segments.iter().filter(|segment| counts(segment)).map(|segment| segment.end - segment.start).sum()
    }

    /// Octets delivered by this.
    fn sack_blocks(&mut self, left: u32, right: u32) -> u32 {
        let before = self.sum(|segment| segment.reported);
        for segment in self.segments.iter_mut().filter(|segment| left <= segment.start && segment.end <= right) {
            (segment.reported, segment.lost) = (true, false);
        }
        self.sum(|segment| segment.reported) - before
    }

    fn acknowledge(&mut self, ack: u32) -> u32 {
        let before = self.sum(|segment| !segment.reported);
        self.segments.retain(|segment| segment.end > ack);
        if let Some(first) = self.segments.first_mut() {
            first.start = first.start.max(ack);
        }
        self.una = ack;
        before - self.sum(|segment| !segment.reported)
    }

    fn mark_all_lost(&mut self) {
        let reneged = self.segments.first().is_some_and(|first| first.reported);
        for segment in &mut self.segments {
            segment.reported &= !reneged;
            segment.lost = !segment.reported;
        }
    }

    fn resegment(&mut self, mss: u32) {
        let too_large = |segment: &Segment| segment.end - segment.start > mss;
        if !self.segments.iter().any(too_large) {
            return;
        }
        let mut joined: Vec<Segment> = Vec::new();
        for mut segment in std::mem::take(&mut self.segments) {
            segment.lost |= too_large(&segment) && !segment.reported;
            match joined.last_mut() {
                Some(last) if last.lost && segment.lost => last.end = segment.end,
                _ => joined.push(segment),
            }
        }
        for segment in joined {
            let pieces = (segment.start..segment.end).step_by(mss as usize);
            self.segments.extend(pieces.map(|start| Segment { start, end: segment.end.min(start + mss), ..segment }));
        }
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn a_flight_is_a_list_of_segments(steps in prop::collection::vec(step(), 0..80)) {
        let (mut flight, mut model) = (Flight::new(ISS, Duration::ZERO), Model::default());
        let now = Instant::from_millis(1);
        let arrival = AckTime { now, echo: None };
        for step in steps {
            let outstanding = model.nxt - model.una;
            let mut result = Acknowledged::default();
            match step {
                Step::Send(length) => {
                    let segment = Segment { start: model.nxt, end: model.nxt + length, lost: false, reported: false };
                    flight.sent(&segment.range(), now);
                    model.segments.push(segment);
                    model.nxt += length;
                }
                Step::Report(from, to) => {
                    let left = model.una + from % (outstanding + 1);
                    let right = left + to % (model.nxt - left + 1);
                    flight.mark_sacked(ISS.advance(left), ISS.advance(right), &arrival, &mut result);
                    prop_assert_eq!(result.delivered, model.sack_blocks(left, right));
                }
                Step::Acknowledge(to) => {
                    let ack = model.una + to % (outstanding / 2 + 1);
                    flight.acknowledge(ISS.advance(ack), &arrival, &mut result);
                    prop_assert_eq!(result.delivered, model.acknowledge(ack));
                }
                Step::LoseFirst => {
                    flight.mark_first_lost();
                    model.segments.iter_mut().take(1).for_each(|first| first.lost = !first.reported);
                }
                Step::LoseAll => {
                    flight.mark_all_lost();
                    model.mark_all_lost();
                }
                Step::Forgive => {
                    flight.mark_none_lost();
                    model.segments.iter_mut().for_each(|segment| segment.lost = false);
                }
                Step::Resend => {
                    let lost = model.segments.iter_mut().find(|segment| segment.lost);
                    let range = flight.next_lost(u32::MAX);
                    prop_assert_eq!(range, lost.as_ref().map(|segment| segment.range()));
                    if let Some((range, segment)) = range.zip(lost) {
                        flight.retransmitted(&range, now);
                        segment.lost = false;
                    }
                }
                Step::Resegment(mss) => {
                    flight.resegment(mss);
                    model.resegment(mss);
                }
            }
            prop_assert_eq!(flight.len(), model.segments.len());
            prop_assert_eq!(flight.sacked(), model.sum(|segment| segment.reported));
            prop_assert_eq!(flight.has_lost(), model.segments.iter().any(|segment| segment.lost));
            prop_assert_eq!(flight.under_way(), model.sum(|segment| !segment.lost && !segment.reported));
            let last = model.segments.iter().rfind(|segment| !segment.lost && !segment.reported);
            prop_assert_eq!(flight.last_under_way(), last.map(Segment::range));
        }
    }
}

#[test]
fn what_is_lost_and_reported_piece_by_piece_is_counted_once() {
    // Each second segment is reported alone, then all that was, in one block, and again.
    let now = Instant::from_millis(1);
    let arrival = AckTime { now, echo: None };
    let mut flight = Flight::new(ISS, Duration::ZERO);
    for number in 0..100 {
        flight.sent(&SendRange { seq: ISS.advance(10 * number), length: 10, fin: false }, now);
    }
    let mut reported = 0;
    for number in (1..100).step_by(2).chain([100, 100]) {
        let mut result = Acknowledged::default();
        let (left, right) = if number < 100 { (10 * number, 10 * number + 10) } else { (10, 1_000) };
        flight.mark_sacked(ISS.advance(left), ISS.advance(right), &arrival, &mut result);
        reported += result.delivered;
    }
    assert_eq!((reported, flight.sacked(), flight.under_way()), (990, 990, 10));
}

#[test]
fn there_is_a_limit_to_segments_in_flight() {
    let config = TcpConfig { max_segments: 4, ..quiet() };
    let mut bench = Bench::with(config, &handshake());
    bench.write(6 * MSS as usize);
    bench.connection.shutdown_write();
    assert_eq!(bench.sent().len(), 4, "though the congestion window has room for ten");
    assert!(bench.is_armed(Timer::Retransmit));
    bench.receive(1, 1 + 2 * MSS, ACK, b"");
    assert_eq!(bench.sent().len(), 2);
    bench.receive(1, 1 + 6 * MSS, ACK, b"");
    bench.receive(1, 2 + 6 * MSS, ACK, b"");
    assert_eq!(bench.connection.state(), crate::tcp::State::FinWait2);
}

#[test]
fn with_no_segment_allowed_there_is_one_all_the_same() {
    let mut bench = Bench::with(TcpConfig { max_segments: 0, ..quiet() }, &handshake());
    bench.write(2 * MSS as usize);
    assert_eq!(bench.sent().len(), 1);
    bench.receive(1, 1 + MSS, ACK, b"");
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn what_it_takes_to_remember_a_segment_counts_against_the_send_buffer() {
    let mut bench = Bench::with(TcpConfig { send_buffer: 1_000, ..quiet() }, &handshake());
    bench.connection.set_nodelay(true);
    let mut sent = 0;
    while bench.connection.write(b"x", &bench.config) == 1 {
        sent += bench.sent().len() as u32;
    }
    assert!((10..=25).contains(&sent), "{sent} segments of an octet, in room for 1,000");
    bench.receive(1, 1 + sent, ACK, b"");
    assert_eq!(bench.connection.room_or_wait(&bench.config), 1_000);
}
