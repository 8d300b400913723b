//! Screens, and what keys do to them.

mod numbers;
mod rates;
mod screens;

use super::picture::{Both, Connection, Handshakes, Listener, Picture, Refusal, Sequence, Worker};
use std::time::Duration;

/// A connection that carries so many octets a second each way, in this picture.
fn connection(remote: &str, (received, sent): (u32, u32), second: u32) -> Connection {
    Connection {
        worker: 0,
        local: if remote.starts_with('[') { "[2001:2::1]:443" } else { "198.18.0.1:80" }.parse().unwrap(),
        remote: remote.parse().unwrap(),
        state: "ESTABLISHED".to_owned(),
        round_trip: Some(Duration::from_micros(180)),
        congestion_window: 14_480,
        send_queue: 0,
        receive_queue: 0,
        lost: 0,
        retransmitted: 0,
        waits_for: "application".to_owned(),
        // They wrap.
        sequence: Some(Sequence {
            received: (u32::MAX - 100).wrapping_add(received * second),
            acknowledged: sent * second,
        }),
    }
}

fn connections(second: u32) -> Vec<Connection> {
    let usual = |remote: &str, traffic| connection(remote, traffic, second);
    let far = Duration::from_millis(212);
    vec![
        usual("198.18.0.2:40001", (12_000, 1_250_000)),
        usual("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535", (90_000, 25)),
        Connection {
            send_queue: 180_000,
            waits_for: "window".to_owned(),
            round_trip: Some(far),
            ..usual("203.0.113.7:51515", (0, 0))
        },
        Connection {
            send_queue: 64_000,
            lost: 2_896,
            retransmitted: 17 + u64::from(second),
            congestion_window: 2_896,
            waits_for: "recovery".to_owned(),
            ..usual("198.51.100.200:6000", (0, 40_000))
        },
        Connection { receive_queue: 65_535, ..usual("198.18.0.2:40002", (0, 0)) },
        Connection {
            round_trip: None,
            state: "SYN-RECEIVED".to_owned(),
            waits_for: "handshake".to_owned(),
            congestion_window: 0,
            sequence: None,
            ..usual("[2001:2::2]:7", (0, 0))
        },
    ]
}

fn worker(number: usize, second: u64) -> Worker {
    let more = 1 + number as u64;
    Worker {
        number,
        uptime: Duration::from_secs(3_725 + second),
        asleep: Duration::from_millis(1_000_000 + second * if number == 0 { 650 } else { 10 }),
        frames: Both { received: second * 61_000 * more, sent: second * 60_000 * more },
        octets: Some(Both { received: second * 7_000_000 * more, sent: second * 62_000_000 * more }),
        opened: second * 1_000 * more,
        connections: 10_000 * more + second * 10,
        half_open: 3,
        time_wait: 400,
        retransmitted: second * 2,
        memory: 12_345_678,
        batch: Some(Duration::from_micros(128)),
    }
}

/// A server with a lot to do, so many seconds after it was first looked at.
fn busy(second: u32) -> Picture {
    let seconds = u64::from(second);
    let listener = |address: &str, level: &str, syns| Listener {
        address: address.parse().unwrap(),
        level: level.to_owned(),
        changes: 2,
        syns,
        accepted: Some(seconds * 1_500),
    };
    let drop =
        |reason: &str, meaning: &str, count| Refusal { reason: reason.to_owned(), meaning: meaning.to_owned(), count };
    Picture {
        server: "veth0".to_owned(),
        uptime: Duration::from_secs(3_725 + seconds),
        workers: vec![worker(0, seconds), worker(1, seconds)],
        listeners: vec![
            listener("198.18.0.1:80", "cache", seconds * 1_500),
            listener("[2001:2::1]:443", "xdp", seconds * 1_250_000),
        ],
        handshakes: Handshakes {
            begun: seconds * 3_000,
            evicted: 12,
            answered_by_xdp: seconds * 1_240_000,
            cookies_accepted: seconds * 40,
            cookies_refused: seconds * 7,
            dropped_by_xdp: seconds * 900,
        },
        drops: vec![
            drop("no_listener", "No connection and no listener: answered with RST unless it was a RST itself.", 1_500),
            drop(
                "bad_cookie",
                "An acknowledgment for a listener that begins no connection: its cookie is not ours, or too old.",
                seconds * 7,
            ),
            drop("fragment", "A fragment: reassembly is not offered (RFC 8900 explains why that is common).", 0),
            drop(
                "xdp: dropped_syn",
                "A SYN that no cookie can hold, or that breaks a rule, or that nobody can have sent.",
                seconds * 900,
            ),
        ],
        connections: connections(second),
        looked_at: 16_384,
    }
}

/// A server that nobody has asked for anything.
fn idle(second: u32) -> Picture {
    let uptime = Duration::from_secs(second.into());
    let worker = Worker { uptime, asleep: uptime, octets: Some(Both::default()), ..Worker::default() };
    Picture { server: "eth0".to_owned(), uptime, workers: vec![worker], ..Picture::default() }
}
