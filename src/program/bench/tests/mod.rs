mod legit;
mod report;
mod summary;

use super::{
    legit::LegitFigures,
    scenario::SYN_FLOOD,
    summary::{Curves, Machine, Metrics, Point, Report, Results, ratios},
};

/// A round in which so much was answered, and so many of 200 attempts failed.
fn round(answered: f64, failures: f64) -> Metrics {
    let mut round = Metrics::default();
    round.set("syn_ack_per_second", answered);
    round.set("legit_attempts", 200.0);
    round.set("legit_failures", failures);
    round
}

/// A report with three contenders, one of which could not run.
fn sample() -> Report {
    let curves = |end| Curves { idle: vec![Point(0.0, 40.0), Point(90.0, 60.0)], flood: vec![Point(0.0, 50.0), end] };
    let contenders = vec![
        Results::new("xskip", vec![round(3e6, 0.0), round(4e6, 0.0)]).with_curves(curves(Point(90.0, 80.0))),
        Results::new("kernel", vec![round(1e6, 100.0), round(5e5, 50.0)]).with_curves(curves(Point(50.0, 1_000_000.0))),
        Results::unavailable("nft-synproxy", "no <nft> & no \"luck\""),
    ];
    let machine = Machine { kernel: "6.18".to_owned(), cpu: "A CPU".to_owned(), cores: 2, xskip: "0.1.0".to_owned() };
    Report {
        scenario: "syn-flood".to_owned(),
        rounds: 2,
        machine,
        ratios: ratios(&contenders, SYN_FLOOD.baselines),
        contenders,
        commands: vec!["xskip bench syn-flood --rounds 2".to_owned()],
        placement: vec!["core 0: server".to_owned()],
        notes: Vec::new(),
    }
}

/// Figures of so many attempts, of which so many had a handshake, of 1 µs, 2 µs and so on.
fn figures(attempts: u64, served: u64) -> LegitFigures {
    let mut figures = LegitFigures { attempts, failures: attempts - served, ..LegitFigures::default() };
    for microseconds in 1..=served {
        figures.handshake.record(microseconds * 1000).expect("in range");
    }
    figures
}
