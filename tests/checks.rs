//! Health checks of real hosts: a balancer and two backends on one bridge, each in a namespace of its own. Needs root.

#[path = "common/library.rs"]
mod common;

use common::is_root;
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use xskip::{
    Runtime,
    balancer::check::{Check, Checker, Http, Kind, News, Obstacle, Sources, Target},
    host::{
        netns::{Namespace, Registry},
        way::{NoWay, Way, Ways},
    },
    lb::{Backend, Balancer, Health, Limits, Maglev, Mode, Placement, RowKey, Service, State},
    rng::SipKey,
    runtime::{ReserveError, Running},
};

/// How long something may take that takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
const VIPS: [&str; 2] = ["198.18.0.80", "2001:2::80"];
/// The backends' own addresses, by number and IP version.
const BACKENDS: [[&str; 2]; 2] = [["198.18.0.11", "2001:2::11"], ["198.18.0.12", "2001:2::12"]];
const QUICK: Duration = Duration::from_millis(100);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A balancer's namespace and two backends', on a bridge in a fourth. They go when the value is dropped.
struct Site {
    /// The bridge's, the balancer's, and the backends'.
    namespaces: Vec<String>,
}

impl Site {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("checks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespaces: Vec<_> = ["bridge", "lb", "b0", "b1"].map(|part| format!("{name}-{part}")).into();
        let registry = Registry::lock().unwrap();
        namespaces.iter().for_each(|name| registry.create(name).unwrap());
        drop(registry);
        let site = Self { namespaces };
        site.ip(0, "link add br0 type bridge mcast_snooping 0");
        site.ip(0, "link set br0 up");
        for (number, hosts) in [(1, ["198.18.0.1", "2001:2::1"]), (2, BACKENDS[0]), (3, BACKENDS[1])] {
            let there = &site.namespaces[number];
            let queues = "numrxqueues 2 numtxqueues 2";
            site.ip(0, &format!("link add p{number} {queues} type veth peer eth0 netns {there} {queues}"));
            site.ip(0, &format!("link set p{number} master br0 up"));
            site.set(number, "net.ipv6.conf.eth0.accept_dad", "0");
            for (host, prefix) in hosts.iter().zip([24, 64]) {
                site.ip(number, &format!("address add {host}/{prefix} dev eth0"));
            }
            site.ip(number, "link set lo up");
            site.ip(number, "link set eth0 up");
        }
        for number in [2, 3] {
            // As whoever runs backends of such a balancer has it.
            site.set(number, "net.ipv4.conf.all.arp_ignore", "1");
            site.set(number, "net.ipv4.conf.all.arp_announce", "2");
            site.vips(number, "add");
        }
        site
    }

    fn vips(&self, number: usize, action: &str) {
        for (vip, prefix) in VIPS.iter().zip([32, 128]) {
            self.ip(number, &format!("address {action} {vip}/{prefix} dev lo"));
        }
    }

    #[track_caller]
    fn ip(&self, number: usize, arguments: &str) -> String {
        let name = &self.namespaces[number];
        let output = Command::new("ip").args(["-n", name]).args(arguments.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn set(&self, number: usize, name: &str, value: &str) {
        let setting = format!("{name}={value}");
        let namespace = self.namespace(number);
        let status = namespace.status(Command::new("sysctl").args(["-q", "-w", &setting])).unwrap();
        assert!(status.success(), "{setting}");
    }

    fn namespace(&self, number: usize) -> Namespace {
        Namespace::open(&self.namespaces[number]).unwrap()
    }

    /// A web server on a backend.
    fn serve(&self, number: usize) -> Web {
        let listener = self.namespace(number).run(|| TcpListener::bind("[::]:80").unwrap()).unwrap();
        Web::new(listener)
    }

    /// Runs a test on the balancer.
    fn balance(&self, test: impl FnOnce(&mut Lb) + Send) {
        self.namespace(1).run(|| test(&mut Lb::new())).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(registry) = Registry::lock() {
            self.namespaces.iter().for_each(|name| drop(registry.delete(name)));
        }
    }
}

/// A server of the kernel's TCP that answers with a status.
struct Web {
    status: Arc<AtomicU16>,
    /// How many requests were answered.
    answered: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    fn new(listener: TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let (status, answered) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU32::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let (shown, count, over) = (status.clone(), answered.clone(), is_over.clone());
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(answer(stream, shown.load(Ordering::Relaxed), &count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { status, answered, is_over, thread: Some(thread) }
    }

    fn say(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: TcpStream, status: u16, count: &AtomicU32) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut request, mut buffer) = (Vec::new(), [0; 1_024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend(&buffer[..length]),
        }
    }
    assert!(request.starts_with(b"GET /healthz HTTP/1.1\r\nHost: "), "{}", String::from_utf8_lossy(&request));
    let reason = if status == 503 { "Service Unavailable" } else { "As It May Be" };
    count.fetch_add(1, Ordering::Relaxed);
    write!(stream, "HTTP/1.1 {status} {reason}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}

/// The balancer, as far as checks go: it has the services' addresses, knows the ways and has workers.
struct Lb {
    running: Running,
    checker: Checker,
    sources: Sources,
    ways: Ways,
    news: HashMap<(String, String), News>,
}

impl Lb {
    fn new() -> Self {
        let checker = Checker::new(1, 64);
        let runtime = Runtime::on("eth0");
        let vips = VIPS.iter().zip([32, 128]).map(|(vip, prefix)| format!("{vip}/{prefix}").parse().unwrap());
        let runtime = vips.fold(runtime, |runtime, vip| runtime.address(vip));
        let running = runtime.start(checker.application()).unwrap();
        let ways = Ways::open().unwrap();
        Self { running, checker, sources: Sources::new(32), ways, news: HashMap::new() }
    }

    /// The ways to all of these, as soon as they are known.
    fn find_ways(&mut self, backends: &[IpAddr]) {
        self.ways.watch(backends);
        let patience = Instant::now() + PATIENCE;
        loop {
            self.ways.poll(Instant::now()).unwrap();
            if backends.iter().all(|&backend| matches!(self.ways.way(backend), Some(Ok(_)))) {
                return;
            }
            assert!(Instant::now() < patience, "no way to {backends:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is to be checked: the backend of this number at its address of that IP version, as one of a service's at the address of
    /// that version.
    fn target(&mut self, mode: Mode, backend: usize, of: usize, service: usize, kind: Kind) -> Target {
        let (vip, there) = (address(VIPS[service]), address(BACKENDS[backend][of]));
        let way = self.ways.way(there).unwrap().clone();
        Target {
            service: format!("web{service}"),
            backend: format!("b{backend}{of}"),
            check: Check { kind, interval: QUICK, timeout: 10 * QUICK, ..Check::default() },
            address: SocketAddr::new(vip, 80),
            route: self.sources.route(&self.running, vip, mode, there, &way),
            known: Health::Unknown,
            hand_over: None,
            counts: Arc::default(),
        }
    }

    fn check(&self, targets: &[Target]) {
        self.checker.check(targets, self.running.workers());
    }

    /// Waits until this is known of a backend. A busy machine may have been why a check failed before that.
    #[track_caller]
    fn wait(&mut self, name: &str, health: Health, why: Option<&str>) {
        let (service, backend) = name.split_once('/').unwrap();
        let name = (service.to_owned(), backend.to_owned());
        let patience = Instant::now() + PATIENCE;
        loop {
            self.hear();
            let is_it = |news: &News| (news.health, news.why.as_deref()) == (health, why);
            if self.news.get(&name).is_some_and(is_it) {
                return;
            }
            assert!(Instant::now() < patience, "{name:?}: waited in vain, {:?}", self.news.get(&name));
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn hear(&mut self) {
        for news in self.checker.news().try_iter() {
            self.news.insert((news.service.clone(), news.backend.clone()), news);
        }
    }

    fn health(&mut self, name: &str) -> Option<Health> {
        self.hear();
        let (service, backend) = name.split_once('/').unwrap();
        Some(self.news.get(&(service.to_owned(), backend.to_owned()))?.health)
    }

    /// Waits until `is_so`.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < patience, "{what}: waited in vain");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Connections, handshakes and entries in TIME-WAIT, on all workers.
    fn flows(&self) -> (u32, u32, u32) {
        let counts = self.running.workers().iter().map(|worker| worker.call(|cx| cx.stack().flow_counts()).unwrap());
        counts.fold((0, 0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2))
    }
}

fn http() -> Kind {
    Kind::Http(Http { path: "/healthz".to_owned(), ..Http::default() })
}

#[test]
fn a_backend_is_up_while_it_serves_and_down_when_it_does_not() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let (mut first, second) = (Some(site.serve(2)), site.serve(3));
    site.balance(|lb| {
        lb.find_ways(&BACKENDS.as_flattened().iter().map(|it| address(it)).collect::<Vec<_>>());
        let mut targets = Vec::new();
        for (backend, version) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            targets.push(lb.target(Mode::Dsr, backend, version, version, http()));
        }
        lb.check(&targets);
        for name in ["web0/b00", "web1/b01", "web0/b10", "web1/b11"] {
            lb.wait(name, Health::Up, None);
        }
        let (answered, counter) = (second.answered.load(Ordering::Relaxed), second.answered.clone());
        lb.until("checks go on", || counter.load(Ordering::Relaxed) > answered + 20);

        drop(first.take());
        lb.wait("web0/b00", Health::Down, Some("refused"));
        lb.wait("web1/b01", Health::Down, Some("refused"));
        first = Some(site.serve(2));
        lb.wait("web0/b00", Health::Up, None);
        lb.wait("web1/b01", Health::Up, None);

        // Both have the service's addresses: each is asked by itself all the same.
        second.say(503);
        lb.wait("web0/b10", Health::Down, Some("answered 503 Service Unavailable"));
        lb.wait("web1/b11", Health::Down, Some("answered 503 Service Unavailable"));
        second.say(302);
        lb.wait("web0/b10", Health::Up, None);
        lb.wait("web1/b11", Health::Up, None);
        assert_eq!([lb.health("web0/b00"), lb.health("web1/b01")], [Some(Health::Up); 2]);

        site.vips(2, "del");
        lb.wait("web0/b00", Health::Down, Some("timed out after 1s, before the connection was open"));
        lb.wait("web1/b01", Health::Down, Some("timed out after 1s, before the connection was open"));
        site.vips(2, "add");
        lb.wait("web0/b00", Health::Up, None);
        lb.wait("web1/b01", Health::Up, None);

        lb.check(&[]);
        lb.until("nothing is left over", || lb.flows().0 == 0);
        assert_eq!(lb.flows(), (0, 0, 0), "no port is kept by a TIME-WAIT of ours");
    });
    drop(first);
}

#[test]
fn a_listener_is_enough_for_who_asks_nothing_and_its_program_never_hears_of_it() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.namespace(2).run(|| TcpListener::bind("[::]:80").unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    site.balance(|lb| {
        lb.find_ways(&[address(BACKENDS[0][0])]);
        let targets = [lb.target(Mode::Dsr, 0, 0, 0, Kind::Tcp), lb.target(Mode::Dsr, 0, 0, 1, Kind::Tcp)];
        lb.check(&targets);
        // Of the other IP version than the backend's address, from an address of that.
        lb.wait("web0/b00", Health::Up, None);
        lb.wait("web1/b00", Health::Up, None);
        let begun = |lb: &Lb| {
            let stats = lb.running.workers().iter().map(|worker| worker.call(|cx| *cx.stats()).unwrap());
            stats.map(|stats| stats.connections_opened).sum::<u64>()
        };
        lb.until("there have been many checks", || begun(lb) > 20);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(listener);
        lb.wait("web0/b00", Health::Down, Some("refused"));
        lb.wait("web1/b00", Health::Down, Some("refused"));
    });
}

#[test]
fn what_checks_come_from_is_theirs_alone_while_they_need_it() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let web = site.serve(2);
    site.balance(|lb| {
        lb.find_ways(&[address(BACKENDS[0][0])]);
        let target = lb.target(Mode::Dsr, 0, 0, 0, http());
        let route = target.route.clone().unwrap();
        assert_eq!((route.source, route.ports.len()), (address("198.18.0.1"), 32));
        for &port in route.ports.iter() {
            let taken = TcpListener::bind(SocketAddr::new(route.source, port));
            assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        // The kernel's own connections from the same address go on beside them.
        lb.check(&[target]);
        lb.wait("web0/b00", Health::Up, None);
        let requests = (0..200).map(|_| TcpStream::connect((BACKENDS[0][0], 80)).unwrap().local_addr().unwrap().port());
        assert!(requests.into_iter().all(|port| !route.ports.contains(&port)));
        assert_eq!(lb.health("web0/b00"), Some(Health::Up));

        let refused = lb.running.reserve_ports(address(VIPS[0]), 1);
        assert!(matches!(refused, Err(ReserveError::NotShared(of)) if of == address(VIPS[0])), "{refused:?}");
        lb.check(&[]);
        lb.sources = Sources::new(1);
        for &port in route.ports.iter() {
            TcpListener::bind(SocketAddr::new(route.source, port)).unwrap();
        }
    });
    drop(web);
}

#[test]
fn what_keeps_checks_from_being_made_is_said() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.ip(1, "address del 2001:2::1/64 dev eth0");
    site.balance(|lb| {
        lb.find_ways(&[address(BACKENDS[0][0])]);
        let way = lb.ways.way(address(BACKENDS[0][0])).unwrap().clone().unwrap();
        let Lb { running, sources, .. } = lb;
        let mut route = |service: usize, way: Result<Way, NoWay>| {
            sources.route(running, address(VIPS[service]), Mode::Dsr, address(BACKENDS[0][0]), &way)
        };
        let uncheckable = |why: &str| Err(Obstacle::Uncheckable(why.to_owned()));
        let no_source = "no check can be made: eth0 has no IPv6 address that 2001:2::80 could be asked from; give it \
                         one with `ip address add`";
        assert_eq!(route(1, Ok(way.clone())), uncheckable(no_source));
        let elsewhere = "no check can be made: its way leaves by eth7, which this balancer does not serve";
        assert_eq!(route(0, Ok(Way { interface: "eth7".to_owned(), ..way.clone() })), uncheckable(elsewhere));
        let down = NoWay::LinkDown { interface: "eth0".to_owned() };
        assert_eq!(route(0, Err(down.clone())), Err(Obstacle::Unreachable(down.to_string())));
        let foreign = route(0, Ok(Way { source: address("198.18.0.99"), ..way.clone() }));
        assert!(matches!(&foreign, Err(Obstacle::Uncheckable(why)) if why.contains("198.18.0.99")), "{foreign:?}");
        let routed = route(0, Ok(Way { next_hop: address("198.18.0.254"), ..way.clone() }));
        assert!(
            matches!(&routed, Err(Obstacle::Unreachable(why)) if why.contains("router 198.18.0.254")),
            "{routed:?}"
        );
        assert!(route(0, Ok(way)).is_ok(), "and all the same it goes on");

        let name = ("web1".to_owned(), "b00".to_owned());
        let target = lb.target(Mode::Dsr, 0, 0, 1, Kind::Tcp);
        lb.check(&[target]);
        lb.wait("web1/b00", Health::Unknown, Some(no_source));
        assert_eq!(lb.news[&name].health, Health::Unknown);
    });
}

#[test]
fn what_is_checked_is_what_services_have() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let web = site.serve(2);
    site.balance(|lb| {
        lb.find_ways(&[address(BACKENDS[0][0])]);
        let key = RowKey::new(SipKey::from_seed(1));
        let maglev: Arc<dyn Placement> = Arc::new(Maglev::new(key.of_placement()));
        let backend = |name: &str, at: &str, state| {
            let backend = Backend::new(name, SocketAddr::new(address(at), 80));
            Backend { state, ..backend }
        };
        let [serving, off, unseen] = [
            backend("serving", BACKENDS[0][0], State::Serve),
            backend("off", BACKENDS[0][0], State::Off),
            backend("unseen", "198.18.0.99", State::Serve),
        ];
        let vip = |port| SocketAddr::new(address(VIPS[0]), port);
        let checked = Service::tcp("checked", vip(8_080), maglev.clone()).with([serving.clone(), off, unseen]);
        let unchecked = Service::tcp("unchecked", vip(8_081), maglev).with([serving]);
        let (mut balancer, now) = (Balancer::new(key, Limits::default()), xskip::time::Instant::ZERO);
        let plan = balancer.plan([checked, unchecked], now).unwrap();
        balancer.apply(&plan, now).unwrap();
        let id = balancer.service("checked").and_then(|id| balancer.backend(id, "serving")).unwrap();
        balancer.set_health(id, Health::Down, now);

        let check = Check { kind: http(), interval: QUICK, timeout: QUICK, ..Check::default() };
        let Lb { sources, running, ways, .. } = lb;
        let check_of = |service: &Service| (service.name == "checked").then(|| (check.clone(), 80));
        let targets = sources.targets(running, &balancer, ways, check_of);
        let [target] = &targets[..] else { panic!("{targets:?}") };
        assert_eq!((target.backend.as_str(), target.address, target.known), ("serving", vip(80), Health::Down));
        lb.check(&targets);
        lb.wait("checked/serving", Health::Up, None);
    });
    drop(web);
}

/// What a backend does where no program in its kernel takes packets out of tunnels: one in user space does, and hands them to the
/// kernel by a TUN device. It ends with the value.
struct Unwrapper(Child);

const UNWRAPPER: &str = r#"
import fcntl, os, socket, struct
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", b"inner", 0x1001)) # TUNSETIFF, IFF_TUN | IFF_NO_PI
os.system("ip link set inner up && sysctl -qw net.ipv4.conf.inner.rp_filter=0 net.ipv4.conf.all.rp_filter=0")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("ready", flush=True)
while True:
    packet, (_, kind, direction, *_) = wire.recvfrom(65535)
    if direction == socket.PACKET_OUTGOING or kind not in (0x800, 0x86dd):
        continue
    at, protocol = (20, packet[9]) if kind == 0x800 else (40, packet[6])
    if protocol == 17 and packet[at + 2:at + 4] == struct.pack("!H", 6080):
        at += 8
    elif protocol not in (4, 41):
        continue
    os.write(tun, packet[at:])
"#;

impl Unwrapper {
    fn new(site: &Site, number: usize) -> Self {
        let mut command = Command::new("python3");
        let child = site.namespace(number).spawn(command.args(["-c", UNWRAPPER]).stdout(Stdio::piped())).unwrap();
        let mut unwrapper = Self(child);
        let mut ready = [0; 6];
        unwrapper.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        unwrapper
    }
}

impl Drop for Unwrapper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn checks_go_through_tunnels_as_what_clients_send_does() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let (web, mut unwrapper) = (site.serve(2), Some(Unwrapper::new(&site, 2)));
    site.balance(|lb| {
        lb.find_ways(&BACKENDS[0].map(address));
        let mut names = Vec::new();
        for mode in [Mode::Ipip, Mode::Gue] {
            // Either service by either of the backend's addresses: four in four and six, and six in four and six.
            let mut targets = Vec::new();
            for (service, of) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let target = lb.target(mode, 0, of, service, http());
                let named = Target { service: format!("web{service}-{mode:?}"), ..target };
                names.push(format!("{}/{}", named.service, named.backend));
                targets.push(named);
            }
            lb.check(&targets);
            for name in &names[names.len() - 4..] {
                lb.wait(name, Health::Up, None);
            }
        }
        web.say(500);
        let last = names.split_off(4);
        for name in &last {
            lb.wait(name, Health::Down, Some("answered 500 As It May Be"));
        }
        web.say(200);
        for name in &last {
            lb.wait(name, Health::Up, None);
        }
        // The backend is there and serves, but takes nothing out of tunnels any more.
        unwrapper = None;
        for name in &last {
            lb.wait(name, Health::Down, Some("timed out after 1s, before the connection was open"));
        }
    });
    drop((web, unwrapper));
}
