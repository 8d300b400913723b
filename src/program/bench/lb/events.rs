//! Something happens to a backend, or to the list of them, while visitors come and go.

use super::{
    BACKENDS, Brought, LbContender, Member, Stage,
    datagrams::{Echoes, Sender, Tally},
    visitors::{Failure, Visit, Visitors},
};
use crate::bench::{BenchError, summary::Metrics, turns::wait};
use std::time::Duration;

/// Visitors are at it so long before anything happens: each connection that is kept is open by then.
const WARM_UP: Duration = Duration::from_secs(1);
/// The backend that dies, or is drained.
const ILL: u8 = 1;
/// From when on a drain must be complete: a proxy's next process has begun by then.
const SETTLED: Duration = Duration::from_secs(1);
/// How often the list is read anew.
const RELOADS: u32 = 10;
/// A step of what is drawn over time.
const STEP: Duration = Duration::from_millis(100);

impl Stage<'_> {
    /// A backend is killed.
    pub(super) fn kill(&self) -> Result<Brought, BenchError> {
        let ground = self.ground(BACKENDS)?;
        let mut servers = self.serve(&ground, BACKENDS)?;
        let balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        let visitors = Visitors::start(ground.host("client"), self.places.clients)?;
        wait(WARM_UP, self.interrupted)?;
        let at = visitors.elapsed();
        servers[usize::from(ILL - 1)].nginx.kill()?;
        wait(self.bench.duration, self.interrupted)?;
        let visits = visitors.finish();
        balancing.stop()?;
        Ok(Brought { metrics: killed(&visits, at), series: failures(&visits, at, self.bench.duration) })
    }

    /// A backend is drained.
    pub(super) fn drain(&self) -> Result<Brought, BenchError> {
        let ground = self.ground(BACKENDS)?;
        let _servers = self.serve(&ground, BACKENDS)?;
        let mut members = Member::all(BACKENDS);
        let mut balancing = self.balance(&ground, &members)?;
        let visitors = Visitors::start(ground.host("client"), self.places.clients)?;
        wait(WARM_UP, self.interrupted)?;
        members[usize::from(ILL - 1)].drains = true;
        balancing.apply(&members)?;
        let at = visitors.elapsed();
        wait(SETTLED + self.bench.duration, self.interrupted)?;
        let visits = visitors.finish();
        balancing.stop()?;
        let mut metrics = common(&visits);
        let of_ill = |visit: &&Visit| visit.outcome == Ok(ILL) && visit.begun > at;
        let kept = visits.iter().filter(of_ill).filter(|it| it.earlier.is_some()).count();
        let new = visits.iter().filter(of_ill).filter(|it| it.earlier.is_none() && it.begun > at + SETTLED).count();
        metrics.set("kept_on_drained", kept as f64);
        metrics.set("new_on_drained", new as f64);
        set_times(&mut metrics, &visits);
        Ok(metrics.into())
    }

    /// The list is read anew, again and again: first with one backend more, then with other weights, or as it was.
    pub(super) fn reload(&self) -> Result<Brought, BenchError> {
        let more = BACKENDS + 1;
        let ground = self.ground(more)?;
        let _servers = self.serve(&ground, more)?;
        let _echoes = Echoes::start(&ground, more, self.places.backends)?;
        let mut balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        let visitors = Visitors::start(ground.host("client"), self.places.clients)?;
        // HAProxy has no UDP.
        let has_datagrams = self.contender != LbContender::Haproxy;
        let start = || Sender::start(ground.host("client"), self.places.clients);
        let sender = has_datagrams.then(start).transpose()?;
        wait(WARM_UP, self.interrupted)?;
        for number in 0..RELOADS {
            balancing.apply(&members_after(number))?;
            wait(self.bench.duration / RELOADS, self.interrupted)?;
        }
        let (visits, tally) = (visitors.finish(), sender.map(Sender::finish));
        balancing.stop()?;
        let mut metrics = Metrics::default();
        metrics.set("reloads", f64::from(RELOADS));
        for (name, value) in common(&visits).iter() {
            metrics.set(name, value);
        }
        let added = visits.iter().filter(|it| it.earlier.is_none() && it.outcome == Ok(more));
        metrics.set("new_on_added", added.count() as f64);
        metrics.set("datagrams", tally.map(|it| it.sent as f64));
        metrics.set("lost_datagrams", tally.map(|Tally { sent, answered }| (sent - answered) as f64));
        set_times(&mut metrics, &visits);
        Ok(metrics.into())
    }
}

/// The list as it is read for this time: the second backend's weight is now half, now whole, every third reload changes nothing.
fn members_after(number: u32) -> Vec<Member> {
    let mut members = Member::all(BACKENDS + 1);
    if number % 3 == 1 {
        members[1].weight = 50;
    }
    members
}

/// What is counted whatever happens.
fn common(visits: &[Visit]) -> Metrics {
    let count = |is_so: &dyn Fn(&Visit) -> bool| visits.iter().filter(|it| is_so(it)).count() as f64;
    let mut metrics = Metrics::default();
    metrics.set("requests", visits.len() as f64);
    metrics.set("failed_requests", count(&|it| it.outcome.is_err()));
    metrics.set("failed_on_kept", count(&|it| it.outcome.is_err() && it.earlier.is_some()));
    metrics.set("failed_on_new", count(&|it| it.outcome.is_err() && it.earlier.is_none()));
    metrics.set("moved", count(&|it| it.outcome.is_ok_and(|who| it.earlier.is_some_and(|earlier| earlier != who))));
    metrics
}

fn killed(visits: &[Visit], at: Duration) -> Metrics {
    let failed: Vec<_> = visits.iter().filter(|it| it.outcome.is_err()).collect();
    let count = |is_so: &dyn Fn(&Visit) -> bool| failed.iter().filter(|it| is_so(it)).count() as f64;
    let mut metrics = Metrics::default();
    metrics.set("requests", visits.len() as f64);
    metrics.set("failed_requests", failed.len() as f64);
    metrics.set("failed_on_killed", count(&|it| it.earlier == Some(ILL)));
    metrics.set("failed_on_others", count(&|it| it.earlier.is_some_and(|earlier| earlier != ILL)));
    metrics.set("failed_on_new", count(&|it| it.earlier.is_none()));
    for (name, failure) in [("refused", Failure::Refused), ("reset", Failure::Reset), ("silent", Failure::Silent)] {
        metrics.set(name, count(&|it| it.outcome == Err(failure)));
    }
    let last = failed.iter().map(|it| it.ended()).max().unwrap_or(at);
    metrics.set("failing_ms", last.saturating_sub(at).as_secs_f64() * 1e3);
    set_times(&mut metrics, visits);
    metrics
}

/// How long requests took that were answered.
fn set_times(metrics: &mut Metrics, visits: &[Visit]) {
    let mut times: Vec<_> = visits.iter().filter(|it| it.outcome.is_ok()).map(|it| it.took).collect();
    times.sort();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    metrics.set("request_us_p99", at(0.99).map(|it| it.as_secs_f64() * 1e6));
    metrics.set("request_us_max", at(1.0).map(|it| it.as_secs_f64() * 1e6));
}

/// Failures from a moment on: milliseconds since then, and how many had failed within the step that begins there.
fn failures(visits: &[Visit], at: Duration, duration: Duration) -> Vec<(f64, f64)> {
    let steps = (duration.as_nanos().div_ceil(STEP.as_nanos())).max(1) as usize;
    let mut counts = vec![0.0; steps];
    for visit in visits.iter().filter(|it| it.outcome.is_err()) {
        let step = (visit.ended().saturating_sub(at).as_nanos() / STEP.as_nanos()) as usize;
        // Who waited in vain may have done so for longer than was measured.
        counts[step.min(steps - 1)] += 1.0;
    }
    counts.into_iter().enumerate().map(|(step, count)| (step as f64 * STEP.as_secs_f64() * 1e3, count)).collect()
}

#[cfg(test)]
mod tests;
