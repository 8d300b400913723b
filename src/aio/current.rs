//! What a future finds around it while it is polled: its executor and the worker's [`Context`].
//!
//! The context is lent for one turn, and taken out while somebody uses it, so that it is never had twice. Both are gone when the turn is
//! over, also by a panic.

use super::reactor::Reactor;
use crate::worker::Context;
use scoped_tls_hkt::{ReborrowMut, scoped_thread_local};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

scoped_thread_local!(static mut CONTEXT: for<'a> Context<'a>);

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
    /// Whether what is dropped now is what a task held that has panicked.
    static CLEANS_UP: Cell<bool> = const { Cell::new(false) };
}

impl<'a, 'b: 'a> ReborrowMut<'a> for Context<'b> {
    type Result = Context<'a>;

    fn reborrow_mut(&'a mut self) -> Context<'a> {
        self.reborrow()
    }
}

const OUTSIDE: &str =
    "there is no worker of `xskip::aio` here: call this in a task that it runs, or in its main future";

/// Puts back what was there before, also where the turn ends by a panic.
struct Restore(Option<Rc<Reactor>>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        // Where the thread ends, nobody looks any more.
        let _ = REACTOR.try_with(|current| current.replace(before));
    }
}

/// Runs `act` with both around it.
pub(super) fn enter<T>(reactor: &Rc<Reactor>, cx: &mut Context<'_>, act: impl FnOnce() -> T) -> T {
    let before = REACTOR.with(|current| current.replace(Some(reactor.clone())));
    let _restore = Restore(before);
    reactor.set_now(cx.now());
    CONTEXT.set(cx.reborrow(), act)
}

/// Tells it something: who is woken by that is woken in its turn.
pub(super) fn hear(reactor: &Rc<Reactor>, cx: &mut Context<'_>, act: impl FnOnce(&mut Context<'_>)) {
    let before = REACTOR.with(|current| current.replace(Some(reactor.clone())));
    let _restore = Restore(before);
    reactor.set_now(cx.now());
    act(cx);
}

/// The executor whose turn it is, if any.
pub(super) fn try_reactor() -> Option<Rc<Reactor>> {
    REACTOR.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Whether it is the turn of this one.
pub(super) fn is_turn_of(is_it: impl FnOnce(&Reactor) -> bool) -> bool {
    REACTOR.try_with(|current| current.borrow().as_deref().is_some_and(is_it)).unwrap_or(false)
}

/// The executor whose turn it is.
#[track_caller]
pub(super) fn reactor() -> Rc<Reactor> {
    try_reactor().expect(OUTSIDE)
}

/// Lets `act` use the context.
#[track_caller]
pub(super) fn context<T>(act: impl FnOnce(&mut Context<'_>) -> T) -> T {
    assert!(CONTEXT.is_set(), "{OUTSIDE}, and not within `with_context`");
    CONTEXT.with(|mut cx| act(&mut cx))
}

/// As [`context`]; `None` where there is none at hand.
pub(super) fn try_context<T>(act: impl FnOnce(&mut Context<'_>) -> T) -> Option<T> {
    (try_reactor().is_some() && CONTEXT.is_set()).then(|| CONTEXT.with(|mut cx| act(&mut cx)))
}

/// Whether connections that are dropped now end by an RST, because their task has panicked.
pub(super) fn is_after_a_panic() -> bool {
    CLEANS_UP.get() || std::thread::panicking()
}

/// From [`CleanUp::begin`] until it is dropped, what is dropped is what a task held that has panicked.
#[derive(Default)]
pub(super) struct CleanUp(Cell<bool>);

impl CleanUp {
    pub fn begin(&self) {
        self.0.set(true);
        CLEANS_UP.set(true);
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        if self.0.get() {
            CLEANS_UP.set(false);
        }
    }
}
