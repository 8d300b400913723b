//! What becomes of one segment, in place: looked at, judged, learnt from, and only then written.

use super::{
    difference::{Difference, long},
    pair::{Pair, Side},
    sight::Sight,
};
use crate::{
    drops::named,
    time::Instant,
    wire::{SeqNumber, TcpFlags},
};
use std::net::IpAddr;

named! {
    /// Why a frame is not passed on. It is left as it was.
    Refusal {
        /// No segment of this pair.
        NotOurs => "not_ours",
        /// A header that is cut off, or contradicts itself.
        Malformed => "malformed",
        /// A fragment: what is in the others cannot be told.
        Fragment => "fragment",
        /// The time to live, or hop limit, is used up.
        HopLimit => "hop_limit",
        /// It does not fit the other side's way.
        TooBig => "too_big",
        /// Hardware was to finish the checksum, and did not: there is nothing to translate.
        PartialChecksum => "partial_checksum",
        /// A RST that was damaged.
        BadChecksum => "bad_checksum",
        /// A SYN that acknowledges or closes: nobody should answer it with the numbers of another connection.
        Syn => "syn",
        /// A bare SYN, while the pair is open: its sender has forgotten the connection, or wants to have it seem so. Whoever asked
        /// [challenges](Pair::challenge) it (RFC 5961 §4.2).
        Question => "question",
        /// A SYN for a pair that has ended: its sender wants another connection, and whoever asked forgets this one.
        Over => "over",
        /// Neither RST nor ACK.
        NoAck => "no_ack",
        /// It lies where its receiver would neither take nor answer it.
        Sequence => "sequence",
        /// It acknowledges what was never sent, or was long ago (RFC 5961 §5.2).
        Acknowledgment => "acknowledgment",
        /// A RST outside the window (RFC 5961 §3.2).
        Reset => "reset",
    }
}

/// How far behind the window a speaker may stand: an octet with which it has probed a shut one, and its FIN. Its acknowledgments come
/// from there, and its receiver looks at them (RFC 9293 §3.10.7.4).
const BEYOND: u32 = 2;
/// Of a circle of numbers.
const QUARTER: u32 = 1 << 30;
/// The window field at most.
const MAX_FIELD: u32 = 65_535;
/// The scale at most (RFC 7323 §2.3).
const MAX_SCALE: u8 = 14;

/// What a segment says in the numbers of its receiver.
struct Said {
    /// Its sequence number.
    number: SeqNumber,
    /// What follows its last octet.
    end: SeqNumber,
    window: u16,
    /// The window in octets; and that or what its receiver is told, whichever is more.
    octets: u32,
    told: u32,
    /// Whether it is a RST that its receiver believes.
    resets: bool,
}

impl Pair {
    /// Makes of a frame that one side sent the frame that the other side gets, and says which side that is.
    ///
    /// # Errors
    /// [`Refusal`] says why it goes nowhere. Neither the frame nor the pair has changed.
    pub fn translate(&mut self, now: Instant, frame: &mut [u8]) -> Result<Side, Refusal> {
        let sight = Sight::of(frame)?;
        let from = self.side_of(&sight.tuple).ok_or(Refusal::NotOurs)?;
        self.check_packet(from, &sight, frame)?;
        let said = self.judge(from, &sight, frame)?;
        self.learn(now, from, &sight, &said);
        self.write_numbers(from, &sight, &said, frame);
        self.write_ends(from, &sight, frame);
        Ok(from.other())
    }

    fn check_packet(&self, from: Side, sight: &Sight, frame: &[u8]) -> Result<(), Refusal> {
        let (from, to) = (&self.ends[from as usize], &self.ends[from.other() as usize]);
        let vlan = |tags: &crate::wire::ethernet::VlanTags| tags.as_slice().first().map(|tag| tag.control & 0xfff);
        if sight.link.len() != from.link.len() || vlan(&sight.link.vlan) != vlan(&from.link.vlan) {
            return Err(Refusal::NotOurs);
        }
        if frame[sight.hops()] <= 1 {
            return Err(Refusal::HopLimit);
        }
        if sight.end - sight.ip > usize::from(to.mtu) {
            return Err(Refusal::TooBig);
        }
        if sight.is_unfinished(frame) {
            return Err(Refusal::PartialChecksum);
        }
        Ok(())
    }

    /// Whether its receiver might take it, or answer it.
    fn judge(&self, from: Side, sight: &Sight, frame: &[u8]) -> Result<Said, Refusal> {
        let (out, back) = (&self.streams[from as usize], &self.streams[from.other() as usize]);
        let start = sight.seq.advance(out.shift);
        let end = start.advance(sight.len());
        let (window, octets, told) = self.window(from, sight.window);
        let mut said = Said { number: start, end, window, octets, told, resets: false };
        if sight.flags.contains(TcpFlags::RST) {
            if start.precedes(out.acked) || out.edge.precedes(start) {
                return Err(Refusal::Reset);
            }
            // RCV.NXT is one of the two, unless there is a hole in between; then its receiver challenges it.
            said.resets = start == out.acked || start == out.sent;
            if said.resets && !sight.is_intact(frame) {
                return Err(Refusal::BadChecksum);
            }
            return Ok(said);
        }
        if sight.flags.contains(TcpFlags::SYN) {
            return Err(self.why_no_syn(sight.flags));
        }
        if !sight.flags.contains(TcpFlags::ACK) {
            return Err(Refusal::NoAck);
        }
        if end.precedes(out.acked.back(out.reach)) || out.edge.advance(BEYOND).precedes(start) {
            return Err(Refusal::Sequence);
        }
        if back.sent.precedes(sight.ack) || sight.ack.precedes(back.acked.back(back.reach)) {
            return Err(Refusal::Acknowledgment);
        }
        // The proxy may have offered more than its receiver does. Who has sent all that acknowledges from beyond the window, where no
        // segment is acceptable (RFC 9293 §3.10.7.4); and if both have, neither ever hears the other one. The number of a segment that
        // takes none says nothing else.
        if sight.len() == 0 && out.offered.precedes(start) {
            said.number = out.offered;
        }
        Ok(said)
    }

    /// What becomes of a SYN: none passes.
    fn why_no_syn(&self, flags: TcpFlags) -> Refusal {
        match flags.intersects(TcpFlags::ACK | TcpFlags::FIN) {
            true => Refusal::Syn,
            false if self.is_ending() => Refusal::Over,
            false => Refusal::Question,
        }
    }

    /// The window field for the other side, the octets that it stands for, and those that may come for it.
    fn window(&self, from: Side, field: u16) -> (u16, u32, u32) {
        let (theirs, ours) = (self.ends[from as usize].peer_scale, self.ends[from.other() as usize].our_scale);
        let octets = u32::from(field) << theirs.min(MAX_SCALE);
        let units = self.window_field(from, octets);
        (units, octets, octets.max(u32::from(units) << ours.min(MAX_SCALE)))
    }

    /// The window field by which the other side hears that one side has room for so many octets.
    pub(crate) fn window_field(&self, from: Side, octets: u32) -> u16 {
        let ours = self.ends[from.other() as usize].our_scale;
        let units = (octets >> ours.min(MAX_SCALE)).min(MAX_FIELD);
        if octets > 0 { units.max(1) as u16 } else { 0 }
    }

    fn learn(&mut self, now: Instant, from: Side, sight: &Sight, said: &Said) {
        self.heard = now;
        if sight.flags.contains(TcpFlags::RST) {
            self.streams[from as usize].is_reset |= said.resets;
            return;
        }
        let (out, back) = (&self.streams[from as usize], &self.streams[from.other() as usize]);
        // Only who says something new is believed to be where it came from.
        let is_news = out.sent.precedes(said.end) || back.acked.precedes(sight.ack);
        let end = &mut self.ends[from as usize];
        if end.follows && is_news {
            end.link.destination = sight.link.source;
        }
        let out = &mut self.streams[from as usize];
        if out.sent.precedes(said.end) {
            out.carried += u64::from(said.end.since(out.sent));
            out.sent = said.end;
        }
        if sight.flags.contains(TcpFlags::FIN) {
            (out.has_fin, out.fin) = (true, said.end.back(1));
        } else if out.has_fin && out.fin.advance(1).precedes(said.end) {
            out.has_fin = false; // there is more, so that was no FIN of this speaker's
        }
        let back = &mut self.streams[from.other() as usize];
        back.acked = back.acked.latest(sight.ack);
        back.edge = back.edge.latest(sight.ack.advance(said.told));
        back.offered = back.offered.latest(sight.ack.advance(said.octets));
        back.reach = back.reach.max(said.told);
    }

    /// Everything that counts in another way on the other side.
    fn write_numbers(&mut self, from: Side, sight: &Sight, said: &Said, frame: &mut [u8]) {
        let back_shift = self.streams[from.other() as usize].shift;
        let (mut sum, tcp) = (Difference::default(), sight.tcp);
        let is_odd = |at: usize| (at - tcp) % 2 == 1;
        sum.put_long(frame, tcp + 4, said.number.get(), false);
        sum.put_word(frame, tcp + 14, said.window);
        let has_ack = sight.flags.contains(TcpFlags::ACK);
        if has_ack {
            sum.put_long(frame, tcp + 8, sight.ack.back(back_shift).get(), false);
        }
        if let Some(at) = sight.options.timestamps.filter(|_| self.has_clocks) {
            let value = long(frame, at).wrapping_add(self.streams[from as usize].clock_shift);
            sum.put_long(frame, at, value, is_odd(at));
            if has_ack {
                let echo = self.echo(from, long(frame, at + 4));
                sum.put_long(frame, at + 4, echo, is_odd(at));
            }
        }
        let (first, blocks) = sight.options.sack.unwrap_or_default();
        for edge in 0..2 * blocks {
            let at = first + 4 * edge;
            sum.put_long(frame, at, long(frame, at).wrapping_sub(back_shift), is_odd(at));
        }
        sum.settle(frame, tcp + 16);
    }

    /// What one side echoes, for the other one. Segments overtake each other, so an echo of before the switch may come after one of
    /// behind it; but not when the clock is a quarter of its circle further. From then on nothing is compared any more, or it would go
    /// half round and seem to be of before.
    fn echo(&mut self, from: Side, echo: u32) -> u32 {
        let (end, other) = (&self.ends[from as usize], &self.ends[from.other() as usize]);
        let out = &mut self.streams[from as usize];
        let (switch, echoed) = (SeqNumber::new(end.clock), SeqNumber::new(echo));
        if !out.is_past && echoed.at_or_before(switch) {
            return other.recent;
        }
        out.is_past |= echoed.since(switch) >= QUARTER;
        echo.wrapping_sub(self.streams[from.other() as usize].clock_shift)
    }

    /// Other ends, on the link too, and a hop less.
    fn write_ends(&self, from: Side, sight: &Sight, frame: &mut [u8]) {
        let to = &self.ends[from.other() as usize];
        let (mut ip, mut tcp) = (Difference::default(), Difference::default());
        let first = sight.ip + if sight.is_ipv4() { 12 } else { 8 };
        let mut at = first;
        for end in [to.tuple.local, to.tuple.remote] {
            match end.address {
                IpAddr::V4(address) => {
                    ip.put_words(frame, at, &address.octets());
                    at += 4;
                }
                IpAddr::V6(address) => {
                    tcp.put_words(frame, at, &address.octets());
                    at += 16;
                }
            }
        }
        // Of IPv4 both sums cover the addresses, of IPv6 there is but one.
        if sight.is_ipv4() {
            tcp = ip;
            let hops = u16::from_be_bytes([frame[sight.hops()] - 1, frame[sight.hops() + 1]]);
            ip.put_word(frame, sight.hops(), hops);
            ip.settle(frame, sight.ip + 10);
        } else {
            frame[sight.hops()] -= 1;
        }
        tcp.put_word(frame, sight.tcp, to.tuple.local.port);
        tcp.put_word(frame, sight.tcp + 2, to.tuple.remote.port);
        tcp.settle(frame, sight.tcp + 16);
        let ether_type = if sight.is_ipv4() { 0x0800 } else { 0x86dd };
        to.link.write(ether_type, frame);
    }
}
