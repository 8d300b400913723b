//! What futures wait for: events of the stack, time, and the end of the worker.

use super::{
    current,
    executor::{Executor, Place},
    listener::{Backlog, BindAddr, Waiters},
    stream::Conn,
    timer::Timers,
    udp::Socket,
};
use crate::{
    log_limit::LogLimit,
    stack::{ConnectionId, Event, ListenerId, UdpId},
    time::Instant,
    worker::{Context, Waker as Bell},
};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    task::{Context as TaskContext, Waker},
    time::Duration,
};

/// How long connections wait at a port of the start that nobody has bound: so long may a main future take until it does.
pub(super) const CLAIM_WITHIN: Duration = Duration::from_secs(10);
/// How soon whoever waits for room to send datagrams tries again where there was none in a whole turn.
const ROOM_AGAIN: Duration = Duration::from_millis(1);
/// Listeners of before that are remembered, as connections may yet come that were accepted for them.
const FORMER_LISTENERS: usize = 64;

/// What an executor has counted since its worker began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that live now, the main future among them.
    pub tasks: usize,
    /// Polls of tasks.
    pub polls: u64,
    /// Those that took longer than [`SLOW_POLL`](super::SLOW_POLL).
    pub slow_polls: u64,
    /// Tasks that panicked.
    pub panics: u64,
    /// Connections that were reset because a listener's backlog was full.
    pub refused: u64,
    /// Connections that were reset because they came to a port of the server's that nobody has bound: see [`TcpListener`](super::TcpListener).
    pub unclaimed: u64,
}

/// Something that a handle wanted done when no context was at hand.
pub(super) enum Later {
    Close(Rc<Conn>),
    Shut(Rc<Conn>),
    Unlisten(Rc<Backlog>),
    Unbind(UdpId),
}

pub(super) struct Reactor {
    pub executor: Executor,
    now: Cell<Instant>,
    /// Connections by their index, from their beginning until their end was told.
    connections: RefCell<Vec<Option<Rc<Conn>>>>,
    pub listeners: RefCell<HashMap<ListenerId, Rc<Backlog>>>,
    former: RefCell<VecDeque<ListenerId>>,
    /// When connections at ports that nobody has bound are reset next.
    claims_due: Cell<Option<Instant>>,
    pub sockets: RefCell<HashMap<UdpId, Rc<Socket>>>,
    pub senders: Senders,
    pub timers: RefCell<Timers>,
    /// Who waits for the worker's end to begin.
    pub drains: RefCell<Slab<Waker>>,
    is_draining: Cell<bool>,
    later: RefCell<Vec<Later>>,
    stats: Cell<Stats>,
    /// Why the main future has failed, once it has.
    failure: RefCell<Option<String>>,
}

/// Tasks that wait for room for a datagram, which is one room for all sockets: there is more whenever frames have left.
#[derive(Default)]
pub(super) struct Senders {
    waiting: Waiters,
    /// Whether some of them wait, and whether a datagram found room in this turn.
    is_short: Cell<bool>,
    has_sent: Cell<bool>,
}

impl Senders {
    pub fn wait(&self, task: &TaskContext<'_>) {
        self.is_short.set(true);
        self.waiting.wait(task);
    }

    pub fn sent(&self) {
        self.has_sent.set(true);
    }

    /// A turn begins: what waited has left, or some of it.
    pub fn wake(&self) {
        self.has_sent.set(false);
        if self.is_short.replace(false) {
            self.waiting.wake();
        }
    }

    /// When they are to try again: in the next turn, but later where nothing has left since the last.
    pub fn again(&self, now: Instant) -> Option<Instant> {
        let after = if self.has_sent.get() { Duration::ZERO } else { ROOM_AGAIN };
        self.is_short.get().then(|| now + after)
    }
}

impl Reactor {
    pub fn new(bell: Option<Bell>) -> Rc<Self> {
        Rc::new(Self {
            executor: Executor::new(bell),
            now: Cell::new(Instant::ZERO),
            connections: RefCell::default(),
            listeners: RefCell::default(),
            former: RefCell::default(),
            claims_due: Cell::default(),
            senders: Senders::default(),
            sockets: RefCell::default(),
            timers: RefCell::default(),
            drains: RefCell::default(),
            is_draining: Cell::new(false),
            later: RefCell::default(),
            stats: Cell::default(),
            failure: RefCell::default(),
        })
    }

    pub fn now(&self) -> Instant {
        self.now.get()
    }

    pub fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    pub fn stats(&self) -> Stats {
        Stats { tasks: self.executor.tasks(), ..self.stats.get() }
    }

    fn count(&self, count: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        count(&mut stats);
        self.stats.set(stats);
    }

    pub fn note_poll(&self, place: Place, took: Duration) {
        let is_slow = took > super::SLOW_POLL;
        self.count(|stats| {
            stats.polls += 1;
            stats.slow_polls += u64::from(is_slow);
        });
        static SLOW: LogLimit = LogLimit::new();
        if is_slow && let Some(more) = SLOW.admit() {
            let count = self.stats.get().slow_polls;
            tracing::warn!(task = %place, ?took, count, "a task held up its worker; have a thread do what takes long{more}");
        }
    }

    /// A task has panicked. The panic's own message is on standard error; nobody's request is to fill the log.
    #[cold]
    pub fn note_panic(&self, place: Place) {
        self.count(|stats| stats.panics += 1);
        current::try_context(|cx| cx.stack().count_application_panic());
        let count = self.stats.get().panics;
        static PANICS: LogLimit = LogLimit::new();
        if let Some(more) = PANICS.admit() {
            tracing::error!(task = %place, count, "a task panicked, and its connections were reset; mend the task{more}");
        }
    }

    pub fn note_refused(&self) {
        self.count(|stats| stats.refused += 1);
        let count = self.stats.get().refused;
        static REFUSED: LogLimit = LogLimit::new();
        if let Some(more) = REFUSED.admit() {
            tracing::warn!(
                count,
                "a listener's backlog is full, and a connection was reset; accept faster, or raise it{more}"
            );
        }
    }

    /// Resets what has waited too long at ports that nobody has bound. When there will be more of it.
    pub fn refuse_unclaimed(&self, cx: &mut Context<'_>) -> Option<Instant> {
        let now = cx.now();
        let due = self.claims_due.take()?;
        if due > now {
            self.claims_due.set(Some(due));
            return Some(due);
        }
        let unclaimed = |backlog: &&Rc<Backlog>| backlog.place().is_none();
        let all: Vec<_> = self.listeners.borrow().values().filter(unclaimed).cloned().collect();
        for backlog in all {
            match backlog.claim_by() {
                Some(claim_by) if claim_by <= now => backlog.drain().for_each(|conn| {
                    conn.abort(cx);
                    self.note_unclaimed(conn.local.port());
                }),
                Some(claim_by) => self.claim_by(claim_by),
                None => {}
            }
        }
        self.claims_due.get()
    }

    fn claim_by(&self, due: Instant) {
        self.claims_due.set(Some(self.claims_due.get().map_or(due, |other| other.min(due))));
    }

    fn note_unclaimed(&self, port: u16) {
        self.count(|stats| stats.unclaimed += 1);
        let count = self.stats.get().unclaimed;
        static UNCLAIMED: LogLimit = LogLimit::new();
        if let Some(more) = UNCLAIMED.admit() {
            tracing::warn!(
                port,
                count,
                "nobody accepts at this port, and a connection was reset; bind a listener there, or do not have the server listen{more}"
            );
        }
    }

    pub fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
    }

    pub fn take_failure(&self) -> Option<String> {
        self.failure.borrow_mut().take()
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// The worker has ended: drops all tasks, and everything that they hold.
    pub fn end(&self) {
        self.executor.end();
        // Whatever they left refers back to here.
        drop((self.connections.take(), self.later.take()));
        let left = (self.listeners.take(), self.sockets.take(), self.timers.take(), self.drains.take());
        drop(left);
    }

    /// The worker is to end.
    pub fn drain(&self) {
        self.is_draining.set(true);
        let waiting: Vec<_> = self.drains.borrow_mut().drain().collect();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Does what was left to be done with a context at hand.
    pub fn catch_up(&self, cx: &mut Context<'_>) {
        // What this drops may leave more of it.
        for later in std::mem::take(&mut *self.later.borrow_mut()) {
            match later {
                Later::Close(conn) => conn.close(cx),
                Later::Shut(conn) => conn.shut(cx),
                Later::Unlisten(backlog) => self.unlisten(&backlog, cx),
                Later::Unbind(id) => self.unbind(id, cx),
            }
        }
    }

    /// Whether there is something to be done in the next turn.
    pub fn is_behind(&self) -> bool {
        !self.later.borrow().is_empty()
    }

    /// Has something done in the next turn.
    pub fn put_off(&self, later: Later) {
        self.later.borrow_mut().push(later);
    }

    /// Knows a connection from now on.
    pub fn know(&self, conn: &Rc<Conn>) {
        let (mut connections, index) = (self.connections.borrow_mut(), conn.id().index());
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(conn.clone());
    }

    fn connection(&self, id: ConnectionId) -> Option<Rc<Conn>> {
        let connections = self.connections.borrow();
        connections.get(id.index())?.as_ref().filter(|conn| conn.id() == id).cloned()
    }

    /// What an event means for whoever waits.
    pub fn hear(self: &Rc<Self>, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Accepted(id, listener) => self.accepted(id, listener, cx),
            Event::Connected(id) => {
                if let Some(conn) = self.connection(id) {
                    conn.opened();
                }
            }
            Event::Ready(id) => {
                if let Some(conn) = self.connection(id) {
                    conn.wake();
                }
            }
            Event::Closed(id, reason) => {
                if let Some(conn) = self.connection(id) {
                    self.connections.borrow_mut()[id.index()] = None;
                    conn.ended(reason);
                }
            }
            Event::Datagram(id) => {
                if let Some(socket) = self.sockets.borrow().get(&id) {
                    socket.wake();
                }
            }
            // Of timers there are none: those of futures are on a wheel of their own. What does not end a connection is TCP's affair.
            _ => {}
        }
    }

    fn accepted(self: &Rc<Self>, id: ConnectionId, listener: ListenerId, cx: &mut Context<'_>) {
        let place = cx.stack().place_of_listener(listener).map(|(address, port)| BindAddr { address, port });
        // It may have been reset in the batch that opened it.
        let Some(mut stream) = cx.stream(id) else { return };
        if self.former.borrow().contains(&listener) {
            return stream.abort();
        }
        let known = self.listeners.borrow().get(&listener).cloned();
        let backlog = known.unwrap_or_else(|| self.adopt(listener, place));
        if backlog.place().is_none() {
            let claim_by = backlog.claim_by().unwrap_or(self.now() + CLAIM_WITHIN);
            if claim_by <= self.now() {
                stream.abort();
                return self.note_unclaimed(stream.local_addr().port());
            }
            backlog.set_claim_by(claim_by);
            self.claim_by(claim_by);
        }
        if backlog.is_full() {
            stream.abort();
            return self.note_refused();
        }
        let conn = Conn::new(self, &stream, true);
        drop(stream);
        self.know(&conn);
        backlog.push(conn);
    }

    /// Knows a listener of the stack's by another name: another worker has unlistened there and listens again, and whoever listens here
    /// goes on. Where nobody does, somebody may yet.
    fn adopt(&self, id: ListenerId, place: Option<BindAddr>) -> Rc<Backlog> {
        let mut listeners = self.listeners.borrow_mut();
        let here = place.and_then(|place| listeners.values().find(|backlog| backlog.place() == Some(place)).cloned());
        let backlog = here.unwrap_or_default();
        listeners.insert(id, backlog.clone());
        backlog
    }

    /// Accepts nothing more there: what comes to this worker is refused, and once no other wants to listen either, nobody does. What
    /// another worker has begun there since stays.
    pub fn unlisten(&self, backlog: &Rc<Backlog>, cx: &mut Context<'_>) {
        let mut names = Vec::new();
        self.listeners.borrow_mut().retain(|id, other| {
            let is_it = Rc::ptr_eq(other, backlog);
            names.extend(is_it.then_some(*id));
            !is_it
        });
        for &id in &names {
            let mut former = self.former.borrow_mut();
            if former.len() == FORMER_LISTENERS {
                former.pop_front();
            }
            former.push_back(id);
        }
        if let Some(place) = backlog.place() {
            cx.leave_listener(place.address, place.port);
            let here = cx.stack().listener_at(place.address, place.port);
            here.filter(|id| names.contains(id)).map(|id| cx.stack().unlisten(id));
        }
        backlog.drain().for_each(|conn| conn.abort(cx));
    }

    pub fn unbind(&self, id: UdpId, cx: &mut Context<'_>) {
        if self.sockets.borrow_mut().remove(&id).is_some() {
            cx.leave_udp(id);
        }
    }
}
