//! The neighbours on the link, as far as they speak to everybody or to the kernel: whether one has an address of ours, and what it
//! says of its own, which the workers hear, too. The XDP program leaves such frames to the kernel; this listens beside it.

use super::{
    Notice, RuntimeError,
    claims::{Claims, Conflict},
    notice::Notices,
    plan::InterfacePlan,
};
use crate::{
    stack::Ownership,
    wire::{InterfaceId, MacAddress, ethernet},
    worker::Workers,
    xdp::{Instruction, LinkSocket, XdpError},
};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        time::TimeSpec,
    },
};
use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Questions whether somebody has our addresses, how far apart they are, and how long answers are waited for from the first on. RFC
/// 5227 §1.1 takes five to seven seconds, for hosts that all boot at once and for switches that learn where they are; here the link
/// has been up, and who answers later, or comes later, is heard all the same.
const PROBES: u32 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(60);
const ANSWERS_UNTIL: Duration = Duration::from_millis(200);
/// RFC 5227 §1.1: ANNOUNCE_NUM and ANNOUNCE_INTERVAL.
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// RFC 5227 §1.1: DEFEND_INTERVAL. More often, two that claim an address would never come to rest.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How soon it is said again that the same station has an address of ours.
const SAID_AGAIN: Duration = Duration::from_secs(600);
/// Frames that workers are shown in a second: their mail has more important things in it.
const SHOWN_A_SECOND: u32 = 1_000;
/// Frames that are heard before anything else has its turn.
const BATCH: usize = 64;
/// Neither ARP nor neighbour discovery is longer than what an Ethernet frame holds.
const LONGEST: usize = 1_514;

/// What is heard on the link.
#[derive(Debug)]
pub(super) struct Ears {
    sockets: Vec<LinkSocket>,
    claims: Claims,
}

impl Ears {
    /// Listens, as far as there are addresses for it. The sockets outlive all privileges.
    pub fn open(plan: &InterfacePlan) -> Result<Self, XdpError> {
        let of = |ownership| {
            let addresses = plan.addresses.iter().filter(move |local| local.ownership == ownership);
            addresses.map(|local| local.cidr.address).collect()
        };
        let (addresses, shared) = (of(Ownership::Own), of(Ownership::Shared));
        let vlan = plan.vlan;
        let claims = Claims { addresses, shared, station: plan.mac(), vlan };
        let has = |is_ipv4| plan.addresses.iter().any(|local| local.cidr.address.is_ipv4() == is_ipv4);
        let mut sockets = Vec::new();
        if has(true) {
            sockets.push(LinkSocket::open(plan.link.index, ethernet::ETHER_TYPE_ARP, &filter(vlan, &[]))?);
        }
        if has(false) {
            sockets.push(LinkSocket::open(plan.link.index, ethernet::ETHER_TYPE_IPV6, &filter(vlan, &DISCOVERY))?);
        }
        Ok(Self { sockets, claims })
    }

    /// Asks whether somebody has one of our addresses, and waits a moment for answers.
    pub fn probe(&self) -> Result<(), Conflict> {
        if self.claims.addresses.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        for asked in 1..=PROBES {
            self.claims.addresses.iter().for_each(|&address| self.send(address, &self.claims.probe(address)));
            let until = if asked < PROBES { PROBE_INTERVAL * asked } else { ANSWERS_UNTIL };
            while let Some(left) = (begun + until).checked_duration_since(Instant::now()) {
                self.wait(None, Some(left));
                self.hear(|frame| self.claims.conflict(frame, true).map_or(Ok(()), Err))?;
            }
        }
        Ok(())
    }

    fn announce(&self) {
        self.claims.addresses.iter().for_each(|&address| self.send(address, &self.claims.announcement(address)));
    }

    fn send(&self, address: IpAddr, frame: &[u8]) {
        // The one for ARP comes first.
        let socket = if address.is_ipv4() { self.sockets.first() } else { self.sockets.last() };
        socket.iter().for_each(|socket| socket.send(frame));
    }

    /// Waits until something is heard, or the bell rings.
    fn wait(&self, bell: Option<&EventFd>, limit: Option<Duration>) {
        let sources = self.sockets.iter().map(AsFd::as_fd).chain(bell.map(AsFd::as_fd));
        let mut sources: Vec<_> = sources.map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
        // Interrupted or not, everything is looked at again.
        let _ = ppoll(&mut sources, limit.map(TimeSpec::from), None);
    }

    /// Shows what was heard, as much as there may be at a time.
    fn hear<E>(&self, mut show: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut buffer = [0; LONGEST];
        for socket in &self.sockets {
            for _ in 0..BATCH {
                let Some(frame) = socket.receive(&mut buffer) else { break };
                show(frame)?;
            }
        }
        Ok(())
    }
}

/// Instructions of classic BPF (linux/bpf_common.h), and what the kernel knows of a frame besides its octets (linux/filter.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_OCTET: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const AT_VLAN_TAG: u32 = 0xffff_f000 + 44;

/// Of IPv6, what is neighbour discovery behind a plain header. It goes on behind its end, or one instruction beyond that.
const DISCOVERY: [Instruction; 5] = [
    (LOAD_OCTET, 0, 0, 20),
    (JUMP_IF_EQUAL, 0, 4, 58),
    (LOAD_OCTET, 0, 0, 54),
    (JUMP_IF_EQUAL, 1, 0, 135),
    (JUMP_IF_EQUAL, 0, 1, 136),
];

/// Lets frames through that are of this VLAN, whose tag the kernel has taken off by then, or of none, and that `rest` likes.
fn filter(vlan: Option<u16>, rest: &[Instruction]) -> Vec<Instruction> {
    let to_refusal = rest.len() as u8 + 1;
    let is_ours = (JUMP_IF_EQUAL, 0, to_refusal, vlan.unwrap_or_default().into());
    let head = [(LOAD_WORD, 0, 0, AT_VLAN_TAG), (AND, 0, 0, 0xfff), is_ours];
    let tail = [(RETURN, 0, 0, LONGEST as u32), (RETURN, 0, 0, 0)];
    [&head[..], rest, &tail[..]].concat()
}

/// What the listening thread is told.
#[derive(Debug)]
struct Orders {
    bell: EventFd,
    stop: AtomicBool,
    /// Says our addresses again, from this station.
    announce: Mutex<Option<MacAddress>>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Neighbourhood {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
struct Listener {
    ears: Ears,
    /// The interface, to workers and to people.
    id: InterfaceId,
    interface: String,
    workers: Workers,
    notices: Notices,
    orders: Arc<Orders>,
    /// Conflicts of late: when each was answered, and when it was said.
    conflicts: HashMap<IpAddr, (MacAddress, Instant, Instant)>,
    /// Since when so many frames were shown to the workers.
    shown: (Instant, u32),
}

/// Has our addresses announced again.
#[derive(Clone, Debug)]
pub(super) struct Announcer(Arc<Orders>);

impl Announcer {
    /// Announces them at this station.
    pub fn announce(&self, station: MacAddress) {
        *self.0.announce.lock().unwrap_or_else(PoisonError::into_inner) = Some(station);
        let _ = self.0.bell.write(1);
    }
}

impl Neighbourhood {
    /// Begins by announcing our addresses.
    pub fn start(
        ears: Ears,
        (id, interface): (InterfaceId, String),
        workers: Workers,
        notices: Notices,
    ) -> Result<Self, RuntimeError> {
        let failed = |source| RuntimeError::System { what: "start listening to the neighbours", source };
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let orders =
            Arc::new(Orders { bell, stop: AtomicBool::new(false), announce: Mutex::new(Some(ears.claims.station)) });
        let listener = Listener {
            ears,
            id,
            interface,
            workers,
            notices,
            orders: orders.clone(),
            conflicts: HashMap::new(),
            shown: (Instant::now(), 0),
        };
        let thread = thread::Builder::new().name("xskip-ears".to_owned()).spawn(move || listener.listen());
        Ok(Self { orders, thread: Some(thread.map_err(failed)?) })
    }

    /// Whoever knows when to announce our addresses again.
    pub fn announcer(&self) -> Announcer {
        Announcer(self.orders.clone())
    }
}

impl Drop for Neighbourhood {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Release);
        let _ = self.orders.bell.write(1);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Listener {
    fn listen(mut self) {
        let (mut left, mut due) = (0, Instant::now());
        while !self.orders.stop.load(Ordering::Acquire) {
            let ordered = self.orders.announce.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(station) = ordered {
                self.ears.claims.station = station;
                (left, due) = (ANNOUNCEMENTS, Instant::now());
            }
            if left > 0 && Instant::now() >= due {
                self.ears.announce();
                (left, due) = (left - 1, due + ANNOUNCE_INTERVAL);
            }
            let limit = (left > 0).then(|| due.saturating_duration_since(Instant::now()));
            self.ears.wait(Some(&self.orders.bell), limit);
            let _ = self.orders.bell.read();
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            let claims = &self.ears.claims;
            let _ = self.ears.hear(|frame| -> Result<(), ()> {
                found.extend(claims.conflict(frame, false));
                wanted.extend(claims.concerns(frame).then(|| frame.to_vec()));
                Ok(())
            });
            wanted.iter().for_each(|frame| self.pass_on(frame));
            found.into_iter().for_each(|conflict| self.defend(conflict));
        }
    }

    /// Lets every worker hear it, as it was before its tag was taken off.
    fn pass_on(&mut self, frame: &[u8]) {
        let now = Instant::now();
        if now - self.shown.0 >= Duration::from_secs(1) {
            self.shown = (now, 0);
        }
        self.shown.1 += 1;
        if self.shown.1 > SHOWN_A_SECOND {
            return;
        }
        let tagged = self.ears.claims.vlan.and_then(|vlan| {
            let (ends, rest) = frame.split_at_checked(2 * size_of::<MacAddress>())?;
            Some([ends, &ethernet::tag_of(vlan), rest].concat())
        });
        let frame = tagged.as_deref().unwrap_or(frame);
        // Who does not keep up with his mail has more urgent things to do.
        let (workers, interface) = (self.workers.mailboxes(), self.id);
        workers.iter().for_each(|mailbox| mailbox.drop_in(interface, frame));
    }

    /// RFC 5227 §2.4 (c): announces the address, now and then, and goes on.
    fn defend(&mut self, (address, station): Conflict) {
        let now = Instant::now();
        let before = self.conflicts.get(&address).copied();
        if before.is_some_and(|(_, defended, _)| now - defended < DEFEND_INTERVAL) {
            return;
        }
        self.ears.send(address, &self.ears.claims.announcement(address));
        let said = before.filter(|&(known, _, said)| known == station && now - said < SAID_AGAIN);
        self.conflicts.insert(address, (station, now, said.map_or(now, |(_, _, said)| said)));
        if said.is_none() {
            self.notices.tell(Notice::AddressConflict { interface: self.interface.clone(), address, station });
        }
    }
}
