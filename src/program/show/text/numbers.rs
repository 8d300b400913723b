//! Numbers in few letters.

/// A time in microseconds, in the unit that suits it.
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{}.{:02}ms", micros / 1_000, micros % 1_000 / 10),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ => millis(micros / 1_000),
    }
}

/// A time in milliseconds, in the unit that suits it.
pub(super) fn millis(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis % 1_000 / 100),
        10..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number in five letters or fewer: `99999`, `123k`, `4.5M`.
pub(super) fn short(number: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    if number < 99_999.5 {
        let tenths = (number * 10.0).round();
        return if tenths < 100.0 && tenths % 10.0 > 0.0 {
            format!("{:.1}", tenths / 10.0)
        } else {
            format!("{number:.0}")
        };
    }
    let (name, unit) = UNITS.into_iter().find(|(_, unit)| number >= *unit).unwrap_or(("", 1.0));
    let scaled = number / unit;
    if scaled < 9.95 { format!("{scaled:.1}{name}") } else { format!("{scaled:.0}{name}") }
}

/// Octets, in powers of 1,024.
pub(super) fn octets(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| octets >= *unit) {
        Some((name, unit)) => {
            let scaled = octets as f64 / unit as f64;
            if scaled < 9.95 { format!("{scaled:.1}{name}") } else { format!("{scaled:.0}{name}") }
        }
        None => format!("{octets}B"),
    }
}
