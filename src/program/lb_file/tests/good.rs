//! Files with which nothing is wrong, and what they mean.

use super::{GOOD, changed, good};
use crate::{
    lb::{
        Backend, Balancer, Fragments, Limits, Mode, NatWindows, OnUnhealthy, Proxied, RowCount, RowKey, Source, State,
        WhenAllDown,
    },
    lb_file::{CONTROL, Check, CheckKind, Nat, PINS, PlacementKind, Placements, SynProxy, fields::KINDS},
    rng::SipKey,
    time::Instant,
    transport::Transport,
    wire::Endpoint,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Every key, each with another value than its default.
const EVERYTHING: &str = r#"
interfaces = ["front0", "back0"]
generation = 7
row_key_file = "/keys/row.key"
cookie_master_file = "cookie.key"
metrics = "[::1]:9920"
control = "lb.sock"
survive = "90s"
pins = "/run/bpf/lb"

[[service]]
name = "web"
address = "[2001:2::80]:443"
protocol = "tcp"
mode = "ipip"
syn_proxy = "off"
placement = "rendezvous"
rows = 4093
when_all_down = "open"
on_unhealthy = "drain"
unhealthy_drain = "90s"
fragments = "address"

[service.check]
kind = "http"
path = "/healthz?deep"
host = "www.example.org:8443"
port = 8080
interval = "500ms"
timeout = "250ms"
rise = 1
fall = 5

[[service.backend]]
name = "web-1"
address = "198.18.0.11:443"
weight = 10000
state = "serve"

[[service.backend]]
name = "web-2"
address = "2001:2::12"
weight = 0
state = "drain"

[[service.backend]]
name = "web-3"
address = "[2001:2::13]:443"
state = "off"
"#;

/// The file that people begin from.
const EXAMPLE: &str = include_str!("../../../../docs/lb.toml");

fn end(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

fn placements() -> Placements {
    Placements::new(&RowKey::new(SipKey::from_seed(1)))
}

#[test]
fn every_key_means_what_it_says() {
    let file = good(EVERYTHING);
    assert_eq!(file.name(), "lb.toml");
    assert_eq!(file.interfaces, ["front0", "back0"]);
    assert_eq!(file.generation, Some(7));
    assert_eq!(file.row_key_file, Path::new("/keys/row.key"));
    assert_eq!(file.cookie_master_file.as_deref(), Some(Path::new("/etc/xskip/cookie.key")));
    assert_eq!(file.metrics, Some("[::1]:9920".parse().unwrap()));
    assert_eq!(file.control, Path::new("/etc/xskip/lb.sock"));
    assert_eq!((file.survive, file.pins.as_path()), (Some(Duration::from_secs(90)), Path::new("/run/bpf/lb")));
    let [web] = &file.services[..] else { panic!("one service") };
    assert_eq!((web.name.as_str(), web.address, web.protocol), ("web", end("[2001:2::80]:443"), Transport::Tcp));
    assert_eq!((web.mode, web.syn_proxy, web.placement), (Mode::Ipip, SynProxy::Off, PlacementKind::Rendezvous));
    assert_eq!((web.rows, web.when_all_down), (RowCount::SMALL, WhenAllDown::Open));
    assert_eq!(web.on_unhealthy, OnUnhealthy::Drain(Duration::from_secs(90)));
    assert_eq!(web.fragments, Fragments::ByAddress);
    let kind = CheckKind::Http { path: "/healthz?deep".to_owned(), host: Some("www.example.org:8443".to_owned()) };
    let [interval, timeout] = [500, 250].map(Duration::from_millis);
    assert_eq!(web.check, Check { kind, port: 8080, interval, timeout, rise: 1, fall: 5 });
    let drain = State::Drain { until: Instant::NEVER };
    assert_eq!(
        web.backends,
        [
            Backend { weight: 10_000, ..Backend::new("web-1", end("198.18.0.11:443")) },
            Backend { weight: 0, state: drain, ..Backend::new("web-2", end("[2001:2::12]:443")) },
            Backend { state: State::Off, ..Backend::new("web-3", end("[2001:2::13]:443")) },
        ]
    );
}

#[test]
fn in_mode_nat_a_backend_has_a_port_of_its_own_and_packets_come_from_where_the_file_says() {
    let file = good(
        "interface = \"eth0\"\n[nat]\nsources = [\"198.18.0.5\"]\nflows = 1000\ndatagrams = \"30s\"\n\
        [[service]]\nname = \"web\"\naddress = \"198.18.0.80:443\"\nmode = \"nat\"\n\
        [[service.backend]]\nname = \"web-1\"\naddress = \"198.18.0.11:8443\"\n\
        [[service.backend]]\nname = \"web-2\"\naddress = \"198.18.0.12\"\n",
    );
    let windows = NatWindows { datagrams: Duration::from_secs(30), ..NatWindows::default() };
    assert_eq!(file.nat, Nat { sources: vec!["198.18.0.5".parse().unwrap()], flows: 1_000, windows });
    let ports: Vec<u16> = file.services[0].backends.iter().map(|it| it.address.port).collect();
    assert_eq!((file.services[0].mode, &ports[..]), (Mode::Nat, &[8_443, 443][..]));
}

#[test]
fn in_mode_proxy_a_service_says_what_becomes_of_connections() {
    let file = good(
        "interface = \"eth0\"\n[proxy]\nsources = [\"198.18.0.6\", \"2001:2::6\"]\nsplices = 5000\n\
        [[service]]\nname = \"shop\"\naddress = \"198.18.0.80:443\"\nmode = \"proxy\"\n\
        [service.proxy]\nserver_names = [\"Shop.Example.org.\", \"*.example.net\"]\nsend_header = \"v1\"\n\
        accept_header_from = [\"198.18.1.0/24\", \"2001:2::9\"]\nsource = \"client\"\nsplice = \"off\"\nfirst_timeout = \"5s\"\nconnect_timeout = \"1s\"\n\
        idle_timeout = \"2m\"\n\
        [[service.backend]]\nname = \"shop-1\"\naddress = \"198.18.0.11:8443\"\n\
        [[service]]\nname = \"rest\"\naddress = \"198.18.0.80:443\"\nmode = \"proxy\"\n\
        [[service.backend]]\nname = \"rest-1\"\naddress = \"198.18.0.12\"\n",
    );
    assert_eq!(file.proxy_sources, ["198.18.0.6", "2001:2::6"].map(|it| it.parse::<IpAddr>().unwrap()));
    assert_eq!(file.splices, Some(5_000));
    let prefix = |address: &str, length| (address.parse().unwrap(), length);
    let proxied = Proxied {
        server_names: ["shop.example.org", "*.example.net"].map(str::to_owned).to_vec(),
        send_header: Some(1),
        source: Source::Client,
        splice: false,
        trusted: vec![prefix("198.18.1.0", 24), prefix("2001:2::9", 128)],
        first: Duration::from_secs(5),
        connect: Duration::from_secs(1),
        idle: Duration::from_secs(120),
    };
    let [shop, rest] = &file.services[..] else { panic!("two services") };
    assert_eq!((shop.mode, &shop.proxied), (Mode::Proxy, &proxied));
    assert_eq!(shop.backends[0].address, end("198.18.0.11:8443"));
    assert_eq!((&rest.proxied, rest.backends[0].address.port), (&Proxied::default(), 443));
    assert!(shop.service(&placements()).proxied == proxied);
}

#[test]
fn the_example_has_every_key_and_each_at_its_default() {
    let (given, bare) = (good(EXAMPLE), good(&without_defaults(EXAMPLE)));
    assert_eq!(given.services.len(), 3);
    for (given, bare) in given.services.iter().zip(&bare.services) {
        assert_eq!((given.protocol, given.mode, given.placement), (bare.protocol, bare.mode, bare.placement));
        assert_eq!((given.rows, given.when_all_down, given.fragments), (bare.rows, bare.when_all_down, bare.fragments));
        assert_eq!((given.on_unhealthy, &given.check), (bare.on_unhealthy, &bare.check));
        assert_eq!((&given.backends, &given.proxied), (&bare.backends, &bare.proxied));
    }
    assert_eq!((&given.nat, given.nat.sources.len()), (&bare.nat, 2));
    assert_eq!((&given.proxy_sources, given.proxy_sources.len()), (&bare.proxy_sources, 2));
    assert_eq!((given.control, given.row_key_file), (bare.control, bare.row_key_file));
    assert_eq!((given.survive, given.pins), (bare.survive, bare.pins));
    for kind in KINDS {
        for key in kind.keys.iter().filter(|key| !["service", "check", "backend", "nat", "proxy"].contains(key)) {
            let is_there = EXAMPLE.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(is_there, "{} of {}", key, kind.head);
        }
    }
}

/// The example, but for the lines that say what is the default.
fn without_defaults(text: &str) -> String {
    text.lines().filter(|line| !line.contains("# default")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_is_left_out_has_a_sensible_value() {
    let file = good(
        "interface = \"eth0\"\n[[service]]\nname = \"web\"\naddress = \"198.18.0.80:443\"\n\
        [[service.backend]]\nname = \"web-1\"\naddress = \"198.18.0.11\"\n",
    );
    assert_eq!((file.generation, file.metrics, file.cookie_master_file), (None, None, None));
    assert_eq!((file.survive, file.pins.as_path()), (None, Path::new(PINS)));
    assert_eq!((file.interfaces, file.control.as_path()), (vec!["eth0".to_owned()], Path::new(CONTROL)));
    assert_eq!(file.row_key_file, Path::new("/etc/xskip/row.key"));
    let [web] = &file.services[..] else { panic!("one service") };
    assert_eq!((web.protocol, web.mode, web.syn_proxy), (Transport::Tcp, Mode::Dsr, SynProxy::Off));
    assert_eq!((web.placement, web.rows), (PlacementKind::Maglev, RowCount::DEFAULT));
    assert_eq!((web.when_all_down, web.on_unhealthy), (WhenAllDown::Closed, OnUnhealthy::Keep));
    assert_eq!(web.fragments, Fragments::Drop);
    let [interval, timeout] = [2, 1].map(Duration::from_secs);
    assert_eq!(web.check, Check { kind: CheckKind::Tcp, port: 443, interval, timeout, rise: 2, fall: 3 });
    assert_eq!(web.backends, [Backend::new("web-1", end("198.18.0.11:443"))]);
}

#[test]
fn words_and_their_defaults() {
    let web = |is: &str| good(&changed("mode = \"dsr\"", is)).services.remove(0);
    assert_eq!(web("mode = \"gue\"").mode, Mode::Gue);
    assert_eq!(web("on_unhealthy = \"reset\"").on_unhealthy, OnUnhealthy::Reset);
    assert_eq!(web("on_unhealthy = \"drain\"").on_unhealthy, OnUnhealthy::drain());
    assert_eq!(web("rows = 0xffF_1").rows.get(), 65_521);
    let checked = |is: &str| good(&changed("kind = \"http\"\npath = \"/healthz\"", is)).services.remove(0).check;
    assert_eq!(checked("kind = \"none\"\npath = \"/once\"").kind, CheckKind::None);
    assert_eq!(checked("kind = \"http\"").kind, CheckKind::Http { path: "/".to_owned(), host: None });
    let quick = checked("interval = \"0.5s\"");
    assert_eq!((quick.interval, quick.timeout), (Duration::from_millis(500), Duration::from_millis(500)));
}

#[test]
fn a_service_of_every_port_or_of_datagrams_is_checked_where_it_says() {
    let text = |address: &str, check: &str| {
        format!(
            "interface = \"eth0\"\n[[service]]\nname = \"any\"\n{address}\n{check}\n\
            [[service.backend]]\nname = \"a\"\naddress = \"198.18.0.11\"\n"
        )
    };
    for address in ["address = \"198.18.0.80:0\"", "address = \"198.18.0.80:53\"\nprotocol = \"udp\""] {
        assert_eq!(good(&text(address, "")).services[0].check.kind, CheckKind::None);
        let check = good(&text(address, "check = { port = 22 }")).services.remove(0).check;
        assert_eq!((check.kind, check.port), (CheckKind::Tcp, 22));
        assert_eq!(good(&text(address, "check = { kind = \"none\" }")).services[0].check.kind, CheckKind::None);
    }
    let any = good(&text("address = \"198.18.0.80:0\"", "")).services.remove(0);
    assert_eq!(any.backends[0].address, end("198.18.0.11:0"));
}

#[test]
fn a_mark_of_the_encoding_and_ends_of_line_of_windows_do_no_harm() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(good(&text).services.len(), 1);
    let said = super::read(&text.replace("interface", "intrface")).unwrap_err().to_string();
    let expected = "lb.toml:1:1: unknown key `intrface` at the top of the file; did you mean `interface`?\n    \
        intrface = \"eth0\"\n    ^^^^^^^^";
    assert_eq!(said, expected);
}

#[test]
fn a_balancer_takes_the_services_and_shares_tables_among_them_and_reloads() {
    let other = "[[service]]\nname = \"web-udp\"\naddress = \"198.18.0.80:443\"\nprotocol = \"udp\"\n";
    let backends = &GOOD[GOOD.find("[[service.backend]]").unwrap()..];
    let file = good(&format!("{GOOD}\n{other}\n{backends}"));
    let placements = placements();
    let mut balancer = Balancer::new(RowKey::new(SipKey::from_seed(1)), Limits::default());
    let plan = balancer.plan(file.services(&placements), Instant::ZERO).unwrap();
    balancer.apply(&plan, Instant::ZERO).unwrap();
    let table = |name| balancer.table(balancer.service(name).unwrap()).unwrap();
    assert_eq!(table("web"), table("web-udp"));
    assert!(
        balancer.plan(file.services(&placements), Instant::ZERO).unwrap().is_empty(),
        "the same file changes nothing"
    );
    let kind = PlacementKind::Rendezvous;
    assert!(Arc::ptr_eq(&placements.get(kind), &placements.clone().get(kind)));

    // What only a balancer that serves can say against a file has its place there, too.
    let file = good(&changed("mode = \"dsr\"", "rows = 4093"));
    let errors = balancer.plan(file.services(&placements), Instant::ZERO).unwrap_err();
    let said = file.faults(&errors).to_string();
    assert!(said.starts_with("lb.toml:3:1: the table of `web` has 65537 rows and keeps them"), "{said}");
}

#[test]
fn an_outline_says_who_gets_how_much() {
    let outline = good(GOOD).outline(&placements());
    let [web] = &outline.services[..] else { panic!("one service") };
    let rows: Vec<u32> = web.backends.iter().map(|backend| backend.rows).collect();
    assert_eq!(rows.iter().sum::<u32>(), 65_537);
    assert!(rows[0].abs_diff(2 * rows[1]) <= 2, "weights are 2 to 1: {rows:?}");
    let expected = "1 service on eth0\nweb  tcp 198.18.0.80:443  dsr, maglev, 65537 rows, check http, 2 backends\n  \
        web-1  198.18.0.11:443  serve  weight   100   66.67 %\n  \
        web-2  198.18.0.12:443  serve  weight    50   33.33 %";
    assert_eq!(outline.to_string(), expected);
    let json = serde_json::to_value(&outline).unwrap();
    assert_eq!(json["services"][0]["backends"][1]["address"], "198.18.0.12:443");
    assert_eq!(json["services"][0]["mode"], "dsr");

    let outline = good(EVERYTHING).outline(&placements());
    assert!(
        outline.to_string().starts_with("1 service on front0, back0, generation 7\nweb  tcp [2001:2::80]:443  ipip")
    );
    let shares: Vec<f64> = outline.services[0].backends.iter().map(|backend| backend.share).collect();
    assert_eq!(shares, [100.0, 0.0, 0.0], "who drains or is off gets none");
}
