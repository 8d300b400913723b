//! Whether backends take handshakes over: found out by a connection that begins as if the balancer had answered its SYN. A backend
//! whose kernel goes on with it answers a keep-alive; any other has never heard of it.

use super::{Ability, Finding, Route, Target};
use crate::{
    CloseReason,
    config::KeepAlive,
    lb::{HAND_OVER_WINDOW_SCALE, Promise},
    rng::splitmix64,
    stack::{Answered, ConnectionId, Via},
    tcp::TcpInfo,
    time::Instant,
    wire::Tunnel,
    worker::Context,
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// The keep-alive follows the segment that opens the connection, which must be by itself.
const SOON: Duration = Duration::from_millis(10);
/// How often it is asked, and looked at.
const AGAIN: Duration = Duration::from_millis(50);

/// What a timestamps option takes of each segment.
const TIMESTAMPS_LEN: u32 = 12;

/// A service's name, and a backend's.
type Name = (String, String);

/// A connection that is to find it out.
#[derive(Debug)]
struct Probe {
    name: Name,
    promise: Promise,
    begun: Instant,
    until: Instant,
    fall: u32,
}

/// What is known of a backend.
#[derive(Debug, Default)]
struct Known {
    told: Option<Ability>,
    /// Probes in a row that have failed.
    failed: u32,
}

/// Those of a worker.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    open: HashMap<ConnectionId, Probe>,
    known: HashMap<Name, Known>,
    findings: VecDeque<Finding>,
}

impl HandedOver {
    /// Only these are of interest from now on.
    pub fn retain<'a>(&mut self, targets: impl Iterator<Item = &'a Target>) {
        let names: Vec<Name> = targets.filter(|target| target.hand_over.is_some()).map(name).collect();
        self.known.retain(|name, _| names.contains(name));
    }

    /// Asks a backend that has just answered a SYN itself, as it is told to by `info`.
    pub fn begin(&mut self, target: &Target, info: &TcpInfo, cx: &mut Context<'_>) {
        let (Some(address), Ok(Route { source, ports, via })) = (target.hand_over, &target.route) else { return };
        let name = name(target);
        if self.open.values().any(|probe| probe.name == name) {
            return;
        }
        let promise = promise_of(info);
        let answered = Answered {
            mss: promise.mss,
            window: promise.window,
            window_scale: promise.window_scale.then_some(HAND_OVER_WINDOW_SCALE),
            sack: promise.sack,
            timestamps: promise.timestamps,
        };
        let (now, flow) = (cx.now(), splitmix64(target.hash(cx.now().as_nanos())));
        let via = Via { tunnel: via.tunnel.map(|tunnel| Tunnel { flow, ..tunnel }), ..*via };
        // Where no port is free, the next check asks.
        let Ok(id) = cx.stack().connect_answered(now, address.into(), *source, ports, via, answered) else { return };
        if let Some(mut stream) = cx.stream(id) {
            stream.set_keep_alive(Some(KeepAlive { idle: SOON, interval: AGAIN, probes: u32::MAX }));
        }
        let (until, fall) = (now + target.check.timeout, target.check.fall);
        self.open.insert(id, Probe { name, promise, begun: now, until, fall });
    }

    /// Looks who has answered, and who has not in time.
    pub fn advance(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let mut over = Vec::new();
        for (&id, probe) in &self.open {
            let heard = cx.stream(id).is_some_and(|stream| stream.info().heard > probe.begun);
            if heard {
                over.push((id, Ok(())));
            } else if now >= probe.until {
                let why = "it drops them: it may have another cookie master, or its clock may be off by minutes";
                over.push((id, Err(why.to_owned())));
            }
        }
        for (id, outcome) in over {
            self.end(id, outcome);
            if let Some(mut stream) = cx.stream(id) {
                stream.abort();
            }
        }
    }

    /// A connection has ended by itself; whether it was one of these.
    pub fn closed(&mut self, id: ConnectionId, reason: CloseReason) -> bool {
        if !self.open.contains_key(&id) {
            return false;
        }
        if reason == CloseReason::ResetByPeer {
            let why = "it resets them: run `xskip backend attach --cookie-master` there, and let its listeners speak plain TCP";
            self.end(id, Err(why.to_owned()));
        } else {
            // The stack's own trouble says nothing of the backend.
            self.open.remove(&id);
        }
        true
    }

    fn end(&mut self, id: ConnectionId, outcome: Result<(), String>) {
        let Some(Probe { name, promise, fall, .. }) = self.open.remove(&id) else { return };
        let known = self.known.entry(name.clone()).or_default();
        known.failed = if outcome.is_ok() { 0 } else { known.failed.saturating_add(1) };
        let was_able = known.told.as_ref().is_some_and(|told| told.takes_over.is_ok());
        if was_able && outcome.is_err() && known.failed < fall {
            return; // as a check that fails once is no news
        }
        let ability = Ability { takes_over: outcome, promise: Some(promise) };
        // Whoever hears it may have forgotten what was told before.
        known.told = Some(ability.clone());
        let (service, backend) = name;
        self.findings.push_back(Finding { service, backend, ability });
    }

    /// What was found out.
    pub fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// When to look again.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        (!self.open.is_empty()).then(|| now + SOON)
    }

    /// Nobody wants to know any more.
    pub fn abandon(&mut self, cx: &mut Context<'_>) {
        for (id, _) in self.open.drain() {
            if let Some(mut stream) = cx.stream(id) {
                stream.abort();
            }
        }
    }
}

fn name(target: &Target) -> Name {
    (target.service.clone(), target.backend.clone())
}

/// What a backend has promised in its SYN-ACK.
fn promise_of(info: &TcpInfo) -> Promise {
    let of_options = if info.timestamps { TIMESTAMPS_LEN } else { 0 };
    Promise {
        mss: u16::try_from(info.mss + of_options).unwrap_or(u16::MAX),
        window: u16::try_from(info.send_window).unwrap_or(u16::MAX).min(Promise::MAX_WINDOW),
        timestamps: info.timestamps,
        sack: info.sack,
        window_scale: info.window_scaling,
    }
}
