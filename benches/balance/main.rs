//! How fast the XDP program forwards, beside a bare redirect over the same two veth pairs.
//!
//! `cargo bench --bench balance` measures it in a lab of its own, and needs root. A flood of random flows is sent, forwarded and
//! ended on core 1; nothing else runs there. Turns of two seconds alternate with the bare redirect's; what is told is the median of
//! the ratios of neighbours, and, from turns of their own, the program's time a packet as the kernel accounts it
//! (`kernel.bpf_stats_enabled`), which has a clock's two readings in it. Then come its time for one segment again and again, and mode
//! `nat`; `cargo bench --bench balance -- nat` measures that only, which takes seconds; `-- hold` has ten million flows open at a time, in
//! 2 GB; `-- splice` measures segments of pairs of connections.

mod hot;
mod nat;
mod splice;

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    bpf::{Redirector, Sink},
    flood::{Flood, FloodKind, FloodOptions},
    host::{
        Link,
        ethtool::{Ethtool, plain_wire},
    },
    lab::{INTERFACE, Lab, LabOptions},
    lb::{Backend, BackendId, Balancer, Limits, Maglev, Mode, RowKey, Service, State, Way},
    rng::SipKey,
    time,
    wire::MacAddress,
    xdp::{self, Balance, BalanceOptions, Program, ProgramOptions, Require, Steering, WayOut},
};

const PAIRS: usize = 9;
const TURN: Duration = Duration::from_secs(2);
const CORE: usize = 1;
/// Where packets go on to, from the server's side to the client's.
const BACK: &str = "back0";
const SETTING: &str = "/proc/sys/kernel/bpf_stats_enabled";

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: needs root, for a lab");
        return;
    }
    if env::args().any(|word| word == "nat") {
        return nat::compare();
    }
    if env::args().any(|word| word == "hold") {
        return nat::hold();
    }
    if env::args().any(|word| word == "splice") {
        return splice::compare();
    }
    let rig = Rig::new();
    println!("frames forwarded a second on one core, generator and sink included; the program's time a packet");
    println!("{:<34} {:>10} {:>8} {:>8} {:>8} {:>10}", "", "per second", "ratio", "least", "most", "ns a packet");
    let bare = rig.redirect_time();
    println!("{:<34} {:>10} {:>8} {:>8} {:>8} {:>10.0}", "bare redirect", rig.bare(), 1, "", "", bare);
    for (vip, ipv6) in [("198.18.0.80:443", false), ("[2001:2::80]:443", true)] {
        for mode in [Mode::Dsr, Mode::Ipip, Mode::Gue] {
            let name = format!("{mode}, IPv{}", if ipv6 { 6 } else { 4 });
            rig.compare(&name, FloodKind::Ack, &rig.publish(Tables::new(vip, mode, 10)));
        }
    }
    let vip = "198.18.0.80:443";
    rig.compare("dsr, SYNs", FloodKind::Syn, &rig.publish(Tables::new(vip, Mode::Dsr, 10)));
    let mut changing = Tables::new(vip, Mode::Dsr, 10);
    changing.drain_half();
    let changing = rig.publish(changing);
    rig.compare("dsr, half of the rows in transition", FloodKind::Ack, &changing);
    rig.compare("the same, SYNs that are remembered", FloodKind::Syn, &changing);
    for vip in ["198.18.0.80:443", "[2001:2::80]:443"] {
        let time = rig.hot(&rig.publish(Tables::new(vip, Mode::Dsr, 10)));
        println!("dsr to {vip}, one segment again and again: {time:?}");
    }
    nat::compare();
    splice::compare();
}

/// A lab with a second pair behind the server's side, where frames end.
struct Rig {
    lab: Lab,
    sink: Sink,
}

/// What is balanced.
struct Tables {
    target: SocketAddr,
    services: Vec<Service>,
    balancer: Balancer,
    balance: Balance,
}

fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(1))
}

fn uptime() -> time::Instant {
    let text = fs::read_to_string("/proc/uptime").expect("a clock");
    let seconds = text.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    time::Instant::ZERO + Duration::from_secs_f64(seconds)
}

impl Tables {
    fn new(vip: &str, mode: Mode, backends: u16) -> Self {
        let target: SocketAddr = vip.parse().expect("an address");
        let address = |number: u16| match target {
            SocketAddr::V4(_) => SocketAddr::from(([198, 18, 1, number as u8], 443)),
            SocketAddr::V6(_) => SocketAddr::from(([0x2001, 2, 0, 1, 0, 0, 0, number], 443)),
        };
        let backends = (1..=backends).map(|number| Backend::new(format!("web-{number}"), address(number)));
        let service = Service::tcp("web", target, Arc::new(Maglev::new(key().of_placement())));
        let services = vec![Service { mode, ..service }.with(backends)];
        let balance = Balance::new(&key(), &BalanceOptions::default()).expect("maps");
        let mut tables = Self { target, services, balancer: Balancer::new(key(), Limits::default()), balance };
        tables.apply();
        tables
    }

    fn apply(&mut self) {
        let plan = self.balancer.plan(self.services.clone(), uptime()).expect("good services");
        self.balancer.apply(&plan, uptime()).expect("a fresh plan");
    }

    fn drain_half(&mut self) {
        let backends = &mut self.services[0].backends;
        let half = backends.len() / 2;
        backends[..half].iter_mut().for_each(|it| it.state = State::Drain { until: time::Instant::NEVER });
        self.apply();
    }
}

impl Rig {
    fn new() -> Self {
        let name = format!("bench{}", process::id()).parse().expect("a name");
        let lab = Lab::temporary(&LabOptions { name, ..LabOptions::default() }).expect("a lab");
        let client = format!("{}-client", lab.name());
        let script = format!("ip link add {BACK} type veth peer name {BACK} netns {client}");
        let output = lab.server().command("bash").args(["-euc", &script]).output().expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for side in [lab.server(), lab.client()] {
            let plain = || Ethtool::open()?.set_features(&Link::find(BACK)?, plain_wire());
            side.run(plain).expect("a namespace").expect("a plain wire");
            side.command("ip").args(["link", "set", BACK, "up"]).output().expect("ip");
        }
        let mut sink = Sink::load().expect("a program");
        let attach = || sink.attach(BACK, Link::find(BACK).expect("a link").index, Require::Nothing);
        lab.client().run(attach).expect("a namespace").expect("a sink");
        Self { lab, sink }
    }

    fn link(&self, name: &str) -> Link {
        self.lab.server().run(|| Link::find(name)).expect("a namespace").expect("a link")
    }

    /// Frames that arrive in a turn of a flood, a second.
    fn rate(&self, kind: FloodKind, target: SocketAddr) -> f64 {
        let options = FloodOptions {
            core: Some(CORE),
            duration: TURN,
            target_mac: Some(self.link(INTERFACE).mac),
            ..FloodOptions::new(INTERFACE, target, kind)
        };
        let flood = self.lab.client().run(|| Flood::start(&options)).expect("a namespace").expect("a flood");
        thread::sleep(Duration::from_millis(200));
        let (begun, before) = (Instant::now(), self.sink.count().expect("a count"));
        thread::sleep(TURN - Duration::from_millis(400));
        let (span, count) = (begun.elapsed(), self.sink.count().expect("a count") - before);
        drop(flood);
        count as f64 / span.as_secs_f64()
    }

    fn with_redirect<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut redirector = Redirector::load(self.link(BACK).index).expect("a program");
        let index = self.link(INTERFACE).index;
        let attach = || redirector.attach(INTERFACE, index, Require::Nothing);
        self.lab.server().run(attach).expect("a namespace").expect("a redirect");
        act()
    }

    fn with_balancer<T>(&self, tables: &Tables, act: impl FnOnce(&Program) -> T) -> T {
        let steering = Steering { own: vec![tables.target.ip()], ..Steering::default() };
        let options = ProgramOptions::default();
        let mut program = Program::load_with(
            &steering,
            &options,
            SipKey::from_seed(2),
            &xdp::Tables { balance: Some(&tables.balance), splices: None },
        )
        .expect("a program");
        program.guard().set_way_out(WayOut::Redirect);
        let id = tables.balancer.service("web").expect("a service");
        let frames = xdp::Service { local: tables.target, transport: xdp::Transport::Tcp };
        program.services().balance(frames, id.index() as u32, false).expect("room");
        let index = self.link(INTERFACE).index;
        let attach = || program.attach(INTERFACE, index, Require::Nothing);
        self.lab.server().run(attach).expect("a namespace").expect("a balancer");
        act(&program)
    }

    fn publish(&self, mut tables: Tables) -> Tables {
        let back = self.link(BACK);
        let source = if tables.target.is_ipv4() { "198.18.1.200" } else { "2001:2:0:1::c8" };
        let way = Way {
            interface: back.index,
            next_hop: MacAddress([2, 0, 0, 0, 0, 9]),
            ours: MacAddress(back.mac),
            mtu: 1_500,
            source: source.parse().expect("an address"),
        };
        tables.balance.publish(&tables.balancer, &|_: BackendId| Some(way)).expect("room");
        tables
    }

    fn bare(&self) -> u64 {
        let target = "198.18.0.80:443".parse().expect("an address");
        self.with_redirect(|| self.rate(FloodKind::Ack, target)) as u64
    }

    fn compare(&self, name: &str, kind: FloodKind, tables: &Tables) {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let bare = self.with_redirect(|| self.rate(kind, tables.target));
            let ours = self.with_balancer(tables, |_| self.rate(kind, tables.target));
            pairs.push((ours / bare, ours));
        }
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (ratio, rate) = pairs[PAIRS / 2];
        let (least, most) = (pairs[0].0, pairs[PAIRS - 1].0);
        let time = self.with_balancer(tables, |_| timed("steer", || self.rate(kind, tables.target)));
        println!("{name:<34} {rate:>10.0} {ratio:>8.3} {least:>8.3} {most:>8.3} {time:>10.0}");
    }

    fn redirect_time(&self) -> f64 {
        let target = "198.18.0.80:443".parse().expect("an address");
        self.with_redirect(|| timed("redirect", || self.rate(FloodKind::Ack, target)))
    }
}

/// Nanoseconds a run of the program of this name takes while something happens.
fn timed<T>(name: &str, act: impl FnOnce() -> T) -> f64 {
    let before = fs::read_to_string(SETTING).expect("a setting");
    fs::write(SETTING, "1").expect("root");
    let earlier = runs(name);
    act();
    let later = runs(name);
    fs::write(SETTING, before).expect("root");
    let (mut time, mut count) = (0, 0);
    for (id, (nanos, runs)) in later {
        let (nanos_before, runs_before) = earlier.get(&id).copied().unwrap_or_default();
        time += nanos - nanos_before;
        count += runs - runs_before;
    }
    time as f64 / count.max(1) as f64
}

/// What the kernel has accounted of all programs of a name.
fn runs(name: &str) -> BTreeMap<u32, (u64, u64)> {
    let all = libbpf_rs::query::ProgInfoIter::default();
    let its = all.filter(|program| program.name.to_str() == Ok(name));
    its.map(|program| (program.id, (program.run_time_ns, program.run_cnt))).collect()
}
