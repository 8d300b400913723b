use super::*;
use crate::bench::report::{html, table};

const WORKS: [Work; 5] = [Work::Http, Work::ConnectRate, Work::Bulk, Work::Latency, Work::IdleConnections];

#[test]
fn every_scenario_is_found_by_its_name_and_leads_with_what_it_measures() {
    let names = ["http", "connect-rate", "bulk", "latency", "idle-connections"];
    assert_eq!(WORKS.map(|work| work.scenario().name), names);
    for scenario in Scenario::ALL {
        assert_eq!(Scenario::find(scenario.name).map(|found| found.title), Some(scenario.title));
        let known = |name: &str| scenario.metrics.iter().any(|metric| metric.name == name);
        assert!(
            !scenario.headlines.is_empty() && scenario.headlines.iter().all(|headline| known(headline.metric)),
            "{}",
            scenario.name
        );
    }
    for work in WORKS {
        assert!(work.connections() <= work.most_connections());
        for name in work.costs().into_iter().flatten() {
            assert!(work.scenario().metrics.iter().any(|metric| metric.name == name), "{name}");
        }
    }
}

#[test]
fn the_command_is_what_one_would_type() {
    let comparison = Comparison { spin: true, ..Comparison::new(Work::Http, "xskip") };
    let expected = "xskip bench http --duration 10 --rounds 3 --contenders xskip,kernel --connections 64 --spin";
    assert_eq!(comparison.command(), expected);
    let comparison = Comparison { mtu: 3_000, rounds: 1, ..Comparison::new(Work::Bulk, "xskip") };
    assert!(comparison.command().ends_with("--rounds 1 --contenders xskip,kernel --connections 1 --mtu 3000"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |change: fn(&mut Comparison)| {
        let mut comparison = Comparison::new(Work::Latency, "xskip");
        change(&mut comparison);
        comparison.check()
    };
    assert!(check(|_| ()).is_ok());
    let error = check(|comparison| comparison.contenders.push(Contender::NftSynproxy)).unwrap_err();
    assert_eq!(error.to_string(), "nft-synproxy is no contender of latency: name xskip, kernel");
    let error = check(|comparison| comparison.connections = 0).unwrap_err();
    assert_eq!(error.to_string(), "latency cannot have 0 connections: ask for 1 to 60000");
    assert!(check(|comparison| comparison.connections = 60_001).is_err());
}

#[test]
fn costs_are_shares_of_cores_over_the_rate() {
    let usage =
        Usage { server_core: 0.9, server_softirq: 0.2, server_process: 0.8, client_core: 1.0, client_softirq: 0.1 };
    let names = Work::Http.costs().unwrap();
    let mut metrics = Metrics::default();
    set_costs(&mut metrics, names, Some(usage), Some(100_000.0));
    let values: Vec<_> = names.iter().map(|name| (metrics.get(name).unwrap() * 1e6).round() / 1e6).collect();
    assert_eq!(values, [10.0, 9.0, 1.0, 8.0, 2.0]);
    set_costs(&mut metrics, names, Some(usage), Some(0.0));
    assert_eq!(metrics.get(names[0]), None, "nothing was served, so nothing has a price");
    set_costs(&mut metrics, names, None, Some(1.0));
    assert_eq!(metrics.get(names[0]), None);
}

#[test]
fn a_report_says_what_was_measured_and_how() {
    let round = |rate: f64, cost: f64| {
        let mut metrics = Metrics::default();
        metrics.set("requests_per_second", rate);
        metrics.set("latency_us_p99", 64e6 / rate);
        metrics.set("server_cpu_us_per_request", cost);
        metrics
    };
    let comparison = Comparison::new(Work::Http, "xskip");
    let placement = Placement { server: 0, clients: 1 };
    let results = vec![
        Results::new("xskip", vec![round(400e3, 2.5), round(500e3, 2.0)]),
        Results::new("kernel", vec![round(100e3, 10.0), round(100e3, 10.0)]),
    ];
    let mut report = Report::new(comparison.work.scenario(), results);
    report.notes = comparison.notes(placement);
    report.placement = comparison.describe(placement);
    let text = table(&report);
    for piece in
        ["http: medians of 2 rounds", "450,000/s", "xskip / kernel: 4.50× (4.00× to 5.00×)", "2.25 µs", "0.23×"]
    {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    let page = html(&report);
    assert_eq!(page.matches("<svg").count(), 3, "a chart for each headline");
    for piece in
        ["<title>Requests on connections that stay</title>", "server&#39;s CPU time a request", "neither contender"]
    {
        assert!(page.contains(piece), "{piece}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ratios"]["xskip/kernel"]["server_cpu_us_per_request"]["median"], 0.225);
    assert!(json["contenders"][0].get("curves").is_none());
}

#[test]
fn notes_tell_what_the_work_has_to_do_with() {
    let notes = |work, clients| Comparison::new(work, "xskip").notes(Placement { server: 0, clients }).join("\n");
    assert!(notes(Work::IdleConnections, 1).contains("slabs"));
    assert!(notes(Work::Bulk, 1).contains("The MTU was 1500 bytes"));
    assert!(!notes(Work::Latency, 1).contains("CPU time"));
    assert!(notes(Work::Http, 0).contains("one core only"));
}
