//! SYN cookies (RFC 4987 §3.6): a handshake's state in the numbers that its client sends back, under a keyed hash.
//!
//! Every initial sequence number of ours is one, whether or not the handshake is remembered as well; so forgetting it never
//! breaks it, and it may begin on one core, in the XDP program, or on another machine, and end here. The layout, which
//! `bpf/cookie.h` shares:
//!
//! ```text
//!                 31 30     29 28                                           0
//!                +--+---------+----------------------------------------------+
//!     sequence   |E | profile | MAC                                          |   without timestamps
//!     number     +--+---------+----------------------------------------------+
//!                |E | MAC                                                    |   with timestamps, and then:
//!                +--+-------------+------------------------------------------+
//!     timestamp  | MAC            | ECN | SACK | window scale | MSS          |
//!                +----------------+-----+------+--------------+--------------+
//!                 31           22    21     20   19        16   15          0
//! ```
//!
//! E is the parity of the epoch whose key made it. The MAC is SipHash-2-4 over addresses, ports, the client's initial sequence
//! number and the options, exactly as the segment says them.
//!
//! With timestamps every option is there as it was offered. Without, all that a client may have offered is one of four
//! [profiles](Offer::remembered), because each bit that tells of options is one that a guess need not meet. Where the cookie is
//! all there is, the SYN-ACK promises what its profile says and no more, so both ends agree.
//!
//! An attacker who guesses chooses whether to use timestamps. Without, 8 of 2^32 numbers are good at any time: four profiles under the
//! keys of two epochs, which is 2^-29 a guess. For the last [`SKEW`] of an epoch three keys count, and it is 2^-28.4; while
//! somebody guesses, one key except for moments ([`SHORT_GRACE`]), and it is 2^-30. With timestamps there are 31 bits of MAC in the
//! sequence number and 10 in the timestamp, so it is 2^-41, and 2^-42 while somebody guesses. A stack asks for the cookie at all only
//! where handshakes were lately answered and forgotten, and each opens one connection: see [`crate::stack`].
//!
//! An epoch's key comes from a master key and the calendar, so whoever holds the master accepts the cookie. Two epochs count
//! at any time: a cookie lives for one epoch at least and two at most; while somebody guesses, the last epoch's only live for
//! another 8 seconds. Calendars may differ by [`SKEW`]: who is behind makes cookies of an epoch that has just gone, and those of
//! who is ahead count shortly before theirs begins.

use super::handshake::Offer;
use crate::{
    rng::SipKey,
    time::Instant,
    wire::{FourTuple, SeqNumber, tcp_options::Timestamps},
};
use std::{hash::Hasher, net::IpAddr, time::Duration};

/// How long an epoch lasts: a cookie's shortest life. It covers the SYN-ACK retransmissions of five doublings.
pub const EPOCH: Duration = Duration::from_secs(64);

/// How long into an epoch cookies of the last one count while somebody guesses: an honest handshake takes less.
pub const SHORT_GRACE: Duration = Duration::from_secs(8);

/// By how much the calendars of machines that accept each other's cookies may differ.
pub const SKEW: Duration = Duration::from_secs(4);

/// How many epochs a cookie may be away to be told from a guess: see [`CookieJar::is_misdated`].
const FAR: u64 = 3;

/// What is left of an offer without timestamps. SACK goes with scaling, because it is where windows are large that it matters.
#[derive(Clone, Copy, Debug)]
struct Profile {
    mss: u16,
    window_scale: Option<u8>,
}

const fn profile(mss: u16, window_scale: Option<u8>) -> Profile {
    Profile { mss, window_scale }
}

/// The profiles, the better ones last. Windows leaves timestamps out and offers a scale of 8, over Ethernet with an MSS that
/// is the last one's, through tunnels with a smaller one; so does Linux with a scale of 7 where it was told to.
const PROFILES_V4: [Profile; 4] =
    [profile(536, None), profile(1_440, None), profile(1_300, Some(7)), profile(1_460, Some(8))];
const PROFILES_V6: [Profile; 4] =
    [profile(1_220, None), profile(1_420, None), profile(1_220, Some(7)), profile(1_440, Some(8))];

const PARITY_SHIFT: u32 = 31;
const WITH_TIMESTAMPS: u32 = 1 << 31;
/// Stands for no window scale, since the largest is 14.
const NO_SCALE: u32 = 15;

/// Options that no cookie says, for a MAC that none has.
const UNHELD: u32 = 1 << 30;

const SEQUENCE_MAC: u32 = (1 << 31) - 1;
const TIMESTAMP_OPTIONS: u32 = (1 << 22) - 1;
const PROFILE_SHIFT: u32 = 29;
const PROFILE: u32 = 3;
const PROFILE_MAC: u32 = (1 << PROFILE_SHIFT) - 1;

impl Offer {
    /// What a cookie remembers of it: everything with timestamps, and without, the best of four profiles that promise nothing
    /// the client has not offered. An MSS or a scale below the true one only has us send less than we may; but whether windows
    /// are scaled at all both ends must agree on, so where this says no, the SYN-ACK must not say yes. `None` for an MSS below
    /// every profile, which no real client has.
    #[must_use]
    pub fn remembered(&self, client: IpAddr) -> Option<Self> {
        if self.timestamps {
            return Some(*self);
        }
        Some(Self::of_profile(self.profile(client)?, client))
    }

    /// Whether a cookie says the same as this offer: otherwise the one that answers it is accepted by nobody.
    pub(crate) fn is_held(&self, client: IpAddr) -> bool {
        self.bits(client).is_some()
    }

    fn profile(&self, client: IpAddr) -> Option<u32> {
        let scale = self.window_scale.filter(|_| self.sack);
        let fits = |profile: &Profile| profile.mss <= self.mss && profile.window_scale <= scale;
        profiles(client).iter().rposition(fits).map(|number| number as u32)
    }

    fn of_profile(number: u32, client: IpAddr) -> Self {
        let Profile { mss, window_scale } = profiles(client)[(number & PROFILE) as usize];
        Self { mss, window_scale, sack: window_scale.is_some(), ecn: false, timestamps: false }
    }

    /// The options as the MAC covers them; `None` where a cookie would say otherwise whether windows are scaled.
    fn bits(&self, client: IpAddr) -> Option<u32> {
        if self.timestamps {
            let scale = self.window_scale.map_or(NO_SCALE, u32::from);
            let flags = u32::from(self.sack) << 20 | u32::from(self.ecn) << 21;
            return Some(WITH_TIMESTAMPS | flags | scale << 16 | u32::from(self.mss));
        }
        let number = self.profile(client)?;
        let scales = Self::of_profile(number, client).window_scale.is_some();
        (scales == self.window_scale.is_some()).then_some(number)
    }

    /// The reverse of [`Offer::bits`], as far as it goes.
    fn from_bits(bits: u32, client: IpAddr) -> Self {
        if bits & WITH_TIMESTAMPS == 0 {
            return Self::of_profile(bits, client);
        }
        let scale = bits >> 16 & 15;
        Self {
            mss: bits as u16,
            window_scale: (scale != NO_SCALE).then_some(scale as u8),
            sack: bits & 1 << 20 != 0,
            ecn: bits & 1 << 21 != 0,
            timestamps: true,
        }
    }
}

fn profiles(client: IpAddr) -> &'static [Profile; 4] {
    match client {
        IpAddr::V4(_) => &PROFILES_V4,
        IpAddr::V6(_) => &PROFILES_V6,
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
        let current = self.at(epoch);
        // One that would have begun then as well never will.
        self.masters.retain(|&(from, _)| from <= epoch);
        if self.masters.is_empty() {
            // The calendar was set back to before any of them began.
            self.masters.push((0, current));
        }
        self.masters.push((epoch + 1, key));
        // Keys back to the last epoch are wanted still, and no older ones.
        let wanted = self.masters.iter().rposition(|&(from, _)| from < epoch).unwrap_or(0);
        self.masters.drain(..wanted);
    }

    /// The key of an epoch.
    pub fn of_epoch(&self, epoch: u64) -> SipKey {
        derived(&self.at(epoch), epoch)
    }

    /// The master of an epoch.
    fn at(&self, epoch: u64) -> SipKey {
        let begun = self.masters.iter().rfind(|&&(from, _)| from <= epoch);
        begun.unwrap_or(&self.masters[0]).1
    }
}

fn derived(master: &SipKey, epoch: u64) -> SipKey {
    master.derive(|hasher| {
        hasher.write(b"xskip cookie");
        hasher.write_u64(epoch);
    })
}

/// Makes cookies, and knows its own again.
#[derive(Debug)]
pub struct CookieJar {
    master: MasterKey,
    /// What the calendar said at [`Instant::ZERO`], as time since the Unix epoch.
    calendar: Duration,
    /// Keys of the epochs last asked for, by their number modulo four: the last one, this one and the next have a place each.
    keys: [(u64, SipKey); 4],
    /// How long into an epoch cookies of the last one count.
    grace: Duration,
}

impl CookieJar {
    /// A jar whose clock stood at `calendar`, time since the Unix epoch, at [`Instant::ZERO`].
    pub fn new(master: MasterKey, calendar: Duration) -> Self {
        let keys = [0, 1, 2, 3].map(|epoch| (epoch, master.of_epoch(epoch)));
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
        self.keys = [0, 1, 2, 3].map(|epoch| (epoch, master.of_epoch(epoch)));
        self.master = master;
    }

    fn key(&mut self, epoch: u64) -> &SipKey {
        let cached = &mut self.keys[epoch as usize % 4];
        if cached.0 != epoch {
            *cached = (epoch, self.master.of_epoch(epoch));
        }
        &cached.1
    }

    /// Whether cookies of the next epoch count already: for the last [`SKEW`] of each.
    pub fn accepts_next(&self, now: Instant) -> bool {
        self.age(now) + SKEW >= EPOCH
    }

    /// The cookie that answers a SYN: the same for the same SYN throughout an epoch. Where it would not be understood as the offer
    /// was, it is one that nothing accepts; never so for what is [remembered](Offer::remembered) of an offer.
    pub fn make(&mut self, now: Instant, tuple: &FourTuple, irs: SeqNumber, offer: &Offer) -> Cookie {
        let epoch = self.epoch(now);
        let bits = offer.bits(tuple.remote.address);
        let mac = mac(self.key(epoch), tuple, irs, bits.unwrap_or(UNHELD));
        bake(mac, bits.unwrap_or(0), (epoch & 1) as u32)
    }

    /// The offer of the SYN that began this handshake, where `iss` and the timestamp echoed are a cookie of an epoch that counts.
    /// Takes the same time whatever the difference is.
    pub fn check(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        irs: SeqNumber,
        iss: SeqNumber,
        timestamps: Option<Timestamps>,
    ) -> Option<Offer> {
        let claim = Claim::new(iss, timestamps);
        let epoch = self.epoch(now);
        let candidates = if claim.parity() == epoch & 1 {
            [Some(epoch), None]
        } else {
            // The last epoch and the next have this parity.
            [epoch.checked_sub(1).filter(|_| self.age(now) <= self.grace), self.accepts_next(now).then_some(epoch + 1)]
        };
        let is_made_in = |of| claim.is_made_with(self.key(of), tuple, irs);
        let is_good = candidates.into_iter().flatten().map(is_made_in).fold(false, |any, one| any | one);
        is_good.then(|| Offer::from_bits(claim.bits, tuple.remote.address))
    }

    /// Whether numbers that [`CookieJar::check`] refuses are a cookie all the same: one that is too old, or of a machine whose
    /// calendar or whose choice among our masters is another. Clocks that are `FAR` epochs apart are told from guesses. It takes
    /// as long as a dozen checks: too long for each of many segments.
    pub fn is_misdated(
        &self,
        now: Instant,
        tuple: &FourTuple,
        irs: SeqNumber,
        iss: SeqNumber,
        timestamps: Option<Timestamps>,
    ) -> bool {
        let claim = Claim::new(iss, timestamps);
        let epoch = self.epoch(now);
        let mut epochs = (epoch.saturating_sub(FAR)..=epoch + FAR).filter(|epoch| claim.parity() == epoch & 1);
        epochs.any(|epoch| {
            let mut keys = self.master.masters.iter().map(|(_, master)| derived(master, epoch));
            keys.any(|key| claim.is_made_with(&key, tuple, irs))
        })
    }
}

/// What an acknowledgment claims: that its numbers are a cookie.
struct Claim {
    iss: SeqNumber,
    echo: Option<u32>,
    bits: u32,
}

impl Claim {
    fn new(iss: SeqNumber, timestamps: Option<Timestamps>) -> Self {
        let echo = timestamps.map(|timestamps| timestamps.echo);
        let bits = match echo {
            Some(echo) => WITH_TIMESTAMPS | echo & TIMESTAMP_OPTIONS,
            None => iss.get() >> PROFILE_SHIFT & PROFILE,
        };
        Self { iss, echo, bits }
    }

    /// That of the epoch which would have made it.
    fn parity(&self) -> u64 {
        (self.iss.get() >> PARITY_SHIFT).into()
    }

    fn is_made_with(&self, key: &SipKey, tuple: &FourTuple, irs: SeqNumber) -> bool {
        let expected = bake(mac(key, tuple, irs, self.bits), self.bits, self.parity() as u32);
        let difference = (expected.iss.get() ^ self.iss.get())
            | self.echo.zip(expected.timestamp).map_or(0, |(echo, expected)| echo ^ expected);
        difference == 0
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
    let iss = parity << PARITY_SHIFT | bits << PROFILE_SHIFT | low & PROFILE_MAC;
    Cookie { iss: SeqNumber::new(iss), timestamp: None }
}
