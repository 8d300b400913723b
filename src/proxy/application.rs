//! The application: what each event means for a pair.

use super::{
    Decision, Ended, Ends, Failure, From, Review, Router, Said, Target,
    pair::{Number, Pair, Pairs, Phase, Side},
    parted::Hush,
};
use crate::{
    app::contain,
    stack::{ConnectError, ConnectionId, Event, Spliced, TimerWheel},
    tcp::CloseReason,
    time::Instant,
    worker::{Application, Context},
};
use std::fmt;

/// Most pairs that are found overdue in one turn; those behind them are in the next.
const OVERDUE_AT_ONCE: u32 = 64;

/// Most pairs that are reviewed in one turn.
const REVIEWED_AT_ONCE: Number = 1_024;

/// How often a router may change its mind about one client before something happens in between.
const DECISIONS_AT_ONCE: u32 = 16;

/// Clients' connections, each with one to a backend.
pub struct Proxy<R: Router> {
    pub(super) router: R,
    pub(super) pairs: Pairs<R::Session>,
    /// One deadline for each pair: the earliest it ever had, as those of the stack.
    timers: TimerWheel,
    /// Those that are kept quiet.
    pub(super) hushed: Vec<Number>,
    /// Until when there is hardly room for more pairs outside the stack.
    pub(super) full_until: Instant,
    /// While pairs are reviewed: those up to here have been.
    reviewed: Option<Number>,
}

impl<R: Router> fmt::Debug for Proxy<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

impl<R: Router> Proxy<R> {
    /// One without connections yet.
    pub fn new(router: R) -> Self {
        Self {
            router,
            pairs: Pairs::new(),
            timers: TimerWheel::new(0),
            hushed: Vec::new(),
            full_until: Instant::ZERO,
            reviewed: None,
        }
    }

    /// Who says where they go.
    pub fn router(&self) -> &R {
        &self.router
    }

    /// And so that it can be changed.
    pub fn router_mut(&mut self) -> &mut R {
        &mut self.router
    }

    /// Clients that there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a connection is one of a pair's: for an application that has others as well.
    pub fn has(&self, id: ConnectionId) -> bool {
        self.pairs.find(id).is_some()
    }

    fn accept(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let now = cx.now();
        // It may have been reset in the batch that opened it.
        let Some(mut stream) = cx.stream(id) else { return };
        stream.set_nodelay(true);
        stream.hold_acknowledgments(true);
        let ends = Ends { client: stream.peer_addr(), service: stream.local_addr() };
        drop(stream);
        let router = &mut self.router;
        let Some(session) = contain(cx, Some(id), |_| router.open(&ends)) else { return };
        let phase = Phase::Looking { wanted: 0 };
        let number = self.pairs.insert(Pair {
            session,
            client: Some(id),
            backend: None,
            phase,
            may_part: false,
            hush: Hush::default(),
            is_answered: false,
            since: now,
        });
        self.mind(number);
        self.look(number, cx);
    }

    /// Asks the router, where the client has said enough.
    fn look(&mut self, number: Number, cx: &mut Context<'_>) {
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let (Phase::Looking { wanted }, Some(client)) = (pair.phase, pair.client) else { return };
        let Some(stream) = cx.stream(client) else { return };
        let (is_all, length) = (stream.peer_has_closed(), stream.readable_len());
        drop(stream);
        if length < wanted && !is_all {
            return;
        }
        let (router, session) = (&mut self.router, &mut pair.session);
        let decision = contain(cx, Some(client), |cx| {
            let pieces =
                cx.stream(client).map(|stream| router.look(session, Said { pieces: stream.readable_pieces(), is_all }));
            pieces.unwrap_or(Decision::Reset)
        });
        match decision {
            Some(Decision::Wait { octets }) if !is_all => {
                // It is not to wait for us while we wait for it.
                hold_acknowledgments(client, false, cx);
                // More than there is, or it would be asked without end.
                pair.phase = Phase::Looking { wanted: octets.max(length + 1) };
            }
            Some(decision) => self.decide(number, decision, cx),
            None => self.end(number, Ended::Refused, cx),
        }
    }

    /// Does as the router says, and asks it again where that cannot be done.
    fn decide(&mut self, number: Number, mut decision: Decision, cx: &mut Context<'_>) {
        for _ in 0..DECISIONS_AT_ONCE {
            let target = match decision {
                Decision::To(target) => target,
                Decision::Close => return self.close(number, cx),
                Decision::Reset | Decision::Wait { .. } => return self.end(number, Ended::Refused, cx),
            };
            let client = self.pairs.get_mut(number).and_then(|pair| pair.client);
            let error = match connect(&target, client, cx) {
                Ok(id) => return self.connecting(number, id, target, cx),
                Err(error) => error,
            };
            match self.ask_elsewhere(number, Failure::NotBegun(error), cx) {
                Some(other) => decision = other,
                None => break,
            }
        }
        self.end(number, Ended::Unreached, cx);
    }

    /// Asks the router what else there is; `None` where there is nothing.
    fn ask_elsewhere(&mut self, number: Number, why: Failure, cx: &mut Context<'_>) -> Option<Decision> {
        let pair = self.pairs.get_mut(number)?;
        let (router, session, client) = (&mut self.router, &mut pair.session, pair.client);
        let decision = contain(cx, client, |_| router.failed(session, why))?;
        matches!(decision, Decision::To(_) | Decision::Close).then_some(decision)
    }

    fn connecting(&mut self, number: Number, id: ConnectionId, target: Target, cx: &mut Context<'_>) {
        let now = cx.now();
        let Some(pair) = self.pairs.get_mut(number) else { return };
        (pair.backend, pair.phase, pair.since) = (Some(id), Phase::Connecting { skip: target.skip }, now);
        pair.may_part = target.splice;
        let client = pair.client;
        self.pairs.name(id, number, Side::Backend);
        if let Some(client) = client {
            hold_acknowledgments(client, target.splice, cx);
        }
        let written = cx.stream(id).map_or(0, |mut stream| {
            stream.set_nodelay(true);
            stream.write(&target.preface)
        });
        self.mind(number);
        // A part of it would let the client say the rest.
        if written < target.preface.len() {
            self.end(number, Ended::Dropped, cx);
        }
    }

    /// The backend has answered.
    fn connected(&mut self, number: Number, cx: &mut Context<'_>) {
        let now = cx.now();
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let Phase::Connecting { skip } = pair.phase else { return };
        let (router, session, client) = (&mut self.router, &mut pair.session, pair.client);
        (pair.phase, pair.since) = (Phase::Carrying, now);
        if contain(cx, client, |_| router.connected(session)).is_none() {
            return self.end(number, Ended::Refused, cx);
        }
        if let Some(mut stream) = client.and_then(|client| cx.stream(client)) {
            stream.consume(skip.min(stream.readable_len()));
        }
        if self.part(number, cx) {
            return;
        }
        if let Some(client) = client {
            hold_acknowledgments(client, false, cx);
        }
        self.mind(number);
        self.carry(number, Side::Client, cx);
    }

    /// Moves whatever can be moved, both ways: first what the side says that there is news of. Its end may be all that is left of it, and
    /// it is gone once anything else was done to it.
    pub(super) fn carry(&mut self, number: Number, news: Side, cx: &mut Context<'_>) {
        if self.part(number, cx) {
            return;
        }
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let (Some(client), Some(backend)) = (pair.client, pair.backend) else { return };
        pair.since = cx.now();
        let speaker = if news == Side::Client { client } else { backend };
        // An end is passed on by whoever hears of it.
        if !self.may_carry(number, speaker, cx) {
            return;
        }
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let mut ways = [(client, backend, Side::Client), (backend, client, Side::Backend)];
        if news == Side::Backend {
            ways.reverse();
        }
        for (from, to, side) in ways {
            // Where either has gone, its end is on the way to us.
            let Spliced { moved, ended, .. } = cx.splice(from, to).unwrap_or_default();
            pair.is_answered |= ended && side == Side::Backend;
            if moved > 0 {
                pair.hush.moved(moved);
                self.router.carried(&mut pair.session, side.towards(), moved);
            }
        }
        self.hush(number, cx);
    }

    fn ready(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let Some((number, side)) = self.pairs.find(id) else { return };
        match self.pairs.get_mut(number).map(|pair| pair.phase) {
            Some(Phase::Looking { .. }) => self.look(number, cx),
            Some(Phase::Carrying) => self.carry(number, side, cx),
            // Whatever the client says waits.
            Some(Phase::Connecting { .. } | Phase::Parted(_)) | None => {}
        }
    }

    fn closed(&mut self, id: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        let Some((number, side)) = self.pairs.find(id) else { return };
        self.pairs.take_side(number, side);
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let is_over = pair.client.is_none() && pair.backend.is_none();
        match (side, pair.phase) {
            (Side::Backend, Phase::Connecting { .. }) => self.give_up(number, Failure::Ended(reason), cx),
            // What the other end still has to hear is on its way, or waits in its send buffer.
            (_, Phase::Carrying) if reason == CloseReason::Finished && !is_over => {}
            (_, Phase::Carrying) if reason == CloseReason::Finished => self.end(number, Ended::Finished, cx),
            _ if reason == CloseReason::Aborted => self.end(number, Ended::Dropped, cx),
            (Side::Client, _) => self.end(number, Ended::ByClient, cx),
            (Side::Backend, _) => {
                if pair.is_answered {
                    self.let_read(number, cx);
                }
                self.end(number, Ended::ByBackend, cx);
            }
        }
    }

    /// A backend that has answered, and will hear no more, resets what still comes (RFC 9293 SHLD-3). Its client may be about to read the
    /// answer, which a RST would keep it from.
    fn let_read(&mut self, number: Number, cx: &mut Context<'_>) {
        if let Some(mut stream) = self.pairs.take_side(number, Side::Client).and_then(|id| cx.stream(id)) {
            stream.close_discarding();
        }
    }

    /// Closes the client's connection in order.
    fn close(&mut self, number: Number, cx: &mut Context<'_>) {
        self.let_read(number, cx);
        self.end(number, Ended::Refused, cx);
    }

    /// Resets whatever is left of a pair.
    pub(super) fn end(&mut self, number: Number, how: Ended, cx: &mut Context<'_>) {
        self.timers.cancel(number);
        if let Some(Phase::Parted(parted)) = self.pairs.get_mut(number).map(|pair| pair.phase) {
            self.reset_parted(number, parted.id, cx);
        }
        let Some(pair) = self.pairs.remove(number) else { return };
        for id in [pair.client, pair.backend].into_iter().flatten() {
            if let Some(mut stream) = cx.stream(id) {
                stream.abort();
            }
        }
        let router = &mut self.router;
        contain(cx, None, |_| router.ended(pair.session, how));
    }

    pub(super) fn mind(&mut self, number: Number) {
        let Some(pair) = self.pairs.get_mut(number) else { return };
        let deadline = pair.deadline(&self.router.patience(&pair.session));
        self.timers.arm(number, deadline);
    }

    /// The timer of a pair has fired; since it was set the deadline may have moved.
    fn look_at_clock(&mut self, number: Number, cx: &mut Context<'_>) {
        let Some(pair) = self.pairs.get_mut(number) else { return };
        if pair.deadline(&self.router.patience(&pair.session)) > cx.now() {
            return self.mind(number);
        }
        match pair.phase {
            Phase::Looking { .. } => self.end(number, Ended::Undecided, cx),
            Phase::Carrying => self.end(number, Ended::Idle, cx),
            Phase::Connecting { .. } => self.give_up(number, Failure::TimedOut, cx),
            Phase::Parted(_) => self.look_at_parted(number, cx),
        }
    }

    /// Asks the router about some that have a backend. Whether there are more.
    fn review_some(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(from) = self.reviewed else { return false };
        let to = self.pairs.end().min(from + REVIEWED_AT_ONCE);
        self.reviewed = (to < self.pairs.end()).then_some(to);
        for number in from..to {
            if !self.review(number, cx) {
                self.reviewed = Some(number);
                break;
            }
        }
        self.reviewed.is_some()
    }

    /// Asks the router about one of them; false where it is to be asked again, as there is no room to do as it says.
    fn review(&mut self, number: Number, cx: &mut Context<'_>) -> bool {
        let Some(pair) = self.pairs.get_mut(number) else { return true };
        let (router, session, phase, backend) = (&mut self.router, &mut pair.session, pair.phase, pair.backend);
        if backend.is_none() && !matches!(phase, Phase::Parted(_)) {
            return true;
        }
        // One that was over before anybody looked is nobody's to decide on.
        if let Phase::Parted(parted) = phase
            && cx.stack().pair(parted.id).is_none()
        {
            self.end_parted(number, parted.id, cx);
            return true;
        }
        match contain(cx, pair.client, |_| router.review(session)) {
            Some(Review::Keep) => {}
            Some(Review::Move(via)) => match (phase, backend) {
                (Phase::Parted(parted), _) => self.point_parted(number, parted.id, &via, cx),
                (_, Some(backend)) => {
                    let now = cx.now();
                    cx.stack().set_via(now, backend, via);
                }
                _ => {}
            },
            Some(Review::Reset) if matches!(phase, Phase::Connecting { .. }) => {
                self.give_up(number, Failure::Revoked, cx)
            }
            Some(Review::Reset) | None => {
                let has_room = |id, cx: &mut Context<'_>| cx.stack().may_reset_pair(id);
                if matches!(phase, Phase::Parted(parted) if !has_room(parted.id, cx)) {
                    return false;
                }
                self.end(number, Ended::Revoked, cx);
            }
        }
        true
    }

    /// Has another backend than the one that has not answered.
    fn give_up(&mut self, number: Number, why: Failure, cx: &mut Context<'_>) {
        if let Some(mut stream) = self.pairs.take_side(number, Side::Backend).and_then(|id| cx.stream(id)) {
            stream.abort();
        }
        match self.ask_elsewhere(number, why, cx) {
            Some(decision) => self.decide(number, decision, cx),
            None => self.end(number, Ended::Unreached, cx),
        }
    }
}

/// Says whether what a client says is to wait for its acknowledgment: what has none yet may go to the backend as it is.
pub(super) fn hold_acknowledgments(client: ConnectionId, hold: bool, cx: &mut Context<'_>) {
    if let Some(mut stream) = cx.stream(client) {
        stream.hold_acknowledgments(hold);
    }
}

/// Begins a connection to a backend; one that is to be made one with the client's offers what that has.
fn connect(target: &Target, client: Option<ConnectionId>, cx: &mut Context<'_>) -> Result<ConnectionId, ConnectError> {
    let id = match &target.from {
        From::Anywhere => cx.connect(target.remote)?,
        From::Address(source) => cx.connect_from(*source, target.remote)?,
        From::Via { source, ports, via } => cx.connect_via(*source, ports, target.remote, *via)?,
        From::Client { client, ports, via } => cx.connect_as(*client, ports, target.remote, *via)?,
    };
    if target.splice
        && let Some(terms) = client.and_then(|client| cx.stream(client)).map(|stream| stream.terms())
        && let Some(mut stream) = cx.stream(id)
    {
        stream.offer(terms);
    }
    Ok(id)
}

impl<R: Router> Application for Proxy<R> {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Accepted(id, _) => self.accept(id, cx),
            Event::Connected(id) => {
                if let Some((number, Side::Backend)) = self.pairs.find(id) {
                    self.connected(number, cx);
                }
            }
            Event::Ready(id) => self.ready(id, cx),
            Event::Closed(id, reason) => self.closed(id, reason, cx),
            _ => {}
        }
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        if self.router.turn(cx.now()) {
            self.reviewed = Some(0);
        }
        let has_more = self.review_some(cx);
        let hushed_until = self.look_at_hushed(cx);
        for _ in 0..OVERDUE_AT_ONCE {
            let Some(number) = self.timers.expire(cx.now()) else { break };
            self.look_at_clock(number, cx);
        }
        let deadlines = [self.timers.next_deadline(), hushed_until, has_more.then(|| cx.now())];
        deadlines.into_iter().flatten().min()
    }

    /// Whoever has a backend may go on; the others never will.
    fn draining(&mut self, cx: &mut Context<'_>) {
        for number in 0..self.pairs.end() {
            let has_backend = |phase| matches!(phase, Phase::Carrying | Phase::Parted(_));
            if self.pairs.get_mut(number).is_some_and(|pair| !has_backend(pair.phase)) {
                self.end(number, Ended::Revoked, cx);
            }
        }
    }
}
