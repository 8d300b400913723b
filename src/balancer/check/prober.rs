//! What is done: a worker's application that opens connections to backends and hears what they say.

use super::{
    Attempt, Checks, Failure, Finding, Http, Kind, News, Route, Target,
    handed_over::HandedOver,
    http::{self, MAX_HEAD, Said},
};
use crate::{
    CloseReason,
    rng::splitmix64,
    stack::{ConnectError, ConnectionId, Event, Via},
    time::Instant,
    wire::Tunnel,
    worker::{Application, Context, Workers},
};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a backend that has answered may take to close the connection, which it was asked to do.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Health checks on the workers of a runtime, as the thread that controls them sees them: it says what to check, and hears what is
/// known.
///
/// ```no_run
/// # fn f(runtime: xskip::Runtime, targets: Vec<xskip::balancer::check::Target>) -> Result<(), Box<dyn std::error::Error>> {
/// use xskip::balancer::check::Checker;
///
/// let checker = Checker::new(7, 64);
/// let running = runtime.start(checker.application())?;
/// checker.check(targets, running.workers());
/// for news in checker.news() {
///     println!("{}/{} is {}: {}", news.service, news.backend, news.health, news.why.unwrap_or_default());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Checker {
    shared: Arc<Shared>,
    news: Receiver<News>,
    findings: Receiver<Finding>,
    seed: u64,
    most: usize,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("most", &self.most).finish_non_exhaustive()
    }
}

/// What the workers and the thread that controls them have in common.
struct Shared {
    targets: Mutex<Arc<[Target]>>,
    /// How often they have been replaced.
    generation: AtomicU64,
    news: Sender<News>,
    findings: Sender<Finding>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Checker {
    /// Nobody to check yet, and never more than `most` at a time on all workers together, or one on each. The seed differs by balancer:
    /// it says in which moments they check.
    pub fn new(seed: u64, most: usize) -> Self {
        Self::waking(seed, most, || {})
    }

    /// As [`Checker::new`], and `wake` is called on a worker's thread when there is news: for who does not wait at [`Checker::news`]. It
    /// must not block.
    pub fn waking(seed: u64, most: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let ((sender, news), (finder, findings)) = (unbounded(), unbounded());
        let targets = Mutex::new(Arc::default());
        let shared =
            Shared { targets, generation: AtomicU64::new(0), news: sender, findings: finder, wake: Box::new(wake) };
        Self { shared: Arc::new(shared), news, findings, seed, most }
    }

    /// The application of a worker, for [`Runtime::start`](crate::Runtime::start). Each of several workers checks a part of the backends.
    pub fn application(&self) -> impl Fn(&mut Context<'_>) -> Prober + Send + Sync + 'static {
        let (shared, seed, most) = (self.shared.clone(), self.seed, self.most);
        move |cx| Prober::new(shared.clone(), Checks::new(seed, most / cx.worker().workers))
    }

    /// From now on these are checked and nobody else. What is known of a backend stays as long as it is among them.
    pub fn check(&self, targets: impl Into<Arc<[Target]>>, workers: &Workers) {
        *self.shared.targets() = targets.into();
        self.shared.generation.fetch_add(1, Ordering::Release);
        workers.iter().for_each(|worker| worker.waker().wake());
    }

    /// What is known that was not before, in order.
    pub fn news(&self) -> &Receiver<News> {
        &self.news
    }

    /// What is known of handshakes that backends are to take over, likewise.
    pub fn findings(&self) -> &Receiver<Finding> {
        &self.findings
    }
}

impl Shared {
    fn targets(&self) -> std::sync::MutexGuard<'_, Arc<[Target]>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The application of one worker: see [`Checker`].
pub struct Prober {
    shared: Arc<Shared>,
    generation: u64,
    checks: Checks,
    conversations: HashMap<ConnectionId, Conversation>,
    connections: HashMap<Attempt, ConnectionId>,
    handed_over: HandedOver,
    /// Connections whose checks are over, and until when they may go on.
    leaving: VecDeque<(Instant, ConnectionId)>,
    is_draining: bool,
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("checks", &self.checks).finish_non_exhaustive()
    }
}

/// A connection.
#[derive(Debug)]
struct Conversation {
    /// The check that it is for, until that is over.
    attempt: Option<Attempt>,
    /// What is asked on it, if anything.
    http: Option<Http>,
    is_open: bool,
    /// What is yet to be said.
    unsaid: Vec<u8>,
    /// What was heard.
    heard: Vec<u8>,
}

impl Prober {
    fn new(shared: Arc<Shared>, checks: Checks) -> Self {
        Self {
            shared,
            generation: 0,
            checks,
            conversations: HashMap::new(),
            connections: HashMap::new(),
            handed_over: HandedOver::default(),
            leaving: VecDeque::new(),
            is_draining: false,
        }
    }

    /// Takes over what is to be checked, as far as it is this worker's, where that was replaced.
    fn follow(&mut self, cx: &mut Context<'_>) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let (targets, worker) = (self.shared.targets().clone(), cx.worker());
        let is_ours = |target: &&Target| target.hash(0) as usize % worker.workers == worker.number;
        self.handed_over.retain(targets.iter().filter(is_ours));
        let ours = targets.iter().filter(is_ours).cloned();
        for attempt in self.checks.replace(cx.now(), ours) {
            self.leave(attempt, cx);
        }
    }

    /// A check is over, and its connection with it.
    fn leave(&mut self, attempt: Attempt, cx: &mut Context<'_>) {
        let Some(id) = self.connections.remove(&attempt) else { return };
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.attempt = None;
        }
        if let Some(mut stream) = cx.stream(id) {
            stream.abort();
        }
    }

    /// Begins whatever is due, and gives up what takes too long.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        while let Some(attempt) = self.checks.overdue(now) {
            let after = self.checks.target(attempt).map_or(Duration::ZERO, |target| target.check.timeout);
            let conversation = self.connections.get(&attempt).and_then(|id| self.conversations.get(id));
            let opened = conversation.is_some_and(|conversation| conversation.is_open);
            self.checks.end(attempt, Err(Failure::TimedOut { after, opened }));
            self.leave(attempt, cx);
        }
        while let Some((attempt, target)) = self.checks.begin(now) {
            match connect(attempt, target, cx) {
                Ok((id, conversation)) => {
                    self.connections.insert(attempt, id);
                    self.conversations.insert(id, conversation);
                }
                // Others have it for no longer than a check takes.
                Err(error @ (ConnectError::NoPortLeft(_) | ConnectError::Limit(_))) => {
                    self.checks.put_off(now, attempt, &format!("no check could be made: {error}"));
                }
                Err(error) => self.checks.give_up(attempt, &format!("no check could be made: {error}")),
            }
        }
        while let Some(&(_, id)) = self.leaving.front().filter(|(until, _)| *until <= now) {
            self.leaving.pop_front();
            if let Some(mut stream) = cx.stream(id).filter(|_| self.conversations.contains_key(&id)) {
                stream.abort();
            }
        }
    }

    fn connected(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.is_open = true;
        let info = cx.stream(id).map(|stream| stream.info());
        let target = conversation.attempt.and_then(|attempt| self.checks.target(attempt));
        if let (Some(target), Some(info)) = (target, info) {
            self.handed_over.begin(target, &info, cx);
        }
        if conversation.http.is_some() {
            return self.go_on(id, cx);
        }
        if let Some(attempt) = conversation.attempt {
            self.checks.end(attempt, Ok(()));
            self.leave(attempt, cx);
        }
    }

    /// Says and hears what can be said and heard.
    fn go_on(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let now = cx.now();
        let Some((conversation, mut stream)) = self.conversations.get_mut(&id).zip(cx.stream(id)) else { return };
        let said = stream.write(&conversation.unsaid);
        conversation.unsaid.drain(..said);
        while stream.readable_len() > 0 {
            let piece = stream.readable();
            if conversation.attempt.is_some() && conversation.heard.len() < MAX_HEAD {
                conversation.heard.extend(piece);
            }
            let length = piece.len();
            stream.consume(length);
        }
        let is_at_end = stream.at_end();
        if is_at_end {
            stream.close();
        }
        drop(stream);
        let Some((attempt, outcome)) = conversation.verdict(is_at_end) else { return };
        conversation.attempt = None;
        self.connections.remove(&attempt);
        self.leaving.push_back((now + LAST_WORDS, id));
        self.checks.end(attempt, outcome);
    }

    fn closed(&mut self, id: ConnectionId, reason: CloseReason) {
        if self.handed_over.closed(id, reason) {
            return;
        }
        let Some(Conversation { attempt: Some(attempt), is_open, .. }) = self.conversations.remove(&id) else { return };
        self.connections.remove(&attempt);
        match reason {
            CloseReason::Refused => self.checks.end(attempt, Err(Failure::Refused)),
            CloseReason::ResetByPeer => self.checks.end(attempt, Err(Failure::Reset)),
            CloseReason::Finished => self.checks.end(attempt, Err(Failure::Closed)),
            CloseReason::TimedOut | CloseReason::Unreachable => {
                let after = self.checks.target(attempt).map_or(Duration::ZERO, |target| target.check.timeout);
                self.checks.end(attempt, Err(Failure::TimedOut { after, opened: is_open }));
            }
            _ => self.checks.give_up(attempt, "the stack has reset a check's connection for want of room"),
        }
    }

    fn tell(&mut self) {
        let mut is_news = false;
        while let Some(news) = self.checks.poll_news() {
            // Nobody may listen any more.
            is_news |= self.shared.news.send(news).is_ok();
        }
        while let Some(finding) = self.handed_over.poll_finding() {
            is_news |= self.shared.findings.send(finding).is_ok();
        }
        if is_news {
            (self.shared.wake)();
        }
    }
}

impl Conversation {
    /// What has come of the check, once that is known.
    fn verdict(&mut self, is_at_end: bool) -> Option<(Attempt, Result<(), Failure>)> {
        let (attempt, http) = (self.attempt?, self.http.as_ref()?);
        loop {
            match http::read(http, &self.heard) {
                Said::Answer(outcome) => return Some((attempt, outcome)),
                Said::Interim(length) => drop(self.heard.drain(..length)),
                Said::Partly if is_at_end => return Some((attempt, Err(Failure::Closed))),
                Said::Partly => return None,
            }
        }
    }
}

/// Opens a check's connection.
fn connect(
    attempt: Attempt,
    target: &Target,
    cx: &mut Context<'_>,
) -> Result<(ConnectionId, Conversation), ConnectError> {
    let Target { address, route, check, .. } = target;
    let Ok(Route { source, ports, via }) = route else { return Err(ConnectError::NoRoute(address.ip())) };
    // Each takes another of the paths that the balancer's flows take.
    let flow = splitmix64(attempt.number());
    let via = Via { tunnel: via.tunnel.map(|tunnel| Tunnel { flow, ..tunnel }), ..*via };
    let now = cx.now();
    let id = cx.stack().connect_via(now, (*address).into(), *source, ports, via)?;
    let http = match &check.kind {
        Kind::Tcp => None,
        Kind::Http(http) => Some(http.clone()),
    };
    let unsaid = http.as_ref().map_or_else(Vec::new, |http| http::request(http, *address));
    Ok((id, Conversation { attempt: Some(attempt), http, is_open: false, unsaid, heard: Vec::new() }))
}

impl Application for Prober {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Connected(id) => self.connected(id, cx),
            Event::Ready(id) => self.go_on(id, cx),
            Event::Closed(id, reason) => self.closed(id, reason),
            _ => {}
        }
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        if !self.is_draining {
            self.follow(cx);
            self.advance(cx);
            self.handed_over.advance(cx);
        }
        self.tell();
        let leaving = self.leaving.front().map(|(until, _)| *until);
        let probes = self.handed_over.poll_timeout(cx.now());
        self.checks.poll_timeout().into_iter().chain(leaving).chain(probes).min().filter(|_| !self.is_draining)
    }

    /// Nobody wants to know any more.
    fn draining(&mut self, cx: &mut Context<'_>) {
        self.is_draining = true;
        self.handed_over.abandon(cx);
        for (id, _) in mem::take(&mut self.conversations) {
            if let Some(mut stream) = cx.stream(id) {
                stream.abort();
            }
        }
        self.connections.clear();
    }
}
