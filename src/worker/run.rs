//! The loop.

use super::{
    Application, Clock, Context, HandOff, Mailbox, Steering, WorkerHandle, WorkerIndex,
    application::Surroundings,
    command::{COMMANDS_AT_ONCE, become_worker},
    port::{BATCH, MAX_PORTS, Port},
    snapshot::{SNAPSHOT_INTERVAL, Snapshot},
    spans::Spans,
    tap::{Direction, Tap, show, take_in},
};
use crate::{
    drops::{DropReason, Drops},
    log_limit::LogLimit,
    stack::{Incoming, Stack},
    stats::StackStats,
    time::Instant,
    wire::{self, InterfaceId},
    xdp::{FrameAudit, QueueStatistics, XdpError},
};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use std::{
    any::Any,
    array, fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long peers that have acknowledged all that a worker had to say to them may take to close their side, when it ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Sleep until a frame or a timer is due: no load at rest.
    #[default]
    Sleep,
    /// Look again at once: the lowest latency, for a whole core.
    Spin,
}

/// How one worker runs.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// What it does when there is nothing to do.
    pub idle: Idle,
    /// How long connections may go on after [`Shutdown::request`] before they are reset. It is over sooner where all have ended, or
    /// where all that is to be said has been acknowledged, and peers merely do not close their side.
    pub drain: Duration,
}

/// Tells workers to end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: Arc<AtomicBool>,
    hurried: Arc<AtomicBool>,
}

impl Shutdown {
    /// Asks every worker that looks at this to end; ring their mailboxes afterwards.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Release);
    }

    /// Asks them to give connections no more time to finish.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    /// Whether that has been asked.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }
}

/// What one queue of a worker's did.
#[derive(Clone, Debug)]
pub struct PortReport {
    /// Its interface.
    pub interface: InterfaceId,
    /// The queue.
    pub queue: u32,
    /// What it did.
    pub statistics: QueueStatistics,
    /// Where its frames were in the end.
    pub frames: FrameAudit,
}

/// What a worker did.
#[derive(Clone, Debug)]
pub struct Report {
    /// What its stack did.
    pub stats: StackStats,
    /// What its stack refused.
    pub drops: Drops,
    /// What its queues did.
    pub ports: Vec<PortReport>,
}

/// Queues and a stack, and the thread to run them with an application.
pub struct Worker {
    ports: Vec<Port>,
    stack: Stack,
    clock: Clock,
    hand_off: HandOff,
    options: WorkerOptions,
    tap: Option<Arc<dyn Tap>>,
    shutdown: Shutdown,
    handle: WorkerHandle,
    steering: Option<Arc<dyn Steering>>,
    /// Whether the application has been told that the worker is to end.
    is_draining: bool,
    /// Whether the application has its turn, so that a panic is its own.
    is_calling: bool,
    /// When there was last something to do.
    last_work: Instant,
    /// When the application wants to be called again, if nothing else happens.
    due: Option<Instant>,
    /// When the last turn began, if something was done in it that is yet to be timed.
    worked_since: Option<Instant>,
    /// Since when it has waited for something to do, where it has.
    resting_since: Option<Instant>,
    /// What is to be shown next, and when.
    snapshot: Snapshot,
    snapshot_due: Instant,
    /// What the log has of connections, where somebody wants that.
    spans: Spans,
}

impl Worker {
    /// A worker that has not begun, with 1 to [`MAX_PORTS`] ports.
    pub fn new(
        ports: Vec<Port>,
        stack: Stack,
        clock: Clock,
        hand_off: HandOff,
        options: WorkerOptions,
        shutdown: Shutdown,
    ) -> Self {
        let handle = WorkerHandle::new(hand_off.mailboxes().clone(), hand_off.index().number);
        debug_assert!((1..=MAX_PORTS).contains(&ports.len()), "{} ports", ports.len());
        Self {
            ports,
            stack,
            clock,
            hand_off,
            options,
            tap: None,
            shutdown,
            handle,
            steering: None,
            is_draining: false,
            is_calling: false,
            last_work: Instant::ZERO,
            due: None,
            worked_since: None,
            resting_since: None,
            snapshot: Snapshot::default(),
            snapshot_due: Instant::ZERO,
            spans: Spans::default(),
        }
    }

    /// Lets somebody know where it listens.
    #[must_use]
    pub fn with_steering(mut self, steering: Arc<dyn Steering>) -> Self {
        self.steering = Some(steering);
        self
    }

    /// Lets `tap` look on.
    #[must_use]
    pub fn with_tap(mut self, tap: Option<Arc<dyn Tap>>) -> Self {
        self.tap = tap;
        self
    }

    /// Runs until [`Shutdown::request`], on the calling thread, which stays on the core that it has been pinned to, if any. `make` makes
    /// the application, here, so that nothing of it ever leaves this thread.
    ///
    /// # Errors
    /// Where a queue cannot be closed in order. An interface that goes down is waited for instead.
    ///
    /// # Panics
    /// Where the application does: connections are reset first, so that no peer waits for one that is gone, and the panic's payload is an
    /// [`ApplicationPanic`]. Any other panic goes on as it is, behind the resets as well.
    pub fn run<A: Application>(mut self, make: impl FnOnce(&mut Context<'_>) -> A) -> Result<Report, XdpError> {
        become_worker();
        // Dropped by whichever way out, a panic's included: nobody waits for answers in vain.
        let _closing = Closing(self.hand_off.mailboxes().clone(), self.hand_off.index());
        // Of what is seen behind a panic, the stack is only ever changed by whole calls, and the application is gone.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| self.serve(make))) {
            let was_the_applications = self.is_calling;
            // Where it is the stack itself that panics, it may do so again: then there is nothing more to say to anybody.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| self.abandon()));
            panic::resume_unwind(if was_the_applications { Box::new(ApplicationPanic(payload)) } else { payload });
        }
        self.show(self.clock.now());
        let ports = self.ports.into_iter().map(Port::close).collect::<Result<_, _>>()?;
        Ok(Report { stats: *self.stack.stats(), drops: self.stack.drops().clone(), ports })
    }

    /// From the making of the application to its end.
    fn serve<A: Application>(&mut self, make: impl FnOnce(&mut Context<'_>) -> A) {
        let now = self.clock.now();
        self.is_calling = true;
        let mut application = make(&mut self.context(now));
        self.is_calling = false;
        while !self.shutdown.is_requested() {
            if !self.turn(&mut application) {
                self.rest(None);
            }
        }
        self.drain(&mut application);
        self.is_calling = true;
        drop(application);
        self.is_calling = false;
    }

    fn context(&mut self, now: Instant) -> Context<'_> {
        let Self { stack, hand_off, handle, steering, shutdown, .. } = self;
        let is_stopping = shutdown.is_requested();
        let surroundings = Surroundings { handle: Some(handle), steering: steering.as_deref(), is_stopping };
        Context::new(now, stack, hand_off.index()).within(surroundings)
    }

    /// One batch from end to end. Whether anything was done.
    fn turn(&mut self, application: &mut impl Application) -> bool {
        let now = self.clock.now();
        // A batch ends where the next one begins, unless the worker slept between: so one look at the clock does for both.
        let since = self.resting_since.take();
        if let Some(began) = self.worked_since.take() {
            self.snapshot.batches.count_one(since.unwrap_or(now) - began);
        }
        if let Some(since) = since {
            self.snapshot.asleep += now - since;
        }
        let commands = self.obey(now);
        let received = self.receive(now) + self.receive_mail(now);
        self.stack.handle_timeout(now);
        self.hand_off.mailbox().was_wanted();
        self.run_application(now, application);
        let transmitted = self.transmit(now);
        self.count(now, received, transmitted, application);
        let worked = received + transmitted + commands > 0;
        if worked {
            self.last_work = now;
            self.worked_since = Some(now);
        }
        worked
    }

    /// Tells the application what has happened, and what time it is.
    fn run_application(&mut self, now: Instant, application: &mut impl Application) {
        let begins_to_drain = !self.is_draining && self.shutdown.is_requested();
        self.is_draining |= begins_to_drain;
        self.is_calling = true;
        if self.spans.are_wanted() {
            let mut spans = std::mem::take(&mut self.spans);
            spans.deliver(&mut self.context(now), application);
            self.spans = spans;
        }
        let cx = &mut self.context(now);
        while let Some(event) = cx.stack().poll_event() {
            application.event(event, cx);
        }
        if begins_to_drain {
            application.draining(cx);
        }
        self.due = application.on_turn(cx);
        self.is_calling = false;
    }

    /// Carries out commands. How many.
    fn obey(&mut self, now: Instant) -> usize {
        let mut obeyed = 0;
        while obeyed < COMMANDS_AT_ONCE
            && let Some(command) = self.hand_off.mailbox().next_command()
        {
            let mut cx = self.context(now);
            // Who gave it hears of a panic by its own means; what is panicked here is a command without an answer.
            if panic::catch_unwind(AssertUnwindSafe(|| command(&mut cx))).is_err() {
                static PANICS: LogLimit = LogLimit::new();
                if let Some(more) = PANICS.admit() {
                    let worker = self.hand_off.index().number;
                    tracing::error!(worker, "a command panicked; the worker goes on{more}");
                }
            }
            obeyed += 1;
        }
        self.snapshot.commands += obeyed as u64;
        obeyed
    }

    fn receive(&mut self, now: Instant) -> usize {
        let Self { ports, stack, hand_off, tap, clock, .. } = self;
        let mut received = 0;
        for port in ports {
            received += port.receive();
            let (at, frames) = ((now, port.interface), port.batch.iter().map(|frame| port.queue.data(frame)));
            let kept = frames.filter_map(|frame| hand_off.keep(port.interface, frame));
            take_in(stack, tap.as_deref(), clock, at, kept);
            port.release_batch();
        }
        (0..hand_off.send()).for_each(|_| stack.count_drop(DropReason::HandOffFull));
        received
    }

    fn receive_mail(&mut self, now: Instant) -> usize {
        let mailbox = self.hand_off.mailbox();
        let mut received = 0;
        while received < BATCH
            && let Some(parcel) = mailbox.take()
        {
            let interface = parcel.interface();
            // What neighbours say is answered, if at all, where it arrived: the others only hear of it.
            let is_said = |incoming: &Incoming<'_>| wire::is_of_a_neighbour(incoming.frame);
            if parcel.frames().any(|incoming| is_said(&incoming)) {
                parcel.frames().filter(is_said).for_each(|said| self.stack.overhear(now, interface, said.frame));
                let frames = parcel.frames().filter(|incoming| !is_said(incoming));
                take_in(&mut self.stack, self.tap.as_deref(), &self.clock, (now, interface), frames);
            } else {
                take_in(&mut self.stack, self.tap.as_deref(), &self.clock, (now, interface), parcel.frames());
            }
            received += parcel.len();
            mailbox.give_back(parcel);
        }
        received
    }

    /// Sends all there is to send, or as much as the rings take: the rest stays queued in the stack.
    fn transmit(&mut self, now: Instant) -> usize {
        let Self { ports, stack, tap, clock, .. } = self;
        let mut send = |port: &mut Port| {
            let interface = port.interface;
            port.transmit(|buffer| {
                let length = stack.poll_transmit(now, interface, buffer)?;
                if let Some(tap) = tap.as_deref() {
                    show(tap, clock, stack, (Direction::Transmitted, interface), &buffer[..length]);
                }
                Some(length)
            })
        };
        ports.iter_mut().map(&mut send).sum()
    }

    /// Counts a turn, and shows what there is to show when it is time.
    fn count(&mut self, now: Instant, received: usize, transmitted: usize, application: &impl Application) {
        self.snapshot.turns += 1;
        self.snapshot.frames_in += received as u64;
        self.snapshot.frames_out += transmitted as u64;
        self.hand_off.mailbox().published().count(&self.stack);
        if now >= self.snapshot_due {
            self.snapshot.executor.clear();
            application.show(&mut self.snapshot.executor);
            self.show(now);
        }
    }

    /// Shows a snapshot, unless somebody is reading the last one: then it is for the next turn.
    #[cold]
    fn show(&mut self, now: Instant) {
        self.snapshot.read(now, &self.stack);
        let ports = self.ports.iter_mut().map(Port::snapshot);
        self.snapshot.ports.clear();
        self.snapshot.ports.extend(ports);
        if self.hand_off.mailbox().published().show(&self.snapshot) {
            self.snapshot_due = now + SNAPSHOT_INTERVAL;
        }
    }

    /// Waits until something can be done, or until `limit` has passed.
    fn rest(&mut self, limit: Option<Duration>) {
        let now = self.clock.now();
        let busy = self.ports.iter().filter_map(|port| port.queue.busy_poll()).any(|span| now < self.last_work + span);
        if limit.is_none() && (busy || self.options.idle == Idle::Spin) {
            std::hint::spin_loop();
            return;
        }
        let shown = self.snapshot.is_behind(&self.stack).then_some(self.snapshot_due);
        let timers = [self.stack.poll_timeout(), self.due, shown];
        let timer = timers.into_iter().flatten().min().map(|deadline| deadline - now);
        let retry = self.ports.iter().filter_map(Port::retry).min();
        let wait = [timer, retry, limit].into_iter().flatten().min();
        let mailbox = self.hand_off.mailbox();
        let mut rung = false;
        if mailbox.may_sleep() && !self.shutdown.is_requested() || limit.is_some() {
            self.resting_since = Some(now);
            // What is not waited for is the bell once more, with no interest.
            let mut sources: [PollFd<'_>; MAX_PORTS + 1] = array::from_fn(|index| {
                match index.checked_sub(1).map(|port| self.ports.get(port).and_then(Port::source)) {
                    None => PollFd::new(mailbox.bell(), PollFlags::POLLIN),
                    Some(Some(queue)) => PollFd::new(queue, PollFlags::POLLIN),
                    Some(None) => PollFd::new(mailbox.bell(), PollFlags::empty()),
                }
            });
            let sources = &mut sources[..=self.ports.len()];
            // Interrupted or not, the next turn looks at everything again.
            let _ = ppoll(sources, wait.map(TimeSpec::from), None);
            rung = sources[0].any().unwrap_or(true);
        }
        mailbox.woke(rung);
    }

    /// Ends the connections: lets them finish for a while, then resets what is left. As long as other workers have some, and time, what
    /// comes by this one's queues is handed over.
    fn drain(&mut self, application: &mut impl Application) {
        self.stack.stop_listening();
        let end = self.clock.now() + self.options.drain;
        let mut deadline = end;
        while self.has_connections() && self.clock.now() < deadline && !self.shutdown.is_hurried() {
            if self.turn(application) {
                continue;
            }
            // Of pairs that are translated elsewhere, nobody here knows what there is left to say.
            if self.stack.has_said_all() && self.stack.parted() == 0 {
                deadline = deadline.min(self.last_work + LAST_WORDS);
            }
            self.rest(Some(Duration::from_millis(10)));
        }
        self.reset_all(application);
        self.hand_off.mailbox().be_through();
        while self.hand_off.is_needed() && self.clock.now() < end && !self.shutdown.is_hurried() {
            if !self.turn(application) {
                self.rest(Some(Duration::from_millis(10)));
            }
        }
        // A handshake may have ended meanwhile.
        if self.has_connections() {
            self.reset_all(application);
        }
    }

    fn has_connections(&self) -> bool {
        self.stack.flow_counts().0 > 0 || self.stack.parted() > 0
    }

    fn reset_all(&mut self, application: &mut impl Application) {
        self.stack.abort_all(self.clock.now());
        // There may be more pairs than there is room for RSTs at once; but where nothing is taken any more, the rest is not waited for.
        let (mut left, mut in_vain) = (self.stack.parted(), 0);
        while left > 0 && in_vain < BATCH {
            self.turn(application);
            self.stack.abort_all(self.clock.now());
            in_vain = if self.stack.parted() < left { 0 } else { in_vain + 1 };
            left = self.stack.parted();
        }
        // Each turn sends what the rings take; a link that is down takes nothing, and is not waited for.
        for _ in 0..BATCH {
            if !self.turn(application) && !self.is_behind() {
                break;
            }
        }
    }

    /// Whether the kernel is yet to take frames that it can.
    fn is_behind(&self) -> bool {
        self.ports.iter().any(|port| port.queue.wants_flush() && !port.link_down)
    }

    /// Resets the connections of an application that is gone, as [`Worker::drain`] does in the end.
    #[cold]
    fn abandon(&mut self) {
        if !self.is_calling {
            // It may have been the tap, which would panic at the resets, too.
            self.tap = None;
        }
        self.stack.stop_listening();
        let now = self.clock.now();
        self.stack.abort_all(now);
        for _ in 0..BATCH {
            if self.transmit(now) == 0 && !self.is_behind() {
                break;
            }
        }
    }
}

/// What a worker's thread panics with where its application did: the application's own payload.
pub struct ApplicationPanic(pub Box<dyn Any + Send>);

impl ApplicationPanic {
    /// The panic's message, where it has one.
    pub fn message(&self) -> Option<&str> {
        let Self(payload) = self;
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Debug for ApplicationPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApplicationPanic").field(&self.message()).finish()
    }
}

/// Says that a worker has ended, so that whoever waits for an answer of its learns that none will come.
struct Closing(Arc<[Mailbox]>, WorkerIndex);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0[self.1.number].close();
    }
}
