use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        prctl,
        time::TimeSpec,
    },
};

use super::{
    LegitOptions, Order, Shared,
    attempt::{Attempt, Progress, reason},
    nanoseconds,
};

/// Events taken at a time.
const EVENTS: usize = 256;
/// What the bell is called among the events; slots have smaller numbers.
const BELL: u64 = u64::MAX;
/// The most that a turn starts, so that a thread that was away for long still looks at its sockets meanwhile.
const STARTS_PER_TURN: usize = 64;

/// The thread's own state.
pub(super) struct Driver {
    options: LegitOptions,
    shared: Arc<Shared>,
    epoll: Epoll,
    slots: Vec<Option<Attempt>>,
    free: Vec<usize>,
    /// Slots and serials of attempts in the order of their planned starts, which is that of their deadlines: all have the
    /// same patience. Attempts that have ended stay until their turn comes.
    waiting: VecDeque<Waiting>,
    limit: usize,
    /// When the first attempt was to start.
    epoch: Instant,
    /// How many starts have come.
    planned: u64,
}

struct Waiting {
    slot: usize,
    serial: u64,
    deadline: Instant,
}

impl Driver {
    pub(super) fn new(options: LegitOptions, shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        // By default the kernel lets a sleeper lie 50 µs longer, about as long as a whole handshake takes on a veth pair.
        prctl::set_timerslack(1)?;
        Ok(Self {
            limit: options.limit(),
            options,
            shared,
            epoll,
            slots: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            epoch: Instant::now(),
            planned: 0,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            let order = self.shared.order();
            // First of all, so that nobody waits for an attempt that this has just ended.
            self.give_up_on_late();
            let under_way = self.slots.len() - self.free.len();
            if order == Order::Stop || order == Order::Finish && under_way == 0 {
                return;
            }
            if order == Order::Run {
                self.start_due();
            }
            if self.wait(order).and_then(|()| self.take_events()).is_err() {
                // Polling one's own descriptors does not fail; if it does, there is nothing to measure any more.
                self.shared.figures().fail("the client's poll failed");
                return;
            }
        }
    }

    /// When an attempt is to start.
    fn plan(&self, number: u64) -> Instant {
        let offset = u128::from(number) * 1_000_000_000 / u128::from(self.options.per_second);
        self.epoch + Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    fn start_due(&mut self) {
        for _ in 0..STARTS_PER_TURN {
            let planned = self.plan(self.planned);
            let now = Instant::now();
            if planned > now {
                return;
            }
            let number = self.planned;
            self.planned += 1;
            let result = self.start(number, planned, now);
            let mut figures = self.shared.figures();
            figures.attempts += 1;
            figures.lateness.saturating_record(nanoseconds(now - planned));
            if let Err(reason) = result {
                figures.fail(&reason);
            }
        }
    }

    fn start(&mut self, number: u64, planned: Instant, now: Instant) -> Result<(), String> {
        let deadline = planned + self.options.patience;
        if deadline <= now {
            return Err("not started in time".to_owned());
        }
        if self.slots.len() - self.free.len() >= self.limit {
            return Err("too many under way".to_owned());
        }
        let targets = &self.options.targets;
        let target = targets[(number % targets.len() as u64) as usize];
        let attempt = Attempt::start(target, planned, number).map_err(|error| reason(&error))?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let interest = EpollEvent::new(EpollFlags::EPOLLOUT, slot as u64);
        if let Err(error) = self.epoll.add(&attempt.socket, interest) {
            self.free.push(slot);
            return Err(reason(&error.into()));
        }
        self.slots[slot] = Some(attempt);
        self.waiting.push_back(Waiting { slot, serial: number, deadline });
        Ok(())
    }

    /// Ends the attempts whose time is up, and forgets those that have ended by themselves.
    fn give_up_on_late(&mut self) {
        while let Some(first) = self.waiting.front() {
            let slot = first.slot;
            let attempt = self.slots[slot].as_ref().filter(|attempt| attempt.serial == first.serial);
            match attempt {
                Some(_) if first.deadline > Instant::now() => return,
                Some(attempt) => {
                    let reason = attempt.timed_out();
                    self.shared.figures().fail(reason);
                    self.release(slot);
                }
                None => {}
            }
            self.waiting.pop_front();
        }
    }

    /// Closes a slot's socket, which takes it out of the epoll set as well.
    fn release(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }

    /// Sleeps until a socket is ready or the next thing is due.
    fn wait(&self, order: Order) -> io::Result<()> {
        let start = (order == Order::Run).then(|| self.plan(self.planned));
        let deadline = self.waiting.front().map(|first| first.deadline);
        let due = start.into_iter().chain(deadline).min();
        // Epoll's own timeout counts milliseconds, far too coarse here: so its descriptor is what is polled.
        let timeout = due.map(|due| TimeSpec::from(due.saturating_duration_since(Instant::now())));
        match ppoll(&mut [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)], timeout, None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_events(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            match event.data() {
                BELL => drop(self.shared.bell.read()),
                slot => self.advance(slot as usize),
            }
        }
        Ok(())
    }

    fn advance(&mut self, slot: usize) {
        // Nothing starts while events are taken, so an event is its slot's own, or the attempt has ended.
        let Some(attempt) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        let had_asked = attempt.has_asked();
        let mut progress = attempt.advance();
        let elapsed = nanoseconds(attempt.planned.elapsed());
        if progress == Progress::Connected {
            self.shared.figures().handshake.saturating_record(elapsed);
            progress = attempt.advance();
        }
        let elapsed = nanoseconds(attempt.planned.elapsed());
        match progress {
            Progress::Done => {
                self.shared.figures().full.saturating_record(elapsed);
                self.release(slot);
            }
            Progress::Failed(reason) => {
                self.shared.figures().fail(&reason);
                self.release(slot);
            }
            Progress::Waiting | Progress::Connected => {
                // From now on only an answer is news: a socket that could send would wake the thread without end.
                if !had_asked && attempt.has_asked() {
                    let mut interest = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
                    if let Err(error) = self.epoll.modify(&attempt.socket, &mut interest) {
                        self.shared.figures().fail(&reason(&error.into()));
                        self.release(slot);
                    }
                }
            }
        }
    }
}
