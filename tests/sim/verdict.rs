//! A run from beginning to end, and what must hold of its end.

use crate::{
    apps::{App, Ending},
    scenario::Scenario,
    world::World,
};
use std::{
    panic::{self, AssertUnwindSafe},
    time::Duration,
};
use xskip_core::{CloseReason, config::TcpConfig, stack::SynMode, time::Instant};

/// In virtual time, nothing takes longer: R2 takes seven minutes, and a slow application some more.
const LONGEST: Duration = Duration::from_secs(4 * 3_600);
/// Whoever gives up has heard nothing for so long, at least.
const PATIENCE: Duration = Duration::from_secs(10);
/// More frames than that, and something goes round in circles.
const MOST_FRAMES: u64 = 400_000;

/// What times of two hosts may be apart: clocks are as coarse as 10 ms.
const COARSE: Duration = Duration::from_millis(20);

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All that was said, in one number.
    pub digest: u64,
    /// Frames sent.
    pub frames: u64,
    /// When it was over.
    pub end: Instant,
}

/// Runs a seed. What went wrong comes with how it came to that.
pub fn try_seed(seed: u64) -> Result<Outcome, String> {
    try_scenario(&Scenario::from_seed(seed))
}

/// Runs a scenario. What went wrong comes with how it came to that.
pub fn try_scenario(scenario: &Scenario) -> Result<Outcome, String> {
    try_world(scenario, |_| ())
}

/// Runs a scenario in a world that is prepared in some way.
pub fn try_world(scenario: &Scenario, prepare: impl FnOnce(&mut World)) -> Result<Outcome, String> {
    let mut world = World::new(scenario);
    prepare(&mut world);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(&mut world, scenario)));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        format!("{text}\nat {}, in\n{}", world.now, world.trace.draw())
    })
}

/// Lets everything happen, and judges.
pub fn run(world: &mut World, scenario: &Scenario) -> Outcome {
    let mut impatient = false;
    let end = Instant::ZERO + LONGEST;
    loop {
        while world.step(end) {
            // Each segment that was made up may rightly draw an answer (RFC 9293 §3.10.7.4), and where two ends wait for each
            // other in vain there is nothing else to be heard for as long as whoever guesses is interested.
            assert!(world.frames < MOST_FRAMES + world.forged, "{} frames are too many", world.frames);
        }
        if world.is_over() {
            break;
        }
        // One end that heard of nothing waits for ever, unless its application loses patience.
        assert!(!impatient, "nothing happens any more");
        assert!(may_be_left_over(world, scenario), "nothing happens any more: {}", describe(world));
        impatient = true;
        world.abort_all();
    }
    for number in 0..world.plans.len() {
        judge(world, scenario, number, impatient);
    }
    for host in &mut world.hosts {
        assert_eq!(host.stack.flow_counts(), (0, 0, 0), "nothing is left");
        assert_eq!(host.stack.poll_timeout(), None, "nothing is expected any more");
        assert_eq!(host.stack.poll_event(), None, "everything has been said");
    }
    Outcome { digest: world.digest(), frames: world.frames, end: world.now }
}

fn describe(world: &World) -> String {
    let plans = 0..world.plans.len();
    plans.flat_map(|plan| world.apps(plan)).flatten().map(|app| format!("\n{app:?}")).collect()
}

/// Whether an end may have been left alone: by another that was not polite, or gave up.
fn may_be_left_over(world: &World, scenario: &Scenario) -> bool {
    (0..world.plans.len()).all(|plan| {
        let apps = world.apps(plan);
        let is_left = |end: usize| {
            let other = apps[1 - end].and_then(|other| other.closed);
            let rude =
                matches!(other, Some((CloseReason::Aborted | CloseReason::TimedOut | CloseReason::ResetByPeer, _)));
            rude || was_unheard(world, plan)
                || scenario.may_fail()
                || scenario.plans[plan].works.iter().any(|work| !work.ending.is_orderly())
        };
        (0..2).all(|end| apps[end].is_none_or(|app| app.closed.is_some()) || is_left(end))
    })
}

/// Whether a client with nothing to say has no server: every last segment of its handshake was lost, which it may never learn.
fn was_unheard(world: &World, plan: usize) -> bool {
    let apps = world.apps(plan);
    apps[1].is_none() && apps[0].is_some_and(|client| client.written == 0)
}

/// Whether such a client did learn it: its keep-alive asked a server that had long forgotten the handshake, and must answer with
/// an RST (RFC 9293 §3.5.1 and §3.8.4). An RST that comes before anything was asked is not excused by that.
fn has_asked_in_vain(world: &World, scenario: &Scenario, plan: usize) -> bool {
    let Some(keep_alive) = scenario.hosts[scenario.plans[plan].client].config.tcp.keep_alive else { return false };
    let is_reset = |client: &App| {
        let (opened, closed) = (client.opened, client.closed);
        let open_for = opened.zip(closed).map(|(opened, (_, closed))| closed - opened);
        let was_reset = closed.is_some_and(|(reason, _)| reason == CloseReason::ResetByPeer);
        was_reset && open_for.is_some_and(|long| long + COARSE >= keep_alive.idle)
    };
    let counts = &world.links[0].counts;
    let loses = counts.lost + counts.damaged > 0;
    loses && was_unheard(world, plan) && world.apps(plan)[0].is_some_and(is_reset)
}

/// Whether a client was reset by a server that had nothing but a cookie to know it by, because a later segment overtook the one
/// that had it.
fn was_mistaken(world: &World, scenario: &Scenario, plan: usize) -> bool {
    let is_reset = |client: &App| client.read == 0 && matches!(client.closed, Some((CloseReason::ResetByPeer, _)));
    scenario.syn_mode == SynMode::Cookie && world.apps(plan)[0].is_some_and(is_reset)
}

fn judge(world: &World, scenario: &Scenario, plan: usize, impatient: bool) {
    let apps = world.apps(plan);
    let forgotten = has_asked_in_vain(world, scenario, plan);
    let impatient = impatient || was_mistaken(world, scenario, plan) || forgotten;
    let works = scenario.plans[plan].works;
    let orderly = works.iter().all(|work| work.ending.is_orderly());
    let fooled = scenario.is_fooled();
    for end in 0..2 {
        let Some(app) = apps[end] else { continue };
        let (reason, _) = app.closed.expect("everything has come to its end");
        let written = apps[1 - end].map_or(0, |other| other.written);
        assert!(app.read <= written, "nothing comes that was not written: {app:?}");
        assert!(fooled || !app.saw_end || app.read == written, "the end comes after everything: {app:?}, {written}");
        let aborts = works.iter().any(|work| matches!(work.ending, Ending::Abort(_) | Ending::Close));
        match reason {
            CloseReason::Finished => {}
            CloseReason::TimedOut | CloseReason::Unreachable => {
                let quiet = app.silence >= PATIENCE;
                let reason = world.links.iter().map(|link| link.counts.lost + link.counts.damaged).sum::<u64>() > 0;
                let forgivable = scenario.may_fail() || quiet && reason;
                assert!(forgivable, "whoever gives up has heard nothing, and has reason to: {app:?}");
            }
            CloseReason::Refused => panic!("somebody listens: {app:?}"),
            CloseReason::Aborted => assert!(
                impatient
                    || fooled
                    || end == 1 && scenario.is_tight()
                    || matches!(works[end].ending, Ending::Abort(_) | Ending::Close),
                "nobody resets without being asked to: {app:?}"
            ),
            CloseReason::ResetByPeer => assert!(
                aborts
                    || impatient
                    || scenario.may_fail()
                    || !orderly
                    || outlived(world, plan, end)
                    || was_given_up(app, apps[1 - end]),
                "nobody is reset without need: {app:?}"
            ),
            other => panic!("no other way to end is known here: {other}"),
        }
    }
    let gave_up = |app: &App| matches!(app.closed, Some((CloseReason::TimedOut | CloseReason::Unreachable, _)));
    let is_excused = apps.iter().flatten().any(|app| gave_up(app))
        || impatient && (apps[1].is_none() || was_mistaken(world, scenario, plan));
    if !orderly || scenario.may_fail() || is_excused {
        return;
    }
    for end in 0..2 {
        let app = apps[end].expect("a connection that can be made is made");
        let finished = app.closed.is_some_and(|(reason, _)| reason == CloseReason::Finished);
        assert!(finished || outlived(world, plan, end), "in order: {app:?}");
        assert_eq!((app.written, app.read), (works[end].octets, works[1 - end].octets), "all of it: {app:?}");
    }
}

/// Whether the other end had given up before, having heard nothing of this one for so long, which is judged for itself: whatever
/// this end asks or says later draws an RST (RFC 9293 §3.10.7.1). An RST that comes before is not excused by that.
fn was_given_up(app: &App, other: Option<&App>) -> bool {
    let given_up = other.and_then(|other| other.closed).filter(|(reason, _)| *reason == CloseReason::TimedOut);
    app.closed.zip(given_up).is_some_and(|((_, at), (_, before))| before <= at)
}

/// Whether an end heard of the other's end only when that had left TIME-WAIT: the last acknowledgments were lost, and those of
/// what was sent again with a long timeout came from nobody. TIME-WAIT begins no earlier than the FIN has come, whenever the
/// application hears of that.
fn outlived(world: &World, plan: usize, end: usize) -> bool {
    let apps = world.apps(plan);
    let finished = |app: &App| app.closed.is_some_and(|(reason, _)| reason == CloseReason::Finished);
    let closed = apps[end].and_then(|app| app.closed).filter(|_| apps[1 - end].is_some_and(finished));
    let flow = world.tuple(plan).and_then(|tuple| world.watch.flow(&tuple));
    let complete = flow.and_then(|flow| flow.ends[1 - end].complete);
    closed.zip(complete).is_some_and(|((_, at), complete)| at - complete + COARSE >= 2 * TcpConfig::default().msl)
}
