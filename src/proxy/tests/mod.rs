//! Proxies between a client, a proxy and backends in memory, in virtual time.

mod carrying;
mod deciding;
mod ending;
mod parting;

use super::*;
use crate::{
    config::StackConfig,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    wire::{InterfaceId, MacAddress},
    worker::{Application, Context, WorkerIndex},
};
use std::{cell::RefCell, collections::VecDeque, rc::Rc};

/// What happened, in the words of the router.
type Story = Rc<RefCell<Vec<String>>>;

const PORT: u16 = 80;
const PROXY: u8 = 1;
const CLIENT: u8 = 2;
const FIRST: u8 = 11;
const SECOND: u8 = 12;

/// One stack on a link that everybody is on, and what it has told.
struct Host {
    stack: Stack,
    heard: Vec<Event>,
    is_cut_off: bool,
}

impl Host {
    fn new(host: u8, config: StackConfig) -> Self {
        let addresses = [format!("198.18.0.{host}/24"), format!("2001:2::{host}/64")];
        let own = |cidr: String| LocalAddress { cidr: cidr.parse().unwrap(), ownership: Ownership::Own };
        let (mac, secrets) = (MacAddress([2, 0, 0, 0, 0, host]), Secrets::from_seed(host.into()));
        Self {
            stack: Stack::new(config, mac, addresses.map(own).into(), secrets),
            heard: Vec::new(),
            is_cut_off: false,
        }
    }
}

/// A client at 198.18.0.2, a proxy at 198.18.0.1 and backends at 198.18.0.11 and 12, all listening on port 80 but the client.
struct Lab<R: Router> {
    /// The proxy comes first.
    hosts: Vec<(u8, Host)>,
    proxy: Proxy<R>,
    now: Instant,
    /// How many steps a frame is under way, beside the one in which it is sent.
    lag: usize,
    under_way: VecDeque<Vec<(u8, Vec<u8>)>>,
}

impl<R: Router> Lab<R> {
    fn new(router: R) -> Self {
        // Whatever a test does, it does with connections that fall asleep whenever they can.
        Self::with(router, StackConfig { max_awake: 0, ..StackConfig::default() })
    }

    fn with(router: R, config: StackConfig) -> Self {
        let hosts = [PROXY, CLIENT, FIRST, SECOND].map(|host| (host, Host::new(host, config.clone())));
        let mut lab = Self {
            hosts: hosts.into(),
            proxy: Proxy::new(router),
            now: Instant::from_millis(1_000),
            lag: 0,
            under_way: VecDeque::new(),
        };
        for host in [PROXY, FIRST, SECOND] {
            lab.host(host).stack.listen(None, PORT).unwrap();
        }
        lab
    }

    fn host(&mut self, number: u8) -> &mut Host {
        let host = self.hosts.iter_mut().find(|(host, _)| *host == number);
        &mut host.unwrap().1
    }

    /// Lets everything happen that happens at once.
    fn run(&mut self) {
        assert!(self.step(20_000), "nobody comes to rest");
    }

    /// Lets so much of it happen: each host sends what it has to send so many times. Whether nobody has any more.
    fn step(&mut self, times: usize) -> bool {
        let mut buffer = [0; 1_600];
        for _ in 0..times {
            let mut frames = Vec::new();
            for (number, host) in &mut self.hosts {
                host.stack.handle_timeout(self.now);
                if *number == PROXY {
                    let cx = &mut Context::new(self.now, &mut host.stack, WorkerIndex::ONLY);
                    while let Some(event) = cx.stack().poll_event() {
                        self.proxy.event(event, cx);
                    }
                    self.proxy.on_turn(cx);
                } else {
                    host.heard.extend(std::iter::from_fn(|| host.stack.poll_event()));
                }
                while let Some(length) = host.stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                    if !host.is_cut_off {
                        frames.push((*number, buffer[..length].to_vec()));
                    }
                }
            }
            self.under_way.push_back(frames);
            if self.under_way.iter().all(Vec::is_empty) {
                self.under_way.clear();
                return true;
            }
            self.now += Duration::from_micros(10);
            if self.under_way.len() <= self.lag {
                continue;
            }
            for (sender, frame) in self.under_way.pop_front().iter().flatten() {
                let others = self.hosts.iter_mut().filter(|(host, it)| host != sender && !it.is_cut_off);
                others.for_each(|(_, host)| host.stack.handle_frame(self.now, InterfaceId::FIRST, frame));
            }
        }
        false
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now = until.min(self.now + Duration::from_millis(100));
            self.run();
        }
    }

    /// The client connects to the proxy.
    fn connect(&mut self) -> ConnectionId {
        self.connect_to(([198, 18, 0, PROXY], PORT).into())
    }

    fn connect_to(&mut self, remote: SocketAddr) -> ConnectionId {
        let now = self.now;
        let id = self.host(CLIENT).stack.connect(now, remote.into(), None).unwrap();
        self.run();
        id
    }

    /// What a host has accepted so far, in order.
    fn accepted(&mut self, number: u8) -> Vec<ConnectionId> {
        let accepted = self.host(number).heard.iter().filter_map(|event| match event {
            Event::Accepted(id, _) => Some(*id),
            _ => None,
        });
        accepted.collect()
    }

    #[track_caller]
    fn accepted_one(&mut self, number: u8) -> ConnectionId {
        let accepted = self.accepted(number);
        assert_eq!(accepted.len(), 1);
        accepted[0]
    }

    #[track_caller]
    fn at<T>(&mut self, host: u8, id: ConnectionId, act: impl FnOnce(&mut crate::Stream<'_>) -> T) -> T {
        let now = self.now;
        let done = act(&mut self.host(host).stack.stream(now, id).expect("the connection is there"));
        self.run();
        done
    }

    /// Says something; what fits.
    #[track_caller]
    fn say(&mut self, host: u8, id: ConnectionId, words: &[u8]) -> usize {
        self.at(host, id, |stream| stream.write(words))
    }

    /// Reads all there is.
    #[track_caller]
    fn read(&mut self, host: u8, id: ConnectionId) -> Vec<u8> {
        self.at(host, id, |stream| {
            let mut read = vec![0; stream.readable_len()];
            stream.read(&mut read);
            read
        })
    }

    /// How a connection of a host's has ended, if it has.
    fn end_of(&mut self, host: u8, id: ConnectionId) -> Option<CloseReason> {
        self.host(host).heard.iter().find_map(|event| match event {
            Event::Closed(closed, reason) if *closed == id => Some(*reason),
            _ => None,
        })
    }
}

/// Goes where it is told, and notes what it is told.
struct Teller {
    story: Story,
    targets: Vec<Target>,
    patience: Patience,
    review: Option<Review>,
    /// Octets towards backends, and towards clients.
    carried: [usize; 2],
}

impl Teller {
    fn to(targets: impl IntoIterator<Item = Target>) -> (Self, Story) {
        let story = Story::default();
        let targets = targets.into_iter().collect();
        (Self { story: story.clone(), targets, patience: Patience::default(), review: None, carried: [0; 2] }, story)
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.story.borrow_mut().push(what.to_string());
    }
}

impl Router for Teller {
    /// How many backends were tried.
    type Session = usize;

    fn open(&mut self, ends: &Ends) -> usize {
        self.note(format_args!("open {}", ends.service));
        0
    }

    fn look(&mut self, tried: &mut usize, _: Said<'_>) -> Decision {
        self.targets.get(*tried).map_or(Decision::Reset, |target| Decision::To(target.clone()))
    }

    fn failed(&mut self, tried: &mut usize, why: Failure) -> Decision {
        self.note(format_args!("failed {why:?}"));
        *tried += 1;
        self.targets.get(*tried).map_or(Decision::Reset, |target| Decision::To(target.clone()))
    }

    fn connected(&mut self, _: &mut usize) {
        self.note("connected");
    }

    fn carried(&mut self, _: &mut usize, towards: Towards, octets: usize) {
        self.carried[usize::from(towards == Towards::Client)] += octets;
    }

    fn spliced(&mut self, _: &mut usize) {
        self.note("spliced");
    }

    fn ended(&mut self, _: usize, how: Ended) {
        self.note(format_args!("{how:?}"));
    }

    fn patience(&self, _: &usize) -> Patience {
        self.patience
    }

    fn turn(&mut self, _: Instant) -> bool {
        self.review.is_some()
    }

    fn review(&mut self, _: &mut usize) -> Review {
        self.review.unwrap_or(Review::Keep)
    }
}

fn backend(number: u8) -> Target {
    Target::at(([198, 18, 0, number], PORT).into())
}
