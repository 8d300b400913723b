//! The executor as an application of a worker, and how it is put on all of them.

use super::{
    current,
    reactor::{Reactor, Stats},
    task,
    timer::Timers,
};
use crate::{
    runtime::{RunReport, Running, Runtime, RuntimeError, StopSignals},
    server::Server,
    stack::Event,
    time::Instant,
    worker::{Application, Context, ExecutorCounts},
};
use crossbeam::channel::{Receiver, RecvError, bounded};
use std::{
    convert::Infallible,
    fmt::{self, Display},
    future::Future,
    panic::{self, Location},
    pin::Pin,
    rc::Rc,
    thread,
};

/// What a main future may end with: nothing, or an error that ends its worker.
pub trait Outcome {
    /// Why it has failed, if it has.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// An executor with a main future, as an [`Application`]: for whoever drives a worker, or a stack, by hand. Others have
/// [`Server::run_async`] and [`Runtime::start_async`].
pub struct Aio {
    reactor: Rc<Reactor>,
}

impl fmt::Debug for Aio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aio").field("stats", &self.reactor.stats()).finish_non_exhaustive()
    }
}

/// A main future of any kind.
type Main<T> = Pin<Box<dyn Future<Output = T>>>;

/// Says that the main future has panicked, where it is dropped because of that.
struct Panicked(Rc<Reactor>);

impl Drop for Panicked {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the main future panicked".to_owned());
        }
    }
}

impl Aio {
    /// An executor on this worker; what `main` returns is polled from the first turn on.
    #[track_caller]
    pub fn new<F>(cx: &mut Context<'_>, main: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        let place = Location::caller();
        let reactor = Reactor::new(cx.waker());
        let guard = Panicked(reactor.clone());
        let main = async move {
            let guard = guard;
            if let Some(why) = main().await.failure() {
                guard.0.fail(format!("the main future failed: {why}"));
            }
        };
        current::enter(&reactor, cx, || drop(task::spawn_at(place, main)));
        Self { reactor }
    }

    /// What it has counted.
    pub fn stats(&self) -> super::Stats {
        self.reactor.stats()
    }

    #[cfg(test)]
    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
    }
}

impl Application for Aio {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        // Wakes tasks only: nothing is polled before `on_turn`.
        let reactor = self.reactor.clone();
        current::hear(&reactor, cx, |cx| reactor.hear(event, cx));
    }

    /// Polls at most [`POLLS_A_TURN`](super::POLLS_A_TURN) tasks.
    ///
    /// # Panics
    /// Where the main future has failed or panicked: with what it said.
    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let reactor = &self.reactor;
        reactor.catch_up(cx);
        let (now, claims_due) = (cx.now(), reactor.refuse_unclaimed(cx));
        let (next, is_behind) = current::enter(reactor, cx, || {
            reactor.senders.wake();
            let next = Timers::expire(reactor, now);
            let is_behind = reactor.executor.run(reactor);
            // What tasks have asked for meanwhile may be sooner.
            (next.filter(|next| *next <= now).or_else(|| Timers::next(reactor)), is_behind)
        });
        if let Some(why) = reactor.take_failure() {
            panic::resume_unwind(Box::new(why));
        }
        if is_behind || reactor.is_behind() {
            return Some(now);
        }
        [next, claims_due, reactor.senders.again(now)].into_iter().flatten().min()
    }

    fn draining(&mut self, cx: &mut Context<'_>) {
        current::enter(&self.reactor, cx, || self.reactor.drain());
    }

    fn show(&self, shown: &mut ExecutorCounts) {
        // Whole, so that nothing that is counted later is left out here.
        let Stats { tasks, polls, slow_polls, panics, refused, unclaimed } = self.reactor.stats();
        shown.tasks = tasks as u64;
        shown.events.extend([("polls", polls), ("slow_polls", slow_polls), ("panics", panics)]);
        shown.events.extend([("refused", refused), ("unclaimed", unclaimed)]);
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // What tasks hold refers back to here.
        self.reactor.end();
    }
}

impl Runtime {
    /// Starts workers with an executor each, whose main future is what `main` returns there. Nothing needs to be listened on: see
    /// [`aio`](crate::aio).
    ///
    /// # Errors
    /// [`RuntimeError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start_async<F>(&self, main: impl Fn() -> F + Clone + Send + Sync + 'static) -> Result<Running, RuntimeError>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.start(move |cx| Aio::new(cx, main.clone()))
    }
}

impl Server {
    /// Starts workers with an executor each: see [`Runtime::start_async`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_async<F>(&self, main: impl Fn() -> F + Clone + Send + Sync + 'static) -> Result<Running, RuntimeError>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.runtime.start_async(main)
    }

    /// Runs a main future on each worker until SIGINT or SIGTERM, until all of them have ended, or until one of them fails. Where nobody else
    /// hears of warnings, they are said on standard error.
    ///
    /// # Errors
    /// As [`Server::start`], and where a main future has failed or panicked, with what it said.
    pub fn run_async<F>(&self, main: impl Fn() -> F + Clone + Send + Sync + 'static) -> Result<RunReport, RuntimeError>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        let signals = StopSignals::catch()?;
        let (main, ended) = until_all_end(main);
        let running = self.runtime.clone().aloud().start_async(main)?;
        let stopper = running.stopper();
        let watch = move || {
            let Err(RecvError) = ended.recv();
            stopper.stop();
        };
        let watch = thread::Builder::new().name("xskip-ends".to_owned()).spawn(watch);
        watch.map_err(|source| RuntimeError::System { what: "start a thread that waits for main futures", source })?;
        running.until(signals)
    }
}

/// Main futures, and what has nothing more to receive once all of them have ended and no more can be made.
pub(super) fn until_all_end<F: Future + 'static>(
    main: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> (impl Fn() -> Main<F::Output> + Clone + Send + Sync + 'static, Receiver<Infallible>) {
    let (alive, ended) = bounded(0);
    let watched = move || {
        let (main, alive) = (main(), alive.clone());
        let main = async move {
            let _alive = alive;
            main.await
        };
        Box::pin(main) as Main<F::Output>
    };
    (watched, ended)
}
