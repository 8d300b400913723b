//! Handshakes under way: SYN-RECEIVED, in a fraction of a control block.

use super::{aged_slab::AgedSlab, listeners::Begun, timer_wheel::TimerWheel};
use crate::{
    config::TcpConfig,
    tcp::{Challenges, Cx, Handshake, SynTiming},
    time::Instant,
    wire::{FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, TcpHeader, TcpOptions, ip::Codepoint},
};
use std::net::IpAddr;

/// A handshake whose SYN-ACK has been sent.
#[derive(Debug)]
pub(super) struct HalfOpen {
    /// What was agreed on so far.
    pub handshake: Handshake,
    /// The listener it began at.
    pub begun: Begun,
    /// The 4-tuple's hash, for leaving the flow table.
    pub hash: u32,
    /// Whether its number is no cookie that anybody would accept: then its end is nobody's who does not know of this entry.
    pub is_alone: bool,
    /// The SYN-ACK's options: its timestamp, too, stays the same, because a cookie may be in it.
    options: TcpOptions,
    /// What it has answered besides its SYN.
    challenges: Challenges,
    /// When the SYN-ACK was sent first.
    answered: Instant,
    /// SYN-ACKs sent again because the timer had expired.
    retries: u32,
    /// Whether another one was sent because the client's SYN came again.
    asked_again: bool,
    due: Instant,
}

/// What became of a handshake whose timer expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It is not over yet: send the SYN-ACK at this index again.
    SendAgain(u32),
    /// It took too long.
    GaveUp(u32),
}

impl HalfOpen {
    /// A handshake that begins now.
    pub fn new(cx: Cx<'_>, handshake: Handshake, begun: Begun, hash: u32) -> Self {
        let options = handshake.syn_ack_options(cx);
        let due = cx.now + cx.config.rto_initial;
        Self {
            handshake,
            begun,
            hash,
            is_alone: false,
            options,
            challenges: Challenges::new(cx.now),
            answered: cx.now,
            retries: 0,
            asked_again: false,
            due,
        }
    }

    /// One whose SYN-ACK was sent at a time that nobody remembers: it tells no round-trip time.
    pub fn resumed(cx: Cx<'_>, handshake: Handshake, begun: Begun, hash: u32) -> Self {
        Self { asked_again: true, ..Self::new(cx, handshake, begun, hash) }
    }

    /// The interface that its SYN-ACK leaves by.
    pub fn interface(&self) -> InterfaceId {
        self.handshake.link.interface
    }

    /// When the SYN-ACK was sent first.
    pub fn answered(&self) -> Instant {
        self.answered
    }

    /// How the SYN-ACK has fared, if it is acknowledged at `now`.
    pub fn syn_timing(&self, now: Instant) -> SynTiming {
        let sent_once = self.retries == 0 && !self.asked_again;
        SynTiming { took: sent_once.then(|| now - self.answered), timeouts: self.retries }
    }

    /// Its 4-tuple, where its client's segments are to be let pass on account of this entry.
    pub fn alone(&self) -> Option<FourTuple> {
        self.is_alone.then_some(self.handshake.tuple)
    }

    /// The SYN-ACK: its IP and TCP header.
    pub fn syn_ack(&self, config: &TcpConfig) -> (IpHeader, TcpHeader) {
        let ip = config.ip_header(&self.handshake.tuple, config.dscp.with(Codepoint::NotCapable));
        (ip, self.handshake.syn_ack(self.options, config))
    }
}

/// All handshakes under way.
#[derive(Debug)]
pub(super) struct HalfOpens {
    entries: AgedSlab<HalfOpen>,
    timers: TimerWheel,
}

impl HalfOpens {
    /// Room for at most `limit` handshakes.
    pub fn new(limit: u32) -> Self {
        Self { entries: AgedSlab::new(limit), timers: TimerWheel::new(limit) }
    }

    /// Handshakes under way.
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// The indices of those with this local address.
    pub fn at(&self, address: IpAddr) -> Vec<u32> {
        let is_there = |entry: &HalfOpen| entry.handshake.tuple.local.address == address;
        self.entries.iter().filter(|(_, entry)| is_there(entry)).map(|(index, _)| index).collect()
    }

    /// The handshake at `index`.
    pub fn get(&self, index: u32) -> &HalfOpen {
        &self.entries[index]
    }

    /// The handshake at `index`, where there is one.
    pub fn find(&self, index: u32) -> Option<&HalfOpen> {
        self.entries.get(index)
    }

    /// The indices that were ever in use are below this.
    pub fn places(&self) -> u32 {
        self.entries.places()
    }

    /// Whether the handshake at `index` answers one more segment that does not end it.
    pub fn may_answer(&mut self, index: u32, now: Instant) -> bool {
        self.entries.get_mut(index).is_some_and(|entry| entry.challenges.allow(now))
    }

    /// Answers follow a segment that has proved to be the client's: this is the link header of what is sent from now on.
    pub fn set_link(&mut self, index: u32, link: &LinkHeader) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.handshake.link = *link;
        }
    }

    /// Our station has another address on `interface` from now on.
    pub fn set_mac(&mut self, interface: InterfaceId, mac: MacAddress) {
        self.entries.for_each(|entry| {
            let link = &mut entry.handshake.link;
            if link.interface == interface {
                link.source = mac;
            }
        });
    }

    /// The client has asked again for the SYN-ACK at `index`.
    pub fn note_asked_again(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.asked_again = true;
        }
    }

    /// Makes room for one more: removes and returns the oldest where there is none.
    pub fn make_room(&mut self) -> Option<(u32, HalfOpen)> {
        let oldest = self.entries.oldest().filter(|_| self.entries.is_full())?;
        self.timers.cancel(oldest);
        self.entries.remove(oldest).map(|entry| (oldest, entry))
    }

    /// Adds a handshake; `None` where there is no room, not even for one.
    pub fn insert(&mut self, entry: HalfOpen) -> Option<u32> {
        let due = entry.due;
        let index = self.entries.insert(entry).ok()?;
        self.timers.arm(index, due);
        Some(index)
    }

    /// Takes a handshake out.
    pub fn remove(&mut self, index: u32) {
        self.timers.cancel(index);
        self.entries.discard(index);
    }

    /// Takes one overdue handshake; to be called until it returns `None`.
    pub fn expire(&mut self, cx: Cx<'_>) -> Option<Overdue> {
        let index = self.timers.expire(cx.now)?;
        let entry = self.entries.get_mut(index)?;
        if entry.retries == cx.config.syn_ack_retries {
            return Some(Overdue::GaveUp(index));
        }
        entry.retries += 1;
        entry.due = cx.now + cx.config.rto_initial * 2u32.saturating_pow(entry.retries);
        self.timers.arm(index, entry.due);
        Some(Overdue::SendAgain(index))
    }

    /// When [`HalfOpens::expire`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }
}
