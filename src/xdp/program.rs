//! The XDP program: loaded, told whom it serves, attached, asked what it decided.

use super::{
    Balance, FlowFilter, Guard, LeftLink, Outcomes, Pins, Queue, Require, SpliceTable, Verdicts, XdpError, XdpMode,
    attach::{Loaded, register_socket},
    filter,
    guard::GuardCounters,
    memory::SharedMemory,
    refusal::{self, not_loaded},
    services::{Action, MAX_LISTENERS, ServeError, Service, Services, SlotKeys, Table},
    settings::Settings,
    steer::{SteerSkelBuilder, types},
};
use crate::rng::SipKey;
use libbpf_rs::{
    MapHandle,
    libbpf_sys::BPF_F_XDP_HAS_FRAGS,
    skel::{OpenSkel, SkelBuilder},
};
use std::{
    hash::Hasher,
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

/// Whom the program serves when it is loaded; [`Services`] changes it later, but for the VLAN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// The station's MAC address: frames to others, or to groups, draw no SYN-ACK.
    pub station: [u8; 6],
    /// The VLAN, from 1 to 4094; by default untagged frames are served. What belongs to another one is the kernel's.
    pub vlan: Option<u16>,
    /// Addresses that are the stack's own: everything to them, and ARP and neighbour solicitations for them.
    pub own: Vec<IpAddr>,
    /// TCP ports at addresses that the kernel keeps.
    pub shared: Vec<SocketAddr>,
    /// UDP ports at such addresses.
    pub shared_udp: Vec<SocketAddr>,
    /// Addresses that no SYN comes from: those of the stack, and the broadcast addresses of their subnets.
    pub impossible_sources: Vec<IpAddr>,
}

/// The loaded program. Once attached, it stays so until this value is dropped or the process dies, however it dies: the
/// attachment is a `bpf_link`, which the kernel closes with the process unless it is [pinned](Program::pin).
#[derive(Debug)]
pub struct Program {
    loaded: Loaded,
    queues: MapHandle,
    verdicts: MapHandle,
    guard: Arc<Guard>,
    services: Arc<Services>,
}

/// How large a program's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// Queues, numbered from 0. Default 1.
    pub queues: u32,
    /// Whether the driver may hand over packets in several pieces, which it does where the MTU is beyond what one page holds: the
    /// program needs the first one only. Default false.
    pub fragments: bool,
    /// Flows that its filter lists at half of its capacity; four bytes each. Default 65,536.
    pub flows: u32,
}

/// Tables that the programs of several interfaces may share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables<'a> {
    /// By which what [`Services::balance`] says is balanced.
    pub balance: Option<&'a Balance>,
    /// The pairs of connections whose segments are translated; without it a program costs nothing for that.
    pub splices: Option<&'a SpliceTable>,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        Self { queues: 1, fragments: false, flows: 65_536 }
    }
}

impl Program {
    /// Loads the program and tells it whom it serves.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`], [`XdpError::Verifier`] or [`XdpError::Load`].
    pub fn load(steering: &Steering, options: &ProgramOptions) -> Result<Self, XdpError> {
        let key = SipKey::random()
            .map_err(|error| XdpError::refused("draw a key for the XDP program's tables", io::Error::other(error)))?;
        Self::load_with_key(steering, options, key)
    }

    /// Loads the program as [`Program::load`] does, with tables that hash by this key: a flow has the same name in the
    /// [filters](FlowFilter) of all programs that were loaded with the same key and options.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_with_key(steering: &Steering, options: &ProgramOptions, key: SipKey) -> Result<Self, XdpError> {
        Self::load_with(steering, options, key, &Tables::default())
    }

    /// Loads the program as [`Program::load_with_key`] does, with tables that it shares with others.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_with(
        steering: &Steering,
        options: &ProgramOptions,
        key: SipKey,
        tables: &Tables<'_>,
    ) -> Result<Self, XdpError> {
        refusal::listen();
        let mut object = MaybeUninit::uninit();
        let mut open = SteerSkelBuilder::default().open(&mut object).map_err(not_loaded)?;
        open.maps.queues.set_max_entries(options.queues.max(1)).map_err(not_loaded)?;
        let buckets = filter::buckets_for(options.flows);
        open.maps.filter.set_max_entries(buckets).map_err(not_loaded)?;
        open.maps.syns.set_max_entries(MAX_LISTENERS as u32).map_err(not_loaded)?;
        let balance = tables.balance.into_iter().flat_map(Balance::maps);
        for (name, map) in balance.chain(tables.splices.into_iter().flat_map(SpliceTable::maps)) {
            let its = open.open_object_mut().maps_mut().find(|it| it.name() == name);
            its.map_or(Ok(()), |mut its| its.reuse_fd(map)).map_err(not_loaded)?;
        }
        let (fingerprint, slots) = (filter::HashKeys::derive(&key), slot_keys(&key));
        if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
            constants.place = types::place { vlan: steering.vlan.unwrap_or_default().into() };
            constants.service_keys = slots.0;
            constants.splicing = tables.splices.is_some().into();
            if let Some(splices) = tables.splices {
                constants.splice_hashing = splices.hashing();
            }
        }
        if options.fragments {
            open.progs.steer.set_flags(BPF_F_XDP_HAS_FRAGS);
        }
        let loaded = open.load().map_err(not_loaded)?;
        let settings = Arc::new(Settings::new(SharedMemory::of_map(loaded.maps.bss.as_fd(), Settings::WORDS)?));
        let table = Table::new(SharedMemory::of_map(loaded.maps.services.as_fd(), Table::WORDS)?, slots);
        let services = Arc::new(Services::new(table, settings.clone()));
        steering.tell(&services)?;
        let words = SharedMemory::of_map(loaded.maps.filter.as_fd(), buckets as usize * filter::WORDS_PER_BUCKET)?;
        let flows = FlowFilter::new(words, settings.clone(), fingerprint);
        let counters = GuardCounters {
            syns: MapHandle::try_from(&loaded.maps.syns).map_err(not_loaded)?,
            verdicts: MapHandle::try_from(&loaded.maps.verdicts).map_err(not_loaded)?,
        };
        let guard = Arc::new(Guard::new(settings, counters, flows, fingerprint));
        guard.set_mac(steering.station);
        Ok(Self {
            loaded: Loaded::keep(loaded.progs.steer.as_fd())?,
            queues: MapHandle::try_from(&loaded.maps.queues).map_err(not_loaded)?,
            verdicts: MapHandle::try_from(&loaded.maps.verdicts).map_err(not_loaded)?,
            guard,
            services,
        })
    }

    /// Attaches the program: in native mode, or where that is impossible, and `require` allows it, in generic mode. Returns
    /// which it was; to announce it is the caller's duty.
    ///
    /// # Errors
    /// [`XdpError::Occupied`], [`XdpError::NoNative`], [`XdpError::NotPermitted`] or [`XdpError::Attach`].
    pub fn attach(&mut self, interface: &str, ifindex: u32, require: Require) -> Result<XdpMode, XdpError> {
        self.loaded.attach(interface, ifindex, require)
    }

    /// Takes the place of a program that another process has left, between one frame and the next. It should be told all it is to
    /// know before.
    ///
    /// # Errors
    /// The kernel's; then the other one stays attached.
    pub fn replace(&mut self, left: LeftLink) -> Result<(), XdpError> {
        self.loaded.replace(left)
    }

    /// Has it stay attached to this interface when the process ends, until somebody takes it or [clears](Pins::clear) the pins.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pin(&self, pins: &Pins, interface: &str) -> Result<(), XdpError> {
        self.loaded.pin(pins, interface)
    }

    /// Lets a queue's frames come to its socket.
    ///
    /// # Errors
    /// [`XdpError::Refused`], as where the program was loaded for fewer queues.
    pub fn connect(&self, queue: &Queue) -> Result<(), XdpError> {
        register_socket(&self.queues, queue)
    }

    /// Its guard against floods.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// What it serves: to be changed by any thread, at any time.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// What the program decided so far.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn verdicts(&self) -> Result<Verdicts, XdpError> {
        Verdicts::read(&self.verdicts)
    }

    /// What has become of packets for services that backends serve.
    ///
    /// # Errors
    /// [`XdpError::Refused`] where the kernel does not tell.
    pub fn outcomes(&self) -> Result<Outcomes, XdpError> {
        Outcomes::read(&self.verdicts)
    }

    /// Runs the program once on `frame`, as `BPF_PROG_TEST_RUN` does: nothing is received or sent. Returns the action
    /// (`XDP_PASS` is 2, `XDP_REDIRECT` 4) and the frame as the program left it.
    ///
    /// # Errors
    /// [`XdpError::Refused`], as for frames shorter than an Ethernet header, which the kernel never shows to a program.
    pub fn test_run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), XdpError> {
        self.loaded.test_run(frame)
    }

    /// How long one run of so many takes, by the kernel's clock, each on what the one before has left of `frame`.
    ///
    /// # Errors
    /// As [`test_run`](Self::test_run).
    pub fn time_runs(&self, frame: &[u8], count: u32) -> Result<Duration, XdpError> {
        self.loaded.test_runs(frame, count).map(|(_, _, time)| time)
    }
}

impl Steering {
    /// Enters everything that is known from the beginning.
    fn tell(&self, services: &Services) -> Result<(), ServeError> {
        self.own.iter().try_for_each(|&address| services.serve_address(address))?;
        self.impossible_sources.iter().try_for_each(|&source| services.refuse_source(source))?;
        let tcp = self.shared.iter().copied().map(Service::tcp);
        let udp = self.shared_udp.iter().copied().map(Service::udp);
        tcp.chain(udp).try_for_each(|service| services.serve(service, Action::Stack))
    }
}

/// What slots of the services' table are found by.
fn slot_keys(key: &SipKey) -> SlotKeys {
    // The filter's keys have the numbers from 0 on.
    let hash = |number: usize| key.hash(|hasher| hasher.write_usize(filter::HashKeys::COUNT + number));
    SlotKeys(std::array::from_fn(|number| hash(number) | 1))
}
