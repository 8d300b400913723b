//! The defence against SYN floods: a thread that keeps the cookies' keys up to date, watches the pressure, and decides who
//! answers SYNs.

mod policy;
#[cfg(test)]
mod tests;

pub use self::policy::Cookies;

use self::policy::{Level, Policy, Sample};
use crate::{
    rng::SipKey,
    stack::{FlowWatch, SynMode},
    tcp::cookie::{CookieJar, MasterKey},
    time::Instant,
    wire::{Endpoint, FourTuple},
    worker::{Clock, Control},
    xdp::{FlowFilter, Guard, GuardedListener, XdpError},
};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often the pressure is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Enters a worker's flows into the XDP program's filter.
pub(super) struct Listed(pub FlowFilter);

impl FlowWatch for Listed {
    fn opened(&mut self, tuple: &FourTuple) {
        self.0.insert(socket(tuple.remote), socket(tuple.local));
    }

    fn closed(&mut self, tuple: &FourTuple) {
        self.0.remove(socket(tuple.remote), socket(tuple.local));
    }
}

fn socket(end: Endpoint) -> SocketAddr {
    SocketAddr::new(end.address, end.port)
}

/// What the defence needs to know.
pub(super) struct Setup {
    pub cookies: Cookies,
    pub guard: Arc<Guard>,
    pub master: MasterKey,
    pub rotation: Option<Duration>,
    pub clock: Clock,
    pub controls: Vec<Arc<Control>>,
    pub listeners: Vec<(SocketAddr, GuardedListener)>,
}

/// The defence at work. Dropping it ends its thread, and leaves things as they are.
#[derive(Debug)]
pub(super) struct Defence {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Defence {
    /// Starts it: when this returns, everything is as the policy wants it in the beginning.
    pub fn start(setup: Setup) -> Result<Self, XdpError> {
        let mut watch = Watch::new(setup)?;
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new().name("xskip-defence".to_owned()).spawn(move || watch.run(&stopped));
        let thread =
            thread.map_err(|source| XdpError::Refused { what: "start the defence's thread".to_owned(), source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Defence {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The thread's own.
struct Watch {
    guard: Arc<Guard>,
    jar: CookieJar,
    master: MasterKey,
    rotation: Option<Duration>,
    rotated: Instant,
    clock: Clock,
    controls: Vec<Arc<Control>>,
    listeners: Vec<(SocketAddr, GuardedListener)>,
    policy: Policy,
    epoch: u64,
    sampled: Instant,
    /// SYNs that led to nothing, and evictions, up to the last sample.
    before: (u64, u64),
}

impl Watch {
    fn new(setup: Setup) -> Result<Self, XdpError> {
        let Setup { cookies, guard, master, rotation, clock, controls, listeners } = setup;
        let now = clock.now();
        let jar = CookieJar::new(master.clone(), clock.calendar(Instant::ZERO));
        let policy = Policy::new(cookies, now);
        let epoch = jar.epoch(now);
        let (rotated, sampled, before) = (now, now, (0, 0));
        let watch =
            Self { guard, jar, master, rotation, rotated, clock, controls, listeners, policy, epoch, sampled, before };
        watch.set_keys();
        watch.guard.begin_epoch(epoch);
        watch.take_level(watch.policy.level())?;
        Ok(watch)
    }

    fn run(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.tick() {
                tracing::warn!(%error, "the defence could not change as it wanted to");
            }
        }
    }

    fn tick(&mut self) -> Result<(), XdpError> {
        let now = self.clock.now();
        if self.rotation.is_some_and(|interval| now - self.rotated >= interval) {
            self.rotated = now;
            match SipKey::random() {
                Ok(key) => self.rotate(now, key),
                Err(error) => tracing::warn!(%error, "the cookies keep their key: there are no random bytes"),
            }
        }
        let epoch = self.jar.epoch(now);
        if epoch != self.epoch {
            self.epoch = epoch;
            self.set_keys();
            self.guard.begin_epoch(epoch);
        }
        self.guard.settle();
        let sample = self.sample(now)?;
        if let Some(level) = self.policy.decide(now, sample) {
            let Sample { lost_syns_per_second, evictions } = sample;
            tracing::warn!(lost_syns_per_second, evictions, "defence: {level}");
            self.take_level(level)?;
        }
        Ok(())
    }

    /// Another master, from the next epoch on, for everybody.
    fn rotate(&mut self, now: Instant, key: SipKey) {
        self.master.rotate(key, self.jar.epoch(now));
        self.jar.set_master(self.master.clone());
        self.set_keys();
        for control in &self.controls {
            control.set_master(self.master.clone());
        }
    }

    /// The program holds the keys of the last epoch, this one and the next: so the next one begins with a single store.
    fn set_keys(&self) {
        for epoch in self.epoch.saturating_sub(1)..=self.epoch + 1 {
            self.guard.set_epoch_key(epoch, self.jar.key_of(epoch));
        }
    }

    fn sample(&mut self, now: Instant) -> Result<Sample, XdpError> {
        let mut syns: u64 = self.controls.iter().map(|control| control.handshakes()).sum();
        for (_, listener) in &self.listeners {
            syns += self.guard.syns(listener.number)?;
        }
        // What became a connection was no flood, however much of it there is.
        let connections: u64 = self.controls.iter().map(|control| control.connections()).sum();
        let unanswered = syns.saturating_sub(connections);
        let evictions: u64 = self.controls.iter().map(|control| control.evictions()).sum();
        let millis = (now - self.sampled).as_millis().max(1) as u64;
        let sample = Sample {
            lost_syns_per_second: unanswered.saturating_sub(self.before.0) * 1_000 / millis,
            evictions: evictions - self.before.1,
        };
        (self.before, self.sampled) = ((unanswered, evictions), now);
        Ok(sample)
    }

    fn take_level(&self, level: Level) -> Result<(), XdpError> {
        let mode = if level >= Level::Worker { SynMode::Cookie } else { SynMode::Cache };
        for control in &self.controls {
            control.set_syn_mode(mode);
        }
        let guarded = level == Level::Xdp;
        for (service, listener) in &self.listeners {
            self.guard.list(service, listener, guarded)?;
        }
        self.guard.arm(guarded);
        Ok(())
    }
}
