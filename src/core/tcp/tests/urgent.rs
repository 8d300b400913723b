//! Urgent data.

use super::*;
use crate::tcp::Signals;

impl Bench {
    /// The peer sends a segment whose urgent pointer says `urgent`.
    fn receive_urgent(&mut self, seq: u32, urgent: u16, data: &[u8]) -> Result<(), DropReason> {
        let header = TcpHeader {
            source_port: 40_000,
            destination_port: 80,
            seq: IRS.advance(seq),
            ack: ISS.advance(1),
            flags: ACK | URG,
            window: 64_000,
            urgent,
            ..TcpHeader::default()
        };
        let link = *self.connection.link();
        self.connection.arrive(self.config.at(self.now), &link, &Segment { header, payload: data, traffic_class: 0 })
    }

    /// The urgent pointers of everything the connection has to send now, by sequence number.
    fn sent_urgent(&mut self) -> Vec<(u32, Option<u16>)> {
        let mut buffer = vec![0; 2_000];
        let mut sent = Vec::new();
        while let Some((length, _)) = self.connection.poll_transmit(self.config.at(self.now), &mut buffer) {
            let frame = wire::parse(&buffer[..length], ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(_, segment) = frame.packet else { panic!("a connection sends TCP") };
            let header = segment.header;
            sent.push((header.seq.since(ISS), header.flags.contains(URG).then_some(header.urgent)));
        }
        sent
    }
}

#[test]
fn must_32_the_application_hears_of_urgent_data_and_must_33_how_much_is_left() {
    let mut bench = Bench::new();
    bench.connection.take_signals();
    bench.receive_urgent(1, 3, b"abcdef").unwrap();
    assert!(bench.connection.take_signals().contains(Signals::URGENT | Signals::READABLE));
    // MUST-62: the pointer names the first octet that is not urgent.
    assert_eq!(bench.connection.urgent(), Some(3));
    bench.connection.consume(2);
    assert_eq!(bench.connection.urgent(), Some(1));
    bench.connection.consume(1);
    assert_eq!(bench.connection.urgent(), None);
    assert_eq!(bench.read_all(), b"def");
}

#[test]
fn must_31_urgent_data_may_be_longer_than_what_has_arrived() {
    let mut bench = Bench::new();
    bench.receive_urgent(1, 5_000, b"ab").unwrap();
    assert_eq!(bench.connection.urgent(), Some(5_000));
    bench.connection.take_signals();
    // A pointer further on counts, one further back does not.
    bench.receive_urgent(3, 100, b"cd").unwrap();
    assert!(!bench.connection.take_signals().contains(Signals::URGENT));
    assert_eq!(bench.connection.urgent(), Some(5_000));
    bench.receive_urgent(5, 6_000, b"ef").unwrap();
    assert!(bench.connection.take_signals().contains(Signals::URGENT));
    assert_eq!(bench.connection.urgent(), Some(6_004));
}

#[test]
fn must_66_urgent_data_are_announced_through_a_shut_window() {
    let config = TcpConfig { receive_buffer: 1_000, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(1, 1, ACK, &pattern(0, 1_000));
    assert_eq!(bench.sent().last().map(|sent| sent.window), Some(0));
    bench.connection.take_signals();
    bench.receive_urgent(1_001, 7, b"").unwrap();
    assert!(bench.connection.take_signals().contains(Signals::URGENT));
    assert_eq!(bench.connection.urgent(), Some(1_007));
}

#[test]
fn must_30_and_must_62_what_is_written_as_urgent_is_marked_up_to_its_end() {
    let mut bench = Bench::new();
    bench.write(1_000);
    assert_eq!(bench.connection.write_urgent(&pattern(1_000, 1_000), &bench.config), 1_000);
    bench.connection.write(&pattern(2_000, 2_000), &bench.config);
    let sent = bench.sent_urgent();
    assert_eq!(sent[..2], [(1, Some(2_000)), (1_461, Some(540))]);
    assert!(sent[2..].iter().all(|(_, urgent)| urgent.is_none()), "{sent:?}");
    // Once it is acknowledged, nothing is urgent any more.
    bench.receive(1, 2_001, ACK, b"");
    bench.write(10);
    assert!(bench.sent_urgent().iter().all(|(_, urgent)| urgent.is_none()));
}

#[test]
fn urgent_data_are_announced_even_where_there_is_no_room_for_them() {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.connection.write_urgent(b"now", &bench.config);
    assert_eq!(bench.sent_urgent(), [(1, Some(3))]);
}

#[test]
fn must_31_a_pointer_that_does_not_fit_points_as_far_as_it_can() {
    let mut bench = Bench::new();
    assert_eq!(bench.connection.write_urgent(&pattern(0, 100_000), &bench.config), 100_000);
    assert_eq!(bench.sent_urgent()[0], (1, Some(u16::MAX)));
}
