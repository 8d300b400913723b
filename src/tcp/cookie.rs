//! SYN cookies (RFC 4987 §3.6): a handshake's state in the numbers that its client sends back, under a keyed hash.
//!
//! Every initial sequence number of ours is one, whether or not the handshake is remembered as well; so forgetting it never
//! breaks it, and it may begin on one core, in the XDP program, or on another machine, and end here. The layout, which
//! `bpf/cookie.h` shares:
//!
//! ```text
//!                 31 30            24 23                                     0
//!                +--+---------------+----------------------------------------+
//!     sequence   |E | options       | MAC                                    |   without timestamps
//!     number     +--+---------------+----------------------------------------+
//!                |E | MAC                                                    |   with timestamps, and then:
//!                +--+-------------+------------------------------------------+
//!     timestamp  | MAC            | ECN | SACK | window scale | MSS          |
//!                +----------------+-----+------+--------------+--------------+
//!                 31           22    21     20   19        16   15          0
//! ```
//!
//! E is the parity of the epoch whose key made it. Options without timestamps: SACK, window scale (15 for none), and a class
//! of the MSS, the upper bits first. The MAC is SipHash-2-4 over addresses, ports, the client's initial sequence number and the
//! options, exactly as the segment says them. Guessing one succeeds with 2^-24 without timestamps, and with 2^-41 with
//! them: 31 bits in the sequence number and 10 in the timestamp.
//!
//! An epoch's key comes from a master key and the calendar, so whoever holds the master accepts the cookie. Two epochs count
//! at any time: a cookie lives for one epoch at least and two at most; while somebody guesses, the last epoch's only live for
//! another 8 seconds.

use crate::{
    rng::SipKey,
    time::Instant,
    wire::{FourTuple, SeqNumber, TcpOptions, tcp_options::Timestamps},
};
use std::{hash::Hasher, net::IpAddr, time::Duration};

/// How long an epoch lasts: a cookie's shortest life. It covers the SYN-ACK retransmissions of five doublings.
pub const EPOCH: Duration = Duration::from_secs(64);

/// How long into an epoch cookies of the last one count while somebody guesses: an honest handshake takes less.
pub const SHORT_GRACE: Duration = Duration::from_secs(8);

/// What the MSS may be without timestamps, by class: the largest that is not above the client's is taken.
const MSS_CLASSES_V4: [u16; 4] = [536, 1_300, 1_440, 1_460];
const MSS_CLASSES_V6: [u16; 4] = [1_220, 1_360, 1_420, 1_440];

const PARITY_SHIFT: u32 = 31;
const WITH_TIMESTAMPS: u32 = 1 << 31;
/// Stands for no window scale, since the largest is 14.
const NO_SCALE: u32 = 15;

/// Options that no cookie says, for a MAC that none has.
const UNHELD: u32 = 1 << 30;

const SEQUENCE_MAC: u32 = (1 << 31) - 1;
const TIMESTAMP_OPTIONS: u32 = (1 << 22) - 1;
const CLASS_OPTIONS_SHIFT: u32 = 24;
const CLASS_OPTIONS: u32 = 0x7f;
const CLASS_MAC: u32 = (1 << CLASS_OPTIONS_SHIFT) - 1;

/// What a client's SYN offers, as far as a cookie remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The most data the client takes in a segment. Exact with timestamps; without, one of four values not above it.
    pub mss: u16,
    /// The client's window scale.
    pub window_scale: Option<u8>,
    /// Whether it understands SACK.
    pub sack: bool,
    /// Whether it understands ECN (RFC 3168).
    pub ecn: bool,
    /// Whether it has sent timestamps, so that every segment carries them.
    pub timestamps: bool,
}

impl Offer {
    /// The offer of a SYN with these options; `default_mss` where it names none.
    pub fn of_syn(options: &TcpOptions, ecn: bool, default_mss: u16) -> Self {
        Self {
            mss: options.mss.unwrap_or(default_mss),
            window_scale: options.window_scale,
            sack: options.sack_permitted,
            ecn,
            timestamps: options.timestamps.is_some(),
        }
    }

    /// The options as the MAC covers them; `None` where a client without timestamps takes less than any class of MSS.
    fn bits(&self, client: IpAddr) -> Option<u32> {
        let scale = self.window_scale.map_or(NO_SCALE, u32::from);
        if self.timestamps {
            let flags = u32::from(self.sack) << 20 | u32::from(self.ecn) << 21;
            return Some(WITH_TIMESTAMPS | flags | scale << 16 | u32::from(self.mss));
        }
        let class = mss_classes(client).iter().rposition(|&mss| mss <= self.mss)? as u32;
        Some(u32::from(self.sack) << 6 | scale << 2 | class)
    }

    /// The reverse of [`Offer::bits`].
    fn from_bits(bits: u32, client: IpAddr) -> Self {
        let scale = |bits: u32| (bits & 15 != NO_SCALE).then_some((bits & 15) as u8);
        if bits & WITH_TIMESTAMPS != 0 {
            return Self {
                mss: bits as u16,
                window_scale: scale(bits >> 16),
                sack: bits & 1 << 20 != 0,
                ecn: bits & 1 << 21 != 0,
                timestamps: true,
            };
        }
        Self {
            mss: mss_classes(client)[bits as usize & 3],
            window_scale: scale(bits >> 2),
            sack: bits & 1 << 6 != 0,
            ecn: false,
            timestamps: false,
        }
    }
}

fn mss_classes(client: IpAddr) -> &'static [u16; 4] {
    match client {
        IpAddr::V4(_) => &MSS_CLASSES_V4,
        IpAddr::V6(_) => &MSS_CLASSES_V6,
    }
}

/// The numbers of a SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Our initial sequence number.
    pub iss: SeqNumber,
    /// TSval, where the client uses timestamps.
    pub timestamp: Option<u32>,
}

/// Secrets from which the keys of all epochs come.
///
/// A new master takes effect at the beginning of an epoch, so that each epoch has one key; cookies of the epoch before are
/// accepted as ever, and no handshake notices.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// Each with the first epoch that is its own, the oldest first.
    masters: Vec<(u64, SipKey)>,
}

impl MasterKey {
    /// A master that was always there.
    pub fn new(key: SipKey) -> Self {
        Self { masters: vec![(0, key)] }
    }

    /// Puts a new master in place from the epoch behind `epoch` on.
    pub fn rotate(&mut self, key: SipKey, epoch: u64) {
        // One that would have begun then as well never will.
        self.masters.retain(|&(from, _)| from <= epoch);
        self.masters.push((epoch + 1, key));
        // Keys back to the last epoch are wanted still, and no older ones.
        let wanted = self.masters.iter().rposition(|&(from, _)| from < epoch).unwrap_or(0);
        self.masters.drain(..wanted);
    }

    /// The key of an epoch.
    pub fn of_epoch(&self, epoch: u64) -> SipKey {
        let begun = self.masters.iter().rfind(|&&(from, _)| from <= epoch);
        let (_, master) = begun.unwrap_or(&self.masters[0]);
        master.derive(|hasher| {
            hasher.write(b"xskip cookie");
            hasher.write_u64(epoch);
        })
    }
}

/// Makes cookies, and knows its own again.
#[derive(Debug)]
pub struct CookieJar {
    master: MasterKey,
    /// What the calendar said at [`Instant::ZERO`], as time since the Unix epoch.
    calendar: Duration,
    /// Keys of the epochs last asked for, by parity.
    keys: [(u64, SipKey); 2],
    /// How long into an epoch cookies of the last one count.
    grace: Duration,
}

impl CookieJar {
    /// A jar whose clock stood at `calendar`, time since the Unix epoch, at [`Instant::ZERO`].
    pub fn new(master: MasterKey, calendar: Duration) -> Self {
        let keys = [0, 1].map(|epoch| (epoch, master.of_epoch(epoch)));
        Self { master, calendar, keys, grace: EPOCH }
    }

    /// What the calendar showed at [`Instant::ZERO`].
    pub fn calendar(&self) -> Duration {
        self.calendar
    }

    /// Says what the calendar showed at [`Instant::ZERO`].
    pub fn set_calendar(&mut self, calendar: Duration) {
        self.calendar = calendar;
    }

    /// Says how long into an epoch cookies of the last one count: [`EPOCH`], or as little as [`SHORT_GRACE`] while somebody
    /// guesses. What is left then is one key instead of two, and half as many guesses that can be right.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// How far the epoch has got at `now`.
    pub fn age(&self, now: Instant) -> Duration {
        let since = self.calendar + (now - Instant::ZERO);
        since - Duration::from_secs(since.as_secs() / EPOCH.as_secs() * EPOCH.as_secs())
    }

    /// The number of the epoch at `now`.
    pub fn epoch(&self, now: Instant) -> u64 {
        (self.calendar + (now - Instant::ZERO)).as_secs() / EPOCH.as_secs()
    }

    /// The key of an epoch, for the XDP program.
    pub fn key_of(&self, epoch: u64) -> SipKey {
        self.master.of_epoch(epoch)
    }

    /// Uses another master from the next epoch on.
    pub fn rotate(&mut self, now: Instant, master: SipKey) {
        self.master.rotate(master, self.epoch(now));
    }

    /// Takes over masters from elsewhere: those of the current epochs must be among them.
    pub fn set_master(&mut self, master: MasterKey) {
        self.keys = [0, 1].map(|epoch| (epoch, master.of_epoch(epoch)));
        self.master = master;
    }

    fn key(&mut self, epoch: u64) -> &SipKey {
        let cached = &mut self.keys[epoch as usize % 2];
        if cached.0 != epoch {
            *cached = (epoch, self.master.of_epoch(epoch));
        }
        &cached.1
    }

    /// The cookie that answers a SYN: the same for the same SYN throughout an epoch. Where it cannot hold the offer, for an
    /// MSS below every class and no timestamps, which no real client has, it is one that nothing accepts.
    pub fn make(&mut self, now: Instant, tuple: &FourTuple, irs: SeqNumber, offer: &Offer) -> Cookie {
        let epoch = self.epoch(now);
        let bits = offer.bits(tuple.remote.address);
        let mac = mac(self.key(epoch), tuple, irs, bits.unwrap_or(UNHELD));
        bake(mac, bits.unwrap_or(0), (epoch & 1) as u32)
    }

    /// The offer of the SYN that began this handshake, where `iss` and the timestamp echoed are a cookie of this epoch's or the
    /// last one's. Takes the same time whatever the difference is.
    pub fn check(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        irs: SeqNumber,
        iss: SeqNumber,
        timestamps: Option<Timestamps>,
    ) -> Option<Offer> {
        let bits = match timestamps {
            Some(timestamps) => WITH_TIMESTAMPS | timestamps.echo & TIMESTAMP_OPTIONS,
            None => iss.get() >> CLASS_OPTIONS_SHIFT & CLASS_OPTIONS,
        };
        let (epoch, parity) = (self.epoch(now), iss.get() >> PARITY_SHIFT);
        let of = if epoch as u32 & 1 == parity { epoch } else { epoch.checked_sub(1)? };
        if of < epoch && self.age(now) > self.grace {
            return None;
        }
        let expected = bake(mac(self.key(of), tuple, irs, bits), bits, parity);
        let difference = (expected.iss.get() ^ iss.get())
            | timestamps.zip(expected.timestamp).map_or(0, |(received, expected)| received.echo ^ expected);
        (difference == 0).then(|| Offer::from_bits(bits, tuple.remote.address))
    }
}

/// The MAC's message is what stands in the client's packet, octet for octet: source and destination address, both ports, the
/// sequence number; then the options as a little-endian number.
fn mac(key: &SipKey, tuple: &FourTuple, irs: SeqNumber, bits: u32) -> u64 {
    key.hash(|hasher| {
        for address in [tuple.remote.address, tuple.local.address] {
            match address {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
        }
        hasher.write(&tuple.remote.port.to_be_bytes());
        hasher.write(&tuple.local.port.to_be_bytes());
        hasher.write(&irs.get().to_be_bytes());
        hasher.write(&bits.to_le_bytes());
    })
}

fn bake(mac: u64, bits: u32, parity: u32) -> Cookie {
    let (low, high) = (mac as u32, (mac >> 32) as u32);
    if bits & WITH_TIMESTAMPS != 0 {
        let iss = SeqNumber::new(parity << PARITY_SHIFT | low & SEQUENCE_MAC);
        return Cookie { iss, timestamp: Some(high << 22 | bits & TIMESTAMP_OPTIONS) };
    }
    let iss = parity << PARITY_SHIFT | bits << CLASS_OPTIONS_SHIFT | low & CLASS_MAC;
    Cookie { iss: SeqNumber::new(iss), timestamp: None }
}
