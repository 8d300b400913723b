//! A server from end to end: the XDP program, a queue and a worker for each of the interface's queues, and a service on top.
//!
//! ```no_run
//! use xskip::{Server, app::Echo};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! Server::on("veth0").address("198.18.0.1/24".parse()?).port(7).run(|| Echo)?;
//! # Ok(())
//! # }
//! ```

mod claims;
mod defence;
mod error;
mod link_watch;
mod neighbourhood;
mod notice;
mod plan;
mod running;
mod sharing;
mod signals;
mod station;
#[cfg(test)]
mod tests;
mod way_out;

pub use self::{
    defence::{Cookies, Level as DefenceLevel, ListenerDefence},
    error::ServerError,
    link_watch::Change as InterfaceChange,
    notice::Notice,
    running::{Running, ServerReport, Setup},
    sharing::Conflict as SharingConflict,
    signals::StopSignals,
    station::{NoStation, Station},
};

use self::{notice::Notices, running::End};
use crate::{
    app::{Service, Services},
    config::StackConfig,
    host::confinement::Confinement,
    rng::SipKey,
    stack::Cidr,
    tcp::MaxSegment,
    worker::{Application, Context, Idle, Tap},
    xdp::Require,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// How often a random secret of cookies is replaced by another one.
const COOKIE_ROTATION: Duration = Duration::from_secs(3_600);

/// Where the secret of cookies comes from.
enum CookieSecret {
    /// From the operating system, and another one this often.
    Random(Duration),
    /// From the caller.
    Fixed(SipKey),
    /// From a file, now and whenever it changes.
    File(PathBuf),
}

/// A server to be. Nothing happens, and nothing is checked, before [`Server::start`] or [`Server::run`].
pub struct Server {
    interface: String,
    own: Vec<Cidr>,
    shared: Vec<IpAddr>,
    ports: Vec<u16>,
    udp_ports: Vec<u16>,
    vlan: Option<u16>,
    remotes: Vec<SocketAddr>,
    gateways: Vec<IpAddr>,
    answers_to: Option<Station>,
    queues: Vec<u32>,
    cores: Vec<usize>,
    require: Require,
    lasting_numbers: bool,
    idle: Idle,
    frames: Option<u32>,
    huge_pages: bool,
    busy_poll: Option<Duration>,
    drain: Duration,
    cookies: Cookies,
    cookie_secret: CookieSecret,
    takes_over: bool,
    probe: bool,
    syn_budget: Option<u32>,
    memory: Option<u64>,
    max_segment: MaxSegment,
    config: StackConfig,
    tap: Option<Arc<dyn Tap>>,
    confinement: Option<Confinement>,
    on_notice: Option<notice::Handler>,
}

impl Server {
    /// A server on the interface of this name.
    pub fn on(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            own: Vec::new(),
            shared: Vec::new(),
            ports: Vec::new(),
            udp_ports: Vec::new(),
            vlan: None,
            remotes: Vec::new(),
            gateways: Vec::new(),
            answers_to: None,
            queues: Vec::new(),
            cores: Vec::new(),
            require: Require::default(),
            lasting_numbers: false,
            idle: Idle::default(),
            frames: None,
            huge_pages: false,
            busy_poll: None,
            drain: Duration::ZERO,
            cookies: Cookies::default(),
            cookie_secret: CookieSecret::Random(COOKIE_ROTATION),
            takes_over: false,
            probe: true,
            syn_budget: None,
            memory: None,
            max_segment: MaxSegment::default(),
            config: StackConfig::default(),
            tap: None,
            confinement: None,
            on_notice: None,
        }
    }

    /// Adds an address of the stack's own: the kernel must not have it, and the stack answers ARP, neighbour discovery and
    /// ping for it. Said twice, it is one; with two prefixes it is an error of [`Server::start`].
    #[must_use]
    pub fn address(mut self, address: Cidr) -> Self {
        if !self.own.contains(&address) {
            self.own.push(address);
        }
        self
    }

    /// Adds an address that stays the kernel's: only the listed ports of it are the stack's. Said twice, it is one.
    #[must_use]
    pub fn shared_address(mut self, address: IpAddr) -> Self {
        if !self.shared.contains(&address) {
            self.shared.push(address);
        }
        self
    }

    /// Serves a VLAN, from 1 to 4094, by frames with its tag. By default it is none: untagged frames are served, and whatever
    /// has a tag is left to the kernel.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Adds a port to listen on, at every address. Said twice, it is one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
        self
    }

    /// Adds a UDP port, at every address: [`Service::datagram`] gets what comes there. Said twice, it is one.
    #[must_use]
    pub fn udp_port(mut self, port: u16) -> Self {
        if !self.udp_ports.contains(&port) {
            self.udp_ports.push(port);
        }
        self
    }

    /// Opens a connection to there at start: the service gets it like those that others open. May be said again, and the
    /// workers take turns.
    #[must_use]
    pub fn connect(mut self, remote: SocketAddr) -> Self {
        self.remotes.push(remote);
        self
    }

    /// Adds a router to what lies beyond the subnets of our addresses. The first one of each IP version counts. It is on the link,
    /// though it may lie in no subnet of ours, and may be link-local.
    #[must_use]
    pub fn gateway(mut self, address: IpAddr) -> Self {
        self.gateways.push(address);
        self
    }

    /// Sends answers to this station, rather than to the one that a packet came from: for a server behind a director, which hands on
    /// by link address what comes for an address that both have, while answers go to the router straight (direct server return).
    /// The address is shared ([`Server::shared_address`]), and the kernel has it where it tells no neighbour, as on the loopback
    /// (docs/link.md). Questions by ARP and neighbour discovery are answered to whoever asks.
    #[must_use]
    pub fn answers_to(mut self, station: Station) -> Self {
        self.answers_to = Some(station);
        self
    }

    /// Serves these queues of the interface only. By default it is all of them: traffic that arrives on a queue nobody
    /// serves is lost.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = u32>) -> Self {
        self.queues.extend(queues);
        self
    }

    /// Pins the workers to these cores, in turn. By default it is all that the caller's thread may use.
    #[must_use]
    pub fn cores(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        self.cores.extend(cores);
        self
    }

    /// Makes a fall-back an error: to generic mode, or to copying.
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.require = require;
        self
    }

    /// Lets sequence numbers and timestamps of connections that we open grow from one process to the next, until the machine
    /// boots, so that a port whose last connection waits in TIME-WAIT at the peer can be used again at once (RFC 6191). Their
    /// secret is then derived from the kernel's boot id, which whoever is on this machine can read. By default it is random.
    #[must_use]
    pub fn lasting_numbers(mut self) -> Self {
        self.lasting_numbers = true;
        self
    }

    /// What workers do when there is nothing to do. By default they sleep.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = idle;
        self
    }

    /// Frames of each queue's memory: received packets, and those on their way out. By default it is
    /// [`QueueOptions::default`](crate::xdp::QueueOptions)'s number.
    #[must_use]
    pub fn frames(mut self, frames: u32) -> Self {
        self.frames = Some(frames);
        self
    }

    /// Puts the queues' memory into huge pages, which must have been set aside (`vm.nr_hugepages`).
    #[must_use]
    pub fn huge_pages(mut self, huge_pages: bool) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Lets workers poll the driver for this long after the last frame, before they wait for an interrupt. Where the driver cannot
    /// be polled, as that of a veth, it is said when the first frame comes, and nothing changes.
    #[must_use]
    pub fn busy_poll(mut self, span: Duration) -> Self {
        self.busy_poll = Some(span);
        self
    }

    /// How long connections may go on once the server is told to stop; each is offered to [`Service::drain`], and the server ends when
    /// the last has had its answer. By default they are reset at once.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Whether and where SYN cookies replace the memory of handshakes. By default the pressure decides, and cookies count only while
    /// they are used, and for their life of two epochs after that.
    #[must_use]
    pub fn cookies(mut self, cookies: Cookies) -> Self {
        self.cookies = cookies;
        self
    }

    /// The secret from which the keys of cookies come, for servers that are to accept each other's: it is never rotated. By
    /// default it is random, and another one every hour.
    #[must_use]
    pub fn cookie_master(mut self, master: SipKey) -> Self {
        self.cookie_secret = CookieSecret::Fixed(master);
        self
    }

    /// The same from a file of 32 hexadecimal digits. When it holds another secret, that one counts from the next epoch on: a
    /// fleet's files should change within one epoch ([`EPOCH`](crate::tcp::cookie::EPOCH)).
    ///
    /// It is a regular file of 64 octets at most, which nobody else may write to; a key of zeros is refused. With a
    /// [`confinement`](Server::confinement) that changes the user, it is that user who reads it, from the beginning on.
    #[must_use]
    pub fn cookie_master_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cookie_secret = CookieSecret::File(path.into());
        self
    }

    /// How often a random secret is replaced by another one. No handshake notices.
    #[must_use]
    pub fn cookie_rotation(mut self, interval: Duration) -> Self {
        self.cookie_secret = CookieSecret::Random(interval);
        self
    }

    /// Accepts, in its first two epochs, handshakes that another server with the same secret has begun, and whose place this one
    /// takes. Otherwise a server that remembers handshakes knows nothing of others' until a flood makes it forget its own;
    /// where traffic may move between running servers at any time, [`Cookies::Worker`] and [`Cookies::Always`] accept at any time.
    ///
    /// What the other one has accepted is not known here: a segment that the network delivers a second time may open its
    /// connection a second time.
    #[must_use]
    pub fn takes_over(mut self) -> Self {
        self.takes_over = true;
        self
    }

    /// Whether it is asked at start if somebody on the link has one of our own addresses, which takes a fifth of a second: that is
    /// an error, [`ServerError::AddressTaken`]. By default it is, unless this server [takes over](Server::takes_over) from one that
    /// may be running yet. Without it, as for a fleet that shares its addresses, a conflict is said and nothing more.
    #[must_use]
    pub fn probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }

    /// SYN-ACKs a second, on each CPU, that the XDP program sends to one source prefix (/24 or /56) at most, so that nobody is
    /// flooded through this server whose address was forged. SYNs above that are answered when they are repeated. By default
    /// there is such a budget only while more than a million SYNs a second lead to nothing.
    #[must_use]
    pub fn syn_budget(mut self, answers: u32) -> Self {
        self.syn_budget = Some(answers);
        self
    }

    /// Memory for all connections of all workers together, bytes: each worker has its share of it as
    /// [`StackConfig::memory`], unless that says otherwise. By default it is a quarter of what the machine has, or of what the
    /// process's control group may have: the rest is for control blocks that sleep, for packets, and for everybody else.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Limits the size of segments, sent and asked for, on connections that others open and that we open at start. By default they
    /// are as large as the link takes.
    #[must_use]
    pub fn max_segment(mut self, limit: MaxSegment) -> Self {
        self.max_segment = limit;
        self
    }

    /// Limits and knobs. The MTU and the checksum policy are the interface's, whatever is said here.
    #[must_use]
    pub fn config(mut self, config: StackConfig) -> Self {
        self.config = config;
        self
    }

    /// Lets a tap look on at every frame, in and out.
    #[must_use]
    pub fn tap(mut self, tap: Arc<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Gives up what serving does not need once everything is open and before the first service is made: all capabilities, and what
    /// else is said. By default nothing is given up, because it is the process that gives it up, for good: it may not open files to
    /// write, nor sockets, nor start programs any more, on any thread; and another server cannot be started in it. Capabilities are
    /// the calling thread's, and of those that begin later; threads that began earlier keep theirs, which is said.
    #[must_use]
    pub fn confinement(mut self, confinement: Confinement) -> Self {
        self.confinement = Some(confinement);
        self
    }

    /// Has `handler` hear of every [`Notice`]: what the kernel gave instead of what was asked for, and what changes under way. It is
    /// called on the server's own threads, and none of those is a worker. Without it, notices go to `tracing`; and where no
    /// subscriber is set there, [`Server::run`] says warnings on standard error.
    #[must_use]
    pub fn on_notice(mut self, handler: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(Arc::new(handler));
        self
    }

    /// Starts serving; `service` makes one service for each worker, on its thread.
    ///
    /// # Errors
    /// [`ServerError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start<S: Service + 'static>(
        &self,
        service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Running, ServerError> {
        self.start_service(false, service)
    }

    /// `aloud` is whether warnings are said on standard error where nobody else hears them.
    fn start_service<S: Service + 'static>(
        &self,
        aloud: bool,
        service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Running, ServerError> {
        self.check_service()?;
        // A service has no way to open connections but those that were asked for.
        let plan = self.plan(!self.remotes.is_empty())?;
        let application = Arc::new(move |_: &mut Context<'_>| Services::new(service()));
        Running::start(self, &plan, Notices::new(self.on_notice.clone(), aloud), application)
    }

    /// Starts workers with applications of the caller's own, which may open connections when they like: nothing needs to be
    /// listened on. `application` makes one for each worker, on its thread, so what it makes need not be `Send`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with<A: Application + 'static>(
        &self,
        application: impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static,
    ) -> Result<Running, ServerError> {
        let plan = self.plan(true)?;
        Running::start(self, &plan, Notices::new(self.on_notice.clone(), false), Arc::new(application))
    }

    /// Serves until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// As [`Server::start`], and where a worker could not go on.
    pub fn run<S: Service + 'static>(
        &self,
        service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<ServerReport, ServerError> {
        let signals = StopSignals::catch()?;
        self.start_service(true, service)?.until(signals)
    }
}
