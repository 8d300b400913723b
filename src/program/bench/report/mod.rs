//! A report for people: a table for a terminal, and a page of HTML that explains itself.

mod html;
mod table;

use super::{
    scenario::{Scenario, Unit},
    summary::{Metrics, Ratio, Report},
    turns::Second,
};

pub use self::{html::html, table::table};

/// What is known of a report's scenario. One that is not known has nothing but its name, in the report.
fn scenario(report: &Report) -> &'static Scenario {
    const UNKNOWN: Scenario =
        Scenario { name: "", title: "", about: &[], metrics: &[], headlines: &[], baselines: &[], series: None };
    Scenario::find(&report.scenario).unwrap_or(&UNKNOWN)
}

/// A second of a bench, as a line for those who wait.
pub fn second(second: &Second) -> String {
    let Second { contender, flood, clients } = second;
    let flood = match flood {
        Some(counts) => format!("{} SYN-ACKs", thousands(counts.syn_acks as f64)),
        None => "at peace".to_owned(),
    };
    let time = |share| show(clients.handshake_us(share), Unit::Microseconds);
    format!(
        "{:<15} {flood:>18}; {} clients, {} failed; handshake {}, 99 % within {}",
        contender.to_string(),
        clients.attempts,
        clients.failures,
        time(0.5),
        time(0.99)
    )
}

/// What a turn brought in the figures that its scenario is about, as a line for those who wait.
pub fn measured(scenario: &Scenario, contender: &str, metrics: &Metrics) -> String {
    let headlines = scenario.headlines.iter().map(|headline| {
        let metric = scenario.describe(headline.metric);
        format!("{} {}", metric.label, show(metrics.get(metric.name), metric.unit))
    });
    format!("{contender:<15} {}", headlines.collect::<Vec<_>>().join("; "))
}

/// A number with its unit, as short as it is readable.
fn show(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match unit {
        Unit::Count => thousands(value),
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Kibibytes => format!("{} KiB", thousands(value)),
        Unit::Bytes => format!("{} B", thousands(value)),
        Unit::Gigabits => format!("{value:.2} Gbit/s"),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Milliseconds => format!("{} ms", thousands(value)),
        Unit::Microseconds if value < 10.0 => format!("{value:.2} µs"),
        Unit::Microseconds if value < 100.0 => format!("{value:.1} µs"),
        Unit::Microseconds if value < 10_000.0 => format!("{} µs", thousands(value)),
        Unit::Microseconds if value < 1e6 => format!("{:.1} ms", value / 1e3),
        Unit::Microseconds => format!("{:.2} s", value / 1e6),
    }
}

/// A whole number with its thousands set apart.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value.round() < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many times as much.
fn times(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{}×", thousands(value)),
        value if value >= 10.0 => format!("{value:.1}×"),
        value => format!("{value:.2}×"),
    }
}

/// A ratio with its range.
fn range(ratio: &Ratio) -> String {
    format!("{} ({} to {})", times(ratio.median), times(ratio.min), times(ratio.max))
}

/// A share as a percentage. Nothing but all is 100 %.
fn percent(share: f64) -> String {
    match share * 100.0 {
        all if share >= 1.0 => format!("{all:.0} %"),
        most if most > 99.9 => format!("{:.2} %", most.min(99.99)),
        some => format!("{some:.1} %"),
    }
}
