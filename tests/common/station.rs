//! Labs whose two ends are AF_XDP sockets of the test's own.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use xskip_cli::{
    host::Link,
    lab::{INTERFACE, Lab, LabOptions, Role, Side},
    xdp::{Frame, Program, ProgramOptions, Queue, QueueOptions, Require, Steering, XdpError, XdpMode},
};

use super::{Name, served::ok};

/// How long the kernel may take for what it does at once. Far more than it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses that no kernel in the lab has.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);

/// A lab that goes before its name does.
pub struct Bench {
    pub lab: Lab,
    _name: Name,
}

impl Bench {
    pub fn new(queues: u32, mtu: u32) -> Self {
        let name = Name::new();
        let lab =
            Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), queues, mtu, impair: None }).unwrap();
        Self { lab, _name: name }
    }

    /// Runs `work` on the server's side.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.lab.server().run(work).unwrap()
    }

    /// Sets the interface of a side up or down.
    pub fn set(&self, role: Role, state: &str) {
        let command = self.lab.side(role).command("ip").args(["link", "set", INTERFACE, state]);
        ok(command.output().unwrap());
    }
}

pub fn open(queue: u32, require: Require, options: &QueueOptions) -> Result<Queue, XdpError> {
    Queue::open(INTERFACE, queue, XdpMode::Native, require, options)
}

pub fn program(own: Ipv4Addr) -> Program {
    Program::load(&Steering { own: vec![own.into()], ..Steering::default() }, &ProgramOptions::default()).unwrap()
}

pub fn attach(program: &mut Program, require: Require) -> Result<XdpMode, XdpError> {
    program.attach(INTERFACE, Link::find(INTERFACE).unwrap().index, require)
}

/// One end of a pair: an attached program, and the socket behind it.
pub struct Station {
    pub own: Ipv4Addr,
    pub program: Program,
    pub queue: Queue,
}

impl Station {
    pub fn new(side: &Side, own: Ipv4Addr, mode: XdpMode, options: &QueueOptions) -> Self {
        Self::with_program(side, own, mode, options, false)
    }

    /// A station whose program takes packets in several pieces, or not.
    pub fn with_program(side: &Side, own: Ipv4Addr, mode: XdpMode, options: &QueueOptions, fragments: bool) -> Self {
        let steering = Steering { own: vec![own.into()], ..Steering::default() };
        Self::steered(side, own, mode, options, (&steering, fragments))
    }

    /// A station in a VLAN.
    pub fn in_vlan(side: &Side, own: Ipv4Addr, vlan: u16) -> Self {
        let steering = Steering { own: vec![own.into()], vlan: Some(vlan), ..Steering::default() };
        Self::steered(side, own, XdpMode::Native, &QueueOptions::default(), (&steering, false))
    }

    fn steered(
        side: &Side,
        own: Ipv4Addr,
        mode: XdpMode,
        options: &QueueOptions,
        (steering, fragments): (&Steering, bool),
    ) -> Self {
        side.run(|| {
            let mut program =
                Program::load(steering, &ProgramOptions { fragments, ..ProgramOptions::default() }).unwrap();
            assert_eq!(attach(&mut program, Require::Nothing).unwrap(), mode);
            let queue = Queue::open(INTERFACE, 0, mode, Require::Nothing, options).unwrap();
            program.connect(&queue).unwrap();
            Self { own, program, queue }
        })
        .unwrap()
    }

    pub fn pair(bench: &Bench, mode: XdpMode, options: &QueueOptions) -> [Self; 2] {
        let (server, client) = (bench.lab.server(), bench.lab.client());
        [Self::new(server, SERVER, mode, options), Self::new(client, CLIENT, mode, options)]
    }

    pub fn flush(&mut self) {
        self.queue.flush().unwrap();
    }

    /// Puts a frame on its way, with the next flush at the latest.
    pub fn send(&mut self, bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut frame = loop {
            match self.queue.allocate() {
                Some(frame) => break frame,
                None => self.flush(),
            }
            assert!(Instant::now() < deadline, "no frame came back: {:?}", self.queue.audit());
        };
        self.queue.buffer(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        self.queue.transmit(frame, bytes.len());
    }

    /// Flushes until the kernel has given back everything it was to send.
    #[track_caller]
    pub fn settle(&mut self) {
        wait(|| {
            self.flush();
            self.queue.audit().transmit == 0
        });
        self.balanced();
    }

    /// Whatever has arrived.
    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut frames: Vec<Frame> = Vec::new();
        let count = self.queue.receive(&mut frames, 64);
        assert_eq!((count, self.queue.audit().held), (frames.len(), count as u32));
        let bytes = frames.iter().map(|frame| self.queue.data(frame).to_vec()).collect();
        frames.into_iter().for_each(|frame| self.queue.release(frame));
        bytes
    }

    /// Waits for so many frames.
    #[track_caller]
    pub fn receive_all(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut received = Vec::new();
        wait(|| {
            received.extend(self.receive());
            received.len() >= count
        });
        received
    }

    #[track_caller]
    pub fn balanced(&self) {
        let audit = self.queue.audit();
        assert!(audit.is_balanced(), "{audit:?}");
    }

    /// What the kernel has dropped in front of the socket.
    pub fn dropped(&self) -> u64 {
        let statistics = self.queue.statistics().unwrap();
        assert_eq!((statistics.rx_invalid_descriptors, statistics.tx_invalid_descriptors), (0, 0));
        statistics.rx_dropped + statistics.rx_ring_full
    }
}

/// Waits until something is so; a test that waits in vain has failed.
#[track_caller]
pub fn wait(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_micros(50));
    }
}
