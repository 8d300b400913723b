//! A pair in memory that programs share: `struct splice_pair` of `bpf/splice.h`.

use crate::{
    splice::{End, Pair, Side, Stream},
    time::Instant,
    wire::{
        Endpoint, FourTuple, InterfaceId, LinkHeader, MacAddress, SeqNumber,
        ethernet::{VlanTag, VlanTags},
    },
    xdp::steer::{address_octets, types},
};
use std::{
    mem::{offset_of, size_of},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Words of four octets of a pair.
pub(super) const WORDS: usize = size_of::<types::splice_pair>() / 4;

/// Where a side's parts are, in octets.
const fn end(side: Side) -> usize {
    offset_of!(types::splice_pair, ends) + side as usize * size_of::<types::splice_end>()
}

const fn side_at(side: Side) -> usize {
    offset_of!(types::splice_pair, sides) + side as usize * size_of::<types::splice_side>()
}

const fn said(side: Side) -> usize {
    offset_of!(types::splice_pair, said) + side as usize * size_of::<types::splice_said>()
}

/// Declares where fields stand.
macro_rules! places {
    ($($name:ident = $of:ident.$field:ident;)*) => {
        $(const $name: usize = offset_of!(types::$of, $field);)*
    };
}

places! {
    LOCAL = splice_end.local;
    REMOTE = splice_end.remote;
    PORTS = splice_end.ports;
    IFINDEX = splice_end.ifindex;
    DESTINATION = splice_end.destination;
    SOURCE = splice_end.source;
    MTU = splice_end.mtu;
    SHIFT = splice_side.shift;
    CLOCK_SHIFT = splice_side.clock_shift;
    CLOCK = splice_side.clock;
    RECENT = splice_side.recent;
    VLAN = splice_side.vlan;
    FOLLOWS = splice_side.follows;
    HEARD = splice_said.heard;
    CARRIED = splice_said.carried;
    SENT = splice_said.sent;
    FIN = splice_said.fin;
    ACKED = splice_said.acked;
    EDGE = splice_said.edge;
    OFFERED = splice_said.offered;
    REACH = splice_said.reach;
    HAS_FIN = splice_said.has_fin;
    IS_PAST = splice_said.is_past;
    IS_RESET = splice_said.is_reset;
    HAS_CLOCKS = splice_pair.has_clocks;
    IS_TAGGED = splice_pair.is_tagged;
    IS_CLAIM = splice_pair.is_claim;
}

/// The low six octets of a number are a link address, as they stand in a frame.
const MAC_BITS: u32 = 48;

/// What one worker's time and interfaces are to the programs.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// What the monotonic clock showed at the worker's origin, in nanoseconds.
    pub origin: u64,
    /// What the kernel calls each of its interfaces.
    pub interfaces: Vec<u32>,
}

impl Origin {
    fn monotonic(&self, at: Instant) -> u64 {
        at.as_nanos().saturating_add(self.origin)
    }

    fn instant(&self, monotonic: u64) -> Instant {
        Instant::from_nanos(monotonic.saturating_sub(self.origin))
    }

    /// Whether the kernel knows an interface by a number.
    pub fn knows(&self, interface: InterfaceId) -> bool {
        self.ifindex(interface) != 0
    }

    fn ifindex(&self, interface: InterfaceId) -> u32 {
        self.interfaces.get(interface.index()).copied().unwrap_or_default()
    }

    fn interface(&self, ifindex: u32) -> InterfaceId {
        let index = self.interfaces.iter().position(|&it| it == ifindex);
        index.and_then(InterfaceId::at).unwrap_or_default()
    }
}

/// One pair's memory. A program reads and writes it meanwhile, each field by one access; none of them says what another one is.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub words: &'a [AtomicU32],
    pub longs: &'a [AtomicU64],
}

impl Record<'_> {
    fn get(&self, at: usize) -> u32 {
        self.words[at / 4].load(Ordering::Relaxed)
    }

    fn put(&self, at: usize, value: u32) {
        self.words[at / 4].store(value, Ordering::Relaxed);
    }

    fn get_long(&self, at: usize) -> u64 {
        self.longs[at / 8].load(Ordering::Relaxed)
    }

    fn put_long(&self, at: usize, value: u64) {
        self.longs[at / 8].store(value, Ordering::Relaxed);
    }

    /// All of a pair.
    pub fn write(&self, pair: &Pair, origin: &Origin) {
        for side in Side::BOTH {
            self.write_end(&pair.ends[side as usize], side, origin);
            self.write_side(pair, side);
            self.write_said(pair, side, origin);
        }
        self.put(IS_CLAIM, 0);
        self.put(HAS_CLOCKS, pair.has_clocks.into());
        self.put(IS_TAGGED, (!pair.link(Side::Client).vlan.as_slice().is_empty()).into());
    }

    /// That a flow, which is found where the backend's would be, is the stack's.
    pub fn write_claim(&self, tuple: &FourTuple) {
        self.put(IS_CLAIM, 1);
        self.write_tuple(tuple, Side::Backend);
    }

    fn write_end(&self, its: &End, side: Side, origin: &Origin) {
        self.write_tuple(&its.tuple, side);
        self.write_link(its, side, origin);
    }

    fn write_tuple(&self, tuple: &FourTuple, side: Side) {
        for (at, address) in [(LOCAL, tuple.local.address), (REMOTE, tuple.remote.address)] {
            for (number, octets) in address_octets(address).chunks_exact(4).enumerate() {
                self.put(end(side) + at + 4 * number, u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]));
            }
        }
        self.put(end(side) + PORTS, ports_of(tuple));
    }

    fn write_link(&self, its: &End, side: Side, origin: &Origin) {
        self.put_long(end(side) + DESTINATION, long_of(its.link.destination));
        self.put_long(end(side) + SOURCE, source_of(its));
        self.put(end(side) + IFINDEX, origin.ifindex(its.link.interface));
        self.write_way(its, side);
    }

    /// What no program learns of a side's way.
    fn write_way(&self, its: &End, side: Side) {
        self.put(end(side) + MTU, its.mtu.into());
        let scales = u32::from(its.peer_scale) << 16 | u32::from(its.our_scale) << 24;
        self.put(side_at(side) + VLAN, u32::from(control_of(its) & 0xfff) | scales);
    }

    /// Whereto frames to a side go from now on: each part by one store, and only those by which `after` differs from `before`, which was
    /// read here. What a program learns between these is newer, and stays. Whoever points may have looked just before that, and so undo
    /// what was learnt in between: that is learnt again with the next news.
    pub fn point(&self, before: &End, after: &End, side: Side, origin: &Origin) {
        self.turn(DESTINATION, side, [before, after].map(|its| long_of(its.link.destination)));
        self.turn(SOURCE, side, [before, after].map(source_of));
        let [from, to] = [before, after].map(|its| origin.ifindex(its.link.interface));
        if from != to {
            let word = &self.words[(end(side) + IFINDEX) / 4];
            _ = word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.write_way(after, side);
    }

    fn write_side(&self, pair: &Pair, side: Side) {
        let (its, stream) = (&pair.ends[side as usize], pair.stream(side));
        self.put(side_at(side) + SHIFT, stream.shift);
        self.put(side_at(side) + CLOCK_SHIFT, stream.clock_shift);
        self.put(side_at(side) + CLOCK, its.clock);
        self.put(side_at(side) + RECENT, its.recent);
        self.put(side_at(side) + FOLLOWS, its.follows.into());
    }

    /// What one side's segments have said, of a pair that nobody finds yet.
    fn write_said(&self, pair: &Pair, from: Side, origin: &Origin) {
        let (out, back) = (pair.stream(from), pair.stream(from.other()));
        let words = [
            (SENT, out.sent.get()),
            (FIN, out.fin.get()),
            (ACKED, back.acked.get()),
            (EDGE, back.edge.get()),
            (OFFERED, back.offered.get()),
            (REACH, back.reach),
            (HAS_FIN, out.has_fin.into()),
            (IS_PAST, out.is_past.into()),
            (IS_RESET, out.is_reset.into()),
        ];
        words.into_iter().for_each(|(at, value)| self.put(said(from) + at, value));
        self.put_long(said(from) + CARRIED, out.carried);
        self.put_long(said(from) + HEARD, origin.monotonic(pair.heard));
    }

    /// What one segment of a side has said: that by which `after` differs from `before`, which was read here. A program may have learnt more
    /// meanwhile, so numbers only grow, and what this segment has not changed stays as it is.
    ///
    /// A program learns by plain loads and stores, so one of its stores may still undo one from here, or a FIN be taken for none between two
    /// of these. The next segment says all numbers again, and until then a bound stands a little further back; whoever sends on behind its
    /// own FIN is no TCP; a flag that is set is written by nobody else at once; and of what was carried a segment's worth may be missing.
    pub fn learn(&self, before: &Pair, after: &Pair, from: Side, origin: &Origin) {
        let ((out, said_before), back) = ((after.stream(from), before.stream(from)), after.stream(from.other()));
        let at = |field: usize| said(from) + field;
        if let Some(from_there) = self.advance(at(SENT), out.sent) {
            self.longs[at(CARRIED) / 8].fetch_add(out.sent.since(from_there).into(), Ordering::Relaxed);
        }
        self.advance(at(ACKED), back.acked);
        self.advance(at(EDGE), back.edge);
        self.advance(at(OFFERED), back.offered);
        self.words[at(REACH) / 4].fetch_max(back.reach, Ordering::Relaxed);
        if out.has_fin && (!said_before.has_fin || out.fin != said_before.fin) {
            self.put(at(FIN), out.fin.get());
            self.put(at(HAS_FIN), 1);
        } else if !out.has_fin && said_before.has_fin && self.get(at(FIN)) == said_before.fin.get() {
            self.put(at(HAS_FIN), 0);
        }
        if out.is_past && !said_before.is_past {
            self.put(at(IS_PAST), 1);
        }
        if out.is_reset && !said_before.is_reset {
            self.put(at(IS_RESET), 1);
        }
        self.longs[at(HEARD) / 8].fetch_max(origin.monotonic(after.heard), Ordering::Relaxed);
        self.turn(DESTINATION, from, [before, after].map(|pair| long_of(pair.link(from).destination)));
    }

    /// Moves a number on to where it is at least; from where, if it was not there yet.
    fn advance(&self, at: usize, to: SeqNumber) -> Option<SeqNumber> {
        let further = |there| SeqNumber::new(there).precedes(to).then_some(to.get());
        self.words[at / 4].fetch_update(Ordering::Relaxed, Ordering::Relaxed, further).ok().map(SeqNumber::new)
    }

    /// Has a part of a side's link be another one, unless that was learnt anew meanwhile.
    fn turn(&self, at: usize, side: Side, [before, after]: [u64; 2]) {
        if before != after {
            _ = self.longs[(end(side) + at) / 8].compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How a pair stands.
    pub fn read(&self, origin: &Origin) -> Pair {
        let both = |at: usize| Side::BOTH.map(|side| said(side) + at);
        let heard = both(HEARD).map(|at| self.get_long(at)).into_iter().max().unwrap_or_default();
        Pair {
            ends: Side::BOTH.map(|side| self.end(side, origin)),
            streams: Side::BOTH.map(|side| self.stream(side)),
            has_clocks: self.get(HAS_CLOCKS) != 0,
            heard: origin.instant(heard),
        }
    }

    fn end(&self, side: Side, origin: &Origin) -> End {
        let address = |at: usize| {
            let words = [0, 4, 8, 12].map(|word| self.get(end(side) + at + word).to_ne_bytes());
            let octets: [u8; 16] = std::array::from_fn(|octet| words[octet / 4][octet % 4]);
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        };
        let [a, b, c, d] = self.get(end(side) + PORTS).to_ne_bytes();
        let source = self.get_long(end(side) + SOURCE);
        let control = u16::from_be((source >> MAC_BITS) as u16);
        let fixed = self.get(side_at(side) + VLAN).to_ne_bytes();
        let tag = (self.get(IS_TAGGED) != 0).then_some(VlanTag { protocol: 0x8100, control });
        End {
            tuple: FourTuple {
                local: Endpoint { address: address(LOCAL), port: u16::from_be_bytes([a, b]) },
                remote: Endpoint { address: address(REMOTE), port: u16::from_be_bytes([c, d]) },
            },
            link: LinkHeader {
                destination: mac_of(self.get_long(end(side) + DESTINATION)),
                source: mac_of(source),
                vlan: tag.and_then(|tag| VlanTags::default().with(tag)).unwrap_or_default(),
                interface: origin.interface(self.get(end(side) + IFINDEX)),
            },
            mtu: self.get(end(side) + MTU) as u16,
            peer_scale: fixed[2],
            our_scale: fixed[3],
            clock: self.get(side_at(side) + CLOCK),
            recent: self.get(side_at(side) + RECENT),
            follows: self.get(side_at(side) + FOLLOWS) != 0,
        }
    }

    fn stream(&self, speaker: Side) -> Stream {
        let (own, hearers) = (said(speaker), said(speaker.other()));
        let number = |at: usize| SeqNumber::new(self.get(at));
        Stream {
            shift: self.get(side_at(speaker) + SHIFT),
            clock_shift: self.get(side_at(speaker) + CLOCK_SHIFT),
            sent: number(own + SENT),
            acked: number(hearers + ACKED),
            edge: number(hearers + EDGE),
            offered: number(hearers + OFFERED),
            reach: self.get(hearers + REACH),
            fin: number(own + FIN),
            has_fin: self.get(own + HAS_FIN) != 0,
            is_reset: self.get(own + IS_RESET) != 0,
            carried: self.get_long(own + CARRIED),
            is_past: self.get(own + IS_PAST) != 0,
        }
    }
}

/// Both ports, ours first, as they stand in a frame.
pub(super) fn ports_of(tuple: &FourTuple) -> u32 {
    let ([a, b], [c, d]) = (tuple.local.port.to_be_bytes(), tuple.remote.port.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// The first tag's control field.
fn control_of(its: &End) -> u16 {
    its.link.vlan.as_slice().first().map_or(0, |tag| tag.control)
}

/// Where frames to a side come from, with their tag.
fn source_of(its: &End) -> u64 {
    long_of(its.link.source) | u64::from(control_of(its).to_be()) << MAC_BITS
}

/// A link address, as the program writes it.
fn long_of(MacAddress([a, b, c, d, e, f]): MacAddress) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn mac_of(long: u64) -> MacAddress {
    let [a, b, c, d, e, f, ..] = long.to_le_bytes();
    MacAddress([a, b, c, d, e, f])
}

const _: () = assert!(
    size_of::<types::splice_pair>() == 320
        && offset_of!(types::splice_side, peer_scale) == VLAN + 2
        && offset_of!(types::splice_side, our_scale) == VLAN + 3
        && FOLLOWS == VLAN + 4
);
