//! Workers on interfaces: what every role stands on, a server, a load or a balancer.
//!
//! A [`Runtime`] says on which interfaces, at which addresses and with how many workers. [`Runtime::start`] checks it, opens an XDP
//! program and the queues of each interface, and gives every worker a queue of each, a stack and an application that is made on
//! its thread. What is [`Running`] can be spoken to: each worker takes commands and shows itself
//! ([`WorkerHandle`](crate::worker::WorkerHandle)).

mod addressing;
mod assembly;
mod claims;
mod defence;
mod errands;
mod error;
pub mod inspect;
mod interface;
mod link_watch;
mod listening;
mod metrics;
mod neighbourhood;
mod notice;
mod plan;
mod report;
mod reserving;
mod running;
mod settings;
mod sharing;
mod signals;
mod station;
#[cfg(test)]
mod tests;
mod way_out;

pub use self::{
    defence::{Cookies, Level as DefenceLevel, ListenerDefence},
    error::{AddressRefused, RuntimeError},
    inspect::Inspector,
    link_watch::Change as InterfaceChange,
    notice::Notice,
    report::{RunReport, Setup},
    reserving::{ReserveError, ReservedPorts},
    running::{Running, Stopper},
    sharing::Conflict as SharingConflict,
    signals::{StopSignal, StopSignals},
    station::{NoStation, Station},
};

pub(crate) use self::{interface::Interface, settings::settings};

use self::{notice::Notices, running::End};
use crate::{
    config::StackConfig,
    host::{Link, confinement::Confinement, link::AttachMode},
    rng::SipKey,
    stack::Cidr,
    tcp::MaxSegment,
    worker::{Application, Context, Idle, Tap},
    xdp::{self, Balance, LeftLink, Pins, Require, XdpMode},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How often a random secret of cookies is replaced by another one.
const COOKIE_ROTATION: Duration = Duration::from_secs(3_600);

/// Where the secret of cookies comes from.
#[derive(Clone)]
pub(crate) enum CookieSecret {
    /// From the operating system, and another one this often.
    Random(Duration),
    /// From the caller.
    Fixed(SipKey),
    /// From a file, now and whenever it changes.
    File(PathBuf),
}

/// What programs balance from the moment that they are attached.
#[derive(Clone)]
pub(crate) struct Balanced {
    /// By which tables.
    pub tables: Arc<Mutex<Balance>>,
    /// The services, each with its number there.
    pub services: Vec<(xdp::Service, u32, xdp::Steered)>,
    /// Addresses that are served on every interface, though they are one's.
    pub addresses: Vec<IpAddr>,
    /// Addresses that packets to backends come from, in mode `nat`, each with its number there.
    pub sources: Vec<(IpAddr, u8)>,
    /// Where what programs have left is, and these are pinned.
    pub pins: Option<Arc<Pins>>,
}

impl Balanced {
    /// Detaches what another process has left on an interface.
    fn detach(&self, link: &Link) {
        if let Some(pins) = &self.pins {
            pins.remove_link(&link.name);
        }
    }

    /// The attachment that another process has left on an interface.
    fn left(&self, link: &Link) -> Option<(LeftLink, XdpMode)> {
        let (pins, attached) = (self.pins.as_ref()?, link.xdp?);
        let mode = match attached.mode {
            AttachMode::Native => XdpMode::Native,
            AttachMode::Generic => XdpMode::Generic,
            _ => return None,
        };
        let left = pins.link(&link.name)?;
        (left.ifindex == link.index && left.program == attached.program).then_some((left, mode))
    }
}

/// Workers to be. Nothing happens, and nothing is checked, before [`Runtime::start`].
#[derive(Clone)]
pub struct Runtime {
    /// At least one.
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) ports: Vec<u16>,
    pub(crate) udp_ports: Vec<u16>,
    pub(crate) remotes: Vec<SocketAddr>,
    pub(crate) cores: Vec<usize>,
    pub(crate) require: Require,
    pub(crate) only_connects: bool,
    pub(crate) lasting_numbers: bool,
    pub(crate) idle: Idle,
    pub(crate) frames: Option<u32>,
    pub(crate) huge_pages: bool,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) drain: Duration,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) cookies: Cookies,
    pub(crate) cookie_secret: CookieSecret,
    pub(crate) takes_over: bool,
    pub(crate) probe: bool,
    pub(crate) syn_budget: Option<u32>,
    pub(crate) memory: Option<u64>,
    pub(crate) max_segment: MaxSegment,
    pub(crate) config: StackConfig,
    pub(crate) tap: Option<Arc<dyn Tap>>,
    pub(crate) confinement: Option<Confinement>,
    pub(crate) on_notice: Option<notice::Handler>,
    /// Pairs of connections whose segments the programs may translate; 0 for none.
    pub(crate) splices: u32,
    /// What the programs balance, if they do.
    pub(crate) balance: Option<Balanced>,
    /// Whether warnings are said on standard error where nobody else hears them.
    aloud: bool,
}

impl Runtime {
    /// Workers on the interface of this name.
    pub fn on(interface: impl Into<String>) -> Self {
        Self {
            interfaces: vec![Interface::new(interface)],
            ports: Vec::new(),
            udp_ports: Vec::new(),
            remotes: Vec::new(),
            cores: Vec::new(),
            require: Require::default(),
            only_connects: false,
            lasting_numbers: false,
            idle: Idle::default(),
            frames: None,
            huge_pages: false,
            busy_poll: None,
            drain: Duration::ZERO,
            metrics: None,
            cookies: Cookies::default(),
            cookie_secret: CookieSecret::Random(COOKIE_ROTATION),
            takes_over: false,
            probe: true,
            syn_budget: None,
            memory: None,
            max_segment: MaxSegment::default(),
            config: StackConfig::default(),
            tap: None,
            confinement: None,
            on_notice: None,
            splices: 0,
            balance: None,
            aloud: false,
        }
    }

    settings!(self, self);

    /// The interface that is spoken of.
    pub(crate) fn interface(&mut self) -> &mut Interface {
        self.interfaces.last_mut().expect("a runtime begins with an interface")
    }

    /// Whether it is asked if somebody on the link has an address that is to be ours.
    pub(crate) fn probes(&self) -> bool {
        self.probe && !self.takes_over
    }

    /// Whether anybody listens, or ever may.
    pub(crate) fn listens(&self) -> bool {
        !self.only_connects || !self.ports.is_empty()
    }

    /// Whether connections are to be opened at start.
    pub(crate) fn connects_at_start(&self) -> bool {
        !self.remotes.is_empty()
    }

    /// Says warnings on standard error where nobody else hears them.
    pub(crate) fn aloud(self) -> Self {
        Self { aloud: true, ..self }
    }

    /// Starts workers with applications of the caller's own, which may open connections when they like: nothing needs to be
    /// listened on. `application` makes one for each worker, on its thread, which nothing of it ever leaves.
    ///
    /// # Errors
    /// [`RuntimeError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start<A: Application + 'static>(
        &self,
        application: impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static,
    ) -> Result<Running, RuntimeError> {
        self.start_as(true, application)
    }

    /// `connects` is whether connections may be opened.
    pub(crate) fn start_as<A: Application + 'static>(
        &self,
        connects: bool,
        application: impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static,
    ) -> Result<Running, RuntimeError> {
        let plan = self.plan(connects)?;
        Running::start(self, &plan, Notices::new(self.on_notice.clone(), self.aloud), application)
    }
}
