//! Connections: a line as `ss` has it, and one of what TCP knows.

use super::{
    super::Departure,
    numbers::{micros, millis},
    wrapped,
};
use crate::runtime::inspect::{ConnectionReport, TcpReport};

pub(super) const HEAD: &str = "State        Recv-Q Send-Q Local Address:Port        Peer Address:Port\n";

/// A connection, in two lines or more.
pub(super) fn lines(one: &ConnectionReport) -> String {
    let ConnectionReport { state, receive_queue, send_queue, local, remote, .. } = one;
    let first = format!("{state:<12} {receive_queue:>6} {send_queue:>6} {:<25} {remote}\n", local.to_string());
    first + &details(one)
}

fn details(one: &ConnectionReport) -> String {
    let mut parts = vec![
        format!("worker {} {}", one.worker, one.interface),
        if one.accepted { "accepted".to_owned() } else { "opened".to_owned() },
        format!("waits for {}", waits_for(&one.waits_for)),
        format!("idle {}", millis(one.idle_ms)),
    ];
    match &one.tcp {
        Some(tcp) => parts.extend(known(tcp)),
        None if one.asleep => parts.push("asleep".to_owned()),
        None => {}
    }
    wrapped(4, parts, ", ")
}

/// What is waited for, as it stands behind "waits for".
fn waits_for(why: &str) -> &str {
    match why {
        "application" => "the application",
        "window" => "the peer's window",
        "congestion" => "the congestion window",
        "recovery" => "the repair of a loss",
        "nagle" => "acknowledgments (Nagle)",
        "segments" => "acknowledgments (segments)",
        "handshake" => "the handshake",
        "neighbour" => "the neighbour",
        "turn" => "its turn",
        "ended" => "nothing: it has ended",
        other => other,
    }
}

fn known(tcp: &TcpReport) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(rtt) = tcp.rtt_us {
        parts.push(format!("rtt {}/{}", micros(rtt), micros(tcp.rttvar_us.unwrap_or_default())));
    }
    parts.push(format!("rto {}", micros(tcp.rto_us)));
    parts.push(format!("cwnd {}", tcp.cwnd));
    if let Some(ssthresh) = tcp.ssthresh {
        parts.push(format!("ssthresh {ssthresh}"));
    }
    parts.push(format!("mss {}", tcp.mss));
    parts.push(format!("peer's window {}", tcp.send_window));
    let counts = [
        ("in flight", u64::from(tcp.in_flight)),
        ("unsent", tcp.unsent),
        ("lost", tcp.lost.into()),
        ("sacked", tcp.sacked.into()),
        ("retransmitted", tcp.retransmitted.into()),
    ];
    parts.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")));
    if (tcp.send_scale, tcp.receive_scale) != (0, 0) {
        parts.push(format!("wscale {},{}", tcp.send_scale, tcp.receive_scale));
    }
    let options = [("timestamps", tcp.timestamps), ("sack", tcp.sack)];
    parts.extend(options.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned()));
    parts
}

/// So many seconds after the first look, this one is there.
pub(super) fn began(seconds: u64, one: &ConnectionReport) -> String {
    format!("+{seconds}s began {}", lines(one))
}

/// So many seconds after the first look, this one is there no more.
pub(super) fn ended(seconds: u64, one: &Departure) -> String {
    let ConnectionReport { local, remote, state, .. } = &one.connection;
    let mut text = format!("+{seconds}s ended {state:<12} {:<25} {remote}\n", local.to_string());
    for sentence in one.end.iter().flat_map(|end| &end.sentences) {
        text += &super::paragraph("", 4, sentence);
    }
    text
}
