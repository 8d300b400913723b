use crate::bench::{
    scenario::SYN_FLOOD,
    summary::{Curves, Machine, Metrics, Point, Ratio, Results, median, ratios},
};

use super::{figures, round, sample};

#[test]
fn medians() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![3.0]), Some(3.0));
    assert_eq!(median(vec![5.0, 1.0, 3.0]), Some(3.0));
    assert_eq!(median(vec![4.0, 1.0, 3.0, 100.0]), Some(3.5));
}

#[test]
fn medians_are_of_rounds_that_have_the_metric() {
    let mut without = Metrics::default();
    without.set("syn_ack_per_second", None);
    without.set("legit_failures", f64::NAN);
    let medians = Metrics::median(&[without, round(10.0, 2.0), Metrics::default(), round(20.0, 4.0)]);
    assert_eq!(medians.get("syn_ack_per_second"), Some(15.0));
    assert_eq!(medians.get("legit_failures"), Some(3.0));
    assert_eq!(medians.get("no such metric"), None);
}

#[test]
fn ratios_pair_the_rounds() {
    let contenders = [
        Results::new("xskip", vec![round(8.0, 1.0), round(9.0, 1.0), round(10.0, 1.0)]),
        // A round that failed, and no failures to divide by.
        Results::new("kernel", vec![round(2.0, 0.0), Metrics::default(), round(1.0, 0.0)]),
        Results::new("xdp-tx", vec![round(16.0, 0.0), round(18.0, 0.0), round(20.0, 0.0)]),
    ];
    let all = ratios(&contenders, SYN_FLOOD.baselines);
    let pairs: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(pairs, ["kernel/xdp-tx", "xdp-tx/kernel", "xskip/kernel", "xskip/xdp-tx"]);
    let ours = &all["xskip/kernel"];
    assert_eq!(ours["syn_ack_per_second"], Ratio { median: 7.0, min: 4.0, max: 10.0 });
    assert_eq!(ours["legit_attempts"], Ratio { median: 1.0, min: 1.0, max: 1.0 });
    assert!(!ours.contains_key("legit_failures"), "nothing is so many times nothing");
    let limit: Vec<_> = all["xskip/xdp-tx"].iter().collect();
    assert_eq!(limit, [(&"syn_ack_per_second", &Ratio { median: 0.5, min: 0.5, max: 0.5 })]);
}

#[test]
fn figures_become_metrics() {
    let mut metrics = Metrics::default();
    metrics.set_idle(&figures(10, 0));
    metrics.set_legit(&figures(200, 100));
    assert_eq!(metrics.get("idle_handshake_us_p50"), None, "no handshake, no time");
    assert_eq!(metrics.get("legit_attempts"), Some(200.0));
    assert_eq!(metrics.get("legit_failures"), Some(100.0));
    let p50 = metrics.get("legit_handshake_us_p50").expect("a time");
    assert!((p50 - 50.0).abs() < 0.1, "{p50}");
}

#[test]
fn curves_are_of_all_attempts_and_end_where_they_fail() {
    let curves = Curves::new(&figures(1000, 1000), &figures(1000, 600));
    assert_eq!(curves.idle.first().map(|point| point.0), Some(0.0));
    assert_eq!(curves.idle.last().map(|point| point.0), Some(99.9));
    let Point(share, time) = *curves.flood.last().expect("a curve");
    assert!((50.0..=60.0).contains(&share), "{share}");
    assert!((time - share * 10.0).abs() < 2.0, "the times are of that share of all attempts: {time} at {share}");
    assert_eq!(Curves::new(&figures(0, 0), &figures(5, 0)), Curves::default());
}

#[test]
fn the_json_is_what_others_read() {
    let json = serde_json::to_string_pretty(&sample()).expect("JSON");
    let golden = include_str!("golden.json").trim_end();
    assert_eq!(json, golden);
}

#[test]
fn the_machine_is_known() {
    let machine = Machine::read();
    assert!(machine.cores > 0);
    assert_ne!(machine.kernel, "unknown");
    assert_eq!(machine.xskip, env!("CARGO_PKG_VERSION"));
}
