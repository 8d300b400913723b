//! The loop.

use super::{
    Application, Clock, Context, Control, HandOff, WorkerIndex,
    tap::{Direction, Tap, TapEvent},
};
use crate::{
    drops::{DropReason, Drops},
    stack::Stack,
    stats::StackStats,
    tcp::State,
    time::Instant,
    wire::{self, ChecksumPolicy, FourTuple, Packet},
    xdp::{Frame, FrameAudit, Queue, QueueStatistics, XdpError},
};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Frames received, or passed on by other workers, before answers are sent.
const BATCH: usize = 64;
/// How soon a frame that the kernel did not take is offered again.
const TRANSMIT_RETRY: Duration = Duration::from_micros(200);
/// How soon an interface that went down is looked at again.
const LINK_RETRY: Duration = Duration::from_millis(100);
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

/// What a worker did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The queue it served.
    pub queue: u32,
    /// What its stack did.
    pub stats: StackStats,
    /// What its stack refused.
    pub drops: Drops,
    /// What its queue did.
    pub queue_statistics: QueueStatistics,
    /// Where its frames were in the end.
    pub frames: FrameAudit,
}

/// A queue, a stack and an application, and the thread to run them.
pub struct Worker<A> {
    queue: Queue,
    stack: Stack,
    application: A,
    clock: Clock,
    hand_off: HandOff,
    options: WorkerOptions,
    tap: Option<Arc<dyn Tap>>,
    control: Arc<Control>,
    /// The generation of master keys that the stack has.
    generation: u32,
    shutdown: Shutdown,
    index: WorkerIndex,
    /// Whether the application has been told that the worker is to end.
    is_draining: bool,
    /// The batch under way; empty between batches, kept for its memory.
    batch: Vec<Frame>,
    /// Whether the link was down when last tried, so that it is reported once.
    link_down: bool,
    /// When there was last something to do.
    last_work: Instant,
    /// When the application wants to be called again, if nothing else happens.
    due: Option<Instant>,
}

impl<A: Application> Worker<A> {
    /// A worker that has not begun. `application` is made here, on the thread that is to run it.
    pub fn new(
        queue: Queue,
        mut stack: Stack,
        (index, application): (WorkerIndex, impl FnOnce(&mut Context<'_>) -> A),
        clock: Clock,
        hand_off: HandOff,
        options: WorkerOptions,
        shutdown: Shutdown,
    ) -> Self {
        let application = application(&mut Context::new(clock.now(), &mut stack, index));
        let batch = Vec::with_capacity(BATCH);
        let control = Arc::default();
        let (generation, link_down, tap, due) = (0, false, None, None);
        Self {
            queue,
            stack,
            application,
            clock,
            hand_off,
            options,
            tap,
            control,
            generation,
            shutdown,
            index,
            is_draining: false,
            batch,
            link_down,
            last_work: Instant::ZERO,
            due,
        }
    }

    /// Lets somebody steer it.
    #[must_use]
    pub fn with_control(mut self, control: Arc<Control>) -> Self {
        self.control = control;
        self
    }

    /// Lets `tap` look on.
    #[must_use]
    pub fn with_tap(mut self, tap: Option<Arc<dyn Tap>>) -> Self {
        self.tap = tap;
        self
    }

    /// Runs until [`Shutdown::request`], on the calling thread, which stays on the core that it has been pinned to, if any.
    ///
    /// # Errors
    /// Where the queue cannot be closed in order. An interface that goes down is waited for instead.
    pub fn run(mut self) -> Result<Report, XdpError> {
        while !self.shutdown.is_requested() {
            if !self.turn() {
                self.rest(None);
            }
        }
        self.wind_up();
        let queue_statistics = self.queue.statistics()?;
        Ok(Report {
            queue: self.queue.id(),
            stats: *self.stack.stats(),
            drops: self.stack.drops().clone(),
            queue_statistics,
            frames: self.queue.close(),
        })
    }

    /// One batch from end to end. Whether anything was done.
    fn turn(&mut self) -> bool {
        let now = self.clock.now();
        self.control.exchange(now, &mut self.stack, &mut self.generation);
        let received = self.receive(now) + self.receive_mail(now);
        self.stack.handle_timeout(now);
        self.run_application(now);
        let transmitted = self.transmit(now);
        let worked = received + transmitted > 0;
        if worked {
            self.last_work = now;
        }
        worked
    }

    /// Tells the application what has happened, and what time it is.
    fn run_application(&mut self, now: Instant) {
        let cx = &mut Context::new(now, &mut self.stack, self.index);
        while let Some(event) = cx.stack().poll_event() {
            self.application.event(event, cx);
        }
        if !self.is_draining && self.shutdown.is_requested() {
            self.is_draining = true;
            self.application.draining(cx);
        }
        self.due = self.application.on_turn(cx);
    }

    fn receive(&mut self, now: Instant) -> usize {
        let Self { queue, stack, hand_off, batch, tap, clock, .. } = self;
        let received = queue.receive(batch, BATCH);
        let frames = batch.iter().map(|frame| queue.data(frame));
        take_in(stack, tap.as_deref(), clock, now, frames.filter(|frame| !hand_off.pass_on(frame)));
        batch.drain(..).for_each(|frame| queue.release(frame));
        (0..hand_off.send()).for_each(|_| stack.count_drop(DropReason::HandOffFull));
        received
    }

    fn receive_mail(&mut self, now: Instant) -> usize {
        let mailbox = self.hand_off.mailbox();
        let mut received = 0;
        while received < BATCH
            && let Some(parcel) = mailbox.take()
        {
            // What neighbours say is answered, if at all, where it arrived: the others only hear of it.
            if parcel.frames().any(wire::is_of_a_neighbour) {
                let said = parcel.frames().filter(|frame| wire::is_of_a_neighbour(frame));
                said.for_each(|frame| self.stack.overhear(now, frame));
                let frames = parcel.frames().filter(|frame| !wire::is_of_a_neighbour(frame));
                take_in(&mut self.stack, self.tap.as_deref(), &self.clock, now, frames);
            } else {
                take_in(&mut self.stack, self.tap.as_deref(), &self.clock, now, parcel.frames());
            }
            received += parcel.len();
            mailbox.give_back(parcel);
        }
        received
    }

    /// Sends all there is to send, or as much as the ring takes: the rest stays queued in the stack.
    fn transmit(&mut self, now: Instant) -> usize {
        let mut transmitted = 0;
        while let Some(mut frame) = self.queue.allocate() {
            let buffer = self.queue.buffer(&mut frame);
            let Some(length) = self.stack.poll_transmit(now, buffer) else {
                self.queue.release(frame);
                break;
            };
            if let Some(tap) = self.tap.as_deref() {
                show(tap, &self.clock, &self.stack, Direction::Transmitted, &buffer[..length]);
            }
            self.queue.transmit(frame, length);
            transmitted += 1;
        }
        if self.queue.wants_flush() {
            self.flush();
        }
        transmitted
    }

    fn flush(&mut self) {
        let down = match self.queue.flush() {
            Ok(()) => false,
            Err(error) => {
                if !self.link_down {
                    tracing::warn!(queue = self.queue.id(), %error, "transmission waits");
                }
                true
            }
        };
        if self.link_down && !down {
            tracing::info!(queue = self.queue.id(), "transmission goes on");
        }
        self.link_down = down;
    }

    /// Waits until something can be done, or until `limit` has passed.
    fn rest(&mut self, limit: Option<Duration>) {
        let now = self.clock.now();
        let busy = self.queue.busy_poll().is_some_and(|span| now < self.last_work + span);
        if limit.is_none() && (busy || self.options.idle == Idle::Spin) {
            std::hint::spin_loop();
            return;
        }
        let timer = [self.stack.poll_timeout(), self.due].into_iter().flatten().min().map(|deadline| deadline - now);
        let retry = self.queue.wants_flush().then_some(if self.link_down { LINK_RETRY } else { TRANSMIT_RETRY });
        let wait = [timer, retry, limit].into_iter().flatten().min();
        let mailbox = self.hand_off.mailbox();
        let mut rung = false;
        if mailbox.may_sleep() && !self.shutdown.is_requested() || limit.is_some() {
            // An interface that is down makes its socket readable for ever: only the clock and the bell count then.
            let interest = if self.link_down { PollFlags::empty() } else { PollFlags::POLLIN };
            let mut sources =
                [PollFd::new(self.queue.as_fd(), interest), PollFd::new(mailbox.bell(), PollFlags::POLLIN)];
            // Interrupted or not, the next turn looks at everything again.
            let _ = ppoll(&mut sources, wait.map(TimeSpec::from), None);
            rung = sources[1].any().unwrap_or(true);
        }
        mailbox.woke(rung);
    }

    /// Ends the connections: lets them finish for a while, then resets what is left.
    fn wind_up(&mut self) {
        self.stack.stop_listening();
        let mut deadline = self.clock.now() + self.options.drain;
        while self.stack.flow_counts().0 > 0 && self.clock.now() < deadline && !self.shutdown.is_hurried() {
            if self.turn() {
                continue;
            }
            if self.stack.has_said_all() {
                deadline = deadline.min(self.last_work + LAST_WORDS);
            }
            self.rest(Some(Duration::from_millis(10)));
        }
        self.stack.abort_all(self.clock.now());
        // Each turn sends what the ring takes; a link that is down takes nothing, and is not waited for.
        for _ in 0..BATCH {
            if !self.turn() && !self.queue.wants_flush() || self.link_down {
                break;
            }
        }
    }
}

/// Lets the stack have a batch: as a whole, or one by one where somebody wants to see what each of them did.
fn take_in<'a>(
    stack: &mut Stack,
    tap: Option<&dyn Tap>,
    clock: &Clock,
    now: Instant,
    frames: impl Iterator<Item = &'a [u8]>,
) {
    let Some(tap) = tap else { return stack.handle_frames(now, frames) };
    for frame in frames {
        stack.handle_frame(now, frame);
        show(tap, clock, stack, Direction::Received, frame);
    }
}

/// Shows a frame to whoever looks on, with the state it left behind and the time of this very frame, not of its batch.
fn show(tap: &dyn Tap, clock: &Clock, stack: &Stack, direction: Direction, frame: &[u8]) {
    let at = clock.calendar(clock.now());
    let state = wire::parse(frame, ChecksumPolicy::AcceptPartial).ok().and_then(|parsed| match parsed.packet {
        Packet::Tcp(ip, segment) => {
            let tuple = FourTuple::of_received(&ip, &segment.header);
            Some(state_after(stack, direction, tuple))
        }
        _ => None,
    });
    tap.frame(&TapEvent { at, direction, frame, state });
}

fn state_after(stack: &Stack, direction: Direction, tuple: FourTuple) -> State {
    match direction {
        Direction::Received => stack.state_of(&tuple),
        Direction::Transmitted => stack.state_of(&tuple.reversed()),
    }
}
