//! What the defence is told while it is at work: it is carried out on its thread, between two ticks.

use super::{Cookies, Defence, Watch};
use crate::{rng::SipKey, tcp::cookie::EPOCH, worker};
use crossbeam::channel::bounded;
use std::thread;

impl Defence {
    /// Has cookies used like this from now on, and waits until everybody has been told.
    pub fn set_cookies(&self, cookies: Cookies) {
        self.ask(move |watch| watch.set_cookies(cookies));
    }

    /// Has the keys of cookies come from another secret, from the next epoch on.
    pub fn set_cookie_master(&self, key: SipKey) {
        self.ask(move |watch| {
            let now = watch.clock.now();
            watch.rotated = now;
            watch.rotate(now, key);
        });
    }

    /// There is always somebody to ask: the thread ends with this value. Who must not wait for it goes on, and is obeyed a moment later:
    /// a worker, which it may wait for, and itself, when it has told a notice.
    fn ask(&self, errand: impl FnOnce(&mut Watch) + Send + 'static) {
        let (tell, told) = bounded(0);
        let errand = move |watch: &mut Watch| {
            errand(watch);
            drop::<crossbeam::channel::Sender<()>>(tell);
        };
        if let Some(errands) = &self.errands
            && errands.send(Box::new(errand)).is_ok()
        {
            let is_itself = self.thread.as_ref().is_some_and(|ours| ours.thread().id() == thread::current().id());
            if !is_itself && worker::check_may_wait().is_ok() {
                told.recv().ok();
            }
        }
    }
}

impl Watch {
    pub(super) fn set_cookies(&mut self, cookies: Cookies) {
        let now = self.clock.now();
        self.cookies = cookies;
        self.listeners.iter_mut().for_each(|state| state.policy.set(cookies, now));
        // Whoever was sent a cookie may come back with it for as long as it lives, though there may be no others any more.
        self.workers.tell_all(|cx| {
            let until = cx.now() + 2 * EPOCH;
            cx.stack().accept_cookies_until(until);
        });
        self.take_levels();
        self.listeners.iter().for_each(|state| self.tell(state));
    }
}
