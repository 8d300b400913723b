//! What runs on a balancer's workers: checks of backends, and connections that end here.

use super::{
    check::Prober,
    checking::Checking,
    proxying::{Proxying, Tables},
};
use crate::{
    proxy::Proxy,
    stack::Event,
    time::Instant,
    worker::{Application, Context},
};

/// Both on one worker.
pub(super) struct Working {
    prober: Prober,
    proxy: Proxy<Tables>,
}

impl Working {
    /// What makes the application of a worker.
    pub fn maker(
        checking: &Checking,
        proxying: &Proxying,
    ) -> impl Fn(&mut Context<'_>) -> Self + Send + Sync + 'static {
        let (prober, proxy) = (checking.checker().application(), proxying.application());
        move |cx| Self { prober: prober(cx), proxy: proxy(cx) }
    }
}

impl Application for Working {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        let is_proxied = match event {
            Event::Accepted(..) => true,
            Event::Connected(id) | Event::Ready(id) | Event::SoftError(id, _) | Event::Closed(id, _) => {
                self.proxy.has(id)
            }
            _ => false,
        };
        if is_proxied { self.proxy.event(event, cx) } else { self.prober.event(event, cx) }
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let due = [self.prober.on_turn(cx), self.proxy.on_turn(cx)];
        due.into_iter().flatten().min()
    }

    fn draining(&mut self, cx: &mut Context<'_>) {
        self.prober.draining(cx);
        self.proxy.draining(cx);
    }
}
