//! Header prediction is a shortcut, and leads to where the ladder leads.

use super::*;
use crate::{
    tcp::{
        predicted::STEP_BY_STEP,
        timestamps::{OUTDATED_AFTER, TimestampState},
    },
    wire::{TcpOptions, tcp_options::SackBlocks},
};
use proptest::prelude::*;

/// What the peer's clock shows in a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Now,
    Late,
    Missing,
}

/// One connection twice: one takes the shortcut where it can, the other never does.
struct Twins {
    ends: [Connection; 2],
    config: TcpConfig,
    now: Instant,
    clock: Option<TimestampState>,
    /// What the peer sends next.
    nxt: SeqNumber,
    predicted: u32,
}

impl Twins {
    fn new(congestion_control: CongestionControl, sack: bool, has_clocks: bool) -> Self {
        let now = Instant::from_millis(1_000);
        let config = TcpConfig { congestion_control, write_ahead: 8_192, ..TcpConfig::default() };
        let clock = has_clocks.then(|| TimestampState::new(now, 70_000, 5));
        let ours = has_clocks.then(|| TimestampState::new(now, 5, 70_000));
        let handshake = Handshake { sack, clocks: ours, peer_window_scale: Some(2), ..handshake() };
        let end = || Connection::established(config.at(now), &handshake);
        Self { ends: [end(), end()], config, now, clock, nxt: IRS.advance(1), predicted: 0 }
    }

    fn receive(&mut self, header: TcpHeader, data: &[u8]) {
        let link = LinkHeader { destination: MacAddress([2, 0, 0, 0, 0, 9]), ..*self.ends[0].link() };
        let segment = Segment { header, payload: data, traffic_class: 0 };
        let [quick, slow] = &mut self.ends;
        self.predicted += u32::from(quick.expects(&segment));
        let outcome = quick.arrive(self.config.at(self.now), &link, &segment);
        STEP_BY_STEP.set(true);
        let step_by_step = slow.process_segment(self.config.at(self.now), &link, &segment);
        STEP_BY_STEP.set(false);
        assert_eq!(outcome, step_by_step);
    }

    /// A segment that acknowledges a part of what is in flight, with `length` octets from `skip` behind the next.
    fn segment(&mut self, (part, skip, length): (u32, u32, usize), window: u16, clock: Clock) {
        let send = &self.ends[0].send;
        let (una, flight) = (send.una(), send.flight_size());
        let ack = if part >= 8 { una.advance(flight) } else { una.advance(flight * part / 8) };
        let shown = self.clock.map(|ours| ours.option(if clock == Clock::Late { Instant::ZERO } else { self.now }));
        let sack = match una.advance(flight * (part + 1) / 8) {
            left if skip == 7 && send.flight_size() > 8 => SackBlocks::default().with(left, una.advance(flight)),
            _ => None,
        };
        let options = TcpOptions {
            timestamps: shown.filter(|_| clock != Clock::Missing),
            sack: sack.unwrap_or_default(),
            ..TcpOptions::default()
        };
        let seq = self.nxt.advance(if skip < 6 { 0 } else { 100 * skip });
        let header = TcpHeader { seq, ack, flags: ACK, window, options, ..TcpHeader::default() };
        self.receive(header, &pattern(0, length));
        self.nxt = self.ends[0].receive.nxt();
    }

    /// Sends up to `most` segments.
    fn send(&mut self, most: usize) {
        let mut buffers = [vec![0; 2_000], vec![0; 2_000]];
        for _ in 0..most {
            let (now, config) = (self.now, &self.config);
            let [quick, slow] = &mut self.ends;
            let sent = quick.poll_transmit(config.at(now), &mut buffers[0]);
            assert_eq!(sent, slow.poll_transmit(config.at(now), &mut buffers[1]));
            assert_eq!(buffers[0], buffers[1]);
            if sent.is_none() {
                break;
            }
        }
    }

    fn each(&mut self, act: impl Fn(&mut Connection, &TcpConfig, Instant)) {
        self.ends.iter_mut().for_each(|end| act(end, &self.config, self.now));
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn the_shortcut_leads_to_where_the_ladder_leads(
        (cubic, sack, has_clocks) in any::<(bool, bool, bool)>(),
        steps in prop::collection::vec((0..10u8, any::<(u8, u8, u16)>()), 1..50),
    ) {
        let control = if cubic { CongestionControl::Cubic } else { CongestionControl::Reno };
        let mut twins = Twins::new(control, sack, has_clocks);
        for (what, (part, skip, number)) in steps {
            let (part, skip) = (u32::from(part % 16), u32::from(skip % 8));
            let window = if number % 64 == 0 { 0 } else { 4_000 + number % 512 };
            let clock = match number % 32 {
                1 => Clock::Late,
                2 => Clock::Missing,
                _ => Clock::Now,
            };
            match what {
                0..4 => twins.segment((part, skip, usize::from(number % 1_400)), window, clock),
                4 | 5 => twins.segment((part, skip, 0), window, clock),
                6 => twins.each(|end, config, _| {
                    end.write(&pattern(0, usize::from(number % 5_000)), config);
                }),
                7 if number % 16 == 0 => {
                    // The peer's clock is forgotten meanwhile. Nobody owes an acknowledgment for so long.
                    twins.now += Duration::from_secs(1);
                    let now = twins.now;
                    twins.each(|end, config, _| end.handle_timeout(config.at(now)));
                    twins.send(1_000);
                    twins.now += OUTDATED_AFTER + Duration::from_micros(number.into());
                }
                7 => twins.now += Duration::from_micros(u64::from(number) * 10),
                8 => twins.each(|end, _, _| end.consume(end.readable().len())),
                _ => twins.send(usize::from(number % 8)),
            }
            let now = twins.now;
            twins.each(|end, config, _| end.handle_timeout(config.at(now)));
            prop_assert_eq!(twins.ends[0].take_signals(), twins.ends[1].take_signals());
            let [quick, slow] = &twins.ends;
            prop_assert_eq!(format!("{quick:?}"), format!("{slow:?}"));
        }
    }
}

#[test]
fn a_conversation_in_order_is_predicted_segment_by_segment() {
    let mut twins = Twins::new(CongestionControl::Cubic, true, true);
    twins.segment((8, 0, 0), 16_000, Clock::Now);
    for _ in 0..100 {
        twins.segment((8, 0, 64), 16_000, Clock::Now);
        twins.each(|end, config, _| {
            end.echo(config);
        });
        twins.send(2);
        twins.now += Duration::from_millis(1);
    }
    assert_eq!(twins.predicted, 100, "all but the one that opened the window");
}
