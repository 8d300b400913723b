//! Listeners, workers, drops and neighbours.

use super::{
    numbers::{micros, millis, octets, short},
    paragraph, wrapped,
};
use crate::runtime::inspect::{
    DropReport, HandshakeReport, ListenerReport, NeighbourReport, QueueReport, WorkerReport,
};
use std::fmt::Write;

pub(super) const LISTENERS: &str = "Port  Address                      Accepted       SYNs  Defence\n";
pub(super) const WORKERS: &str = "Worker Core  Busy Connections Half-open Time-wait  In/s Out/s New/s  Memory\n";
pub(super) const DROPS: &str = "Layer Reason                         Total   Per second\n";
pub(super) const NEIGHBOURS: &str = "Worker Interface Address              Link address       State\n";

pub(super) fn listener(one: &ListenerReport) -> String {
    let address = one.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
    let syns: u64 = one.defence.iter().map(|it| it.syns).sum();
    let levels: Vec<&str> = one.defence.iter().map(|it| &*it.level).collect();
    let is_one = levels.iter().all(|level| levels.first() == Some(level));
    let level = if is_one { levels.first().copied().unwrap_or("-") } else { "differs" };
    let mut text = format!("{:<5} {address:<28} {:>8} {syns:>10}  {level}\n", one.port, one.accepted);
    if one.defence.len() > 1 {
        for it in &one.defence {
            let _ = writeln!(text, "    at {:<39} {:>10}  {}", it.address.ip().to_string(), it.syns, it.level);
        }
    }
    text
}

pub(super) fn handshakes(one: &HandshakeReport) -> String {
    let parts = [
        ("begun", one.begun),
        ("half-open now", one.half_open),
        ("forgotten for newer ones", one.evicted),
        ("never acknowledged", one.timed_out),
        ("opened", one.opened),
    ];
    let cookies = [
        ("sent by XDP", one.cookies_sent_by_xdp),
        ("accepted", one.cookies_accepted),
        ("refused", one.cookies_refused),
        ("SYNs dropped by XDP", one.syns_dropped_by_xdp),
    ];
    let words = |name: &str, counts: &[(&str, u64)]| {
        let all: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let mut parts = all.into_iter();
        let first = parts.next().map(|first| format!("{name}: {first}"));
        wrapped(0, first.into_iter().chain(parts), ", ")
    };
    words("Handshakes", &parts) + &words("Cookies", &cookies)
}

pub(super) fn worker(one: &WorkerReport) -> String {
    let core = one.core.map_or_else(|| "-".to_owned(), |core| core.to_string());
    let mut text = format!(
        "{:>6} {core:>4} {:>4.0}% {:>11} {:>9} {:>9} {:>5} {:>5} {:>5} {:>7}\n",
        one.worker,
        one.busy * 100.0,
        one.connections,
        one.half_open,
        one.time_wait,
        short(one.frames_in_per_second),
        short(one.frames_out_per_second),
        short(one.opened_per_second),
        octets(one.memory),
    );
    let mut parts = Vec::new();
    if let (Some(p50), Some(p99)) = (one.batch_p50_us, one.batch_p99_us) {
        let frames = short(one.frames_per_batch);
        parts.push(format!("batches up to {} (half), {} (99 %), {frames} frames each", micros(p50), micros(p99)));
    }
    parts.push(format!("{} turns", short(one.turns as f64)));
    parts.push(format!("{} commands", short(one.commands as f64)));
    text += &wrapped(4, parts, ", ");
    one.queues.iter().for_each(|it| text += &queue(it));
    text
}

fn queue(one: &QueueReport) -> String {
    let mut parts = vec![
        format!("{} queue {}", one.interface, one.queue),
        format!("{} in", short(one.received as f64)),
        format!("{} out", short(one.transmitted as f64)),
        format!(
            "frames {}: pool {}, fill {}, transmit {}, stack {}",
            one.frames, one.frames_free, one.frames_in_fill, one.frames_in_transmit, one.frames_held
        ),
    ];
    let counts = [
        ("receive ring full", one.receive_ring_full),
        ("fill ring empty", one.fill_ring_empty),
        ("no frames", one.no_frames),
    ];
    parts.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")));
    if one.link_down {
        parts.push("LINK DOWN".to_owned());
    }
    wrapped(4, parts, ", ")
}

pub(super) fn refused(one: &DropReport) -> String {
    let mut text = format!("{:<5} {:<25} {:>10} {:>12}\n", one.layer, one.reason, one.total, short(one.per_second));
    text += &paragraph("", 4, &one.meaning);
    if let Some(example) = &one.example {
        let said = format!("{} ago, worker {}: {}", millis(example.ago_ms), example.worker, example.text);
        text += &paragraph("", 4, &said);
        // 32 octets a line.
        for line in example.hex.as_bytes().chunks(64) {
            let _ = writeln!(text, "      {}", String::from_utf8_lossy(line));
        }
    }
    text
}

pub(super) fn neighbour(one: &NeighbourReport) -> String {
    let station = one.station.as_deref().unwrap_or("-");
    let ago = one.answered_ms_ago.map(|ago| format!(", {} ago", millis(ago))).unwrap_or_default();
    let waiting = if one.waiting > 0 { format!(", {} wait", one.waiting) } else { String::new() };
    let address = one.address.to_string();
    format!("{:>6} {:<9} {address:<20} {station:<18} {}{ago}{waiting}\n", one.worker, one.interface, one.state)
}
