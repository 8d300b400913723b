//! Segments to be sent, most pressing first: what was lost, a window probe, new data, a bare acknowledgment.

use super::{
    congestion::Controller, connection::Connection, cx::Cx, recorder::Happening, send::SendRange, signals::SentKind,
    state::Step, tail_probe::TailProbe, timers::Timer, timestamps,
};
use crate::{
    config::TcpConfig,
    time::Instant,
    wire::{self, SeqNumber, TcpFlags, TcpHeader, TcpOptions, tcp_options::SackBlocks},
};

/// Bytes of options that a header has room for.
const MAX_OPTIONS_LEN: usize = 40;

impl Connection {
    /// Builds the next segment as a frame in `buffer`; its length and kind, or `None` where nothing is to be sent now.
    ///
    /// Each call does a bounded amount of work. When it returns `None`, every timer stands as it should.
    ///
    /// # Panics
    /// Where `buffer` cannot hold a frame of the configured MTU.
    pub fn poll_transmit(&mut self, cx: Cx<'_>, buffer: &mut [u8]) -> Option<(usize, SentKind)> {
        if self.is_opening() {
            return self.transmit_opening(cx, buffer);
        }
        self.lift_path_limit(cx.now);
        if self.acks.is_alone() {
            return Some((self.write_acknowledgment(cx, buffer), SentKind::Acknowledgment));
        }
        if let Some(range) = self.next_range(cx) {
            let is_retransmission = range.seq != self.send.nxt();
            let length = self.write_range(cx, &range, buffer);
            if is_retransmission {
                self.note_again(cx.now, &range);
            }
            self.recovery.sent(&range, is_retransmission, cx.now);
            self.timers.cancel(Timer::TailProbe); // it counts from the last segment on (RFC 8985 §7.2)
            if is_retransmission && range.seq == self.send.una() {
                self.timers.cancel(Timer::Retransmit); // what is repaired gets a full timeout of its own
            }
            if self.send.sent(&range, cx.now) {
                self.step(cx, Step::FinSent);
            }
            return Some((length, if is_retransmission { SentKind::Retransmission } else { SentKind::New }));
        }
        self.update_timers(cx);
        if !self.acks.is_due() {
            return self.transmit_keep_alive(cx, buffer);
        }
        Some((self.write_acknowledgment(cx, buffer), SentKind::Acknowledgment))
    }

    /// Why something is sent again: a probe of the window was written down when it fell due.
    #[cold]
    fn note_again(&mut self, now: Instant, range: &SendRange) {
        let octets = range.len();
        let happening = match self.recovery.tail {
            _ if self.persist.is_probing() => return,
            TailProbe::Sent { .. } if !self.recovery.is_active() => Happening::AgainByTailProbe(octets),
            _ if self.recovery.follows_timeout() => Happening::AgainByTimeout(octets),
            _ if self.sack => Happening::AgainByRack(octets),
            _ => Happening::AgainByDuplicates(octets),
        };
        self.recorder.note_again(now, happening);
    }

    /// It may have turned out that nothing had been lost.
    #[inline]
    pub(super) fn note_recovery(&mut self, now: Instant) {
        if self.recovery.take_undone() {
            self.recorder.note_seldom(now, Happening::NothingWasLost);
        }
    }

    /// Our window has been shut, or opened again.
    #[cold]
    fn note_own_window(&mut self, now: Instant, is_shut: bool) {
        self.recorder.ours_is_shut = is_shut;
        let unread = self.readable_len().try_into().unwrap_or(u32::MAX);
        self.recorder.note(now, if is_shut { Happening::OursShut(unread) } else { Happening::OursOpened });
    }

    /// To be asked when a segment was sent: whether that was all for now. If so, every timer stands as it should.
    pub fn has_sent_all(&mut self, cx: Cx<'_>) -> bool {
        let owes = self.acks.is_due() || self.acks.is_alone() || self.persist.is_due() || self.liveness.owes_probe();
        if owes || self.is_opening() || self.send.wants_to_send() || self.recovery.tail == TailProbe::Due {
            return false;
        }
        self.update_timers(cx);
        true
    }

    /// A segment at `seq` without data.
    pub(super) fn write_bare(&mut self, cx: Cx<'_>, seq: SeqNumber, buffer: &mut [u8]) -> usize {
        self.write_range(cx, &SendRange { seq, length: 0, fin: false }, buffer)
    }

    fn next_range(&mut self, cx: Cx<'_>) -> Option<SendRange> {
        if self.persist.take_due() {
            return self.send.probe();
        }
        if self.send.window() == 0 {
            return None;
        }
        if !self.send.wants_to_send() && self.recovery.tail != TailProbe::Due {
            self.recovery.take_force_retransmit();
            return None;
        }
        // RFC 5681 §4.1
        if self.send.flight_size() == 0 && cx.now > self.rtt.timeout_after(self.send.last_sent()) {
            self.congestion.idled();
        }
        if let Some(range) = self.take_tail_probe(cx.config) {
            return Some(range);
        }
        let allowance = self.recovery.allowance(self.congestion.window(), self.send.in_flight());
        let within = if self.recovery.take_force_retransmit() { u32::MAX } else { allowance };
        let lost = if self.recovery.holds_back() { None } else { self.send.next_lost(within) };
        lost.or_else(|| self.next_new(allowance, cx.config.nagle && !self.options.no_delay, cx.config))
    }

    /// What is sent for the first time, where there is room for one segment more among those in flight.
    #[inline]
    pub(super) fn next_new(&self, allowance: u32, nagle: bool, config: &TcpConfig) -> Option<SendRange> {
        let has_room = self.send.segments() < config.max_segments.max(1);
        if has_room { self.send.next_new(allowance, nagle) } else { None }
    }

    /// SACK blocks for what has arrived out of order, as many as a segment with `data` octets of data has room for.
    fn sack_blocks(&mut self, data: usize) -> SackBlocks {
        if !self.sack || !self.receive.has_sack_blocks() {
            return SackBlocks::default();
        }
        let options = MAX_OPTIONS_LEN - if self.clocks.is_some() { timestamps::OPTION_LEN as usize } else { 0 };
        let room = options.min((self.send.mss() as usize).saturating_sub(data));
        self.receive.sack_blocks(room.saturating_sub(4) / 8)
    }

    /// Every segment acknowledges and tells the window, so what was owed is paid with it.
    fn write_range(&mut self, cx: Cx<'_>, range: &SendRange, buffer: &mut [u8]) -> usize {
        self.acks.paid(self.receive.nxt());
        self.timers.cancel(Timer::DelayedAck);
        let mut flags = TcpFlags::ACK;
        flags.set(TcpFlags::PSH, self.send.is_pushed(range));
        flags.set(TcpFlags::FIN, range.fin);
        let urgent = self.urgent_pointer(range.seq);
        flags.set(TcpFlags::URG, urgent.is_some());
        let is_new_data = range.length > 0 && range.seq == self.send.nxt() && !self.persist.is_probing();
        let (marks, codepoint) = self.ecn.marking(is_new_data);
        let edge = self.receive.edge();
        let window = self.receive.advertise(self.send.mss());
        if self.receive.edge() != edge {
            self.tuning.announced(self.receive.edge(), cx.now);
        }
        if (window == 0) != self.recorder.ours_is_shut {
            self.note_own_window(cx.now, window == 0);
        }
        let header = TcpHeader {
            source_port: self.tuple.local.port,
            destination_port: self.tuple.remote.port,
            seq: range.seq,
            ack: self.receive.nxt(),
            flags: flags | marks,
            window,
            urgent: urgent.unwrap_or(0),
            options: TcpOptions {
                timestamps: self.clocks.map(|clocks| clocks.option(cx.now)),
                sack: self.sack_blocks(range.length),
                ..TcpOptions::default()
            },
        };
        let ip = cx.config.ip_header(&self.tuple, self.diffserv.ours.with(codepoint));
        wire::write_tcp(&self.link, &ip, &header, self.send.data(range), buffer)
    }
}
