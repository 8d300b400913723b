//! A segment of a pair again and again (`BPF_PROG_TEST_RUN`): what it costs to translate one where nothing has to be fetched from memory.

use std::{net::SocketAddr, sync::Arc, time::Duration};
use xskip_cli::{
    rng::SipKey,
    splice::{Carrier, Half, Pair},
    time::Instant,
    wire::{Endpoint, FourTuple, LinkHeader, MacAddress, SeqNumber},
    xdp::{Program, ProgramOptions, SpliceTable, Steering, Tables},
};

/// Runs in a row: each lets the packet be one hop older.
const RUNS: u32 = 250;
const ROWS_OF_RUNS: usize = 100;

const OURS: [&str; 2] = ["198.18.0.80:443", "[2001:2::80]:443"];
const THEIRS: [&str; 2] = ["203.0.113.9:40000", "[2001:db8::9]:40000"];

fn half(local: &str, remote: &str) -> Half {
    let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("an address"));
    let station = MacAddress([2, 0, 0, 0, 0, 1]);
    Half {
        tuple: FourTuple { local: end(local), remote: end(remote) },
        link: LinkHeader { destination: station, source: station, ..LinkHeader::default() },
        mtu: 1_500,
        sent: SeqNumber::new(1_000),
        received: SeqNumber::new(1_000),
        edge: SeqNumber::new(60_000),
        reach: 60_000,
        window: 60_000,
        peer_scale: 7,
        our_scale: 7,
        clocks: Some((500, 500)),
        follows: false,
    }
}

/// What the peer says to us, with timestamps or none.
fn segment(is_ipv4: bool, has_clocks: bool) -> Vec<u8> {
    let mut tcp = vec![0x9c, 0x40, 1, 0xbb, 0, 0, 3, 0xe8, 0, 0, 3, 0xe8, if has_clocks { 0x80 } else { 0x50 }, 0x10];
    tcp.extend([1, 0, 0x12, 0x34, 0, 0]);
    if has_clocks {
        tcp.extend([1, 1, 8, 10, 0, 0, 2, 0, 0, 0, 2, 0]);
    }
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1];
    if is_ipv4 {
        frame.extend([
            8,
            0,
            0x45,
            0,
            0,
            20 + tcp.len() as u8,
            0,
            0,
            0x40,
            0,
            255,
            6,
            0,
            0,
            203,
            0,
            113,
            9,
            198,
            18,
            0,
            80,
        ]);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 255]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        frame.extend([0x20, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    }
    [frame, tcp].concat()
}

pub fn compare() {
    let table = Arc::new(SpliceTable::new(1_000).expect("maps"));
    let own = OURS.map(|local| local.parse::<SocketAddr>().expect("an address").ip());
    let steering = Steering { own: own.to_vec(), ..Steering::default() };
    let load = |splices| {
        let tables = Tables { splices, ..Tables::default() };
        Program::load_with(&steering, &ProgramOptions::default(), SipKey::from_seed(2), &tables).expect("a program")
    };
    let (with, without) = (load(Some(&*table)), load(None));
    let mut splices = table.share(0, 1, vec![1], Instant::ZERO);
    let time = |program: &Program, frame: &[u8]| -> Duration {
        let times = (0..ROWS_OF_RUNS).map(|_| program.time_runs(frame, RUNS).expect("a run"));
        times.min().unwrap_or_default()
    };
    for (number, version) in [4, 6].into_iter().enumerate() {
        // What is translated for the other side has the same ends: so it is translated again.
        let (ours, theirs) = (OURS[number], THEIRS[number]);
        let pair = Pair::new(Instant::ZERO, &half(ours, theirs), &half(theirs, ours));
        splices.take(&pair).expect("room");
        for (has_clocks, options) in [(true, "timestamps"), (false, "no options")] {
            let frame = segment(version == 4, has_clocks);
            let (spliced, rest) = (time(&with, &frame), time(&without, &frame));
            println!(
                "a spliced segment, IPv{version}, {options}: {spliced:?}; to a stack without such pairs: {rest:?}"
            );
        }
    }
    let verdicts = with.verdicts().expect("counters");
    assert_eq!(verdicts.spliced, 4 * u64::from(RUNS) * ROWS_OF_RUNS as u64, "all of them: {verdicts:?}");
}
