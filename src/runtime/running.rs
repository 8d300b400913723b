//! Workers at work.

use super::{
    CookieSecret, Cookies, ListenerDefence, Notice, RunReport, Runtime, RuntimeError, Setup, StopSignal, StopSignals,
    addressing::Addressing,
    assembly::{self, Assembly},
    defence::{self, Defence, MasterFile, Rotation},
    interface::{Opened, Served, Shared, listen},
    listening::Listening,
    metrics,
    notice::Notices,
    plan::Plan,
};
use crate::{
    host::{HostError, confinement, cores, rights::KernelVersion},
    rng::SipKey,
    stack::Secrets,
    telemetry::metrics::Exporter,
    worker::{
        self, Application, ApplicationPanic, BindRefused, Clock, Context, ListenRefused, Mailbox, Shutdown, Worker,
        Workers,
    },
    xdp::{Outcomes, Program, Services, SpliceTable, Verdicts, XdpError, XdpMode},
};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use std::{
    any::Any,
    fmt, fs, io,
    net::IpAddr,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// The first kernel whose XDP programs can read whatever part of a packet they like, as those do that translate segments.
const SPLICES_SINCE: KernelVersion = KernelVersion::new(5, 18, 0);

/// Room for pairs of connections whose segments programs translate, where that is wanted and can be had: it is a faster way, and no other
/// one.
fn room_for_pairs(runtime: &Runtime, notices: &Notices) -> Option<Arc<SpliceTable>> {
    if runtime.splices == 0 {
        return None;
    }
    let reason = match KernelVersion::running() {
        Ok((version, _)) if version < SPLICES_SINCE => {
            format!("the kernel is {version}, and its XDP programs can do so from {SPLICES_SINCE} on")
        }
        _ => match SpliceTable::new(runtime.splices) {
            Ok(table) => return Some(Arc::new(table)),
            Err(error) => error.to_string(),
        },
    };
    notices.tell(Notice::NotSpliced { reason });
    None
}

/// Whether frames come as they were sent. In generic mode the kernel has merged them before, and hardware has left their checksums
/// unfinished.
fn may_splice(opened: &[Opened], notices: &Notices) -> bool {
    let generic = opened.iter().find(|opened| opened.mode == XdpMode::Generic);
    if let Some(Opened { setup, .. }) = generic {
        let reason = format!("XDP is in generic mode on {}, where packets come merged", setup.interface);
        notices.tell(Notice::NotSpliced { reason });
    }
    generic.is_none()
}

/// Workers at work, until they are stopped. Dropping it ends them too, but tells nothing.
pub struct Running {
    /// First, so that nobody looks on any more when the rest goes.
    exporter: Option<Exporter>,
    setups: Vec<Setup>,
    pub(super) notices: Notices,
    threads: Vec<(u32, JoinHandle<Result<worker::Report, XdpError>>)>,
    pub(super) workers: Workers,
    shutdown: Shutdown,
    /// Where workers that end, for whatever reason, say so: none should before it is told to.
    ended: (Sender<()>, Receiver<()>),
    /// Ended by its drop.
    defence: Defence,
    is_spliced: bool,
    /// Who hears of ports and addresses.
    pub(super) listening: Arc<Listening>,
    pub(super) addressing: Addressing,
    /// Last, so that they go last: programs are detached when the workers have sent their resets.
    pub(super) interfaces: Vec<Served>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("setups", &self.setups).finish_non_exhaustive()
    }
}

impl Running {
    pub(super) fn start<A: Application + 'static>(
        runtime: &Runtime,
        plan: &Plan,
        notices: Notices,
        application: impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static,
    ) -> Result<Self, RuntimeError> {
        // Nothing has been touched so far: where somebody has an address of ours, nothing will be.
        let door = metrics::door(runtime.metrics)?;
        let ears = plan.interfaces.iter().map(|plan| listen(runtime, plan)).collect::<Result<Vec<_>, _>>()?;
        let (mut opened, key) = (Vec::new(), SipKey::random()?);
        let splices = room_for_pairs(runtime, &notices);
        let shared = Shared { placement: plan.placement, key, splices };
        for (plan_of_one, ears) in plan.interfaces.iter().zip(ears) {
            opened.push(Opened::open(runtime, plan_of_one, &shared, ears, &notices)?);
        }
        // From here on threads begin, and files are read.
        // A balancer's workers only hear strangers; what changes, others change.
        let renounces = confine(runtime, &opened)? || runtime.balance.is_some();
        let (secrets, rotation) = secrets(runtime, &notices)?;
        let (workers, clock) = (Workers::new(mailboxes(plan.workers())?), Clock::start());
        let splices = shared.splices.filter(|_| may_splice(&opened, &notices));
        let is_spliced = splices.is_some();
        let assembly = Assembly::new(runtime, plan, &opened, secrets.clone(), clock).with_splices(splices);
        let listening = assembly.listening(&opened, workers.clone())?;
        let defence = Defence::start(defence::Setup {
            cookies: runtime.cookies,
            programs: opened.iter().map(Opened::guarded).collect(),
            master: secrets.cookie_master(),
            rotation,
            syn_budget: runtime.syn_budget,
            clock,
            workers: workers.clone(),
            notices: notices.clone(),
        })?;
        let (ended, shutdown) = (unbounded(), Shutdown::default());
        let assembled = assembly.assemble(&mut opened, &workers, &shutdown, &listening)?;
        let mut interfaces = Vec::new();
        for ((id, opened), plan) in assembly::interfaces().zip(opened).zip(&plan.interfaces) {
            interfaces.push(opened.serve(id, plan, &workers, &notices, End(ended.0.clone()))?);
        }
        let setups = interfaces.iter().map(|served| served.setup.clone()).collect();
        let (threads, addressing) = (Vec::new(), Addressing::new(runtime));
        let exporter = metrics::export(door, &workers, &interfaces, defence.view())?;
        let mut running = Self {
            exporter,
            setups,
            notices,
            threads,
            workers,
            shutdown,
            ended,
            defence,
            is_spliced,
            listening,
            addressing,
            interfaces,
        };
        running.employ(assembled, &plan.cores, renounces, Arc::new(application))?;
        running.setups.iter().for_each(|setup| running.notices.tell(Notice::Serving(setup.clone())));
        Ok(running)
    }

    /// Gives each worker its thread and its core.
    fn employ<A: Application + 'static>(
        &mut self,
        workers: Vec<Worker>,
        cores: &[usize],
        renounces: bool,
        application: Arc<impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static>,
    ) -> Result<(), RuntimeError> {
        for ((number, worker), &core) in workers.into_iter().enumerate().zip(cores) {
            // Moved on into what makes the application, so that nothing of it is kept for longer than that takes: whoever waits for all
            // that it holds to be dropped, such as the senders of a channel, does not wait for the workers.
            let application = application.clone();
            if let Err(error) = self.set_to_work(number, core, renounces, move || worker.run(move |cx| application(cx)))
            {
                // Those that have begun wait for nobody who never does.
                self.shutdown.hurry();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives a worker a thread, and waits until that is on its core, or cannot get there.
    fn set_to_work(
        &mut self,
        number: usize,
        core: usize,
        renounces: bool,
        work: impl FnOnce() -> Result<worker::Report, XdpError> + Send + 'static,
    ) -> Result<(), RuntimeError> {
        let ((queue, ..), end) = (self.setups[0].queues[number], End(self.ended.0.clone()));
        let (tell, told) = bounded(1);
        let thread = thread::Builder::new().name(format!("xskip-{queue}")).spawn(move || {
            let _end = end;
            tell.send(cores::pin(core)).ok();
            if renounces {
                // A worker's maps are shared memory.
                confinement::give_up_capabilities().unwrap_or_else(|error| tracing::warn!(%error));
            }
            work()
        });
        let thread = thread.map_err(|source| RuntimeError::System { what: "start a worker's thread", source })?;
        self.threads.push((queue, thread));
        match told.recv() {
            Ok(Ok(())) => self.setups.iter_mut().for_each(|setup| setup.queues[number].1 = Some(core)),
            Ok(Err(error)) => self.notices.tell(Notice::Unpinned { queue, core, reason: error.to_string() }),
            Err(_) => {}
        }
        Ok(())
    }

    /// What was asked for and what the kernel gave, for each interface.
    pub fn setups(&self) -> &[Setup] {
        &self.setups
    }

    /// Whether there is a table of pairs of connections, for programs that translate their segments: a [notice](Notice::NotSpliced) says why
    /// not.
    pub fn is_spliced(&self) -> bool {
        self.is_spliced
    }

    /// What there was to say so far, from the beginning on: the first 256 of it.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.kept()
    }

    /// What the XDP programs have decided so far, all interfaces together.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn verdicts(&self) -> Result<Verdicts, XdpError> {
        let mut sum = Verdicts::default();
        for served in &self.interfaces {
            sum.merge(&served.program.verdicts()?);
        }
        Ok(sum)
    }

    /// What has become of packets for services that backends serve, all interfaces together.
    pub(crate) fn outcomes(&self) -> Result<Outcomes, XdpError> {
        let mut sum = Outcomes::default();
        for served in &self.interfaces {
            sum.merge(&served.program.outcomes()?);
        }
        Ok(sum)
    }

    /// What each interface's program serves.
    pub(crate) fn steering(&self) -> impl Iterator<Item = &Arc<Services>> {
        self.interfaces.iter().map(|served| served.program.services())
    }

    /// The interfaces on which nothing that a program sends would arrive.
    pub(crate) fn mute_interfaces(&self) -> impl Iterator<Item = &str> {
        let mute = self.interfaces.iter().filter(|served| !served.program.guard().has_way_out());
        mute.map(|served| served.setup.interface.as_str())
    }

    /// The interfaces by the names that they had at start.
    pub(crate) fn interface_names(&self) -> impl Iterator<Item = String> {
        self.interfaces.iter().map(|served| served.setup.interface.clone())
    }

    /// How each listener is defended now.
    pub fn defence(&self) -> Vec<ListenerDefence> {
        self.defence.records()
    }

    /// For whoever looks on.
    pub(super) fn defence_view(&self) -> defence::View {
        self.defence.view()
    }

    /// Has cookies used like this from now on, for every listener: as [`Server::cookies`](crate::Server::cookies) says for the beginning.
    /// No handshake notices: cookies that were sent count for as long as they live.
    pub fn set_cookies(&self, cookies: Cookies) {
        self.defence.set_cookies(cookies);
    }

    /// Has the keys of cookies come from another secret, from the next epoch on ([`EPOCH`](crate::tcp::cookie::EPOCH)): cookies that were
    /// sent by then still count. A fleet's servers should all be told within one epoch. Where the secret is a random one, or a file's, the
    /// next one of those follows when it is due.
    pub fn set_cookie_master(&self, master: SipKey) {
        self.defence.set_cookie_master(master);
    }

    /// The workers, to be spoken to and looked at.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Accepts connections to `port`, at one address or at all that are served, on every worker. What is said about them is up to the
    /// service or application that is there: [`ByPort`](crate::app::ByPort) tells services apart by port.
    ///
    /// # Errors
    /// [`ListenRefused`] says what to do. Nobody listens there then who did not before.
    pub fn listen(&self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        if self.shutdown.is_requested() {
            return Err(ListenRefused::Stopping);
        }
        self.listening.listen(address, port)
    }

    /// Accepts no more connections to `port` at this address, or by the listener at all of them; whether anybody did. Connections
    /// there go on.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn unlisten(&self, address: Option<IpAddr>, port: u16) -> Result<bool, ListenRefused> {
        self.listening.unlisten(address, port)
    }

    /// Takes datagrams for `port`, at one address or at all that are served, on every worker: [`Service::datagram`] gets them, and an
    /// application hears of them by [`Event::Datagram`].
    ///
    /// [`Service::datagram`]: crate::Service::datagram
    /// [`Event::Datagram`]: crate::Event::Datagram
    ///
    /// # Errors
    /// [`BindRefused`] says what to do. Nothing is taken there then that was not before.
    pub fn bind_udp(&self, address: Option<IpAddr>, port: u16) -> Result<(), BindRefused> {
        self.listening.bind_udp(address, port)
    }

    /// Takes no more datagrams for `port` at this address, or by the socket at all of them; whether anybody did. Those that wait are
    /// lost.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn unbind_udp(&self, address: Option<IpAddr>, port: u16) -> Result<bool, BindRefused> {
        self.listening.unbind_udp(address, port)
    }

    /// Whether all workers are at work and the interfaces are there. Where that is not so, [`Running::stop`] says why.
    pub fn is_running(&self) -> bool {
        self.ended.1.is_empty()
    }

    /// What stops it from any thread, while this one [waits](Running::wait).
    pub fn stopper(&self) -> Stopper {
        Stopper { ended: self.ended.0.clone(), shutdown: self.shutdown.clone() }
    }

    /// Begins to end: nothing is accepted any more, and connections have the time to finish that was given to them
    /// ([`Server::drain`](crate::Server::drain)). Workers end when theirs have, or all have where frames come by other workers' queues, and
    /// can be looked at and spoken to until then; [`Running::wait`] waits for all of them.
    pub fn drain(&self) {
        self.request_stop();
    }

    /// Ends every connection and every worker, detaches the programs, and reports.
    ///
    /// # Errors
    /// Where a worker had to give up, or panicked, or an interface is gone.
    pub fn stop(mut self) -> Result<RunReport, RuntimeError> {
        self.request_stop();
        self.collect()
    }

    /// Serves until a [`Stopper`] says so, until an interface is deleted or moved away, or until a worker ends by itself, which only
    /// happens in trouble.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn wait(self) -> Result<RunReport, RuntimeError> {
        self.ended.1.recv().ok();
        self.stop()
    }

    /// Waits until a signal comes, an interface is gone or a worker ends by itself; everything goes on meanwhile, and until
    /// [`Running::stop`] says why. Returns the signal, where it was one.
    pub fn linger(&self, signals: StopSignals) -> Option<StopSignal> {
        let stopper = self.stopper();
        let listener = signals.listen(End(self.ended.0.clone()), move || stopper.hurry());
        self.ended.1.recv().ok();
        listener.end()
    }

    /// Serves until a signal comes, or as [`Running::wait`]. A second signal resets connections that were still given time to finish.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn until(self, signals: StopSignals) -> Result<RunReport, RuntimeError> {
        let stopper = self.stopper();
        let listener = signals.listen(End(self.ended.0.clone()), move || stopper.hurry());
        let report = self.wait();
        listener.end();
        report
    }

    fn request_stop(&self) {
        self.shutdown.request();
        for mailbox in self.workers.mailboxes().iter() {
            mailbox.ring();
        }
    }

    fn collect(&mut self) -> Result<RunReport, RuntimeError> {
        let mut reports = Vec::new();
        let mut failure = None;
        for (queue, thread) in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(report)) => reports.push(report),
                Ok(Err(error)) => failure = Some(error.into()),
                Err(payload) => failure = Some(panicked(queue, &*payload)),
            }
        }
        // It shows what is at work, and that has ended.
        self.exporter = None;
        let gone = self.interfaces.iter().find(|served| served.link_watch.is_gone());
        match (failure, gone) {
            (Some(error), _) => Err(error),
            (None, Some(gone)) => Err(RuntimeError::InterfaceGone { interface: gone.setup.interface.clone() }),
            (None, None) => {
                self.defence.end();
                let (verdicts, defence) = (self.verdicts()?, self.defence.records());
                let setups = std::mem::take(&mut self.setups);
                Ok(RunReport { setups, workers: reports, verdicts, defence, notices: self.notices.kept() })
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.request_stop();
        for (_, thread) in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// Stops what is [`Running`], from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    ended: Sender<()>,
    shutdown: Shutdown,
}

impl Stopper {
    /// Has [`Running::wait`] end: connections have the time to finish that was given to them.
    pub fn stop(&self) {
        self.ended.send(()).ok();
    }

    /// Gives connections that were to finish no more time.
    pub fn hurry(&self) {
        self.shutdown.hurry();
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

/// Gives up what serving does not need, if that was asked for: whether CAP_BPF had to stay.
fn confine(runtime: &Runtime, opened: &[Opened]) -> Result<bool, HostError> {
    let Some(confinement) = &runtime.confinement else { return Ok(false) };
    let keeps_bpf = needs_bpf(&opened[0].program)?;
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

/// Whose panic it was that a worker ended in.
fn panicked(queue: u32, payload: &(dyn Any + Send)) -> RuntimeError {
    match payload.downcast_ref::<ApplicationPanic>() {
        Some(panic) => {
            RuntimeError::ApplicationPanicked { queue, message: panic.message().unwrap_or("no message").to_owned() }
        }
        None => RuntimeError::WorkerPanicked { queue },
    }
}

fn mailboxes(count: usize) -> Result<Arc<[Mailbox]>, RuntimeError> {
    let mailboxes = (0..count).map(|_| Mailbox::new()).collect::<Result<Vec<_>, _>>();
    mailboxes.map(Arc::from).map_err(|errno| RuntimeError::System { what: "make a mailbox", source: errno.into() })
}

/// The secrets to begin with, and where others come from later.
fn secrets(runtime: &Runtime, notices: &Notices) -> Result<(Secrets, Rotation), RuntimeError> {
    let mut secrets = Secrets::random()?;
    if runtime.lasting_numbers {
        secrets = secrets.with_numbers(key_of_this_boot()?);
    }
    Ok(match &runtime.cookie_secret {
        &CookieSecret::Random(interval) => (secrets, Rotation::Every(interval)),
        &CookieSecret::Fixed(master) => (secrets.with_cookie_master(master), Rotation::Never),
        CookieSecret::File(path) => {
            let (file, master) = MasterFile::open(path.clone(), notices.clone())?;
            (secrets.with_cookie_master(master), Rotation::File(file))
        }
    })
}

/// A key that every process has until the machine boots, and that nobody elsewhere knows (random(4): 122 random bits).
fn key_of_this_boot() -> Result<SipKey, RuntimeError> {
    let failed = |source| RuntimeError::System { what: "read the kernel's boot id", source };
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    SipKey::from_hex(&digits).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}
