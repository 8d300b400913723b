//! Filters, rows and texts, without anything that runs.

use super::{
    Departure, Field, Filter, FindError, List, Piece, Query, Request, Summary, Text, Tick, UnhappyFile, Watch,
    filter::sort_field,
    find,
    follow::{Ends, end_of},
    unhappy::{Book, Visit, write},
};
use crate::{
    runtime::inspect::{
        ConnectionReport, DropReport, EndReport, Explanation, FlowCounts, InspectError, ListenerReport,
        NeighbourReport, WorkerReport,
    },
    worker::CommandError,
};
use serde_json::{Value, json};
use std::{os::unix::net::UnixListener, time::Duration};

fn connection() -> ConnectionReport {
    serde_json::from_value(json!({
        "worker": 1, "interface": "veth0", "local": "198.18.0.1:80", "remote": "198.18.0.100:40000", "state": "ESTABLISHED",
        "accepted": true, "asleep": false, "waits_for": "window", "idle_ms": 1_234, "receive_queue": 0, "send_queue": 65_536,
        "rtt_us": 839, "rttvar_us": 1_419, "rto_us": 200_000, "cwnd": 14_480, "ssthresh": 7_240, "send_window": 0,
        "in_flight": 0, "lost": 0, "sacked": 0, "unsent": 65_536, "retransmitted": 3, "mss": 1_448, "send_scale": 10,
        "receive_scale": 7, "timestamps": true, "sack": true, "snd_una": 1, "rcv_nxt": 1,
    }))
    .unwrap()
}

fn is_wanted(filter: &str) -> bool {
    Filter::parse(List::Connections, filter).unwrap_or_else(|error| panic!("{filter}: {error}")).accepts(&connection())
}

#[test]
fn filters_are_those_of_ss() {
    for filter in [
        "",
        "state established",
        "state ESTABLISHED,syn-sent",
        "state connected",
        "sport = :80",
        "sport :80",
        "sport=80",
        "dport >= :1024 and dport < 50000",
        "src 198.18.0.1",
        "src 198.18.0.0/24 dst 198.18.0.100:40000",
        "dst :40000",
        "dst != 10.0.0.0/8",
        "not dst 10.0.0.0/8",
        "! sport = :443",
        "sport = :443 or sport = :80",
        "sport = :443 and dport = :1 or sport = :80",
        "(sport = :443 or sport = :80) and (dst 2001:2::/64 or dst [198.18.0.100]:40000)",
        "dev veth0 worker 1 waits window",
        "rtt < 1ms and rtt > 800us and idle > 1s",
        "send-q > 64k and recv-q 0 and retrans ge 3 and lost eq 0 and cwnd le 15000 and in-flight lt 1",
    ] {
        assert!(is_wanted(filter), "{filter}");
    }
    for filter in [
        "state syn-received",
        "sport = :443 or dport = :443",
        "sport = :80 and dport = :80",
        "sport = :80 and not dst 198.18.0.0/16",
        "src 198.18.0.100",
        "src [2001:2::1]:80",
        "not (sport = :80 or sport = :443)",
        "state != established",
        "worker 0",
        "idle > 5m",
    ] {
        assert!(!is_wanted(filter), "{filter}");
    }
}

#[test]
fn what_a_row_does_not_have_is_no_match_either_way() {
    let asleep = ConnectionReport { tcp: None, asleep: true, ..connection() };
    for filter in ["rtt < 1s", "rtt > 0s", "retrans 0"] {
        assert!(!Filter::parse(List::Connections, filter).unwrap().accepts(&asleep), "{filter}");
    }
}

#[test]
fn a_bad_filter_is_refused_by_the_word_and_what_could_stand_there() {
    let deep = "(".repeat(40);
    for (list, filter, said) in [
        (List::Connections, "dprot = :80", "word 1 of the filter, `dprot`, is not understood: `dport` may be meant"),
        (
            List::Connections,
            "state establsihed",
            "word 2 of the filter, `establsihed`, is not understood: `established` may",
        ),
        (List::Connections, "state time-wait", "counted only"),
        (List::Connections, "state", "the filter ends too early: a word is missing behind `state`"),
        (List::Connections, "state established and", "the filter ends too early: state, src"),
        (
            List::Connections,
            "sport = :99999",
            "word 3 of the filter, `:99999`, is not understood: a port is to stand there",
        ),
        (List::Connections, "sport = :http", "a port is to stand there, such as :80"),
        (List::Connections, "dst 198.18.0", "an address is to stand there"),
        (List::Connections, "dst 198.18.0.0/33", "an address is to stand there"),
        (
            List::Connections,
            "dst < 198.18.0.1",
            "word 2 of the filter, `<`, is not understood: addresses are equal or not",
        ),
        (List::Connections, "rtt > 10", "a time is to stand there, such as 10ms or 5s"),
        (List::Connections, "cwnd > NaN", "a number is to stand there"),
        (List::Connections, "cwnd > many", "a number is to stand there"),
        (List::Connections, "( sport = :80", "the filter ends too early: a `)` is missing"),
        (List::Connections, "sport = :80 )", "word 4 of the filter, `)`, is not understood: there is no `(`"),
        (List::Connections, "or", "word 1 of the filter, `or`, is not understood"),
        (List::Connections, &deep, "more than 32 parentheses"),
        (List::Connections, "reason no_listener", "connections have no such thing, but state"),
        (List::Drops, "reason no_listner", "`no_listener` may be meant"),
        (List::Workers, "sport = :80", "workers have no such thing, but worker, dev, busy, connections or memory"),
        (List::Neighbours, "state established", "reachable, stale, asked or heard can stand there"),
    ] {
        let error = Filter::parse(list, filter).unwrap_err().to_string();
        assert!(error.contains(said), "{filter}: {error}");
    }
    let many = vec!["worker 1"; 300].join(" ");
    assert!(Filter::parse(List::Connections, &many).unwrap_err().to_string().contains("more than 256 comparisons"));
    assert_eq!(sort_field(List::Connections, "rtt"), Ok(Field::Rtt));
    let error = sort_field(List::Workers, "state").unwrap_err().to_string();
    assert!(error.ends_with("workers can be sorted by worker, busy, connections or memory"), "{error}");
}

#[test]
fn nothing_that_can_be_typed_is_too_much_for_a_filter() {
    let words =
        ["(", ")", "not", "and", "or", "sport", "=", ":80", "<", "state", "ä", "\u{0}", "dst", "[", "::", "!", "1e9"];
    let mut seed = 1_u64;
    for _ in 0..20_000 {
        let mut filter = String::new();
        for _ in 0..12 {
            seed = crate::rng::splitmix64(seed);
            filter += words[(seed % words.len() as u64) as usize];
            filter += if seed & 64 == 0 { " " } else { "" };
        }
        for list in List::ALL {
            if let Ok(filter) = Filter::parse(list, &filter) {
                filter.accepts(&connection());
            }
        }
    }
}

#[test]
fn requests_and_pieces_are_lines_of_json() {
    let query = Query { filter: "worker 1".to_owned(), limit: Some(5), ..Query::new(List::Connections) };
    let text = serde_json::to_string(&Request::Show(query.clone())).unwrap();
    assert_eq!(text, r#"{"command":"show","list":"connections","filter":"worker 1","limit":5,"follow":false}"#);
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), Request::Show(query));
    assert!(serde_json::from_str::<Request>(r#"{"command":"show","list":"connections","fitler":"x"}"#).is_err());
    assert!(serde_json::from_str::<Request>(r#"{"command":"show","list":"files"}"#).is_err());
    let asleep = ConnectionReport { tcp: None, asleep: true, ..connection() };
    for one in [connection(), asleep] {
        let piece = Piece::Connection(Box::new(one));
        let text = serde_json::to_string(&piece).unwrap();
        assert_eq!(serde_json::from_str::<Piece>(&text).unwrap(), piece, "{text}");
    }
}

#[test]
fn pictures_are_waited_for_longer_than_they_are_apart() {
    let patience = |interval| Request::Watch(Watch { interval_ms: interval }).patience();
    assert!(patience(60_000) >= Duration::from_secs(120) && patience(100) >= Duration::from_secs(60));
    assert_eq!(patience(u64::MAX), patience(60_000));
    assert!(Request::Show(Query::new(List::Drops)).patience() >= Duration::from_secs(60));
}

/// The text of some pieces.
fn text(list: Option<List>, follow: bool, pieces: &[Piece]) -> String {
    let mut text = Text::new(list, follow);
    pieces.iter().map(|piece| text.of(piece)).collect()
}

#[track_caller]
fn is(said: &str, expected: &[&str]) {
    assert_eq!(said, expected.iter().map(|line| format!("{line}\n")).collect::<String>(), "\n{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "80 columns:\n{said}");
}

#[test]
fn connections_in_text() {
    let six = ConnectionReport {
        local: "[2001:2::1]:80".parse().unwrap(),
        remote: "[2001:2::100]:40000".parse().unwrap(),
        tcp: None,
        asleep: true,
        waits_for: "application".into(),
        idle_ms: 7_200_000,
        send_queue: 0,
        ..connection()
    };
    let counts = Some(FlowCounts { connections: 2, half_open: 0, time_wait: 7 });
    let pieces = [
        Piece::Connection(Box::new(connection())),
        Piece::Connection(Box::new(six)),
        Piece::End(Summary { rows: 2, counts }),
    ];
    is(
        &text(Some(List::Connections), false, &pieces),
        &[
            "State        Recv-Q Send-Q Local Address:Port        Peer Address:Port",
            "ESTABLISHED       0  65536 198.18.0.1:80             198.18.0.100:40000",
            "    worker 1 veth0, accepted, waits for the peer's window, idle 1.2s,",
            "    rtt 839us/1.41ms, rto 200ms, cwnd 14480, ssthresh 7240, mss 1448,",
            "    peer's window 0, unsent 65536, retransmitted 3, wscale 10,7, timestamps,",
            "    sack",
            "ESTABLISHED       0      0 [2001:2::1]:80            [2001:2::100]:40000",
            "    worker 1 veth0, accepted, waits for the application, idle 2h, asleep",
            "2 shown, of 2 connections and 0 handshakes; 7 more in TIME-WAIT",
        ],
    );
}

fn report<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_began_and_ended_in_text() {
    let end: EndReport = report(json!({
        "worker": 1, "local": "198.18.0.1:80", "remote": "198.18.0.100:40000", "ago_ms": 400,
        "sentences": ["The peer 198.18.0.100:40000 opened it to 198.18.0.1:80.", "It ended: reset by the peer."],
        "history": { "began": "accepted", "age_ms": 900, "missed": 0, "events": [] },
    }));
    let tick = |number| Piece::Tick(Tick { number, span_ms: 0 });
    let departure = Departure { connection: connection(), end: Some(end) };
    let pieces = [tick(1), tick(2), tick(3), Piece::Ended(Box::new(departure))];
    is(
        &text(Some(List::Connections), true, &pieces),
        &[
            "State        Recv-Q Send-Q Local Address:Port        Peer Address:Port",
            "+3s ended ESTABLISHED  198.18.0.1:80             198.18.0.100:40000",
            "    The peer 198.18.0.100:40000 opened it to 198.18.0.1:80.",
            "    It ended: reset by the peer.",
        ],
    );
}

#[test]
fn an_end_is_that_of_a_connection_only_where_it_came_behind_the_last_look() {
    let of = |worker, ago| -> Option<EndReport> {
        let end: EndReport = report(json!({
            "worker": worker, "local": "198.18.0.1:80", "remote": "198.18.0.100:40000", "ago_ms": ago, "sentences": [],
            "history": { "began": "accepted", "age_ms": 60_000, "missed": 0, "events": [] },
        }));
        let mut ends = Ends::from([((end.worker, end.local, end.remote), end)]);
        end_of(&mut ends, &connection(), Duration::from_secs(1))
    };
    assert!(of(1, 0).is_some() && of(1, 1_000).is_some());
    // A connection of these two ends that was before; and one of another worker.
    assert!(of(1, 2_000).is_none() && of(0, 500).is_none());
}

#[test]
fn listeners_workers_drops_and_neighbours_in_text() {
    let listener: ListenerReport = report(json!({
        "address": null, "port": 80, "accepted": 12, "defence": [
            { "address": "198.18.0.1:80", "level": "cache", "changes": 0, "syns": 12 },
            { "address": "[2001:2::1]:80", "level": "xdp", "changes": 1, "syns": 3_000_000 },
        ],
    }));
    is(
        &text(Some(List::Listeners), false, &[Piece::Listener(listener)]),
        &[
            "Port  Address                      Accepted       SYNs  Defence",
            "80    *                                  12    3000012  differs",
            "    at 198.18.0.1                                      12  cache",
            "    at 2001:2::1                                  3000000  xdp",
        ],
    );
    let worker: WorkerReport = report(json!({
        "worker": 0, "core": 1, "busy": 0.314, "connections": 1_000_000, "half_open": 2, "time_wait": 3,
        "frames_in_per_second": 123_456.0, "frames_out_per_second": 99_999.0, "opened_per_second": 0.5, "frames_in": 9,
        "frames_out": 9, "frames_per_batch": 7.25, "batch_p50_us": 16, "batch_p99_us": 2_048, "turns": 5, "commands": 6,
        "memory": 1_572_864, "memory_limit": null, "queues": [{ "interface": "veth0", "queue": 0, "received": 9,
            "transmitted": 9, "frames": 4_096, "frames_free": 2_000, "frames_in_fill": 2_048, "frames_in_transmit": 48,
            "frames_held": 0, "receive_ring_full": 5, "fill_ring_empty": 0, "no_frames": 0, "link_down": true }],
    }));
    is(
        &text(Some(List::Workers), false, &[Piece::Worker(Box::new(worker))]),
        &[
            "Worker Core  Busy Connections Half-open Time-wait  In/s Out/s New/s  Memory",
            "     0    1   31%     1000000         2         3  123k 99999   0.5  1.5MiB",
            "    batches up to 16us (half), 2.04ms (99 %), 7.3 frames each, 5 turns,",
            "    6 commands",
            "    veth0 queue 0, 9 in, 9 out,",
            "    frames 4096: pool 2000, fill 2048, transmit 48, stack 0,",
            "    receive ring full 5, LINK DOWN",
        ],
    );
    let drop: DropReport = report(json!({
        "layer": "stack", "reason": "bad_tcp_checksum", "meaning": "The TCP checksum does not add up.", "total": 5,
        "per_second": 2.0, "example": { "worker": 0, "ago_ms": 90, "text": "60 octets: TCP", "length": 60, "hex": "00ff" },
    }));
    is(
        &text(Some(List::Drops), false, &[Piece::Drop(Box::new(drop))]),
        &[
            "Layer Reason                         Total   Per second",
            "stack bad_tcp_checksum                   5            2",
            "    The TCP checksum does not add up.",
            "    90ms ago, worker 0: 60 octets: TCP",
            "      00ff",
        ],
    );
    let neighbour: NeighbourReport = report(json!({
        "worker": 0, "interface": "veth0", "address": "2001:2::2", "station": "02:78:73:6b:00:02", "state": "stale",
        "answered_ms_ago": 45_000, "waiting": 1,
    }));
    is(
        &text(Some(List::Neighbours), false, &[Piece::Neighbour(neighbour)]),
        &[
            "Worker Interface Address              Link address       State",
            "     0 veth0     2001:2::2            02:78:73:6b:00:02  stale, 45s ago, 1 wait",
        ],
    );
}

#[test]
fn an_explanation_in_text() {
    let explanation: Explanation = report(json!({
        "local": "198.18.0.1:81", "remote": "198.18.0.100:4000", "findings": [
            { "table": "addresses", "text": "198.18.0.1 is an address of this server's own, on veth0." },
            { "table": "verdict", "text": "No flow, no listener: a SYN would be answered with an RST. Listen on port 81, or ask for another one." },
        ],
        "sentences": ["The peer opened it."],
        "history": { "began": "accepted", "age_ms": 2_500, "missed": 3, "events": [
            { "after_ms": 1_204, "event": "peer_window_shut", "number": 0, "text": "the peer's window holds data back: it has room for 0 octets" },
        ] },
    }));
    is(
        &text(None, false, &[Piece::Explanation(Box::new(explanation))]),
        &[
            "198.18.0.1:81 <-> 198.18.0.100:4000",
            "  addresses   198.18.0.1 is an address of this server's own, on veth0.",
            "  verdict     No flow, no listener: a SYN would be answered with an RST. Listen",
            "              on port 81, or ask for another one.",
            "",
            "What is to be said of it",
            "  The peer opened it.",
            "",
            "Its history, of 2.5s",
            "    +0.000 s  accepted",
            "         ...  (3 earlier events are forgotten)",
            "    +1.204 s  the peer's window holds data back: it has room for 0 octets",
        ],
    );
}

#[test]
fn so_many_unhappy_ends_are_written_down_and_no_more() {
    let mut file = Vec::new();
    let mut book = Book::new(&mut file, 0);
    for number in 0..150 {
        book.write(&number).unwrap();
    }
    book.begin().unwrap();
    book.write(&"later").unwrap();
    let lines: Vec<_> = std::str::from_utf8(&file).unwrap().lines().collect();
    assert_eq!((lines.len(), lines[99], lines[100], lines[101]), (102, "99", "{\"left_out\":50}", "\"later\""));

    // A file that is full says so, once, and stays as it is.
    let mut file = Vec::new();
    let mut book = Book::new(&mut file, (64 << 20) - 1);
    (0..3).for_each(|number| book.write(&number).unwrap());
    assert_eq!(file, b"0\n{\"full\":true}\n");
    let mut file = Vec::new();
    Book::new(&mut file, 64 << 20).write(&0).unwrap();
    assert!(file.is_empty());
    let error = UnhappyFile::open(std::path::Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all") && error.ends_with("give another file by --unhappy"), "{error}");
}

#[test]
fn who_does_not_tell_of_unhappy_ends_is_asked_again() {
    let (stop, stopped) = crossbeam::channel::bounded(0);
    let (mut file, mut stop, mut looks) = (Vec::new(), Some(stop), 0);
    let ask = |visit: &mut Visit<'_>| {
        looks += 1;
        if looks == 1 {
            return Err(InspectError::Worker(CommandError::Silent { worker: 1 }));
        }
        if looks == 2 {
            drop(stop.take());
        }
        _ = visit(report(json!({
            "worker": 0, "local": "[2001:2::1]:80", "remote": "[2001:2::100]:40000", "ago_ms": 400, "sentences": [],
            "history": { "began": "accepted", "age_ms": 900, "missed": 0, "events": [] },
        })));
        Ok(())
    };
    write(ask, Book::new(&mut file, 0), &stopped).unwrap();
    // The second look comes behind the first one's failure, and the third is what is over.
    assert_eq!((looks, std::str::from_utf8(&file).unwrap().lines().count()), (3, 2));
}

#[test]
fn the_only_socket_that_somebody_lives_behind_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let none = find(folder.path()).unwrap_err();
    assert!(
        matches!(none, FindError::None { .. }) && none.to_string().contains("start one by `xskip serve`"),
        "{none}"
    );
    assert!(find(&at("nowhere")).is_err());
    drop(UnixListener::bind(at("dead.sock")).unwrap());
    let _one = UnixListener::bind(at("one.sock")).unwrap();
    let _other = UnixListener::bind(at("other.socket")).unwrap();
    assert_eq!(find(folder.path()).unwrap(), at("one.sock"));
    let _two = UnixListener::bind(at("two.sock")).unwrap();
    let several = find(folder.path()).unwrap_err().to_string();
    assert!(
        several.starts_with("2 servers run: say which one by --control, of ") && several.contains("two.sock"),
        "{several}"
    );
}
