//! Loss recovery: what is done about segments that are, or seem, lost, and how that is undone where they were not.
//!
//! With SACK (RFC 2018), losses are found by the times of deliveries: RACK (RFC 8985). Without, by counting duplicate
//! acknowledgments: fast retransmit (RFC 5681 §3.2) and NewReno (RFC 6582). Either way the flight shrinks by proportional rate
//! reduction (RFC 9937), F-RTO (RFC 5682) tests whether a timeout was spurious before everything is sent again, and Eifel (RFC 3522)
//! and D-SACK (RFC 3708) tell whether a reduction of the window was.

use super::{
    congestion::{Ack, Controller},
    outcome::AckEvent,
    prr::Prr,
    send::{SendRange, SendSide},
    tail_probe::{ProbeAnswer, TailProbe},
};
use crate::{time::Instant, wire::SeqNumber};
use std::time::Duration;

/// Duplicate acknowledgments that make a loss (RFC 5681 §3.2).
const DUPLICATE_THRESHOLD: u32 = 3;
/// New segments that may tell whether a timeout was spurious (RFC 5682 §2.1 step 2b).
const TEST_SEGMENTS: u32 = 2;

/// Forward RTO-recovery (RFC 5682): after a timeout, new segments are sent before old ones are sent again, to see whether the
/// flight is still coming in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frto {
    /// The timeout counts as a loss.
    Off,
    /// Step 2: the oldest segment was sent again, nothing has come back.
    AwaitFirstAck,
    /// Step 3: it has been acknowledged; this many octets of new data may be sent, and no retransmission.
    AwaitSecondAck(u32),
}

/// Where recovery stands. While something is repaired: SND.NXT when it was found. An acknowledgment that reaches it is the end.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Open,
    /// Fast recovery.
    Fast { recover: SeqNumber, prr: Prr },
    /// After a timeout. Duplicate acknowledgments below `recover` answer our own retransmissions and mean no loss (RFC 6582
    /// §3.2 step 4, §4.1).
    Loss { recover: SeqNumber, frto: Frto },
}

/// What is needed to find out that the last reduction was spurious, because nothing had been lost.
#[derive(Clone, Copy, Debug)]
struct UndoState {
    /// SND.UNA and SND.NXT when it began.
    from: SeqNumber,
    until: SeqNumber,
    /// Whether recovery began without a timeout.
    is_fast: bool,
    /// The first retransmission, until an acknowledgment covers it: where, and when.
    first_retransmission: Option<(SeqNumber, Instant)>,
    /// Octets retransmitted that no D-SACK has covered (undo_retrans of Linux); `None` before the first retransmission. At zero, all
    /// retransmissions were spurious.
    undo_retrans: Option<u32>,
    /// Once recovery is over: SND.NXT then. When SND.UNA has passed it, nothing more can be learned.
    expires: Option<SeqNumber>,
}

/// The state of recovery.
#[derive(Debug, Default)]
pub struct Recovery {
    phase: Phase,
    undo_state: Option<UndoState>,
    pub(super) tail: TailProbe,
    /// Duplicate acknowledgments in a row, without SACK.
    duplicates: u32,
    /// By how much they inflate the window: each says that a segment has left the network (RFC 5681 §3.2).
    dupack_inflation: u32,
    /// A segment was just found lost and goes out at once, whatever the window says.
    force_retransmit: bool,
    /// Nothing had been lost, and nobody has asked about that yet.
    undone: bool,
}

impl Recovery {
    /// Whether a loss is being repaired.
    #[inline]
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// Whether there is nothing to be repaired, proved or undone.
    #[inline]
    pub(super) fn is_undisturbed(&self) -> bool {
        let is_counting = self.duplicates > 0 || self.dupack_inflation > 0 || self.force_retransmit;
        !is_counting && !self.is_active() && self.undo_state.is_none() && self.tail == TailProbe::None
    }

    /// Whether the connection may be suspended: nothing is in recovery, and all that is to be kept is whether a tail probe awaits its
    /// answer. The state that could undo a recovery which is over is given up.
    pub(super) fn is_quiet(&self) -> bool {
        let is_over = self.undo_state.is_none_or(|undo| undo.expires.is_some());
        is_over
            && !self.is_active()
            && self.tail != TailProbe::Due
            && self.duplicates == 0
            && self.dupack_inflation == 0
    }

    /// Whether a probe of the tail was sent, everything has been acknowledged, and it is not known yet to which of the two
    /// segments that was the answer.
    pub(super) fn awaits_probe(&self) -> bool {
        self.tail != TailProbe::None
    }

    /// The state of which that was kept; everything up to `una` has been acknowledged.
    pub(super) fn resume(awaits_probe: bool, una: SeqNumber) -> Self {
        let tail = if awaits_probe { TailProbe::Sent { end: una, is_retransmission: true } } else { TailProbe::None };
        Self { tail, ..Self::default() }
    }

    /// How much may be in flight, given the controller's window.
    ///
    /// What duplicate acknowledgments say has left the network may be replaced: by two new segments even before a loss is
    /// certain (limited transmit, RFC 3042). With SACK, what was sacked has left the flight instead.
    pub fn allowance(&self, window: u32, in_flight: u32) -> u32 {
        match &self.phase {
            Phase::Fast { prr, .. } => prr.window().saturating_add(self.dupack_inflation),
            Phase::Loss { frto: Frto::AwaitSecondAck(left), .. } => in_flight.saturating_add(*left),
            _ => window.saturating_add(self.dupack_inflation),
        }
    }

    /// Whether it has turned out since this was last asked that nothing had been lost.
    pub fn take_undone(&mut self) -> bool {
        std::mem::take(&mut self.undone)
    }

    /// Whether what is sent again now follows from a timeout.
    pub fn follows_timeout(&self) -> bool {
        matches!(self.phase, Phase::Loss { .. })
    }

    /// Whether no retransmission is to be sent, for new data tell more (F-RTO).
    pub fn holds_back(&self) -> bool {
        matches!(self.phase, Phase::Loss { frto: Frto::AwaitSecondAck(_), .. })
    }

    /// Whether the next lost segment goes out at once. Asked when it does, so the answer counts once.
    #[inline]
    pub fn take_force_retransmit(&mut self) -> bool {
        std::mem::take(&mut self.force_retransmit)
    }

    /// A segment was sent, for the first time or not.
    pub fn sent(&mut self, range: &SendRange, is_retransmission: bool, now: Instant) {
        match &mut self.phase {
            Phase::Fast { prr, .. } => prr.sent(range.len()),
            Phase::Loss { frto: Frto::AwaitSecondAck(left), .. } => *left = left.saturating_sub(range.len()),
            _ => {}
        }
        if let Some(undo) = self.undo_state.as_mut().filter(|undo| is_retransmission && undo.expires.is_none()) {
            if undo.undo_retrans.is_none() {
                undo.first_retransmission = Some((range.seq, now));
            }
            undo.undo_retrans = Some(undo.undo_retrans.unwrap_or(0).saturating_add(range.len()));
        }
    }

    /// An acknowledgment has come. Returns after how long the flight is to be looked at again, if at all.
    pub fn acknowledged(
        &mut self,
        event: &AckEvent,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) -> Option<Duration> {
        // Nearly all of them.
        if self.is_undisturbed()
            && event.acknowledged.octets > 0
            && event.acknowledged.dsack.is_none()
            && send.is_in_order()
        {
            congestion.acknowledged(&event.ack);
            return None;
        }
        let is_probes = self.take_probe_answer(event, send, congestion);
        let mut is_spurious = self.eifel_detects(event, send);
        if is_spurious && self.undo_state.is_some_and(|undo| undo.is_fast) {
            // The peer's D-SACK will say so too, a round trip later (RFC 8985 §6.2 step 4), when the undo state is gone.
            let (una, nxt) = (send.una(), send.nxt());
            send.rack().saw_spurious_retransmission(una, nxt);
        }
        if let Some(block) = event.acknowledged.dsack.filter(|_| !is_probes) {
            is_spurious |= self.dsack_covers(block, send);
        }
        if is_spurious || self.frto_detects(event, send) {
            self.undo(send, congestion);
        }
        if event.sack {
            self.on_ack_sack(event, send, congestion)
        } else {
            self.on_ack_newreno(event, send, congestion)
        }
    }

    /// What an acknowledgment says of a tail probe. Returns whether a D-SACK is about it.
    fn take_probe_answer(&mut self, event: &AckEvent, send: &SendSide, congestion: &mut impl Controller) -> bool {
        match self.tail.process_ack(event, send) {
            ProbeAnswer::Nothing => false,
            ProbeAnswer::Duplicate => true,
            ProbeAnswer::Repair => {
                // The controller hears of the loss all the same, and no undoing reaches back beyond this.
                self.undo_state = None;
                congestion.lost(send.peak());
                false
            }
        }
    }

    /// Eifel detection (RFC 3522): what was sent again first is acknowledged by a segment that left before.
    fn eifel_detects(&mut self, event: &AckEvent, send: &SendSide) -> bool {
        let Some(undo) = &mut self.undo_state else { return false };
        let Some((_, at)) = undo.first_retransmission.filter(|(start, _)| start.precedes(send.una())) else {
            return false;
        };
        undo.first_retransmission = None;
        event.time.answers_before(at)
    }

    /// D-SACK (RFC 2883, RFC 3708): whether now everything that was sent again has arrived twice.
    fn dsack_covers(&mut self, (left, right): (SeqNumber, SeqNumber), send: &mut SendSide) -> bool {
        let Some(undo) = &mut self.undo_state else { return false };
        if !undo.from.at_or_before(left) || !right.at_or_before(undo.until) {
            return false;
        }
        let Some(undo_retrans) = &mut undo.undo_retrans else { return false };
        *undo_retrans = undo_retrans.saturating_sub(right.since(left));
        let all = *undo_retrans == 0;
        let (una, nxt) = (send.una(), send.nxt());
        send.rack().saw_spurious_retransmission(una, nxt);
        all
    }

    /// F-RTO (RFC 5682 §2.1 and §3.1): whether the flight comes in after a timeout as if there had been none.
    fn frto_detects(&mut self, event: &AckEvent, send: &mut SendSide) -> bool {
        let Phase::Loss { recover, frto } = &mut self.phase else { return false };
        let advanced = event.acknowledged.octets > 0;
        match *frto {
            Frto::AwaitFirstAck if advanced && send.una().precedes(*recover) => {
                let can_test = send.has_unsent() && send.flight_size() < send.window();
                *frto = if can_test { Frto::AwaitSecondAck(TEST_SEGMENTS * send.mss()) } else { Frto::Off };
            }
            Frto::AwaitFirstAck if !event.sack && event.is_duplicate => *frto = Frto::Off,
            Frto::AwaitSecondAck(_) if !event.sack && !event.is_duplicate => return advanced,
            Frto::AwaitSecondAck(_) if !event.sack || recover.precedes(send.rack().highest()) => {
                // It was a loss: the next segment goes out beside the two new ones (step 3a).
                (*frto, self.force_retransmit) = (Frto::Off, true);
            }
            Frto::AwaitSecondAck(_) => {
                return event.acknowledged.original.is_some_and(|start| start.precedes(*recover));
            }
            _ => {}
        }
        false
    }

    /// Nothing had been lost.
    fn undo(&mut self, send: &mut SendSide, congestion: &mut impl Controller) {
        if self.undo_state.take().is_some_and(|undo| undo.is_fast) {
            send.rack().saw_reordering();
        }
        congestion.undo();
        send.mark_none_lost();
        *self = Self { tail: self.tail, undone: true, ..Self::default() };
    }

    /// An acknowledgment, with SACK.
    fn on_ack_sack(
        &mut self,
        event: &AckEvent,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) -> Option<Duration> {
        let was_fast = matches!(self.phase, Phase::Fast { .. });
        if self.has_ended(send) {
            send.rack().recovered();
            if was_fast && self.undo_state.is_some_and(|undo| undo.undo_retrans.is_none()) {
                self.undo(send, congestion); // everything has arrived before anything was sent again
            }
        }
        let scan = send.detect_losses(self.is_active(), event.smoothed, event.time.now);
        let (delivered, advanced) = (event.acknowledged.delivered, event.acknowledged.octets > 0);
        match &mut self.phase {
            Phase::Fast { prr, .. } if delivered > 0 => {
                prr.acknowledged(delivered, send.in_flight(), advanced && !scan.found, send.mss());
            }
            Phase::Fast { .. } => {}
            Phase::Open if scan.found => self.begin(delivered, send, congestion),
            Phase::Open | Phase::Loss { .. } if advanced && !was_fast => congestion.acknowledged(&event.ack),
            Phase::Open | Phase::Loss { .. } => {}
        }
        scan.wait
    }

    /// The time of what was overtaken is up. Returns as [`Recovery::acknowledged`] does.
    pub fn reordering_timed_out(
        &mut self,
        now: Instant,
        smoothed: Option<Duration>,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) -> Option<Duration> {
        let scan = send.detect_losses(self.is_active(), smoothed, now);
        match &mut self.phase {
            Phase::Open if scan.found => self.begin(0, send, congestion),
            // What is lost has left the flight, but nothing has arrived that it could be replaced for: one segment goes out.
            Phase::Fast { prr, .. } if scan.found => {
                prr.acknowledged(0, send.in_flight(), false, send.mss());
                self.force_retransmit = true;
            }
            _ => {}
        }
        scan.wait
    }

    /// Ends recovery where SND.UNA has come far enough; whether it has.
    fn has_ended(&mut self, send: &SendSide) -> bool {
        if let Some(undo) = &self.undo_state
            && undo.expires.is_some_and(|expires| expires.precedes(send.una()))
        {
            self.undo_state = None;
        }
        let (Phase::Fast { recover, .. } | Phase::Loss { recover, .. }) = self.phase else { return false };
        if send.una().precedes(recover) {
            return false;
        }
        (self.phase, self.dupack_inflation) = (Phase::Open, 0);
        if let Some(undo) = &mut self.undo_state {
            undo.expires = Some(send.nxt());
        }
        true
    }

    /// Begins fast recovery, of whose losses an acknowledgment of `delivered` octets has told.
    fn begin(&mut self, delivered: u32, send: &SendSide, congestion: &mut impl Controller) {
        congestion.lost(send.peak());
        // What this acknowledgment covers was in flight too (RFC 9937 §6.1).
        let at_start = (send.flight_size() + delivered).saturating_sub(send.sacked() + self.dupack_inflation);
        let mut prr = Prr::new(congestion.window(), at_start);
        prr.acknowledged(delivered, send.in_flight().saturating_sub(self.dupack_inflation), false, send.mss());
        self.phase = Phase::Fast { recover: send.nxt(), prr };
        self.undo_state = Some(UndoState::new(send, true));
        self.tail = TailProbe::None;
    }

    /// An acknowledgment, without SACK: NewReno.
    fn on_ack_newreno(
        &mut self,
        event: &AckEvent,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) -> Option<Duration> {
        let octets = event.acknowledged.octets;
        if octets > 0 {
            self.duplicates = 0;
            let (was_fast, was_loss) =
                (matches!(self.phase, Phase::Fast { .. }), matches!(self.phase, Phase::Loss { .. }));
            self.has_ended(send);
            match self.phase {
                Phase::Fast { .. } => self.partial_ack(octets, send),
                Phase::Open | Phase::Loss { .. } if was_fast => self.dupack_inflation = 0,
                Phase::Open if !was_loss => {
                    self.dupack_inflation = 0;
                    congestion.acknowledged(&event.ack);
                }
                Phase::Open | Phase::Loss { .. } => {
                    // One retransmission may let the peer acknowledge what had arrived long before (RFC 3465 §2.3).
                    self.dupack_inflation = 0;
                    let octets = event.ack.octets.min(send.mss());
                    congestion.acknowledged(&Ack { octets, ..event.ack });
                }
            }
        } else if event.is_duplicate {
            self.duplicate_ack(send, congestion);
        }
        None
    }

    /// A partial acknowledgment: the next hole begins at SND.UNA (RFC 6582 §3.2 step 3). Behind the segment sent again it
    /// covers what duplicate acknowledgments have accounted for already (RFC 9937 §6.2).
    fn partial_ack(&mut self, octets: u32, send: &mut SendSide) {
        let known = self.dupack_inflation.min(octets.saturating_sub(send.mss()));
        self.dupack_inflation -= known;
        send.mark_first_lost();
        self.force_retransmit = true;
        let in_flight = send.in_flight().saturating_sub(self.dupack_inflation);
        if let Phase::Fast { prr, .. } = &mut self.phase {
            prr.acknowledged(octets - known, in_flight, false, send.mss());
        }
    }

    fn duplicate_ack(&mut self, send: &mut SendSide, congestion: &mut impl Controller) {
        self.duplicates += 1;
        let mss = send.mss();
        match &mut self.phase {
            Phase::Open if self.duplicates < DUPLICATE_THRESHOLD => self.dupack_inflation += mss,
            Phase::Open if self.duplicates == DUPLICATE_THRESHOLD => {
                self.dupack_inflation += mss;
                send.mark_first_lost();
                self.force_retransmit = true;
                self.begin(mss, send, congestion);
            }
            // No more than was there can arrive, however many duplicates a peer makes up.
            Phase::Fast { prr, .. } if prr.outstanding() > 0 => {
                self.dupack_inflation = self.dupack_inflation.saturating_add(mss);
                prr.acknowledged(mss, send.in_flight().saturating_sub(self.dupack_inflation), false, mss);
            }
            _ => {}
        }
    }

    /// What was in flight was too large for the path, and is sent again in pieces. That is no congestion, but nothing is left on
    /// the way whose acknowledgments would pace it: "only one segment should be retransmitted until acknowledgements begin to
    /// arrive again" (RFC 1191 §6.5, RFC 8201 §5.4). A repair that is under way has its own pace.
    #[cold]
    pub fn did_not_fit(&mut self, send: &SendSide, congestion: &mut impl Controller) {
        if self.is_active() {
            return;
        }
        congestion.restarted();
        *self = Self {
            phase: Phase::Loss { recover: send.nxt(), frto: Frto::Off },
            force_retransmit: true,
            ..Self::default()
        };
    }

    /// The retransmission timer has expired, `first` unless it was for what it expired for before. What had time to arrive is
    /// taken for lost, and slow start repairs it.
    pub fn timed_out(
        &mut self,
        first: bool,
        now: Instant,
        smoothed: Option<Duration>,
        sack: bool,
        send: &mut SendSide,
        congestion: &mut impl Controller,
    ) {
        congestion.timed_out(send.flight_size(), first);
        let was_open = !self.is_active();
        if first {
            // Where recovery was under way, the reduction before this one was not spurious.
            self.undo_state = was_open.then(|| UndoState::new(send, false));
        }
        let frto = if was_open { Frto::AwaitFirstAck } else { Frto::Off };
        self.phase = Phase::Loss { recover: send.nxt(), frto };
        (self.tail, self.duplicates, self.dupack_inflation, self.force_retransmit) = (TailProbe::None, 0, 0, true);
        if sack {
            send.mark_overdue_lost(smoothed, now);
        } else {
            send.mark_all_lost();
        }
    }
}

impl UndoState {
    fn new(send: &SendSide, is_fast: bool) -> Self {
        Self {
            from: send.una(),
            until: send.nxt(),
            is_fast,
            first_retransmission: None,
            undo_retrans: None,
            expires: None,
        }
    }
}
