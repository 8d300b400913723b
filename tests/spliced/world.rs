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
    splice::{Over, Pair, Patience, Refusal, Side},
    stack::{Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, InterfaceId, MacAddress, Packet, SeqNumber, TcpFlags, tcp_options::SackBlocks,
    },
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
    /// Octets of the client's and the backend's that had come, and were neither read nor acknowledged.
    pub unread: [u64; 2],
    /// Frames that the stack translated, and not whoever saw them first.
    pub late: u64,
    /// Frames that were translated, and those that were not, by reason.
    pub translated: u64,
    pub refused: Vec<&'static str>,
    /// Segments that were made up.
    pub forged: u64,
    /// SYNs among them that passed.
    pub asked: u64,
    /// Whether a peer repeated its last segment so late that the pair was forgotten by then.
    pub is_late: bool,
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
    /// Decides which frames come to the stack.
    late: Dice,
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
        let proxy = Proxy::new(plan);
        let mut stacks = stacks;
        stacks[PROXY].set_carrier(Box::new(proxy.shared.clone()));
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
            proxy,
            watches: Default::default(),
            to_proxy: [way(0, 0), way(1, 0)],
            from_proxy: [way(0, 1), way(1, 1)],
            of_neighbours: VecDeque::new(),
            backend,
            outcome: Outcome::default(),
            broken: None,
            forger: Dice::new(plan.seed, 2),
            late: Dice::new(plan.seed, 3),
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
        self.outcome.is_late = self.apps.iter().any(|app| self.is_late(app));
        self.judge();
        self.outcome.ended = self.now;
        let seen = self.proxy.shared.seen();
        self.outcome.translated = seen.translated;
        self.outcome.refused = seen.refused.iter().map(|refusal| refusal.name()).collect();
        drop(seen);
        self.outcome.late = self.stacks[PROXY].stats().segments_translated;
        self.outcome.clone()
    }

    pub fn describe(&self) -> String {
        let [client, backend] = &self.apps;
        format!(
            "client read {} of {}, {:?}; backend read {} of {}, {:?}; parted at {:?} ({:?}) with {:?} unread, refused {:?}",
            client.read,
            client.awaited(),
            client.closed,
            backend.read,
            backend.awaited(),
            backend.closed,
            self.proxy.parted_at,
            self.proxy.why_not,
            self.outcome.unread,
            self.proxy.shared.seen().refused,
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
        let pair = self.proxy.deadline().filter(|&at| at > self.now && self.outcome.over.is_none());
        links.chain(stacks).chain(apps).chain(own).chain(pair).min()
    }

    /// Everything that is due at this moment.
    fn settle_all(&mut self) {
        for host in [CLIENT, PROXY, BACKEND] {
            self.settle(host);
        }
        while self.deliver() {}
        self.remove_backend();
        if let (Some(id), Some(pair)) = (self.proxy.pair, self.proxy.standing())
            && let Some(over) = pair.over(self.now, &Patience::default())
        {
            self.outcome.over = Some(over);
            assert_eq!(self.stacks[PROXY].forget_pair(id), Some(pair));
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
            if self.forger.happens(20 * PERCENT) {
                self.forge_syn(&frame);
            }
        }
        let before = frame.clone();
        // Some are in a ring already, or come from another worker.
        if self.broken.is_none() && self.late.happens(10 * PERCENT) {
            self.stacks[PROXY].handle_frame(self.now, InterfaceId::FIRST, &frame);
            return self.settle(PROXY);
        }
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

    /// Somebody who knows the ends of a connection makes up a SYN, with a number of his own. The stack challenges the end that
    /// has it seem so, and nothing else comes of it.
    fn forge_syn(&mut self, model: &[u8]) {
        let Ok(parsed) = wire::parse(model, ChecksumPolicy::Verify) else { return };
        let Packet::Tcp(ip, segment) = parsed.packet else { return };
        // Behind the end it would begin another connection.
        let is_open = |pair: &Pair| !pair.streams.iter().any(|stream| stream.has_fin) && !self.plan.may_be_reset();
        let Some(before) = self.proxy.standing().filter(is_open) else { return };
        let mut header = segment.header;
        (header.flags, header.options.sack) = (TcpFlags::SYN, SackBlocks::default());
        header.seq = SeqNumber::new(self.forger.any() as u32);
        let mut frame = vec![0; wire::tcp_frame_len(&parsed.link, &ip, &header)];
        wire::write_tcp(&parsed.link, &ip, &header, (&[], &[]), &mut frame);
        assert_eq!(self.proxy.translate(self.now, &mut frame), None, "{header:?} is for the stack");
        self.note("made up", &frame);
        self.stacks[PROXY].handle_frame(self.now, InterfaceId::FIRST, &frame);
        assert_eq!(self.proxy.standing(), Some(before), "it leaves no trace");
        self.settle(PROXY);
        self.outcome.asked += 1;
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
        let Some(mut pair) = self.proxy.standing() else { return };
        let before = pair.clone();
        assert!(pair.translate(self.now, &mut frame).is_err(), "{header:?} passes");
        assert_eq!(pair, before, "it leaves no trace");
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
            if host == PROXY && self.part() {
                continue; // with what lay there
            }
            match self.stacks[host].poll_event() {
                Some(event) => self.hear(host, event),
                None => return,
            }
        }
    }

    fn act(&mut self, host: usize) {
        match host {
            PROXY => {
                self.part();
                // Where it is about to hear of something it reads nothing yet: it may part with that.
                if !self.proxy.is_to_hear(self.now, &self.plan) {
                    self.proxy.carry(self.now, &mut self.stacks[PROXY], &self.plan);
                }
            }
            _ => self.apps[peer(host)].act(self.now, &mut self.stacks[host]),
        }
    }

    /// The proxy parts with its connections, if it wants to and may; whether it did.
    fn part(&mut self) -> bool {
        let under_way = self.to_proxy.iter().map(OneWay::held).sum();
        let parts = self.proxy.part(self.now, &mut self.stacks[PROXY], &self.plan, under_way);
        if parts {
            (self.outcome.parted, self.outcome.under_way) = (true, under_way);
            let pair = self.proxy.standing().expect("it is there");
            self.outcome.unread = Side::BOTH.map(|side| pair.stream(side).carried);
        }
        parts
    }

    fn hear(&mut self, host: usize, event: Event) {
        if host == PROXY {
            let said = (&self.plan, self.backend);
            return self.proxy.hear(self.now, &mut self.stacks[PROXY], event, said);
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
        let Some(id) = self.proxy.pair.filter(|_| is_due && self.outcome.over.is_none()) else { return };
        assert!(self.stacks[PROXY].reset_pair(id));
        (self.outcome.removed, self.outcome.over) = (true, Some(Over::Reset(Side::Client)));
        self.settle(PROXY);
    }

    /// Whether the last acknowledgment to a peer was lost, again and again, until its timeout was longer than a pair that has ended is
    /// kept. Its other end has everything by then, and so has it.
    fn is_late(&self, app: &App) -> bool {
        let is_over = self.outcome.over == Some(Over::Finished);
        is_over && app.closed == Some(CloseReason::ResetByPeer) && app.heard_end && app.has_written_all()
    }

    /// Every octet has come, and both know how it ended.
    fn judge(&self) {
        let reasons = self.apps.each_ref().map(|app| app.closed);
        if !self.plan.may_be_reset() {
            for app in &self.apps {
                assert!(app.closed == Some(CloseReason::Finished) || self.is_late(app), "{}", self.describe());
                assert_eq!(app.read, app.awaited(), "{}", self.describe());
                assert!(app.has_written_all(), "{}", self.describe());
            }
        }
        // Of what honest peers say only what nobody would answer, or nobody should, goes nowhere.
        let may_be_refused = |refusal: &Refusal| matches!(refusal, Refusal::Syn | Refusal::Question | Refusal::Reset);
        assert!(self.proxy.shared.seen().refused.iter().all(may_be_refused), "{}", self.describe());
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
            let may_be_reset = self.plan.may_be_reset() || self.outcome.is_late;
            assert!(over != Over::Finished || !is_reset || may_be_reset, "{}", self.describe());
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
