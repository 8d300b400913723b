use super::{FloodError, FloodKind, Prefix, draft::Way};
use crate::{
    bpf::FloodPlan,
    host::{Link, cores::Cores, neighbour},
    wire::check_remote,
};
use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

/// Frames a second that are the most one can ask for; without a rate it is whatever the machine can do.
pub const RATE_MAX: u64 = 100_000_000;
/// The longest flood.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Up to this rate, in frames a second, the sender sleeps between frames instead of keeping a core busy.
const SLEEPING_RATE: u64 = 100_000;

/// What makes the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generator {
    /// An XDP program at high rates, an AF_XDP socket at low ones and where the kernel has no live frames.
    #[default]
    Auto,
    /// An XDP program on live frames (Linux 5.18). Keeps its core busy, whatever the rate.
    LiveFrames,
    /// An AF_XDP socket.
    AfXdp,
}

impl Generator {
    const ALL: [Self; 3] = [Self::Auto, Self::LiveFrames, Self::AfXdp];
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::LiveFrames => "live-frames",
            Self::AfXdp => "af-xdp",
        })
    }
}

impl FromStr for Generator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|generator| generator.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is no generator: name auto, live-frames or af-xdp"))
    }
}

/// A flood to be.
#[derive(Clone, Debug)]
pub struct FloodOptions {
    /// The interface it leaves by, in the caller's network namespace.
    pub interface: String,
    /// Where it goes.
    pub target: SocketAddr,
    /// The Ethernet address it goes to. By default the target's own is asked for.
    pub target_mac: Option<[u8; 6]>,
    /// What it is made of.
    pub kind: FloodKind,
    /// Frames a second; none for as many as possible.
    pub rate: Option<u64>,
    /// For how long; an hour at most.
    pub duration: Duration,
    /// Where it seems to come from: up to 8 prefixes of the target's IP version. None stands for those of a lab.
    pub sources: Vec<Prefix>,
    /// The source port; 0 for random ones from 1024 on.
    pub source_port: u16,
    /// What makes the frames.
    pub generator: Generator,
    /// The core it is sent from; on a veth also that on which the other end receives it.
    pub core: Option<usize>,
    /// Gives way to everything else on its core (`SCHED_IDLE`), so that what is measured beside it is not its scheduling.
    pub background: bool,
    /// The queue it is sent by.
    pub queue: u32,
    /// What the random numbers are derived from.
    pub seed: u64,
    /// Lets it out of the lab: onto NICs, bridges, and interfaces that hold a default route.
    pub outside_lab: bool,
}

impl FloodOptions {
    /// A flood as fast as can be, for ten seconds, from a lab's addresses.
    pub fn new(interface: impl Into<String>, target: SocketAddr, kind: FloodKind) -> Self {
        Self {
            interface: interface.into(),
            target,
            target_mac: None,
            kind,
            rate: None,
            duration: Duration::from_secs(10),
            sources: Vec::new(),
            source_port: 0,
            generator: Generator::default(),
            core: None,
            background: false,
            queue: 0,
            seed: 1,
            outside_lab: false,
        }
    }

    /// Checks everything that can be checked before a frame is sent.
    pub(super) fn plan(&self) -> Result<(Link, FloodPlan), FloodError> {
        self.check_numbers()?;
        if let Some(core) = self.core {
            Cores::read()?.require(core)?;
        }
        let link = Link::find(&self.interface)?;
        self.check_link(&link)?;
        let target_mac = match self.target_mac {
            Some(mac) => mac,
            None => self.resolve(&link)?,
        };
        let way = Way { source_mac: link.mac, target_mac, target: self.target };
        Ok((link, self.plan_for(&way)?))
    }

    pub(super) fn plan_for(&self, way: &Way) -> Result<FloodPlan, FloodError> {
        let default = [Prefix::default_for(self.target.ip())];
        let sources = if self.sources.is_empty() { &default[..] } else { &self.sources };
        if let Some(&prefix) = sources.iter().find(|prefix| prefix.address().is_ipv4() != self.target.is_ipv4()) {
            return Err(FloodError::OtherVersion { prefix });
        }
        Ok(FloodPlan {
            templates: way.templates(self.kind),
            sources: sources.iter().map(|prefix| prefix.source()).collect(),
            source_port: self.source_port,
            rate: self.rate,
            duration: self.duration,
            seed: self.seed,
        })
    }

    /// What makes the frames, where that was left open.
    pub(super) fn chosen_generator(&self) -> Generator {
        match (self.generator, self.rate) {
            (Generator::Auto, Some(..=SLEEPING_RATE)) => Generator::AfXdp,
            (Generator::Auto, _) => Generator::LiveFrames,
            (chosen, _) => chosen,
        }
    }

    fn check_numbers(&self) -> Result<(), FloodError> {
        let bad = |what, value, must| Err(FloodError::BadOption { what, value, must });
        match self.rate {
            Some(rate) if !(1..=RATE_MAX).contains(&rate) => {
                return bad("the rate", rate, "1 to 100,000,000 frames a second, or max");
            }
            _ => {}
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            return bad("the duration", self.duration.as_secs(), "up to 3,600 seconds, and more than none");
        }
        if self.sources.len() > 8 {
            return bad("the number of source prefixes", self.sources.len() as u64, "8 at most");
        }
        check_remote(self.target)?;
        if self.target.port() == 0 {
            return bad("the target's port", 0, "1 to 65,535");
        }
        Ok(())
    }

    fn check_link(&self, link: &Link) -> Result<(), FloodError> {
        let interface = || link.name.clone();
        let beyond = match link {
            _ if self.outside_lab => None,
            Link { has_default_route: true, .. } => Some("holds a default route"),
            Link { controller: Some(_), .. } => Some("belongs to a bridge or bond"),
            link if !link.is_veth() => Some("is not one end of a veth pair"),
            _ => None,
        };
        if let Some(why) = beyond {
            return Err(FloodError::OutsideLab { interface: interface(), why });
        }
        if !link.up {
            return Err(FloodError::Down { interface: interface() });
        }
        Ok(())
    }

    fn resolve(&self, link: &Link) -> Result<[u8; 6], FloodError> {
        let (target, interface) = (self.target, link.name.clone());
        let prefixes = link.addresses.iter().map(|&(address, length)| Prefix::around(address, length));
        if !prefixes.clone().any(|prefix| prefix.contains(target.ip())) {
            let has: Vec<_> = prefixes.map(|prefix| prefix.to_string()).collect();
            let has = if has.is_empty() { "no address".to_owned() } else { has.join(", ") };
            return Err(FloodError::NotOnLink { target, interface, has });
        }
        neighbour::resolve(link, target.ip())?.ok_or(FloodError::NoNeighbour { target, interface })
    }
}
