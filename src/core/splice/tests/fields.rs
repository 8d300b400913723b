//! What becomes of each field.

use super::*;

fn seq(number: u32) -> SeqNumber {
    SeqNumber::new(number)
}

/// What was said, what was heard by then, and the numbers as the other side gets them.
#[test]
fn sequence_and_acknowledgment_numbers() {
    let table = [
        // The first octet of the client's after the switch, and one across the end of its circle.
        (Side::Client, header(Side::Client, 0, 0), 10, (70_000, 900_000)),
        (Side::Client, header(Side::Client, 200, 0), 10, (70_200, 900_000)),
        (Side::Backend, header(Side::Backend, 0, 0), 1_000, (5_000, CLIENT.0)),
        (Side::Backend, header(Side::Backend, 0, 210), 1_000, (5_000, 110)),
        // What the backend said is acknowledged in its numbers.
        (Side::Client, header(Side::Client, 210, 1_000), 0, (70_210, 901_000)),
    ];
    let mut pair = pair();
    for (from, header, length, (number, acknowledged)) in table {
        let translated = pass(&mut pair, from, &header, &vec![7; length]);
        assert_eq!((translated.seq, translated.ack), (seq(number), seq(acknowledged)), "{from:?} {header:?}");
    }
}

/// Sent again from before the switch, or across it, because our acknowledgment was lost.
#[test]
fn segments_of_before_the_switch_are_old_for_their_receiver() {
    let mut pair = pair();
    let before = TcpHeader { seq: seq(CLIENT.0).back(300), ack: seq(CLIENT.1).back(40), ..header(Side::Client, 0, 0) };
    let translated = pass(&mut pair, Side::Client, &before, &[1; 300]);
    assert_eq!((translated.seq, translated.ack), (seq(69_700), seq(899_960)));
    let across = TcpHeader { seq: seq(CLIENT.0).back(100), ..header(Side::Client, 0, 0) };
    assert_eq!(pass(&mut pair, Side::Client, &across, &[1; 150]).seq, seq(69_900));
    // A keep-alive asks for an acknowledgment with the octet before.
    let keep_alive = header(Side::Backend, 0, 0);
    let keep_alive = TcpHeader { seq: keep_alive.seq.back(1), ..keep_alive };
    assert_eq!(pass(&mut pair, Side::Backend, &keep_alive, &[]).seq, seq(4_999));
}

/// The proxy had offered the client 60,000 octets, and the backend offers 50,000: who has sent more than that is not heard from there.
#[test]
fn acknowledgments_from_beyond_the_window_come_from_its_edge() {
    let mut pair = pair();
    let table = [(0, 70_000), (49_999, 119_999), (50_000, 120_000), (50_001, 120_000), (60_000, 120_000)];
    for (said, number) in table {
        let translated = pass(&mut pair, Side::Client, &header(Side::Client, said, 0), b"");
        assert_eq!(translated.seq, seq(number), "{said}");
    }
    // What takes numbers keeps them, and a window that opens is known.
    assert_eq!(pass(&mut pair, Side::Client, &header(Side::Client, 50_001, 0), b"x").seq, seq(120_001));
    let opens = TcpHeader { window: (55_000 >> BACKEND_SCALES.0) as u16, ..header(Side::Backend, 0, 0) };
    pass(&mut pair, Side::Backend, &opens, b"");
    assert_eq!(pass(&mut pair, Side::Client, &header(Side::Client, 50_002, 0), b"").seq, seq(120_002));
}

#[test]
fn edges_of_sack_blocks() {
    type Blocks = [(u32, u32)];
    let table: [(&Blocks, &Blocks); 4] = [
        // Two holes in what the backend said: 5,000 is its 900,000.
        (&[(6_000, 7_000), (8_000, 9_000)], &[(901_000, 902_000), (903_000, 904_000)]),
        // A duplicate of before the switch, one across it, and one that is also part of a block.
        (&[(4_000, 4_500), (6_000, 7_000)], &[(899_000, 899_500), (901_000, 902_000)]),
        (&[(4_900, 5_100)], &[(899_900, 900_100)]),
        (
            &[(6_100, 6_200), (6_000, 7_000), (8_000, 9_000)],
            &[(901_100, 901_200), (901_000, 902_000), (903_000, 904_000)],
        ),
    ];
    for (given, expected) in table {
        let mut pair = pair();
        pass(&mut pair, Side::Backend, &header(Side::Backend, 0, 0), &[5; 1_400]);
        let said = TcpHeader { options: blocks(given), ..header(Side::Client, 0, 0) };
        assert_eq!(pass(&mut pair, Side::Client, &said, &[]).options, blocks(expected), "{given:?}");
    }
    // And across the end of a circle: the backend acknowledges what the client said.
    let mut pair = pair();
    pass(&mut pair, Side::Client, &header(Side::Client, 0, 0), &[5; 1_400]);
    let said = TcpHeader { options: blocks(&[(70_050, 70_200)]), ..header(Side::Backend, 0, 0) };
    assert_eq!(pass(&mut pair, Side::Backend, &said, &[]).options, blocks(&[(u32::MAX - 49, 100)]));
}

/// Their clocks at the switch, 700 and one that is about to wrap, become ours: 40,000 towards the backend and 10,000 towards the
/// client.
#[test]
fn timestamps() {
    let table = [
        (Side::Client, (700, 10_000), (40_000, u32::MAX - 5)),
        (Side::Client, (701, 9_000), (40_001, u32::MAX - 5)), // echoes what we had shown it long ago
        (Side::Client, (690, 9_999), (39_990, u32::MAX - 5)), // an older one that was overtaken
        (Side::Backend, (u32::MAX - 5, 39_000), (10_000, 700)),
        (Side::Backend, (u32::MAX, 40_000), (10_005, 700)),
        (Side::Backend, (4, 40_001), (10_010, 701)), // its circle is over, and the clock towards the client goes on
        (Side::Client, (950, 10_010), (40_250, 4)),
        (Side::Client, (940, 9_990), (40_240, u32::MAX - 5)), // overtaken: its echo is of before the switch
    ];
    let mut pair = pair();
    for (from, (value, echo), expected) in table {
        let said = TcpHeader { options: stamps(value, echo), ..header(from, 0, 0) };
        let translated = pass(&mut pair, from, &said, &[]);
        assert_eq!(translated.options, stamps(expected.0, expected.1), "{from:?} {value} {echo}");
    }
}

/// Half a circle after the switch what is echoed would seem to be of before it.
#[test]
fn echoes_are_right_half_a_circle_later() {
    let mut pair = pair();
    let mut shown = BACKEND_CLOCKS.1;
    for step in 0..10u32 {
        let from_backend = TcpHeader { options: stamps(shown, 40_000), ..header(Side::Backend, 0, 0) };
        let heard = pass(&mut pair, Side::Backend, &from_backend, &[]).options.timestamps.unwrap().value;
        assert_eq!(heard, 10_000u32.wrapping_add(step << 29));
        let back = TcpHeader { options: stamps(700, heard), ..header(Side::Client, 0, 0) };
        assert_eq!(pass(&mut pair, Side::Client, &back, &[]).options, stamps(40_000, shown), "{step}");
        shown = shown.wrapping_add(1 << 29);
    }
}

/// A pair may live as long as it likes: once round the circle, and further, everything is as at the switch.
#[test]
fn numbers_go_round_their_circle() {
    const STEP: u32 = 500_000;
    let mut pair = pair();
    for step in 0..10_000 {
        let said = STEP.wrapping_mul(step);
        let open = TcpHeader { window: u16::MAX, ..header(Side::Backend, 0, said) };
        assert_eq!(pass(&mut pair, Side::Backend, &open, b"").ack.get(), CLIENT.0.wrapping_add(said));
        let far = header(Side::Client, said.wrapping_add(STEP - 1), 0);
        assert_eq!(
            pass(&mut pair, Side::Client, &far, b"x").seq.get(),
            BACKEND.1.wrapping_add(said).wrapping_add(STEP - 1)
        );
    }
    let beyond = header(Side::Client, STEP.wrapping_mul(10_010), 0);
    assert_eq!(refuse(&mut pair, Side::Client, &beyond, b"x"), Refusal::Sequence);
}

/// Octets by the sender's scale, units of the one that the receiver was told.
#[test]
fn windows() {
    let table = [
        // Of the client's 128 octets, units of 512.
        (
            Side::Client,
            CLIENT_SCALES.0,
            BACKEND_SCALES.1,
            &[(0, 0), (1, 1), (4, 1), (7, 1), (8, 2), (65_535, 16_383)][..],
        ),
        // Of the backend's 8 octets, units of 4: more than the field can say.
        (
            Side::Backend,
            BACKEND_SCALES.0,
            CLIENT_SCALES.1,
            &[(0, 0), (1, 2), (32_767, 65_534), (32_768, 65_535), (65_535, 65_535)],
        ),
        // No scale at all, and the largest ones.
        (Side::Client, 0, 0, &[(0, 0), (1, 1), (65_535, 65_535)]),
        (Side::Client, 0, 14, &[(0, 0), (1, 1), (16_383, 1), (16_384, 1), (65_535, 3)]),
        (Side::Client, 14, 0, &[(0, 0), (1, 16_384), (3, 49_152), (4, 65_535), (65_535, 65_535)]),
    ];
    for (from, theirs, told, fields) in table {
        let mut halves = halves(true);
        halves[from as usize].peer_scale = theirs;
        halves[from.other() as usize].our_scale = told;
        let mut pair = Pair::new(NOW, &halves[0], &halves[1]);
        for &(window, expected) in fields {
            let said = TcpHeader { window, ..header(from, 0, 0) };
            assert_eq!(pass(&mut pair, from, &said, &[]).window, expected, "{window} << {theirs} >> {told}");
        }
    }
}

/// What is not translated: flags, the urgent pointer, other options; and clocks, where no two are in use.
#[test]
fn the_rest_is_as_it_was() {
    let mut pair = pair();
    let flags = ACK | TcpFlags::URG | TcpFlags::PSH | TcpFlags::ECE | TcpFlags::CWR;
    let said = TcpHeader { flags, urgent: 3, ..header(Side::Client, 0, 0) };
    let translated = pass(&mut pair, Side::Client, &said, b"urgent");
    assert_eq!((translated.flags, translated.urgent), (flags, 3));

    let [mut client, mut backend] = halves(true);
    (client.clocks, backend.clocks) = (None, None);
    let mut without = Pair::new(NOW, &client, &backend);
    let said = TcpHeader { options: stamps(1, 2), ..header(Side::Client, 0, 0) };
    assert_eq!(pass(&mut without, Side::Client, &said, &[]).options, stamps(1, 2));
}

/// In IPv4 and IPv6, tagged and not: the link header of the other side, and a hop less.
#[test]
fn headers_below() {
    for (is_ipv4, vlans) in [(true, None), (false, None), (true, Some([7, 9])), (false, Some([7, 9]))] {
        let [mut client, mut backend] = halves(is_ipv4);
        if let Some([front, back]) = vlans {
            (client.link.vlan, backend.link.vlan) = (VlanTags::of(Some(front)), VlanTags::of(Some(back)));
        }
        let mut pair = Pair::new(NOW, &client, &backend);
        let mut translated = frame(&pair, Side::Client, &header(Side::Client, 0, 0), b"hello");
        let ip = client.link.len();
        let hops = ip + if is_ipv4 { 8 } else { 7 };
        let before = translated[hops];
        assert_eq!(pair.translate(NOW, &mut translated), Ok(Side::Backend));
        assert_eq!(translated[hops], before - 1);
        let parsed = wire::parse(&translated, ChecksumPolicy::Verify).expect("well-formed");
        let expected = LinkHeader { interface: InterfaceId::default(), ..backend.link };
        assert_eq!(parsed.link, expected);
    }
}

/// Routers may change while a connection lives; but who says nothing new may be anybody.
#[test]
fn frames_go_to_whichever_station_something_new_came_from() {
    let mut pair = pair();
    pair.ends[0].follows = true;
    let other = MacAddress([2, 0, 0, 0, 0, 99]);
    let come = |pair: &mut Pair, behind: u32, data: &[u8]| {
        let mut frame = frame(pair, Side::Client, &header(Side::Client, behind, 0), data);
        frame[6..12].copy_from_slice(&other.0);
        pair.translate(NOW, &mut frame).expect("it passes");
        pair.link(Side::Client).destination
    };
    assert_eq!(come(&mut pair, 0, b""), ROUTER);
    assert_eq!(come(&mut pair, 0, b"news"), other);
    pair.ends[0].link.destination = ROUTER;
    assert_eq!(come(&mut pair, 0, b"news"), ROUTER, "and again");
    assert_eq!(pair.link(Side::Backend).destination, BACKENDS);
}
