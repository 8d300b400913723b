//! What a balancer leaves to the one after it: the programs, which go on meanwhile, rows, and flows that are remembered.

use super::{
    BalancerError,
    control::now,
    record::{Record, digest},
};
use crate::{
    host::bpf_fs,
    lb::{Balancer, Limits, RowKey, Service},
    xdp::{Balance, BalanceOptions, Heartbeat, Pins, XdpError},
};
use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// What the record is pinned as.
const RECORD: &str = "record";

/// How a balancer has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody has left anything.
    Fresh,
    /// It goes on from where another one was: so many flows were remembered.
    Resumed {
        /// How many.
        remembered: usize,
    },
    /// It has the place of another one, whose tables it cannot read: they are of another version of xskip, or another row key.
    Replaced,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("begun anew"),
            Self::Resumed { remembered: 1 } => f.write_str("going on from the balancer before; 1 flow is remembered"),
            Self::Resumed { remembered } => {
                write!(f, "going on from the balancer before; {remembered} flows are remembered")
            }
            Self::Replaced => f.write_str(
                "the balancer before was of another version or row key: flows go on by the file alone, and those that it remembered may end",
            ),
        }
    }
}

/// The folder of pins, and what is known of it.
pub(super) struct Estate {
    pins: Arc<Pins>,
    key: u64,
    /// What another balancer has left there.
    left: Option<Record>,
    was_empty: bool,
    /// What was last written down.
    written: Vec<u8>,
    /// Whether what is there is this balancer's.
    is_settled: bool,
}

impl Estate {
    /// That of a balancer that is to be outlived; else what may be left there by one that was.
    pub fn open(root: &Path, interface: &str, survives: bool, key: &RowKey) -> Result<Option<Self>, BalancerError> {
        let pins = match survives {
            true if !bpf_fs::holds(root) => return Err(BalancerError::NoBpfFs { folder: root.to_owned() }),
            true => Some(Pins::take(root, interface)?),
            // What cannot be looked at is in the way, or nothing is: that is seen when programs are attached.
            false => Pins::find(root, interface).unwrap_or_else(|error| {
                tracing::debug!(%error);
                None
            }),
        };
        let Some(pins) = pins else { return Ok(None) };
        let was_empty = pins.is_empty();
        let left = pins.kept(RECORD).and_then(|octets| Record::from_octets(&octets));
        let key = digest(key);
        let left = left.filter(|record| record.key == key);
        Ok(Some(Self { pins: Arc::new(pins), key, left, was_empty, written: Vec::new(), is_settled: false }))
    }

    pub fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// Tables, and a balancer that goes on from what is left, if anything is.
    pub fn resume(
        &self,
        key: &RowKey,
        options: &BalanceOptions,
        services: &[Service],
    ) -> Result<(Balance, Balancer, Origin), XdpError> {
        let balance = Balance::after(key, options, &self.pins, self.left.is_some())?;
        let fresh = |limits: Limits| Balancer::new(*key, limits);
        let Some(left) = &self.left else {
            let origin = if self.was_empty { Origin::Fresh } else { Origin::Replaced };
            return Ok((balance, fresh(options.limits), origin));
        };
        let wanted: HashMap<&str, _> = services.iter().map(|it| (it.name.as_str(), it.rows)).collect();
        let rows = |name: &str| Balance::left_rows(&self.pins, name);
        let image = left.image(rows, |name| wanted.get(name).copied(), balance.remembered().collect());
        let remembered = image.entries.len();
        match Balancer::resume(*key, options.limits, image, now()) {
            Ok(balancer) => Ok((balance, balancer, Origin::Resumed { remembered })),
            // Flows have numbers that mean nothing to a fresh one.
            Err(_) => {
                let balance = Balance::after(key, options, &self.pins, false)?;
                Ok((balance, fresh(options.limits), Origin::Replaced))
            }
        }
    }

    /// From now on others go on from this balancer, which is at work: one that does not get so far leaves what is there as it was.
    pub fn settle(&mut self, balancer: &Balancer, balance: &Balance) -> Result<(), XdpError> {
        self.is_settled = true;
        balance.pin(&self.pins)?;
        self.write_down(balancer, balance)
    }

    /// Writes down what numbers mean, where that is something new.
    pub fn write_down(&mut self, balancer: &Balancer, balance: &Balance) -> Result<(), XdpError> {
        if !self.is_settled {
            return Ok(());
        }
        let record = Record::of(self.key, balancer, |id| balance.rows_pin(id));
        let octets = record.to_octets();
        if octets != self.written {
            self.pins.keep(RECORD, &octets)?;
            self.pins.keep_rows(&record.rows());
            self.written = octets;
        }
        Ok(())
    }

    /// Whether nobody has left anything.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }
}

/// Nothing is left behind by one that does not begin: these pins go when this is dropped.
pub(super) struct GiveUp(pub Option<Arc<Pins>>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(pins) = &self.0 {
            pins.clear();
        }
    }
}

/// What programs are doing that nobody keeps the tables of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphaned {
    /// They send packets to backends, for so long yet.
    GoesOn(Duration),
    /// The time is over, and was so long ago: everything passes to the kernel.
    IsOver(Duration),
}

impl Orphaned {
    /// What a balancer on this interface has left; `None` where nothing is, or one lives that has it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(pins: &Path, interface: &str) -> Result<Option<Self>, XdpError> {
        let Some(pins) = Pins::find(pins, interface)? else { return Ok(None) };
        let left = pins.link(interface).and_then(|_| Heartbeat::left(&pins));
        Ok(left.map(|left| left.map_or_else(Self::IsOver, Self::GoesOn)))
    }

    /// Takes away what a balancer on this interface has left: the kernel has its traffic back. Whether there was anything.
    ///
    /// # Errors
    /// [`XdpError::PinsTaken`] where that balancer lives, or the kernel's.
    pub fn detach(pins: &Path, interface: &str) -> Result<bool, XdpError> {
        match Pins::open(pins, interface)? {
            Some(pins) => {
                let was_there = !pins.is_empty();
                pins.clear();
                Ok(was_there)
            }
            None => Ok(false),
        }
    }
}

/// The thread by which programs know that somebody keeps the tables; it ends when this is dropped, and they go on for as long as was
/// said.
pub(super) struct Pulse {
    thread: Option<JoinHandle<()>>,
    alive: Option<Sender<()>>,
}

impl Pulse {
    /// Beats at once, and from then on.
    pub fn start(heartbeat: Heartbeat, survive: Duration) -> io::Result<Self> {
        let (alive, ends) = bounded(0);
        let period = (survive / 4).min(Duration::from_secs(1));
        heartbeat.last_for(survive);
        let beat = move || {
            while ends.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                heartbeat.last_for(survive);
            }
            heartbeat.last_for(survive);
        };
        let thread = thread::Builder::new().name("xskip-pulse".to_owned()).spawn(beat)?;
        Ok(Self { thread: Some(thread), alive: Some(alive) })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
