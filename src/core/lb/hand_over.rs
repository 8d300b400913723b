//! SYNs that are answered in backends' names, with a cookie that a backend knows again: the model of what `bpf/answer.h`
//! does for them, and `bpf/balance.h` with what follows.
//!
//! Nothing is remembered. A client's next segment goes to a backend as it is, which finds in its numbers what was promised,
//! and has its kernel go on from there. In a settled row that is where its SYN would have gone; in another one a segment
//! whose numbers are a cookie counts as the SYN before it.

use super::{
    backend::{BackendId, ServiceId, SynProxy},
    balancer::Balancer,
    decide::Decision,
    flow::Kind,
    forward::{Forwarded, Obstacle},
    sight::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, Sight},
    time_window::Tick,
};
use crate::{
    tcp::{cookie::CookieJar, handshake::Offer},
    time::Instant,
    wire::{
        MacAddress, SeqNumber, check_host,
        checksum::Checksum,
        tcp_options::{TcpOptions, Timestamps},
    },
};
use std::{fmt, net::IpAddr};

const TCP: u8 = 6;
const TCP_LEN: usize = 20;
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
/// More data than that in a SYN the program does not sum up.
const MAX_SYN_DATA: usize = 2_048;

/// The scale of the windows that SYN-ACKs in backends' names announce: `HANDOVER_WINDOW_SCALE` of `bpf/handover.h`.
pub const HAND_OVER_WINDOW_SCALE: u8 = 7;

/// What SYN-ACKs in the names of a service's backends promise: what each of them can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    /// The largest segment that is asked for, octets.
    pub mss: u16,
    /// The window, octets; a SYN-ACK's is never scaled.
    pub window: u16,
    /// Timestamps, for who offers them.
    pub timestamps: bool,
    /// SACK, likewise.
    pub sack: bool,
    /// Windows that are scaled, likewise.
    pub window_scale: bool,
}

impl Promise {
    /// The largest window that a Linux backend begins with, unless it was told otherwise.
    pub const MAX_WINDOW: u16 = 64_240;
    /// Time to live, or hop limit, of the SYN-ACKs.
    pub const HOP_LIMIT: u8 = 64;

    /// Everything that Linux has, in segments of this size.
    pub const fn all(mss: u16) -> Self {
        Self { mss, window: Self::MAX_WINDOW, timestamps: true, sack: true, window_scale: true }
    }

    /// What both can keep.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self {
            mss: self.mss.min(other.mss),
            window: self.window.min(other.window),
            timestamps: self.timestamps && other.timestamps,
            sack: self.sack && other.sack,
            window_scale: self.window_scale && other.window_scale,
        }
    }

    /// What is left of a client's offer.
    fn of(self, offer: Offer) -> Offer {
        Offer {
            window_scale: offer.window_scale.filter(|_| self.window_scale),
            sack: offer.sack && self.sack,
            timestamps: offer.timestamps && self.timestamps,
            ..offer
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mss, window, timestamps, sack, window_scale } = *self;
        write!(f, "MSS {mss}, window {window}")?;
        let options = [(timestamps, "timestamps"), (sack, "SACK"), (window_scale, "window scaling")];
        options.into_iter().try_for_each(|(is, name)| write!(f, ", {}{name}", if is { "" } else { "no " }))
    }
}

/// What it takes to answer SYNs in backends' names, for [`Balancer::answer_with`].
#[derive(Debug)]
pub struct Answering {
    /// Makes cookies, and knows them again, by the clock that the tables go by.
    pub jar: CookieJar,
    /// Our station's link address: frames to others draw no answer.
    pub station: MacAddress,
    /// Addresses that nobody sends from: our own.
    pub impossible: Vec<IpAddr>,
}

impl Balancer {
    /// What SYN-ACKs in the names of a service's backends promise now; `None` where backends answer SYNs themselves.
    pub fn promise(&self, service: ServiceId) -> Option<Promise> {
        self.served(service)?.promise
    }

    /// Has SYNs of a service answered in its backends' names, or not. Whether anything is new; never so for a service that does
    /// not want it.
    pub fn set_promise(&mut self, service: ServiceId, promise: Option<Promise>) -> bool {
        let Some(Some(served)) = self.services.get_mut(service.index()) else { return false };
        if served.promise == promise || served.config.syn_proxy == SynProxy::Off {
            return false;
        }
        served.promise = promise;
        true
    }

    /// Has [`Balancer::forward`] answer SYNs where a service promises anything. Without it, backends get all of them.
    pub fn answer_with(&mut self, answering: Answering) {
        self.answering = Some(answering);
    }

    /// What becomes of a SYN that is answered here; `None` of everything else.
    pub(super) fn answer_syn(
        &mut self,
        frame: &[u8],
        sight: &Sight,
        has_way: impl Fn(BackendId) -> bool,
        now: Instant,
    ) -> Option<Forwarded> {
        let (Kind::Syn(isn), true) = (sight.kind, self.answering.is_some()) else { return None };
        let place = self.locate(&sight.flow, Tick::of(now))?;
        let (promise, chosen, service) = (place.service.promise?, place.choose(), place.id);
        let number = match chosen {
            Ok((number, _)) => number,
            Err(refusal) => {
                self.counts.count(&Decision::Drop(refusal));
                return Some(Forwarded::Refused(refusal));
            }
        };
        // Its SYN comes again: to be told that there is somebody would be worse than to wait.
        if !has_way(BackendId { service, number }) {
            return Some(Forwarded::Hindered(Obstacle::NoWay));
        }
        let answer = self.answering.as_mut()?.syn_ack(frame, sight, isn, &promise, now);
        Some(match answer {
            Some(frame) => {
                self.counts.answered += 1;
                Forwarded::SynAck { backend: BackendId { service, number }, frame }
            }
            None => {
                self.counts.count(&Decision::Drop(super::Refusal::BadSyn));
                Forwarded::Refused(super::Refusal::BadSyn)
            }
        })
    }

    /// What a segment is that ends a handshake whose SYN was answered here, in a row where that makes a difference.
    pub(super) fn handshake(&mut self, frame: &[u8], sight: &Sight, now: Instant) -> Option<Kind> {
        let Kind::Segment(seq) = sight.kind else { return None };
        let place = self.locate(&sight.flow, Tick::of(now))?;
        // While backends answer SYNs themselves, nobody may know a cookie where its row leads now.
        let is_wanted = place.service.promise.is_some() && !place.changes_at_once();
        if !is_wanted || !(place.row.watched || place.row.before.is_some()) {
            return None;
        }
        let (irs, at) = (seq.back(1), plain_tcp(frame, sight)?);
        let tcp = &frame[at..];
        if tcp[13] & (SYN | ACK) != ACK {
            return None;
        }
        let timestamps = options(tcp)?.timestamps;
        let acknowledged = SeqNumber::new(u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]));
        let jar = &mut self.answering.as_mut()?.jar;
        jar.check(now, &sight.flow.tuple, irs, acknowledged.back(1), timestamps).map(|_| Kind::Handshake(irs))
    }
}

impl Answering {
    /// The answer to a SYN; `None` where there can be none.
    fn syn_ack(
        &mut self,
        frame: &[u8],
        sight: &Sight,
        isn: SeqNumber,
        promise: &Promise,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let at = plain_tcp(frame, sight)?;
        let (tcp, client) = (&frame[at..], sight.source);
        let is_from_somebody = check_host(client).is_ok() && !self.impossible.contains(&client);
        if frame[..6] != self.station.0 || frame[6] & 1 != 0 || sight.flow.tuple.remote.port == 0 || !is_from_somebody {
            return None;
        }
        if !is_whole(frame, sight, at) {
            return None;
        }
        let offered = options(tcp)?;
        let least = if client.is_ipv4() { 536 } else { 1_220 };
        let offer = promise.of(Offer::of_syn(&offered, false, least));
        let offer = offer.remembered(client).filter(|_| offer.mss >= least)?;
        let cookie = self.jar.make(now, &sight.flow.tuple, isn, &offer);
        let own = TcpOptions {
            mss: offered.mss.map(|_| promise.mss),
            window_scale: offer.window_scale.map(|_| HAND_OVER_WINDOW_SCALE),
            sack_permitted: offer.sack,
            timestamps: offered
                .timestamps
                .zip(cookie.timestamp)
                .map(|(theirs, value)| Timestamps { value, echo: theirs.value }),
            ..TcpOptions::default()
        };
        let mut answer = header(frame, sight, TCP_LEN + own.len());
        let mut segment = vec![0; TCP_LEN + own.len()];
        segment[..4].copy_from_slice(&[tcp[2], tcp[3], tcp[0], tcp[1]]);
        segment[4..8].copy_from_slice(&cookie.iss.get().to_be_bytes());
        segment[8..12].copy_from_slice(&isn.advance(1).get().to_be_bytes());
        segment[12..14].copy_from_slice(&[((TCP_LEN + own.len()) << 2) as u8, SYN | ACK]);
        segment[14..16].copy_from_slice(&promise.window.to_be_bytes());
        own.write(&mut segment[TCP_LEN..]);
        let sum = Checksum::pseudo_header(sight.destination, client, TCP, segment.len()).with(&segment);
        segment[16..18].copy_from_slice(&sum.field());
        answer.extend(segment);
        Some(answer)
    }
}

/// Where a TCP header begins that stands right behind a plain IP header, as far as that one has no options.
fn plain_tcp(frame: &[u8], sight: &Sight) -> Option<usize> {
    let header = &frame[sight.ip_offset..];
    let length = if sight.source.is_ipv4() {
        (header[0] & 0xf == 5).then_some(IPV4_LEN)?
    } else {
        (header[6] == TCP).then_some(IPV6_LEN)?
    };
    (frame.len() >= sight.ip_offset + length + TCP_LEN).then_some(sight.ip_offset + length)
}

/// The options of a segment; `None` where they break a rule.
fn options(tcp: &[u8]) -> Option<TcpOptions> {
    let end = usize::from(tcp[12] >> 4) * 4;
    TcpOptions::parse(tcp.get(TCP_LEN..end)?).ok()
}

/// Whether all of a SYN is there, and its checksums add up.
fn is_whole(frame: &[u8], sight: &Sight, at: usize) -> bool {
    let (header, tcp) = (&frame[sight.ip_offset..], &frame[at..]);
    let word = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let (version, length) = if sight.source.is_ipv4() { (4, word(2).wrapping_sub(IPV4_LEN)) } else { (6, word(4)) };
    let header_len = usize::from(tcp[12] >> 4) * 4;
    if header[0] >> 4 != version || header_len < TCP_LEN || length < header_len || length > tcp.len() {
        return false;
    }
    if version == 4 && !Checksum::of(&header[..IPV4_LEN]).is_valid() || length - header_len > MAX_SYN_DATA {
        return false;
    }
    Checksum::pseudo_header(sight.source, sight.destination, TCP, length).with(&tcp[..length]).is_valid()
}

/// The link and IP headers of the way back.
fn header(frame: &[u8], sight: &Sight, length: usize) -> Vec<u8> {
    debug_assert!(sight.ip_offset >= ETHERNET_LEN);
    let mut header = [&frame[6..12], &frame[..6], &frame[12..sight.ip_offset]].concat();
    match (sight.destination, sight.source) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => {
            let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, Promise::HOP_LIMIT, TCP, 0, 0];
            ip[2..4].copy_from_slice(&((IPV4_LEN + length) as u16).to_be_bytes());
            ip.extend(vip.octets());
            ip.extend(client.octets());
            let checksum = Checksum::of(&ip).field();
            ip[10..12].copy_from_slice(&checksum);
            header.extend(ip);
        }
        (vip, client) => {
            header.extend([0x60, 0, 0, 0]);
            header.extend((length as u16).to_be_bytes());
            header.extend([TCP, Promise::HOP_LIMIT]);
            header.extend([vip, client].into_iter().flat_map(crate::wire::tunnel::octets));
        }
    }
    header
}
