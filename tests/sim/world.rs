//! A server, its clients, and the wire between them, in virtual time.

use crate::{
    apps::App,
    dice::Dice,
    icmp,
    link::{Fate, Kind, Link},
    misbehaviour::{Change, Garbage, Rewriter, changed, marked},
    scenario::{Plan, Scenario},
    trace::Trace,
    watch::{Limits, Watch, client_of, stream_key},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hasher},
    net::IpAddr,
    time::Duration,
};
use xskip_core::{
    CloseReason,
    drops::DropReason,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    tcp::State,
    time::Instant,
    wire::{self, ChecksumPolicy, Endpoint, FourTuple, InterfaceId, LinkHeader, MacAddress, Packet, ParsedFrame},
};

/// Where the server listens.
pub const PORT: u16 = 7;
/// The server's place among the hosts; clients follow.
pub const SERVER: usize = 0;
/// Whoever guesses loses interest when no application has got any further for so long. That is longer than it takes to give up a
/// peer (R2), so whether garbage keeps a connection alive shows; and two ends that are rightly waiting for each other, after what
/// one of them was told wrongly, come to rest at last.
const DULL: Duration = Duration::from_secs(600);
/// The most a stack may say at once.
const MOST_AT_ONCE: u32 = 20_000;

/// A stack with its applications.
pub struct Host {
    /// The stack.
    pub stack: Stack,
    /// Its applications, ended ones too.
    pub apps: Vec<App>,
    limits: Limits,
    mac: MacAddress,
    /// How fine its clock is.
    tick: Duration,
    wakes_at: Option<Instant>,
}

impl Host {
    /// The time, as this host's clock shows it.
    fn clock(&self, now: Instant) -> Instant {
        let tick = self.tick.as_nanos() as u64;
        Instant::from_nanos(now.as_nanos() / tick * tick)
    }

    /// When its clock will show `deadline`.
    fn shows(&self, deadline: Instant) -> Instant {
        let tick = self.tick.as_nanos() as u64;
        Instant::from_nanos(deadline.as_nanos().div_ceil(tick) * tick)
    }
}

/// What is to happen.
enum SimEvent {
    Arrival { host: usize, frame: Vec<u8>, forged: bool },
    Wake(usize),
    Act { host: usize, app: usize },
    Connect(usize),
    Forge,
}

/// The whole.
pub struct World {
    /// The time.
    pub now: Instant,
    /// The server and its clients.
    pub hosts: Vec<Host>,
    /// What the clients send, and what they receive.
    pub links: [Link; 2],
    /// The onlooker.
    pub watch: Watch,
    /// What happened lately.
    pub trace: Trace,
    /// Who connects, when, and for what.
    pub plans: Vec<Plan>,
    /// The client's application of each plan, and the server's, by their place among their host's.
    pub ends: Vec<[Option<usize>; 2]>,
    /// Frames sent so far.
    pub frames: u64,
    /// Segments that were made up so far.
    pub forged: u64,
    /// What a stack that is broken does to each segment, before anybody sees it.
    pub broken_stack: Option<Change>,
    /// What a wire that is broken does to each segment, so that no checksum tells.
    pub broken_wire: Option<Change>,
    rewriters: [Rewriter; 2],
    garbage: Option<Garbage>,
    /// When an application got further,
    last_progress: Instant,
    /// and whether whoever guesses waits for that.
    is_dull: bool,
    /// The last frame each way: what is forged is made from it.
    models: [Vec<u8>; 2],
    dice: Dice,
    queue: BTreeMap<(Instant, u64), SimEvent>,
    planned: u64,
    by_client: HashMap<Endpoint, usize>,
    /// Whether the server may reset whom it likes,
    is_tight: bool,
    /// and whom it has reset before anybody heard of him.
    unheard: HashSet<(usize, ConnectionId)>,
    addresses: Vec<IpAddr>,
    hasher: DefaultHasher,
    buffer: Vec<u8>,
}

impl World {
    /// The world as it stands before anything happens.
    pub fn new(scenario: &Scenario) -> Self {
        let addresses: Vec<IpAddr> = (0..scenario.hosts.len()).map(|host| address(host, scenario.ipv6)).collect();
        let hosts = scenario.hosts.iter().enumerate().map(|(number, plan)| {
            let cidr = format!("{}/{}", addresses[number], if scenario.ipv6 { 64 } else { 16 });
            let local = LocalAddress { cidr: cidr.parse().expect("a host's address"), ownership: Ownership::Own };
            let secrets = Secrets::from_seed(scenario.seed.wrapping_add(number as u64));
            let mac = MacAddress([2, 0, 0, 0, 0, number as u8 + 1]);
            let mut config = plan.config.clone();
            config.tcp.clock_tick = plan.tick;
            let mut stack = Stack::new(config, mac, vec![local], secrets);
            if number == SERVER {
                stack.listen(None, PORT).unwrap();
                stack.set_syn_mode(scenario.syn_mode);
            }
            let tcp = &plan.config.tcp;
            let limits = Limits { mtu: tcp.mtu, receive_buffer: tcp.receive_buffer };
            Host { stack, apps: Vec::new(), limits, mac, tick: plan.tick, wakes_at: None }
        });
        let dice = |part| Dice::new(scenario.seed, part);
        let mut world = Self {
            now: Instant::ZERO,
            hosts: hosts.collect(),
            links: [Link::new(scenario.wires[0].clone(), dice(1)), Link::new(scenario.wires[1].clone(), dice(2))],
            watch: Watch::default(),
            trace: Trace::default(),
            ends: vec![[None; 2]; scenario.plans.len()],
            plans: scenario.plans.clone(),
            frames: 0,
            forged: 0,
            broken_stack: None,
            broken_wire: None,
            rewriters: [
                Rewriter::new(scenario.misbehaviour[0], dice(3)),
                Rewriter::new(scenario.misbehaviour[1], dice(4)),
            ],
            garbage: scenario.garbage,
            last_progress: Instant::ZERO,
            is_dull: false,
            models: Default::default(),
            dice: dice(5),
            queue: BTreeMap::new(),
            planned: 0,
            by_client: HashMap::new(),
            is_tight: scenario.is_tight(),
            unheard: HashSet::new(),
            addresses,
            hasher: DefaultHasher::new(),
            buffer: vec![0; 4_096],
        };
        for (number, plan) in scenario.plans.iter().enumerate() {
            world.plan(plan.start, SimEvent::Connect(number));
        }
        if scenario.garbage.is_some() {
            world.plan(Instant::from_millis(1), SimEvent::Forge);
        }
        world
    }

    fn plan(&mut self, at: Instant, what: SimEvent) {
        self.planned += 1;
        self.queue.insert((at.max(self.now), self.planned), what);
    }

    /// Lets the next thing happen, unless that is later than `end`; whether it did.
    pub fn step(&mut self, end: Instant) -> bool {
        let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= end) else { return false };
        self.now = next.key().0;
        match next.remove() {
            SimEvent::Arrival { host, frame, forged } => self.arrive(host, &frame, forged),
            SimEvent::Wake(host) => {
                if self.hosts[host].wakes_at == Some(self.now) {
                    self.hosts[host].wakes_at = None;
                    self.settle(host);
                }
            }
            SimEvent::Act { host, app } => {
                self.hosts[host].apps[app].alarm = false;
                self.act(host, app);
                self.settle(host);
            }
            SimEvent::Connect(plan) => self.connect(plan),
            SimEvent::Forge => self.forge(),
        }
        true
    }

    /// What was said on the wire, in one number.
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    /// Whether every application has done its work, or could not begin.
    pub fn is_over(&self) -> bool {
        self.hosts.iter().flat_map(|host| &host.apps).all(|app| app.closed.is_some())
            && self.ends.iter().all(|[client, _]| client.is_some())
    }

    /// The client's view of a plan's connection.
    pub fn tuple(&self, plan: usize) -> Option<FourTuple> {
        let address = self.addresses[self.plans[plan].client];
        let mut known = self.by_client.iter().filter(|&(_, &of)| of == plan);
        let local = *known.find(|(local, _)| local.address == address)?.0;
        Some(FourTuple { local, remote: self.server() })
    }

    fn server(&self) -> Endpoint {
        Endpoint { address: self.addresses[SERVER], port: PORT }
    }

    fn connect(&mut self, number: usize) {
        let (server, plan) = (self.server(), self.plans[number]);
        let host = &mut self.hosts[plan.client];
        let clock = host.clock(self.now);
        let id = host.stack.connect(clock, server, None).expect("there is room for one more connection");
        self.ends[number][0] = Some(host.apps.len());
        host.apps.push(App::new(id, plan.works[0], host.limits.receive_buffer));
        self.settle(plan.client);
    }

    fn forge(&mut self) {
        let Some(garbage) = self.garbage.filter(|_| !self.is_over()) else { return };
        self.is_dull = self.now - self.last_progress > DULL;
        if self.is_dull {
            return;
        }
        for way in 0..2 {
            // A flow that has ended, or not begun, is another matter: there a SYN is welcome.
            if self.is_open_flow(&self.models[way], way == 1)
                && let Some(frame) = Garbage::forge(&self.models[way], &mut self.dice)
                && let Some(host) = self.receivers(&frame, way == 0).first().copied()
            {
                self.trace.note(self.now, way == 0, "a forged segment arrives".to_owned());
                self.forged += 1;
                self.plan(self.now, SimEvent::Arrival { host, frame, forged: true });
            }
        }
        let pause = self.dice.exponential(garbage.every).max(Duration::from_micros(10));
        self.plan(self.now + pause, SimEvent::Forge);
    }

    /// An application got further: that is of interest again.
    fn progress(&mut self) {
        self.last_progress = self.now;
        if std::mem::take(&mut self.is_dull) {
            self.plan(self.now, SimEvent::Forge);
        }
    }

    /// Whether both ends of a frame's connection are open.
    fn is_open_flow(&self, frame: &[u8], by_server: bool) -> bool {
        let Ok(parsed) = wire::parse(frame, ChecksumPolicy::Verify) else { return false };
        let Packet::Tcp(ip, segment) = parsed.packet else { return false };
        let client = client_of(&ip, &segment.header, by_server);
        let Some(&plan) = self.by_client.get(&client.local) else { return false };
        let states = [
            self.hosts[self.plans[plan].client].stack.state_of(&client),
            self.hosts[SERVER].stack.state_of(&client.reversed()),
        ];
        let is_open = |state: &State| !matches!(state, State::Closed | State::TimeWait | State::SynReceived);
        states.iter().all(is_open)
    }

    /// The applications of a plan, the client's first.
    pub fn apps(&self, plan: usize) -> [Option<&App>; 2] {
        let [client, server] = self.ends[plan];
        let client = client.map(|app| &self.hosts[self.plans[plan].client].apps[app]);
        [client, server.map(|app| &self.hosts[SERVER].apps[app])]
    }

    fn arrive(&mut self, host: usize, frame: &[u8], forged: bool) {
        let to_server = host == SERVER;
        // What damage leaves readable counts as heard; what was forged must change nothing.
        if !forged
            && let Ok(parsed) = wire::parse(frame, ChecksumPolicy::Verify)
            && let Packet::Tcp(ip, segment) = parsed.packet
        {
            self.watch.delivered(self.now, to_server, &ip, &segment);
        }
        let clock = self.hosts[host].clock(self.now);
        self.hosts[host].stack.handle_frame(clock, InterfaceId::FIRST, frame);
        self.settle(host);
    }

    /// Lets a host do everything that there is to do for it now.
    fn settle(&mut self, number: usize) {
        let clock = self.hosts[number].clock(self.now);
        self.hosts[number].stack.handle_timeout(clock);
        let mut frames = 0;
        loop {
            while let Some(event) = self.hosts[number].stack.poll_event() {
                self.hear(number, event);
            }
            let host = &mut self.hosts[number];
            let Some(length) = host.stack.poll_transmit(clock, InterfaceId::FIRST, &mut self.buffer) else {
                // Sending has made room, perhaps, and somebody hears of that.
                match host.stack.poll_event() {
                    Some(event) => self.hear(number, event),
                    None => break,
                }
                continue;
            };
            let frame = self.buffer[..length].to_vec();
            self.send(number, frame);
            frames += 1;
            assert!(frames < MOST_AT_ONCE, "a stack comes to a pause");
        }
        self.check(number);
        self.wake_in_time(number);
    }

    fn wake_in_time(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let Some(deadline) = host.stack.poll_timeout() else { return };
        let at = host.shows(deadline);
        assert!(at > self.now, "what is due has been done: {deadline} at {}", self.now);
        if host.wakes_at.is_none_or(|known| at < known || known <= self.now) {
            host.wakes_at = Some(at);
            self.plan(at, SimEvent::Wake(number));
        }
    }

    fn hear(&mut self, host: usize, event: Event) {
        let at_server = host == SERVER;
        match event {
            Event::Accepted(id, _) | Event::Connected(id) => {
                let Some(app) = self.opened(host, id) else { return };
                self.trace.note(self.now, at_server, "opened".to_owned());
                self.progress();
                self.act(host, app);
            }
            Event::Ready(id) | Event::Closed(id, _) if self.unheard.contains(&(host, id)) => {}
            Event::Ready(id) => {
                let apps = &self.hosts[host].apps;
                let app = apps.iter().rposition(|app| app.id == id).expect("only what was opened is ready");
                self.act(host, app);
            }
            Event::Closed(id, reason) => {
                self.trace.note(self.now, at_server, format!("closed: {reason:?}"));
                self.progress();
                let app = self.hosts[host].apps.iter().rposition(|app| app.id == id);
                let place = app.expect("only what was opened is closed");
                let silence = self.silence(host, place);
                let app = &mut self.hosts[host].apps[place];
                app.silence = silence;
                assert_eq!(app.closed, None, "a connection ends once");
                app.closed = Some((reason, self.now));
                let hears_out = reason == CloseReason::Finished && app.work.ending.is_orderly();
                assert!(app.saw_end || !hears_out, "the end is read before the connection is gone: {app:?}");
            }
            // That an end of the wire has gone silent is known here anyway.
            _ => {}
        }
    }

    /// For how long an application's connection has heard nothing.
    fn silence(&self, host: usize, app: usize) -> Duration {
        let end = usize::from(host == SERVER);
        let is_its =
            |plan: &usize| self.ends[*plan][end] == Some(app) && (end == 1 || self.plans[*plan].client == host);
        let tuple = (0..self.plans.len()).find(is_its).and_then(|plan| self.tuple(plan));
        let flow = tuple.and_then(|tuple| self.watch.flow(&tuple));
        flow.map_or(Duration::MAX, |flow| self.now - flow.ends[end].last_heard)
    }

    /// A connection is open: finds its application, or at the server makes one. None is made where a server that is short of something
    /// has reset the connection before its application could hear of it.
    fn opened(&mut self, host: usize, id: ConnectionId) -> Option<usize> {
        let now = self.hosts[host].clock(self.now);
        let Host { stack, apps, limits, .. } = &mut self.hosts[host];
        let Some(stream) = stack.stream(now, id) else {
            assert!(host == SERVER && self.is_tight, "what was opened is there");
            self.unheard.insert((host, id));
            return None;
        };
        let (local, remote) = (stream.local_addr().into(), stream.peer_addr().into());
        drop(stream);
        let (client, app) = if host == SERVER {
            let plan = *self.by_client.get(&remote).expect("the client is always first to know");
            assert_eq!(self.ends[plan][1], None, "what the network delivers again opens nothing");
            apps.push(App::new(id, self.plans[plan].works[1], limits.receive_buffer));
            self.ends[plan][1] = Some(apps.len() - 1);
            (FourTuple { local: remote, remote: local }, apps.len() - 1)
        } else {
            let app = apps.iter().rposition(|app| app.id == id).expect("only what was begun is opened");
            let plan =
                self.ends.iter().zip(&self.plans).position(|(end, plan)| plan.client == host && end[0] == Some(app));
            self.by_client.insert(local, plan.expect("every client has a plan"));
            (FourTuple { local, remote }, app)
        };
        let keys = [stream_key(&client, false), stream_key(&client, true)];
        apps[app].keys = if host == SERVER { [keys[1], keys[0]] } else { keys };
        apps[app].opened = Some(now);
        Some(app)
    }

    fn act(&mut self, number: usize, app: usize) {
        let clock = self.hosts[number].clock(self.now);
        let host = &mut self.hosts[number];
        let so_far = |app: &App| (app.written, app.read, app.saw_end);
        let before = so_far(&host.apps[app]);
        let again = host.apps[app].act(&mut host.stack, clock);
        let has_moved = so_far(&host.apps[app]) != before;
        // An alarm that is set already stays.
        if let Some(pause) = again.filter(|_| !std::mem::replace(&mut host.apps[app].alarm, true)) {
            let at = self.now + pause.max(Duration::from_micros(1));
            self.plan(at, SimEvent::Act { host: number, app });
        }
        if has_moved {
            self.progress();
        }
    }

    /// A stack's frame goes out on the wire.
    fn send(&mut self, from: usize, mut frame: Vec<u8>) {
        if let Some(change) = self.broken_stack {
            frame = changed(frame, change);
        }
        let by_server = from == SERVER;
        let way = usize::from(by_server);
        self.frames += 1;
        self.hasher.write_u64(self.now.as_nanos());
        self.hasher.write(&frame);
        let parsed = wire::parse(&frame, ChecksumPolicy::Verify);
        // An ICMP error that quotes no segment is none that a stack acts on, though it sends some.
        let is_fine = parsed.is_ok() || matches!(parsed, Err(DropReason::UnmatchedIcmp));
        assert!(is_fine, "what is sent is well-formed: {parsed:?}");
        let mut kind = Kind::default();
        if let Ok(ParsedFrame { packet: Packet::Tcp(ip, segment), .. }) = parsed {
            self.watch.emitted(self.now, by_server, &ip, &segment, self.hosts[from].limits);
            kind = Kind { is_guarded: true, is_bare_ack: segment.is_empty(), has_data: !segment.payload.is_empty() };
            if self.garbage.is_some() {
                self.models[way].clone_from(&frame);
            }
        }
        let original = frame.clone();
        let Some(mut frame) = self.rewriters[way].rewrite(self.now, frame) else {
            return self.trace.sent(self.now, !by_server, &original, Fate::Lost("kept back"));
        };
        if let Some(change) = self.broken_wire {
            frame = changed(frame, change);
        }
        if self.links[way].is_crowded(self.now) {
            frame = marked(frame);
        }
        let receivers = self.receivers(&frame, !by_server);
        let fate = self.links[way].carry(self.now, &mut frame, kind);
        self.trace.sent(self.now, !by_server, &frame, fate);
        if let Fate::TooBig(mtu) = fate
            && let Some(error) = icmp::too_big(&frame, mtu)
        {
            self.trace.note(self.now, by_server, format!("a router says that the MTU is {mtu}"));
            self.plan(self.now, SimEvent::Arrival { host: from, frame: error, forged: true });
        }
        let Fate::Arrives(at, again) = fate else { return };
        let late = self.links[way].straggler(at);
        for host in receivers {
            for at in [Some(at), again, late].into_iter().flatten() {
                self.plan(at, SimEvent::Arrival { host, frame: frame.clone(), forged: false });
            }
        }
    }

    /// Whom a frame is for: a station, or all that hear it.
    fn receivers(&self, frame: &[u8], to_server: bool) -> Vec<usize> {
        let Ok((link, ..)) = LinkHeader::parse(frame) else { return Vec::new() };
        let all = if to_server { 0..1 } else { 1..self.hosts.len() };
        all.filter(|&host| link.destination.is_group() || self.hosts[host].mac == link.destination).collect()
    }

    /// What must hold of a host whenever it has done its work.
    fn check(&mut self, number: usize) {
        let by_server = number == SERVER;
        let host = &self.hosts[number];
        let deadline = host.stack.poll_timeout();
        for (plan, ends) in self.ends.iter().enumerate() {
            let Some(app) = ends[usize::from(by_server)].filter(|_| by_server || self.plans[plan].client == number)
            else {
                continue;
            };
            let app = &host.apps[app];
            if !app.is_open() {
                continue;
            }
            let flow = self.tuple(plan).and_then(|tuple| self.watch.flow(&tuple)).expect("a connection has a flow");
            let unheard = flow.ends[usize::from(by_server)].acknowledged <= app.written;
            let waits = flow.has_outstanding(usize::from(by_server)) || unheard && app.written > 0;
            assert!(
                !waits || deadline.is_some(),
                "where something is outstanding, there is a deadline: {app:?}, {:?}",
                flow.ends[usize::from(by_server)]
            );
        }
    }

    /// Resets whatever is left, for want of patience.
    pub fn abort_all(&mut self) {
        for number in 0..self.hosts.len() {
            let clock = self.hosts[number].clock(self.now);
            self.hosts[number].stack.abort_all(clock);
            self.settle(number);
        }
    }
}

/// A host's address, in the networks of RFC 2544 and RFC 5180.
fn address(host: usize, ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from([0x2001, 2, 0, 0, 0, 0, 0, host as u16 + 1])
    } else {
        IpAddr::from([198, 18, 0, host as u8 + 1])
    }
}
