//! What can be set about a runtime, and so about every role on top of it: said once, for all of them.

/// The settings, as methods of a type that holds a [`Runtime`](super::Runtime) in `$place`. `$self` is `self`, which a macro cannot say
/// on its own behalf.
macro_rules! settings {
    ($self:ident, $place:expr) => {
        /// Goes on with another interface: what is said from here on of addresses, queues, VLAN and routers is said of that one. A
        /// worker has a queue of each, and an address is served on the interface that it was given to.
        #[must_use]
        pub fn and_on(mut $self, interface: impl Into<String>) -> Self {
            $place.interfaces.push($crate::runtime::Interface::new(interface));
            $self
        }

        /// Adds an address of the stack's own: the kernel must not have it, and the stack answers ARP, neighbour discovery and
        /// ping for it. Said twice, it is one; with two prefixes it is an error of `start`.
        #[must_use]
        pub fn address(mut $self, address: Cidr) -> Self {
            if !$place.interface().own.contains(&address) {
                $place.interface().own.push(address);
            }
            $self
        }

        /// Adds an address that stays the kernel's: only the listed ports of it are the stack's. Said twice, it is one.
        #[must_use]
        pub fn shared_address(mut $self, address: IpAddr) -> Self {
            if !$place.interface().shared.contains(&address) {
                $place.interface().shared.push(address);
            }
            $self
        }

        /// Serves a VLAN, from 1 to 4094, by frames with its tag. By default it is none: untagged frames are served, and whatever
        /// has a tag is left to the kernel.
        #[must_use]
        pub fn vlan(mut $self, id: u16) -> Self {
            $place.interface().vlan = Some(id);
            $self
        }

        /// Adds a port to listen on, at every address. Said twice, it is one.
        #[must_use]
        pub fn port(mut $self, port: u16) -> Self {
            if !$place.ports.contains(&port) {
                $place.ports.push(port);
            }
            $self
        }

        /// Adds a UDP port, at every address: [`Service::datagram`](crate::Service::datagram) gets what comes there. Said twice, it is one.
        #[must_use]
        pub fn udp_port(mut $self, port: u16) -> Self {
            if !$place.udp_ports.contains(&port) {
                $place.udp_ports.push(port);
            }
            $self
        }

        /// Opens a connection to there at start: the service gets it like those that others open. May be said again, and the
        /// workers take turns.
        #[must_use]
        pub fn connect(mut $self, remote: SocketAddr) -> Self {
            $place.remotes.push(remote);
            $self
        }

        /// Says that nobody will ever listen, where no port is given either: then the XDP program keeps no list of flows, which takes eight
        /// bytes for each that may be, and to listen later is refused.
        #[must_use]
        pub fn only_connects(mut $self) -> Self {
            $place.only_connects = true;
            $self
        }

        /// Adds a router to what lies beyond the subnets of our addresses. The first one of each IP version counts. It is on the link,
        /// though it may lie in no subnet of ours, and may be link-local.
        #[must_use]
        pub fn gateway(mut $self, address: IpAddr) -> Self {
            $place.interface().gateways.push(address);
            $self
        }

        /// Sends answers to this station, rather than to the one that a packet came from: for a server behind a director, which hands on
        /// by link address what comes for an address that both have, while answers go to the router straight (direct server return).
        /// The address is shared (`shared_address`), and the kernel has it where it tells no neighbour, as on the loopback
        /// (docs/link.md). Questions by ARP and neighbour discovery are answered to whoever asks.
        #[must_use]
        pub fn answers_to(mut $self, station: Station) -> Self {
            $place.interface().answers_to = Some(station);
            $self
        }

        /// Serves these queues of the interface only. By default it is all of them: traffic that arrives on a queue nobody
        /// serves is lost.
        #[must_use]
        pub fn queues(mut $self, queues: impl IntoIterator<Item = u32>) -> Self {
            $place.interface().queues.extend(queues);
            $self
        }

        /// Pins the workers to these cores, in turn. By default it is all that the caller's thread may use.
        #[must_use]
        pub fn cores(mut $self, cores: impl IntoIterator<Item = usize>) -> Self {
            $place.cores.extend(cores);
            $self
        }

        /// Makes a fall-back an error: to generic mode, or to copying.
        #[must_use]
        pub fn require(mut $self, require: Require) -> Self {
            $place.require = require;
            $self
        }

        /// Lets sequence numbers and timestamps of connections that we open grow from one process to the next, until the machine
        /// boots, so that a port whose last connection waits in TIME-WAIT at the peer can be used again at once (RFC 6191). Their
        /// secret is then derived from the kernel's boot id, which whoever is on this machine can read. By default it is random.
        #[must_use]
        pub fn lasting_numbers(mut $self) -> Self {
            $place.lasting_numbers = true;
            $self
        }

        /// What workers do when there is nothing to do. By default they sleep.
        #[must_use]
        pub fn idle(mut $self, idle: Idle) -> Self {
            $place.idle = idle;
            $self
        }

        /// Frames of each queue's memory: received packets, and those on their way out. By default it is
        /// [`QueueOptions::default`](crate::xdp::QueueOptions)'s number.
        #[must_use]
        pub fn frames(mut $self, frames: u32) -> Self {
            $place.frames = Some(frames);
            $self
        }

        /// Puts the queues' memory into huge pages, which must have been set aside (`vm.nr_hugepages`).
        #[must_use]
        pub fn huge_pages(mut $self, huge_pages: bool) -> Self {
            $place.huge_pages = huge_pages;
            $self
        }

        /// Has room for so many pairs of connections whose segments the XDP programs translate, where an application hands them over
        /// ([`Stack::part_with`]($crate::stack::Stack::part_with)), as a [`Proxy`]($crate::proxy::Proxy) does whose router wants it. They
        /// take 352 octets each, from the start; 8,388,608 is the most. Default 0: none.
        #[must_use]
        pub fn splices(mut $self, most: u32) -> Self {
            $place.splices = most;
            $self
        }

        /// Lets workers poll the driver for this long after the last frame, before they wait for an interrupt. Where the driver cannot
        /// be polled, as that of a veth, it is said when the first frame comes, and nothing changes.
        #[must_use]
        pub fn busy_poll(mut $self, span: Duration) -> Self {
            $place.busy_poll = Some(span);
            $self
        }

        /// How long connections may go on once the server is told to stop; each is offered to [`Service::drain`](crate::Service::drain), and the server ends when
        /// the last has had its answer. By default they are reset at once.
        #[must_use]
        pub fn drain(mut $self, drain: Duration) -> Self {
            $place.drain = drain;
            $self
        }

        /// Whether and where SYN cookies replace the memory of handshakes. By default the pressure decides, and cookies count only while
        /// they are used, and for their life of two epochs after that.
        #[must_use]
        pub fn cookies(mut $self, cookies: Cookies) -> Self {
            $place.cookies = cookies;
            $self
        }

        /// The secret from which the keys of cookies come, for servers that are to accept each other's: it is never rotated. By
        /// default it is random, and another one every hour.
        #[must_use]
        pub fn cookie_master(mut $self, master: SipKey) -> Self {
            $place.cookie_secret = $crate::runtime::CookieSecret::Fixed(master);
            $self
        }

        /// A file of 32 hexadecimal digits with the secret from which the keys of cookies come, for servers that are to accept each
        /// other's. When it holds another secret, that one counts from the next epoch on: a fleet's files should change within one
        /// epoch ([`EPOCH`](crate::tcp::cookie::EPOCH)).
        ///
        /// It is a regular file of 64 octets at most, which nobody else may write to; a key of zeros is refused. With a
        /// `confinement` that changes the user, it is that user who reads it, from the beginning on.
        #[must_use]
        pub fn cookie_master_file(mut $self, path: impl Into<PathBuf>) -> Self {
            $place.cookie_secret = $crate::runtime::CookieSecret::File(path.into());
            $self
        }

        /// How often a random secret is replaced by another one. No handshake notices.
        #[must_use]
        pub fn cookie_rotation(mut $self, interval: Duration) -> Self {
            $place.cookie_secret = $crate::runtime::CookieSecret::Random(interval);
            $self
        }

        /// Accepts, in its first two epochs, handshakes that another server with the same secret has begun, and whose place this one
        /// takes. Otherwise a server that remembers handshakes knows nothing of others' until a flood makes it forget its own;
        /// where traffic may move between running servers at any time, [`Cookies::Worker`] and [`Cookies::Always`] accept at any time.
        ///
        /// What the other one has accepted is not known here: a segment that the network delivers a second time may open its
        /// connection a second time.
        #[must_use]
        pub fn takes_over(mut $self) -> Self {
            $place.takes_over = true;
            $self
        }

        /// Whether it is asked at start if somebody on the link has one of our own addresses, which takes a fifth of a second: that is
        /// an error, [`RuntimeError::AddressTaken`]. By default it is, unless it takes over from one that
        /// may be running yet. Without it, as for a fleet that shares its addresses, a conflict is said and nothing more.
        #[must_use]
        pub fn probe(mut $self, probe: bool) -> Self {
            $place.probe = probe;
            $self
        }

        /// SYN-ACKs a second, on each CPU, that the XDP program sends to one source prefix (/24 or /56) at most, so that nobody is
        /// flooded through it whose address was forged. SYNs above that are answered when they are repeated. By default
        /// there is such a budget only while more than a million SYNs a second lead to nothing.
        #[must_use]
        pub fn syn_budget(mut $self, answers: u32) -> Self {
            $place.syn_budget = Some(answers);
            $self
        }

        /// Memory for all connections of all workers together, bytes: each worker has its share of it as
        /// [`StackConfig::memory`], unless that says otherwise. By default it is a quarter of what the machine has, or of what the
        /// process's control group may have: the rest is for control blocks that sleep, for packets, and for everybody else.
        #[must_use]
        pub fn memory(mut $self, bytes: u64) -> Self {
            $place.memory = Some(bytes);
            $self
        }

        /// Limits the size of segments, sent and asked for, on connections that others open and that we open at start. By default they
        /// are as large as the link takes.
        #[must_use]
        pub fn max_segment(mut $self, limit: MaxSegment) -> Self {
            $place.max_segment = limit;
            $self
        }

        /// Limits and knobs. The MTU and the checksum policy are the interface's, whatever is said here.
        #[must_use]
        pub fn config(mut $self, config: StackConfig) -> Self {
            $place.config = config;
            $self
        }

        /// Has what is counted at `http://ADDRESS/metrics`, in OpenMetrics or in the older form of Prometheus: see
        /// [`metrics`](crate::telemetry::metrics). The address is one of the kernel's. Whoever reaches it reads names and figures, of no
        /// client's. By default nobody is told.
        #[must_use]
        pub fn metrics(mut $self, address: SocketAddr) -> Self {
            $place.metrics = Some(address);
            $self
        }

        /// Lets a tap look on at every frame, in and out.
        #[must_use]
        pub fn tap(mut $self, tap: Arc<dyn Tap>) -> Self {
            $place.tap = Some(tap);
            $self
        }

        /// Gives up what serving does not need once everything is open and before the first service is made: all capabilities, and what
        /// else is said. By default nothing is given up, because it is the process that gives it up, for good: it may not open files to
        /// write, nor sockets, nor start programs any more, on any thread; and another server cannot be started in it. Capabilities are
        /// the calling thread's, and of those that begin later; threads that began earlier keep theirs, which is said.
        #[must_use]
        pub fn confinement(mut $self, confinement: Confinement) -> Self {
            $place.confinement = Some(confinement);
            $self
        }

        /// Has `handler` hear of every [`Notice`]: what the kernel gave instead of what was asked for, and what changes under way. It is
        /// called on the server's own threads, and none of those is a worker; it must not wait for them, as what changes a running server
        /// does ([`Running::add_address`](crate::runtime::Running::add_address)). Without it, notices go to `tracing`; and where no
        /// subscriber is set there, [`Server::run`](crate::Server::run) says warnings on standard error.
        #[must_use]
        pub fn on_notice(mut $self, handler: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
            $place.on_notice = Some(Arc::new(handler));
            $self
        }
    };
}

pub(crate) use settings;
