//! Tasks: spawned, awaited, given up.

use super::{
    current::{self, CleanUp},
    executor::{Living, Place, Shared},
};
use async_task::{Builder, FallibleTask};
use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    panic::{self, AssertUnwindSafe, Location},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context as TaskContext, Poll},
};

/// Why a task has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It panicked; connections that it held were reset.
    #[error("the task panicked; the panic's message is on standard error, with the place to mend")]
    Panicked,
    /// It was given up by [`JoinHandle::abort`], or with its worker.
    #[error("the task was given up before it was through; await it before it is aborted, or the worker ends")]
    Aborted,
}

/// A task that was spawned. Awaited, it yields what the task returns; dropped, the task goes on.
pub struct JoinHandle<T> {
    task: Option<FallibleTask<Result<T, JoinError>, Place>>,
    /// It stays on its worker, as all that the task holds does.
    _here: PhantomData<Rc<()>>,
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// Gives the task up: its future is dropped before this turn of the executor, or the next, is over.
    pub fn abort(&mut self) {
        self.task = None;
    }

    /// Whether the task is through, or was given up.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(FallibleTask::is_finished)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.task {
            Some(inner) => Pin::new(inner).poll(task).map(|result| result.unwrap_or(Err(JoinError::Aborted))),
            None => Poll::Ready(Err(JoinError::Aborted)),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

/// Runs a future as a task of this worker, beside all others. It is polled from the next turn of the executor on, and named in the log
/// by the place that spawned it.
///
/// # Panics
/// Outside of tasks and of the main future.
#[track_caller]
pub fn spawn_local<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    spawn_at(Location::caller(), future)
}

/// A future whose remains may panic when they are dropped, as any of its code may: that is one task's affair as well, and would end the
/// process, as whoever drops it for us allows no panic.
struct Contained<'a, F> {
    future: Pin<&'a mut Option<F>>,
    living: &'a Living,
    place: Place,
}

impl<F> Drop for Contained<'_, F> {
    fn drop(&mut self) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.future.set(None))).is_err() {
            self.living.reactor.note_panic(self.place);
        }
    }
}

pub(super) fn spawn_at<F: Future + 'static>(place: Place, future: F) -> JoinHandle<F::Output> {
    let reactor = current::reactor();
    let key = reactor.executor.next_key();
    let living = Living { reactor: reactor.clone(), key };
    let future = async move {
        // Dropped in the order of the reverse: the future, then what says that it has panicked.
        let living = living;
        let clean_up = CleanUp::default();
        let future = pin!(Some(future));
        let mut contained = Contained { future, living: &living, place };
        let result = poll_fn(|task| {
            let Some(future) = contained.future.as_mut().as_pin_mut() else { return Poll::Pending };
            let polled = panic::catch_unwind(AssertUnwindSafe(|| future.poll(task)));
            polled.map_or(Poll::Ready(Err(JoinError::Panicked)), |polled| polled.map(Ok))
        })
        .await;
        if result.is_err() {
            living.reactor.note_panic(place);
            clean_up.begin();
        }
        result
    };
    let shared = reactor.executor.shared.clone();
    let schedule = move |task| Shared::schedule(&shared, task);
    let (runnable, task) = Builder::new().metadata(place).spawn_local(move |_| future, schedule);
    let enlisted = reactor.executor.enlist(runnable.waker());
    debug_assert_eq!(enlisted, key);
    if reactor.executor.is_over() {
        drop(runnable); // nobody would poll it
    } else {
        runnable.schedule();
    }
    JoinHandle { task: Some(task.fallible()), _here: PhantomData }
}

/// Lets other tasks have a turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|task| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
