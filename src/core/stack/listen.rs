//! LISTEN and CLOSED (RFC 9293 §3.10.7.2, §3.10.7.1): SYNs that begin a handshake, cookies that end one, and strangers.

use super::{FlowHash, Stack, SynMode, arrive::Received, flow_table::Flow, half_open::HalfOpen, listeners::Begun};
use crate::{
    drops::DropReason,
    tcp::{Handshake, Offer, cookie::EPOCH, ecn, handshake::default_mss, timestamps::TimestampState},
    time::Instant,
    wire::{SeqNumber, TcpFlags},
};

/// More than a connection sends whose SYN is still under way, and less than half of all numbers: beyond what was sent.
const FAR: u32 = 1 << 30;

impl Stack {
    /// LISTEN and CLOSED (§3.10.7.2 and §3.10.7.1). `used` is SND.NXT of a connection of this 4-tuple that was in TIME-WAIT
    /// up to now.
    pub(super) fn arrive_at_listener(
        &mut self,
        now: Instant,
        received: Received<'_>,
        used: Option<SeqNumber>,
    ) -> Result<(), DropReason> {
        let Received { tuple, hash, segment, .. } = received;
        if segment.has(TcpFlags::RST) {
            if self.accepts_cookies(now) {
                // It may be exact for a handshake that nobody remembers (RFC 5961 §3.2): that is not to come back.
                self.broken_off.insert(hash.slot, segment.header.seq);
            }
            return Err(DropReason::StrayReset);
        }
        let Some(begun) = self.listeners.find(tuple.local.port, tuple.local.address) else {
            return self.refuse(now, received, DropReason::NoListener);
        };
        if segment.has(TcpFlags::ACK) {
            return self.arrive_with_cookie(now, received, begun);
        }
        if !segment.has(TcpFlags::SYN) {
            return Err(DropReason::NoAck);
        }
        if segment.has(TcpFlags::FIN) {
            return Err(DropReason::ContradictoryFlags);
        }
        // Who would be refused in the end is better off without an answer: he tries again, and there may be room then.
        if !self.has_room() {
            return Err(DropReason::ConnectionLimit);
        }
        self.begin_handshake(now, received, begun, used)
    }

    fn begin_handshake(
        &mut self,
        now: Instant,
        Received { link, tuple, hash: FlowHash { slot: hash, .. }, segment }: Received<'_>,
        begun: Begun,
        used: Option<SeqNumber>,
    ) -> Result<(), DropReason> {
        let (options, irs) = (&segment.header.options, segment.header.seq);
        // The XDP program agrees to no ECN, so neither do we where the cookie is all there is: a SYN draws the same answer. What
        // is remembered and evicted keeps it where there are timestamps, for the cookie to say so.
        let ecn = self.syn_mode == SynMode::Cache && ecn::agrees_to_syn(self.config.tcp.ecn, segment.header.flags);
        let whole = Offer::of_syn(options, ecn, default_mss(tuple.remote.address));
        // Where the cookie is all there is, no more is promised than it holds.
        let held = match self.syn_mode {
            SynMode::Cookie => whole.remembered(tuple.remote.address),
            SynMode::Cache => None,
        };
        let offer = held.unwrap_or(whole);
        let cookie = self.cookies.make(now, tuple, irs, &offer);
        let fresh = self.unused(now, hash, irs, cookie.iss);
        // MAY-2: beyond everything the connection before sent. Half of all cookies are; where this one is not, the handshake
        // lives by its entry alone.
        let iss = used.map_or(fresh, |used| fresh.latest(used.advance(u16::MAX.into())));
        let clocks =
            options.timestamps.zip(cookie.timestamp).map(|(theirs, ours)| TimestampState::new(now, ours, theirs.value));
        let max_segment = self.fitted(link.interface, tuple.local.address, begun.max_segment);
        let agreed = Handshake::new(*tuple, *link, iss, irs, &offer, &self.config.tcp);
        let handshake = Handshake { clocks, max_segment, ..agreed };
        let is_alone = iss != cookie.iss || !offer.is_held(tuple.remote.address);
        let mut entry = HalfOpen::new(self.config.tcp.at(now), handshake, begun, hash);
        entry.is_alone = is_alone;
        self.stats.handshakes_begun += 1;
        // Where the cookie is all there is, it must be one.
        if held.is_some() && !is_alone {
            self.cookies_count(now);
            let (ip, tcp) = entry.syn_ack(&self.config.tcp);
            return self.send_reply(link, &ip, &tcp);
        }
        let index = self.remember(now, entry)?;
        self.send_syn_ack(index)
    }

    fn remember(&mut self, now: Instant, entry: HalfOpen) -> Result<u32, DropReason> {
        if let Some((index, evicted)) = self.half_open.make_room() {
            self.flows.remove(evicted.hash, Flow::HalfOpen(index));
            if let Some(tuple) = evicted.alone() {
                self.observer.closed(self.observer.fingerprint(&tuple));
            }
            self.stats.handshakes_evicted += 1;
            self.cookies_count(now);
        }
        let (hash, alone) = (entry.hash, entry.alone());
        let index = self.half_open.insert(entry).ok_or(DropReason::ConnectionLimit)?;
        self.flows.insert(hash, Flow::HalfOpen(index));
        // Whoever looks for cookies would find none in what ends it.
        if let Some(tuple) = alone {
            self.observer.opened(&tuple);
        }
        Ok(index)
    }

    /// Our number for a handshake: its cookie, unless that was used up. The same SYN draws the same cookie throughout an epoch, so a
    /// SYN and an ACK that the network delivers a second time would open their connection a second time (RFC 9293 §3.4.1). Such
    /// a handshake begins with a number of its own, from a clock and the secret that is in the cookie, and lives by its entry. It is
    /// far beyond what the connection before may have sent, so that no late acknowledgment of that ends it.
    fn unused(&self, now: Instant, hash: u32, irs: SeqNumber, cookie: SeqNumber) -> SeqNumber {
        if self.used.contains(hash, cookie) || self.broken_off.contains(hash, irs.advance(1)) {
            return cookie.advance(FAR | (now.as_micros() / 4) as u32 & (FAR - 1));
        }
        cookie
    }

    /// Whether handshakes that this stack does not remember may be under way: somebody answers them, or lately did.
    fn accepts_cookies(&self, now: Instant) -> bool {
        self.syn_mode == SynMode::Cookie || now < self.cookies_until
    }

    /// A handshake has been answered that is not, or no more, remembered: its cookie counts for as long as it lives.
    fn cookies_count(&mut self, now: Instant) {
        self.cookies_until = now + 2 * EPOCH;
    }

    /// A segment that may end a handshake which nobody remembers: its numbers do, if they are a cookie.
    fn arrive_with_cookie(&mut self, now: Instant, received: Received<'_>, begun: Begun) -> Result<(), DropReason> {
        let Received { link, tuple, hash: FlowHash { slot: hash, .. }, segment } = received;
        let (irs, iss) = (segment.header.seq.back(1), segment.header.ack.back(1));
        let timestamps = segment.header.options.timestamps;
        let offer = match self.redeem(now, received) {
            Ok(offer) => offer,
            // RFC 9293 §3.10.7.2: what acknowledges something here acknowledges nothing of ours.
            Err(reason) => return self.refuse(now, received, reason),
        };
        let clocks = timestamps.map(|theirs| TimestampState::new(now, theirs.echo, theirs.value));
        let max_segment = self.fitted(link.interface, tuple.local.address, begun.max_segment);
        let agreed = Handshake::new(*tuple, *link, iss, irs, &offer, &self.config.tcp);
        let handshake = Handshake { clocks, max_segment, ..agreed };
        if let Err(reason) = self.check_backlog() {
            // A client that has nothing to say yet would not come again by itself: the SYN-ACK, sent again, asks it to.
            self.remember(now, HalfOpen::resumed(self.config.tcp.at(now), handshake, begun, hash))?;
            return Err(reason);
        }
        let connection = self.open_or_refuse(now, received, &handshake, begun.listener)?;
        self.flows.insert(hash, Flow::Connection(connection));
        self.used.insert(hash, iss);
        self.stats.cookies_accepted += 1;
        self.arrive_at_connection(now, connection, received)
    }

    /// What a cookie stands for, if it counts, is one, and was not used.
    fn redeem(&mut self, now: Instant, received: Received<'_>) -> Result<Offer, DropReason> {
        let Received { tuple, hash: FlowHash { slot: hash, .. }, segment, .. } = received;
        if !self.accepts_cookies(now) {
            return Err(DropReason::StrayAck);
        }
        if segment.has(TcpFlags::SYN) {
            return Err(DropReason::BadCookie);
        }
        let (first, iss) = (segment.header.seq, segment.header.ack.back(1));
        let timestamps = segment.header.options.timestamps;
        let Some(offer) = self.cookies.check(now, tuple, first.back(1), iss, timestamps) else {
            let told = self.misdated.allow(now) && self.cookies.is_misdated(now, tuple, first.back(1), iss, timestamps);
            return Err(if told { DropReason::MisdatedCookie } else { DropReason::BadCookie });
        };
        if self.used.contains(hash, iss) || self.broken_off.contains(hash, first) {
            return Err(DropReason::UsedCookie);
        }
        Ok(offer)
    }
}
