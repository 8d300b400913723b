//! Two connections that are handed on: when they may be, what is left of them, and what is not said.

use super::*;
use crate::{
    splice::{Busy, Pair, PairId, Side, Table, WhyNot},
    wire::tcp_options::Timestamps,
};

/// A stack with a client's connection and one that stands for a backend's, and their first numbers.
pub(super) struct Both {
    pub bench: Bench,
    pub ids: [ConnectionId; 2],
    pub ports: [u16; 2],
    pub issues: [SeqNumber; 2],
}

pub(super) fn options(mss: u16) -> TcpOptions {
    let timestamps = Some(Timestamps { value: 77, echo: 0 });
    TcpOptions { mss: Some(mss), sack_permitted: true, window_scale: Some(5), timestamps, ..TcpOptions::default() }
}

impl Both {
    pub fn new() -> Self {
        Self::with([options(1_460); 2])
    }

    pub fn with(offers: [TcpOptions; 2]) -> Self {
        Self::on(Bench::new(), offers)
    }

    pub fn on(mut bench: Bench, offers: [TcpOptions; 2]) -> Self {
        bench.stack.set_carrier(Box::new(Table::new(2)));
        let ports = [40_001, 40_002];
        let shaken = [0, 1].map(|side| {
            bench.port = ports[side];
            bench.send_syn(offers[side]);
            let iss = bench.sent_one().header.seq;
            let stamps = offers[side].timestamps.map(|_| Timestamps { value: 77, echo: 0 });
            let last = TcpOptions { timestamps: stamps, ..TcpOptions::default() };
            bench.send(TcpHeader { options: last, ..bench.header(IRS.advance(1), iss.advance(1), ACK) }, b"");
            let Some(Event::Accepted(id, _)) = bench.events().pop() else { panic!("a connection was expected") };
            (id, iss.advance(1))
        });
        assert_eq!(bench.sent(), [], "both are quiet");
        Self { bench, ids: shaken.map(|it| it.0), ports, issues: shaken.map(|it| it.1) }
    }

    pub fn part(&mut self) -> Result<PairId, WhyNot> {
        let [client, backend] = self.ids;
        self.bench.stack.part_with(self.bench.now, client, backend)
    }

    /// A pair of them, and how it stands.
    #[track_caller]
    pub fn paired(&mut self) -> (PairId, Pair) {
        let id = self.part().expect("nothing is in the way");
        (id, self.bench.stack.pair(id).expect("it is there"))
    }

    /// A side says something, so many octets behind its SYN.
    pub fn say(&mut self, side: usize, behind: u32, flags: TcpFlags, data: &[u8]) {
        self.bench.port = self.ports[side];
        let header = self.bench.header(IRS.advance(1 + behind), self.issues[side], ACK | flags);
        self.bench.send(header, data);
    }

    #[track_caller]
    pub fn stays(&mut self, expected: WhyNot) {
        let before = self.bench.stack.stats().connections_parted;
        assert_eq!(self.part(), Err(expected));
        assert_eq!(self.bench.stack.stats().connections_parted, before);
    }
}

#[test]
fn quiet_connections_leave_without_a_word() {
    let mut both = Both::new();
    let memory = both.bench.stack.connections.len();
    let (_, pair) = both.paired();
    assert_eq!((memory, both.bench.stack.connections.len()), (2, 0));
    assert_eq!((both.bench.sent(), both.bench.events()), (vec![], vec![]));
    let stats = *both.bench.stack.stats();
    assert_eq!((stats.connections_parted, stats.connections_aborted, stats.resets_transmitted), (2, 0, 0));
    for id in both.ids {
        assert!(both.bench.stack.stream(both.bench.now, id).is_none());
    }
    for (side, port) in Side::BOTH.into_iter().zip(both.ports) {
        both.bench.port = port;
        assert_eq!((both.bench.state(), pair.tuple(side)), (State::Closed, &both.bench.tuple()));
        let stream = pair.stream(side.other());
        assert_eq!(stream.sent, both.issues[side as usize], "what we said to it goes on where we stopped");
    }
    // An hour later no timer has expired, and nothing has been said.
    both.bench.pass(Duration::from_secs(3_600));
    assert_eq!((both.bench.sent(), both.bench.events()), (vec![], vec![]));
}

/// The rest of a batch, or what a program does not take: nobody is told that there is no such connection.
#[test]
fn what_comes_of_them_later_is_not_answered_until_they_are_forgotten() {
    let mut both = Both::new();
    let (id, _) = both.paired();
    both.say(0, 1 << 30, TcpFlags::empty(), b"from nowhere");
    both.say(0, 0, SYN, b"");
    assert_eq!((both.bench.sent(), both.bench.drops(DropReason::Parted)), (vec![], 2));
    assert_eq!(both.bench.stack.parted(), 2);

    both.bench.stack.forget_pair(id).expect("it was there");
    assert_eq!(both.bench.stack.parted(), 0);
    both.say(0, 0, TcpFlags::empty(), b"too late");
    assert!(both.bench.sent_one().has(RST));
}

/// A port that a pair has is not used for another connection to the same backend.
#[test]
fn ports_stay_taken() {
    let range = 50_000..=50_001;
    let mut bench = Bench::with(StackConfig { ephemeral_ports: range, max_awake: 0, ..StackConfig::default() });
    bench.stack.set_carrier(Box::new(Table::new(1)));
    let remote = Endpoint { address: bench.theirs, port: 8_080 };
    let connect = |bench: &mut Bench| {
        let via = crate::stack::Via { interface: InterfaceId::FIRST, next_hop: THEIRS, mtu: 1_500, tunnel: None };
        bench.stack.connect_via(bench.now, remote, bench.ours, &[50_000, 50_001], via)
    };
    let ids = [0, 1].map(|_| {
        let id = connect(&mut bench).expect("a port is free");
        let syn = bench.sent_one();
        let back = TcpHeader {
            source_port: 8_080,
            destination_port: syn.header.source_port,
            options: TcpOptions { mss: Some(1_460), ..TcpOptions::default() },
            ..bench.header(IRS, syn.header.seq.advance(1), SYN | ACK)
        };
        bench.send(back, b"");
        assert_eq!((bench.events(), bench.sent().len()), (vec![Event::Connected(id)], 1));
        (id, syn.header)
    });
    // Whose SYN-ACK was the last that was heard of it may have missed our acknowledgment: it would say that again, in vain.
    let [(first, _), (second, _)] = ids;
    let why = WhyNot::Busy(Side::Client, Busy::Unconfirmed);
    assert_eq!(bench.stack.part_with(bench.now, first, second), Err(why));
    let ids = ids.map(|(id, syn)| {
        let (source_port, destination_port) = (8_080, syn.source_port);
        let alive = bench.header(IRS.advance(1), syn.seq.advance(1), ACK);
        bench.send(TcpHeader { source_port, destination_port, ..alive }, b"");
        id
    });
    let pair = bench.stack.part_with(bench.now, ids[0], ids[1]).expect("both are quiet");
    assert!(connect(&mut bench).is_err());
    bench.stack.forget_pair(pair).expect("it was there");
    connect(&mut bench).expect("both ports are free");
}

#[test]
fn connections_with_something_to_do_stay() {
    type Disturb = fn(&mut Both);
    let table: [(&str, Disturb, Busy); 8] = [
        ("data that nobody has read", |both| both.say(1, 0, TcpFlags::PSH, b"data"), Busy::Unheard),
        (
            "data that were acknowledged",
            |both| {
                both.say(1, 0, TcpFlags::PSH, b"data");
                both.bench.events();
                both.bench.sent();
            },
            Busy::Unread,
        ),
        (
            "an acknowledgment owed",
            |both| {
                both.say(1, 0, TcpFlags::PSH, b"data");
                both.bench.events();
                both.bench.with_stream(both.ids[1], |stream| stream.consume(4));
            },
            Busy::AckOwed,
        ),
        ("data out of order", |both| both.say(1, 10, TcpFlags::empty(), b"data"), Busy::OutOfOrder),
        (
            "something unacknowledged",
            |both| {
                both.bench.with_stream(both.ids[1], |stream| assert_eq!(stream.write(b"data"), 4));
                both.bench.sent();
            },
            Busy::Unacknowledged,
        ),
        (
            "a peer that has closed",
            |both| {
                both.say(1, 0, FIN, b"");
                both.bench.events();
                both.bench.sent();
            },
            Busy::NotOpen,
        ),
        (
            "our side closed",
            |both| both.bench.with_stream(both.ids[1], |stream| stream.shutdown_write()),
            Busy::NotOpen,
        ),
        ("nobody there", |both| both.bench.with_stream(both.ids[1], |stream| stream.abort()), Busy::Gone),
    ];
    for (name, disturb, busy) in table {
        let mut both = Both::new();
        disturb(&mut both);
        assert_eq!(both.part(), Err(WhyNot::Busy(Side::Backend, busy)), "{name}");
        // Whichever of the two it is.
        both.ids.swap(0, 1);
        assert_eq!(both.part(), Err(WhyNot::Busy(Side::Client, busy)), "{name}");
    }
}

/// And leave when that is done.
#[test]
fn what_was_in_the_way_passes() {
    let mut both = Both::new();
    both.say(0, 0, TcpFlags::PSH, b"hello");
    both.bench.events();
    both.bench.sent();
    let why = both.part().expect_err("it was acknowledged, and not read");
    assert!(why.may_pass(), "{why}");
    let spliced = both.bench.stack.splice(both.bench.now, both.ids[0], both.ids[1]).expect("both are there");
    assert_eq!(spliced.moved, 5);
    both.bench.sent();
    both.stays(WhyNot::Busy(Side::Backend, Busy::Unacknowledged));
    both.issues[1] = both.issues[1].advance(5);
    both.say(1, 0, TcpFlags::empty(), b"");
    both.bench.events();
    both.bench.sent();
    both.part().expect("all was read and acknowledged");
}

#[test]
fn peers_that_agreed_on_different_things_stay() {
    let without = |change: fn(&mut TcpOptions)| {
        let mut offer = options(1_460);
        change(&mut offer);
        offer
    };
    let table = [
        (without(|it| it.timestamps = None), WhyNot::Timestamps),
        (without(|it| it.sack_permitted = false), WhyNot::Sack),
        (options(1_000), WhyNot::SegmentSize(Side::Client)),
    ];
    for (offer, why) in table {
        let mut both = Both::with([options(1_460), offer]);
        both.stays(why);
        assert!(!why.may_pass() && !why.to_string().is_empty());
    }
    // A window scale is translated, so it need not be the same.
    Both::with([options(1_460), without(|it| it.window_scale = None)]).part().expect("all else is the same");
    let mut both = Both::with([options(1_000), options(1_460)]);
    both.stays(WhyNot::SegmentSize(Side::Backend));
    both.ids[1] = both.ids[0];
    both.stays(WhyNot::Same);
}
