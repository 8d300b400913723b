//! Cookies: what they remember, whom they refuse, and how keys come and go.

use super::*;
use crate::{
    rng::{SipKey, splitmix64},
    tcp::cookie::{Cookie, CookieJar, EPOCH, MasterKey, Offer, SHORT_GRACE},
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
fn without_timestamps_the_mss_is_one_of_four_and_never_too_large() {
    let mut jar = jar();
    let now = Instant::from_millis(5);
    let cases = [(536, 536), (1_299, 536), (1_300, 1_300), (1_452, 1_440), (1_460, 1_460), (9_000, 1_460)];
    let cases_v6 = [(1_220, 1_220), (1_380, 1_360), (1_440, 1_440), (u16::MAX, 1_440)];
    for (tuple, cases) in [(tuple(), &cases[..]), (tuple_v6(), &cases_v6[..])] {
        for &(said, remembered) in cases {
            for scale in [None, Some(0), Some(14)] {
                let cookie = jar.make(now, &tuple, IRS, &offer(said, scale, false));
                assert_eq!(cookie.timestamp, None);
                let expected = offer(remembered, scale, false);
                assert_eq!(jar.check(now, &tuple, IRS, cookie.iss, None), Some(expected));
            }
        }
    }
    let small = jar.make(now, &tuple(), IRS, &offer(535, None, false));
    assert_eq!(jar.check(now, &tuple(), IRS, small.iss, None), None, "no class is small enough");
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

/// 2^24 guesses succeed once on average without timestamps; with them, 2^41 would be needed.
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
    assert!(plain <= 2, "{plain} of a million, where 0.06 are expected");
    assert_eq!(with_timestamps, 0);
}
