//! Numbers and addresses, as short as a column wants them.

use std::{net::SocketAddr, time::Duration};

/// Steps of a thousand.
const STEPS: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// A number in five characters at most: `0`, `0.4`, `12`, `1.2k`, `345k`, `6.0M`. What is no number, or below none, is `0`.
pub(super) fn short(number: f64) -> String {
    let mut number = if number.is_finite() { number.max(0.0) } else { 0.0 };
    if number < 0.05 {
        return "0".to_owned();
    }
    let mut step = 0;
    // What would be rounded to a thousand is one of the next step.
    while number >= 999.5 && step + 1 < STEPS.len() {
        number /= 1_000.0;
        step += 1;
    }
    let is_whole = step == 0 && number.fract() == 0.0;
    if number >= 9.95 || is_whole {
        format!("{number:.0}{}", STEPS[step])
    } else {
        format!("{number:.1}{}", STEPS[step])
    }
}

/// A count, as [`short`] has it.
pub(super) fn count(number: u64) -> String {
    short(number as f64)
}

/// Octets, with their unit: `12 MB`.
pub(super) fn octets(number: u64) -> String {
    let short = count(number);
    let digits = short.trim_end_matches(|it: char| it.is_alphabetic());
    format!("{digits} {}B", &short[digits.len()..])
}

/// A time in six characters at most: `12 µs`, `1.2 ms`, `345 s`.
pub(super) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..999.5 => (micros, "µs"),
        ..999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    if value >= 9.95 || value.fract() == 0.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// How long something has lasted: `1:02:03`, or `5d 1:02:03`.
pub(super) fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    format!("{days}{hours}:{minutes:02}:{seconds:02}")
}

/// An address and its port in so many columns: what is too long loses its middle, never its port.
pub(super) fn address(of: SocketAddr, columns: usize) -> String {
    let whole = of.to_string();
    if whole.len() <= columns {
        return whole;
    }
    let port = whole.rfind(':').map_or("", |at| &whole[at..]);
    let host = &whole[..whole.len() - port.len()];
    let room = columns.saturating_sub(port.len() + 1);
    // Addresses are ASCII, so octets are columns. Their beginnings say more than their ends.
    let end = room / 3;
    format!("{}…{}{port}", &host[..room - end], &host[host.len() - end..])
}

/// The first columns of a text, marked where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).take(columns).collect()
}
