//! Whole loads, from the first SYN to the last reset.

use super::wire::{Wire, load};
use crate::{
    app::{Chargen, Discard, Echo, Http, Origin, Service},
    config::{StackConfig, TcpConfig},
    load::{Direction, Failures, Mode, Progress},
    stack::ConnectionId,
    tcp::MaxSegment,
    worker::Context,
};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Says this once it was asked, and then closes if it should.
struct Says {
    what: &'static str,
    closes: bool,
}

impl Service for Says {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, (): &mut (), id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        if stream.readable_len() > 0 {
            stream.consume(stream.readable_len());
            stream.write(self.what.as_bytes());
            if self.closes {
                stream.close();
            }
        } else if stream.at_end() {
            stream.close();
        }
    }
}

/// A server with small buffers: a wire without a bandwidth carries whatever fills the others, in no time of its own.
fn narrow() -> StackConfig {
    let (send_buffer, receive_buffer) = (65_536, 65_536);
    StackConfig { tcp: TcpConfig { send_buffer, receive_buffer, ..TcpConfig::default() }, ..StackConfig::default() }
}

/// Every connection is gone on both sides, as far as the load has one.
#[track_caller]
fn assert_left(wire: &Wire) {
    assert_eq!((wire.client.flow_counts().0, wire.server.flow_counts().0), (0, 0));
}

#[test]
fn keepalive_asks_again_as_soon_as_it_was_answered() {
    let load = load(Mode::Keepalive).connections(8).request("/bytes/100").duration(100 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    let report = wire.finish();
    assert_eq!((report.failed_total, report.established, report.established_peak), (0, 8, 8));
    // A request there and its response back: 20 µs.
    let rounds = report.completed / 8;
    assert!((4_900..=5_000).contains(&rounds), "{report:?}");
    assert!((report.per_second - report.completed as f64 / 0.1).abs() < 1_000.0, "{report:?}");
    let p50 = report.latency_us.p50.unwrap();
    assert!((19.9..20.1).contains(&p50), "{report:?}");
    assert!(report.bytes_received > 100 * report.completed && report.bytes_sent > 0, "{report:?}");
    assert_left(&wire);
}

#[test]
fn a_limit_on_segments_is_asked_for() {
    let load =
        load(Mode::Keepalive).request("/bytes/10000").duration(10 * MILLISECOND).max_segment(MaxSegment::new(500));
    let mut wire = Wire::new(&load, Http::default());
    assert_eq!(wire.finish().failed_total, 0);
    assert_eq!(wire.longest, 14 + 20 + 20 + 500, "headers of Ethernet, IPv4 and TCP, and with TCP's options the limit");
}

#[test]
fn in_an_open_loop_a_stall_is_charged_to_every_request_that_was_due() {
    let load = load(Mode::Keepalive).connections(4).rate(1_000).duration(1_000 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    wire.pass(300 * MILLISECOND);
    wire.cut = true;
    wire.pass(100 * MILLISECOND);
    wire.cut = false;
    let report = wire.finish();
    assert_eq!((report.failed_total, report.offered_per_second), (0, Some(1_000)));
    assert!((999..=1_001).contains(&(report.completed + report.unfinished.unwrap())), "{report:?}");
    // What was sent meanwhile is sent again 200 ms later, and those behind it were due all the while: some 200 requests, with
    // latencies spread evenly up to 200 ms. Counted from when they were sent there would be four.
    let latency = report.latency_us;
    assert!((150_000.0..320_000.0).contains(&latency.max.unwrap()), "{latency:?}");
    assert!(latency.p90.unwrap() > 50_000.0 && latency.p50.unwrap() < 100.0, "{latency:?}");
}

#[test]
fn at_a_rate_no_more_is_asked_than_is_due() {
    let load = load(Mode::Connect).connections(50).rate(2_000).duration(500 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    let report = wire.finish();
    assert!(report.open_loop && report.failed_total == 0, "{report:?}");
    assert!((995..=1_000).contains(&report.completed), "{report:?}");
    assert_left(&wire);
}

#[test]
fn connect_takes_a_new_connection_each_time_and_reads_to_its_end() {
    let load = load(Mode::Connect).connections(16).request("/bytes/5000").duration(50 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    let report = wire.finish();
    let opened = wire.server.stats().connections_opened;
    assert_eq!(report.failed_total, 0);
    assert!(report.completed > 1_000 && opened >= report.completed && opened <= report.completed + 32, "{report:?}");
    let (handshake, whole) = (report.handshake_us.p50.unwrap(), report.latency_us.p50.unwrap());
    assert!((19.9..20.1).contains(&handshake) && whole >= 39.9, "{report:?}");
    // Whoever closes first waits in TIME-WAIT: the server, as it was asked to.
    assert_eq!(wire.client.flow_counts().2, 0, "no port of ours waits");
    assert_left(&wire);
}

#[test]
fn heads_and_bodies_come_in_whatever_pieces() {
    let small = StackConfig { tcp: TcpConfig { mtu: 100, ..TcpConfig::default() }, ..StackConfig::default() };
    let load = load(Mode::Keepalive).connections(3).request("/bytes/1000").duration(20 * MILLISECOND);
    let mut wire = Wire::with(&load, Http::default(), small);
    let report = wire.finish();
    assert!(report.completed > 100 && report.failed_total == 0, "{report:?}");
}

#[test]
fn a_server_that_closes_when_it_said_so_is_asked_again_on_another_connection() {
    let what = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let load = load(Mode::Keepalive).connections(2).duration(20 * MILLISECOND);
    let mut wire = Wire::new(&load, Says { what, closes: true });
    let report = wire.finish();
    assert_eq!(report.failed_total, 0, "{report:?}");
    assert!(report.completed > 100 && wire.server.stats().connections_opened >= report.completed, "{report:?}");
}

#[test]
fn bad_responses_are_counted_and_not_hammered_for() {
    for (what, closes) in [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nlong", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlong!\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", false),
        ("HTTP/1.1 204 No Content\r\n\r\nmore", false),
        ("no HTTP at all\r\n\r\n", false),
        ("", true),
    ] {
        let load = load(Mode::Keepalive).connections(2).duration(1_000 * MILLISECOND);
        let mut wire = Wire::new(&load, Says { what, closes });
        let report = wire.finish();
        assert_eq!((report.completed, report.failed_total), (0, report.failed.bad_response), "{what:?}: {report:?}");
        assert!((2..=22).contains(&report.failed_total), "{what:?}: {report:?}");
        assert!(report.is_fruitless());
    }
}

#[test]
fn nobody_there_is_a_failure_of_its_own_kind() {
    let nobody_listens = |wire: &mut Wire| wire.server.stop_listening();
    let load = load(Mode::Connect).connections(3).duration(350 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    nobody_listens(&mut wire);
    let report = wire.finish();
    let refused = Failures { refused: report.failed_total, ..Failures::default() };
    assert_eq!((report.failed, report.completed), (refused, 0));
    assert!(
        (9..=12).contains(&report.failed_total),
        "a failed connection is tried again ten times a second: {report:?}"
    );

    let mut wire = Wire::new(&load.duration(5_000 * MILLISECOND), Http::default());
    wire.cut = true;
    let report = wire.finish();
    assert!(report.failed.unreachable > 0 && report.failed.unreachable == report.failed_total, "{report:?}");
}

#[test]
fn a_short_load_on_nobody_has_failed_for_a_reason_and_is_no_silent_zero() {
    // Far shorter than its timeout, and than the time in which a neighbour that is not there is given up.
    for mode in [Mode::Keepalive, Mode::Connect, Mode::Bulk, Mode::Latency] {
        let load = load(mode).connections(3).duration(500 * MILLISECOND);
        let mut wire = Wire::new(&load, Http::default());
        wire.cut = true;
        let report = wire.finish();
        assert_eq!(report.failed, Failures { unreachable: 3, ..Failures::default() }, "no neighbour: {mode}");
        assert!(report.to_string().ends_with("failed: 3 (3 unreachable, because no neighbour answers)"), "{report}");
        let mut wire = Wire::new(&load, Http::default());
        wire.deaf = true;
        let report = wire.finish();
        assert_eq!(report.failed, Failures { timed_out: 3, ..Failures::default() }, "no answer: {mode}");
        assert!(report.is_fruitless());
    }
    // The same where it is interrupted, and where requests were due at a rate: none is counted twice.
    let load = load(Mode::Connect).connections(100).rate(100).duration(10_000 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    wire.deaf = true;
    wire.pass(500 * MILLISECOND);
    wire.shared.stop();
    let report = wire.finish();
    assert!((49..=52).contains(&report.failed.timed_out) && report.unfinished <= Some(1), "{report:?}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_has_failed_by_the_end() {
    for (mode, kinds) in [(Mode::Keepalive, 4), (Mode::Latency, 4), (Mode::Bulk, 4)] {
        let load = load(mode).connections(4).duration(500 * MILLISECOND);
        let report = Wire::new(&load, Discard).finish();
        assert_eq!(report.failed, Failures { timed_out: kinds, ..Failures::default() }, "{mode}");
    }
    // What is under way when time is up has not failed, where others have been answered.
    let load = load(Mode::Keepalive).connections(4).duration(5 * MILLISECOND);
    assert_eq!(Wire::new(&load, Http::default()).finish().failed_total, 0);
}

#[test]
fn bodies_in_chunks_and_responses_without_a_body_are_good_ones() {
    for what in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        // Whole, and in pieces of 40 octets or so.
        for mtu in [1_500, 100] {
            let config = StackConfig { tcp: TcpConfig { mtu, ..TcpConfig::default() }, ..StackConfig::default() };
            let load = load(Mode::Keepalive).connections(2).duration(20 * MILLISECOND);
            let mut wire = Wire::with(&load, Says { what, closes: false }, config);
            let report = wire.finish();
            assert!(report.completed > 100 && report.failed_total == 0, "{what:?}: {report:?}");
            assert_eq!(wire.server.stats().connections_opened, 2, "connections are used again: {what:?}");
        }
    }
}

#[test]
fn a_server_that_goes_away_is_noticed_in_every_mode() {
    let timeout = 500 * MILLISECOND;
    for mode in [Mode::Keepalive, Mode::Connect, Mode::Latency, Mode::Bulk] {
        let load = load(mode).connections(4).timeout(timeout).duration(5_000 * MILLISECOND);
        let mut wire = match mode {
            Mode::Latency => Wire::new(&load, Echo),
            Mode::Bulk => Wire::with(&load, Chargen, narrow()),
            _ => Wire::new(&load, Http::default()),
        };
        wire.pass(10 * MILLISECOND);
        wire.cut = true;
        let report = wire.finish();
        let failed = report.failed;
        assert!(failed.timed_out >= 4, "{mode}: {report:?}");
        assert_eq!(report.failed_total, failed.timed_out + failed.unreachable, "{mode}: {report:?}");
        assert!(report.bytes_received > 0, "{mode}: what came before counts: {report:?}");
    }
}

#[test]
fn idle_opens_every_connection_holds_it_and_leaves_none_behind() {
    let load = load(Mode::Idle).connections(5_000).duration(2_000 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    wire.pass(1_500 * MILLISECOND);
    assert_eq!(wire.server.flow_counts().0, 5_000);
    let report = wire.finish();
    assert_eq!((report.established, report.established_peak, report.failed_total), (5_000, 5_000, 0));
    assert!((1.99..2.1).contains(&report.seconds) && report.open_seconds.unwrap() < 0.1, "{report:?}");
    assert!(report.handshake_us.p50.is_some() && report.latency_us.p50.is_none(), "{report:?}");
    assert_left(&wire);
}

#[test]
fn a_ramp_opens_connections_evenly() {
    let load = load(Mode::Idle).connections(1_000).ramp(1_000 * MILLISECOND).duration(MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    for tenth in 1..10 {
        wire.pass(100 * MILLISECOND);
        let open = wire.server.flow_counts().0;
        assert!((tenth * 100 - 5..=tenth * 100 + 5).contains(&open), "{open} after {tenth} tenths");
    }
    let report = wire.finish();
    assert_eq!((report.established_peak, report.failed_total), (1_000, 0));
}

#[test]
fn connections_that_a_server_has_no_room_for_are_not_waited_for_without_end() {
    let config = StackConfig { max_connections: 100, max_half_open: 64, ..StackConfig::default() };
    let load = load(Mode::Idle).connections(3_000).timeout(2_000 * MILLISECOND).duration(100 * MILLISECOND);
    let mut wire = Wire::with(&load, Http::default(), config);
    let report = wire.finish();
    assert!(report.established_peak >= 100, "{report:?}");
    assert_eq!(report.failed_total + report.established, 3_000, "each is counted: {report:?}");
    assert!(report.open_seconds.unwrap() < 30.0, "{report:?}");
}

#[test]
fn idle_connections_that_are_lost_are_counted() {
    let load = load(Mode::Idle).connections(100).duration(500 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default());
    wire.pass(100 * MILLISECOND);
    wire.server.abort_all(wire.now);
    let report = wire.finish();
    let lost = Failures { reset: 100, ..Failures::default() };
    assert_eq!((report.established, report.established_peak, report.failed), (0, 100, lost));
}

#[test]
fn pings_come_back_as_they_were_or_are_bad() {
    let load = load(Mode::Latency).connections(2).duration(10 * MILLISECOND);
    let mut wire = Wire::new(&load, Echo);
    let report = wire.finish();
    assert!(report.completed > 900 && report.failed_total == 0, "{report:?}");
    assert!((19.9..20.1).contains(&report.latency_us.p50.unwrap()), "{report:?}");
    assert_eq!(report.bytes_received / 64, report.completed);

    let answer = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let mut wire = Wire::new(&load, Says { what: answer, closes: false });
    let report = wire.finish();
    assert!(report.completed == 0 && report.failed.bad_response >= 2, "{report:?}");
}

#[test]
fn bulk_goes_the_way_it_is_told_to() {
    let load = load(Mode::Bulk).connections(2).duration(5 * MILLISECOND);
    let report = Wire::with(&load, Chargen, narrow()).finish();
    assert!(report.download_gbit_per_second > 0.5 && report.bytes_sent == 0, "{report:?}");
    let report = Wire::with(&load.clone().direction(Direction::Upload), Discard, narrow()).finish();
    assert!(report.upload_gbit_per_second > 0.5 && report.bytes_received == 0, "{report:?}");
    let report = Wire::with(&load.clone().direction(Direction::Both), Echo, narrow()).finish();
    assert!(report.upload_gbit_per_second > 0.2 && report.download_gbit_per_second > 0.2, "{report:?}");
    let report = Wire::with(&load.request("/bytes/100000"), Http::default(), narrow()).finish();
    assert!(report.completed > 10 && report.failed_total == 0, "{report:?}");
    assert!(report.bytes_received > 100_000 * report.completed, "{report:?}");
}

#[test]
fn the_warm_up_is_not_measured() {
    let load = load(Mode::Latency).warm_up(1_000 * MILLISECOND).duration(100 * MILLISECOND);
    let mut wire = Wire::new(&load, Echo);
    wire.pass(500 * MILLISECOND);
    wire.cut = true;
    wire.pass(100 * MILLISECOND);
    wire.cut = false;
    let report = wire.finish();
    assert!((0.1..0.11).contains(&report.seconds), "{report:?}");
    assert!(report.latency_us.max.unwrap() < 100.0, "what stalled before does not show: {report:?}");
}

#[test]
fn an_early_end_has_the_figures_so_far() {
    let load = load(Mode::Latency).duration(3_600_000 * MILLISECOND);
    let mut wire = Wire::new(&load, Echo);
    wire.pass(50 * MILLISECOND);
    let Progress { completed, open, failed } = wire.shared.progress();
    assert!(completed > 1_000 && open == 1 && failed == 0);
    wire.shared.stop();
    let report = wire.finish();
    assert!((0.04..0.06).contains(&report.seconds) && report.completed >= completed, "{report:?}");
    assert_left(&wire);
}

#[test]
fn ports_are_used_again_and_a_lack_of_them_has_a_name() {
    // A server that never closes first leaves TIME-WAIT to us, and so do our ports wait.
    let says = || Says { what: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", closes: false };
    for (count, expected) in [(1, 100), (3, 300)] {
        let load = load(Mode::Connect).connections(20).consecutive_addresses(count).duration(1_000 * MILLISECOND);
        let addresses = load.local_addresses().unwrap();
        let report = Wire::new(&load, says()).with_ports(2_000..=2_099, addresses).finish();
        assert_eq!(report.completed, expected, "{report:?}");
        assert!((1..=20).contains(&report.failed.other) && report.failed.other == report.failed_total, "{report:?}");
        assert!(report.obstacle.unwrap().to_string().contains("from another address"), "{report:?}");
    }
    // One that closes first has it, and lets a port be used again as soon as its clock has moved on.
    let load = load(Mode::Connect).connections(20).duration(100 * MILLISECOND);
    let mut wire = Wire::new(&load, Http::default()).with_ports(2_000..=3_999, load.local_addresses().unwrap());
    let report = wire.finish();
    assert_eq!((report.failed_total, report.obstacle), (0, None), "{report:?}");
    assert!(report.completed > 10_000, "{report:?}");
}

#[test]
fn the_figures_are_those_that_scripts_read() {
    let load = load(Mode::Keepalive).connections(1).duration(10 * MILLISECOND);
    let report = Wire::new(&load, Http::default()).finish();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["mode"], &json["target"]), (&"keepalive".into(), &"198.18.0.1:80".into()));
    assert_eq!((&json["open_loop"], &json["failed_total"]), (&false.into(), &0.into()));
    assert!(json["offered_per_second"].is_null() && json["unfinished"].is_null());
    for name in ["p50", "p90", "p99", "p999", "max", "mean"] {
        assert!(json["latency_us"][name].as_f64().unwrap() > 0.0, "{name}");
    }
    for name in ["refused", "timed_out", "reset", "bad_response", "unreachable", "other"] {
        assert_eq!(json["failed"][name], 0, "{name}");
    }
    for name in ["connections", "seconds", "completed", "per_second", "bytes_received", "bytes_sent", "established"] {
        assert!(json[name].as_f64().unwrap() > 0.0, "{name}");
    }
    assert!(json["download_gbit_per_second"].is_f64() && json["upload_gbit_per_second"].is_f64());
    assert!(json["resident_bytes_per_connection"].is_null());
    assert_eq!(json["workers"][0]["completed"], report.completed);
    let said = report.to_string();
    assert!(said.contains("requests in 0.01 s") && said.ends_with("failed: 0"), "{said}");
}
