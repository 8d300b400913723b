//! The hot paths.

use crate::{
    meter::Meter,
    shared::{
        Buffers, Load,
        clock::Clock,
        ours::{
            Application, Pair, let_out,
            loads::{Bulk, Closing, RequestResponse},
            take_in,
        },
    },
};
use std::{hint::black_box, net::Ipv4Addr, time::Duration};
use xskip::{
    rng::{SipKey, splitmix64},
    stack::{ConnectionId, Event, Flow, FlowTable, Secrets, Stack, SynMode, TimerWheel},
    tcp::{
        Offer,
        cookie::{CookieJar, MasterKey},
    },
    time::Instant,
    wire::{self, ChecksumPolicy, Endpoint, FourTuple, SeqNumber, checksum::Checksum},
};

/// Connections that are opened or closed at once: a batch of segments.
const GROUP: usize = 64;
/// How many groups, and how many batches, a path is walked with.
const TIMES: usize = 16;
/// Steps after which slow start is over and every allocation has been made.
const WARM_UP: usize = 256;

/// Does something some hundred times, and has the meter count the part that matters.
type Path = fn(&mut Meter);

/// Walks all of them.
pub fn walk() {
    let paths: [(&str, Path); 13] = [
        ("receive a data segment", receive),
        ("transmit a data segment", transmit),
        ("request and response, both ends", request_response),
        ("open by SYN, server", |meter| open(meter, SynMode::Cache)),
        ("open by cookie, server", |meter| open(meter, SynMode::Cookie)),
        ("close by the peer, server", |meter| close(meter, End::Server)),
        ("close by us, client", |meter| close(meter, End::Client)),
        ("parse a request", parse),
        ("find a flow of 100,000", find),
        ("arm and expire a timer", timers),
        ("checksum of 1,460 octets", checksum),
        ("make a cookie", make_cookie),
        ("check a cookie", check_cookie),
    ];
    for (name, path) in paths {
        let mut meter = Meter::default();
        path(&mut meter);
        meter.finish(name);
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

fn warm<L: Load>(mut load: L) -> L {
    for _ in 0..WARM_UP {
        load.step();
    }
    load
}

/// Full-sized segments of one connection, in order; their data are not read meanwhile.
fn receive(meter: &mut Meter) {
    let Bulk { mut pair, mut flow } = warm(Bulk::new(1, Clock::virtual_time()));
    for _ in 0..TIMES {
        let now = pair.clock.now();
        meter.count(|| take_in(&mut pair.server, now, &pair.there));
        meter.items(pair.there.len());
        pair.there.clear();
        pair.step(&mut flow);
    }
}

/// Full-sized segments of one connection, as acknowledgments let them go.
fn transmit(meter: &mut Meter) {
    let Bulk { mut pair, mut flow } = warm(Bulk::new(1, Clock::virtual_time()));
    for _ in 0..TIMES {
        pair.serve(&mut flow);
        let now = pair.clock.now();
        take_in(&mut pair.client, now, &pair.back);
        while let Some(event) = pair.client.poll_event() {
            flow.ask(&mut pair.client, now, event);
        }
        meter.count(|| let_out(&mut pair.client, now, &mut pair.there));
        meter.items(pair.there.len());
    }
}

/// 64 octets there and back over 1,000 connections: everything that both stacks and both applications do.
fn request_response(meter: &mut Meter) {
    let mut load = warm(RequestResponse::new(1_000, Clock::virtual_time()));
    let before = load.step();
    let mut done = before;
    for _ in 0..TIMES {
        done = meter.count(|| load.step());
    }
    meter.items((done - before) as usize);
}

/// Counts the turns of one end until there is nothing left to say.
fn exchange(meter: &mut Meter, pair: &mut Pair, application: &mut impl Application, counted: End) {
    loop {
        match counted {
            End::Server => meter.count(|| pair.serve(application)),
            End::Client => pair.serve(application),
        }
        match counted {
            End::Server => pair.ask(application),
            End::Client => meter.count(|| pair.ask(application)),
        }
        if pair.there.is_empty() && pair.back.is_empty() {
            return;
        }
    }
}

/// A handshake, as the server sees it, and the application hearing of it.
fn open(meter: &mut Meter, mode: SynMode) {
    let (mut pair, _) = Pair::open(GROUP, Buffers::REQUEST, Clock::virtual_time());
    pair.server.set_syn_mode(mode);
    for group in 1..=TIMES {
        pair.connect(group * GROUP, GROUP);
        pair.ask(&mut Opening);
        exchange(meter, &mut pair, &mut Opening, End::Server);
        meter.items(GROUP);
    }
    assert_eq!(pair.server.flow_counts().0 as usize, (TIMES + 1) * GROUP, "all connections are open");
}

/// FIN, FIN and what acknowledges them, as the end sees it that began, or the one that followed.
fn close(meter: &mut Meter, counted: End) {
    let (mut pair, opened) = Pair::open(GROUP * TIMES, Buffers::REQUEST, Clock::virtual_time());
    let mut closing = Closing::default();
    for group in opened.chunks(GROUP) {
        let now = pair.clock.now();
        let mut begin = || group.iter().for_each(|&id| close_one(&mut pair.client, now, id));
        match counted {
            End::Client => meter.count(begin),
            End::Server => begin(),
        }
        exchange(meter, &mut pair, &mut closing, counted);
        meter.items(group.len());
    }
    assert_eq!(closing.closed as usize, opened.len(), "all connections are closed");
}

fn close_one(stack: &mut Stack, now: Instant, id: ConnectionId) {
    stack.stream(now, id).expect("it is open").close();
}

/// Who does nothing but open.
#[derive(Debug)]
struct Opening;

impl Application for Opening {
    fn serve(&mut self, _: &mut Stack, _: Instant, _: Event) {}
    fn ask(&mut self, _: &mut Stack, _: Instant, _: Event) {}
}

/// A request of 64 octets with timestamps, from its first octet to a value, checksums and all.
fn parse(meter: &mut Meter) {
    let load = warm(RequestResponse::new(GROUP, Clock::virtual_time()));
    meter.count(|| {
        for frame in load.pair.there.frames() {
            black_box(wire::parse(black_box(frame), ChecksumPolicy::Verify)).expect("a stack writes good frames");
        }
    });
    meter.items(load.pair.there.len());
}

/// The 4-tuple of this number.
fn tuple(number: u32) -> FourTuple {
    let end = |address: u32, port: u32| Endpoint { address: Ipv4Addr::from(address).into(), port: port as u16 };
    FourTuple { local: end(0xc612_0001, 80), remote: end(0x0a00_0000 + number / 50_000, 10_000 + number % 50_000) }
}

/// From a 4-tuple to its flow, hash and all.
fn find(meter: &mut Meter) {
    const FLOWS: u32 = 100_000;
    const LOOK_UPS: u32 = 4_096;
    let secrets = Secrets::from_seed(1);
    let tuples: Vec<FourTuple> = (0..FLOWS).map(tuple).collect();
    let mut table = FlowTable::new(FLOWS as usize);
    for (number, tuple) in tuples.iter().enumerate() {
        table.insert(secrets.hash_flow(tuple), Flow::Connection(number as u32));
    }
    meter.count(|| {
        for number in 0..LOOK_UPS {
            let tuple = &tuples[(splitmix64(number.into()) % u64::from(FLOWS)) as usize];
            let is_it = |flow| matches!(flow, Flow::Connection(index) if tuples[index as usize] == *tuple);
            black_box(table.find(secrets.hash_flow(tuple), is_it)).expect("it is there");
        }
    });
    meter.items(LOOK_UPS as usize);
}

/// Timers of the length of a retransmission timeout, that run out.
fn timers(meter: &mut Meter) {
    const TIMERS: u32 = 10_000;
    let mut wheel = TimerWheel::new(TIMERS + 1);
    wheel.arm(TIMERS, Instant::ZERO + Duration::from_secs(3_600));
    let mut now = Instant::ZERO;
    let mut expired = 0;
    meter.count(|| {
        for token in 0..TIMERS {
            now += Duration::from_micros(10);
            wheel.arm(token, now + Duration::from_millis(200));
            while wheel.expire(now).is_some() {
                expired += 1;
            }
        }
        now += Duration::from_millis(201);
        while wheel.expire(now).is_some() {
            expired += 1;
        }
    });
    assert_eq!(expired, TIMERS, "each has run out");
    meter.items(TIMERS as usize);
}

fn checksum(meter: &mut Meter) {
    const SEGMENTS: usize = 64;
    let octets: [u8; 1_460] = std::array::from_fn(|index| index as u8);
    meter.count(|| {
        for _ in 0..SEGMENTS {
            black_box(Checksum::of(black_box(&octets)).field());
        }
    });
    meter.items(SEGMENTS);
}

// A profile of its own among those that a cookie without timestamps holds.
const OFFER: Offer = Offer { mss: 1_460, window_scale: Some(8), sack: true, ecn: false, timestamps: false };
const NOW: Instant = Instant::from_millis(1_000);

fn jar() -> CookieJar {
    CookieJar::new(MasterKey::new(SipKey::from_seed(1)), Duration::ZERO)
}

fn make_cookie(meter: &mut Meter) {
    let mut jar = jar();
    meter.count(|| {
        for number in 0..GROUP as u32 {
            black_box(jar.make(NOW, &tuple(number), SeqNumber::new(number), &OFFER));
        }
    });
    meter.items(GROUP);
}

fn check_cookie(meter: &mut Meter) {
    let mut jar = jar();
    let cookies: Vec<SeqNumber> =
        (0..GROUP as u32).map(|number| jar.make(NOW, &tuple(number), SeqNumber::new(number), &OFFER).iss).collect();
    meter.count(|| {
        for (number, &iss) in (0..).zip(&cookies) {
            let offer = jar.check(NOW, &tuple(number), SeqNumber::new(number), iss, None);
            assert_eq!(offer, Some(OFFER), "a cookie of ours");
        }
    });
    meter.items(GROUP);
}
