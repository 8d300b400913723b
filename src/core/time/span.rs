//! Spans of time as they are typed and written: `500ms`, `2s`, `5m`, with decimals where the microsecond can tell them.

use std::time::Duration;

/// Units, the largest first, and how many microseconds they have.
const UNITS: [(&str, u64); 5] = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Reads a number with a unit behind it: h, m, s, ms or us. `None` where it is none, or finer than a microsecond.
pub fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let (_, micros) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    decimal(number, micros).map(Duration::from_micros)
}

/// Writes a span as [`parse`] reads it, in the largest unit of which it has a whole number. What is finer than a
/// microsecond is left out.
pub fn show(span: Duration) -> String {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let fits = |&(_, unit): &(&str, u64)| micros.is_multiple_of(unit);
    let (name, unit) = if micros == 0 { ("s", 1) } else { UNITS.into_iter().find(fits).unwrap_or(("us", 1)) };
    format!("{}{name}", micros / unit)
}

/// Reads a decimal number times `unit`; `None` where the unit cannot tell its last digits.
pub(crate) fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // Eighteen digits fit.
    if !is_number(whole) || !is_number(part) || whole.len() > 18 || part.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(part.len() as u32);
    let fraction = part.parse::<u64>().ok()?.checked_mul(unit)?;
    if fraction % scale != 0 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(fraction / scale)
}

/// The number and the unit of a quantity.
pub(crate) fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, micros) in [
            ("0s", 0),
            ("1us", 1),
            ("1500us", 1_500),
            ("500ms", 500_000),
            ("2s", 2_000_000),
            ("90s", 90_000_000),
            ("5m", 300_000_000),
            ("36h", 129_600_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_micros(micros)));
            assert_eq!(show(Duration::from_micros(micros)), text);
        }
        assert_eq!(parse("1.5m"), Some(Duration::from_secs(90)));
        assert_eq!(show(Duration::from_nanos(1_999)), "1us");
        assert_eq!(show(Duration::MAX), "18446744073709551615us");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "5", "s", "-5s", "5 s", "5S", "1.s", ".5s", "1e3s", "0.5us", "5d", "5m3s", "9999999999999999h"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
