//! The three hosts and the links between them.

use crate::{
    app::{App, Part},
    dice::{Dice, PERCENT},
    plan::{BACKEND, CLIENT, PROXY, Plan},
    proxy::{PREFACE, Proxy},
    watch::{Watch, same_door},
};
use std::{collections::VecDeque, fmt::Write, net::IpAddr, time::Duration};
use xskip_core::{
    CloseReason,
    impair::OneWay,
    splice::{Over, Patience, Refusal},
    stack::{Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{self, ChecksumPolicy, Endpoint, InterfaceId, MacAddress, Packet, TcpFlags},
};

const PORT: u16 = 80;
/// Longer than any run takes that ends by itself.
const TOO_LONG: Duration = Duration::from_secs(4 * 3_600);
const TOO_MANY: u32 = 400_000;

/// What has come of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the proxy could part with its connections.
    pub parted: bool,
    /// Frames that were on their way to the proxy then.
    pub under_way: usize,
    /// Frames that were translated, and those that were not, by reason.
    pub translated: u64,
    pub refused: Vec<&'static str>,
    /// Segments that were made up.
    pub forged: u64,
    /// How the pair ended.
    pub over: Option<Over>,
    /// Whether the backend was taken away.
    pub removed: bool,
    /// The time at the end, and the frames that were sent until then.
    pub ended: Instant,
    pub frames: u64,
}

pub struct World {
    plan: Plan,
    now: Instant,
    stacks: [Stack; 3],
    apps: [App; 2],
    proxy: Proxy,
    watches: [Watch; 2],
    /// To the proxy from the client and the backend, then from the proxy to them.
    to_proxy: [OneWay; 2],
    from_proxy: [OneWay; 2],
    /// What neighbours ask and answer: that is not what is tried here, and gets through.
    of_neighbours: VecDeque<(usize, Vec<u8>)>,
    backend: Endpoint,
    outcome: Outcome,
    /// What a broken translation does to each frame that it passes on; whether the frame passes on then.
    pub broken: Option<fn(&mut [u8]) -> bool>,
    forger: Dice,
    /// What happened, where somebody wants to see it.
    pub trace: Option<String>,
    buffer: Vec<u8>,
}

fn mac(host: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, host as u8 + 1])
}

fn address(host: usize, ipv6: bool) -> IpAddr {
    let text = if ipv6 { format!("2001:2::{}", host + 1) } else { format!("198.18.0.{}", host + 1) };
    text.parse().expect("an address")
}

/// The place among what belongs to the client and the backend.
fn peer(host: usize) -> usize {
    usize::from(host == BACKEND)
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let stacks = [CLIENT, PROXY, BACKEND].map(|host| {
            let cidr = format!("{}/{}", address(host, plan.ipv6), if plan.ipv6 { 64 } else { 16 });
            let local = LocalAddress { cidr: cidr.parse().expect("an address"), ownership: Ownership::Own };
            let secrets = Secrets::from_seed(plan.seed.wrapping_mul(3).wrapping_add(host as u64));
            let mut stack = Stack::new(plan.configs[host].clone(), mac(host), vec![local], secrets);
            if host != CLIENT {
                stack.listen(None, PORT).expect("the port is free");
            }
            stack
        });
        let [client, backend] = &plan.works;
        let asked = Part { key: 1, from: plan.skipped, length: client.total() - plan.skipped };
        let preface = Part { key: PREFACE, from: 0, length: plan.preface };
        let answered = Part { key: 2, from: 0, length: backend.total() };
        let apps = [App::new(client.clone(), 1, vec![answered]), App::new(backend.clone(), 2, vec![preface, asked])];
        let way = |link: usize, way: usize| {
            OneWay::new(plan.links[link][way], plan.seed.wrapping_add(1_000 * (2 * link + way) as u64))
        };
        // A proxy does not listen where backends are found: the port is the same, the address is not.
        let backend = Endpoint { address: address(BACKEND, plan.ipv6), port: PORT };
        Self {
            plan: plan.clone(),
            now: Instant::from_millis(1),
            stacks,
            apps,
            proxy: Proxy::new(plan),
            watches: Default::default(),
            to_proxy: [way(0, 0), way(1, 0)],
            from_proxy: [way(0, 1), way(1, 1)],
            of_neighbours: VecDeque::new(),
            backend,
            outcome: Outcome::default(),
            broken: None,
            forger: Dice::new(plan.seed, 2),
            trace: None,
            buffer: vec![0; 2_048],
        }
    }

    /// Lets everything happen that does.
    pub fn run(&mut self) -> Outcome {
        let proxy = Endpoint { address: address(PROXY, self.plan.ipv6), port: PORT };
        let id = self.stacks[CLIENT].connect(self.now, proxy, None).expect("there is room");
        self.apps[CLIENT].id = Some(id);
        for steps in 0.. {
            assert!(steps < TOO_MANY, "it comes to no end");
            self.settle_all();
            if self.is_over() {
                break;
            }
            let next = self.next().expect("there is something to come until all is over");
            assert!(next < Instant::ZERO + TOO_LONG, "it hangs: {}", self.describe());
            self.now = next.max(self.now);
        }
        self.judge();
        self.outcome.ended = self.now;
        self.outcome.translated = self.proxy.translated;
        self.outcome.refused = self.proxy.refused.iter().map(|refusal| refusal.name()).collect();
        self.outcome.clone()
    }

    pub fn describe(&self) -> String {
        let [client, backend] = &self.apps;
        format!(
            "client read {} of {}, {:?}; backend read {} of {}, {:?}; parted at {:?} ({:?}), refused {:?}",
            client.read,
            client.awaited(),
            client.closed,
            backend.read,
            backend.awaited(),
            backend.closed,
            self.proxy.parted_at,
            self.proxy.why_not,
            self.proxy.refused,
        )
    }

    /// Both have been told that it is over; one that was never reached knows of nothing.
    fn is_over(&self) -> bool {
        let are_closed = self.apps.iter().all(|app| app.closed.is_some() || app.id.is_none());
        are_closed
            && self.outcome.over.is_some() == self.outcome.parted
            && self.stacks[PROXY].connection_at(0).is_none()
    }

    fn next(&self) -> Option<Instant> {
        let links = self.to_proxy.iter().chain(&self.from_proxy).filter_map(OneWay::next_deadline);
        let stacks = self.stacks.iter().filter_map(Stack::poll_timeout);
        let apps = self.apps.iter().filter_map(|app| app.next(self.now));
        let own = [Some(self.plan.parts_from), self.plan.removal].into_iter().flatten().filter(|&at| at > self.now);
        let pair = self.proxy.deadline().filter(|_| self.outcome.over.is_none());
        links.chain(stacks).chain(apps).chain(own).chain(pair).min()
    }

    /// Everything that is due at this moment.
    fn settle_all(&mut self) {
        for host in [CLIENT, PROXY, BACKEND] {
            self.settle(host);
        }
        while self.deliver() {}
        self.remove_backend();
        if let Some(pair) = self.proxy.pair.as_ref().filter(|_| self.outcome.over.is_none())
            && let Some(over) = pair.over(self.now, &Patience::default())
        {
            self.outcome.over = Some(over);
            self.stacks[PROXY].forget_pair(&pair.clone());
            self.proxy.is_removed = true;
        }
    }

    /// One frame that is through; whether there was one.
    fn deliver(&mut self) -> bool {
        if let Some((host, frame)) = self.of_neighbours.pop_front() {
            self.stacks[host].handle_frame(self.now, InterfaceId::FIRST, &frame);
            self.settle(host);
            return true;
        }
        for host in [CLIENT, BACKEND] {
            if let Some((_, frame)) = self.to_proxy[peer(host)].front(self.now) {
                let frame = frame.to_vec();
                self.to_proxy[peer(host)].pop(self.now);
                self.arrive_at_proxy(frame);
                return true;
            }
            if let Some((_, frame)) = self.from_proxy[peer(host)].front(self.now) {
                let frame = frame.to_vec();
                self.from_proxy[peer(host)].pop(self.now);
                self.note(&format!("arrives at {host}"), &frame);
                self.watches[peer(host)].hears(&frame);
                self.stacks[host].handle_frame(self.now, InterfaceId::FIRST, &frame);
                self.settle(host);
                return true;
            }
        }
        false
    }

    fn arrive_at_proxy(&mut self, mut frame: Vec<u8>) {
        self.note("arrives at proxy", &frame);
        if self.plan.is_attacked && self.forger.happens(30 * PERCENT) {
            self.forge(&frame);
        }
        let before = frame.clone();
        match self.proxy.translate(self.now, &mut frame) {
            Some(Some(host)) => {
                self.note(&format!("translated for {host}"), &frame);
                assert!(same_door(&before, &frame), "a window is shut, or opened, on the way: {}", self.describe());
                if self.broken.is_some_and(|spoil| !spoil(&mut frame)) {
                    return;
                }
                self.from_proxy[peer(host)].push(self.now, 0, &frame);
            }
            Some(None) => self.note("refused", &frame),
            None => {
                self.stacks[PROXY].handle_frame(self.now, InterfaceId::FIRST, &frame);
                self.settle(PROXY);
            }
        }
    }

    /// Somebody who knows the ends of a connection, and sees nothing of it, makes up a segment: with numbers of his own, but for the one
    /// or the other.
    fn forge(&mut self, model: &[u8]) {
        let Ok(parsed) = wire::parse(model, ChecksumPolicy::Verify) else { return };
        let Packet::Tcp(ip, segment) = parsed.packet else { return };
        let mut header = segment.header;
        let far = |dice: &mut Dice| (1 << 24) + dice.below((1 << 32) - (1 << 25)) as u32;
        header.flags = TcpFlags::from_bits_truncate(self.forger.any() as u8);
        if self.forger.happens(50 * PERCENT) || header.flags.contains(TcpFlags::RST) {
            header.seq = header.seq.advance(far(&mut self.forger));
        } else {
            header.ack = header.ack.advance(far(&mut self.forger));
        }
        header.window = self.forger.any() as u16;
        let mut frame = vec![0; wire::tcp_frame_len(&parsed.link, &ip, &header) + 9];
        wire::write_tcp(&parsed.link, &ip, &header, (b"made up.!", &[]), &mut frame);
        let Some(pair) = self.proxy.pair.as_mut().filter(|_| !self.proxy.is_removed) else { return };
        let before = pair.clone();
        assert!(pair.translate(self.now, &mut frame).is_err(), "{header:?} passes");
        assert_eq!(*pair, before, "it leaves no trace");
        self.outcome.forged += 1;
    }

    fn settle(&mut self, host: usize) {
        self.stacks[host].handle_timeout(self.now);
        loop {
            self.act(host);
            while let Some(event) = self.stacks[host].poll_event() {
                self.hear(host, event);
                self.act(host);
            }
            self.act(host);
            let mut buffer = std::mem::take(&mut self.buffer);
            let sent = self.stacks[host].poll_transmit(self.now, InterfaceId::FIRST, &mut buffer);
            if let Some(length) = sent {
                self.send(host, &buffer[..length]);
            }
            self.buffer = buffer;
            if sent.is_some() {
                continue;
            }
            if host == PROXY {
                let under_way = self.to_proxy.iter().map(OneWay::held).sum();
                if self.proxy.part(self.now, &mut self.stacks[PROXY], &self.plan, under_way) {
                    (self.outcome.parted, self.outcome.under_way) = (true, under_way);
                }
            }
            match self.stacks[host].poll_event() {
                Some(event) => self.hear(host, event),
                None => return,
            }
        }
    }

    fn act(&mut self, host: usize) {
        match host {
            PROXY => self.proxy.carry(self.now, &mut self.stacks[PROXY]),
            _ => self.apps[peer(host)].act(self.now, &mut self.stacks[host]),
        }
    }

    fn hear(&mut self, host: usize, event: Event) {
        if host == PROXY {
            return self.proxy.hear(self.now, &mut self.stacks[PROXY], event, self.backend);
        }
        let app = &mut self.apps[peer(host)];
        match event {
            Event::Accepted(id, _) => app.id = Some(id),
            Event::Closed(id, reason) if app.id == Some(id) => app.closed = Some(reason),
            _ => {}
        }
    }

    fn send(&mut self, host: usize, frame: &[u8]) {
        self.outcome.frames += 1;
        self.note(&format!("sent by {host}"), frame);
        if wire::is_of_a_neighbour(frame) {
            let others = [CLIENT, PROXY, BACKEND].into_iter().filter(|&other| other != host);
            return self.of_neighbours.extend(others.map(|other| (other, frame.to_vec())));
        }
        if host != PROXY {
            self.watches[peer(host)].said(frame);
            return self.to_proxy[peer(host)].push(self.now, 0, frame);
        }
        for to in [CLIENT, BACKEND] {
            if frame[..6] == mac(to).0 {
                self.from_proxy[peer(to)].push(self.now, 0, frame);
            }
        }
    }

    /// The backend is taken away: both ends are reset, and whoever asks later is told so by the stack.
    fn remove_backend(&mut self) {
        let is_due = self.plan.removal.is_some_and(|at| at <= self.now);
        let Some(pair) = self.proxy.pair.clone().filter(|_| is_due && self.outcome.over.is_none()) else { return };
        self.stacks[PROXY].forget_pair(&pair);
        self.proxy.is_removed = true;
        (self.outcome.removed, self.outcome.over) = (true, Some(Over::Reset));
        for (host, frame) in [CLIENT, BACKEND].into_iter().zip(pair.resets()) {
            self.note(&format!("reset for {host}"), &frame);
            self.from_proxy[peer(host)].push(self.now, 0, &frame);
        }
    }

    /// Every octet has come, and both know how it ended.
    fn judge(&self) {
        let reasons = self.apps.each_ref().map(|app| app.closed);
        if !self.plan.may_be_reset() {
            for app in &self.apps {
                assert_eq!((app.closed, app.read), (Some(CloseReason::Finished), app.awaited()), "{}", self.describe());
                assert!(app.has_written_all(), "{}", self.describe());
            }
        }
        // Of what honest peers say only what nobody would answer, or nobody should, goes nowhere.
        let may_be_refused = |refusal: &Refusal| matches!(refusal, Refusal::Syn | Refusal::Reset);
        assert!(self.proxy.refused.iter().all(may_be_refused), "{}", self.describe());
        for (app, other) in [(0, 1), (1, 0)] {
            // Nobody is left waiting until it gives up.
            assert_ne!(reasons[app], Some(CloseReason::TimedOut), "{}", self.describe());
            if reasons[app] == Some(CloseReason::Finished) && self.apps[app].heard_end {
                assert_eq!(self.apps[app].read, self.apps[app].awaited(), "{}", self.describe());
            }
            assert!(self.apps[other].has_aborted || reasons[app] != Some(CloseReason::Refused), "{}", self.describe());
        }
        let stats = self.stacks[PROXY].stats();
        assert_eq!((stats.connections_parted > 0, self.stacks[PROXY].parted()), (self.outcome.parted, 0));
        if let (Some(over), false) = (self.outcome.over, self.outcome.removed) {
            let is_reset = self.apps.iter().any(|app| app.closed != Some(CloseReason::Finished));
            assert!(over != Over::Finished || !is_reset || self.plan.may_be_reset(), "{}", self.describe());
            assert!(over != Over::Silent || self.plan.may_be_reset(), "{}", self.describe());
        }
    }

    fn note(&mut self, what: &str, frame: &[u8]) {
        let Some(trace) = &mut self.trace else { return };
        let says = match wire::parse(frame, ChecksumPolicy::Verify).map(|frame| frame.packet) {
            Ok(Packet::Tcp(_, segment)) => {
                let header = segment.header;
                format!(
                    "{} -> {} {} seq {} ack {} win {} len {} {:?} {:?}",
                    header.source_port,
                    header.destination_port,
                    header.flags,
                    header.seq.get(),
                    header.ack.get(),
                    header.window,
                    segment.payload.len(),
                    header.options.timestamps.map(|it| (it.value, it.echo)),
                    header.options.sack.as_slice(),
                )
            }
            Ok(_) => "no TCP".to_owned(),
            Err(reason) => format!("{reason:?}"),
        };
        let _ = writeln!(trace, "{} {what}: {says}", self.now);
    }
}
