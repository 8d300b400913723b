//! Cookies: what they remember, whom they refuse, and how keys come and go.

use super::*;
use crate::{
    rng::{SipKey, splitmix64},
    tcp::{
        Offer,
        cookie::{Cookie, CookieJar, EPOCH, MasterKey, SHORT_GRACE, SKEW},
    },
    wire::tcp_options::Timestamps,
};

const CALENDAR: Duration = Duration::from_secs(1_700_000_000);

fn jar() -> CookieJar {
    CookieJar::new(MasterKey::new(SipKey::from_seed(1)), CALENDAR)
}

fn tuple_v6() -> FourTuple {
    let end = |text: &str, port| Endpoint { address: text.parse().unwrap(), port };
    FourTuple { local: end("2001:2::1", 80), remote: end("2001:2::2", 40_000) }
}

fn offer(mss: u16, window_scale: Option<u8>, timestamps: bool) -> Offer {
    Offer { mss, window_scale, sack: true, ecn: timestamps, timestamps }
}

fn echoed(cookie: &Cookie) -> Option<Timestamps> {
    cookie.timestamp.map(|echo| Timestamps { value: 1, echo })
}

#[test]
fn with_timestamps_everything_is_remembered_exactly() {
    let mut jar = jar();
    let now = Instant::from_millis(5);
    for tuple in [tuple(), tuple_v6()] {
        for mss in [0, 1, 64, 536, 1_459, 8_960, u16::MAX] {
            for scale in [None, Some(0), Some(7), Some(14)] {
                let offer = offer(mss, scale, true);
                let cookie = jar.make(now, &tuple, IRS, &offer);
                assert_eq!(jar.check(now, &tuple, IRS, cookie.iss, echoed(&cookie)), Some(offer));
            }
        }
    }
}

#[test]
fn without_timestamps_an_offer_becomes_the_best_profile_that_promises_nothing_more() {
    let mut jar = jar();
    let now = Instant::from_millis(5);
    // MSS, scale, SACK; and what is left of them.
    type Case = ((u16, Option<u8>, bool), (u16, Option<u8>, bool));
    let windows = (Some(8), true);
    let cases: [Case; 12] = [
        ((1_460, windows.0, windows.1), (1_460, Some(8), true)),
        ((9_000, Some(14), true), (1_460, Some(8), true)),
        ((1_452, windows.0, windows.1), (1_300, Some(7), true)),
        ((1_460, Some(7), true), (1_300, Some(7), true)),
        ((1_299, Some(8), true), (536, None, false)),
        ((1_460, Some(6), true), (1_440, None, false)),
        ((1_460, Some(0), true), (1_440, None, false)),
        ((1_460, Some(8), false), (1_440, None, false)),
        ((1_460, None, true), (1_440, None, false)),
        ((1_460, None, false), (1_440, None, false)),
        ((1_439, None, false), (536, None, false)),
        ((536, Some(14), false), (536, None, false)),
    ];
    let cases_v6: [Case; 5] = [
        ((1_440, windows.0, windows.1), (1_440, Some(8), true)),
        ((1_432, windows.0, windows.1), (1_220, Some(7), true)),
        ((1_220, Some(14), true), (1_220, Some(7), true)),
        ((u16::MAX, Some(6), true), (1_420, None, false)),
        ((1_220, None, false), (1_220, None, false)),
    ];
    for (tuple, cases) in [(tuple(), &cases[..]), (tuple_v6(), &cases_v6[..])] {
        for &(said, left) in cases {
            let offer = |(mss, window_scale, sack)| Offer { mss, window_scale, sack, ecn: false, timestamps: false };
            let (said, left) = (offer(said), offer(left));
            assert_eq!(said.remembered(tuple.remote.address), Some(left), "{said:?}");
            let cookie = jar.make(now, &tuple, IRS, &left);
            assert_eq!(cookie.timestamp, None);
            assert_eq!(jar.check(now, &tuple, IRS, cookie.iss, None), Some(left));
            // Where all that was offered was promised, the cookie counts if both ends agree on scaling; SACK is only a leave.
            let promised = jar.make(now, &tuple, IRS, &said);
            let known = jar.check(now, &tuple, IRS, promised.iss, None);
            let agrees = said.window_scale.is_some() == left.window_scale.is_some();
            assert_eq!(known, agrees.then_some(left), "{said:?}");
        }
    }
    let small = Offer { ecn: false, ..offer(535, None, false) };
    assert_eq!(small.remembered(tuple().remote.address), None, "no profile is small enough");
    let cookie = jar.make(now, &tuple(), IRS, &small);
    assert_eq!(jar.check(now, &tuple(), IRS, cookie.iss, None), None);
}

#[test]
fn the_same_syn_draws_the_same_cookie_throughout_an_epoch() {
    let (mut jar, mut elsewhere) = (jar(), CookieJar::new(MasterKey::new(SipKey::from_seed(1)), Duration::ZERO));
    let offer = offer(1_460, Some(7), true);
    let begun = Duration::from_secs(CALENDAR.as_secs().next_multiple_of(EPOCH.as_secs())) - CALENDAR;
    let (first, last) = (Instant::ZERO + begun, Instant::ZERO + (begun + EPOCH - Duration::from_nanos(1)));
    let cookie = jar.make(first, &tuple(), IRS, &offer);
    assert_eq!(jar.make(last, &tuple(), IRS, &offer), cookie);
    // Another machine whose clock began at another time, but shows the same calendar and holds the same master.
    assert_eq!(elsewhere.make(first + CALENDAR, &tuple(), IRS, &offer), cookie);
    assert_ne!(jar.make(last + EPOCH, &tuple(), IRS, &offer), cookie);
}

#[test]
fn a_cookie_lives_for_one_epoch_and_at_most_two() {
    let mut jar = jar();
    let offer = offer(1_460, Some(7), true);
    for start in [0, 1, 20, 40, 63] {
        let made = Instant::ZERO + Duration::from_secs(start);
        let cookie = jar.make(made, &tuple(), IRS, &offer);
        let mut accepted =
            |after: Duration| jar.check(made + after, &tuple(), IRS, cookie.iss, echoed(&cookie)).is_some();
        assert!(accepted(Duration::ZERO) && accepted(EPOCH));
        assert!(!accepted(2 * EPOCH) && !accepted(3 * EPOCH) && !accepted(100 * EPOCH));
    }
}

#[test]
fn while_somebody_guesses_the_last_epochs_cookies_count_for_a_moment_only() {
    let mut jar = jar();
    jar.set_grace(SHORT_GRACE);
    let cookie = jar.make(Instant::ZERO, &tuple(), IRS, &offer(1_460, Some(7), true));
    let mut accepted =
        |at: Duration| jar.check(Instant::ZERO + at, &tuple(), IRS, cookie.iss, echoed(&cookie)).is_some();
    let second = Duration::from_secs(1);
    assert!(accepted(Duration::ZERO) && accepted(EPOCH - second) && accepted(EPOCH + SHORT_GRACE));
    assert!(!accepted(EPOCH + SHORT_GRACE + second) && !accepted(2 * EPOCH - second));
}

#[test]
fn nothing_of_a_cookie_can_be_changed() {
    let mut jar = jar();
    let now = Instant::from_millis(5);
    for timestamps in [false, true] {
        let cookie = jar.make(now, &tuple(), IRS, &offer(1_460, Some(7), timestamps));
        let mut refused = |tuple: &FourTuple, irs, iss, timestamps| {
            assert_eq!(jar.check(now, tuple, irs, iss, timestamps), None);
        };
        for bit in 0..32 {
            let flipped = SeqNumber::new(cookie.iss.get() ^ 1 << bit);
            refused(&tuple(), IRS, flipped, echoed(&cookie));
            if let Some(echo) = cookie.timestamp {
                let echo = echo ^ 1 << bit;
                refused(&tuple(), IRS, cookie.iss, Some(Timestamps { value: 1, echo }));
            }
        }
        refused(&tuple(), IRS.advance(1), cookie.iss, echoed(&cookie));
        refused(&tuple().reversed(), IRS, cookie.iss, echoed(&cookie));
        let mut moved = tuple();
        moved.remote.port += 1;
        refused(&moved, IRS, cookie.iss, echoed(&cookie));
        moved = tuple();
        moved.remote.address = "198.18.0.3".parse().unwrap();
        refused(&moved, IRS, cookie.iss, echoed(&cookie));
        // A cookie of one form is none of the other.
        let other = if timestamps { None } else { Some(Timestamps { value: 1, echo: 0 }) };
        refused(&tuple(), IRS, cookie.iss, other);
    }
}

#[test]
fn rotation_fails_no_handshake() {
    let mut jar = jar();
    let offer = offer(1_460, Some(7), true);
    let mut now = Instant::ZERO;
    let mut made = Vec::new();
    for step in 0..2_000u64 {
        now += Duration::from_secs(1);
        // Now and then, also twice within an epoch, and in epochs that follow each other.
        if step % 37 == 0 || step % 64 == 5 {
            jar.rotate(now, SipKey::from_seed(step));
        }
        made.push((now, jar.make(now, &tuple(), IRS, &offer)));
        made.retain(|(then, _)| now - *then <= EPOCH);
        for (_, cookie) in &made {
            assert!(jar.check(now, &tuple(), IRS, cookie.iss, echoed(cookie)).is_some(), "step {step}");
        }
    }
}

#[test]
fn another_master_knows_nothing_of_our_cookies() {
    let (mut ours, now) = (jar(), Instant::from_millis(5));
    let mut theirs = CookieJar::new(MasterKey::new(SipKey::from_seed(2)), CALENDAR);
    let cookie = ours.make(now, &tuple(), IRS, &offer(1_460, None, true));
    assert_eq!(theirs.check(now, &tuple(), IRS, cookie.iss, echoed(&cookie)), None);
}

/// 2^29 guesses succeed once on average without timestamps; with them, 2^41 would be needed.
#[test]
fn guesses_succeed_as_rarely_as_documented() {
    let (mut jar, now) = (jar(), Instant::from_millis(5));
    let (mut random, mut plain, mut with_timestamps) = (1, 0, 0);
    for _ in 0..1_000_000 {
        random = splitmix64(random);
        let (iss, echo) = (SeqNumber::new(random as u32), (random >> 32) as u32);
        plain += u32::from(jar.check(now, &tuple(), IRS, iss, None).is_some());
        let timestamps = Some(Timestamps { value: 1, echo });
        with_timestamps += u32::from(jar.check(now, &tuple(), IRS, iss, timestamps).is_some());
    }
    assert_eq!((plain, with_timestamps), (0, 0), "0.002 of a million are expected, and less");
}

/// What makes the odds without timestamps: 29 bits of each number are MAC, whatever the client offers, and they depend on all of it.
#[test]
fn the_options_take_two_bits_of_a_number_and_the_epoch_one() {
    let (mut jar, now) = (jar(), Instant::from_millis(5));
    let offers = [(1_460, Some(8), true), (1_300, Some(7), true), (1_440, None, false), (536, None, false)];
    let mut upper: Vec<u32> = Vec::new();
    for epoch in 0..2 {
        let now = now + epoch * EPOCH;
        for (mss, window_scale, sack) in offers {
            let offer = Offer { mss, window_scale, sack, ecn: false, timestamps: false };
            let made = |irs: u32, jar: &mut CookieJar| jar.make(now, &tuple(), SeqNumber::new(irs), &offer).iss.get();
            let first = made(0, &mut jar);
            let varied = (1..200).fold(0, |bits, irs| bits | first ^ made(irs, &mut jar));
            assert_eq!(varied, (1 << 29) - 1, "every bit of the MAC, and no other");
            upper.push(first >> 29);
        }
    }
    upper.sort_unstable();
    assert_eq!(upper, [0, 1, 2, 3, 4, 5, 6, 7]);
}

/// Jars of machines with one master whose calendars show so much more.
fn ahead_by(span: Duration) -> CookieJar {
    CookieJar::new(MasterKey::new(SipKey::from_seed(1)), CALENDAR + span)
}

/// The first moment of an epoch of [`jar`].
fn begins() -> Instant {
    Instant::ZERO + (Duration::from_secs(CALENDAR.as_secs().next_multiple_of(EPOCH.as_secs())) - CALENDAR)
}

#[test]
fn calendars_may_differ_by_the_skew_that_is_documented() {
    let millisecond = Duration::from_millis(1);
    for timestamps in [false, true] {
        let offer = Offer { ecn: false, ..offer(1_460, Some(8), timestamps) };
        let understands = |checks: &mut CookieJar, makes: &mut CookieJar, at: Instant| {
            let cookie = makes.make(at, &tuple(), IRS, &offer);
            checks.check(at, &tuple(), IRS, cookie.iss, echoed(&cookie)).is_some()
        };
        let (mut right, mut fast, mut too_fast) = (jar(), ahead_by(SKEW), ahead_by(SKEW + millisecond));
        for at in (0..2 * EPOCH.as_millis() as u64).step_by(250).map(|millis| begins() + Duration::from_millis(millis))
        {
            assert!(understands(&mut right, &mut fast, at), "who is ahead is understood at {at}");
            assert!(understands(&mut fast, &mut right, at), "and who is behind");
        }
        let last = begins() + (EPOCH - SKEW - millisecond);
        assert!(!understands(&mut right, &mut too_fast, last), "a moment too early");
        assert!(understands(&mut too_fast, &mut right, last));
    }
}

#[test]
fn at_the_end_of_an_epoch_the_last_one_and_the_next_count() {
    let (mut jar, end) = (jar(), begins() + (2 * EPOCH - SKEW));
    let offer = offer(1_460, Some(8), true);
    let accepted = |made: Instant, jar: &mut CookieJar| {
        let cookie = ahead_by(Duration::ZERO).make(made, &tuple(), IRS, &offer);
        jar.check(end, &tuple(), IRS, cookie.iss, echoed(&cookie)).is_some()
    };
    assert!(jar.accepts_next(end) && !jar.accepts_next(begins() + EPOCH));
    let second = Duration::from_secs(1);
    assert!(accepted(begins(), &mut jar), "the last one's");
    assert!(accepted(begins() + EPOCH, &mut jar) && accepted(begins() + 2 * EPOCH, &mut jar));
    assert!(!accepted(begins() + 3 * EPOCH, &mut jar));
    jar.set_grace(SHORT_GRACE);
    assert!(!accepted(begins() + second, &mut jar), "while somebody guesses the last one's are over");
    assert!(accepted(begins() + 2 * EPOCH, &mut jar));
}

#[test]
fn the_calendar_may_be_set_and_epochs_follow() {
    let (mut late, mut fleet) = (CookieJar::new(MasterKey::new(SipKey::from_seed(1)), Duration::ZERO), jar());
    let (now, offer) = (Instant::from_millis(5), offer(1_460, Some(8), true));
    let cookie = fleet.make(now, &tuple(), IRS, &offer);
    let known = |jar: &mut CookieJar| jar.check(now, &tuple(), IRS, cookie.iss, echoed(&cookie)).is_some();
    assert!(!known(&mut late), "the machine began in 1970");
    late.set_calendar(CALENDAR);
    assert!(known(&mut late));
    // Back again, and a new master before any there was had begun: this epoch keeps the one that it has.
    let mut set_back = jar();
    set_back.rotate(now, SipKey::from_seed(2));
    set_back.rotate(now + 2 * EPOCH, SipKey::from_seed(3));
    set_back.set_calendar(Duration::from_secs(1_000_000));
    let before = set_back.make(now, &tuple(), IRS, &offer);
    set_back.rotate(now, SipKey::from_seed(4));
    assert_eq!(set_back.make(now, &tuple(), IRS, &offer), before);
}

#[test]
fn a_cookie_of_another_clock_or_master_is_told_from_a_guess() {
    let now = begins() + EPOCH / 2;
    let offer = offer(1_460, Some(8), true);
    let mut jar = jar();
    let told = |jar: &CookieJar, cookie: &Cookie| jar.is_misdated(now, &tuple(), IRS, cookie.iss, echoed(cookie));
    for epochs in [2, 3] {
        for mut other in
            [ahead_by(epochs * EPOCH), CookieJar::new(MasterKey::new(SipKey::from_seed(1)), CALENDAR - epochs * EPOCH)]
        {
            let cookie = other.make(now, &tuple(), IRS, &offer);
            assert_eq!(jar.check(now, &tuple(), IRS, cookie.iss, echoed(&cookie)), None);
            assert!(told(&jar, &cookie), "{epochs}");
            let forged = Cookie { iss: cookie.iss.advance(1), ..cookie };
            assert!(!told(&jar, &forged), "a guess");
        }
    }
    // Who changes the master in another epoch than the rest of its fleet.
    let mut early = self::jar();
    early.rotate(begins(), SipKey::from_seed(2));
    jar.rotate(now + EPOCH, SipKey::from_seed(2));
    let cookie = early.make(now + EPOCH, &tuple(), IRS, &offer);
    assert_eq!(jar.check(now + EPOCH, &tuple(), IRS, cookie.iss, echoed(&cookie)), None);
    assert!(jar.is_misdated(now + EPOCH, &tuple(), IRS, cookie.iss, echoed(&cookie)));
}
