//! Listeners while the workers run: every stack has to know of them, and every interface's XDP program.

use super::{
    Runtime,
    interface::Opened,
    plan::{InterfacePlan, Plan},
};
use crate::{
    config::TcpConfig,
    stack::SynAckProfile,
    tcp::MaxSegment,
    worker::{ListenRefused, Steering, Workers},
    xdp::{Action, ServeError, Service, Services, SynAckFields},
};
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An interface: where its listeners may be, and who steers its frames.
struct Place {
    addresses: Vec<IpAddr>,
    services: Arc<Services>,
    tcp: TcpConfig,
}

/// A port at one address, or at all of them (`None`).
type Listener = (Option<IpAddr>, u16);

/// Everybody who has to know of a listener.
pub(super) struct Listening {
    workers: Workers,
    places: Vec<Place>,
    max_segment: MaxSegment,
    /// All there are: what the programs serve follows from them. Never held while a worker is waited for, which may want it.
    listeners: Mutex<HashSet<Listener>>,
}

impl Listening {
    pub fn new(runtime: &Runtime, plan: &Plan, opened: &[Opened], workers: Workers, tcp: &TcpConfig) -> Self {
        let place = |(plan, opened): (&InterfacePlan, &Opened)| Place {
            addresses: plan.addresses.iter().map(|local| local.cidr.address).collect(),
            services: opened.program.services().clone(),
            tcp: TcpConfig { mtu: plan.link.mtu as usize, ..tcp.clone() },
        };
        let places = plan.interfaces.iter().zip(opened).map(place).collect();
        Self { workers, places, max_segment: runtime.max_segment, listeners: Mutex::default() }
    }

    /// Accepts connections there, on every worker.
    pub fn listen(&self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        self.check(address)?;
        let max_segment = self.max_segment;
        for worker in self.workers.iter() {
            let listened = worker.call(move |cx| cx.stack().listen_with(address, port, max_segment).map(drop));
            if let Err(refused) = listened.map_err(ListenRefused::from).and_then(|listened| Ok(listened?)) {
                self.forget(|other| other < worker.number(), address, port);
                return Err(refused);
            }
        }
        // The stacks first: a SYN that the program answers is nobody's mistake then.
        let steered = self.steer((address, port)).inspect_err(|_| self.forget(|_| true, address, port));
        Ok(steered?)
    }

    /// Accepts no more connections there; whether anybody did.
    pub fn unlisten(&self, address: Option<IpAddr>, port: u16) -> Result<bool, ListenRefused> {
        let was_there = self.unsteer((address, port));
        for worker in self.workers.iter() {
            worker.call(move |cx| cx.stack().unlisten_at(address, port))?;
        }
        Ok(was_there)
    }

    /// Tells the programs of a listener, whose stacks know of it: none of them where one of them cannot take it. What is served already
    /// stays as it is, with its defence.
    pub fn steer(&self, listener: Listener) -> Result<(), ServeError> {
        let mut listeners = self.listeners();
        listeners.insert(listener);
        for (place, service) in self.services_of(listener) {
            if matches!(place.services.get(service), Some(Action::Listener(_) | Action::Guarded(_))) {
                continue;
            }
            let action = Action::Listener(self.syn_ack_fields(place, service));
            if let Err(refused) = place.services.serve(service, action) {
                listeners.remove(&listener);
                self.forget_unwanted(listener, &listeners);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// The programs serve no longer what was served for this listener alone; whether it was there.
    fn unsteer(&self, listener: Listener) -> bool {
        let mut listeners = self.listeners();
        let was_there = listeners.remove(&listener);
        if was_there {
            self.forget_unwanted(listener, &listeners);
        }
        was_there
    }

    fn forget_unwanted(&self, (address, port): Listener, listeners: &HashSet<Listener>) {
        for (place, service) in self.services_of((address, port)) {
            let is_wanted = [None, Some(service.local.ip())].iter().any(|&at| listeners.contains(&(at, port)));
            if !is_wanted {
                place.services.forget(service);
            }
        }
    }

    fn listeners(&self) -> MutexGuard<'_, HashSet<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the stacks of some workers listen there no longer.
    fn forget(&self, whose: impl Fn(usize) -> bool, address: Option<IpAddr>, port: u16) {
        for worker in self.workers.iter().filter(|worker| whose(worker.number())) {
            worker.tell(move |cx| {
                cx.stack().unlisten_at(address, port);
            });
        }
    }

    /// Has other workers' stacks listen there no longer, without waiting. One whose queue is full goes on.
    fn forget_on_others(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        for other in self.workers.iter().filter(|other| other.number() != worker) {
            let told = other.post(move |cx| {
                cx.stack().unlisten_at(address, port);
            });
            if let Err(error) = told {
                tracing::warn!(%error, port, "a worker goes on listening");
            }
        }
    }

    fn check(&self, address: Option<IpAddr>) -> Result<(), ListenRefused> {
        match address {
            Some(address) if !self.places.iter().any(|place| place.addresses.contains(&address)) => {
                Err(ListenRefused::NotServed(address))
            }
            _ => Ok(()),
        }
    }

    /// The pairs of address and port that a listener means.
    fn services_of(&self, (address, port): Listener) -> impl Iterator<Item = (&Place, Service)> {
        let all = self.places.iter().flat_map(|place| place.addresses.iter().map(move |&local| (place, local)));
        let meant = all.filter(move |&(_, local)| address.is_none_or(|address| address == local));
        meant.map(move |(place, local)| (place, Service::tcp(SocketAddr::new(local, port))))
    }

    /// What the listener's SYN-ACKs say.
    fn syn_ack_fields(&self, place: &Place, service: Service) -> SynAckFields {
        let SynAckProfile { mss, window, window_scale, sack, hop_limit, traffic_class } =
            SynAckProfile::of(service.local.ip(), self.max_segment, &place.tcp);
        SynAckFields { mss, window, window_scale, sack, hop_limit, traffic_class }
    }
}

/// For a worker whose application listens: its own stack does so already, and it may wait for nobody.
impl Steering for Listening {
    fn max_segment(&self) -> MaxSegment {
        self.max_segment
    }

    fn listen(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        self.check(address)?;
        let max_segment = self.max_segment;
        for other in self.workers.iter().filter(|other| other.number() != worker) {
            // One that listens there already has what is wanted: two applications may have had the same idea.
            let told = other.post(move |cx| {
                cx.stack().listen_with(address, port, max_segment).ok();
            });
            if let Err(refused) = told {
                self.forget_on_others(worker, address, port);
                return Err(refused.into());
            }
        }
        let steered = self.steer((address, port)).inspect_err(|_| self.forget_on_others(worker, address, port));
        Ok(steered?)
    }

    fn unlisten(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        self.unsteer((address, port));
        self.forget_on_others(worker, address, port);
    }
}
