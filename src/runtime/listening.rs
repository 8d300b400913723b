//! Listeners that come and go while the workers run: every stack has to know of them, and every interface's XDP program.

use super::{assembly::syn_ack_fields, interface::Opened, plan::Plan};
use crate::{
    config::TcpConfig,
    tcp::MaxSegment,
    worker::{ListenRefused, Steering, Workers},
    xdp::{Action, Service, Services},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Where an interface's listeners may be, and who steers its frames.
struct Place {
    addresses: Vec<IpAddr>,
    services: Arc<Services>,
    tcp: TcpConfig,
}

/// Everybody who has to know of a listener.
pub(super) struct Listening {
    workers: Workers,
    places: Vec<Place>,
    max_segment: MaxSegment,
}

impl Listening {
    pub fn new(plan: &Plan, opened: &[Opened], workers: Workers, tcp: &TcpConfig, max_segment: MaxSegment) -> Self {
        let place = |(plan, opened): (&super::plan::InterfacePlan, &Opened)| Place {
            addresses: plan.addresses.iter().map(|local| local.cidr.address).collect(),
            services: opened.program.services().clone(),
            tcp: TcpConfig { mtu: plan.link.mtu as usize, ..tcp.clone() },
        };
        let places = plan.interfaces.iter().zip(opened).map(place).collect();
        Self { workers, places, max_segment }
    }

    /// Accepts connections there, on every worker.
    pub fn listen(&self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        let max_segment = self.max_segment;
        for worker in self.workers.iter() {
            let listened = worker.call(move |cx| cx.stack().listen_with(address, port, max_segment).map(drop));
            if let Err(refused) = listened.map_err(ListenRefused::from).and_then(|listened| Ok(listened?)) {
                self.forget(|other| other < worker.number(), address, port);
                return Err(refused);
            }
        }
        // The stacks first: a SYN that the program answers is nobody's mistake then.
        self.steer(address, port).inspect_err(|_| self.forget(|_| true, address, port))
    }

    /// Accepts no more connections there; whether anybody did.
    pub fn unlisten(&self, address: Option<IpAddr>, port: u16) -> Result<bool, ListenRefused> {
        self.unsteer(address, port);
        let mut was_there = false;
        for worker in self.workers.iter() {
            was_there |= worker.call(move |cx| cx.stack().unlisten_at(address, port))?;
        }
        Ok(was_there)
    }

    /// Has the stacks of some workers listen there no longer.
    fn forget(&self, whose: impl Fn(usize) -> bool, address: Option<IpAddr>, port: u16) {
        for worker in self.workers.iter().filter(|worker| whose(worker.number())) {
            worker.tell(move |cx| {
                cx.stack().unlisten_at(address, port);
            });
        }
    }

    /// Tells the programs of a listener; none of them where one of them cannot take it.
    fn steer(&self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        for (place, local) in self.locals(address) {
            let fields = syn_ack_fields(local, self.max_segment, &place.tcp);
            let service = Service::tcp(SocketAddr::new(local, port));
            if let Err(refused) = place.services.serve(service, Action::Listener(fields)) {
                self.unsteer(address, port);
                return Err(refused.into());
            }
        }
        Ok(())
    }

    fn unsteer(&self, address: Option<IpAddr>, port: u16) {
        for (place, local) in self.locals(address) {
            place.services.forget(Service::tcp(SocketAddr::new(local, port)));
        }
    }

    /// The addresses meant by one, or by none in particular.
    fn locals(&self, address: Option<IpAddr>) -> impl Iterator<Item = (&Place, IpAddr)> {
        let all = self.places.iter().flat_map(|place| place.addresses.iter().map(move |&local| (place, local)));
        all.filter(move |&(_, local)| address.is_none_or(|address| address == local))
    }
}

/// For a worker whose application listens: its own stack does so already, and it may wait for nobody.
impl Steering for Listening {
    fn max_segment(&self) -> MaxSegment {
        self.max_segment
    }

    fn listen(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
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
        self.steer(address, port).inspect_err(|_| self.forget_on_others(worker, address, port))
    }

    fn unlisten(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        self.unsteer(address, port);
        self.forget_on_others(worker, address, port);
    }
}

impl Listening {
    /// Has other workers' stacks listen there no longer. One whose queue is full goes on, and what comes to it is refused by the program
    /// beside it while that is armed.
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
}
