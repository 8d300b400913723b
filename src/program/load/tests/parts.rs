//! The parts: schedules, ramps, response heads, figures.

use crate::{
    load::{
        chunks::{Chunks, Taken},
        response::{Body, Head, Parsed},
        schedule::{Ramp, Schedule},
        tally::{Failure, Tally},
    },
    tcp::CloseReason,
    time::Instant,
};
use std::time::Duration;

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1_000)
}

#[test]
fn workers_take_turns_and_together_keep_the_rate_to_the_nanosecond() {
    let mut schedules = [0, 1, 2].map(|number| Schedule::new(at(5), 7, number, 3));
    let end = at(5) + Duration::from_secs(3_600);
    let mut due: Vec<Instant> = Vec::new();
    for schedule in &mut schedules {
        while schedule.due() < end {
            due.extend(schedule.take(end));
        }
    }
    due.sort();
    assert_eq!(due.len(), 7 * 3_600, "no rounding adds up");
    for (number, due) in due.iter().enumerate() {
        assert_eq!(*due, at(5) + Duration::from_nanos(number as u64 * 1_000_000_000 / 7));
    }
}

#[test]
fn what_is_due_waits_and_what_is_not_is_not_given() {
    let mut schedule = Schedule::new(at(0), 1_000, 1, 2);
    assert_eq!((schedule.take(at(999)), schedule.overdue(at(999))), (None, 0));
    assert_eq!((schedule.overdue(at(1_000)), schedule.overdue(at(2_999)), schedule.overdue(at(3_000))), (1, 1, 2));
    // Late as it is, the moment is the one it was due at.
    assert_eq!(schedule.take(at(3_500)), Some(at(1_000)));
    assert_eq!(schedule.overdue(at(3_500)), 1);
    assert_eq!((schedule.take(at(3_500)), schedule.take(at(3_500))), (Some(at(3_000)), None));
    assert_eq!(schedule.due(), at(5_000));
}

#[test]
fn a_ramp_allows_one_more_exactly_when_it_says() {
    let ramp = Ramp { begin: at(10), length: Duration::from_micros(1_000), count: 7 };
    assert_eq!((ramp.allowed(at(10)), ramp.allowed(at(1_010)), ramp.allowed(at(99_999))), (1, 7, 7));
    for count in 1..7 {
        let due = ramp.due(count);
        assert_eq!(ramp.allowed(due), count + 1, "{count}");
        assert_eq!(ramp.allowed(Instant::from_nanos(due.as_nanos() - 2)), count, "{count}");
    }
    let at_once = Ramp { length: Duration::ZERO, ..ramp };
    assert_eq!(at_once.allowed(at(10)), 7);
}

fn parsed(text: &str) -> Parsed {
    Parsed::of(text.as_bytes())
}

fn head(text: &str) -> Head {
    match parsed(text) {
        Parsed::Head(head) => head,
        other => panic!("a head was expected: {other:?}"),
    }
}

#[test]
fn a_head_says_how_long_the_body_is_and_whether_the_server_closes() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n";
    assert_eq!(head(text), Head { length: text.len(), body: Body::Octets(17), closes: false });
    assert_eq!(head(&format!("{text}a body")).length, text.len(), "what follows is no part of it");
    for (fields, body, closes) in [
        ("content-length: 0\r\nCONNECTION: Close\r\n", Body::Octets(0), true),
        ("Content-Length: 5\r\nConnection: foo , close\r\n", Body::Octets(5), true),
        ("Content-Length: 5\r\nConnection: keep-alive\r\n", Body::Octets(5), false),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Body::Octets(5), false),
        ("Transfer-Encoding: chunked\r\n", Body::Chunks, false),
        ("transfer-encoding:  Chunked \r\nConnection: close\r\n", Body::Chunks, true),
        ("Server: x\r\n", Body::Rest, true),
    ] {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert_eq!((head.body, head.closes), (body, closes), "{fields}");
    }
    assert!(head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").closes, "HTTP/1.0 closes");
    assert!(!head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n").closes);
}

#[test]
fn statuses_without_a_body_have_none_whatever_their_fields_say() {
    for status in ["204 No Content", "304 Not Modified"] {
        for fields in ["", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"] {
            let head = head(&format!("HTTP/1.1 {status}\r\n{fields}\r\n"));
            assert_eq!((head.body, head.closes), (Body::Octets(0), false), "{status}, {fields}");
        }
        assert!(head(&format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")).closes);
    }
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
    assert_eq!(parsed(&format!("{early}HTTP/1.1 200 OK\r\n\r\n")), Parsed::Interim(early.len()));
    assert_eq!(head("HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\n").body, Body::Octets(2));
}

/// What becomes of a body that comes in pieces of this length.
fn in_pieces(body: &[u8], length: usize) -> Taken {
    let mut chunks = Chunks::BEGIN;
    let mut before = 0;
    for piece in body.chunks(length) {
        match chunks.take(piece) {
            Taken::More => before += piece.len(),
            Taken::Whole(taken) => return Taken::Whole(before + taken),
            Taken::Bad => return Taken::Bad,
        }
    }
    Taken::More
}

#[test]
fn chunks_end_where_the_last_one_does_in_whatever_pieces_they_come() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "1a;name=\"value\"\r\nabcdefghijklmnopqrstuvwxyz\r\n000\r\n\r\n",
        "A \r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nExpires: never\r\nX: y\r\n\r\n",
    ] {
        let followed = format!("{body}HTTP/1.1");
        for length in 1..followed.len() {
            assert_eq!(in_pieces(followed.as_bytes(), length), Taken::Whole(body.len()), "{body:?} by {length}");
        }
        for end in 0..body.len() {
            assert_eq!(in_pieces(&body.as_bytes()[..end], 3), Taken::More, "{:?}", &body[..end]);
        }
    }
}

#[test]
fn what_is_no_chunk_is_called_bad() {
    for bad in [
        "\r\n",
        "x\r\n",
        ";\r\n",
        "5\nhello",
        "5\r\nhello!",
        "5\r\nhello\n",
        "1\r\rx",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nX: y\n",
        "11111111111111111\r\n",
    ] {
        for length in 1..=bad.len() {
            assert_eq!(in_pieces(bad.as_bytes(), length), Taken::Bad, "{bad:?} by {length}");
        }
    }
    let endless = format!("1;{}", "a".repeat(20_000));
    assert_eq!(in_pieces(endless.as_bytes(), 1_000), Taken::Bad, "extensions have an end");
    let endless = format!("0\r\n{}", "X: y\r\n".repeat(20_000));
    assert_eq!(in_pieces(endless.as_bytes(), 1_000), Taken::Bad, "trailers have an end");
}

#[test]
fn every_beginning_of_a_head_is_partial() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n";
    for length in 0..text.len() {
        assert_eq!(parsed(&text[..length]), Parsed::Partial, "{length}");
    }
}

#[test]
fn what_is_no_good_response_is_called_bad() {
    for bad in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        assert_eq!(parsed(bad), Parsed::Bad, "{bad}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(20_000));
    assert_eq!(parsed(&endless), Parsed::Bad, "a head has an end");
}

#[test]
fn the_warm_up_is_forgotten_but_its_failures_are_not() {
    let mut tally = Tally::default();
    tally.complete(at(30), at(10));
    tally.opened(at(30), at(10));
    (tally.received, tally.sent) = (5, 6);
    tally.failed.count(Failure::Reset, 1);
    tally.begin();
    assert_eq!((tally.completed, tally.received, tally.sent), (0, 0, 0));
    assert!(tally.latency.is_empty() && tally.handshake.is_empty());
    assert_eq!((tally.failed.reset, tally.failed.total()), (1, 1));
}

#[test]
fn figures_of_workers_add_up_and_their_latencies_are_one_distribution() {
    let mut sum = Tally::default();
    for (worker, micros) in [(1, 100), (2, 300)] {
        let mut tally = Tally { established: worker, peak: 2 * worker, unfinished: worker, ..Tally::default() };
        tally.measured = Duration::from_secs(worker);
        for _ in 0..10 {
            tally.complete(at(1_000 + micros), at(1_000));
        }
        tally.failed.count(Failure::Refused, worker);
        sum.merge(&tally);
    }
    assert_eq!((sum.completed, sum.established, sum.peak, sum.unfinished), (20, 3, 6, 3));
    assert_eq!((sum.failed.refused, sum.measured), (3, Duration::from_secs(2)));
    let within = |share| sum.latency.value_at_quantile(share) / 1_000;
    assert_eq!((within(0.5), within(0.51), sum.latency.len()), (100, 300, 20));
}

#[test]
fn every_way_to_end_is_a_kind_of_failure() {
    let kinds = [
        (CloseReason::Refused, Failure::Refused),
        (CloseReason::TimedOut, Failure::TimedOut),
        (CloseReason::ResetByPeer, Failure::Reset),
        (CloseReason::Unreachable, Failure::Unreachable),
        (CloseReason::Aborted, Failure::Other),
        (CloseReason::Finished, Failure::Other),
    ];
    for (reason, failure) in kinds {
        assert_eq!(Failure::from(reason), failure);
    }
}
