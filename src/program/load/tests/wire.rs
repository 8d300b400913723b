//! A client and a server, each a whole stack, joined in memory and in virtual time.

use crate::{
    app::{Service, Services},
    config::StackConfig,
    load::{
        Load, LoadReport, Mode,
        client::Client,
        tally::Tally,
        task::{SharedProgress, Task},
    },
    runtime::Setup,
    stack::{Cidr, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{InterfaceId, MacAddress, ethernet::ETHER_TYPE_ARP},
    worker::{Application, Context, Placement, WorkerIndex},
    xdp::{CopyMode, Require, XdpMode},
};
use crossbeam::channel::{Receiver, unbounded};
use std::{ops::RangeInclusive, sync::Arc, time::Duration};

/// How long a frame is under way.
const DELAY: Duration = Duration::from_micros(10);
/// Turns after which something has come to no end.
const TURNS: usize = 5_000_000;

pub const SERVER: &str = "198.18.0.1:80";

/// A load on 198.18.0.1:80 from 198.18.0.100, without warm-up where it has one.
pub fn load(mode: Mode) -> Load {
    let load = Load::new("wire", SERVER.parse().unwrap(), mode).address("198.18.0.100/24".parse().unwrap());
    if mode == Mode::Idle { load } else { load.warm_up(Duration::ZERO) }
}

/// One worker of a load, and a server of one service.
pub struct Wire {
    pub now: Instant,
    pub server: Stack,
    pub client: Stack,
    pub shared: Arc<SharedProgress>,
    /// Whether frames to the server are lost.
    pub cut: bool,
    /// Whether all of them are but questions of neighbours.
    pub deaf: bool,
    /// The longest frame that has reached the client, octets.
    pub longest: usize,
    load: Client,
    service: Box<dyn Application>,
    task: Arc<Task>,
    figures: Receiver<(usize, Tally)>,
    due: Option<Instant>,
    /// Frames under way, each way.
    to_server: Vec<Vec<u8>>,
    to_client: Vec<Vec<u8>>,
}

impl Wire {
    pub fn new<S: Service + 'static>(load: &Load, service: S) -> Self {
        Self::with(load, service, StackConfig::default())
    }

    /// A wire to a server of this configuration.
    pub fn with<S: Service + 'static>(load: &Load, service: S, config: StackConfig) -> Self {
        let task = Arc::new(load.task().unwrap());
        let shared = Arc::new(SharedProgress::default());
        let (sender, figures) = unbounded();
        let worker = WorkerIndex::ONLY;
        let mut server = stack(config, 1, vec!["198.18.0.1/24".parse().unwrap()]);
        server.listen(None, 80).unwrap();
        Self {
            now: Instant::from_millis(1_000),
            server,
            client: stack(Client::stack_config(&task, 1), 2, load.local_addresses().unwrap()),
            load: Client::new(task.clone(), worker, shared.clone(), sender),
            shared,
            cut: false,
            deaf: false,
            longest: 0,
            service: Box::new(Services::new(service)),
            task,
            figures,
            due: None,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Leaves the client a few ports only. To be called before anything happens.
    pub fn with_ports(mut self, ports: RangeInclusive<u16>, addresses: Vec<Cidr>) -> Self {
        let config = StackConfig { ephemeral_ports: ports, ..Client::stack_config(&self.task, 1) };
        self.client = stack(config, 2, addresses);
        self
    }

    /// Everything that happens at one moment.
    fn turn(&mut self) {
        for frame in std::mem::take(&mut self.to_server) {
            let is_question = frame[12..14] == ETHER_TYPE_ARP.to_be_bytes();
            if !self.cut && (is_question || !self.deaf) {
                self.server.handle_frame(self.now, InterfaceId::FIRST, &frame);
            }
        }
        for frame in std::mem::take(&mut self.to_client) {
            self.longest = self.longest.max(frame.len());
            self.client.handle_frame(self.now, InterfaceId::FIRST, &frame);
        }
        self.server.handle_timeout(self.now);
        while let Some(event) = self.server.poll_event() {
            self.service.event(event, &mut Context::new(self.now, &mut self.server, WorkerIndex::ONLY));
        }
        self.client.handle_timeout(self.now);
        while let Some(event) = self.client.poll_event() {
            self.load.event(event, &mut Context::new(self.now, &mut self.client, WorkerIndex::ONLY));
        }
        self.due = self.load.on_turn(&mut Context::new(self.now, &mut self.client, WorkerIndex::ONLY));
        transmit(self.now, &mut self.client, &mut self.to_server);
        transmit(self.now, &mut self.server, &mut self.to_client);
    }

    /// A moment, and then on to the next one at which something happens.
    pub fn step(&mut self) {
        self.turn();
        let is_quiet = self.to_server.is_empty() && self.to_client.is_empty();
        let timers = [self.client.poll_timeout(), self.server.poll_timeout(), self.due];
        let timer = timers.into_iter().flatten().min();
        let arrival = self.now + DELAY;
        self.now = match timer {
            Some(timer) if is_quiet => timer.max(arrival),
            _ => arrival,
        };
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    /// Goes on to the end of the load, when every connection has been left.
    #[track_caller]
    pub fn finish(&mut self) -> LoadReport {
        let mut told = Vec::new();
        for _ in 0..TURNS {
            self.step();
            told.extend(self.figures.try_iter());
            if self.due.is_none() {
                // Whatever is still under way arrives.
                self.step();
                let setup = Setup {
                    interface: "wire".to_owned(),
                    require: Require::Nothing,
                    mode: XdpMode::Native,
                    queues: vec![(0, Some(0), CopyMode::Copy)],
                    placement: Placement::ByQueue,
                };
                return LoadReport::new(&self.task, &setup, &told, None);
            }
        }
        panic!("the load comes to no end");
    }
}

fn stack(config: StackConfig, last: u8, addresses: Vec<Cidr>) -> Stack {
    let own = |cidr| LocalAddress { cidr, ownership: Ownership::Own };
    let addresses = addresses.into_iter().map(own).collect();
    Stack::new(config, MacAddress([2, 0, 0, 0, 0, last]), addresses, Secrets::from_seed(last.into()))
}

fn transmit(now: Instant, stack: &mut Stack, frames: &mut Vec<Vec<u8>>) {
    let mut buffer = [0; 1_600];
    while let Some(length) = stack.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
        frames.push(buffer[..length].to_vec());
    }
}
