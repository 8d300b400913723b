//! Which connections are worth a look.

use super::*;
use crate::{runtime::inspect::TcpReport, show::Request};
use std::net::SocketAddr;

fn report(port: u16, change: impl FnOnce(&mut ConnectionReport, &mut TcpReport)) -> ConnectionReport {
    let tcp = TcpReport {
        rtt_us: Some(100),
        rttvar_us: None,
        rto_us: 200_000,
        cwnd: 14_480,
        ssthresh: None,
        send_window: 65_535,
        in_flight: 0,
        lost: 0,
        sacked: 0,
        unsent: 0,
        snd_una: 0,
        rcv_nxt: 0,
        retransmitted: 0,
        mss: 1_448,
        send_scale: 0,
        receive_scale: 0,
        timestamps: true,
        sack: true,
    };
    let mut report = ConnectionReport {
        worker: 0,
        interface: "veth0".into(),
        local: "198.18.0.1:80".parse().unwrap(),
        remote: SocketAddr::new("2001:2::2".parse().unwrap(), port),
        state: "ESTABLISHED".into(),
        accepted: true,
        asleep: false,
        waits_for: "application".into(),
        idle_ms: 0,
        receive_queue: 0,
        send_queue: 0,
        tcp: None,
        id: None,
    };
    let mut tcp = tcp;
    change(&mut report, &mut tcp);
    report.tcp = Some(tcp);
    report
}

fn candidate_of(report: ConnectionReport, octets_per_second: f64) -> Candidate {
    Candidate { octets_per_second, ..candidate(report, &mut HashMap::new(), 1) }
}

#[test]
fn of_thousands_those_that_carry_most_and_those_in_trouble_are_shown_once() {
    let mut candidates = Candidates::default();
    for port in 1..=5_000 {
        let is_stuck = port % 500 == 0;
        let one = report(port, |one, tcp| {
            if is_stuck {
                (one.send_queue, one.waits_for) = (70_000, "window".into());
            }
            tcp.rtt_us = Some(if port == 777 { 900_000 } else { 100 });
            tcp.retransmitted = u32::from(port == 1_234);
        });
        candidates.offer(candidate_of(one, if port > 4_990 { 1e6 } else { 0.0 }));
    }
    let mut ports: Vec<u16> = candidates.chosen().iter().map(|it| it.remote.port()).collect();
    assert!(ports.len() <= 4 * SHOWN);
    for wanted in (4_991..=5_000).chain([500, 1_000, 4_500, 777, 1_234]) {
        assert!(ports.contains(&wanted), "{wanted}: {ports:?}");
    }
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), all);
}

#[test]
fn a_request_for_pictures_is_a_line_of_json() {
    let line = r#"{"command":"watch","interval_ms":1000}"#;
    let request = Request::Watch(Watch { interval_ms: 1_000 });
    assert_eq!(serde_json::to_string(&request).unwrap(), line);
    assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
    assert!(serde_json::from_str::<Request>(r#"{"command":"watch","interval_ms":-1}"#).is_err());
    let picture = Piece::Picture(Box::new(Picture { server: "veth0".to_owned(), ..Picture::default() }));
    let line = serde_json::to_string(&picture).unwrap();
    assert_eq!(serde_json::from_str::<Piece>(&line).unwrap(), picture);
}

#[test]
fn batches_are_those_since_the_picture_before() {
    let mut now = Snapshot::default();
    now.batches.count_one(Duration::from_secs(1));
    let before = now.batches;
    assert_eq!(worker(0, &now, None).batch, None);
    assert_eq!(worker(0, &now, Some(&before)).batch, None);
    now.batches.count_one(Duration::from_micros(100));
    assert_eq!(worker(0, &now, Some(&before)).batch, Some(Duration::from_micros(128)));
}
