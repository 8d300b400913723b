//! Flows listed in pieces, while they come and go.

use super::*;
use crate::{
    rng::splitmix64,
    stack::{Cursor, Listed},
    tcp::WhyNotSending,
};
use std::collections::{BTreeMap, BTreeSet};

const PIECE: u32 = 7;

/// Numbers that a seed decides.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = splitmix64(self.0);
        self.0 % limit
    }
}

impl Bench {
    fn list(&self) -> Vec<Listed> {
        let (mut all, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next {
            let (piece, on) = self.stack.connections_from(self.now, cursor, PIECE);
            assert!(piece.len() <= PIECE as usize);
            (all, next) = ([all, piece].concat(), on);
        }
        all
    }

    /// A handshake that is not ended, or is.
    fn come(&mut self, port: u16, ends: bool) -> Option<ConnectionId> {
        self.port = port;
        self.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
        let iss = self.sent().into_iter().find(|sent| sent.has(SYN | ACK))?.header.seq;
        if ends {
            self.send(self.header(IRS.advance(1), iss.advance(1), ACK), b"");
        }
        self.events().into_iter().find_map(|event| if let Event::Accepted(id, _) = event { Some(id) } else { None })
    }
}

#[test]
fn each_kind_of_flow_is_listed_once() {
    for (max_awake, mut bench) in [(0, Bench::new()), (0, Bench::new().over_ipv6())] {
        assert_eq!(bench.list().len(), 0);
        for port in 1..=20 {
            bench.come(port, true);
        }
        for port in 21..=40 {
            bench.come(port, false);
        }
        let listed = bench.list();
        let ports: Vec<u16> = listed.iter().map(|flow| flow.tuple.remote.port).collect();
        assert!(ports.iter().copied().eq((21..=40).chain(1..=20)), "{ports:?}");
        assert_eq!(bench.stack.connections_asleep(), 20 - max_awake, "nobody is woken to be listed");
        for flow in listed {
            let is_half_open = flow.tuple.remote.port > 20;
            assert_eq!(flow.id.is_none(), is_half_open);
            assert_eq!(flow.state, if is_half_open { State::SynReceived } else { State::Established });
            let waits_for = if is_half_open { WhyNotSending::Handshake } else { WhyNotSending::Application };
            assert_eq!((flow.waits_for, flow.listener.is_some()), (waits_for, true));
        }
    }
}

#[test]
fn who_is_there_throughout_is_listed_exactly_once_whoever_comes_and_goes() {
    for seed in 0..200 {
        let mut draw = Draw(seed);
        let mut bench = Bench::with(StackConfig { max_awake: 5, max_half_open: 64, ..StackConfig::default() });
        let (mut port, mut there) = (0, BTreeMap::new());
        let mut churn = |bench: &mut Bench, there: &mut BTreeMap<u16, Option<ConnectionId>>, draw: &mut Draw| {
            for _ in 0..draw.below(6) {
                if draw.below(2) == 0 {
                    port += 1;
                    let ends = draw.below(3) > 0;
                    let id = bench.come(port, ends);
                    there.insert(port, id);
                } else if let Some(&port) = there.keys().nth(draw.below(there.len().max(1) as u64) as usize)
                    && let Some(Some(id)) = there.get(&port).copied()
                {
                    bench.with_stream(id, |stream| stream.abort());
                    bench.frames();
                    bench.events();
                    there.remove(&port);
                }
            }
        };
        for _ in 0..12 {
            churn(&mut bench, &mut there, &mut draw);
        }
        let (mut throughout, mut listed): (BTreeSet<u16>, Vec<u16>) = (there.keys().copied().collect(), Vec::new());
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let (piece, on) = bench.stack.connections_from(bench.now, cursor, PIECE);
            listed.extend(piece.iter().map(|flow| flow.tuple.remote.port));
            churn(&mut bench, &mut there, &mut draw);
            throughout.retain(|port| there.contains_key(port));
            next = on.filter(|_| listed.len() < 1_000);
        }
        for port in throughout {
            let times = listed.iter().filter(|&&other| other == port).count();
            assert_eq!(times, 1, "port {port}, seed {seed}");
        }
    }
}

#[test]
fn what_a_connection_waits_for() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let (id, iss) = bench.connect();
        let why = |bench: &Bench| bench.stack.why_not_sending(bench.now, id).unwrap();
        assert_eq!(why(&bench), WhyNotSending::Application);
        bench.with_stream(id, |stream| stream.write(&[7; 40_000]));
        assert_eq!(why(&bench), WhyNotSending::Turn);
        let sent = bench.sent().iter().map(|sent| sent.data.len() as u32).sum::<u32>();
        assert_eq!(why(&bench), WhyNotSending::Congestion);
        let small = TcpHeader { window: 100, ..bench.header(IRS.advance(1), iss.advance(1 + sent), ACK) };
        bench.send(small, b"");
        bench.frames();
        assert_eq!(why(&bench), WhyNotSending::Window);
        bench.with_stream(id, |stream| stream.abort());
        assert_eq!(bench.stack.why_not_sending(bench.now, id), None);
    }
}

#[test]
fn small_pieces_wait_for_acknowledgments_and_lost_ones_for_their_repair() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let (id, iss) = bench.connect();
        let why = |bench: &Bench| bench.stack.why_not_sending(bench.now, id).unwrap();
        for _ in 0..2 {
            bench.with_stream(id, |stream| stream.write(b"small"));
            bench.frames();
        }
        assert_eq!(why(&bench), WhyNotSending::Nagle);
        bench.send(bench.header(IRS.advance(1), iss.advance(6), ACK), b"");
        bench.frames();
        assert_eq!(why(&bench), WhyNotSending::Application);
        bench.with_stream(id, |stream| stream.write(&[7; 40_000]));
        bench.frames();
        bench.pass(Duration::from_secs(5));
        bench.frames();
        assert_eq!(why(&bench), WhyNotSending::Recovery);
    }
}
