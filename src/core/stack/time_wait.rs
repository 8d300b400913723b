//! TIME-WAIT: what is left of a connection until its old segments have left the network (RFC 9293 §3.6.1), in 32 bytes.
//!
//! A segment that arrives brings the 4-tuple and the way back with it, so neither is kept: a keyed hash of 48 bits tells whose
//! segment it is. Of a million entries, one flow in 10^8 would be taken for another that is over.

use super::{FlowHash, defence::FlowFingerprint};
use crate::{
    tcp::{Connection, Cx, timestamps::TimestampState},
    time::{Coarse, Instant},
    wire::{
        FourTuple, IpHeader, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ip::{Codepoint, Dscp},
    },
};
use std::time::Duration;

/// A connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    slot: u32,
    check: u16,
    /// What the observer of flows knows the flow by.
    pub fingerprint: FlowFingerprint,
    /// SND.NXT: behind our FIN.
    pub snd_nxt: SeqNumber,
    /// RCV.NXT: behind the peer's FIN.
    pub rcv_nxt: SeqNumber,
    clocks: TimestampState,
    /// Our code point in the upper six bits, [`HAS_CLOCKS`] and [`GONE`].
    marks: u8,
    /// When it is over, to the lower bits of a [`Coarse`]; then [`PEER_IS_OVER`]; and in the upper six bits, in which second of some
    /// 64 it has answered a stray segment.
    times: [u8; 3],
}

const _: () = assert!(size_of::<TimeWait>() <= 32, "millions of these stay around for a minute each");

const HAS_CLOCKS: u8 = 1;
/// Its place in the queue is all that is left of it.
const GONE: u8 = 2;
/// [`GONE`], because it waits anew in another place. There is no code point where there is no entry.
const MOVED: u8 = GONE | 4;

/// The peer has shown that it has nothing left of the connection.
const PEER_IS_OVER: u32 = 1 << Coarse::LOW_BITS;
const ANSWERED_SHIFT: u32 = Coarse::LOW_BITS + 1;

/// Of so many entries at once, one may wait anew in a second place.
const ENTRIES_PER_SPARE: u32 = 8;

/// As far behind the end of an old connection a new one begins at least: what a window without scaling lets be on its way.
const BEYOND: u32 = 1 << 16;

/// How long an entry waits at least before we open a connection in its place: as long as clocks may take to tick that show one time for
/// two connections (RFC 7323 §5.4 has them tick once a second at least).
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Seconds that an entry can tell from each other.
const SECONDS: u32 = 1 << (24 - ANSWERED_SHIFT);

/// The longest time that entries wait: they know when it is over to a quarter of one.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What a segment does to TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWaitAction {
    /// A SYN beyond everything the old connection received, or later by its sender's clock: the 4-tuple may be used again
    /// (RFC 9293 MAY-2, RFC 6191 §2).
    NewConnection,
    /// The peer's FIN again, because it has not heard our last acknowledgment: send that, and wait anew. RFC 9293 §3.10.7.4 lets
    /// nothing else begin the wait afresh; what did would keep a client out for as long as it tries to come in.
    FinAgain,
    /// A segment that is not acceptable: it draws the last acknowledgment, but with a limit (RFC 5961 §7).
    Stray,
    /// An exact RST: the peer knows nothing of the connection. That ends nothing, or a stray segment could end TIME-WAIT early (RFC
    /// 1337 §3), whose last acknowledgment a closed peer resets. But the peer's next SYN is a new one, whatever its number and its
    /// clock.
    PeerIsOver,
    /// Nothing to do.
    Ignore,
}

impl TimeWait {
    /// What is left of a connection, whose flow has this hash and fingerprint.
    pub fn new(hash: FlowHash, fingerprint: FlowFingerprint, connection: &Connection) -> Self {
        let (snd_nxt, rcv_nxt) = connection.sequence();
        let clocks = connection.clocks();
        let marks = connection.dscp().with(Codepoint::NotCapable) | if clocks.is_some() { HAS_CLOCKS } else { 0 };
        let FlowHash { slot, check } = hash;
        Self { slot, check, fingerprint, snd_nxt, rcv_nxt, clocks: clocks.unwrap_or_default(), marks, times: [0; 3] }
    }

    /// The 4-tuple's hash.
    pub fn hash(&self) -> FlowHash {
        FlowHash { slot: self.slot, check: self.check }
    }

    fn clocks(&self) -> Option<TimestampState> {
        (self.marks & HAS_CLOCKS != 0).then_some(self.clocks)
    }

    fn is_gone(&self) -> bool {
        self.marks & GONE != 0
    }

    /// What to do about a segment.
    pub fn action_for(&self, segment: &Segment<'_>) -> TimeWaitAction {
        let header = &segment.header;
        let (seq, ack) = (header.seq, header.ack);
        if segment.has(TcpFlags::RST) {
            return if seq == self.rcv_nxt { TimeWaitAction::PeerIsOver } else { TimeWaitAction::Ignore };
        }
        let clocks = self.clocks().zip(header.options.timestamps);
        if segment.has(TcpFlags::SYN) {
            let is_beyond = self.rcv_nxt.precedes(seq);
            let later = match clocks {
                // RFC 6191 §2: a clock that ticks slowly may show the same time still, and then the number decides.
                Some((clocks, received)) => clocks.is_newer(received) || (is_beyond && !clocks.is_old(received)),
                None => is_beyond,
            };
            let is_new = (later || self.times() & PEER_IS_OVER != 0) && !segment.has(TcpFlags::ACK);
            return if is_new { TimeWaitAction::NewConnection } else { TimeWaitAction::Stray };
        }
        let is_old = clocks.is_some_and(|(clocks, received)| clocks.is_old(received));
        let ends_stream = segment.has(TcpFlags::FIN) && seq.advance(segment.len()) == self.rcv_nxt;
        if ends_stream && segment.has(TcpFlags::ACK) && !is_old {
            return TimeWaitAction::FinAgain;
        }
        let is_expected =
            segment.is_empty() && seq == self.rcv_nxt && ack == self.snd_nxt && segment.has(TcpFlags::ACK);
        if is_expected { TimeWaitAction::Ignore } else { TimeWaitAction::Stray }
    }

    /// The first number of the connection that we open in its place: beyond all that it has sent, as `clock` is as a rule.
    pub fn successor(&self, clock: SeqNumber) -> SeqNumber {
        if self.snd_nxt.precedes(clock) { clock } else { self.snd_nxt.advance(BEYOND) }
    }

    fn set_expiry(&mut self, at: Coarse) {
        self.set_times(self.times() >> Coarse::LOW_BITS << Coarse::LOW_BITS | at.low_bits());
    }

    fn expires(&self, about: Coarse) -> Coarse {
        about.nearest(self.times() & (PEER_IS_OVER - 1))
    }

    /// In which second it has answered a stray segment: the lower bits of that.
    fn answered(&self) -> u32 {
        self.times() >> ANSWERED_SHIFT
    }

    fn set_answered(&mut self, second: u32) {
        let before = self.times() & ((1 << ANSWERED_SHIFT) - 1);
        self.set_times(before | (second % SECONDS) << ANSWERED_SHIFT);
    }

    fn times(&self) -> u32 {
        let [low, middle, high] = self.times;
        u32::from_le_bytes([low, middle, high, 0])
    }

    fn set_times(&mut self, times: u32) {
        let [low, middle, high, _] = times.to_le_bytes();
        self.times = [low, middle, high];
    }

    /// The acknowledgment of the peer's FIN.
    pub fn acknowledgment(&self, cx: Cx<'_>, tuple: &FourTuple) -> (IpHeader, TcpHeader) {
        let ip = cx.config.ip_header(tuple, Dscp::of(self.marks).with(Codepoint::NotCapable));
        let tcp = TcpHeader {
            source_port: tuple.local.port,
            destination_port: tuple.remote.port,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            window: 0,
            urgent: 0,
            options: TcpOptions {
                timestamps: self.clocks().map(|clocks| clocks.option(cx.now)),
                ..TcpOptions::default()
            },
        };
        (ip, tcp)
    }
}

/// All connections in TIME-WAIT, in a ring. They wait equally long, so the oldest is always the next to expire: a queue is timer
/// enough. One that is over before its time leaves its place behind until that comes to the front.
///
/// One that waits anew takes a second place, of some that are there for nothing else: who asks again and again crowds nobody out.
#[derive(Debug)]
pub struct TimeWaits {
    ring: Vec<TimeWait>,
    /// The oldest place, and how many there are from there on.
    oldest: u32,
    places: u32,
    /// Of these, how many are of entries that wait in another one.
    moved: u32,
    /// Those that are not gone.
    len: u32,
    limit: u32,
    spare: u32,
    duration: Duration,
    /// About now.
    latest: Coarse,
}

impl TimeWaits {
    /// Room for at most `limit` entries that wait for `duration`, or for a quarter of an hour where that is shorter.
    pub fn new(limit: u32, duration: Duration) -> Self {
        let spare = limit.div_ceil(ENTRIES_PER_SPARE);
        let ring = Vec::with_capacity((limit + spare) as usize);
        let duration = duration.min(LONGEST);
        Self { ring, oldest: 0, places: 0, moved: 0, len: 0, limit, spare, duration, latest: Coarse::default() }
    }

    /// Connections in TIME-WAIT.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Places taken, those of entries that are gone included, but for the second ones.
    pub fn places(&self) -> u32 {
        self.places - self.moved
    }

    /// The entry at `index`.
    pub fn get(&self, index: u32) -> &TimeWait {
        &self.ring[index as usize]
    }

    /// Makes room for one more: removes and returns the oldest where there is none.
    pub fn make_room(&mut self) -> Option<(u32, TimeWait)> {
        while self.places() >= self.limit && self.places > 0 {
            if let Some(evicted) = self.take_oldest() {
                return Some(evicted);
            }
        }
        None
    }

    /// The entry that [`TimeWaits::make_room`] removes when it has removed so many others.
    pub fn behind_oldest(&self, others: u32) -> Option<&TimeWait> {
        (others < self.places).then(|| self.get((self.oldest + others) % self.size()))
    }

    /// Adds an entry that begins to wait now; `None` where there is no room, not even for one.
    pub fn insert(&mut self, mut entry: TimeWait, now: Instant) -> Option<u32> {
        if self.places() >= self.limit {
            return None;
        }
        self.latest = Coarse::from(now);
        // It has answered nothing yet: not in this second, then.
        entry.set_answered(self.latest.second() + SECONDS / 2);
        Some(self.line_up(entry, now))
    }

    fn line_up(&mut self, mut entry: TimeWait, now: Instant) -> u32 {
        entry.set_expiry(Coarse::not_before(now + self.duration));
        let index = (self.oldest + self.places) % self.size();
        match self.ring.get_mut(index as usize) {
            Some(place) => *place = entry,
            None => self.ring.push(entry),
        }
        self.places += 1;
        self.len += 1;
        index
    }

    /// Lets an entry wait its whole time again; returns its new place. Where it has just begun to wait, or where too many others
    /// have done so, it stays where it is.
    pub fn restart(&mut self, index: u32, now: Instant) -> u32 {
        let entry = *self.get(index);
        let left = Instant::from(entry.expires(self.latest)) - now;
        let is_fresh = left + Duration::from_secs(1) > self.duration;
        if is_fresh || self.moved >= self.spare {
            return index;
        }
        self.latest = Coarse::from(now);
        self.ring[index as usize].marks = MOVED;
        self.len -= 1;
        self.moved += 1;
        self.line_up(entry, now)
    }

    /// Whether we may open a connection in its place (RFC 6191 §2, from the other end): it has waited for a second, and its ends have
    /// clocks, by which the peer tells old segments from new ones, and so do we. Without this a client that closes first, as a proxy does
    /// in the name of its clients, has so many ports for each minute, and no more.
    pub fn may_be_succeeded(&self, index: u32, now: Instant) -> bool {
        let entry = self.get(index);
        let left = Instant::from(entry.expires(Coarse::from(now))).saturating_since(now);
        entry.clocks().is_some() && left + LEAST_WAIT <= self.duration
    }

    /// Whether an entry may answer a stray segment: once in a second (RFC 5961 §7). The limit is its own, so nobody can tell from
    /// another one's what came here.
    pub fn may_answer(&mut self, index: u32, now: Instant) -> bool {
        let entry = &mut self.ring[index as usize];
        let second = Coarse::from(now).second() % SECONDS;
        let may = entry.answered() != second;
        entry.set_answered(second);
        may
    }

    /// Notes that the peer of an entry has nothing left of the connection.
    pub fn note_peer_is_over(&mut self, index: u32) {
        let entry = &mut self.ring[index as usize];
        entry.set_times(entry.times() | PEER_IS_OVER);
    }

    /// Takes an entry out before its time.
    pub fn remove(&mut self, index: u32) {
        self.ring[index as usize].marks = GONE;
        self.len -= 1;
    }

    /// Takes out one entry that has waited long enough; to be called until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<(u32, TimeWait)> {
        self.latest = self.latest.max(Coarse::from(now));
        while let Some(due) = self.oldest_due()
            && due <= self.latest
        {
            if let Some(expired) = self.take_oldest() {
                return Some(expired);
            }
        }
        None
    }

    /// When [`TimeWaits::expire`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.oldest_due().map(Instant::from)
    }

    fn oldest_due(&self) -> Option<Coarse> {
        (self.places > 0).then(|| self.get(self.oldest).expires(self.latest))
    }

    /// Places in the ring.
    fn size(&self) -> u32 {
        self.limit + self.spare
    }

    /// Gives up the oldest place; returns its entry unless that is gone.
    fn take_oldest(&mut self) -> Option<(u32, TimeWait)> {
        let index = self.oldest;
        let entry = *self.get(index);
        self.oldest = (self.oldest + 1) % self.size();
        self.places -= 1;
        if self.places == 0 {
            self.oldest = 0; // few connections stay in few cache lines
        }
        if entry.is_gone() {
            self.moved -= u32::from(entry.marks == MOVED);
            return None;
        }
        self.len -= 1;
        Some((index, entry))
    }
}
