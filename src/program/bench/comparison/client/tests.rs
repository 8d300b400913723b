use super::*;

fn job(mode: Mode, connections: u32) -> Job<'static> {
    Job {
        program: Path::new("xskip"),
        core: 1,
        target: "198.18.0.1:80".parse().unwrap(),
        mode,
        request: "/bytes/5",
        connections,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_millis(2_500),
        spin: false,
    }
}

#[test]
fn a_job_is_typed_as_one_would_type_it() {
    let expected = "load --interface=veth0 --address=198.18.0.10/24 --addresses=1 --target=198.18.0.1:80 --connections=64 \
        --duration=2.5 --cores=1 --json=- --mode=keepalive --request=/bytes/5 --warmup=1";
    assert_eq!(job(Mode::KeepAlive, 64).arguments().join(" "), expected);
    let upload = Job { spin: true, ..job(Mode::Upload, 1) }.arguments().join(" ");
    let idle = job(Mode::Idle, 5).arguments().join(" ");
    assert!(idle.ends_with("--mode=idle"), "{idle}");
    assert!(upload.ends_with("--json=- --mode=bulk --direction=upload --warmup=1 --spin"), "{upload}");
}

#[test]
fn there_are_ports_for_all_and_addresses_that_are_no_others() {
    assert_eq!(Mode::Idle.addresses(1), 1);
    assert_eq!(Mode::Idle.addresses(60_001), 2);
    assert_eq!(Mode::Connect.addresses(64), 32);
    let most = Mode::Idle.addresses(10_000_000);
    let last = u32::from(FIRST_ADDRESS) + most - 1;
    assert!(Ipv4Addr::from(last) < Ipv4Addr::new(198, 18, 0, 254), "the kernel's on the server's side");
}

#[test]
fn figures_are_read_as_far_as_they_are_there() {
    let figures = Figures::parse(
        br#"{"mode": "keepalive", "per_second": 1000, "failed": {"reset": 2}, "failed_total": 2, "established": 64,
            "latency_us": {"p50": 10.5, "p90": 11, "p99": 20, "p999": 30.25, "max": 40, "mean": 12}, "handshake_us": null}"#,
    )
    .unwrap();
    assert_eq!((figures.per_second, figures.failed_total), (Some(1_000.0), Some(2.0)));
    let latency = figures.latency();
    assert_eq!((latency.p50, latency.p99, latency.p999), (Some(10.5), Some(20.0), Some(30.25)));
    assert_eq!(figures.handshake().p50, None);
    assert_eq!(figures.download_gbit_per_second, None);
    for bad in ["", "no figures", "[1]", r#"{"per_second": "many"}"#] {
        let said = Figures::parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(said.starts_with("xskip load said what is no JSON of its figures"), "{said}");
    }
}
