//! SYNs that are answered in backends' names: what makes the cookies, and what clients say with them.

use super::{
    common::frames::OURS,
    draw::{Draw, packet_of},
    scene::{COOKIE, COOKIE_GUE},
};
use std::{collections::HashMap, net::IpAddr, time::Duration};
use xskip::{
    lb::{Answering, Promise, Service},
    rng::SipKey,
    tcp::cookie::{CookieJar, MasterKey},
    time::Instant,
    xdp::Program,
};

/// Option lists of SYNs, and of none that anybody sends.
const OPTIONS: [&[u8]; 12] = [
    &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
    &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
    &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
    &[2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 9, 8, 7, 6, 0, 0, 0, 0, 4, 2, 0, 0],
    &[2, 4, 5, 0xa0],
    &[2, 4, 5, 0xb4, 1, 3, 3, 15],
    &[1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
    &[2, 4, 5, 0x14, 4, 2, 1, 1, 1, 3, 3, 7],
    &[2, 4, 1, 0, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
    &[2, 4, 2, 0x17],
    &[2, 4, 5, 0xb4, 3, 3, 4, 0],
    &[],
];

const PROMISES: [Option<Promise>; 6] = [
    Some(Promise::all(1_460)),
    Some(Promise { timestamps: false, ..Promise::all(1_440) }),
    Some(Promise { sack: false, window: 5_000, ..Promise::all(1_420) }),
    Some(Promise { window_scale: false, ..Promise::all(1_220) }),
    Some(Promise { sack: false, timestamps: false, window_scale: false, ..Promise::all(536) }),
    None,
];

fn jar() -> CookieJar {
    CookieJar::new(MasterKey::new(SipKey::from_seed(8)), Duration::from_secs(1_700_000_000))
}

pub fn has_them(service: &Service) -> bool {
    [COOKIE, COOKIE_GUE].contains(&service.port)
}

pub fn answering(impossible: Vec<IpAddr>) -> Answering {
    Answering { jar: jar(), station: OURS, impossible }
}

/// What the program knows of cookies.
pub struct Cookies {
    jar: CookieJar,
    epoch: u64,
    promises: HashMap<String, usize>,
}

impl Cookies {
    pub fn new(program: &Program) -> Self {
        program.guard().keep_keys(Duration::from_secs(7_200));
        Self { jar: jar(), epoch: 0, promises: HashMap::new() }
    }

    /// Lets the program have the keys of this moment.
    pub fn follow(&mut self, program: &Program, now: Instant) {
        let (guard, epoch) = (program.guard(), self.jar.epoch(now));
        guard.accept_next_epoch(self.jar.accepts_next(now));
        if epoch != self.epoch {
            (epoch - 1..=epoch + 1).for_each(|it| guard.set_epoch_key(it, self.jar.key_of(it)));
            guard.begin_epoch(epoch);
            self.epoch = epoch;
        }
    }

    pub fn promise(&self, service: &str) -> Option<Promise> {
        PROMISES[self.promises.get(service).copied().unwrap_or(usize::from(service.starts_with("six")))]
    }

    pub fn promise_otherwise(&mut self, service: &str, number: u64) {
        self.promises.insert(service.to_owned(), number as usize % PROMISES.len());
    }
}

impl Draw {
    /// The options of a SYN.
    pub fn options(&mut self) -> &'static [u8] {
        OPTIONS[self.number() as usize % OPTIONS.len()]
    }

    /// What a client says to a SYN-ACK that was made here: an acknowledgment, with or without data, or nearly one.
    pub fn conclusion(&mut self, answer: &[u8]) -> Vec<u8> {
        let at = if answer[12..14] == [0x81, 0] { 18 } else { 14 };
        let is_ipv4 = answer[at] >> 4 == 4;
        let tcp = &answer[at + if is_ipv4 { 20 } else { 40 }..];
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let options = &tcp[20..];
        let stamp = options.windows(2).position(|it| it == [8, 10]).map(|at| options[at + 2..at + 6].to_vec());
        let chance = self.number();
        let (mut seq, mut ack) = (word(8), word(4).wrapping_add(1));
        match chance % 16 {
            0 => seq = seq.wrapping_add(1),
            1 => ack ^= 1 << (chance >> 8 & 31),
            _ => {}
        }
        let mut echo = stamp.map_or(Vec::new(), |stamp| [&[1, 1, 8, 10, 9, 9, 9, 9], &stamp[..]].concat());
        if chance % 16 == 2 && !echo.is_empty() {
            echo[8 + (chance >> 8 & 3) as usize] ^= 1 << (chance >> 10 & 7);
        }
        let flags = [0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x12, 0x14][(chance >> 20 & 7) as usize];
        let data = [0, 0, 1, 100][(chance >> 24 & 3) as usize];
        let mut segment = [&tcp[2..4], &tcp[..2], &seq.to_be_bytes(), &ack.to_be_bytes()].concat();
        segment.extend([(5 + echo.len() as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(echo);
        segment.extend(vec![0x5a; data]);
        packet_of(&answer[at..], &segment)
    }
}
