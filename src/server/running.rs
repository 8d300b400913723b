//! A server at work.

use super::{
    CookieSecret, ListenerDefence, Notice, Seat, Server, ServerError, StopSignals,
    defence::{self, Defence, FilterWriter, MasterFile, Rotation},
    link_watch::{Change, Followers, LinkWatch, Watched},
    neighbourhood::{Ears, Neighbourhood},
    notice::Notices,
    plan::Plan,
    sharing,
    station::{Followed, Station},
    way_out::Way,
};
use crate::{
    config::StackConfig,
    drops::{DropReason, Drops},
    host::{HostError, confinement, cores, groups::SolicitedNodes, memory},
    rng::SipKey,
    stack::{Ownership, Secrets, Stack, SynAckProfile},
    stats::StackStats,
    tcp::cookie::EPOCH,
    time::Instant,
    wire::{ChecksumPolicy, Endpoint, icmp},
    worker::{Application, Clock, Control, HandOff, Mailbox, Placement, Report, Shutdown, Worker, WorkerOptions},
    xdp::{
        Action, CopyMode, Guard, Program, Queue, QueueOptions, Require, Service, SynAckFields, Unfinished, Verdicts,
        XdpError, XdpMode,
    },
};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::{self, JoinHandle},
};

/// Connections may take one part in so many of the memory there is, unless somebody says how much.
const MEMORY_SHARE: u64 = 4;

/// What was asked for and what the kernel gave: no fall-back is silent.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The interface.
    pub interface: String,
    /// What was required of it.
    pub require: Require,
    /// Where the XDP program runs.
    pub mode: XdpMode,
    /// For each queue: its number, the core that its worker is pinned to, if it is, and whether its frames are copied.
    pub queues: Vec<(u32, Option<usize>, CopyMode)>,
    /// Who has which flow.
    pub placement: Placement,
}

impl Setup {
    /// Whether everything is as fast as it was asked for: native mode and zero copy.
    pub fn is_full(&self) -> bool {
        self.mode == XdpMode::Native && self.queues.iter().all(|&(_, _, copy)| copy == CopyMode::ZeroCopy)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero_copies = self.queues.iter().filter(|&&(_, _, copy)| copy == CopyMode::ZeroCopy).count();
        let copying = match zero_copies {
            0 => "copy mode",
            n if n == self.queues.len() => "zero copy",
            _ => "zero copy on some queues, copy mode on others",
        };
        let Self { interface, require, mode, .. } = self;
        write!(
            f,
            "{interface}: asked for native XDP with zero copy (required: {require}), got {mode} XDP with {copying}"
        )?;
        for (queue, core, _) in &self.queues {
            match core {
                Some(core) => write!(f, "; queue {queue} on core {core}")?,
                None => write!(f, "; queue {queue} on no core of its own")?,
            }
        }
        if self.queues.len() > 1 {
            f.write_str(match self.placement {
                Placement::ByQueue => "; flows stay on the queue they come to",
                Placement::ByHash => "; flows are placed by a hash",
            })?;
        }
        Ok(())
    }
}

/// What a server did, all workers together.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// What each worker did.
    pub workers: Vec<Report>,
    /// What the XDP program decided.
    pub verdicts: Verdicts,
    /// How each listener was defended in the end.
    pub defence: Vec<ListenerDefence>,
    /// What there was to say, from the beginning on: the first 256 of it.
    pub notices: Vec<Notice>,
}

impl ServerReport {
    /// The counters of all stacks together.
    pub fn stats(&self) -> StackStats {
        self.workers.iter().fold(StackStats::default(), |mut sum, worker| {
            sum.merge(&worker.stats);
            sum
        })
    }

    /// The refusals of all stacks together.
    pub fn drops(&self) -> Drops {
        self.workers.iter().fold(Drops::default(), |mut sum, worker| {
            sum.merge(&worker.drops);
            sum
        })
    }

    /// A sentence for the user where the counters show a mistake in the set-up rather than bad luck.
    pub fn diagnosis(&self) -> Option<&'static str> {
        (self.drops().get(DropReason::PartialTcpChecksum) > 0).then_some(
            "segments came with unfinished checksums, so their sender leaves them to hardware that is not there: turn \
             that off at the sender with `ethtool -K IF tx off`",
        )
    }
}

/// A server at work, until it is stopped. Dropping it ends the workers too, but tells nothing.
pub struct Running {
    setup: Setup,
    notices: Notices,
    workers: Vec<(u32, JoinHandle<Result<Report, XdpError>>)>,
    mailboxes: Arc<[Mailbox]>,
    shutdown: Shutdown,
    /// Where workers that end, for whatever reason, say so: none should before it is told to.
    ended: (Sender<()>, Receiver<()>),
    /// Ended by its drop.
    defence: Defence,
    /// Ended by its drop.
    link_watch: LinkWatch,
    /// Ended by its drop.
    _neighbourhood: Neighbourhood,
    /// Left by its drop.
    _groups: Option<SolicitedNodes>,
    /// Last, so that it goes last: the program is detached when its workers have sent their resets.
    program: Program,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl Running {
    pub(super) fn start<A: Application + 'static>(
        server: &Server,
        plan: &Plan,
        notices: Notices,
        mut application: impl FnMut(Seat) -> A,
    ) -> Result<Self, ServerError> {
        // Nothing has been touched so far: where somebody has an address of ours, nothing will be.
        let ears = listen(server, plan)?;
        let (program, mode, queues) = open(server, plan, &notices)?;
        for conflict in sharing::conflicts(&server.shared, &server.ports, &server.udp_ports) {
            notices.tell(Notice::Sharing(conflict));
        }
        let way = Way::find(server, plan, mode, program.guard().clone(), notices.clone());
        let groups = join_groups(plan, &notices);
        let cores = plan.cores.iter().copied();
        // Which worker is on which core is known when they have begun.
        let summary = queues.iter().map(|queue| (queue.id(), None, queue.copy_mode()));
        let (interface, got, placement) = (server.interface.clone(), summary.collect(), plan.placement);
        let setup = Setup { interface, require: server.require, mode, queues: got, placement };
        let router = follow(server, plan, program.guard())?;
        // From here on threads begin, and files are read.
        let keeps_bpf = confine(server, &program)?;

        let (secrets, rotation) = secrets(server, &notices)?;
        let config = stack_config(server, plan, mode);
        let controls: Vec<Arc<Control>> = queues.iter().map(|_| Arc::default()).collect();
        let mailboxes = mailboxes(queues.len())?;
        let clock = Clock::start();
        serve_listeners(&program, server, plan, &config)?;
        let defence = Defence::start(defence::Setup {
            cookies: server.cookies,
            guard: program.guard().clone(),
            master: secrets.cookie_master(),
            rotation,
            syn_budget: server.syn_budget,
            clock,
            controls: controls.clone(),
            services: program.services().clone(),
            notices: notices.clone(),
        })?;
        let ended = unbounded();
        let neighbourhood = Neighbourhood::start(ears, server.interface.clone(), mailboxes.clone(), notices.clone())?;
        let followers = Followers {
            controls: controls.clone(),
            guard: Some(program.guard().clone()),
            announcer: Some(neighbourhood.announcer()),
        };
        let link_watch = watch_link(plan, followers, way, router, notices.clone(), End(ended.0.clone()))?;
        let (workers, shutdown) = (Vec::new(), Shutdown::default());
        let mut running = Self {
            setup,
            notices,
            workers,
            mailboxes,
            shutdown,
            ended,
            defence,
            link_watch,
            _neighbourhood: neighbourhood,
            _groups: groups,
            program,
        };
        for (number, ((queue, core), control)) in queues.into_iter().zip(cores).zip(controls).enumerate() {
            let seat = Seat { number, workers: running.mailboxes.len() };
            let stack = Stack::new(config.clone(), plan.mac(), plan.addresses.clone(), secrets.clone());
            let mut stack = prepare(stack, server, plan, (seat, queue.id(), clock))?;
            if !server.ports.is_empty() {
                stack.watch_flows(Box::new(FilterWriter(running.program.guard().filter().clone())));
            }
            connect(&mut stack, server, (seat, clock))?;
            let hand_off = HandOff::new(plan.placement, secrets.clone(), number, running.mailboxes.clone());
            let options = WorkerOptions { idle: server.idle, drain: server.drain };
            let application = application(seat);
            let worker = Worker::new(queue, stack, application, clock, hand_off, options, running.shutdown.clone())
                .with_control(control)
                .with_tap(server.tap.clone());
            running.set_to_work(number, core, keeps_bpf, worker)?;
        }
        running.notices.tell(Notice::Serving(running.setup.clone()));
        Ok(running)
    }

    /// Gives a worker a thread, and waits until that is on its core, or cannot get there.
    fn set_to_work<A: Application + 'static>(
        &mut self,
        number: usize,
        core: usize,
        keeps_bpf: bool,
        worker: Worker<A>,
    ) -> Result<(), ServerError> {
        let ((queue, ..), end) = (self.setup.queues[number], End(self.ended.0.clone()));
        let (tell, told) = bounded(1);
        let thread = thread::Builder::new().name(format!("xskip-{queue}")).spawn(move || {
            let _end = end;
            tell.send(cores::pin(core)).ok();
            if keeps_bpf {
                // A worker's maps are shared memory.
                confinement::give_up_capabilities().unwrap_or_else(|error| tracing::warn!(%error));
            }
            worker.run()
        });
        let thread = thread.map_err(|source| ServerError::System { what: "start a worker's thread", source })?;
        self.workers.push((queue, thread));
        match told.recv() {
            Ok(Ok(())) => self.setup.queues[number].1 = Some(core),
            Ok(Err(error)) => self.notices.tell(Notice::Unpinned { queue, core, reason: error.to_string() }),
            Err(_) => {}
        }
        Ok(())
    }

    /// What was asked for and what the kernel gave.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What there was to say so far, from the beginning on: the first 256 of it.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.kept()
    }

    /// What the XDP program has decided so far.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn verdicts(&self) -> Result<Verdicts, XdpError> {
        self.program.verdicts()
    }

    /// How each listener is defended now.
    pub fn defence(&self) -> Vec<ListenerDefence> {
        self.defence.records()
    }

    /// Whether all workers are at work and the interface is there. Where that is not so, [`Running::stop`] says why.
    pub fn is_running(&self) -> bool {
        self.ended.1.is_empty()
    }

    /// Ends every connection and every worker, detaches the program, and reports.
    ///
    /// # Errors
    /// Where a worker had to give up, or panicked, or the interface is gone.
    pub fn stop(mut self) -> Result<ServerReport, ServerError> {
        self.request_stop();
        self.collect()
    }

    /// Serves until a signal comes, until the interface is deleted or moved away, or until a worker ends by itself, which only
    /// happens in trouble. A second signal resets connections that were still given time to finish.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn until(self, signals: StopSignals) -> Result<ServerReport, ServerError> {
        let (stop, ended) = (End(self.ended.0.clone()), self.ended.1.clone());
        let shutdown = self.shutdown.clone();
        let listener = signals.listen(stop, move || shutdown.hurry());
        // The first word comes from a signal, from a worker that has given up or from the link's watch: then all of them end.
        ended.recv().ok();
        let report = self.stop();
        listener.end();
        report
    }

    fn request_stop(&self) {
        self.shutdown.request();
        for mailbox in self.mailboxes.iter() {
            mailbox.ring();
        }
    }

    fn collect(&mut self) -> Result<ServerReport, ServerError> {
        let mut reports = Vec::new();
        let mut failure = None;
        for (queue, worker) in self.workers.drain(..) {
            match worker.join() {
                Ok(Ok(report)) => reports.push(report),
                Ok(Err(error)) => failure = Some(error.into()),
                Err(_) => failure = Some(ServerError::WorkerPanicked { queue }),
            }
        }
        match failure {
            Some(error) => Err(error),
            None if self.link_watch.is_gone() => {
                Err(ServerError::InterfaceGone { interface: self.setup.interface.clone() })
            }
            None => {
                self.defence.end();
                let (verdicts, defence) = (self.program.verdicts()?, self.defence.records());
                Ok(ServerReport { workers: reports, verdicts, defence, notices: self.notices.kept() })
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.request_stop();
        for (_, worker) in self.workers.drain(..) {
            worker.join().ok();
        }
    }
}

/// Says that something has ended when it is dropped, by whichever way out, a panic's included.
#[derive(Debug)]
pub(super) struct End(Sender<()>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

/// Listens to the neighbours, and asks them whether somebody has an address of ours.
fn listen(server: &Server, plan: &Plan) -> Result<Ears, ServerError> {
    let ears = Ears::open(plan, server.vlan_id())?;
    if server.probe && !server.takes_over {
        let interface = server.interface.clone();
        ears.probe().map_err(|(address, station)| ServerError::AddressTaken { interface, address, station })?;
    }
    Ok(ears)
}

/// Lets a stack know what it serves, which flows are its own, and what time it is.
fn prepare(
    mut stack: Stack,
    server: &Server,
    plan: &Plan,
    (seat, queue, clock): (Seat, u32, Clock),
) -> Result<Stack, ServerError> {
    server.ports.iter().for_each(|&port| stack.listen_with(None, port, server.max_segment));
    match &plan.scaling {
        Some(scaling) => stack.set_receive_scaling(queue, scaling.clone()),
        None if plan.placement == Placement::ByHash => stack.set_share(seat.number, seat.workers),
        None => {}
    }
    for &port in &server.udp_ports {
        stack.bind_udp(None, port)?;
    }
    stack.set_calendar(clock.calendar(Instant::ZERO));
    if server.takes_over {
        stack.accept_cookies_until(Instant::ZERO + 2 * EPOCH);
    }
    Ok(stack)
}

/// Opens those of the server's connections that are this worker's.
fn connect(stack: &mut Stack, server: &Server, (seat, clock): (Seat, Clock)) -> Result<(), ServerError> {
    for remote in server.remotes.iter().skip(seat.number).step_by(seat.workers) {
        let remote = Endpoint { address: remote.ip(), port: remote.port() };
        let now = clock.now();
        let id = stack.connect(now, remote, None)?;
        // Its SYN is yet to be sent.
        if let Some(mut stream) = stack.stream(now, id) {
            stream.set_max_segment(server.max_segment);
        }
    }
    Ok(())
}

/// Everything that takes a right.
fn open(server: &Server, plan: &Plan, notices: &Notices) -> Result<(Program, XdpMode, Vec<Queue>), XdpError> {
    let (program, mode) = attach_program(server, plan)?;
    let mut queues = Vec::new();
    for &id in &plan.queues {
        let queue = open_queue(server, plan, id, mode, notices)?;
        program.connect(&queue)?;
        queues.push(queue);
    }
    Ok((program, mode, queues))
}

/// Gives up what serving does not need, if that was asked for: whether CAP_BPF had to stay.
fn confine(server: &Server, program: &Program) -> Result<bool, HostError> {
    let Some(confinement) = &server.confinement else { return Ok(false) };
    let keeps_bpf = needs_bpf(program)?;
    if keeps_bpf {
        tracing::info!("this kernel lets nobody read the guard's counters without CAP_BPF, so that is kept");
    }
    confinement.enter(keeps_bpf)?;
    Ok(keeps_bpf)
}

/// Whether it takes CAP_BPF to ask an open map, as before Linux 5.19 where `kernel.unprivileged_bpf_disabled` is not 0. It is
/// tried, on a thread that has given everything up.
fn needs_bpf(program: &Program) -> Result<bool, HostError> {
    let is_refused = || {
        confinement::give_up_capabilities()?;
        Ok(matches!(program.verdicts(), Err(XdpError::NotPermitted { .. })))
    };
    thread::scope(|scope| scope.spawn(is_refused).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn attach_program(server: &Server, plan: &Plan) -> Result<(Program, XdpMode), XdpError> {
    let mut program = Program::load(&plan.steering, &plan.program_options(server))?;
    let mode = program.attach(&server.interface, plan.link.index, server.require)?;
    program.guard().set_unfinished(match (mode, plan.checksums(mode)) {
        (_, ChecksumPolicy::Verify) => Unfinished::Refused,
        (XdpMode::Native, ChecksumPolicy::AcceptPartial) => Unfinished::Taken,
        (XdpMode::Generic, ChecksumPolicy::AcceptPartial) => Unfinished::Kept,
    });
    Ok((program, mode))
}

/// In generic mode the kernel may merge segments into packets of several frames: those are lost where it cannot hand them over
/// (before Linux 6.6), and all others are not.
fn open_queue(server: &Server, plan: &Plan, id: u32, mode: XdpMode, notices: &Notices) -> Result<Queue, XdpError> {
    let options = plan.queue_options(server, mode);
    match Queue::open(&server.interface, id, mode, server.require, &options) {
        Err(XdpError::NoMultiBuffer { .. }) if !plan.fragments => {
            notices.tell(Notice::MergedPacketsLost { interface: server.interface.clone(), queue: id });
            let options = QueueOptions { longest: None, ..options };
            Queue::open(&server.interface, id, mode, server.require, &options)
        }
        opened => opened,
    }
}

/// Lets the NIC, and switches that look who listens, pass on questions for our IPv6 addresses.
fn join_groups(plan: &Plan, notices: &Notices) -> Option<SolicitedNodes> {
    let own = plan.addresses.iter().filter(|local| local.ownership == Ownership::Own);
    let groups = own.filter_map(|local| match local.cidr.address {
        IpAddr::V6(address) => Some(icmp::solicited_node(address).0),
        IpAddr::V4(_) => None,
    });
    let joined = SolicitedNodes::join(plan.link.index, groups);
    let refused = |error: HostError| {
        notices.tell(Notice::Unsolicited { interface: plan.link.name.clone(), reason: error.to_string() });
    };
    joined.map_err(refused).ok()
}

/// Tells the program whom answers go to. Where that is a neighbour, it is to be followed.
fn follow(server: &Server, plan: &Plan, guard: &Arc<Guard>) -> Result<Option<Followed>, ServerError> {
    let Some(mac) = plan.answers_to else { return Ok(None) };
    guard.set_answers_to(mac.0);
    match server.answers_to {
        Some(Station::Neighbour(address)) => Followed::new(&plan.link, address, mac, guard.clone()).map(Some),
        _ => Ok(None),
    }
}

/// Watches the interface from now on, and says which of its queues nobody serves already.
fn watch_link(
    plan: &Plan,
    followers: Followers,
    way: Way,
    router: Option<Followed>,
    notices: Notices,
    end: End,
) -> Result<LinkWatch, ServerError> {
    let Plan { link, queues, addresses, .. } = plan;
    let (link, queues, addresses, mtu_max) = (link.clone(), queues.clone(), addresses.clone(), plan.mtu_max());
    let watched = Watched { link, queues, addresses, mtu_max, followers, notices, router };
    let count = watched.link.rx_queues;
    let unserved = watched.unserved(count);
    if !unserved.is_empty() {
        let (interface, change) = (watched.link.name.clone(), Change::Queues { count, unserved });
        watched.notices.tell(Notice::Interface { interface, change });
    }
    LinkWatch::start(watched, way, end)
}

fn mailboxes(count: usize) -> Result<Arc<[Mailbox]>, ServerError> {
    let mailboxes = (0..count).map(|_| Mailbox::new()).collect::<Result<Vec<_>, _>>();
    mailboxes.map(Arc::from).map_err(|errno| ServerError::System { what: "make a mailbox", source: errno.into() })
}

/// The secrets to begin with, and where others come from later.
fn secrets(server: &Server, notices: &Notices) -> Result<(Secrets, Rotation), ServerError> {
    let mut secrets = Secrets::random()?;
    if server.lasting_numbers {
        secrets = secrets.with_numbers(key_of_this_boot()?);
    }
    Ok(match &server.cookie_secret {
        &CookieSecret::Random(interval) => (secrets, Rotation::Every(interval)),
        &CookieSecret::Fixed(master) => (secrets.with_cookie_master(master), Rotation::Never),
        CookieSecret::File(path) => {
            let (file, master) = MasterFile::open(path.clone(), notices.clone())?;
            (secrets.with_cookie_master(master), Rotation::File(file))
        }
    })
}

/// A key that every process has until the machine boots, and that nobody elsewhere knows (random(4): 122 random bits).
fn key_of_this_boot() -> Result<SipKey, ServerError> {
    let failed = |source| ServerError::System { what: "read the kernel's boot id", source };
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    SipKey::from_hex(&digits).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

/// The configuration as the interface wants it.
fn stack_config(server: &Server, plan: &Plan, mode: XdpMode) -> StackConfig {
    let mut config = server.config.clone();
    config.tcp.mtu = plan.link.mtu as usize;
    config.checksums = plan.checksums(mode);
    config.vlan = server.vlan_id();
    config.gateways.extend(&server.gateways);
    config.answers_to = plan.answers_to;
    let memory = server.memory.or_else(|| memory::available().map(|bytes| bytes / MEMORY_SHARE));
    let each = memory.map(|bytes| bytes / plan.queues.len().max(1) as u64);
    config.memory = config.memory.or(each.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)));
    config
}

/// Tells the program of every address and port that is listened on, with what its SYN-ACKs say.
fn serve_listeners(program: &Program, server: &Server, plan: &Plan, config: &StackConfig) -> Result<(), XdpError> {
    let addresses = plan.addresses.iter().map(|local| local.cidr.address);
    let listeners = addresses.flat_map(|address| server.ports.iter().map(move |&port| SocketAddr::new(address, port)));
    for listener in listeners {
        let profile = SynAckProfile::of(listener.ip(), server.max_segment, &config.tcp);
        let SynAckProfile { mss, window, window_scale, sack, hop_limit, traffic_class } = profile;
        let fields = SynAckFields { mss, window, window_scale, sack, hop_limit, traffic_class };
        program.services().serve(Service::tcp(listener), Action::Listener(fields))?;
    }
    Ok(())
}
