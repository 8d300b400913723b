//! A balancer of many kinds of services, the program that does the same, and what must be alike.

use super::{
    common::frames::OURS,
    cookies::{self, Cookies},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use xskip::{
    lb::{
        Arrival, Backend, BackendId, Balancer, Census, Flow, Forwarded, Fragments, Health, Limits, Maglev, Mode,
        NatFlow, NatMemory, NatSettings, NatWindows, OnUnhealthy, Placement, RowCount, RowKey, Service, State,
        SynProxy, Tick, Way, WhenAllDown,
    },
    rng::{SipKey, splitmix64},
    time::Instant,
    transport::Transport,
    wire::{FourTuple, MacAddress},
    xdp::{self, Balance, BalanceOptions, Program, ProgramOptions, Steering, Tables},
};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

pub const VIP_V4: &str = "198.18.0.80";
pub const VIP_V6: &str = "2001:2::80";
/// Those of services that are balanced by addresses alone, which share theirs with no other.
pub const ADDRESS_V4: &str = "198.18.0.81";
pub const ADDRESS_V6: &str = "2001:2::81";
pub const REST_V4: &str = "198.18.0.90";

/// Ports of the services.
pub const DSR: u16 = 443;
pub const IPIP: u16 = 444;
pub const GUE: u16 = 445;
pub const BY_ADDRESS: u16 = 446;
pub const OPEN: u16 = 447;
pub const RESET: u16 = 448;
pub const UDP: u16 = 53;
pub const NAT: u16 = 449;
pub const NAT_UDP: u16 = 54;
pub const COOKIE: u16 = 450;
pub const COOKIE_GUE: u16 = 451;

/// Where packets of flows that are rewritten come from.
pub const SOURCES: [&str; 3] = ["198.19.0.201", "198.19.0.202", "2001:2:0:1::c9"];

/// The interface that frames come by here, loopback, and the CPU they are judged on.
pub const ARRIVAL: Arrival = Arrival { vlan: None, interface: 1, cpu: 0 };

pub struct Scene {
    pub model: Balancer,
    pub balance: Balance,
    pub flows: NatMemory,
    program: Program,
    services: Vec<Service>,
    cookies: Cookies,
}

/// All of the stack's own.
fn own() -> Vec<IpAddr> {
    let vips = [VIP_V4, VIP_V6, ADDRESS_V4, ADDRESS_V6, REST_V4];
    vips.into_iter().chain(SOURCES).map(|own| own.parse().unwrap()).collect()
}

fn maglev(key: &RowKey) -> Arc<dyn Placement> {
    Arc::new(Maglev::new(key.of_placement()))
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Backends of both families, in turn.
fn backends(kind: &str, port: u16, mode: Mode, ipv6: bool) -> Vec<Backend> {
    let backend = |number: u16| {
        let far = mode != Mode::Dsr && number.is_multiple_of(2);
        let far = far && mode != Mode::Nat;
        let address = if ipv6 != far { format!("2001:2:0:1::{number:x}") } else { format!("198.19.0.{number}") };
        Backend::new(format!("{kind}-{number}"), at(&address, port))
    };
    (1..=6).map(backend).collect()
}

fn services(key: &RowKey) -> Vec<Service> {
    let placement = maglev(key);
    let mut all = Vec::new();
    for (family, vip) in [("", VIP_V4), ("six-", VIP_V6)] {
        let ipv6 = vip == VIP_V6;
        let mut add = |kind: &str, port: u16, mode: Mode| {
            let name = format!("{family}{kind}");
            let service = Service::tcp(&name, at(vip, port), Arc::clone(&placement));
            let service = Service { mode, rows: RowCount::new(1_021).unwrap(), ..service };
            all.push(service.with(backends(&name, port, mode, ipv6)));
            all.last_mut().unwrap().rows = RowCount::new(1_021).unwrap();
        };
        add("dsr", DSR, Mode::Dsr);
        add("cookie", COOKIE, Mode::Dsr);
        add("cookie-gue", COOKIE_GUE, Mode::Gue);
        add("ipip", IPIP, Mode::Ipip);
        add("gue", GUE, Mode::Gue);
        add("addr", BY_ADDRESS, Mode::Ipip);
        add("open", OPEN, Mode::Dsr);
        add("reset", RESET, Mode::Dsr);
        add("nat", NAT, Mode::Nat);
        add("nat-dns", NAT_UDP, Mode::Nat);
        add("dns", UDP, Mode::Gue);
        let count = all.len();
        all[count - 6].fragments = Fragments::ByAddress;
        all[count - 6].address = if ipv6 { ADDRESS_V6 } else { ADDRESS_V4 }.parse().unwrap();
        all[count - 5].when_all_down = WhenAllDown::Open;
        all[count - 4].on_unhealthy = OnUnhealthy::Reset;
        all[count - 2].transport = Transport::Udp;
        all[count - 1].transport = Transport::Udp;
        all[count - 3].on_unhealthy = OnUnhealthy::Reset;
        for backend in &mut all[count - 3].backends {
            backend.address.port = 8_449;
        }
    }
    for service in all.iter_mut().filter(|service| cookies::has_them(service)) {
        service.syn_proxy = SynProxy::Always;
    }
    let rest = Service::tcp("rest", at(REST_V4, 0), placement);
    all.push(Service { rows: RowCount::new(1_021).unwrap(), ..rest }.with(backends("rest", 1, Mode::Dsr, false)));
    all
}

/// How each backend is reached, by what it is called: some are not.
fn way(balancer: &Balancer, id: BackendId) -> Option<Way> {
    let address = balancer.address(id)?.address;
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    let source = if address.is_ipv4() { "198.19.0.200" } else { "2001:2:0:1::c8" };
    (last != 5).then(|| Way {
        interface: 7 + u32::from(last % 2),
        next_hop: MacAddress([2, 0, 0, 0, 1, last]),
        ours: MacAddress([2, 0, 0, 0, 0, 0x10 + last % 2]),
        mtu: if last == 3 { 1_280 } else { 1_500 },
        source: source.parse().unwrap(),
    })
}

impl Scene {
    pub fn new() -> Self {
        Self::with(BalanceOptions { too_big_budget: u32::MAX, ..BalanceOptions::default() })
    }

    pub fn with_budget(too_big_budget: u32) -> Self {
        Self::with(BalanceOptions { too_big_budget, ..BalanceOptions::default() })
    }

    pub fn with_room_for(exceptions: usize) -> Self {
        let limits = Limits { exceptions, ..Limits::default() };
        Self::with(BalanceOptions { limits, ..BalanceOptions::default() })
    }

    fn with(options: BalanceOptions) -> Self {
        Self::with_flows(options, 4_096)
    }

    /// With room for so many flows that are rewritten.
    pub fn with_flows(options: BalanceOptions, flows: u32) -> Self {
        Self::with_table(options, flows, 2)
    }

    /// Likewise, with ports shared out to so many CPUs.
    pub fn with_table(options: BalanceOptions, flows: u32, share: u32) -> Self {
        let mut cpus = CpuSet::new();
        cpus.set(ARRIVAL.cpu as usize).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
        let sources = SOURCES.map(|source| source.parse().unwrap());
        let nat = NatSettings::new(SipKey::from_seed(6), flows, share, &sources);
        let options = BalanceOptions { nat: Some(nat.clone()), ..options };
        let key = RowKey::new(SipKey::from_seed(3));
        let balance = Balance::new(&key, &options).unwrap();
        let steering = Steering { station: OURS.0, own: own(), impossible_sources: own(), ..Steering::default() };
        let loaded = Program::load_with(
            &steering,
            &ProgramOptions::default(),
            SipKey::from_seed(4),
            &Tables { balance: Some(&balance), splices: None },
        );
        let program = loaded.unwrap_or_else(|error| panic!("{error}"));
        let mut model = Balancer::new(key, options.limits);
        let cookies = Cookies::new(&program);
        model.answer_with(cookies::answering(own()));
        for source in sources {
            program.services().answer_clients(source, nat.number_of(source).unwrap()).unwrap();
        }
        let mut scene = Self { model, balance, flows: NatMemory::new(nat), program, services: services(&key), cookies };
        scene.configure();
        scene
    }

    pub fn now(&self) -> Instant {
        Instant::ZERO + Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap())
    }

    fn configure(&mut self) {
        let now = self.now();
        let plan = self.model.plan(self.services.clone(), now).unwrap();
        self.model.apply(&plan, now).unwrap();
        self.publish();
        for (id, service) in self.model.services() {
            let local = SocketAddr::new(service.address, service.port);
            let frames = xdp::Service { local, transport: service.transport };
            self.program.services().steer(frames, id.index() as u32, service.into()).unwrap();
        }
        self.promise();
    }

    /// Has SYNs answered as the model says from now on.
    fn promise(&mut self) {
        for service in self.services.iter().filter(|service| cookies::has_them(service)) {
            let (id, promise) = (self.model.service(&service.name).unwrap(), self.cookies.promise(&service.name));
            self.model.set_promise(id, promise);
            let frames = xdp::Service::tcp(SocketAddr::new(service.address, service.port));
            assert!(self.program.services().promise(frames, promise));
            assert_eq!(self.model.promise(id), promise);
        }
    }

    fn publish(&mut self) {
        let model = &self.model;
        self.balance.publish(model, &|id| way(model, id)).unwrap();
    }

    /// Tells the program for how long it may go on.
    pub fn last_for(&self, time: Duration) {
        self.balance.heartbeat().unwrap().last_for(time);
    }

    pub fn silence(&self) -> Duration {
        Limits::default().windows.silence
    }

    /// Has everything that the tables know be so much older.
    pub fn age(&mut self, by: Duration) {
        let ticks = (by.as_nanos() >> 30) as u16;
        let older = |bits: u64| {
            let row = xskip::lb::Row::from_bits(bits);
            let heard = xskip::lb::Tick::new(row.heard.get().wrapping_sub(ticks));
            xskip::lb::Row { heard, ..row }.to_bits()
        };
        // From what the program has written.
        self.balance.learn(&mut self.model).unwrap();
        let services: Vec<_> = self.model.services().map(|(id, _)| id).collect();
        for id in services {
            let rows: Vec<u64> = self.model.rows(id).unwrap().iter().map(|&bits| older(bits)).collect();
            self.model.learn_rows(id, &rows);
        }
        self.publish();
    }

    pub fn set_state(&mut self, name: &str, state: State) {
        let mut all = self.services.iter_mut().flat_map(|service| &mut service.backends);
        all.find(|backend| backend.name == name).unwrap().state = state;
        self.configure();
    }

    pub fn set_health(&mut self, name: &str, health: Health) {
        let now = self.now();
        let ids: Vec<_> = self.model.services().map(|(id, _)| id).collect();
        for service in ids {
            if let Some(id) = self.model.backend(service, name) {
                self.model.set_health(id, health, now);
            }
        }
        self.publish();
    }

    /// Changes something, as the number says.
    pub fn churn(&mut self, number: u64) {
        let count = self.services.len();
        let service = &mut self.services[number as usize % count];
        let name = service.name.clone();
        let chance = splitmix64(number);
        let backend = &mut service.backends[chance as usize % 6];
        let its_name = backend.name.clone();
        if name.contains("cookie") && chance >> 48 & 3 == 0 {
            self.cookies.promise_otherwise(&name, chance >> 50);
            return self.promise();
        }
        match chance >> 32 & 15 {
            0 => backend.state = State::Drain { until: Instant::NEVER },
            1 => backend.state = State::Off,
            2 => backend.weight = 50 + (chance >> 40) as u32 % 100,
            3 | 4 | 8 | 9 => return self.set_health(&its_name, Health::Down),
            5 | 10 => return self.set_health(&its_name, Health::Up),
            it if it == 6 || it >= 11 && name.ends_with("open") => {
                // All of its backends have to be down before `open` shows, which is rare enough.
                let is_down = name.ends_with("open") || chance >> 40 & 1 == 0;
                let health = if is_down { Health::Down } else { Health::Up };
                return (1..=6).for_each(|number| self.set_health(&format!("{name}-{number}"), health));
            }
            7 => service.backends.iter_mut().for_each(|it| it.state = State::Drain { until: Instant::NEVER }),
            _ => service.backends.iter_mut().for_each(|it| it.state = State::Serve),
        }
        self.configure();
    }

    /// Gives the first service another name.
    pub fn rename(&mut self, name: &str) {
        self.services[0].name = name.to_owned();
        self.configure();
    }

    /// New flows of each backend of a service, by its name.
    pub fn flows(&self, service: &str) -> Vec<u64> {
        let id = self.model.service(service).unwrap();
        self.model.backends(id).map(|(id, _)| self.balance.tally(id).unwrap().flows).collect()
    }

    /// Segments that were reset for each backend, if any were.
    pub fn resets(&self) -> BTreeMap<BackendId, u64> {
        let services = self.model.services();
        let backends = services.flat_map(|(id, _)| self.model.backends(id).map(|(id, _)| id));
        let resets = backends.map(|id| (id, self.balance.tally(id).unwrap().resets));
        resets.filter(|&(_, count)| count > 0).collect()
    }

    /// Pins so many flows of the first service to one of its backends; how many the program's map has then.
    pub fn pin(&mut self, count: u32) -> usize {
        let (service, now) = (self.model.service("dsr").unwrap(), self.now());
        let backend = self.model.backend(service, "dsr-1").unwrap();
        let local: SocketAddr = at(VIP_V4, DSR);
        for number in 0..count {
            let remote = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number), 40_000));
            let tuple = FourTuple { local: local.into(), remote: remote.into() };
            assert!(self.model.pin(&Flow { transport: Transport::Tcp, tuple }, backend, now));
        }
        self.publish();
        self.balance.learn(&mut self.model).unwrap();
        self.model.entries().count()
    }

    /// What the program makes of a frame.
    pub fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.program.test_run(frame).unwrap()
    }

    /// Lets both judge a frame, and compares.
    #[track_caller]
    pub fn check(&mut self, number: usize, frame: &[u8]) -> Forwarded {
        let now = self.now();
        self.cookies.follow(&self.program, now);
        // The way is asked for by what the model knew before: nothing that a frame does changes it.
        let ways: BTreeMap<BackendId, Way> = self.ways();
        let forwarded = self.model.translate(self.flows.table(), frame, ARRIVAL, |id| ways.get(&id).copied(), now);
        let (action, output) = self.run(frame);
        let (actions, expected): (&[u32], &[u8]) = match &forwarded {
            // The kernel's, or the stack's, which has no socket here.
            Forwarded::NotOurs => (&[XDP_PASS, XDP_DROP], frame),
            Forwarded::Sent { frame, .. } => (&[XDP_REDIRECT], frame),
            Forwarded::Told(frame) | Forwarded::Answered { frame, .. } | Forwarded::SynAck { frame, .. } => {
                (&[XDP_TX], frame)
            }
            _ => (&[XDP_DROP], &output),
        };
        assert!(actions.contains(&action), "frame {number}: action {action}, but {forwarded:?}: {frame:02x?}");
        assert!(expected == output, "frame {number}: {frame:02x?}\nmodel   {forwarded:02x?}\nprogram {output:02x?}");
        forwarded
    }

    fn ways(&self) -> BTreeMap<BackendId, Way> {
        let ids = self
            .model
            .services()
            .flat_map(|(service, _)| self.model.slots(service).map(move |(number, _)| (service, number)));
        ids.filter_map(|(service, number)| {
            let id = BackendId { service, number };
            Some((id, way(&self.model, id)?))
        })
        .collect()
    }

    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.program.outcomes().unwrap().iter().filter(|&(_, count)| count > 0).collect()
    }

    /// Where frames go, by name.
    pub fn backends_of(&mut self, frames: &[Vec<u8>]) -> Vec<Option<String>> {
        let mut names = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let forwarded = self.check(number, frame);
            let Forwarded::Sent { backend, .. } = forwarded else {
                names.push(None);
                continue;
            };
            names.push(self.model.name(backend).map(str::to_owned));
        }
        names
    }

    /// One of the flows that are rewritten, as the number says.
    pub fn flow(&self, number: u64) -> Option<NatFlow> {
        let table = self.flows.table();
        let flows = table.settings().flows();
        (0..flows).find_map(|step| table.get((number as u32).wrapping_add(step) % flows))
    }

    /// A client's flow, as the program has it.
    pub fn flow_of(&self, client: IpAddr) -> Option<NatFlow> {
        let table = self.balance.nat().unwrap();
        let mut flows = (0..table.settings().flows()).filter_map(|number| table.get(number));
        flows.find(|flow| flow.client.address == client)
    }

    /// The flows that are rewritten are the same to both, but for a second or two in when they were heard of.
    pub fn check_flows(&self) -> usize {
        let (programs, models) = (self.balance.nat().unwrap(), self.flows.table());
        let mut count = 0;
        for number in 0..models.settings().flows() {
            let (theirs, ours) = (programs.get(number), models.get(number));
            if let (Some(theirs), Some(ours)) = (&theirs, &ours) {
                assert!(!theirs.heard.is_beyond(ours.heard, 2) && !ours.heard.is_beyond(theirs.heard, 2));
                assert_eq!(NatFlow { heard: ours.heard, ..*theirs }, *ours);
                count += 1;
            } else {
                assert_eq!(theirs, ours, "flow {number}");
            }
        }
        count
    }

    /// Ends what has been silent for so many ticks more than it has, in both tables; how many flows that are.
    pub fn sweep(&self, more: u16) -> u64 {
        let tick = Tick::new(Tick::of(self.now()).get().wrapping_add(more));
        let [theirs, ours] = [self.balance.nat().unwrap(), self.flows.table()].map(|table| {
            let mut census = Census::default();
            table.sweep(0..table.sets(), tick, &NatWindows::default().in_ticks(), &mut census);
            census
        });
        assert_eq!(theirs, ours);
        ours.ended
    }

    /// What both remember is the same, but for a second or two in what was heard when.
    pub fn check_memory(&mut self) {
        let now = self.now();
        let mut other = Balancer::new(RowKey::new(SipKey::from_seed(3)), Limits::default());
        let plan = other.plan(self.services.clone(), now).unwrap();
        other.apply(&plan, now).unwrap();
        self.balance.learn(&mut other).unwrap();
        let told = |balancer: &Balancer| {
            let entries = balancer.entries();
            entries.map(|(hash, entry)| (hash.get(), entry)).collect::<BTreeMap<u64, xskip::lb::Entry>>()
        };
        let (programs, models) = (told(&other), told(&self.model));
        let is_like = |one: &xskip::lb::Entry, other: &xskip::lb::Entry| {
            let is_near = |one: xskip::lb::Tick, other| !one.is_beyond(other, 2);
            let timed = xskip::lb::Entry { heard: other.heard, asked: other.asked, ..*one };
            timed == *other
                && is_near(one.heard, other.heard)
                && is_near(other.heard, one.heard)
                && is_near(one.asked, other.asked)
                && is_near(other.asked, one.asked)
        };
        let differing = programs.iter().filter(|(hash, entry)| !models.get(*hash).is_some_and(|it| is_like(it, entry)));
        let differing: Vec<_> = differing.map(|(hash, entry)| (entry, models.get(hash))).collect();
        assert!(differing.is_empty() && programs.len() == models.len(), "{differing:#?}");
        assert!(!programs.is_empty());
    }
}
