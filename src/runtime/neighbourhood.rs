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
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
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
        Arc,
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
    arp: LinkSocket,
    discovery: LinkSocket,
    claims: Claims,
}

impl Ears {
    /// Listens, for addresses that there are and for those to come: the sockets outlive all privileges.
    pub fn open(plan: &InterfacePlan) -> Result<Self, XdpError> {
        let of = |ownership| {
            let addresses = plan.addresses.iter().filter(move |local| local.ownership == ownership);
            addresses.map(|local| local.cidr.address).collect()
        };
        let (addresses, shared) = (of(Ownership::Own), of(Ownership::Shared));
        let vlan = plan.vlan;
        let claims = Claims { addresses, shared, station: plan.mac(), vlan };
        let arp = LinkSocket::open(plan.link.index, ethernet::ETHER_TYPE_ARP, &filter(vlan, &[]))?;
        let discovery = LinkSocket::open(plan.link.index, ethernet::ETHER_TYPE_IPV6, &filter(vlan, &DISCOVERY))?;
        Ok(Self { arp, discovery, claims })
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

    fn announce(&self, address: IpAddr) {
        self.send(address, &self.claims.announcement(address));
    }

    fn send(&self, address: IpAddr, frame: &[u8]) {
        if address.is_ipv4() { self.arp.send(frame) } else { self.discovery.send(frame) }
    }

    /// Waits until something is heard, or the bell rings.
    fn wait(&self, bell: Option<&EventFd>, limit: Option<Duration>) {
        let sources = [self.arp.as_fd(), self.discovery.as_fd()].into_iter().chain(bell.map(AsFd::as_fd));
        let mut sources: Vec<_> = sources.map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
        // Interrupted or not, everything is looked at again.
        let _ = ppoll(&mut sources, limit.map(TimeSpec::from), None);
    }

    /// Shows what was heard, as much as there may be at a time.
    fn hear<E>(&self, mut show: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut buffer = [0; LONGEST];
        for socket in [&self.arp, &self.discovery] {
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
enum Order {
    /// Says our addresses again, from this station.
    Announce(MacAddress),
    /// Asks whether somebody has this address, as [`Ears::probe`] does at start: who has, if anybody.
    Probe(IpAddr, Sender<Option<MacAddress>>),
    /// An address is ours from now on, or served at least.
    Claim(IpAddr, Ownership),
    /// It no longer is.
    Disclaim(IpAddr),
}

/// The thread's way to be told. It ends when nobody can tell it anything any more.
#[derive(Clone)]
struct Orders {
    bell: Arc<EventFd>,
    orders: Sender<Order>,
}

impl Orders {
    fn give(&self, order: Order) {
        self.orders.send(order).ok();
        let _ = self.bell.write(1);
    }
}

/// Listens until it is dropped.
pub(super) struct Neighbourhood {
    orders: Orders,
    stop: Arc<AtomicBool>,
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
    bell: Arc<EventFd>,
    orders: Receiver<Order>,
    stop: Arc<AtomicBool>,
    /// What is yet to be announced: how often, and from when on.
    announcements: Vec<(IpAddr, u32, Instant)>,
    probing: Option<Probing>,
    /// Conflicts of late: when each was answered, and when it was said.
    conflicts: HashMap<IpAddr, (MacAddress, Instant, Instant)>,
    /// Since when so many frames were shown to the workers.
    shown: (Instant, u32),
}

/// An address that is asked for.
struct Probing {
    address: IpAddr,
    answer: Sender<Option<MacAddress>>,
    begun: Instant,
    asked: u32,
}

impl Probing {
    /// When to ask again, or to give up.
    fn due(&self) -> Instant {
        self.begun + if self.asked < PROBES { PROBE_INTERVAL * self.asked } else { ANSWERS_UNTIL }
    }
}

/// Has our addresses announced again.
#[derive(Clone)]
pub(super) struct Announcer(Orders);

impl Announcer {
    /// Announces them at this station.
    pub fn announce(&self, station: MacAddress) {
        self.0.give(Order::Announce(station));
    }
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Announcer")
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
        let (bell, stop, (give, orders)) = (Arc::new(bell), Arc::<AtomicBool>::default(), unbounded());
        let announcer = Orders { bell: bell.clone(), orders: give };
        announcer.give(Order::Announce(ears.claims.station));
        let listener = Listener {
            ears,
            id,
            interface,
            workers,
            notices,
            bell,
            orders,
            stop: stop.clone(),
            announcements: Vec::new(),
            probing: None,
            conflicts: HashMap::new(),
            shown: (Instant::now(), 0),
        };
        let thread = thread::Builder::new().name("xskip-ears".to_owned()).spawn(move || listener.listen());
        Ok(Self { orders: announcer, stop, thread: Some(thread.map_err(failed)?) })
    }

    /// Whoever knows when to announce our addresses again.
    pub fn announcer(&self) -> Announcer {
        Announcer(self.orders.clone())
    }

    /// Asks whether somebody has this address, and waits a moment for answers: the station that has.
    pub fn probe(&self, address: IpAddr) -> Option<MacAddress> {
        let (answer, answered) = bounded(1);
        self.orders.give(Order::Probe(address, answer));
        answered.recv().ok().flatten()
    }

    /// Takes up another address: our own is announced, and defended.
    pub fn claim(&self, address: IpAddr, ownership: Ownership) {
        self.orders.give(Order::Claim(address, ownership));
    }

    /// Gives an address up.
    pub fn disclaim(&self, address: IpAddr) {
        self.orders.give(Order::Disclaim(address));
    }
}

impl Drop for Neighbourhood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.orders.bell.write(1);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Listener {
    fn listen(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            let now = Instant::now();
            self.announce(now);
            self.ask(now);
            let due = self.announcements.iter().map(|&(_, _, due)| due).chain(self.probing.as_ref().map(Probing::due));
            let limit = due.min().map(|due| due.saturating_duration_since(Instant::now()));
            self.ears.wait(Some(&self.bell), limit);
            let _ = self.bell.read();
            self.hear();
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Announce(station) => {
                self.ears.claims.station = station;
                let all = self.ears.claims.addresses.iter();
                self.announcements = all.map(|&address| (address, ANNOUNCEMENTS, now)).collect();
            }
            Order::Probe(address, answer) => self.probing = Some(Probing { address, answer, begun: now, asked: 0 }),
            Order::Claim(address, ownership) => {
                self.ears.claims.add(address, ownership);
                if ownership == Ownership::Own {
                    self.announcements.push((address, ANNOUNCEMENTS, now));
                }
            }
            Order::Disclaim(address) => {
                self.ears.claims.remove(address);
                self.announcements.retain(|&(other, ..)| other != address);
                self.conflicts.remove(&address);
            }
        }
    }

    fn announce(&mut self, now: Instant) {
        for (address, left, due) in &mut self.announcements {
            if now >= *due {
                self.ears.announce(*address);
                (*left, *due) = (*left - 1, *due + ANNOUNCE_INTERVAL);
            }
        }
        self.announcements.retain(|&(_, left, _)| left > 0);
    }

    /// Asks for an address once more, or is content with the silence so far.
    fn ask(&mut self, now: Instant) {
        let Some(probing) = self.probing.as_mut().filter(|probing| now >= probing.due()) else { return };
        if probing.asked == PROBES {
            probing.answer.send(None).ok();
            self.probing = None;
            return;
        }
        probing.asked += 1;
        self.ears.send(probing.address, &self.ears.claims.probe(probing.address));
    }

    fn hear(&mut self) {
        let (mut found, mut wanted, mut taken) = (Vec::new(), Vec::new(), None);
        let claims = &self.ears.claims;
        let asked_for = self.probing.as_ref().map(|probing| claims.of(probing.address));
        let _ = self.ears.hear(|frame| -> Result<(), ()> {
            found.extend(claims.conflict(frame, false));
            wanted.extend(claims.concerns(frame).then(|| frame.to_vec()));
            taken = taken.or(asked_for.as_ref().and_then(|asked_for| asked_for.conflict(frame, true)));
            Ok(())
        });
        if let Some((_, station)) = taken
            && let Some(probing) = self.probing.take()
        {
            probing.answer.send(Some(station)).ok();
        }
        wanted.iter().for_each(|frame| self.pass_on(frame));
        found.into_iter().for_each(|conflict| self.defend(conflict));
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
        self.ears.announce(address);
        let said = before.filter(|&(known, _, said)| known == station && now - said < SAID_AGAIN);
        self.conflicts.insert(address, (station, now, said.map_or(now, |(_, _, said)| said)));
        if said.is_none() {
            self.notices.tell(Notice::AddressConflict { interface: self.interface.clone(), address, station });
        }
    }
}
